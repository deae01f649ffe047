// Causal self-attention over heads, from the fused projection qkv [B T, 3 C] to [B T, C], and its gradient (Dao 2022):
// weights exist only for the queries under way.
#pragma once
#include "kernel.h"
#include "product.h"

namespace {

using folio::AnyTile;
using folio::kPanel;
using folio::kStrip;

struct AttentionShape {
  int64_t batch, heads, T, C, D;
  float scale;
};

constexpr int64_t kQueries = 48;  // of a block, a multiple of a strip's 6
inline int64_t Padded(int64_t n) { return (n + kPanel - 1) / kPanel * kPanel; }

// Of a block of queries, from `first` on: C [queries, keys] = A [queries, D] B where a query sees the key, B's panels of D
// rows each. A panel is read for all strips of queries while it is near.
void Scores(const AttentionShape& a, const float* left, int64_t stride, const float* panels, int64_t first, int64_t queries,
            float* c, int64_t S) {
  for (int64_t j = 0; j < first + queries; j += kPanel) {
    for (int64_t r = 0; r < queries; r += kStrip) {
      const int64_t rows = std::min(kStrip, queries - r);
      if (j < first + r + rows) AnyTile<false>(rows, left + r * stride, stride, panels + j * a.D, a.D, c + r * S + j, S, kPanel, nullptr, 0);
    }
  }
}

// C [queries, D] = weights [queries, keys] B over the keys that a query sees, B's panels of T rows each.
void Mixed(const AttentionShape& a, const float* weights, int64_t S, const float* panels, int64_t first, int64_t queries,
           float* c, int64_t stride) {
  for (int64_t j = 0; j < a.D; j += kPanel) {
    for (int64_t r = 0; r < queries; r += kStrip) {
      const int64_t rows = std::min(kStrip, queries - r), seen = first + r + rows, columns = std::min(kPanel, a.D - j);
      AnyTile<false>(rows, weights + r * S, S, panels + j * a.T, seen, c + r * stride + j, stride, columns, nullptr, 0);
    }
  }
}

// C [keys, D] = weights^T [keys, queries] B, or C += it, over the queries of a block that see a key; B's panels of `queries`
// rows each.
void Spread(const float* weights, int64_t S, const float* panels, int64_t first, int64_t queries, float* c, int64_t DP) {
  for (int64_t j = 0; j < DP; j += kPanel) {
    for (int64_t key = 0; key < first + queries; key += kStrip) {
      const int64_t skip = std::max<int64_t>(0, key - first), count = std::min(kStrip, first + queries - key);
      float* to = c + key * DP + j;
      AnyTile<true>(count, weights + skip * S + key, S, panels + j * queries + skip * kPanel, queries - skip, to, DP, kPanel,
                    key < first ? to : nullptr, DP);
    }
  }
}

// What a thread packs of one head, and the weights of the queries under way.
struct Scratch {
  int64_t S, DP;
  std::vector<float> keys_across, p, values_across, keys, values, queries, douts, dp, dk, dv;
  Scratch(const AttentionShape& a, bool backward) : S(Padded(a.T)), DP(Padded(a.D)), keys_across(a.D * S), p(kQueries * S) {
    if (!backward) {
      values.resize(a.T * DP);
      return;
    }
    values_across.resize(a.D * S);
    keys.resize(a.T * DP);
    for (auto* block : {&queries, &douts}) block->resize(kQueries * DP);
    dp.resize(kQueries * S);
    for (auto* sums : {&dk, &dv}) sums->resize(a.T * DP);
  }
};

// Of a vector of keys from j on, those before `seen`; `other` for the rest.
inline Vec Seen(Vec v, int64_t j, int64_t seen, Vec other) {
  constexpr folio::VecI kLane{0, 1, 2, 3, 4, 5, 6, 7};
  return j + kLanes <= seen ? v : folio::Select(kLane < static_cast<int32_t>(seen - j), v, other);
}

inline float Highest(const float* row, int64_t seen) {
  Vec highest = All(-HUGE_VALF);
  for (int64_t j = 0; j < seen; j += kLanes) highest = folio::Max(highest, Seen(Load(row + j), j, seen, highest));
  float top = highest[0];
  for (int l = 1; l < kLanes; l++) top = std::max(top, highest[l]);
  return top;
}

// How many scores of query `first + r` were computed: those of its strip.
inline int64_t Width(int64_t first, int64_t queries, int64_t r) {
  return Padded(first + std::min(queries, r / kStrip * kStrip + kStrip));
}

// row = exp(scale row - shift) for the keys seen, 0 for the others; their sum.
inline float Weights(float* row, int64_t seen, int64_t width, float scale, float shift) {
  Vec total = All(0);
  int64_t j = 0;
  for (; j < seen; j += kLanes) {
    const Vec weights = Seen(folio::Exp(Load(row + j) * scale - shift), j, seen, All(0));
    total += weights;
    Store(row + j, weights);
  }
  for (; j < width; j += kLanes) Store(row + j, All(0));
  return folio::Sum(total);
}

bool ReadShape(OpKernelContext* context, const Tensor& qkv, int64_t batch, int64_t heads, AttentionShape* a) {
  if (!Fits(context, qkv.dims() == 2, "attention: qkv must be [B T, 3 C]")) return false;
  const int64_t rows = qkv.dim_size(0), C = qkv.dim_size(1) / 3;
  const bool fits = batch > 0 && heads > 0 && C > 0 && qkv.dim_size(1) == 3 * C && rows % batch == 0 && C % heads == 0;
  if (!Fits(context, fits, "attention: rows must be a multiple of batch, and columns of 3 heads")) return false;
  *a = {batch, heads, rows / batch, C, C / heads, 1.0f / std::sqrt(static_cast<float>(C / heads))};
  return true;
}

class AttentionOp : public OpKernel {
 public:
  explicit AttentionOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("batch", &batch_));
    OP_REQUIRES_OK(context, context->GetAttr("heads", &heads_));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor& input = context->input(0);
    AttentionShape a;
    if (!ReadShape(context, input, batch_, heads_, &a)) return;
    const float* qkv = In(context, 0);
    float* out = Out(context, 0, TensorShape({a.batch * a.T, a.C}));
    float* lse = Out(context, 1, TensorShape({a.batch * a.heads, a.T}));
    if (!out || !lse) return;
    Parallel(context, a.batch * a.heads, a.T * a.T * a.D / 8, [=](int64_t from, int64_t to) {
      Scratch s(a, false);
      for (int64_t head = from; head < to; head++) Head(a, qkv, head, s, out, lse + head * a.T);
    });
  }

 private:
  static void Head(const AttentionShape& a, const float* qkv, int64_t head, Scratch& s, float* out, float* lse) {
    const int64_t b = head / a.heads, h = head % a.heads, stride = 3 * a.C;
    const float* q = qkv + b * a.T * stride + h * a.D;
    folio::PackPanels({q + a.C, 1, stride}, a.D, a.T, s.keys_across.data(), a.D * kPanel);
    folio::PackPanels({q + 2 * a.C, stride, 1}, a.T, a.D, s.values.data(), a.T * kPanel);
    for (int64_t first = 0; first < a.T; first += kQueries) {
      const int64_t queries = std::min(kQueries, a.T - first);
      float *p = s.p.data(), *to = out + (b * a.T + first) * a.C + h * a.D;
      Scores(a, q + first * stride, stride, s.keys_across.data(), first, queries, p, s.S);
      float sums[kQueries];
      for (int64_t r = 0; r < queries; r++) {
        const int64_t seen = first + r + 1;
        const float top = Highest(p + r * s.S, seen) * a.scale;
        sums[r] = Weights(p + r * s.S, seen, Width(first, queries, r), a.scale, top);
        lse[first + r] = top + std::log(sums[r]);
      }
      Mixed(a, p, s.S, s.values.data(), first, queries, to, a.C);
      for (int64_t r = 0; r < queries; r++) {
        const float share = 1.0f / sums[r];
        folio::Map(to + r * a.C, to + r * a.C, 0, a.D, [=](Vec v) { return v * share; });
      }
    }
  }
  int64_t batch_, heads_;
};

