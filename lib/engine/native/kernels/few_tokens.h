// For generating text one token at a time: products of a few rows, weights in bfloat16, and attention over keys and values
// cached in place. whole_model.h has a whole step. Plain forms: operations/decoding.ts.
#pragma once
#include "../arithmetic/few_rows_product.h"

namespace folio {
namespace {

// y [R, N] = x [R, K] W + bias for few rows; W [K, N], or [N, K] if transposed; bias [N], or null
void FewRows(const Host& host, const float* x, const Matrix& weight, const float* bias, bool transposed, int64_t R, int64_t K,
             int64_t N, float* y) {
  if (transposed) return TransposedProduct(host, x, weight, bias, y, R, K, N);
  float* sums = host.memory(kKernel, BlockCount(K) * R * N);
  Product(host, x, weight, sums, R, K, N, {y, bias, nullptr}, [](Vec v) { return v; });
}

// bfloat16 as float32
void Widen(const Host& host, const uint16_t* x, float* y, int64_t count) {
  ParallelElements(host, count, 1, [=](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) y[i] = One(x[i]);
  });
}

// p = exp(scale p - max); returns the sum.
inline float CacheSoftmax(float* p, int64_t count, float scale) {
  float most = p[0];
  for (int64_t i = 1; i < count; i++) most = most < p[i] ? p[i] : most;
  const float shift = most * scale;
  Map(p, p, 0, count, [=](Vec v) { return Exp(v * scale - shift); });
  float sum = 0;
  for (int64_t i = 0; i < count; i++) sum += p[i];
  return sum;
}

// Attention of T new positions over all positions so far: their keys and values are written to the caches [B, H, S, D] at
// `position`; qkv [B T, 3 C] -> [B T, C].
void CacheAttention(const Host& host, const CacheShape& shape, float* keys, float* values, int64_t position, const float* qkv, float* out) {
  const int64_t T = shape.T, H = shape.H, S = shape.S, D = shape.D, C = H * D;
  const float scale = 1.0f / sqrtf(static_cast<float>(D));
  Parallel(host, shape.B * H, T * (position + T) * D / 2, [&](int64_t from, int64_t to) {
    float* p = host.memory(kHead, S);
    for (int64_t head = from; head < to; head++) {
      float *k = keys + head * S * D, *v = values + head * S * D;
      for (int64_t t = 0; t < T; t++) {
        const int64_t row = head / H * T + t, seen = position + t + 1;
        const float* q = qkv + row * 3 * C + head % H * D;
        Copy(q + C, D, k + (seen - 1) * D);
        Copy(q + 2 * C, D, v + (seen - 1) * D);
        float* y = out + row * C + head % H * D;
        TransposedProduct(q, D, k, D, p, seen, 1, D, seen);
        Fill(y, D, 0);
        const float share = 1.0f / CacheSoftmax(p, seen, scale);
        AddProduct(p, seen, v, D, y, D, 1, seen, D);
        for (int64_t d = 0; d < D; d++) y[d] *= share;
      }
    }
  });
}

}  // namespace
}  // namespace folio
