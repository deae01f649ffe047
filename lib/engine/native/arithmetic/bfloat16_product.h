// The factors of a matrix product in bfloat16: two elements that are multiplied with the same two of the other factor share
// a 32-bit word, the first in the lower half. Processors with AVX512_BF16 or Arm's BF16 multiply and add such words in one
// instruction; sums are float32. Both factors are packed in panels of 16 lines; a tile is 16 x 16, or four rows at a time
// where registers are few.
#pragma once
#include "simd.h"
#if defined(FOLIO_AVX512) && defined(__AVX512BF16__)
#define FOLIO_AVX512BF16
#elif FOLIO_LANES == 4 && defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#include <arm_neon.h>
#define FOLIO_NEONBF16
#endif

namespace folio {
namespace {

typedef uint32_t UnalignedWords __attribute__((vector_size(4 * FOLIO_LANES), aligned(4), may_alias));
typedef uint16_t Halves __attribute__((vector_size(2 * FOLIO_LANES)));
typedef uint16_t UnalignedHalves __attribute__((vector_size(2 * FOLIO_LANES), aligned(4), may_alias));
typedef uint32_t Word __attribute__((may_alias));
constexpr int64_t kPairs = 16;
constexpr int kPairVectors = kPairs / kLanes;

inline VecU LoadWords(const float* p) { return *reinterpret_cast<const UnalignedWords*>(p); }
inline void StoreWords(float* p, VecU v) { *reinterpret_cast<UnalignedWords*>(p) = v; }

// Each element rounded to bfloat16 (nearest, ties to even), in the lower half; NaN stays NaN.
inline VecU Rounded(Vec x) {
  const VecU bits = reinterpret_cast<VecU>(x), nearest = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return x != x ? (bits >> 16) | 64 : nearest;
}
inline uint32_t Rounded(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  return x != x ? (bits >> 16) | 64 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
inline uint32_t Pair(float low, float high) { return Rounded(low) | Rounded(high) << 16; }

// Words from the elements of two vectors, and words from elements that are adjacent in memory.
#ifdef FOLIO_AVX512BF16
inline VecU Pairs(Vec low, Vec high) {
  typedef uint16_t Woven __attribute__((vector_size(64)));
  constexpr Woven kWoven{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return (VecU)_mm512_permutexvar_epi16((__m512i)kWoven, (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
}
inline void StoreAdjacent(float* to, const float* from) {
  StoreWords(to, (VecU)_mm512_cvtne2ps_pbh((__m512)Load(from + kLanes), (__m512)Load(from)));
}
#else
inline VecU Pairs(Vec low, Vec high) { return Rounded(low) | Rounded(high) << 16; }
inline void StoreAdjacent(float* to, const float* from) {
  UnalignedHalves* halves = reinterpret_cast<UnalignedHalves*>(to);
  halves[0] = __builtin_convertvector(Rounded(Load(from)), Halves);
  halves[1] = __builtin_convertvector(Rounded(Load(from + kLanes)), Halves);
}
#endif

// sum + both products of a word with each word of a vector.
inline Vec AddProducts(Vec sum, uint32_t word, VecU words) {
#if defined(FOLIO_AVX512BF16)
  return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(word), (__m512bh)words);
#elif defined(FOLIO_NEONBF16)
  const bfloat16x8_t left = vreinterpretq_bf16_u32(vdupq_n_u32(word)), right = vreinterpretq_bf16_u32((uint32x4_t)words);
  return (Vec)vbfdotq_f32((float32x4_t)sum, left, right);
#else
  const VecU low = VecU{} + (word << 16), high = VecU{} + (word & 0xffff0000u);
  return sum + (Vec)high * (Vec)(words & 0xffff0000u) + (Vec)low * (Vec)(words << 16);
#endif
}

// Packs lines of a factor (rows of A, columns of B), which are `line` apart with elements `along` apart, into panels of 16
// lines, word after word; positions past the last line or element are zero. The factor is read in memory order.
inline void PackPairs(const float* from, int64_t line, int64_t along, int64_t lines, int64_t depth, float* out, int64_t apart) {
  const int64_t whole = line == 1 || along == 1 ? lines / kPairs * kPairs : 0;
  int64_t done = 0;  // words of the complete panels
  if (line == 1) {
    for (; 2 * done + 1 < depth; done++) {
      const float* low = from + 2 * done * along;
      float* to = out + done * kPairs;
      for (int64_t j = 0; j < whole; j += kPairs, to += apart) {
        for (int64_t l = 0; l < kPairs; l += kLanes) StoreWords(to + l, Pairs(Load(low + j + l), Load(low + along + j + l)));
      }
    }
  } else if (along == 1) {
    done = depth / (2 * kPairs) * kPairs;
    for (int64_t j = 0; j < whole; j += kPairs) {
      for (int64_t k = 0; k < done; k += kPairs) {
        float block[kPairs * kPairs], *to = out + j / kPairs * apart + k * kPairs;
        for (int64_t c = 0; c < kPairs; c++) {
          for (int64_t l = 0; l < kPairs; l += kLanes) StoreAdjacent(block + c * kPairs + l, from + (j + c) * line + 2 * (k + l));
        }
        for (int64_t c = 0; c < kPairs; c += 8) {
          for (int64_t r = 0; r < kPairs; r += 8) Transpose8(block + c * kPairs + r, kPairs, to + r * kPairs + c, kPairs);
        }
      }
    }
  }
  for (int64_t j = 0; j < lines; j += kPairs) {
    for (int64_t k = j < whole ? done : 0; 2 * k < depth; k++) {
      Word* to = reinterpret_cast<Word*>(out + j / kPairs * apart + k * kPairs);
      for (int64_t c = 0; c < kPairs; c++) {
        const float* low = from + (j + c) * line + 2 * k * along;
        to[c] = j + c >= lines ? 0 : Pair(*low, 2 * k + 1 < depth ? low[along] : 0);
      }
    }
  }
}

// The destination of a tile: C = A B, or base + A B, with `columns` valid columns; base may be C.
struct TileResult {
  float* c;
  int64_t ldc, columns;
  const float* base;
  int64_t ldbase;
};

// Stores the sums of row `r` of a tile.
template <int Vectors>
inline void StoreRow(const Vec* sums, int64_t r, const TileResult& to) {
  float* out = to.c + r * to.ldc;
  const float* from = to.base + r * to.ldbase;
  for (int v = 0; v < Vectors; v++) {
    const int64_t j = v * kLanes;
    if (j + kLanes <= to.columns) {
      Store(out + j, to.base ? Load(from + j) + sums[v] : sums[v]);
    } else {
      for (int64_t l = 0; j + l < to.columns; l++) out[j + l] = to.base ? from[j + l] + sums[v][l] : sums[v][l];
    }
  }
}

// Rows x 16 of C, from row `first` on; C has `rows` rows in all.
template <int Rows>
inline __attribute__((noinline)) void PairTile(const float* a, const float* b, int64_t words, int64_t first, int64_t rows, const TileResult& to) {
  for (int64_t r = first; r < Least(rows, first + Rows); r++) __builtin_prefetch(to.c + r * to.ldc, 1);
  Vec sum[Rows][kPairVectors] = {};
  for (int64_t k = 0; k < words; k++) {
    VecU right[kPairVectors];
    for (int v = 0; v < kPairVectors; v++) right[v] = LoadWords(b + k * kPairs + v * kLanes);
    const Word* left = reinterpret_cast<const Word*>(a + k * kPairs + first);
#pragma GCC unroll 16
    for (int64_t r = 0; r < Rows; r++) {
      for (int v = 0; v < kPairVectors; v++) sum[r][v] = AddProducts(sum[r][v], left[r], right[v]);
    }
  }
#pragma GCC unroll 16
  for (int64_t r = 0; r < Rows; r++) {
    if (first + r >= rows) break;
    StoreRow<kPairVectors>(sum[r], first + r, to);
  }
}

// 16 x 16 of C, of which `rows` and to.columns are valid, from a panel of A's rows and one of B's columns.
inline void PairTiles(const float* a, const float* b, int64_t words, int64_t rows, const TileResult& to) {
  constexpr int kRowsAtOnce = kLanes == 16 ? 16 : 4;
  for (int64_t first = 0; first < rows; first += kRowsAtOnce) PairTile<kRowsAtOnce>(a, b, words, first, rows, to);
}

}  // namespace
}  // namespace folio
