// The rest of a training step: attention, dropout, layer norm, GELU, cross-entropy, AdamW, rows of tables, the norm of gradients.
#pragma once
#include "context.h"

namespace {

bool ReadShape(OpKernelContext* context, const Tensor& qkv, int64_t batch, int64_t heads, folio::AttentionShape* a) {
  if (!Fits(context, qkv.dims() == 2, "attention: qkv must be [B T, 3 C]")) return false;
  const int64_t rows = qkv.dim_size(0), C = qkv.dim_size(1) / 3;
  const bool fits = batch > 0 && heads > 0 && C > 0 && qkv.dim_size(1) == 3 * C && rows % batch == 0 && C % heads == 0;
  if (!Fits(context, fits, "attention: rows must be a multiple of batch, and columns of 3 heads")) return false;
  *a = {batch, heads, rows / batch, C, C / heads, 1.0f / std::sqrt(static_cast<float>(C / heads))};
  return true;
}

// Dropout's attributes, and its key from an input.
class DropoutOf {
 public:
  explicit DropoutOf(OpKernelConstruction* context) {
    OP_REQUIRES_OK(context, context->GetAttr("rate", &dropout_.rate));
    OP_REQUIRES_OK(context, context->GetAttr("scale", &dropout_.scale));
    OP_REQUIRES_OK(context, context->GetAttr("use", &dropout_.use));
  }
  bool Read(OpKernelContext* context, int input, folio::Dropout* dropout) const {
    const Tensor& key = context->input(input);
    if (!Fits(context, key.shape() == TensorShape({2}), "dropout: key must be [2]")) return false;
    *dropout = dropout_;
    for (int i = 0; i < 2; i++) dropout->key[i] = key.flat<int32>()(i);
    return true;
  }
  // The same from an optional last input; null without it.
  bool ReadIfGiven(OpKernelContext* context, int input, folio::Dropout* memory, const folio::Dropout** dropout) const {
    *dropout = context->num_inputs() > input ? memory : nullptr;
    if (!Fits(context, context->num_inputs() <= input + 1, "dropout: wanted one key")) return false;
    return !*dropout || Read(context, input, memory);
  }

 private:
  folio::Dropout dropout_{};
};

class DropoutOp : public OpKernel {
 public:
  explicit DropoutOp(OpKernelConstruction* context) : OpKernel(context), dropout_(context) {}
  void Compute(OpKernelContext* context) override {
    const Tensor& input = context->input(0);
    if (!Fits(context, input.dims() > 0, "dropout: x must be [B, ...]")) return;
    folio::Dropout dropout;
    if (!dropout_.Read(context, 1, &dropout)) return;
    const float* x = In(context, 0);
    // In x's memory if nothing else needs it.
    float* y = OutOver(context, 0, 0, input.shape());
    if (!y || input.NumElements() == 0) return;
    const int64_t rows = input.dim_size(0);
    Variant().dropout(HostFor(context), dropout, x, rows, input.NumElements() / rows, y);
  }

 private:
  DropoutOf dropout_;
};

class AttentionOp : public OpKernel {
 public:
  explicit AttentionOp(OpKernelConstruction* context) : OpKernel(context), dropout_(context) {
    OP_REQUIRES_OK(context, context->GetAttr("batch", &batch_));
    OP_REQUIRES_OK(context, context->GetAttr("heads", &heads_));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor& input = context->input(0);
    folio::AttentionShape a;
    if (!ReadShape(context, input, batch_, heads_, &a)) return;
    folio::Dropout memory;
    const folio::Dropout* dropout;
    if (!dropout_.ReadIfGiven(context, 1, &memory, &dropout)) return;
    const float* qkv = In(context, 0);
    float* out = Out(context, 0, TensorShape({a.batch * a.T, a.C}));
    float* lse = Out(context, 1, TensorShape({a.batch * a.heads, a.T}));
    if (!out || !lse) return;
    Variant().attention(HostFor(context), a, dropout, qkv, out, lse);
  }

