// The factors of a matrix product in bfloat16: two elements that meet the same two of the other factor lie in the 32 bits of a
// float, the first in the lower half. Processors with AVX512_BF16 multiply and add such words at once; sums are float32.
#pragma once
#include <algorithm>
#include <cstring>

#include "simd.h"
#if defined(__AVX512BF16__) && defined(__AVX512BW__)
#define FOLIO_MULTIPLIES_PAIRS
#include <immintrin.h>
#endif

namespace folio {

typedef float Wide __attribute__((vector_size(64)));
typedef float UnalignedWide __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint32_t UnalignedWords __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t Word __attribute__((may_alias));
constexpr int64_t kWide = 16;

inline Wide LoadWide(const float* p) { return *reinterpret_cast<const UnalignedWide*>(p); }
inline Words LoadWords(const float* p) { return *reinterpret_cast<const UnalignedWords*>(p); }
inline void StoreWords(float* p, Words v) { *reinterpret_cast<UnalignedWords*>(p) = v; }

// The nearest bfloat16, of two the even one, in the lower half; NaN stays.
inline uint32_t Rounded(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return x != x ? (bits >> 16) | 64 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
inline uint32_t Pair(float low, float high) { return Rounded(low) | Rounded(high) << 16; }

// Words of the elements of two vectors, and of 32 elements that lie side by side.
#ifdef FOLIO_MULTIPLIES_PAIRS
inline Words Pairs(Wide low, Wide high) {
  typedef uint16_t Halves __attribute__((vector_size(64)));
  constexpr Halves kWoven{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return (Words)_mm512_permutexvar_epi16((__m512i)kWoven, (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
}
inline Words Adjacent(const float* p) { return (Words)_mm512_cvtne2ps_pbh((__m512)LoadWide(p + kWide), (__m512)LoadWide(p)); }
#else
inline Words Pairs(Wide low, Wide high) {
  Words words;
  for (int64_t i = 0; i < kWide; i++) words[i] = Pair(low[i], high[i]);
  return words;
}
inline Words Adjacent(const float* p) {
  Words words;
  for (int64_t i = 0; i < kWide; i++) words[i] = Pair(p[2 * i], p[2 * i + 1]);
  return words;
}
#endif

// sum + both products of a word with each of sixteen.
inline Wide AddProducts(Wide sum, uint32_t word, Words words) {
#ifdef FOLIO_MULTIPLIES_PAIRS
  return (Wide)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(word), (__m512bh)words);
#else
  const Words low = Words{} + (word << 16), high = Words{} + (word & 0xffff0000u);
  return sum + (Wide)high * (Wide)(words & 0xffff0000u) + (Wide)low * (Wide)(words << 16);
#endif
}

// Lines of a factor (rows of A, columns of B), `line` apart, elements of each `along` apart, as panels of 16 lines, word after
// word; what is behind the last line or the last element is zero. Read in the order in which they lie in memory.
inline void PackPairs(const float* from, int64_t line, int64_t along, int64_t lines, int64_t depth, float* out, int64_t apart) {
  const int64_t whole = line == 1 || along == 1 ? lines / kWide * kWide : 0;
  int64_t done = 0;  // words of the whole panels
  if (line == 1) {
    for (; 2 * done + 1 < depth; done++) {
      const float* low = from + 2 * done * along;
      float* to = out + done * kWide;
      for (int64_t j = 0; j < whole; j += kWide, to += apart) StoreWords(to, Pairs(LoadWide(low + j), LoadWide(low + along + j)));
    }
  } else if (along == 1) {
    done = depth / (2 * kWide) * kWide;
    for (int64_t j = 0; j < whole; j += kWide) {
      for (int64_t k = 0; k < done; k += kWide) {
        float block[kWide * kWide], *to = out + j / kWide * apart + k * kWide;
        for (int64_t c = 0; c < kWide; c++) StoreWords(block + c * kWide, Adjacent(from + (j + c) * line + 2 * k));
        for (int64_t c = 0; c < kWide; c += kLanes) {
          for (int64_t r = 0; r < kWide; r += kLanes) Transpose8(block + c * kWide + r, kWide, to + r * kWide + c, kWide);
        }
      }
    }
  }
  for (int64_t j = 0; j < lines; j += kWide) {
    for (int64_t k = j < whole ? done : 0; 2 * k < depth; k++) {
      Word* to = reinterpret_cast<Word*>(out + j / kWide * apart + k * kWide);
      for (int64_t c = 0; c < kWide; c++) {
        const float* low = from + (j + c) * line + 2 * k * along;
        to[c] = j + c >= lines ? 0 : Pair(*low, 2 * k + 1 < depth ? low[along] : 0);
      }
    }
  }
}

// Rows x 16 of C, of which `rows` and `columns` exist, from a panel of A's rows and one of B's columns. C = A B, or base + A B; base may be C.
inline __attribute__((noinline)) void PairTile(const float* a, const float* b, int64_t words, float* c, int64_t ldc, int64_t rows, int64_t columns,
                     const float* base, int64_t ldbase) {
  for (int64_t r = 0; r < rows; r++) __builtin_prefetch(c + r * ldc, 1);
  Wide sum[kWide] = {};
  for (int64_t k = 0; k < words; k++) {
    const Words right = LoadWords(b + k * kWide);
    const Word* left = reinterpret_cast<const Word*>(a + k * kWide);
#pragma GCC unroll 16
    for (int64_t r = 0; r < kWide; r++) sum[r] = AddProducts(sum[r], left[r], right);
  }
#pragma GCC unroll 16
  for (int64_t r = 0; r < kWide; r++) {
    if (r >= rows) break;
    float* out = c + r * ldc;
    const float* from = base + r * ldbase;
    if (columns == kWide) {
      *reinterpret_cast<UnalignedWide*>(out) = base ? LoadWide(from) + sum[r] : sum[r];
    } else {
      for (int64_t j = 0; j < columns; j++) out[j] = base ? from[j] + sum[r][j] : sum[r][j];
    }
  }
}

}  // namespace folio
