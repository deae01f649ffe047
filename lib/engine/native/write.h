// A whole step of writing text as one operation: a new token of each sequence through all blocks to the logits, over
// weights and caches that it reads where the session keeps them. What model.ts composes of some ten operations a block is
// the same; here nothing stands between two products but what they need of each other.
#pragma once
#include "decode.h"
#include "gelu.h"

namespace {

// y = (x - mean) / sqrt(variance + 1e-5) weight + bias, which may be absent, of one row
void NormalizeRow(const float* x, const float* weight, const float* bias, float* y, int64_t C) {
  double sum = 0, squares = 0;
  for (int64_t c = 0; c < C; c++) sum += x[c];
  const float mean = sum / C;
  for (int64_t c = 0; c < C; c++) squares += (x[c] - mean) * (x[c] - mean);
  const float inverse = 1.0f / std::sqrt(static_cast<float>(squares / C) + 1e-5f);
  for (int64_t c = 0; c < C; c++) y[c] = (x[c] - mean) * inverse * weight[c] + (bias ? bias[c] : 0.0f);
}

class WriteOp : public OpKernel {
 public:
  explicit WriteOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("layers", &layers_));
    OP_REQUIRES_OK(context, context->GetAttr("bias", &bias_));
    OP_REQUIRES_OK(context, context->GetAttr("tanh", &tanh_));
    OP_REQUIRES_OK(context, context->GetAttr("N", &weights_));
  }
  void Compute(OpKernelContext* context) override {
    Step step{context};
    if (!Open(context, &step)) return;
    const auto [B, T, H, S, D] = step.shape;
    const int64_t C = H * D, V = step.V;
    Tensor scratch;
    const int64_t products = std::max(BlockCount(4 * C) * C, BlockCount(C) * 4 * C);
    OP_REQUIRES_OK(context, context->allocate_temp(DT_FLOAT, TensorShape({B * (10 * C + products)}), &scratch));
    step.x = scratch.flat<float>().data();
    step.normal = step.x + B * C;
    step.wide = step.normal + B * C;
    step.out = step.wide + B * 4 * C;
    step.sums = step.out + B * 4 * C;
    float* logits = Out(context, 0, TensorShape({B, V}));
    if (!logits) return;
    const Matrix tokens = step.MatrixOf(V, C);
    const float* places = step.VectorOf(S * C) + step.position * C;
    if (!step.fits) return Misfit(context);
    for (int64_t b = 0; b < B; b++) {
      OfType(tokens, [&](const auto* table) {
        for (int64_t c = 0; c < C; c++) step.x[b * C + c] = folio::One(table[step.ids[b] * C + c]) + places[c];
      });
    }
    for (int layer = 0; layer < layers_; layer++) {
      if (!Block(&step, layer)) return Misfit(context);
    }
    Normalize(&step);
    const Matrix head = step.next < weights_ ? step.MatrixOf(V, C) : tokens;
    if (!step.fits) return Misfit(context);
    TransposedProduct(context, step.normal, head, nullptr, logits, B, C, V);
  }

 private:
  // What a step goes through: the weights one after another, and what is computed.
  struct Step {
    OpKernelContext* context;
    CacheShape shape{};
    int64_t V = 0, position = 0;
    const int32* ids = nullptr;
    std::vector<Tensor> weights, caches;
    int next = 0;
    bool fits = true;
    float *x = nullptr, *normal = nullptr, *wide = nullptr, *out = nullptr, *sums = nullptr;

    const void* Next(int64_t elements) {
      const bool there = next < static_cast<int>(weights.size());
      fits = fits && there && weights[next].NumElements() == elements;
      return there ? weights[next++].data() : nullptr;
    }
    const float* VectorOf(int64_t size) {
      fits = fits && next < static_cast<int>(weights.size()) && weights[next].dtype() == DT_FLOAT;
      return static_cast<const float*>(Next(size));
    }
    Matrix MatrixOf(int64_t rows, int64_t columns) {
      const bool half = next < static_cast<int>(weights.size()) && weights[next].dtype() == DT_INT32;
      fits = fits && (!half || columns % 2 == 0);
      return {Next(rows * columns / (half ? 2 : 1)), half};
    }
  };

  static void Misfit(OpKernelContext* context) {
    Fits(context, false, "writing: the weights must be those of the model, in its order");
  }

  bool Open(OpKernelContext* context, Step* step) const {
    const int inputs = context->num_inputs(), ids = inputs - 2;
    const bool counted = ids == weights_ + 2 * layers_ && layers_ > 0 && context->input(inputs - 1).NumElements() == 1;
    if (!Fits(context, counted, "writing: a cache of keys and one of values for each layer, and a scalar position are wanted")) return false;
    step->weights.resize(weights_);
    step->caches.resize(2 * layers_);
    for (int i = 0; i < weights_; i++) if (!Held(context, i, &step->weights[i])) return false;
    for (int i = 0; i < 2 * layers_; i++) {
      if (!HeldCache(context, weights_ + i, &step->caches[i])) return false;
      if (!Fits(context, step->caches[i].shape() == step->caches[0].shape(), "writing: the caches must be of one shape")) return false;
    }
    const TensorShape& cache = step->caches[0].shape();
    step->shape = {cache.dim_size(0), 1, cache.dim_size(1), cache.dim_size(2), cache.dim_size(3)};
    step->V = weights_ > 0 && step->weights[0].dims() == 2 ? step->weights[0].dim_size(0) : 0;
    step->position = context->input(inputs - 1).flat<int32>()(0);
    if (!Fits(context, context->input(ids).NumElements() == step->shape.B, "writing: one id a sequence is wanted")) return false;
    step->ids = context->input(ids).flat<int32>().data();
    if (!Fits(context, step->position >= 0 && step->position < step->shape.S, "writing: the position must be within the cache")) return false;
    for (int64_t b = 0; b < step->shape.B; b++) {
      if (!Fits(context, step->ids[b] >= 0 && step->ids[b] < step->V, "writing: an id must be within the vocabulary")) return false;
    }
    return true;
  }

  // normal = layer norm of x
  bool Normalize(Step* step) const {
    const int64_t C = step->shape.H * step->shape.D;
    const float* weight = step->VectorOf(C);
    const float* bias = bias_ ? step->VectorOf(C) : nullptr;
    if (!step->fits) return false;
    for (int64_t b = 0; b < step->shape.B; b++) NormalizeRow(step->x + b * C, weight, bias, step->normal + b * C, C);
    return true;
  }

  // y = act(x W + bias) + plus, where plus may be absent
  template <typename Act>
  bool Apply(Step* step, const float* x, int64_t from, int64_t to, float* y, const float* plus, const Act& act) const {
    const Matrix weight = step->MatrixOf(from, to);
    const float* bias = bias_ ? step->VectorOf(to) : nullptr;
    if (step->fits) Product(step->context, x, weight, step->sums, step->shape.B, from, to, {y, bias, plus}, act);
    return step->fits;
  }

  // x += attention(norm(x)), x += mlp(norm(x))
  bool Block(Step* step, int layer) const {
    const int64_t C = step->shape.H * step->shape.D;
    const auto same = [](Vec v) { return v; };
    float *x = step->x, *wide = step->wide, *keys = step->caches[layer].flat<float>().data(), *values = step->caches[layers_ + layer].flat<float>().data();
    if (!Normalize(step) || !Apply(step, step->normal, C, 3 * C, wide, nullptr, same)) return false;
    AttendCache(step->context, step->shape, keys, values, step->position, wide, step->out);
    if (!Apply(step, step->out, C, C, x, x, same) || !Normalize(step)) return false;
    const auto erf = [](Vec v) { return GeluErf(v).value; };
    const auto tanh = [](Vec v) { return GeluTanh(v).value; };
    const bool hidden = tanh_ ? Apply(step, step->normal, C, 4 * C, wide, nullptr, tanh) : Apply(step, step->normal, C, 4 * C, wide, nullptr, erf);
    return hidden && Apply(step, wide, 4 * C, C, x, x, same);
  }

  int layers_, weights_;
  bool bias_, tanh_;
};

}  // namespace

// weights: in the order of model.ts' parameterSpecs; caches: keys of all layers, then values
REGISTER_OP("FolioWrite").Attr("N: int >= 1").Attr("M: int >= 1").Attr("layers: int").Attr("bias: bool").Attr("tanh: bool")
    .Attr("vocabulary: int").Input("weights: N * resource").Input("caches: M * resource").Input("ids: int32")
    .Input("position: int32").Output("logits: float").SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      int64_t vocabulary;
      shape_inference::ShapeHandle ids;
      TF_RETURN_IF_ERROR(c->GetAttr("vocabulary", &vocabulary));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(c->num_inputs() - 2), 2, &ids));
      c->set_output(0, c->Matrix(c->Dim(ids, 0), c->MakeDim(vocabulary)));
      return absl::OkStatus();
    });
REGISTER_KERNEL_BUILDER(Name("FolioWrite").Device(DEVICE_CPU), WriteOp);