 private:
  int64_t batch_, heads_;
  DropoutOf dropout_;
};

class AttentionGradOp : public OpKernel {
 public:
  explicit AttentionGradOp(OpKernelConstruction* context) : OpKernel(context), dropout_(context) {
    OP_REQUIRES_OK(context, context->GetAttr("batch", &batch_));
    OP_REQUIRES_OK(context, context->GetAttr("heads", &heads_));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor& input = context->input(1);
    folio::AttentionShape a;
    if (!ReadShape(context, input, batch_, heads_, &a)) return;
    const TensorShape rows({a.batch * a.T, a.C}), sums({a.batch * a.heads, a.T});
    const bool fits = context->input(0).shape() == rows && context->input(2).shape() == rows && context->input(3).shape() == sums;
    if (!Fits(context, fits, "attention's gradient: dout and out must be [B T, C], lse [B heads, T]")) return;
    folio::Dropout memory;
    const folio::Dropout* dropout;
    if (!dropout_.ReadIfGiven(context, 4, &memory, &dropout)) return;
    const float *dout = In(context, 0), *qkv = In(context, 1), *out = In(context, 2), *lse = In(context, 3);
    float* dqkv = Out(context, 0, input.shape());
    if (!dqkv) return;
    Variant().attention_gradient(HostFor(context), a, dropout, dout, qkv, out, lse, dqkv);
  }

 private:
  int64_t batch_, heads_;
  DropoutOf dropout_;
};

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
    Variant().layer_norm(HostFor(context), x, weight, N, C, y, mean, inverse);
  }
};

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
    Variant().layer_norm_gradient(HostFor(context), {dy, x, weight, mean, inverse, plus, N, C, dx, dweight});
  }
};

class GeluOp : public OpKernel {
 public:
  explicit GeluOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("tanh", &tanh_));
  }
  void Compute(OpKernelContext* context) override {
    const float* x = In(context, 0);
    float *y = Out(context, 0, context->input(0).shape()), *slope = Out(context, 1, context->input(0).shape());
    if (!y || !slope) return;
    Variant().gelu(HostFor(context), x, y, slope, context->input(0).NumElements(), tanh_);
  }

 private:
  bool tanh_;
};

// Elementwise product; TensorFlow's would wake threads other than the team's.
class TimesOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    if (!Fits(context, context->input(0).shape() == context->input(1).shape(), "product of elements: shapes must be equal")) return;
    const float *a = In(context, 0), *b = In(context, 1);
    float* c = Out(context, 0, context->input(0).shape());
    if (!c) return;
    Variant().times(HostFor(context), a, b, c, context->input(0).NumElements());
  }
};

class CrossEntropyOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const Tensor &logits = context->input(0), &targets = context->input(1);
    const bool fits = logits.dims() == 2 && targets.shape() == TensorShape({logits.dim_size(0)});
    if (!Fits(context, fits, "cross-entropy: wanted logits [N, V], targets [N]")) return;
    const int64_t N = logits.dim_size(0), V = logits.dim_size(1);
    const int32* target = targets.flat<int32>().data();
    for (int64_t n = 0; n < N; n++) {
      if (target[n] < V) continue;
      // The same message as TensorFlow's.
      const std::string found = "Received a label value of " + std::to_string(target[n]);
      Fits(context, false, (found + " which is outside the valid range of [0, " + std::to_string(V) + ")").c_str());
      return;
    }
    const float* x = In(context, 0);
    // In the logits' memory if nothing else needs them.
    float *loss = Out(context, 0, TensorShape({})), *gradient = OutOver(context, 1, 0, logits.shape());
    if (!context->status().ok()) return;
    Variant().cross_entropy(HostFor(context), x, target, N, V, loss, gradient);
  }
};

// The sum of the squares of all elements of all tensors.
class SquaresOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    std::vector<const float*> tensors;
    std::vector<int64_t> counts;
    for (int i = 0; i < context->num_inputs(); i++) {
      tensors.push_back(In(context, i));
      counts.push_back(context->input(i).NumElements());
    }
    float* sum = Out(context, 0, TensorShape({}));
    if (sum) Variant().squares(HostFor(context), tensors.data(), counts.data(), tensors.size(), sum);
  }
};

