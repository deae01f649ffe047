// What writing text one token at a time needs: products of a few rows, weights of half the size, held in pairs of bfloat16
// as int32, and attention over keys and values that stay where they are. The whole of a step is write.h's. Included by
// ops.cc; plain forms: lib/engine/decode.ts.
#pragma once
#include "rows.h"

namespace {

// ---- y [R, N] = x [R, K] W + bias for few rows; W [K, N], or [N, K] when transposed; bias [N], or [0] for none

template <typename Stored, typename W>
class FewRowsOp : public OpKernel {
 public:
  explicit FewRowsOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("transposed", &transposed_));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor &x = context->input(0), &weight = context->input(1), &bias = context->input(2);
    if (!Fits(context, x.dims() == 2 && weight.dims() == 2 && bias.dims() == 1, "a product of few rows: x and W must be matrices, bias a vector")) return;
    const int64_t packed = sizeof(Stored) / sizeof(W);
    const int64_t R = x.dim_size(0), K = x.dim_size(1), rows = weight.dim_size(0), columns = weight.dim_size(1) * packed;
    const int64_t N = transposed_ ? rows : columns;
    const bool fits = (transposed_ ? columns : rows) == K && (bias.dim_size(0) == N || bias.dim_size(0) == 0);
    if (!Fits(context, fits, "a product of few rows: W must be [K, N] (transposed: [N, K]) of x [R, K], bias [N] or [0]")) return;
    const Matrix w{weight.flat<Stored>().data(), sizeof(W) == 2};
    const float *x_data = In(context, 0), *added = bias.dim_size(0) ? In(context, 2) : nullptr;
    float* y = Out(context, 0, TensorShape({R, N}));
    if (!y || R * N == 0) return;
    if (transposed_) return TransposedProduct(context, x_data, w, added, y, R, K, N);
    Tensor partial;
    OP_REQUIRES_OK(context, context->allocate_temp(DT_FLOAT, TensorShape({BlockCount(K), R, N}), &partial));
    Product(context, x_data, w, partial.flat<float>().data(), R, K, N, {y, added, nullptr}, [](Vec v) { return v; });
  }

 private:
  bool transposed_;
};

// ---- bfloat16 pairs as float32: [..., N / 2] -> [..., N]

class WidenOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const Tensor& input = context->input(0);
    if (!Fits(context, input.dims() >= 1, "widening: a scalar holds no pairs")) return;
    TensorShape shape = input.shape();
    shape.set_dim(shape.dims() - 1, shape.dim_size(shape.dims() - 1) * 2);
    float* y = Out(context, 0, shape);
    if (!y) return;
    const uint16_t* x = reinterpret_cast<const uint16_t*>(input.flat<int32>().data());
    ParallelElements(context, shape.num_elements(), 1, [=](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++) y[i] = folio::One(x[i]);
    });
  }
};

// ---- attention of T new positions over those before them: keys and values [B, H, S, D] are variables, to which those
// of the new positions are written at `position`; qkv [B T, 3 C] -> [B T, C]

// p = exp(scale p - max); returns the sum.
float CacheSoftmax(float* p, int64_t count, float scale) {
  float most = p[0];
  for (int64_t i = 1; i < count; i++) most = most < p[i] ? p[i] : most;
  const float shift = most * scale;
  folio::Map(p, p, 0, count, [=](Vec v) { return folio::Exp(v * scale - shift); });
  float sum = 0;
  for (int64_t i = 0; i < count; i++) sum += p[i];
  return sum;
}

// Sizes: B sequences, T new positions of each, H heads of D, S positions at most.
struct CacheShape {
  int64_t B, T, H, S, D;
};

void AttendCache(OpKernelContext* context, CacheShape shape, float* keys, float* values, int64_t position, const float* qkv, float* out) {
  const int64_t T = shape.T, H = shape.H, S = shape.S, D = shape.D, C = H * D;
  const float scale = 1.0f / std::sqrt(static_cast<float>(D));
  Parallel(context, shape.B * H, T * (position + T) * D / 2, [=](int64_t from, int64_t to) {
    std::vector<float> scores(position + T);
    for (int64_t head = from; head < to; head++) {
      float *k = keys + head * S * D, *v = values + head * S * D, *p = scores.data();
      for (int64_t t = 0; t < T; t++) {
        const int64_t row = head / H * T + t, seen = position + t + 1;
        const float* q = qkv + row * 3 * C + head % H * D;
        std::copy_n(q + C, D, k + (seen - 1) * D);
        std::copy_n(q + 2 * C, D, v + (seen - 1) * D);
        float* y = out + row * C + head % H * D;
        folio::TransposedProduct(q, D, k, D, p, seen, 1, D, seen);
        std::fill_n(y, D, 0.0f);
        const float share = 1.0f / CacheSoftmax(p, seen, scale);
        folio::AddProduct(p, seen, v, D, y, D, 1, seen, D);
        for (int64_t d = 0; d < D; d++) y[d] *= share;
      }
    }
  });
}

bool Found(OpKernelContext* context, const absl::Status& status) {
  if (!status.ok()) context->CtxFailure(status);
  return status.ok();
}