// With P = softmax and dP = do v^T: dv = P^T do, dS = P (dP - rowsum(do o)) scale, dq = dS k, dk = dS^T q.
class AttentionGradOp : public OpKernel {
 public:
  explicit AttentionGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("batch", &batch_));
    OP_REQUIRES_OK(context, context->GetAttr("heads", &heads_));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor& input = context->input(1);
    AttentionShape a;
    if (!ReadShape(context, input, batch_, heads_, &a)) return;
    const TensorShape rows({a.batch * a.T, a.C}), sums({a.batch * a.heads, a.T});
    const bool fits = context->input(0).shape() == rows && context->input(2).shape() == rows && context->input(3).shape() == sums;
    if (!Fits(context, fits, "attention's gradient: dout and out must be [B T, C], lse [B heads, T]")) return;
    const float *dout = In(context, 0), *qkv = In(context, 1), *out = In(context, 2), *lse = In(context, 3);
    float* dqkv = Out(context, 0, input.shape());
    if (!dqkv) return;
    Parallel(context, a.batch * a.heads, a.T * a.T * a.D / 3, [=](int64_t from, int64_t to) {
      Scratch s(a, true);
      for (int64_t head = from; head < to; head++) Head(a, dout, qkv, out, lse + head * a.T, head, s, dqkv);
    });
  }

 private:
  static void Head(const AttentionShape& a, const float* dout, const float* qkv, const float* out, const float* lse,
                   int64_t head, Scratch& s, float* dqkv) {
    const int64_t b = head / a.heads, h = head % a.heads, stride = 3 * a.C, offset = b * a.T * a.C + h * a.D;
    const float* q = qkv + b * a.T * stride + h * a.D;
    float* dq = dqkv + b * a.T * stride + h * a.D;
    folio::PackPanels({q + a.C, 1, stride}, a.D, a.T, s.keys_across.data(), a.D * kPanel);
    folio::PackPanels({q + 2 * a.C, 1, stride}, a.D, a.T, s.values_across.data(), a.D * kPanel);
    folio::PackPanels({q + a.C, stride, 1}, a.T, a.D, s.keys.data(), a.T * kPanel);
    for (int64_t first = 0; first < a.T; first += kQueries) {
      const int64_t queries = std::min(kQueries, a.T - first);
      const float *o = out + offset + first * a.C, *d = dout + offset + first * a.C, *from = q + first * stride;
      float *p = s.p.data(), *dp = s.dp.data();
      Scores(a, from, stride, s.keys_across.data(), first, queries, p, s.S);
      Scores(a, d, a.C, s.values_across.data(), first, queries, dp, s.S);
      for (int64_t r = 0; r < queries; r++) {
        const int64_t width = Width(first, queries, r);
        Weights(p + r * s.S, first + r + 1, width, a.scale, lse[first + r]);
        const float dot = Dot(d + r * a.C, o + r * a.C, a.D);
        for (int64_t j = r * s.S; j < r * s.S + width; j += kLanes) Store(dp + j, Load(p + j) * ((Load(dp + j) - dot) * a.scale));
      }
      Mixed(a, dp, s.S, s.keys.data(), first, queries, dq + first * stride, stride);
      folio::PackPanels({d, a.C, 1}, queries, a.D, s.douts.data(), queries * kPanel);
      folio::PackPanels({from, stride, 1}, queries, a.D, s.queries.data(), queries * kPanel);
      Spread(p, s.S, s.douts.data(), first, queries, s.dv.data(), s.DP);
      Spread(dp, s.S, s.queries.data(), first, queries, s.dk.data(), s.DP);
    }
    for (int64_t t = 0; t < a.T; t++) {
      std::copy_n(s.dk.data() + t * s.DP, a.D, dq + t * stride + a.C);
      std::copy_n(s.dv.data() + t * s.DP, a.D, dq + t * stride + 2 * a.C);
    }
  }

  static float Dot(const float* a, const float* b, int64_t count) {
    Vec sum = All(0);
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) sum += Load(a + i) * Load(b + i);
    float rest = 0;
    for (; i < count; i++) rest += a[i] * b[i];
    return folio::Sum(sum) + rest;
  }
  int64_t batch_, heads_;
};

}  // namespace

