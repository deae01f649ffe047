// Layer norm: y = (x - mean) / sqrt(variance + 1e-5) * weight, and its gradient.
#pragma once
#include "kernel.h"

namespace {

class LayerNormOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const Tensor& input = context->input(0);
    if (!Fits(context, input.dims() == 2, "layer norm: x must be [N, C]")) return;
    const int64_t N = input.dim_size(0), C = input.dim_size(1);
    if (!Fits(context, context->input(1).shape() == TensorShape({C}), "layer norm: weight must be [C] of x [N, C]")) return;
    const float *x = In(context, 0), *weight = In(context, 1);
    float* y = Out(context, 0, input.shape());
    float* mean = Out(context, 1, TensorShape({N}));
    float* inverse = Out(context, 2, TensorShape({N}));
    if (!y || !mean || !inverse) return;
    Parallel(context, N, C * 2, [=](int64_t from, int64_t to) {
      for (int64_t n = from; n < to; n++) {
        const float* row = x + n * C;
        Vec total = All(0);
        int64_t c = 0;
        for (; c + kLanes <= C; c += kLanes) total += Load(row + c);
        total += LoadTail(row + c, C - c);
        const float m = folio::Sum(total) / C;
        Vec squares = All(0);
        for (c = 0; c + kLanes <= C; c += kLanes) {
          const Vec d = Load(row + c) - m;
          squares += d * d;
        }
        float rest = 0;
        for (; c < C; c++) rest += (row[c] - m) * (row[c] - m);
        const float s = 1.0f / std::sqrt((folio::Sum(squares) + rest) / C + 1e-5f);
        for (c = 0; c + kLanes <= C; c += kLanes) Store(y + n * C + c, (Load(row + c) - m) * s * Load(weight + c));
        for (; c < C; c++) y[n * C + c] = (row[c] - m) * s * weight[c];
        mean[n] = m;
        inverse[n] = s;
      }
    });
  }
};

// With u = (x - mean) s and g = dy weight: dx = s (g - mean(g) - u mean(g u)), dweight = sum over rows of dy u.
class LayerNormGradOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const Tensor& input = context->input(1);
    if (!Fits(context, input.dims() == 2, "layer norm's gradient: x must be [N, C]")) return;
    const int64_t N = input.dim_size(0), C = input.dim_size(1);
    const TensorShape rows({N}), columns({C});
    const bool fits = context->input(0).shape() == input.shape() && context->input(2).shape() == columns &&
                      context->input(3).shape() == rows && context->input(4).shape() == rows;
    if (!Fits(context, fits, "layer norm's gradient: dy must be [N, C], weight [C], mean and inverse [N] of x [N, C]")) return;
    const float *dy = In(context, 0), *x = In(context, 1), *weight = In(context, 2);
    const float *mean = In(context, 3), *inverse = In(context, 4);
    const float* plus;
    if (!Plus(context, 5, input.shape(), &plus)) return;
    float* dx = plus ? OutOver(context, 0, 5, input.shape()) : Out(context, 0, input.shape());
    float* dweight = Out(context, 1, TensorShape({C}));
    if (!context->status().ok()) return;
    // Sums over rows are taken in blocks of a fixed size, so that they do not depend on the number of threads.
    constexpr int64_t kBlock = 64;
    const int64_t blocks = (N + kBlock - 1) / kBlock;
    std::vector<float> partial(blocks * C, 0.0f);
    float* sums = partial.data();
    Parallel(context, blocks, kBlock * C * 3, [=](int64_t from, int64_t to) {
      for (int64_t block = from; block < to; block++) {
        for (int64_t n = block * kBlock; n < std::min(N, (block + 1) * kBlock); n++) {
          Row(dy + n * C, x + n * C, weight, mean[n], inverse[n], plus ? plus + n * C : nullptr, dx + n * C, sums + block * C, C);
        }
      }
    });
    std::fill(dweight, dweight + C, 0.0f);
    for (int64_t block = 0; block < blocks; block++) {
      for (int64_t c = 0; c < C; c++) dweight[c] += sums[block * C + c];
    }
  }

 private:
  static void Row(const float* dy, const float* x, const float* w, float m, float s, const float* plus, float* dx, float* dw,
                  int64_t C) {
    Vec gs = All(0), gus = All(0);
    float g_rest = 0, gu_rest = 0;
    int64_t c = 0;
    for (; c + kLanes <= C; c += kLanes) {
      const Vec d = Load(dy + c), u = (Load(x + c) - m) * s, g = d * Load(w + c);
      gs += g;
      gus += g * u;
      Store(dw + c, Load(dw + c) + d * u);
    }
    for (; c < C; c++) {
      const float u = (x[c] - m) * s, g = dy[c] * w[c];
      g_rest += g;
      gu_rest += g * u;
      dw[c] += dy[c] * u;
    }
    const float mean_g = (folio::Sum(gs) + g_rest) / C, mean_gu = (folio::Sum(gus) + gu_rest) / C;
    for (c = 0; c + kLanes <= C; c += kLanes) {
      const Vec u = (Load(x + c) - m) * s;
      const Vec d = s * (Load(dy + c) * Load(w + c) - mean_g - u * mean_gu);
      Store(dx + c, plus ? Load(plus + c) + d : d);
    }
    for (; c < C; c++) {
      const float d = s * (dy[c] * w[c] - mean_g - (x[c] - m) * s * mean_gu);
      dx[c] = plus ? plus[c] + d : d;
    }
  }
};

}  // namespace

REGISTER_OP("FolioLayerNorm").Input("x: float").Input("weight: float")
    .Output("y: float").Output("mean: float").Output("inverse: float")
    .SetShapeFn([](InferenceContext* c) {
      shape_inference::ShapeHandle matrix;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &matrix));
      c->set_output(1, c->Vector(c->Dim(c->input(0), 0)));
      c->set_output(2, c->Vector(c->Dim(c->input(0), 0)));
      return SameAs(c, 0, 0);
    });
REGISTER_OP("FolioLayerNormGrad").Input("dy: float").Input("x: float").Input("weight: float").Input("mean: float")
    .Input("inverse: float").Attr("added: int >= 0").Input("plus: added * float").Output("dx: float").Output("dweight: float")
    .SetShapeFn([](InferenceContext* c) { c->set_output(1, c->input(2)); return SameAs(c, 0, 1); });
REGISTER_KERNEL_BUILDER(Name("FolioLayerNorm").Device(DEVICE_CPU), LayerNormOp);
REGISTER_KERNEL_BUILDER(Name("FolioLayerNormGrad").Device(DEVICE_CPU), LayerNormGradOp);