// table[ids]
class RowsOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const Tensor &table = context->input(0), &ids = context->input(1);
    if (!Fits(context, table.dims() == 2 && ids.dims() == 1, "rows: wanted table [V, C], ids [N]")) return;
    const int64_t V = table.dim_size(0), C = table.dim_size(1), N = ids.dim_size(0);
    float* out = Out(context, 0, TensorShape({N, C}));
    if (!out) return;
    const int32* id = ids.flat<int32>().data();
    for (int64_t n = 0; n < N; n++) {
      if (id[n] >= 0 && id[n] < V) continue;
      // The same message as TensorFlow's.
      const std::string found = "indices[" + std::to_string(n) + "] = " + std::to_string(id[n]);
      Fits(context, false, (found + " is not in [0, " + std::to_string(V) + ")").c_str());
      return;
    }
    const float* from = In(context, 0);
    Variant().rows(HostFor(context), from, id, N, C, out);
  }
};

// table + rows[n] at ids[n]; the table's memory is reused if nothing else needs it.
class AddRowsOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const Tensor &table = context->input(0), &ids = context->input(1), &rows = context->input(2);
    const bool ranks = table.dims() == 2 && ids.dims() == 1 && rows.dims() == 2;
    if (!Fits(context, ranks, "sum by rows: wanted table [V, C], ids [N], rows [N, C]")) return;
    const int64_t V = table.dim_size(0), C = table.dim_size(1), N = ids.dim_size(0);
    const bool fits = rows.dim_size(0) == N && rows.dim_size(1) == C;
    if (!Fits(context, fits, "sum by rows: wanted table [V, C], ids [N], rows [N, C]")) return;
    float* out = OutOver(context, 0, 0, table.shape());
    if (!out) return;
    if (out != In(context, 0)) std::copy_n(In(context, 0), V * C, out);
    const int32* id = ids.flat<int32>().data();
    const float* from = In(context, 2);
    for (int64_t n = 0; n < N; n++) {
      if (id[n] < 0 || id[n] >= V) continue;  // as in TensorFlow's sum over segments
      for (int64_t c = 0; c < C; c++) out[id[n] * C + c] += from[n * C + c];
    }
  }
};

// AdamW in place; if `when` is false, nothing changes.
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
    const Tensor& gradient = context->input(3);
    const int64_t count = gradient.NumElements();
    for (int i = 4; i < 8; i++) {
      if (!Fits(context, context->input(i).NumElements() == 1, "AdamW: clip, rate and corrections must be scalars")) return;
    }
    Tensor held[3];
    for (int i = 0; i < 3; i++) {
      if (!HeldToWrite(context, i, &held[i])) return;
      if (!Fits(context, held[i].shape() == gradient.shape(), "AdamW: parameter, moments and gradient must have one shape")) return;
    }
    const folio::AdamW settings{beta1_, beta2_, epsilon_, decay_, *In(context, 4), *In(context, 5), *In(context, 6), *In(context, 7)};
    Variant().adamw(HostFor(context), settings, In(context, 3), held[0].flat<float>().data(), held[1].flat<float>().data(),
                    held[2].flat<float>().data(), count);
  }

 private:
  float beta1_, beta2_, epsilon_, decay_;
};

}  // namespace

#define FOLIO_DROPOUT Attr("rate: float").Attr("scale: float").Attr("use: int")
REGISTER_OP("FolioDropout").FOLIO_DROPOUT.Input("x: float").Input("key: int32").Output("y: float")
    .SetShapeFn([](InferenceContext* c) { return SameAs(c, 0, 0); });
REGISTER_KERNEL_BUILDER(Name("FolioDropout").Device(DEVICE_CPU), DropoutOp);

