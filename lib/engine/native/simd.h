// Eight floats at a time, by the compiler's vector extensions: AVX2 on x86-64, two NEON registers on arm64. Elementary
// functions to about two units in the last place, and the small matrix product that attention is made of.
#pragma once
#include <cmath>
#include <cstdint>

namespace folio {

typedef float Vec __attribute__((vector_size(32)));
typedef int32_t VecI __attribute__((vector_size(32)));
typedef float Unaligned __attribute__((vector_size(32), aligned(4), may_alias));
constexpr int kLanes = 8;

inline Vec Load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
inline void Store(float* p, Vec v) { *reinterpret_cast<Unaligned*>(p) = v; }
inline Vec All(float x) { return Vec{x, x, x, x, x, x, x, x}; }
inline Vec Select(VecI mask, Vec yes, Vec no) { return mask ? yes : no; }
// A NaN in the first operand stays, so that a training run that has gone wrong shows it.
inline Vec Max(Vec a, Vec b) { return b > a ? b : a; }
inline Vec Min(Vec a, Vec b) { return b < a ? b : a; }
inline float Sum(Vec v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }

// out(i, j) = from(j, i) of 8 x 8.
inline void Transpose8(const float* from, int64_t stride, float* out, int64_t out_stride) {
  typedef int32_t I __attribute__((vector_size(32)));
  Vec r[8], s[8];
  for (int i = 0; i < 8; i++) r[i] = Load(from + i * stride);
  for (int i = 0; i < 8; i += 2) {
    s[i] = __builtin_shuffle(r[i], r[i + 1], I{0, 8, 2, 10, 4, 12, 6, 14});
    s[i + 1] = __builtin_shuffle(r[i], r[i + 1], I{1, 9, 3, 11, 5, 13, 7, 15});
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; j++) {
      r[i + j] = __builtin_shuffle(s[i + j], s[i + j + 2], I{0, 1, 8, 9, 4, 5, 12, 13});
      r[i + j + 2] = __builtin_shuffle(s[i + j], s[i + j + 2], I{2, 3, 10, 11, 6, 7, 14, 15});
    }
  }
  for (int i = 0; i < 4; i++) {
    Store(out + i * out_stride, __builtin_shuffle(r[i], r[i + 4], I{0, 1, 2, 3, 8, 9, 10, 11}));
    Store(out + (i + 4) * out_stride, __builtin_shuffle(r[i], r[i + 4], I{4, 5, 6, 7, 12, 13, 14, 15}));
  }
}

// A tail of n < 8 elements, zeros behind it.
inline Vec LoadTail(const float* p, int64_t n) {
  Vec v = All(0);
  for (int64_t i = 0; i < n; i++) v[i] = p[i];
  return v;
}
inline void StoreTail(float* p, Vec v, int64_t n) {
  for (int64_t i = 0; i < n; i++) p[i] = v[i];
}

// y[i] = f(x[i]) for i in [from, to).
template <typename F>
inline void Map(const float* x, float* y, int64_t from, int64_t to, F f) {
  int64_t i = from;
  for (; i + kLanes <= to; i += kLanes) Store(y + i, f(Load(x + i)));
  if (i < to) StoreTail(y + i, f(LoadTail(x + i, to - i)), to - i);
}

// exp(x): x = n ln 2 + r, |r| <= ln 2 / 2, a polynomial for exp(r) (Cephes, Moshier 1984), times 2^n.
inline Vec Exp(Vec x) {
  x = Min(Max(x, All(-87.3f)), All(88.3f));
  // Plus 1.5 2^23, a float has no digits behind the point left, and the last ones before it are n.
  const Vec shifted = x * 1.44269504f + 12582912.0f, whole = shifted - 12582912.0f;
  const Vec r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
  Vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  return p * reinterpret_cast<Vec>((reinterpret_cast<VecI>(shifted) + 127) << 23);
}

// erf(x) by the rational function that Eigen and XLA use, odd in x, on [-4, 4]; its ends round to -1 and 1.
inline Vec Erf(Vec x) {
  x = Min(Max(x, All(-4.0f)), All(4.0f));
  const Vec s = x * x;
  Vec p = s * -2.72614225801306e-10f + 2.77068142495902e-08f;
  p = p * s - 2.10102402082508e-06f;
  p = p * s - 5.69250639462346e-05f;
  p = p * s - 7.34990630326855e-04f;
  p = p * s - 2.95459980854025e-03f;
  p = p * s - 1.60960333262415e-02f;
  Vec q = s * -1.45660718464996e-05f - 2.13374055278905e-04f;
  q = q * s - 1.68282697438203e-03f;
  q = q * s - 7.37332916720468e-03f;
  q = q * s - 1.42647390514189e-02f;
  return Min(Max(x * p / q, All(-1.0f)), All(1.0f));
}

inline Vec Sigmoid(Vec x) { return 1.0f / (1.0f + Exp(-x)); }

// A matrix by its first element and the distances between rows and between columns, so that a transpose is a view.
struct View {
  const float* data;
  int64_t row, column;
  float at(int64_t i, int64_t k) const { return data[i * row + k * column]; }
};

// Rows x 16 of C = A B or C += A B; B has contiguous rows.
template <int Rows>
inline void Tile(View a, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t K, bool add) {
  Vec acc[Rows][2];
  for (int r = 0; r < Rows; r++) acc[r][0] = acc[r][1] = All(0);
  for (int64_t k = 0; k < K; k++) {
    const Vec b0 = Load(b + k * ldb), b1 = Load(b + k * ldb + kLanes);
    for (int r = 0; r < Rows; r++) {
      const float x = a.at(r, k);
      acc[r][0] += x * b0;
      acc[r][1] += x * b1;
    }
  }
  for (int r = 0; r < Rows; r++) {
    float* out = c + r * ldc;
    Store(out, add ? Load(out) + acc[r][0] : acc[r][0]);
    Store(out + kLanes, add ? Load(out + kLanes) + acc[r][1] : acc[r][1]);
  }
}

// C [M, N] = A [M, K] B [K, N], or C += A B. N is padded to a multiple of 16 by the caller.
inline void MatMul(View a, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t M, int64_t N, int64_t K, bool add) {
  for (int64_t j = 0; j < N; j += 2 * kLanes) {
    int64_t i = 0;
    for (; i + 6 <= M; i += 6) {
      Tile<6>({a.data + i * a.row, a.row, a.column}, b + j, ldb, c + i * ldc + j, ldc, K, add);
    }
    for (; i < M; i++) Tile<1>({a.data + i * a.row, a.row, a.column}, b + j, ldb, c + i * ldc + j, ldc, K, add);
  }
}

}  // namespace folio