// A variable's tensor: whatever others do with the variable meanwhile, this memory stays.
bool Held(OpKernelContext* context, int input, Tensor* held) {
  core::RefCountPtr<Var> var;
  if (!Found(context, LookupResource(context, HandleFromInput(context, input), &var))) return false;
  tf_shared_lock lock(*var->mu());
  *held = *var->tensor();
  return true;
}

// The same of a cache, to be written where it stands: nobody else reads this memory.
bool HeldCache(OpKernelContext* context, int input, Tensor* held) {
  core::RefCountPtr<Var> var;
  if (!Found(context, LookupResource(context, HandleFromInput(context, input), &var))) return false;
  mutex_lock lock(*var->mu());
  Tensor* tensor = var->tensor();
  if (!Fits(context, tensor->dtype() == DT_FLOAT && tensor->dims() == 4, "cached attention: a cache must be [B, H, S, D]")) return false;
  if (!tensor->RefCountIsOne()) {  // somebody still reads it
    Tensor copy;
    if (!Found(context, context->allocate_temp(DT_FLOAT, tensor->shape(), &copy))) return false;
    std::copy_n(tensor->flat<float>().data(), tensor->NumElements(), copy.flat<float>().data());
    *tensor = copy;
  }
  *held = *tensor;
  return true;
}

class CacheAttentionOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const Tensor& qkv = context->input(2);
    if (!Fits(context, context->input(3).NumElements() == 1, "cached attention: position must be a scalar")) return;
    const int64_t position = context->input(3).flat<int32>()(0);
    Tensor keys, values;
    if (!HeldCache(context, 0, &keys) || !HeldCache(context, 1, &values)) return;
    const int64_t B = keys.dim_size(0), H = keys.dim_size(1), S = keys.dim_size(2), D = keys.dim_size(3), C = H * D;
    const bool fits = values.shape() == keys.shape() && qkv.dims() == 2 && B > 0 && qkv.dim_size(0) % B == 0 && qkv.dim_size(1) == 3 * C;
    if (!Fits(context, fits, "cached attention: qkv must be [B T, 3 H D] of caches [B, H, S, D]")) return;
    const int64_t T = qkv.dim_size(0) / B;
    if (!Fits(context, position >= 0 && position + T <= S, "cached attention: the new positions do not fit into the cache")) return;
    float* out = Out(context, 0, TensorShape({B * T, C}));
    if (!out) return;
    AttendCache(context, {B, T, H, S, D}, keys.flat<float>().data(), values.flat<float>().data(), position, In(context, 2), out);
  }
};

}  // namespace

REGISTER_OP("FolioFewRows").Attr("transposed: bool").Attr("T: {float, int32}").Input("x: float").Input("weight: T")
    .Input("bias: float").Output("y: float")
    .SetShapeFn([](InferenceContext* c) {
      bool transposed;
      DataType type;
      shape_inference::ShapeHandle x, weight;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &x));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 2, &weight));
      TF_RETURN_IF_ERROR(c->GetAttr("transposed", &transposed));
      TF_RETURN_IF_ERROR(c->GetAttr("T", &type));
      shape_inference::DimensionHandle columns = c->Dim(weight, 1);
      if (type == DT_INT32) TF_RETURN_IF_ERROR(c->Multiply(columns, 2, &columns));
      c->set_output(0, c->Matrix(c->Dim(x, 0), transposed ? c->Dim(weight, 0) : columns));
      return absl::OkStatus();
    });
REGISTER_OP("FolioWiden").Input("x: int32").Output("y: float")
    .SetShapeFn([](InferenceContext* c) {
      shape_inference::ShapeHandle x, y;
      shape_inference::DimensionHandle columns;
      TF_RETURN_IF_ERROR(c->WithRankAtLeast(c->input(0), 1, &x));
      TF_RETURN_IF_ERROR(c->Multiply(c->Dim(x, -1), 2, &columns));
      TF_RETURN_IF_ERROR(c->ReplaceDim(x, -1, columns, &y));
      c->set_output(0, y);
      return absl::OkStatus();
    });
REGISTER_OP("FolioCacheAttention").Input("keys: resource").Input("values: resource").Input("qkv: float")
    .Input("position: int32").Output("out: float").SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      shape_inference::ShapeHandle matrix;
      shape_inference::DimensionHandle columns;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 2, &matrix));
      TF_RETURN_IF_ERROR(c->Divide(c->Dim(matrix, 1), 3, true, &columns));
      c->set_output(0, c->Matrix(c->Dim(matrix, 0), columns));
      return absl::OkStatus();
    });

REGISTER_KERNEL_BUILDER(Name("FolioFewRows").Device(DEVICE_CPU).TypeConstraint<float>("T"), FewRowsOp<float, float>);
REGISTER_KERNEL_BUILDER(Name("FolioFewRows").Device(DEVICE_CPU).TypeConstraint<int32>("T"), FewRowsOp<int32, uint16_t>);
REGISTER_KERNEL_BUILDER(Name("FolioWiden").Device(DEVICE_CPU), WidenOp);
REGISTER_KERNEL_BUILDER(Name("FolioCacheAttention").Device(DEVICE_CPU), CacheAttentionOp);
