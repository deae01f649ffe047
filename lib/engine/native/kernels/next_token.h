// Draws the next token from logits, as lib/sample/next-token.ts does: temperature, top-k, top-p, and the draw. Sums are
// float64 here.
#pragma once
#include "../arithmetic/simd.h"

namespace folio {
namespace {

// exp(x) for x <= 0, and 0 where it is negligible
inline void Exponentials(const float* x, float* y, int64_t count) {
  Map(x, y, 0, count, [](Vec v) { return Select(v > -87.0f, Exp(v), All(0)); });
}

// A heap with its top at heap[0]: before(a, b) says whether a belongs nearer to the top.
template <typename Before>
inline void Sink(float* heap, int64_t count, int64_t at, Before before) {
  const float x = heap[at];
  for (int64_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
    if (child + 1 < count && before(heap[child + 1], heap[child])) child++;
    if (!before(heap[child], x)) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = x;
}
template <typename Before>
inline void MakeHeap(float* heap, int64_t count, Before before) {
  for (int64_t at = count / 2 - 1; at >= 0; at--) Sink(heap, count, at, before);
}

// The k-th largest of x, k <= count; NaN if fewer than k are numbers. `heap` has room for k.
inline float KthLargest(const float* x, int64_t count, int64_t k, float* heap) {
  const auto less = [](float a, float b) { return a < b; };
  int64_t held = 0;
  for (int64_t i = 0; i < count; i++) {
    if (x[i] != x[i]) continue;
    if (held < k) {
      heap[held++] = x[i];
      if (held == k) MakeHeap(heap, k, less);
    } else if (x[i] > heap[0]) {
      heap[0] = x[i];
      Sink(heap, k, 0, less);
    }
  }
  return held < k ? __builtin_nanf("") : heap[0];
}

// The smallest of the k largest, k <= count, that is needed to reach a share of the probability. Of those equal to the k-th,
// only as many count as are among the k. `heap` and `shares` have room for count.
inline float LeastOfShare(const float* x, int64_t count, int64_t k, float kth, float share, float* heap, float* shares) {
  const auto greater = [](float a, float b) { return a > b; };
  int64_t held = 0;
  for (int64_t i = 0; i < count; i++) if (x[i] > kth) heap[held++] = x[i];
  for (; held < k; held++) heap[held] = kth;
  Exponentials(heap, shares, held);
  double total = 0, before = 0;
  for (int64_t i = 0; i < held; i++) total += shares[i];
  MakeHeap(heap, held, greater);
  float least = heap[0];
  while (held > 0 && (before == 0 || before < share * total)) {
    least = heap[0];
    float likely;
    Exponentials(&least, &likely, 1);
    before += likely;
    heap[0] = heap[--held];
    if (held > 0) Sink(heap, held, 0, greater);
  }
  return least;
}

int32_t NextToken(const Host& host, const float* logits, int64_t V, float u, const Choice& choice) {
  float *scaled = host.memory(kKernel, 4 * V), *weights = scaled + V, *heap = weights + V;
  int32_t* kept = reinterpret_cast<int32_t*>(heap + V);
  float most = logits[0];
  for (int64_t i = 1; i < V; i++) most = most < logits[i] ? logits[i] : most;
  const float temperature = choice.temperature;
  Map(logits, scaled, 0, V, [=](Vec v) { return (v - most) / temperature; });
  const int64_t k = choice.top_k > 0 && choice.top_k < V ? choice.top_k : V;
  float least = -HUGE_VALF;
  if (k < V) least = KthLargest(scaled, V, k, heap);
  if (choice.top_p < 1 && least == least) {
    const float needed = LeastOfShare(scaled, V, k, least, choice.top_p, heap, weights);
    if (needed > least) least = needed;
  }
  int64_t count = 0;
  for (int64_t i = 0; i < V; i++) {
    if (scaled[i] < least) continue;
    weights[count] = scaled[i];
    kept[count++] = i;
  }
  Exponentials(weights, weights, count);
  double total = 0, passed = 0;
  for (int64_t i = 0; i < count; i++) total += weights[i];
  for (int64_t i = 0; i < count; i++) {
    passed += weights[i];
    if (passed > u * total) return kept[i];
  }
  return 0;  // if the logits are NaN, as in the plain form
}

}  // namespace
}  // namespace folio
