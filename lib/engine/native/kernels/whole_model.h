// A whole step of generating text as one kernel: new tokens of each sequence through all blocks to the logits of the last, with
// the session's weights and caches used in place. model.ts composes the same of some ten operations per block; here the
// overhead between products is avoided.
#pragma once
#include "few_tokens.h"
#include "gelu.h"

namespace folio {
namespace {

// y = (x - mean) / sqrt(variance + 1e-5) weight + bias, which may be absent, of one row
inline void NormalizeRow(const float* x, const float* weight, const float* bias, float* y, int64_t C) {
  const auto load = [=](const float* p, int64_t c) { return c + kLanes <= C ? Load(p + c) : LoadTail(p + c, C - c); };
  Vec sums = All(0), squares = All(0);
  for (int64_t c = 0; c < C; c += kLanes) sums += load(x, c);
  const float mean = Sum(sums) / C;
  int64_t whole = 0;
  for (; whole + kLanes <= C; whole += kLanes) {
    const Vec d = Load(x + whole) - mean;
    squares += d * d;
  }
  float rest = 0;
  for (; whole < C; whole++) rest += (x[whole] - mean) * (x[whole] - mean);
  const float inverse = 1.0f / sqrtf((Sum(squares) + rest) / C + 1e-5f);
  for (int64_t c = 0; c < C; c += kLanes) {
    Vec v = (load(x, c) - mean) * inverse * load(weight, c);
    if (bias) v += load(bias, c);
    if (c + kLanes <= C) Store(y + c, v);
    else StoreTail(y + c, v, C - c);
  }
}

// The state of a step: the weights, taken one after another, and the intermediate values.
struct Step {
  const Host& host;
  const WholeModel& model;
  int64_t C, rows;
  const Matrix* next;
  float *x, *normal, *wide, *out, *sums;
};

inline const float* NextVector(Step& step) { return static_cast<const float*>((step.next++)->data); }

// x = the tokens' embeddings plus the positions'; returns the token table, which may be the head too.
inline Matrix Embed(Step& step) {
  const WholeModel& m = step.model;
  const int64_t C = step.C, T = m.shape.T;
  const Matrix tokens = *step.next++;
  const float* places = NextVector(step);
  for (int64_t row = 0; row < step.rows; row++) {
    const int64_t id = m.ids[row / T * m.stride + row % T];
    const float* place = places + (m.position + row % T) * C;
    float* x = step.x + row * C;
    OfType(tokens, [=](const auto* table) {
      for (int64_t c = 0; c < C; c++) x[c] = One(table[id * C + c]) + place[c];
    });
  }
  return tokens;
}

// normal = layer norm of the first rows of x
inline void Normalize(Step& step, int64_t rows) {
  const int64_t C = step.C;
  const float* weight = NextVector(step);
  const float* bias = step.model.bias ? NextVector(step) : nullptr;
  for (int64_t row = 0; row < rows; row++) NormalizeRow(step.x + row * C, weight, bias, step.normal + row * C, C);
}

// y = act(x W + bias) + plus, where plus may be absent
template <typename Act>
inline void Apply(Step& step, const float* x, int64_t from, int64_t to, float* y, const float* plus, const Act& act) {
  const Matrix weight = *step.next++;
  const float* bias = step.model.bias ? NextVector(step) : nullptr;
  Product(step.host, x, weight, step.sums, step.rows, from, to, {y, bias, plus}, act);
}

// x += attention(norm(x)), x += mlp(norm(x))
inline void Block(Step& step, int64_t layer) {
  const WholeModel& m = step.model;
  const int64_t C = step.C;
  const auto same = [](Vec v) { return v; };
  float *x = step.x, *wide = step.wide;
  Normalize(step, step.rows);
  Apply(step, step.normal, C, 3 * C, wide, nullptr, same);
  CacheAttention(step.host, m.shape, m.caches[layer], m.caches[m.layers + layer], m.position, wide, step.out);
  Apply(step, step.out, C, C, x, x, same);
  Normalize(step, step.rows);
  if (m.tanh) Apply(step, step.normal, C, 4 * C, wide, nullptr, [](Vec v) { return GeluTanh(v).value; });
  else Apply(step, step.normal, C, 4 * C, wide, nullptr, [](Vec v) { return GeluErf(v).value; });
  Apply(step, wide, 4 * C, C, x, x, same);
}

void RunWholeModel(const Host& host, const WholeModel& m) {
  const int64_t B = m.shape.B, T = m.shape.T, C = m.shape.H * m.shape.D, rows = B * T;
  const int64_t products = Most(BlockCount(4 * C) * C, BlockCount(C) * 4 * C);
  float* x = host.memory(kKernel, rows * (7 * C + products));
  float *normal = x + rows * C, *wide = normal + rows * C, *out = wide + 4 * rows * C;
  Step step{host, m, C, rows, m.weights, x, normal, wide, out, out + rows * C};
  const Matrix tokens = Embed(step);
  for (int64_t layer = 0; layer < m.layers; layer++) Block(step, layer);
  for (int64_t b = 0; b < B; b++) Copy(x + ((b + 1) * T - 1) * C, C, x + b * C);
  Normalize(step, B);
  TransposedProduct(host, normal, m.head ? *step.next : tokens, nullptr, m.logits, B, C, m.V);
}

}  // namespace
}  // namespace folio
