// GELU: erf x Phi(x); tanh 0.5 x (1 + tanh(k (x + 0.044715 x^3))), k = sqrt(2 / pi), with
// 0.5 (1 + tanh(z)) = sigmoid(2 z), which stays accurate where tanh(z) is near -1
#pragma once
#include "../arithmetic/simd.h"

namespace folio {
namespace {

constexpr float kRootHalf = 0.70710678f, kDensity = 0.39894228f, kTanh = 0.79788456f, kCubic = 0.044715f;

struct Both {
  Vec value, slope;
};
inline Both GeluErf(Vec v) {
  const Vec phi = 0.5f + 0.5f * Erf(v * kRootHalf);
  return {v * phi, phi + v * kDensity * Exp(v * v * -0.5f)};
}
inline Both GeluTanh(Vec v) {
  const Vec s = Sigmoid(2.0f * kTanh * (v + kCubic * v * v * v));
  return {v * s, s + v * (s * (1.0f - s)) * (2.0f * kTanh * (1.0f + 3.0f * kCubic * v * v))};
}

// y = gelu(x), which may overwrite x, and its slope, which shares most of its cost with the value.
inline void Gelu(const float* x, float* y, float* slope, int64_t count, bool tanh) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const auto [value, d] = tanh ? GeluTanh(Load(x + i)) : GeluErf(Load(x + i));
    Store(y + i, value);
    Store(slope + i, d);
  }
  if (i == count) return;
  const auto [value, d] = tanh ? GeluTanh(LoadTail(x + i, count - i)) : GeluErf(LoadTail(x + i, count - i));
  StoreTail(y + i, value, count - i);
  StoreTail(slope + i, d, count - i);
}

void GeluAll(const Host& host, const float* x, float* y, float* slope, int64_t count, bool tanh) {
  ParallelElements(host, count, 6, [=](int64_t from, int64_t to) { Gelu(x + from, y + from, slope + from, to - from, tanh); });
}

// c = a b, element by element; c may be a.
inline void Multiply(const float* a, const float* b, float* c, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(c + i, Load(a + i) * Load(b + i));
  for (; i < count; i++) c[i] = a[i] * b[i];
}

void Times(const Host& host, const float* a, const float* b, float* c, int64_t count) {
  ParallelElements(host, count, 1, [=](int64_t from, int64_t to) { Multiply(a + from, b + from, c + from, to - from); });
}

}  // namespace
}  // namespace folio
