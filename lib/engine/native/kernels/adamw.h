// AdamW in place; see adamUpdate in operations/raw.ts. `clip` scales the gradient.
#pragma once
#include "../arithmetic/simd.h"

namespace folio {
namespace {

void RunAdamW(const Host& host, const AdamW& s, const float* g, float* p, float* m, float* v, int64_t count) {
  const float b1 = s.beta1, b2 = s.beta2, eps = s.epsilon, clip = s.clip, keep = 1.0f - s.rate * s.decay, step = s.rate / s.correction1;
  const float root = 1.0f / sqrtf(s.correction2);
  ParallelElements(host, count, 4, [=](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      const float x = g[i] * clip;
      const float first = b1 * m[i] + (1.0f - b1) * x;
      const float second = b2 * v[i] + (1.0f - b2) * x * x;
      m[i] = first;
      v[i] = second;
      p[i] = p[i] * keep - step * first / (sqrtf(second) * root + eps);
    }
  });
}

}  // namespace
}  // namespace folio
