// Rows of a table, and the sum of the squares of all gradients.
#pragma once
#include "../arithmetic/simd.h"

namespace folio {
namespace {

inline double SquaresOfBlock(const float* x, int64_t count) {
  Vec sums[4] = {All(0), All(0), All(0), All(0)};
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    for (int j = 0; j < 4; j++) sums[j] += Load(x + i + j * kLanes) * Load(x + i + j * kLanes);
  }
  double rest = 0;
  for (; i < count; i++) rest += static_cast<double>(x[i]) * x[i];
  return Sum((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest;
}

// The sum of the squares of all elements of a list of tensors, in blocks of a fixed size, so that it does not depend on the
// number of threads.
void Squares(const Host& host, const float* const* tensors, const int64_t* counts, int64_t tensor_count, float* total) {
  constexpr int64_t kBlock = 16'384;
  int64_t blocks = 0;
  for (int64_t i = 0; i < tensor_count; i++) blocks += Divided(counts[i], kBlock);
  double* partial = reinterpret_cast<double*>(host.memory(kKernel, 2 * blocks));
  Parallel(host, blocks, kBlock / 8, [=](int64_t from, int64_t to) {
    int64_t tensor = 0, first = 0;  // the tensor of a block, and that tensor's first block
    for (int64_t block = from; block < to; block++) {
      for (; block - first >= Divided(counts[tensor], kBlock); tensor++) first += Divided(counts[tensor], kBlock);
      const int64_t at = (block - first) * kBlock;
      partial[block] = SquaresOfBlock(tensors[tensor] + at, Least(kBlock, counts[tensor] - at));
    }
  });
  double sum = 0;
  for (int64_t block = 0; block < blocks; block++) sum += partial[block];
  *total = static_cast<float>(sum);
}

// table[ids]
void Rows(const Host& host, const float* table, const int32_t* ids, int64_t N, int64_t C, float* out) {
  Parallel(host, N, C / 4, [=](int64_t first, int64_t end) {
    for (int64_t n = first; n < end; n++) Copy(table + ids[n] * C, C, out + n * C);
  });
}

}  // namespace
}  // namespace folio
