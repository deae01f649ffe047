// Generating text: products of a few rows, weights in pairs of bfloat16 stored as int32, attention over caches that are
// variables, a whole step, and the draw of a token.
#pragma once
#include "context.h"

namespace {

// y [R, N] = x [R, K] W + bias for few rows; W [K, N], or [N, K] if transposed; bias [N], or [0] for none
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
    Variant().few_rows(HostFor(context), x_data, w, added, transposed_, R, K, N, y);
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
    if (!Fits(context, input.dims() >= 1, "widening: a scalar has no pairs")) return;
    TensorShape shape = input.shape();
    shape.set_dim(shape.dims() - 1, shape.dim_size(shape.dims() - 1) * 2);
    float* y = Out(context, 0, shape);
    if (!y) return;
    const uint16_t* x = reinterpret_cast<const uint16_t*>(input.flat<int32>().data());
    Variant().widen(HostFor(context), x, y, shape.num_elements());
  }
};

// Keys or values: [B, H, S, D].
bool HeldCache(OpKernelContext* context, int input, Tensor* held) {
  return HeldToWrite(context, input, held) && Fits(context, held->dims() == 4, "cached attention: a cache must be [B, H, S, D]");
}

// T new positions attend to those before them and to themselves: their keys and values are written at `position`.
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
    Variant().cache_attention(HostFor(context), {B, T, H, S, D}, keys.flat<float>().data(), values.flat<float>().data(), position,
                              In(context, 2), out);
  }
};

class WriteOp : public OpKernel {
 public:
  explicit WriteOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("layers", &layers_));
    OP_REQUIRES_OK(context, context->GetAttr("bias", &bias_));
    OP_REQUIRES_OK(context, context->GetAttr("tanh", &tanh_));
    OP_REQUIRES_OK(context, context->GetAttr("N", &weights_));
  }
  void Compute(OpKernelContext* context) override {
    std::vector<Tensor> weights(weights_), caches(2 * layers_);
    folio::WholeModel model;
    if (!Open(context, &weights, &caches, &model)) return;
    std::vector<Matrix> matrices;
    if (!Fits(context, Matrices(weights, model, &matrices), "writing: the weights must be those of the model, in its order")) return;
    for (int64_t row = 0; row < model.shape.B * model.shape.T; row++) {
      const int64_t id = model.ids[row / model.shape.T * model.stride + row % model.shape.T];
      if (!Fits(context, id >= 0 && id < model.V, "writing: an id must be within the vocabulary")) return;
    }
    model.logits = Out(context, 0, TensorShape({model.shape.B, model.V}));
    if (!model.logits) return;
    std::vector<float*> memory;
    for (Tensor& cache : caches) memory.push_back(cache.flat<float>().data());
    model.weights = matrices.data();
    model.caches = memory.data();
    Variant().whole_model(HostFor(context), model);
  }

 private:
  bool Open(OpKernelContext* context, std::vector<Tensor>* weights, std::vector<Tensor>* caches, folio::WholeModel* model) const {
    const int first = weights_ + 2 * layers_;
    const bool counted = layers_ > 0 && context->num_inputs() == first + 3 && context->input(first).dims() == 2 &&
                         context->input(first + 1).NumElements() == 1 && context->input(first + 2).NumElements() == 1;
    if (!Fits(context, counted, "writing: keys and values of each layer, ids [B, T] and two scalars are wanted")) return false;
    for (int i = 0; i < weights_; i++) if (!Held(context, i, &(*weights)[i])) return false;
    for (int i = 0; i < 2 * layers_; i++) {
      if (!HeldCache(context, weights_ + i, &(*caches)[i])) return false;
      if (!Fits(context, (*caches)[i].shape() == (*caches)[0].shape(), "writing: the caches must be of one shape")) return false;
    }
    const TensorShape& cache = (*caches)[0].shape();
    const Tensor& ids = context->input(first);
    const int64_t position = context->input(first + 1).flat<int32>()(0), last = context->input(first + 2).flat<int32>()(0);
    const int64_t V = (*weights)[0].dims() == 2 ? (*weights)[0].dim_size(0) : 0, stride = ids.dim_size(1);
    *model = {{cache.dim_size(0), last + 1, cache.dim_size(1), cache.dim_size(2), cache.dim_size(3)}, V, position, layers_, bias_, tanh_,
              false, nullptr, nullptr, ids.flat<int32>().data(), stride, nullptr};
    const folio::CacheShape& shape = model->shape;
    const bool within = ids.dim_size(0) == shape.B && last >= 0 && last < stride && position >= 0 && position + last < shape.S;
    return Fits(context, within, "writing: the positions must be within the ids and the cache");
  }

  // The weights in memory, if their number and sizes are the model's, in the order of model.ts' parameterSpecs. A head that is
  // not the token table comes last.
  bool Matrices(const std::vector<Tensor>& weights, folio::WholeModel& model, std::vector<Matrix>* found) const {
    const int64_t C = model.shape.H * model.shape.D;
    auto next = [&](int64_t rows, int64_t columns, bool may_be_half) {
      if (found->size() == weights.size()) return false;
      const Tensor& weight = weights[found->size()];
      const bool half = weight.dtype() == DT_INT32;
      found->push_back({weight.data(), half});
      return (half ? may_be_half && columns % 2 == 0 : weight.dtype() == DT_FLOAT) && weight.NumElements() == rows * columns / (half ? 2 : 1);
    };
    auto vector = [&](int64_t size) { return next(1, size, false); };
    auto norm = [&] { return vector(C) && (!bias_ || vector(C)); };
    auto linear = [&](int64_t from, int64_t to) { return next(from, to, true) && (!bias_ || vector(to)); };
    if (!next(model.V, C, true) || !vector(model.shape.S * C)) return false;
    for (int layer = 0; layer < layers_; layer++) {
      if (!norm() || !linear(C, 3 * C) || !linear(C, C) || !norm() || !linear(C, 4 * C) || !linear(4 * C, C)) return false;
    }
    if (!norm()) return false;
    model.head = found->size() < weights.size();
    return !model.head || next(model.V, C, true);
  }

  int layers_, weights_;
  bool bias_, tanh_;
};

