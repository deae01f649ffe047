// Cross-entropy of logits [N, V] with targets [N], the mean over the rows whose target is not negative, and its gradient
// (softmax - onehot) / rows, in one pass over the logits.
#pragma once
#include "../arithmetic/simd.h"

namespace folio {
namespace {

// ln sum exp(x) - x[target]; gradient = share (softmax(x) - onehot(target)). gradient may be x.
inline double CrossEntropyRow(const float* x, int64_t V, int32_t target, float share, float* gradient) {
  Vec highest = All(-HUGE_VALF);
  int64_t v = 0;
  for (; v + kLanes <= V; v += kLanes) highest = Max(Load(x + v), highest);
  float top = x[0];
  for (int l = 0; l < kLanes; l++) top = highest[l] > top ? highest[l] : top;
  for (; v < V; v++) top = x[v] > top ? x[v] : top;
  const double wanted = static_cast<double>(top) - x[target];
  Vec total = All(0);
  for (v = 0; v + kLanes <= V; v += kLanes) {
    const Vec e = Exp(Load(x + v) - top);
    Store(gradient + v, e);
    total += e;
  }
  float rest = 0;
  if (v < V) {
    const Vec e = Exp(LoadTail(x + v, V - v) - top);
    StoreTail(gradient + v, e, V - v);
    for (int64_t l = 0; l < V - v; l++) rest += e[l];
  }
  const float sum = Sum(total) + rest, scale = share / sum;
  for (v = 0; v + kLanes <= V; v += kLanes) Store(gradient + v, Load(gradient + v) * scale);
  for (; v < V; v++) gradient[v] *= scale;
  gradient[target] -= share;
  return log(static_cast<double>(sum)) + wanted;
}

void CrossEntropy(const Host& host, const float* x, const int32_t* target, int64_t N, int64_t V, float* loss, float* gradient) {
  int64_t counted = 0;
  for (int64_t n = 0; n < N; n++) counted += target[n] >= 0;
  const float share = 1.0f / Most(counted, 1);
  double* each = reinterpret_cast<double*>(host.memory(kKernel, 2 * N));
  Parallel(host, N, V * 3, [=](int64_t from, int64_t to) {
    for (int64_t n = from; n < to; n++) {
      if (target[n] >= 0) {
        each[n] = CrossEntropyRow(x + n * V, V, target[n], share, gradient + n * V);
        continue;
      }
      each[n] = 0;
      Fill(gradient + n * V, V, 0);
    }
  });
  double sum = 0;
  for (int64_t n = 0; n < N; n++) sum += each[n];
  *loss = static_cast<float>(sum / Most(counted, 1));
}

}  // namespace
}  // namespace folio
