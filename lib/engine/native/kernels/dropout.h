// Dropout: each element times 0 or a scale, by random numbers of the row's key and the element's number in the row. The
// gradient draws the same numbers again, so no mask is stored.
#pragma once
#include "../arithmetic/philox.h"

namespace folio {
namespace {

inline Draws DrawsOfRow(const Dropout& dropout, int64_t row) {
  const uint32_t key0 = static_cast<uint32_t>(dropout.key[0]) + static_cast<uint32_t>(dropout.use);
  return DrawsOf(static_cast<int32_t>(key0), static_cast<int32_t>(static_cast<uint32_t>(dropout.key[1]) + static_cast<uint32_t>(row)));
}

// Of the elements [first, first + kDrawn); `first` is a multiple of 4.
struct Factors {
  Vec of[4];
};
inline Factors FactorsAt(const Dropout& dropout, const Draws& draws, int64_t first) {
  const Words words = Drawn(draws, first);
  const Vec scale = All(dropout.scale);
  Factors factors;
  for (int i = 0; i < 4; i++) factors.of[i] = Select(Uniform(words.word[i]) >= dropout.rate, scale, All(0));
  return factors;
}

void DropOut(const Host& host, const Dropout& dropout, const float* x, int64_t rows, int64_t size, float* y) {
  constexpr int64_t kBlock = 4096;
  static_assert(kBlock % kDrawn == 0, "a block starts at a multiple of what is drawn at a time");
  const int64_t blocks = Divided(size, kBlock);
  Parallel(host, rows * blocks, 4 * kBlock, [=](int64_t from, int64_t to) {
    for (int64_t block = from; block < to; block++) {
      const int64_t row = block / blocks, start = block % blocks * kBlock, end = Least(size, start + kBlock);
      const Draws draws = DrawsOfRow(dropout, row);
      for (int64_t i = start; i < end; i += kDrawn) {
        const Factors factors = FactorsAt(dropout, draws, i);
        for (int64_t part = 0, at = i; part < 4 && at < end; part++, at += kLanes) {
          const float* in = x + row * size + at;
          float* out = y + row * size + at;
          if (at + kLanes <= end) Store(out, Load(in) * factors.of[part]);
          else StoreTail(out, LoadTail(in, end - at) * factors.of[part], end - at);
        }
      }
    }
  });
}

}  // namespace
}  // namespace folio
