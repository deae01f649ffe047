// A whole step of writing text as one operation: new tokens of each sequence through all blocks to the logits of the last,
// over weights and caches that it reads where the session keeps them. What model.ts composes of some ten operations a block is
// the same; here nothing stands between two products but what they need of each other.
#pragma once
#include "decode.h"
#include "gelu.h"

namespace {

// y = (x - mean) / sqrt(variance + 1e-5) weight + bias, which may be absent, of one row
void NormalizeRow(const float* x, const float* weight, const float* bias, float* y, int64_t C) {
  const auto load = [=](const float* p, int64_t c) { return c + kLanes <= C ? Load(p + c) : LoadTail(p + c, C - c); };
  Vec sums = All(0), squares = All(0);
  for (int64_t c = 0; c < C; c += kLanes) sums += load(x, c);
  const float mean = folio::Sum(sums) / C;
  int64_t whole = 0;
  for (; whole + kLanes <= C; whole += kLanes) {
    const Vec d = Load(x + whole) - mean;
    squares += d * d;
  }
  float rest = 0;
  for (; whole < C; whole++) rest += (x[whole] - mean) * (x[whole] - mean);
  const float inverse = 1.0f / std::sqrt((folio::Sum(squares) + rest) / C + 1e-5f);
  for (int64_t c = 0; c < C; c += kLanes) {
    Vec v = (load(x, c) - mean) * inverse * load(weight, c);
    if (bias) v += load(bias, c);
    if (c + kLanes <= C) Store(y + c, v);
    else StoreTail(y + c, v, C - c);
  }
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
    const int64_t B = step.shape.B, T = step.shape.T, C = step.shape.H * step.shape.D, V = step.V;
    Tensor scratch;
    const int64_t products = std::max(BlockCount(4 * C) * C, BlockCount(C) * 4 * C);
    OP_REQUIRES_OK(context, context->allocate_temp(DT_FLOAT, TensorShape({B * T * (7 * C + products)}), &scratch));
    step.x = scratch.flat<float>().data();
    step.normal = step.x + B * T * C;
    step.wide = step.normal + B * T * C;
    step.out = step.wide + B * T * 4 * C;
    step.sums = step.out + B * T * C;
    float* logits = Out(context, 0, TensorShape({B, V}));
    if (!logits) return;
    const Matrix tokens = Embed(&step);
    for (int layer = 0; step.fits && layer < layers_; layer++) Block(&step, layer);
    for (int64_t b = 0; b < B; b++) std::copy_n(step.x + ((b + 1) * T - 1) * C, C, step.x + b * C);
    Normalize(&step, B);
    const Matrix head = step.next < weights_ ? step.MatrixOf(V, C) : tokens;
    if (!Fits(context, step.fits, "writing: the weights must be those of the model, in its order")) return;
    TransposedProduct(context, step.normal, head, nullptr, logits, B, C, V);
  }

 private:
  // What a step goes through: the weights one after another, and what is computed.
  struct Step {
    OpKernelContext* context;
    CacheShape shape{};
    int64_t V = 0, position = 0, stride = 0;  // stride: of a sequence's ids, of which those after the last count for nothing
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

