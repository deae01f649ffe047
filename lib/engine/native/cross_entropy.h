// Cross-entropy of logits [N, V] with targets [N], the mean over the rows whose target is not negative, and its gradient
// (softmax - onehot) / rows, in one go over the logits.
#pragma once
#include <string>

#include "kernel.h"

namespace {

class CrossEntropyOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const Tensor &logits = context->input(0), &targets = context->input(1);
    const bool fits = logits.dims() == 2 && targets.shape() == TensorShape({logits.dim_size(0)});
    if (!Fits(context, fits, "cross-entropy: wanted logits [N, V], targets [N]")) return;
    const int64_t N = logits.dim_size(0), V = logits.dim_size(1);
    const int32* target = targets.flat<int32>().data();
    int64_t counted = 0;
    for (int64_t n = 0; n < N; n++) {
      counted += target[n] >= 0;
      if (target[n] < V) continue;
      // As TensorFlow's own says it.
      const std::string found = "Received a label value of " + std::to_string(target[n]);
      Fits(context, false, (found + " which is outside the valid range of [0, " + std::to_string(V) + ")").c_str());
      return;
    }
    const float* x = In(context, 0);
    // In the logits' place where nobody else needs them.
    float *loss = Out(context, 0, TensorShape({})), *gradient = OutOver(context, 1, 0, logits.shape());
    if (!context->status().ok()) return;
    const float share = 1.0f / std::max<int64_t>(counted, 1);
    std::vector<double> losses(N, 0);
    double* each = losses.data();
    Parallel(context, N, V * 3, [=](int64_t from, int64_t to) {
      for (int64_t n = from; n < to; n++) {
        if (target[n] < 0) std::fill_n(gradient + n * V, V, 0.0f);
        else each[n] = Row(x + n * V, V, target[n], share, gradient + n * V);
      }
    });
    double sum = 0;
    for (const double one : losses) sum += one;
    *loss = static_cast<float>(sum / std::max<int64_t>(counted, 1));
  }

 private:
  // ln sum exp(x) - x[target]; gradient = share (softmax(x) - onehot(target)). gradient may be x.
  static double Row(const float* x, int64_t V, int32 target, float share, float* gradient) {
    Vec highest = All(-HUGE_VALF);
    int64_t v = 0;
    for (; v + kLanes <= V; v += kLanes) highest = folio::Max(Load(x + v), highest);
    float top = x[0];
    for (int l = 0; l < kLanes; l++) top = highest[l] > top ? highest[l] : top;
    for (; v < V; v++) top = x[v] > top ? x[v] : top;
    const double wanted = static_cast<double>(top) - x[target];
    Vec total = All(0);
    for (v = 0; v + kLanes <= V; v += kLanes) {
      const Vec e = folio::Exp(Load(x + v) - top);
      Store(gradient + v, e);
      total += e;
    }
    float rest = 0;
    if (v < V) {
      const Vec e = folio::Exp(LoadTail(x + v, V - v) - top);
      StoreTail(gradient + v, e, V - v);
      for (int64_t l = 0; l < V - v; l++) rest += e[l];
    }
    const float sum = folio::Sum(total) + rest, scale = share / sum;
    for (v = 0; v + kLanes <= V; v += kLanes) Store(gradient + v, Load(gradient + v) * scale);
    for (; v < V; v++) gradient[v] *= scale;
    gradient[target] -= share;
    return std::log(static_cast<double>(sum)) + wanted;
  }
};

}  // namespace

REGISTER_OP("FolioCrossEntropy").Input("logits: float").Input("targets: int32").Output("loss: float").Output("gradient: float")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->Scalar());
      return SameAs(c, 1, 0);
    });
REGISTER_KERNEL_BUILDER(Name("FolioCrossEntropy").Device(DEVICE_CPU), CrossEntropyOp);
