// Products of a few rows with a weight matrix, limited by the speed of reading the matrix; generating text one token at a
// time consists mostly of these. Weights are float32 or bfloat16 (half the memory to read); sums are float32. Used by
// few_tokens.h and whole_model.h.
#pragma once
#include "simd.h"

namespace folio {
namespace {

typedef uint16_t Half __attribute__((vector_size(2 * FOLIO_LANES)));
typedef uint16_t UnalignedHalf __attribute__((vector_size(2 * FOLIO_LANES), aligned(2), may_alias));

// bfloat16 is the upper half of a float32.
inline Vec Load(const uint16_t* p) {
#if defined(FOLIO_AVX512)  // one instruction, where GCC makes four of __builtin_convertvector
  return reinterpret_cast<Vec>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
#elif defined(FOLIO_AVX2)
  return reinterpret_cast<Vec>(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
#else
  const Half half = *reinterpret_cast<const UnalignedHalf*>(p);
  return reinterpret_cast<Vec>(__builtin_convertvector(half, VecU) << 16);
#endif
}
inline float One(float x) { return x; }
inline float One(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float y;
  __builtin_memcpy(&y, &bits, sizeof y);
  return y;
}

// y [R, N] += x [R, 4] times four rows of W that are `apart` rows apart: the processor reads and prefetches four long
// streams faster than one (measured: 27.6 GB/s; 22.9 with four neighbouring rows).
template <int R, typename W>
inline void AddFour(const float* x, int64_t ldx, const W* w, int64_t ldw, int64_t apart, float* y, int64_t ldy, int64_t N) {
  const W *w0 = w, *w1 = w0 + apart * ldw, *w2 = w1 + apart * ldw, *w3 = w2 + apart * ldw;
  Vec all[R][4];
  for (int r = 0; r < R; r++) for (int i = 0; i < 4; i++) all[r][i] = All(x[r * ldx + i * apart]);
  int64_t j = 0;
  for (; j + kLanes <= N; j += kLanes) {
    const Vec a0 = Load(w0 + j), a1 = Load(w1 + j), a2 = Load(w2 + j), a3 = Load(w3 + j);
    for (int r = 0; r < R; r++) {
      float* to = y + r * ldy + j;
      Store(to, Load(to) + a0 * all[r][0] + a1 * all[r][1] + a2 * all[r][2] + a3 * all[r][3]);
    }
  }
  for (; j < N; j++) {
    for (int r = 0; r < R; r++) {
      y[r * ldy + j] += One(w0[j]) * all[r][0][0] + One(w1[j]) * all[r][1][0] + One(w2[j]) * all[r][2][0] + One(w3[j]) * all[r][3][0];
    }
  }
}

// y [R, N] += x [R, K] W [K, N], reading W row by row, in memory order, which is fastest.
template <typename W>
inline void AddProduct(const float* x, int64_t ldx, const W* w, int64_t ldw, float* y, int64_t ldy, int64_t R, int64_t K, int64_t N) {
  const int64_t quarter = K / 4;
  for (int64_t k = 0; k < quarter; k++) {
    const W* rows = w + k * ldw;
    int64_t r = 0;
    for (; r + 4 <= R; r += 4) AddFour<4>(x + r * ldx + k, ldx, rows, ldw, quarter, y + r * ldy, ldy, N);
    for (; r + 2 <= R; r += 2) AddFour<2>(x + r * ldx + k, ldx, rows, ldw, quarter, y + r * ldy, ldy, N);
    if (r < R) AddFour<1>(x + r * ldx + k, ldx, rows, ldw, quarter, y + r * ldy, ldy, N);
  }
  for (int64_t k = 4 * quarter; k < K; k++) {
    for (int64_t r = 0; r < R; r++) {
      for (int64_t j = 0; j < N; j++) y[r * ldy + j] += One(w[k * ldw + j]) * x[r * ldx + k];
    }
  }
}

// Rows x [R, K] with Rows rows of W, `apart` rows apart: y[r, i apart] = x[r] . W[i apart]
template <int Rows, typename W>
inline void Dots(const float* x, int64_t ldx, const W* w, int64_t ldw, int64_t apart, float* y, int64_t ldy, int64_t R, int64_t K) {
  for (int64_t r = 0; r < R; r++) {
    const float* xr = x + r * ldx;
    Vec sums[Rows];
    for (int i = 0; i < Rows; i++) sums[i] = All(0);
    int64_t k = 0;
    for (; k + kLanes <= K; k += kLanes) {
      const Vec v = Load(xr + k);
      for (int i = 0; i < Rows; i++) sums[i] += v * Load(w + i * apart * ldw + k);
    }
    for (int i = 0; i < Rows; i++) {
      float rest = 0;
      for (int64_t t = k; t < K; t++) rest += xr[t] * One(w[i * apart * ldw + t]);
      y[r * ldy + i * apart] = Sum(sums[i]) + rest;
    }
  }
}

// y [R, N] = x [R, K] transpose(W [N, K])
template <typename W>
inline void TransposedProduct(const float* x, int64_t ldx, const W* w, int64_t ldw, float* y, int64_t ldy, int64_t R, int64_t K, int64_t N) {
  const int64_t quarter = N / 4;
  for (int64_t n = 0; n < quarter; n++) Dots<4>(x, ldx, w + n * ldw, ldw, quarter, y + n, ldy, R, K);
  for (int64_t n = 4 * quarter; n < N; n++) Dots<1>(x, ldx, w + n * ldw, ldw, 1, y + n, ldy, R, K);
}

// ---- divided among the threads

template <typename F>
void OfType(Matrix w, const F& f) {
  if (w.half) f(static_cast<const uint16_t*>(w.data));
  else f(static_cast<const float*>(w.data));
}

// y [R, N] = x [R, K] transpose(W [N, K]) + bias, which may be absent.
void TransposedProduct(const Host& host, const float* x, Matrix weight, const float* bias, float* y, int64_t R, int64_t K, int64_t N) {
  constexpr int64_t kRows = 64;
  OfType(weight, [=](const auto* w) {
    Parallel(host, (N + kRows - 1) / kRows, kRows * K * sizeof(*w) / 16 * (3 + R), [=](int64_t from, int64_t to) {
      for (int64_t block = from; block < to; block++) {
        const int64_t first = block * kRows, count = Least(kRows, N - first);
        TransposedProduct(x, K, w + first * K, K, y + first, N, R, K, count);
        for (int64_t r = 0; bias && r < R; r++) for (int64_t n = first; n < first + count; n++) y[r * N + n] += bias[n];
      }
    });
  });
}

// W is cut into blocks of whole rows whose size depends only on K, so sums do not depend on the number of threads.
int64_t BlockRows(int64_t K) { return Most(32, (K + 31) / 32 * 4); }
int64_t BlockCount(int64_t K) { return (K + BlockRows(K) - 1) / BlockRows(K); }

// The result of a product: y = act(product + bias) + plus, where bias [N] and plus [R, N] may be absent, and plus may be y.
struct Result {
  float* y;
  const float* bias;
  const float* plus;
};

// The result of x [R, K] W [K, N]; `sums` has room for BlockCount(K) R N.
template <typename Act>
void Product(const Host& host, const float* x, Matrix weight, float* sums, int64_t R, int64_t K, int64_t N, Result result, const Act& act) {
  const int64_t rows = BlockRows(K), blocks = BlockCount(K);
  OfType(weight, [=](const auto* w) {
    Parallel(host, blocks, rows * N * sizeof(*w) / 16 * (3 + R), [=](int64_t from, int64_t to) {
      for (int64_t block = from; block < to; block++) {
        const int64_t k = block * rows;
        float* own = sums + block * R * N;
        Fill(own, R * N, 0.0f);
        AddProduct(x + k, K, w + k * N, N, own, N, R, Least(rows, K - k), N);
      }
    });
  });
  float* y = result.y;
  const float *bias = result.bias, *plus = result.plus;
  for (int64_t r = 0; r < R; r++) {
    for (int64_t n = 0; n < N; n += kLanes) {
      const int64_t at = r * N + n, count = Least(kLanes, N - n);
      const auto load = [=](const float* p) { return count == kLanes ? Load(p) : LoadTail(p, count); };
      Vec total = bias ? load(bias + n) : All(0);
      for (int64_t block = 0; block < blocks; block++) total += load(sums + block * R * N + at);
      total = act(total);
      if (plus) total += load(plus + at);
      if (count == kLanes) Store(y + at, total);
      else StoreTail(y + at, total, count);
    }
  }
}

}  // namespace
}  // namespace folio
