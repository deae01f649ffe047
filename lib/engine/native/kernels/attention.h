// Causal self-attention over heads, from the fused projection qkv [B T, 3 C] to [B T, C], and its gradient (Dao 2022):
// attention weights are stored only for the current block of queries. Dropout acts on the weights.
#pragma once
#include "../arithmetic/matrix_product.h"
#include "dropout.h"
#include "gelu.h"

namespace folio {
namespace {

constexpr int64_t kQueries = 48;  // per block, a multiple of a strip's 6
// Panels across keys are two vectors wide, since scores that a query does not see are computed needlessly; those across a head
// are as wide as in other products.
constexpr int kKeyVectors = 2;
constexpr int64_t kKeyPanel = kKeyVectors * kLanes;
inline int64_t PaddedKeys(int64_t n) { return Divided(n, kKeyPanel) * kKeyPanel; }
inline int64_t PaddedHead(int64_t n) { return Divided(n, kPanel) * kPanel; }

// For a block of queries, from `first` on: C [queries, keys] = A [queries, D] B where a query sees the key; B is in panels of D
// rows each. Each panel is used for all strips of queries while it is in the cache.
inline void Scores(const AttentionShape& a, const float* left, int64_t stride, const float* panels, int64_t first, int64_t queries,
                   float* c, int64_t S) {
  for (int64_t j = 0; j < first + queries; j += kKeyPanel) {
    for (int64_t r = 0; r < queries; r += kStrip) {
      const int64_t rows = Least(kStrip, queries - r);
      if (j >= first + r + rows) continue;
      AnyTile<false, kKeyVectors>(rows, left + r * stride, stride, panels + j * a.D, a.D, {c + r * S + j, S, kKeyPanel, nullptr, 0});
    }
  }
}

// C [queries, D] = weights [queries, keys] B over the keys that a query sees; B is in panels of T rows each.
inline void Mixed(const AttentionShape& a, const float* weights, int64_t S, const float* panels, int64_t first, int64_t queries,
                  float* c, int64_t stride) {
  for (int64_t j = 0; j < a.D; j += kPanel) {
    for (int64_t r = 0; r < queries; r += kStrip) {
      const int64_t rows = Least(kStrip, queries - r), seen = first + r + rows;
      const TileResult to{c + r * stride + j, stride, Least(kPanel, a.D - j), nullptr, 0};
      AnyTile<false, kPanelVectors>(rows, weights + r * S, S, panels + j * a.T, seen, to);
    }
  }
}

// C [keys, D] = weights^T [keys, queries] B, or C += it, over the queries of a block that see a key; B is in panels of
// `queries` rows each.
inline void Spread(const AttentionShape& a, const float* weights, int64_t S, const float* panels, int64_t first, int64_t queries, float* c) {
  for (int64_t j = 0; j < a.D; j += kPanel) {
    for (int64_t key = 0; key < first + queries; key += kStrip) {
      const int64_t skip = Most(0, key - first), count = Least(kStrip, first + queries - key);
      float* to = c + key * a.D + j;
      AnyTile<true, kPanelVectors>(count, weights + skip * S + key, S, panels + j * queries + skip * kPanel, queries - skip,
                                   {to, a.D, Least(kPanel, a.D - j), key < first ? to : nullptr, a.D});
    }
  }
}

// What a thread packs for one head, and the attention weights of the current queries, in one block of memory.
struct Scratch {
  float *keys_across, *p, *factors, *values_across, *keys, *values, *queries, *douts, *dp, *dk, *dv;
};

inline Scratch ScratchOf(const Host& host, const AttentionShape& a, bool backward) {
  const int64_t across = a.D * PaddedKeys(a.T), along = a.T * PaddedHead(a.D);
  const int64_t weights = kQueries * PaddedKeys(a.T), block = kQueries * PaddedHead(a.D), sums = a.T * a.D;
  int64_t size = 0;
  const int64_t factors = PaddedKeys(a.T) + 4 + kDrawn;
  const int64_t sizes[11] = {across, weights, factors, backward ? across : 0, backward ? along : 0, backward ? 0 : along,
                             backward ? block : 0, backward ? block : 0, backward ? weights : 0, backward ? sums : 0, backward ? sums : 0};
  for (const int64_t each : sizes) size += Divided(each, 16) * 16;
  float* at = host.memory(kHead, size);
  float* pieces[11];
  for (int i = 0; i < 11; i++) {
    pieces[i] = at;
    at += Divided(sizes[i], 16) * 16;
  }
  return {pieces[0], pieces[1], pieces[2], pieces[3], pieces[4], pieces[5], pieces[6], pieces[7], pieces[8], pieces[9], pieces[10]};
}

// Of a vector of keys from j on, the values of those before `seen`; `other` for the rest.
inline Vec Seen(Vec v, int64_t j, int64_t seen, Vec other) {
  return j + kLanes <= seen ? v : Select(kLane < static_cast<int32_t>(seen - j), v, other);
}

inline float Highest(const float* row, int64_t seen) {
  Vec highest = All(-HUGE_VALF);
  for (int64_t j = 0; j < seen; j += kLanes) highest = Max(highest, Seen(Load(row + j), j, seen, highest));
  float top = row[0];
  for (int l = 0; l < kLanes; l++) top = highest[l] > top ? highest[l] : top;
  return top;
}

// How many scores of query `first + r` were computed, together with its strip.
inline int64_t Width(int64_t first, int64_t queries, int64_t r) {
  return PaddedKeys(first + Least(queries, r / kStrip * kStrip + kStrip));
}

// row = exp(scale row - shift) for the keys seen, 0 for the others; returns their sum.
inline float Weights(float* row, int64_t seen, int64_t width, float scale, float shift) {
  Vec total = All(0);
  int64_t j = 0;
  for (; j < seen; j += kLanes) {
    const Vec weights = Seen(Exp(Load(row + j) * scale - shift), j, seen, All(0));
    total += weights;
    Store(row + j, weights);
  }
  for (; j < width; j += kLanes) Store(row + j, All(0));
  return Sum(total);
}

inline float Dot(const float* a, const float* b, int64_t count) {
  Vec sum = All(0);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) sum += Load(a + i) * Load(b + i);
  float rest = 0;
  for (; i < count; i++) rest += a[i] * b[i];
  return Sum(sum) + rest;
}

// The dropout's factors of a query's weights for keys [0, width), of those of head h of row b; null without dropout.
inline const float* WeightFactors(const AttentionShape& a, const Dropout* dropout, const Draws& draws, int64_t h, int64_t query,
                                  int64_t width, float* factors) {
  if (!dropout) return nullptr;
  const int64_t number = (h * a.T + query) * a.T, start = number & ~int64_t{3};
  for (int64_t i = 0; start + i < number + width; i += kDrawn) {
    const Factors drawn = FactorsAt(*dropout, draws, start + i);
    for (int part = 0; part < 4; part++) Store(factors + i + part * kLanes, drawn.of[part]);
  }
  return factors + (number - start);
}

inline void AttentionHead(const AttentionShape& a, const Dropout* dropout, const float* qkv, int64_t head, const Scratch& s, float* out, float* lse) {
  const int64_t b = head / a.heads, h = head % a.heads, stride = 3 * a.C, S = PaddedKeys(a.T);
  const float* q = qkv + b * a.T * stride + h * a.D;
  PackPanels<kKeyVectors>({q + a.C, 1, stride}, a.D, a.T, s.keys_across, a.D * kKeyPanel);
  PackPanels<kPanelVectors>({q + 2 * a.C, stride, 1}, a.T, a.D, s.values, a.T * kPanel);
  const Draws draws = dropout ? DrawsOfRow(*dropout, b) : Draws{};
  for (int64_t first = 0; first < a.T; first += kQueries) {
    const int64_t queries = Least(kQueries, a.T - first);
    float *p = s.p, *to = out + (b * a.T + first) * a.C + h * a.D;
    Scores(a, q + first * stride, stride, s.keys_across, first, queries, p, S);
    float sums[kQueries];
    for (int64_t r = 0; r < queries; r++) {
      const int64_t seen = first + r + 1;
      const float top = Highest(p + r * S, seen) * a.scale;
      sums[r] = Weights(p + r * S, seen, Width(first, queries, r), a.scale, top);
      const float* factors = WeightFactors(a, dropout, draws, h, first + r, seen, s.factors);
      if (factors) Multiply(p + r * S, factors, p + r * S, seen);
      lse[first + r] = top + logf(sums[r]);
    }
    Mixed(a, p, S, s.values, first, queries, to, a.C);
    for (int64_t r = 0; r < queries; r++) {
      const float share = 1.0f / sums[r];
      Map(to + r * a.C, to + r * a.C, 0, a.D, [=](Vec v) { return v * share; });
    }
  }
}

void Attention(const Host& host, const AttentionShape& a, const Dropout* dropout, const float* qkv, float* out, float* lse) {
  Parallel(host, a.batch * a.heads, a.T * a.T * a.D / 8, [&](int64_t from, int64_t to) {
    const Scratch s = ScratchOf(host, a, false);
    for (int64_t head = from; head < to; head++) AttentionHead(a, dropout, qkv, head, s, out, lse + head * a.T);
  });
}

// With P = softmax, F the dropout's factors and dP = F do v^T: dv = (P F)^T do, dS = P (dP - rowsum(do o)) scale, dq = dS k,
// dk = dS^T q.
inline void AttentionGradientHead(const AttentionShape& a, const Dropout* dropout, const float* dout, const float* qkv, const float* out, const float* lse,
                                  int64_t head, const Scratch& s, float* dqkv) {
  const int64_t b = head / a.heads, h = head % a.heads, stride = 3 * a.C, offset = b * a.T * a.C + h * a.D, S = PaddedKeys(a.T);
  const float* q = qkv + b * a.T * stride + h * a.D;
  float* dq = dqkv + b * a.T * stride + h * a.D;
  PackPanels<kKeyVectors>({q + a.C, 1, stride}, a.D, a.T, s.keys_across, a.D * kKeyPanel);
  PackPanels<kKeyVectors>({q + 2 * a.C, 1, stride}, a.D, a.T, s.values_across, a.D * kKeyPanel);
  PackPanels<kPanelVectors>({q + a.C, stride, 1}, a.T, a.D, s.keys, a.T * kPanel);
  const Draws draws = dropout ? DrawsOfRow(*dropout, b) : Draws{};
  for (int64_t first = 0; first < a.T; first += kQueries) {
    const int64_t queries = Least(kQueries, a.T - first);
    const float *o = out + offset + first * a.C, *d = dout + offset + first * a.C, *from = q + first * stride;
    float *p = s.p, *dp = s.dp;
    Scores(a, from, stride, s.keys_across, first, queries, p, S);
    Scores(a, d, a.C, s.values_across, first, queries, dp, S);
    for (int64_t r = 0; r < queries; r++) {
      const int64_t width = Width(first, queries, r);
      Weights(p + r * S, first + r + 1, width, a.scale, lse[first + r]);
      const float dot = Dot(d + r * a.C, o + r * a.C, a.D);
      const float* factors = WeightFactors(a, dropout, draws, h, first + r, first + r + 1, s.factors);
      if (factors) Multiply(dp + r * S, factors, dp + r * S, first + r + 1);
      for (int64_t j = r * S; j < r * S + width; j += kLanes) Store(dp + j, Load(p + j) * ((Load(dp + j) - dot) * a.scale));
      if (factors) Multiply(p + r * S, factors, p + r * S, first + r + 1);
    }
    Mixed(a, dp, S, s.keys, first, queries, dq + first * stride, stride);
    PackPanels<kPanelVectors>({d, a.C, 1}, queries, a.D, s.douts, queries * kPanel);
    PackPanels<kPanelVectors>({from, stride, 1}, queries, a.D, s.queries, queries * kPanel);
    Spread(a, p, S, s.douts, first, queries, s.dv);
    Spread(a, dp, S, s.queries, first, queries, s.dk);
  }
  for (int64_t t = 0; t < a.T; t++) {
    Copy(s.dk + t * a.D, a.D, dq + t * stride + a.C);
    Copy(s.dv + t * a.D, a.D, dq + t * stride + 2 * a.C);
  }
}

void AttentionGradient(const Host& host, const AttentionShape& a, const Dropout* dropout, const float* dout, const float* qkv,
                       const float* out, const float* lse, float* dqkv) {
  Parallel(host, a.batch * a.heads, a.T * a.T * a.D / 3, [&](int64_t from, int64_t to) {
    const Scratch s = ScratchOf(host, a, true);
    for (int64_t head = from; head < to; head++) AttentionGradientHead(a, dropout, dout, qkv, out, lse + head * a.T, head, s, dqkv);
  });
}

}  // namespace
}  // namespace folio