class DrawOp : public OpKernel {
 public:
  explicit DrawOp(OpKernelConstruction* context) : OpKernel(context) { OP_REQUIRES_OK(context, context->GetAttr("top_k", &top_k_)); }
  void Compute(OpKernelContext* context) override {
    const Tensor &logits = context->input(0), &u = context->input(1);
    const bool fits = logits.dims() == 2 && logits.dim_size(1) > 0 && u.NumElements() == logits.dim_size(0) &&
                      context->input(2).NumElements() == 1 && context->input(3).NumElements() == 1;
    if (!Fits(context, fits, "a draw: logits must be [B, V], u [B, 1], temperature and top_p scalars")) return;
    const int64_t V = logits.dim_size(1);
    const float temperature = *In(context, 2), share = *In(context, 3);
    Tensor* tokens = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({logits.dim_size(0)}), &tokens));
    for (int64_t row = 0; row < logits.dim_size(0); row++) {
      const folio::Choice choice{temperature, share, top_k_};
      tokens->flat<int32>()(row) = Variant().next_token(HostFor(context), In(context, 0) + row * V, V, In(context, 1)[row], choice);
    }
  }

 private:
  int64_t top_k_;
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

// weights: in the order of model.ts' parameterSpecs; caches: keys of all layers, then values
REGISTER_OP("FolioWrite").Attr("N: int >= 1").Attr("M: int >= 1").Attr("layers: int").Attr("bias: bool").Attr("tanh: bool")
    .Attr("vocabulary: int").Input("weights: N * resource").Input("caches: M * resource").Input("ids: int32")
    .Input("position: int32").Input("last: int32").Output("logits: float").SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      int64_t vocabulary;
      shape_inference::ShapeHandle ids;
      TF_RETURN_IF_ERROR(c->GetAttr("vocabulary", &vocabulary));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(c->num_inputs() - 3), 2, &ids));
      c->set_output(0, c->Matrix(c->Dim(ids, 0), c->MakeDim(vocabulary)));
      return absl::OkStatus();
    });
REGISTER_KERNEL_BUILDER(Name("FolioWrite").Device(DEVICE_CPU), WriteOp);

REGISTER_OP("FolioDraw").Attr("top_k: int").Input("logits: float").Input("u: float").Input("temperature: float")
    .Input("top_p: float").Output("tokens: int32")
    .SetShapeFn([](InferenceContext* c) {
      shape_inference::ShapeHandle logits;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &logits));
      c->set_output(0, c->Vector(c->Dim(logits, 0)));
      return absl::OkStatus();
    });
REGISTER_KERNEL_BUILDER(Name("FolioDraw").Device(DEVICE_CPU), DrawOp);
