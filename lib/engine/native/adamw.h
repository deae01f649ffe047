// AdamW in place; see adamUpdate in ops.ts. `clip` scales the gradient; `when` is false: nothing changes.
#pragma once
#include "kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"

namespace {

class AdamWOp : public OpKernel {
 public:
  explicit AdamWOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("beta1", &beta1_));
    OP_REQUIRES_OK(context, context->GetAttr("beta2", &beta2_));
    OP_REQUIRES_OK(context, context->GetAttr("epsilon", &epsilon_));
    OP_REQUIRES_OK(context, context->GetAttr("weight_decay", &decay_));
  }
  void Compute(OpKernelContext* context) override {
    if (context->num_inputs() > 8) {
      const bool scalar = context->input(8).NumElements() == 1;
      if (!Fits(context, scalar, "AdamW: when must be a scalar") || !context->input(8).flat<bool>()(0)) return;
    }
    core::RefCountPtr<Var> vars[3];
    for (int i = 0; i < 3; i++) OP_REQUIRES_OK(context, LookupResource(context, HandleFromInput(context, i), &vars[i]));
    const Tensor& gradient = context->input(3);
    const int64_t count = gradient.NumElements();
    for (int i = 4; i < 8; i++) {
      if (!Fits(context, context->input(i).NumElements() == 1, "AdamW: clip, rate and corrections must be scalars")) return;
    }
    Tensor held[3];  // whatever others do with the variables meanwhile, this memory stays
    for (int i = 0; i < 3; i++) {
      mutex_lock lock(*vars[i]->mu());
      Tensor* tensor = vars[i]->tensor();
      const bool fits = tensor->dtype() == DT_FLOAT && tensor->shape() == gradient.shape();
      if (!Fits(context, fits, "AdamW: parameter, moments and gradient must have one shape")) return;
      if (!tensor->RefCountIsOne()) {  // somebody still reads it
        Tensor copy;
        OP_REQUIRES_OK(context, context->allocate_temp(DT_FLOAT, tensor->shape(), &copy));
        std::copy_n(tensor->flat<float>().data(), count, copy.flat<float>().data());
        *tensor = copy;
      }
      held[i] = *tensor;
    }
    const float clip = *In(context, 4), rate = *In(context, 5), c1 = *In(context, 6), c2 = *In(context, 7);
    const float* g = gradient.flat<float>().data();
    float *p = held[0].flat<float>().data(), *m = held[1].flat<float>().data(), *v = held[2].flat<float>().data();
    const float b1 = beta1_, b2 = beta2_, eps = epsilon_, keep = 1.0f - rate * decay_, step = rate / c1;
    const float root = 1.0f / std::sqrt(c2);
    ParallelElements(context, count, 4, [=](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++) {
        const float x = g[i] * clip;
        const float first = b1 * m[i] + (1.0f - b1) * x;
        const float second = b2 * v[i] + (1.0f - b2) * x * x;
        m[i] = first;
        v[i] = second;
        p[i] = p[i] * keep - step * first / (std::sqrt(second) * root + eps);
      }
    });
  }

 private:
  float beta1_, beta2_, epsilon_, decay_;
};

}  // namespace

REGISTER_OP("FolioAdamW").Attr("beta1: float").Attr("beta2: float").Attr("epsilon: float").Attr("weight_decay: float")
    .Input("param: resource").Input("m: resource").Input("v: resource").Input("gradient: float").Input("clip: float")
    .Input("learning_rate: float").Input("correction1: float").Input("correction2: float")
    .Attr("conditions: int >= 0").Input("when: conditions * bool").SetIsStateful()
    .SetShapeFn([](InferenceContext*) { return absl::OkStatus(); });
REGISTER_KERNEL_BUILDER(Name("FolioAdamW").Device(DEVICE_CPU), AdamWOp);
