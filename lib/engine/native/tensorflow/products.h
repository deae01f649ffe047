// Matrix products of rank 2, and both gradients of a linear layer in one operation.
#pragma once
#include "context.h"

namespace {

// c = op(a) op(b), or op(a) op(b) + plus. With an attribute `tanh`: gelu of that, and GELU's slope there.
template <bool WithGelu>
class MatMulOp : public OpKernel {
 public:
  explicit MatMulOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("transpose_a", &transpose_a_));
    OP_REQUIRES_OK(context, context->GetAttr("transpose_b", &transpose_b_));
    OP_REQUIRES_OK(context, context->GetAttr("bf16", &bf16_));
    if (WithGelu) OP_REQUIRES_OK(context, context->GetAttr("tanh", &tanh_));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor &left = context->input(0), &right = context->input(1);
    if (!Fits(context, left.dims() == 2 && right.dims() == 2, "product: both sides must be matrices")) return;
    const int64_t M = left.dim_size(transpose_a_ ? 1 : 0), K = left.dim_size(transpose_a_ ? 0 : 1);
    const int64_t N = right.dim_size(transpose_b_ ? 0 : 1);
    if (!Fits(context, right.dim_size(transpose_b_ ? 1 : 0) == K, "product: columns of a must be rows of b")) return;
    const TensorShape shape({M, N});
    const bool bias = context->num_inputs() == 3 && context->input(2).dims() == 1;  // [N], for every row
    const float* plus;
    if (!Plus(context, 2, bias ? TensorShape({N}) : shape, &plus)) return;
    float* c = plus && !bias ? OutOver(context, 0, 2, shape) : Out(context, 0, shape);
    float* slope = WithGelu ? Out(context, 1, shape) : c;
    if (!c || !slope) return;
    const View a = transpose_a_ ? View{In(context, 0), 1, M} : View{In(context, 0), K, 1};
    const View b = transpose_b_ ? View{In(context, 1), 1, K} : View{In(context, 1), N, 1};
    Variant().matrix_product(HostFor(context), {a, b, c, M, N, K, bf16_, plus, bias ? 0 : N, WithGelu ? slope : nullptr, tanh_});
  }

 private:
  bool transpose_a_, transpose_b_, bf16_, tanh_ = false;
};

// The gradients of y = x w (w [K, N], or [N, K] if transposed): dx = dy w^T, optionally scaled by element, and dw = x^T dy.
class LinearGradOp : public OpKernel {
 public:
  explicit LinearGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("transposed", &transposed_));
    OP_REQUIRES_OK(context, context->GetAttr("bf16", &bf16_));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor &output = context->input(0), &input = context->input(1), &weight = context->input(2);
    const bool matrices = output.dims() == 2 && input.dims() == 2 && weight.dims() == 2;
    if (!Fits(context, matrices, "linear layer's gradient: dy, x and w must be matrices")) return;
    const int64_t M = input.dim_size(0), K = input.dim_size(1), N = output.dim_size(1);
    const bool fits = output.dim_size(0) == M && weight.dim_size(transposed_ ? 1 : 0) == K && weight.dim_size(transposed_ ? 0 : 1) == N;
    if (!Fits(context, fits, "linear layer's gradient: dy must be [M, N], x [M, K], w [K, N]")) return;
    const float *dy = In(context, 0), *x = In(context, 1), *w = In(context, 2);
    float *dx = Out(context, 0, input.shape()), *dw = Out(context, 1, weight.shape());
    if (!context->status().ok()) return;  // for empty inputs dx has no memory, and dw is 0
    const float* scale;
    if (!Plus(context, 3, input.shape(), &scale)) return;
    Variant().linear_gradient(HostFor(context), {dy, x, w, scale, M, N, K, transposed_, bf16_, dx, dw});
  }

 private:
  bool transposed_, bf16_;
};

absl::Status ProductShape(InferenceContext* c) {
  bool a, b;
  shape_inference::ShapeHandle left, right;
  TF_RETURN_IF_ERROR(c->GetAttr("transpose_a", &a));
  TF_RETURN_IF_ERROR(c->GetAttr("transpose_b", &b));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &left));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 2, &right));
  c->set_output(0, c->Matrix(c->Dim(left, a ? 1 : 0), c->Dim(right, b ? 0 : 1)));
  return absl::OkStatus();
}

}  // namespace

REGISTER_OP("FolioMatMul").Attr("transpose_a: bool").Attr("transpose_b: bool").Attr("bf16: bool").Input("a: float")
    .Input("b: float").Attr("added: int >= 0").Input("plus: added * float").Output("c: float")
    .SetShapeFn(ProductShape);
REGISTER_OP("FolioMatMulGelu").Attr("transpose_a: bool").Attr("transpose_b: bool").Attr("bf16: bool").Attr("tanh: bool")
    .Input("a: float").Input("b: float").Attr("added: int >= 0").Input("plus: added * float").Output("y: float").Output("slope: float")
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(ProductShape(c));
      c->set_output(1, c->output(0));
      return absl::OkStatus();
    });
REGISTER_OP("FolioLinearGrad").Attr("transposed: bool").Attr("bf16: bool").Input("dy: float").Input("x: float")
    .Input("w: float").Attr("scaled: int >= 0").Input("scale: scaled * float").Output("dx: float").Output("dw: float")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->input(1));
      return SameAs(c, 1, 2);
    });

REGISTER_KERNEL_BUILDER(Name("FolioMatMul").Device(DEVICE_CPU), MatMulOp<false>);
REGISTER_KERNEL_BUILDER(Name("FolioMatMulGelu").Device(DEVICE_CPU), MatMulOp<true>);
REGISTER_KERNEL_BUILDER(Name("FolioLinearGrad").Device(DEVICE_CPU), LinearGradOp);
