// Uniform random numbers that are TensorFlow's StatelessRandomUniform bit for bit: Philox4x32-10 (Salmon 2011) of an element's
// number / 4, under a key that is first scrambled by Philox. host/random.ts computes the same, and webgpu-random.ts on WebGPU.
#pragma once
#include "simd.h"

namespace folio {
namespace {

constexpr int kRounds = 10;
constexpr uint32_t kMultiplier0 = 0xd2511f53, kMultiplier1 = 0xcd9e8d57, kBump0 = 0x9e3779b9, kBump1 = 0xbb67ae85;
constexpr int64_t kDrawn = 4 * kLanes;  // numbers at a time

// The high halves of the 64-bit products.
inline VecU HighProduct(VecU a, uint32_t b) {
#if defined(FOLIO_AVX512)
  const __m512i x = reinterpret_cast<__m512i>(a), y = _mm512_set1_epi32(static_cast<int>(b));
  const __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(x, y), 32), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), y);
  return reinterpret_cast<VecU>(_mm512_mask_mov_epi32(even, 0xaaaa, odd));
#elif defined(FOLIO_AVX2)
  const __m256i x = reinterpret_cast<__m256i>(a), y = _mm256_set1_epi32(static_cast<int>(b));
  const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(x, y), 32), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), y);
  return reinterpret_cast<VecU>(_mm256_blend_epi32(even, odd, 0xaa));
#else
  // Of halves of 16 bits.
  const VecU low = (a & 0xffff) * (b & 0xffff), middle = (a >> 16) * (b & 0xffff) + (low >> 16);
  const VecU carry = (a & 0xffff) * (b >> 16) + (middle & 0xffff);
  return (a >> 16) * (b >> 16) + (middle >> 16) + (carry >> 16);
#endif
}

// The random numbers of one key.
struct Draws {
  uint32_t key0, key1, counter2, counter3;
};

// `key` as the operations have it, two int32.
inline Draws DrawsOf(int32_t key0, int32_t key1) {
  uint32_t c[4] = {static_cast<uint32_t>(key0), key0 < 0 ? ~0u : 0u, static_cast<uint32_t>(key1), key1 < 0 ? ~0u : 0u};
  uint32_t k0 = 0x3ec8f720, k1 = 0x02461e29;  // TensorFlow's
  for (int round = 0; round < kRounds; round++, k0 += kBump0, k1 += kBump1) {
    const uint64_t p0 = uint64_t{kMultiplier0} * c[0], p1 = uint64_t{kMultiplier1} * c[2];
    const uint32_t c0 = static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, c2 = static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1;
    c[0] = c0;
    c[1] = static_cast<uint32_t>(p1);
    c[2] = c2;
    c[3] = static_cast<uint32_t>(p0);
  }
  return {c[0], c[1], c[2], c[3]};
}

struct Words {
  VecU word[4];
};

// Of vectors with word i of each counter, the words in the order of the elements. The counters stand in the lanes as kCounters
// says, so that each vector stays in its parts of 4 lanes.
inline Words Interleaved(const Words& w) {
#if defined(FOLIO_AVX512)
  __m512i v[4];
  for (int i = 0; i < 4; i++) v[i] = reinterpret_cast<__m512i>(w.word[i]);
  const __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpacklo_epi32(v[2], v[3]);
  const __m512i c = _mm512_unpackhi_epi32(v[0], v[1]), d = _mm512_unpackhi_epi32(v[2], v[3]);
  return {{reinterpret_cast<VecU>(_mm512_unpacklo_epi64(a, b)), reinterpret_cast<VecU>(_mm512_unpackhi_epi64(a, b)),
           reinterpret_cast<VecU>(_mm512_unpacklo_epi64(c, d)), reinterpret_cast<VecU>(_mm512_unpackhi_epi64(c, d))}};
#elif defined(FOLIO_AVX2)
  __m256i v[4];
  for (int i = 0; i < 4; i++) v[i] = reinterpret_cast<__m256i>(w.word[i]);
  const __m256i a = _mm256_unpacklo_epi32(v[0], v[1]), b = _mm256_unpacklo_epi32(v[2], v[3]);
  const __m256i c = _mm256_unpackhi_epi32(v[0], v[1]), d = _mm256_unpackhi_epi32(v[2], v[3]);
  return {{reinterpret_cast<VecU>(_mm256_unpacklo_epi64(a, b)), reinterpret_cast<VecU>(_mm256_unpackhi_epi64(a, b)),
           reinterpret_cast<VecU>(_mm256_unpacklo_epi64(c, d)), reinterpret_cast<VecU>(_mm256_unpackhi_epi64(c, d))}};
#else
  Words out;
  for (int j = 0; j < 4; j++) for (int l = 0; l < kLanes; l++) out.word[j][l] = w.word[l % 4][l / 4 * 4 + j];
  return out;
#endif
}

// Lane 4 i + j holds counter j kLanes / 4 + i.
#if FOLIO_LANES == 4
constexpr VecU kCounters{0, 1, 2, 3};
#elif FOLIO_LANES == 8
constexpr VecU kCounters{0, 2, 4, 6, 1, 3, 5, 7};
#else
constexpr VecU kCounters{0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
#endif

// Random bits of the elements [first, first + kDrawn); `first` is a multiple of 4.
inline Words Drawn(const Draws& draws, int64_t first) {
  const uint64_t counter = static_cast<uint64_t>(first) / 4;
  VecU c0 = kCounters + static_cast<uint32_t>(counter);
  // A carry into the second word, after 17 billion elements.
  VecU c1 = static_cast<uint32_t>(counter >> 32) - reinterpret_cast<VecU>(c0 < static_cast<uint32_t>(counter));
  VecU c2 = VecU{} + draws.counter2, c3 = VecU{} + draws.counter3;
  uint32_t k0 = draws.key0, k1 = draws.key1;
  for (int round = 0; round < kRounds; round++, k0 += kBump0, k1 += kBump1) {
    const VecU high0 = HighProduct(c0, kMultiplier0), high1 = HighProduct(c2, kMultiplier1);
    const VecU low0 = c0 * kMultiplier0, low1 = c2 * kMultiplier1;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
  }
  return Interleaved({{c0, c1, c2, c3}});
}

// Uniform in [0, 1), in steps of 2^-23.
inline Vec Uniform(VecU bits) { return reinterpret_cast<Vec>((bits & 0x7fffff) | 0x3f800000) - 1.0f; }

}  // namespace
}  // namespace folio
