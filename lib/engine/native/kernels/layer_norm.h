// Layer norm: y = (x - mean) / sqrt(variance + 1e-5) * weight, and its gradient.
#pragma once
#include "../arithmetic/simd.h"

namespace folio {
namespace {

void LayerNorm(const Host& host, const float* x, const float* weight, int64_t N, int64_t C, float* y, float* mean, float* inverse) {
  Parallel(host, N, C * 2, [=](int64_t from, int64_t to) {
    for (int64_t n = from; n < to; n++) {
      const float* row = x + n * C;
      Vec total = All(0);
      int64_t c = 0;
      for (; c + kLanes <= C; c += kLanes) total += Load(row + c);
      total += LoadTail(row + c, C - c);
      const float m = Sum(total) / C;
      Vec squares = All(0);
      for (c = 0; c + kLanes <= C; c += kLanes) {
        const Vec d = Load(row + c) - m;
        squares += d * d;
      }
      float rest = 0;
      for (; c < C; c++) rest += (row[c] - m) * (row[c] - m);
      const float s = 1.0f / sqrtf((Sum(squares) + rest) / C + 1e-5f);
      for (c = 0; c + kLanes <= C; c += kLanes) Store(y + n * C + c, (Load(row + c) - m) * s * Load(weight + c));
      for (; c < C; c++) y[n * C + c] = (row[c] - m) * s * weight[c];
      mean[n] = m;
      inverse[n] = s;
    }
  });
}

// With u = (x - mean) s and g = dy weight: dx = s (g - mean(g) - u mean(g u)), dweight = sum over rows of dy u.
inline void LayerNormGradientRow(const float* dy, const float* x, const float* w, float m, float s, const float* plus, float* dx, float* dw,
                int64_t C) {
  Vec gs = All(0), gus = All(0);
  float g_rest = 0, gu_rest = 0;
  int64_t c = 0;
  for (; c + kLanes <= C; c += kLanes) {
    const Vec d = Load(dy + c), u = (Load(x + c) - m) * s, g = d * Load(w + c);
    gs += g;
    gus += g * u;
    Store(dw + c, Load(dw + c) + d * u);
  }
  for (; c < C; c++) {
    const float u = (x[c] - m) * s, g = dy[c] * w[c];
    g_rest += g;
    gu_rest += g * u;
    dw[c] += dy[c] * u;
  }
  const float mean_g = (Sum(gs) + g_rest) / C, mean_gu = (Sum(gus) + gu_rest) / C;
  for (c = 0; c + kLanes <= C; c += kLanes) {
    const Vec u = (Load(x + c) - m) * s;
    const Vec d = s * (Load(dy + c) * Load(w + c) - mean_g - u * mean_gu);
    Store(dx + c, plus ? Load(plus + c) + d : d);
  }
  for (; c < C; c++) {
    const float d = s * (dy[c] * w[c] - mean_g - (x[c] - m) * s * mean_gu);
    dx[c] = plus ? plus[c] + d : d;
  }
}

void RunLayerNormGradient(const Host& host, const LayerNormGradient& g) {
  // Sums over rows are taken in blocks of a fixed size, so that they do not depend on the number of threads.
  constexpr int64_t kBlock = 64;
  const int64_t N = g.N, C = g.C, blocks = Divided(N, kBlock);
  float* sums = host.memory(kKernel, blocks * C);
  Parallel(host, blocks, kBlock * C * 3, [=](int64_t from, int64_t to) {
    Fill(sums + from * C, (to - from) * C, 0);
    for (int64_t block = from; block < to; block++) {
      for (int64_t n = block * kBlock; n < Least(N, (block + 1) * kBlock); n++) {
        const int64_t at = n * C;
        LayerNormGradientRow(g.dy + at, g.x + at, g.weight, g.mean[n], g.inverse[n], g.plus ? g.plus + at : nullptr, g.dx + at, sums + block * C, C);
      }
    }
  });
  Fill(g.dweight, C, 0);
  for (int64_t block = 0; block < blocks; block++) {
    for (int64_t c = 0; c < C; c++) g.dweight[c] += sums[block * C + c];
  }
}

}  // namespace
}  // namespace folio
