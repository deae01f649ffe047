// A variant's vectors, by the compiler's vector extensions: FOLIO_LANES floats, 4 (SSE2, NEON), 8 (AVX2) or 16 (AVX-512, and
// anywhere in tests). A vector is a register: GCC keeps arrays of wider ones in memory, which made products ten times slower.
// Elementary functions are accurate to about two units in the last place. Google Highway, which TensorFlow's wheel contains,
// would save some thirty lines of intrinsics but make the kernels' test depend on the wheel.
//
// All code of a variant has internal linkage and uses no templates of the standard library: the linker would keep only one
// copy of a function that several variants define, perhaps with instructions that the processor lacks.
#pragma once
#include <math.h>
#include <stdint.h>

#include "../kernels.h"

#if FOLIO_LANES == 16 && defined(__AVX512BW__)
#include <immintrin.h>
#define FOLIO_AVX512
#elif FOLIO_LANES == 8 && defined(__AVX2__)
#include <immintrin.h>
#define FOLIO_AVX2
#endif

#if defined(__clang__) || __GNUC__ >= 12
#define FOLIO_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FOLIO_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Shuffled{__VA_ARGS__})
#endif

namespace folio {
namespace {

constexpr int kLanes = FOLIO_LANES;
static_assert(kLanes == 4 || kLanes == 8 || kLanes == 16, "a vector has 4, 8 or 16 lanes");

typedef float Vec __attribute__((vector_size(4 * FOLIO_LANES)));
typedef int32_t VecI __attribute__((vector_size(4 * FOLIO_LANES)));
typedef uint32_t VecU __attribute__((vector_size(4 * FOLIO_LANES)));
typedef float Unaligned __attribute__((vector_size(4 * FOLIO_LANES), aligned(4), may_alias));
typedef float Vec8 __attribute__((vector_size(32)));
typedef int32_t Shuffled __attribute__((vector_size(FOLIO_LANES == 4 ? 16 : 32)));
typedef float Unaligned8 __attribute__((vector_size(32), aligned(4), may_alias));

inline int64_t Least(int64_t a, int64_t b) { return b < a ? b : a; }
inline int64_t Most(int64_t a, int64_t b) { return a < b ? b : a; }
inline int64_t Divided(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline Vec Load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
inline void Store(float* p, Vec v) { *reinterpret_cast<Unaligned*>(p) = v; }
#if FOLIO_LANES == 4
constexpr VecI kLane{0, 1, 2, 3};
inline Vec All(float x) { return Vec{x, x, x, x}; }
inline float Sum(Vec v) { return (v[0] + v[2]) + (v[1] + v[3]); }
#elif FOLIO_LANES == 8
constexpr VecI kLane{0, 1, 2, 3, 4, 5, 6, 7};
inline Vec All(float x) { return Vec{x, x, x, x, x, x, x, x}; }
inline float Sum(Vec v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }
#else
constexpr VecI kLane{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
inline Vec All(float x) { return Vec{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
inline float Sum(Vec v) {
  float half[8];
  for (int i = 0; i < 8; i++) half[i] = v[i] + v[i + 8];
  return ((half[0] + half[4]) + (half[2] + half[6])) + ((half[1] + half[5]) + (half[3] + half[7]));
}
#endif
inline Vec Select(VecI mask, Vec yes, Vec no) { return mask ? yes : no; }
// A NaN in the first operand is kept, so that a diverged training run shows it.
inline Vec Max(Vec a, Vec b) { return b > a ? b : a; }
inline Vec Min(Vec a, Vec b) { return b < a ? b : a; }

// A tail of n < kLanes elements, followed by zeros.
inline Vec LoadTail(const float* p, int64_t n) {
  Vec v = All(0);
  for (int64_t i = 0; i < n; i++) v[i] = p[i];
  return v;
}
inline void StoreTail(float* p, Vec v, int64_t n) {
  for (int64_t i = 0; i < n; i++) p[i] = v[i];
}

inline void Copy(const float* from, int64_t count, float* to) {
  if (count > 0) __builtin_memcpy(to, from, count * sizeof(float));
}
inline void Fill(float* to, int64_t count, float x) {
  for (int64_t i = 0; i < count; i++) to[i] = x;
}

// y[i] = f(x[i]) for i in [from, to).
template <typename F>
inline void Map(const float* x, float* y, int64_t from, int64_t to, F f) {
  int64_t i = from;
  for (; i + kLanes <= to; i += kLanes) Store(y + i, f(Load(x + i)));
  if (i < to) StoreTail(y + i, f(LoadTail(x + i, to - i)), to - i);
}

// The transpose of 8 x 8 elements: out(i, j) = from(j, i).
#if FOLIO_LANES == 4
inline void Transpose8(const float* from, int64_t stride, float* out, int64_t out_stride) {
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 8; j += 4) {
      const float* block = from + j * stride + i;
      const Vec a = Load(block), b = Load(block + stride), c = Load(block + 2 * stride), d = Load(block + 3 * stride);
      const Vec ac = FOLIO_SHUFFLE(a, c, 0, 4, 1, 5), AC = FOLIO_SHUFFLE(a, c, 2, 6, 3, 7);
      const Vec bd = FOLIO_SHUFFLE(b, d, 0, 4, 1, 5), BD = FOLIO_SHUFFLE(b, d, 2, 6, 3, 7);
      float* to = out + i * out_stride + j;
      Store(to, FOLIO_SHUFFLE(ac, bd, 0, 4, 1, 5));
      Store(to + out_stride, FOLIO_SHUFFLE(ac, bd, 2, 6, 3, 7));
      Store(to + 2 * out_stride, FOLIO_SHUFFLE(AC, BD, 0, 4, 1, 5));
      Store(to + 3 * out_stride, FOLIO_SHUFFLE(AC, BD, 2, 6, 3, 7));
    }
  }
}
#else
inline void Transpose8(const float* from, int64_t stride, float* out, int64_t out_stride) {
  Vec8 r[8], s[8];
  for (int i = 0; i < 8; i++) r[i] = *reinterpret_cast<const Unaligned8*>(from + i * stride);
  for (int i = 0; i < 8; i += 2) {
    s[i] = FOLIO_SHUFFLE(r[i], r[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    s[i + 1] = FOLIO_SHUFFLE(r[i], r[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; j++) {
      r[i + j] = FOLIO_SHUFFLE(s[i + j], s[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      r[i + j + 2] = FOLIO_SHUFFLE(s[i + j], s[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; i++) {
    *reinterpret_cast<Unaligned8*>(out + i * out_stride) = FOLIO_SHUFFLE(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    *reinterpret_cast<Unaligned8*>(out + (i + 4) * out_stride) = FOLIO_SHUFFLE(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}
#endif

// exp(x): x = n ln 2 + r, |r| <= ln 2 / 2, a polynomial for exp(r) (Cephes, Moshier 1984), times 2^n.
inline Vec Exp(Vec x) {
  x = Min(Max(x, All(-87.3f)), All(88.3f));
  // Adding 1.5 2^23 rounds to an integer, and the last bits of the sum are n.
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

// erf(x) by the rational function of Eigen and XLA, odd in x, on [-4, 4]; at the ends it rounds to -1 and 1.
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

// ---- work divided among the threads

// Runs f(piece) for pieces [0, count) on all threads, or on this one if the total `cycles` are too few.
template <typename F>
void Take(const Host& host, int64_t count, double cycles, const F& f) {
  host.run(host, count, cycles < 30'000, [](const void* function, int64_t piece) { (*static_cast<const F*>(function))(piece); }, &f);
}

// Runs f(from, to) over [0, count) in parts; `cost` is in cycles per item.
template <typename F>
void Parallel(const Host& host, int64_t count, int64_t cost, const F& f) {
  const int64_t parts = Least(count, 4 * host.threads);
  Take(host, parts, static_cast<double>(count) * cost, [&](int64_t part) { f(part * count / parts, (part + 1) * count / parts); });
}

// The same in blocks of a fixed size, so that vectors are split the same way for any number of threads.
template <typename F>
void ParallelElements(const Host& host, int64_t count, int64_t cost, const F& f) {
  constexpr int64_t kBlock = 1024;
  Parallel(host, Divided(count, kBlock), kBlock * cost, [&](int64_t from, int64_t to) {
    for (int64_t block = from; block < to; block++) f(block * kBlock, Least(count, (block + 1) * kBlock));
  });
}

// Slots of a thread's own memory (Host::memory); one kernel must not use a slot for two purposes at once.
enum Place { kPanels, kStrips, kSharedPanels, kSharedPanels2, kKernel, kHead, kPlaces };

}  // namespace
}  // namespace folio