REGISTER_OP("FolioAttention").Attr("batch: int").Attr("heads: int").FOLIO_DROPOUT.Attr("dropped: int >= 0")
    .Input("qkv: float").Input("key: dropped * int32").Output("out: float").Output("lse: float")
    .SetShapeFn([](InferenceContext* c) {
      int64_t batch, heads;
      shape_inference::ShapeHandle matrix;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &matrix));
      TF_RETURN_IF_ERROR(c->GetAttr("batch", &batch));
      TF_RETURN_IF_ERROR(c->GetAttr("heads", &heads));
      shape_inference::DimensionHandle columns, T;
      TF_RETURN_IF_ERROR(c->Divide(c->Dim(c->input(0), 1), 3, true, &columns));
      TF_RETURN_IF_ERROR(c->Divide(c->Dim(c->input(0), 0), batch, true, &T));
      c->set_output(0, c->Matrix(c->Dim(c->input(0), 0), columns));
      c->set_output(1, c->Matrix(batch * heads, T));
      return absl::OkStatus();
    });
REGISTER_OP("FolioAttentionGrad").Attr("batch: int").Attr("heads: int").FOLIO_DROPOUT.Attr("dropped: int >= 0")
    .Input("dout: float").Input("qkv: float").Input("out: float").Input("lse: float").Input("key: dropped * int32").Output("dqkv: float")
    .SetShapeFn([](InferenceContext* c) { return SameAs(c, 0, 1); });
REGISTER_KERNEL_BUILDER(Name("FolioAttention").Device(DEVICE_CPU), AttentionOp);
REGISTER_KERNEL_BUILDER(Name("FolioAttentionGrad").Device(DEVICE_CPU), AttentionGradOp);

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

REGISTER_OP("FolioGelu").Attr("tanh: bool").Input("x: float").Output("y: float").Output("slope: float")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(1, c->input(0));
      return SameAs(c, 0, 0);
    });
REGISTER_OP("FolioTimes").Input("a: float").Input("b: float").Output("c: float")
    .SetShapeFn([](InferenceContext* c) { return SameAs(c, 0, 0); });
REGISTER_KERNEL_BUILDER(Name("FolioGelu").Device(DEVICE_CPU), GeluOp);
REGISTER_KERNEL_BUILDER(Name("FolioTimes").Device(DEVICE_CPU), TimesOp);

REGISTER_OP("FolioCrossEntropy").Input("logits: float").Input("targets: int32").Output("loss: float").Output("gradient: float")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->Scalar());
      return SameAs(c, 1, 0);
    });
REGISTER_KERNEL_BUILDER(Name("FolioCrossEntropy").Device(DEVICE_CPU), CrossEntropyOp);

REGISTER_OP("FolioSquares").Attr("N: int >= 1").Input("tensors: N * float").Output("sum: float")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->Scalar());
      return absl::OkStatus();
    });
REGISTER_OP("FolioRows").Input("table: float").Input("ids: int32").Output("rows: float")
    .SetShapeFn([](InferenceContext* c) {
      shape_inference::ShapeHandle table, ids;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &table));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &ids));
      c->set_output(0, c->Matrix(c->Dim(ids, 0), c->Dim(table, 1)));
      return absl::OkStatus();
    });
REGISTER_OP("FolioAddRows").Input("table: float").Input("ids: int32").Input("rows: float").Output("sum: float")
    .SetShapeFn([](InferenceContext* c) { return SameAs(c, 0, 0); });
REGISTER_KERNEL_BUILDER(Name("FolioSquares").Device(DEVICE_CPU), SquaresOp);
REGISTER_KERNEL_BUILDER(Name("FolioRows").Device(DEVICE_CPU), RowsOp);
REGISTER_KERNEL_BUILDER(Name("FolioAddRows").Device(DEVICE_CPU), AddRowsOp);

REGISTER_OP("FolioAdamW").Attr("beta1: float").Attr("beta2: float").Attr("epsilon: float").Attr("weight_decay: float")
    .Input("param: resource").Input("m: resource").Input("v: resource").Input("gradient: float").Input("clip: float")
    .Input("learning_rate: float").Input("correction1: float").Input("correction2: float")
    .Attr("conditions: int >= 0").Input("when: conditions * bool").SetIsStateful()
    .SetShapeFn([](InferenceContext*) { return absl::OkStatus(); });
REGISTER_KERNEL_BUILDER(Name("FolioAdamW").Device(DEVICE_CPU), AdamWOp);