  bool Open(OpKernelContext* context, Step* step) const {
    const int first = weights_ + 2 * layers_;
    const bool counted = layers_ > 0 && context->num_inputs() == first + 3 && context->input(first).dims() == 2 &&
                         context->input(first + 1).NumElements() == 1 && context->input(first + 2).NumElements() == 1;
    if (!Fits(context, counted, "writing: keys and values of each layer, ids [B, T] and two scalars are wanted")) return false;
    step->weights.resize(weights_);
    step->caches.resize(2 * layers_);
    for (int i = 0; i < weights_; i++) if (!Held(context, i, &step->weights[i])) return false;
    for (int i = 0; i < 2 * layers_; i++) {
      if (!HeldCache(context, weights_ + i, &step->caches[i])) return false;
      if (!Fits(context, step->caches[i].shape() == step->caches[0].shape(), "writing: the caches must be of one shape")) return false;
    }
    const TensorShape& cache = step->caches[0].shape();
    const Tensor& ids = context->input(first);
    step->position = context->input(first + 1).flat<int32>()(0);
    const int64_t last = context->input(first + 2).flat<int32>()(0);
    step->shape = {cache.dim_size(0), last + 1, cache.dim_size(1), cache.dim_size(2), cache.dim_size(3)};
    step->V = step->weights[0].dims() == 2 ? step->weights[0].dim_size(0) : 0;
    step->ids = ids.flat<int32>().data();
    step->stride = ids.dim_size(1);
    const bool within = ids.dim_size(0) == step->shape.B && last >= 0 && last < step->stride && step->position >= 0 && step->position + last < step->shape.S;
    return Fits(context, within, "writing: the positions must be within the ids and the cache");
  }

  // x = the tokens' rows and the positions'; returns the table of tokens, which may be the head too.
  Matrix Embed(Step* step) const {
    const int64_t C = step->shape.H * step->shape.D, T = step->shape.T;
    const Matrix tokens = step->MatrixOf(step->V, C);
    const float* places = step->VectorOf(step->shape.S * C);
    for (int64_t row = 0; step->fits && row < step->shape.B * T; row++) {
      const int64_t id = step->ids[row / T * step->stride + row % T];
      const float* place = places + (step->position + row % T) * C;
      step->fits = Fits(step->context, id >= 0 && id < step->V, "writing: an id must be within the vocabulary");
      if (!step->fits) break;
      OfType(tokens, [=](const auto* table) {
        for (int64_t c = 0; c < C; c++) step->x[row * C + c] = folio::One(table[id * C + c]) + place[c];
      });
    }
    return tokens;
  }

  // normal = layer norm of the first rows of x
  void Normalize(Step* step, int64_t rows) const {
    const int64_t C = step->shape.H * step->shape.D;
    const float* weight = step->VectorOf(C);
    const float* bias = bias_ ? step->VectorOf(C) : nullptr;
    for (int64_t row = 0; step->fits && row < rows; row++) NormalizeRow(step->x + row * C, weight, bias, step->normal + row * C, C);
  }

  // y = act(x W + bias) + plus, where plus may be absent
  template <typename Act>
  void Apply(Step* step, const float* x, int64_t from, int64_t to, float* y, const float* plus, const Act& act) const {
    const Matrix weight = step->MatrixOf(from, to);
    const float* bias = bias_ ? step->VectorOf(to) : nullptr;
    if (step->fits) Product(step->context, x, weight, step->sums, step->shape.B * step->shape.T, from, to, {y, bias, plus}, act);
  }

  // x += attention(norm(x)), x += mlp(norm(x))
  void Block(Step* step, int layer) const {
    const int64_t C = step->shape.H * step->shape.D, rows = step->shape.B * step->shape.T;
    const auto same = [](Vec v) { return v; };
    float *x = step->x, *wide = step->wide;
    Normalize(step, rows);
    Apply(step, step->normal, C, 3 * C, wide, nullptr, same);
    float *keys = step->caches[layer].flat<float>().data(), *values = step->caches[layers_ + layer].flat<float>().data();
    if (step->fits) AttendCache(step->context, step->shape, keys, values, step->position, wide, step->out);
    Apply(step, step->out, C, C, x, x, same);
    Normalize(step, rows);
    if (tanh_) Apply(step, step->normal, C, 4 * C, wide, nullptr, [](Vec v) { return GeluTanh(v).value; });
    else Apply(step, step->normal, C, 4 * C, wide, nullptr, [](Vec v) { return GeluErf(v).value; });
    Apply(step, wide, 4 * C, C, x, x, same);
  }

  int layers_, weights_;
  bool bias_, tanh_;
};

}  // namespace

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