REGISTER_OP("FolioAttention").Attr("batch: int").Attr("heads: int").Input("qkv: float").Output("out: float").Output("lse: float")
    .SetShapeFn([](InferenceContext* c) {
      int64_t batch, heads;
      shape_inference::ShapeHandle matrix;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &matrix));
      TF_RETURN_IF_ERROR(c->GetAttr("batch", &batch));
      TF_RETURN_IF_ERROR(c->GetAttr("heads", &heads));
      shape_inference::DimensionHandle columns, T;
      TF_RETURN_IF_ERROR(c->Divide(c->Dim(c->input(0), 1), 3, true, &columns));
      TF_RETURN_IF_ERROR(c->Divide(c->Dim(c->input(0), 0), batch, true, &T));
      c->set_output(0, c->Matrix(c->Dim(c->input(0), 0), columns));
      c->set_output(1, c->Matrix(batch * heads, T));
      return absl::OkStatus();
    });
REGISTER_OP("FolioAttentionGrad").Attr("batch: int").Attr("heads: int").Input("dout: float").Input("qkv: float")
    .Input("out: float").Input("lse: float").Output("dqkv: float")
    .SetShapeFn([](InferenceContext* c) { return SameAs(c, 0, 1); });
REGISTER_KERNEL_BUILDER(Name("FolioAttention").Device(DEVICE_CPU), AttentionOp);
REGISTER_KERNEL_BUILDER(Name("FolioAttentionGrad").Device(DEVICE_CPU), AttentionGradOp);
