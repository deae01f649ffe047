// Folio's own TensorFlow operations for the CPU: what a GPT spends its time on besides matrix products, each a single
// pass where TensorFlow's own operations take many. Optional: lib/engine/ops.ts has a plain form of each, and the tests
// compare the two. float32 only.
#include <algorithm>
#include <vector>

#include "simd.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/denormal.h"
#include "tensorflow/core/util/work_sharder.h"

using namespace tensorflow;
using folio::All;
using folio::kLanes;
using folio::Load;
using folio::LoadTail;
using folio::Store;
using folio::StoreTail;
using folio::Vec;
using shape_inference::InferenceContext;

namespace {

// Splits [0, count) over TensorFlow's threads; cost in cycles an item. The calling thread takes a part, and flushes
// denormals like the others, so that it does not matter which thread computes what.
template <typename F>
void Parallel(OpKernelContext* context, int64_t count, int64_t cost, F f) {
  auto workers = context->device()->tensorflow_cpu_worker_threads();
  Shard(workers->num_threads, workers->workers, count, cost, [&f](int64_t from, int64_t to) {
    port::ScopedFlushDenormal flush;
    f(from, to);
  });
}

// The same in blocks of a fixed size: where a vector ends does not depend on the number of threads either.
template <typename F>
void ParallelElements(OpKernelContext* context, int64_t count, int64_t cost, F f) {
  constexpr int64_t kBlock = 1024;
  Parallel(context, (count + kBlock - 1) / kBlock, kBlock * cost, [&f, count](int64_t from, int64_t to) {
    for (int64_t block = from; block < to; block++) f(block * kBlock, std::min(count, (block + 1) * kBlock));
  });
}

// The error of an operation whose inputs do not fit: it ends the step, where a read beyond them would end the process.
bool Fits(OpKernelContext* context, bool condition, const char* expected) {
  if (!condition) context->CtxFailure(absl::InvalidArgumentError(expected));
  return condition;
}

const float* In(OpKernelContext* context, int index) { return context->input(index).flat<float>().data(); }

float* Out(OpKernelContext* context, int index, const TensorShape& shape) {
  Tensor* tensor = nullptr;
  const absl::Status status = context->allocate_output(index, shape, &tensor);
  if (!status.ok()) {
    context->CtxFailure(status);
    return nullptr;
  }
  return tensor->flat<float>().data();
}

// ---- layer norm: y = (x - mean) / sqrt(variance + 1e-5) * weight

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
    float* dx = Out(context, 0, input.shape());
    float* dweight = Out(context, 1, TensorShape({C}));
    if (!dx || !dweight) return;
    // Sums over rows are taken in blocks of a fixed size, so that they do not depend on the number of threads.
    constexpr int64_t kBlock = 64;
    const int64_t blocks = (N + kBlock - 1) / kBlock;
    std::vector<float> partial(blocks * C, 0.0f);
    float* sums = partial.data();
    Parallel(context, blocks, kBlock * C * 3, [=](int64_t from, int64_t to) {
      for (int64_t block = from; block < to; block++) {
        for (int64_t n = block * kBlock; n < std::min(N, (block + 1) * kBlock); n++) {
          Row(dy + n * C, x + n * C, weight, mean[n], inverse[n], dx + n * C, sums + block * C, C);
        }
      }
    });
    std::fill(dweight, dweight + C, 0.0f);
    for (int64_t block = 0; block < blocks; block++) {
      for (int64_t c = 0; c < C; c++) dweight[c] += sums[block * C + c];
    }
  }

 private:
  static void Row(const float* dy, const float* x, const float* w, float m, float s, float* dx, float* dw, int64_t C) {
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
      Store(dx + c, s * (Load(dy + c) * Load(w + c) - mean_g - u * mean_gu));
    }
    for (; c < C; c++) dx[c] = s * (dy[c] * w[c] - mean_g - (x[c] - m) * s * mean_gu);
  }
};

// ---- GELU: erf x Phi(x); tanh 0.5 x (1 + tanh(k (x + 0.044715 x^3))), k = sqrt(2 / pi), with
// 0.5 (1 + tanh(z)) = sigmoid(2 z), which keeps its digits where tanh(z) is near -1

constexpr float kRootHalf = 0.70710678f, kDensity = 0.39894228f, kTanh = 0.79788456f, kCubic = 0.044715f;

class GeluOp : public OpKernel {
 public:
  explicit GeluOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("tanh", &tanh_));
  }
  void Compute(OpKernelContext* context) override {
    const float* x = In(context, 0);
    float* y = Out(context, 0, context->input(0).shape());
    if (!y) return;
    const bool tanh = tanh_;
    ParallelElements(context, context->input(0).NumElements(), 3, [=](int64_t from, int64_t to) {
      if (tanh) {
        folio::Map(x, y, from, to, [](Vec v) { return v * folio::Sigmoid(2.0f * kTanh * (v + kCubic * v * v * v)); });
      } else {
        folio::Map(x, y, from, to, [](Vec v) { return 0.5f * v * (1.0f + folio::Erf(v * kRootHalf)); });
      }
    });
  }

 private:
  bool tanh_;
};

class GeluGradOp : public OpKernel {
 public:
  explicit GeluGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("tanh", &tanh_));
  }
  void Compute(OpKernelContext* context) override {
    if (!Fits(context, context->input(0).shape() == context->input(1).shape(), "GELU's gradient: dy must be as x")) return;
    const float *dy = In(context, 0), *x = In(context, 1);
    float* dx = Out(context, 0, context->input(1).shape());
    if (!dx) return;
    const bool tanh = tanh_;
    ParallelElements(context, context->input(1).NumElements(), 6, [=](int64_t from, int64_t to) {
      auto slope = [=](Vec v) { return tanh ? TanhSlope(v) : ErfSlope(v); };
      int64_t i = from;
      for (; i + kLanes <= to; i += kLanes) Store(dx + i, slope(Load(x + i)) * Load(dy + i));
      if (i < to) StoreTail(dx + i, slope(LoadTail(x + i, to - i)) * LoadTail(dy + i, to - i), to - i);
    });
  }

 private:
  static Vec ErfSlope(Vec v) {
    return 0.5f * (1.0f + folio::Erf(v * kRootHalf)) + v * kDensity * folio::Exp(v * v * -0.5f);
  }
  static Vec TanhSlope(Vec v) {
    const Vec s = folio::Sigmoid(2.0f * kTanh * (v + kCubic * v * v * v));
    return s + v * (s * (1.0f - s)) * (2.0f * kTanh * (1.0f + 3.0f * kCubic * v * v));
  }
  bool tanh_;
};

// ---- causal self-attention over heads, from the fused projection qkv [B T, 3 C] to [B T, C]

struct AttentionShape {
  int64_t batch, heads, T, C, D;
  float scale;
};

constexpr int64_t kQueries = 48;  // queries of one block: a multiple of the tile's 6 rows
inline int64_t Padded(int64_t n) { return (n + 15) / 16 * 16; }

// Memory of one thread for one head. Matrix products go by 16 columns: what they read as B and write as C has rows of
// S or DP floats, multiples of 16, and what lies behind T or D in them is zero from the start and stays zero.
struct Scratch {
  int64_t S, DP;
  std::vector<float> keysT, valuesT, values, keys, p, dp, dk, dv, tmp;
  explicit Scratch(const AttentionShape& a, bool backward)
      : S(Padded(a.T)), DP(Padded(a.D)), keysT(a.D * S), values(a.T * DP), p(kQueries * S), tmp(kQueries * DP) {
    if (!backward) return;
    valuesT.resize(a.D * S);
    keys.resize(a.T * DP);
    dp.resize(kQueries * S);
    dk.resize(a.T * DP);
    dv.resize(a.T * DP);
  }
};

void Transpose(const float* rows, int64_t stride, int64_t T, int64_t D, float* out, int64_t S) {
  for (int64_t t = 0; t < T; t++) {
    for (int64_t d = 0; d < D; d++) out[d * S + t] = rows[t * stride + d];
  }
}
void Copy(const float* rows, int64_t stride, int64_t T, int64_t D, float* out, int64_t DP) {
  for (int64_t t = 0; t < T; t++) std::copy(rows + t * stride, rows + t * stride + D, out + t * DP);
}

// p [queries, S] = exp(scale q k^T - lse), 0 after the diagonal; computes lse when it is not given.
void Probabilities(const AttentionShape& a, const float* q, int64_t first, int64_t queries, Scratch& s, float* lse, bool given) {
  const int64_t width = Padded(first + queries);
  folio::MatMul({q, 3 * a.C, 1}, s.keysT.data(), s.S, s.p.data(), s.S, queries, width, a.D, false);
  for (int64_t r = 0; r < queries; r++) {
    float* row = s.p.data() + r * s.S;
    const int64_t seen = first + r + 1;
    if (!given) {
      Vec highest = All(-HUGE_VALF);
      int64_t j = 0;
      for (; j + kLanes <= seen; j += kLanes) highest = folio::Max(highest, Load(row + j));
      float top = -HUGE_VALF;
      for (int l = 0; l < kLanes; l++) top = std::max(top, highest[l]);
      for (; j < seen; j++) top = std::max(top, row[j]);
      top *= a.scale;
      folio::Map(row, row, 0, seen, [&](Vec v) { return folio::Exp(v * a.scale - top); });
      Vec total = All(0);
      for (j = 0; j + kLanes <= seen; j += kLanes) total += Load(row + j);
      const float sum = folio::Sum(total + LoadTail(row + j, seen - j));
      folio::Map(row, row, 0, seen, [&](Vec v) { return v * (1.0f / sum); });
      lse[r] = top + std::log(sum);
    } else {
      folio::Map(row, row, 0, seen, [&](Vec v) { return folio::Exp(v * a.scale - lse[r]); });
    }
    std::fill(row + seen, row + width, 0.0f);
  }
}

bool ReadShape(OpKernelContext* context, const Tensor& qkv, int64_t batch, int64_t heads, AttentionShape* a) {
  if (!Fits(context, qkv.dims() == 2, "attention: qkv must be [B T, 3 C]")) return false;
  const int64_t rows = qkv.dim_size(0), C = qkv.dim_size(1) / 3;
  const bool fits = batch > 0 && heads > 0 && C > 0 && qkv.dim_size(1) == 3 * C && rows % batch == 0 && C % heads == 0;
  if (!Fits(context, fits, "attention: rows must be a multiple of batch, and columns of 3 heads")) return false;
  *a = {batch, heads, rows / batch, C, C / heads, 1.0f / std::sqrt(static_cast<float>(C / heads))};
  return true;
}

class AttentionOp : public OpKernel {
 public:
  explicit AttentionOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("batch", &batch_));
    OP_REQUIRES_OK(context, context->GetAttr("heads", &heads_));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor& input = context->input(0);
    AttentionShape a;
    if (!ReadShape(context, input, batch_, heads_, &a)) return;
    const float* qkv = In(context, 0);
    float* out = Out(context, 0, TensorShape({a.batch * a.T, a.C}));
    float* lse = Out(context, 1, TensorShape({a.batch * a.heads, a.T}));
    if (!out || !lse) return;
    Parallel(context, a.batch * a.heads, a.T * a.T * a.D / 8, [=](int64_t from, int64_t to) {
      Scratch s(a, false);
      for (int64_t head = from; head < to; head++) Head(a, qkv, head, s, out, lse + head * a.T);
    });
  }

 private:
  static void Head(const AttentionShape& a, const float* qkv, int64_t head, Scratch& s, float* out, float* lse) {
    const int64_t b = head / a.heads, h = head % a.heads, stride = 3 * a.C;
    const float* q = qkv + b * a.T * stride + h * a.D;
    Transpose(q + a.C, stride, a.T, a.D, s.keysT.data(), s.S);
    Copy(q + 2 * a.C, stride, a.T, a.D, s.values.data(), s.DP);
    for (int64_t first = 0; first < a.T; first += kQueries) {
      const int64_t queries = std::min(kQueries, a.T - first);
      Probabilities(a, q + first * stride, first, queries, s, lse + first, false);
      folio::MatMul({s.p.data(), s.S, 1}, s.values.data(), s.DP, s.tmp.data(), s.DP, queries, s.DP, first + queries, false);
      float* to = out + (b * a.T + first) * a.C + h * a.D;
      for (int64_t r = 0; r < queries; r++) std::copy_n(s.tmp.data() + r * s.DP, a.D, to + r * a.C);
    }
  }
  int64_t batch_, heads_;
};

// With P = softmax and dP = do v^T: dv = P^T do, dS = P (dP - rowsum(do o)) scale, dq = dS k, dk = dS^T q.
class AttentionGradOp : public OpKernel {
 public:
  explicit AttentionGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("batch", &batch_));
    OP_REQUIRES_OK(context, context->GetAttr("heads", &heads_));
  }
  void Compute(OpKernelContext* context) override {
    const Tensor& input = context->input(1);
    AttentionShape a;
    if (!ReadShape(context, input, batch_, heads_, &a)) return;
    const TensorShape rows({a.batch * a.T, a.C}), sums({a.batch * a.heads, a.T});
    const bool fits = context->input(0).shape() == rows && context->input(2).shape() == rows && context->input(3).shape() == sums;
    if (!Fits(context, fits, "attention's gradient: dout and out must be [B T, C], lse [B heads, T]")) return;
    const float *dout = In(context, 0), *qkv = In(context, 1), *out = In(context, 2), *lse = In(context, 3);
    float* dqkv = Out(context, 0, input.shape());
    if (!dqkv) return;
    Parallel(context, a.batch * a.heads, a.T * a.T * a.D / 3, [=](int64_t from, int64_t to) {
      Scratch s(a, true);
      for (int64_t head = from; head < to; head++) Head(a, dout, qkv, out, lse + head * a.T, head, s, dqkv);
    });
  }

 private:
  static void Head(const AttentionShape& a, const float* dout, const float* qkv, const float* out, const float* lse,
                   int64_t head, Scratch& s, float* dqkv) {
    const int64_t b = head / a.heads, h = head % a.heads, stride = 3 * a.C;
    const float* q = qkv + b * a.T * stride + h * a.D;
    Transpose(q + a.C, stride, a.T, a.D, s.keysT.data(), s.S);
    Transpose(q + 2 * a.C, stride, a.T, a.D, s.valuesT.data(), s.S);
    Copy(q + a.C, stride, a.T, a.D, s.keys.data(), s.DP);
    std::fill(s.dk.begin(), s.dk.end(), 0.0f);
    std::fill(s.dv.begin(), s.dv.end(), 0.0f);
    std::vector<float>& rows = s.values;  // the block's do, then its q, padded to whole vectors
    for (int64_t first = 0; first < a.T; first += kQueries) {
      const int64_t queries = std::min(kQueries, a.T - first), seen = first + queries, width = Padded(seen);
      const int64_t offset = (b * a.T + first) * a.C + h * a.D;
      const float *o = out + offset, *d = dout + offset;
      Probabilities(a, q + first * stride, first, queries, s, const_cast<float*>(lse) + first, true);
      folio::MatMul({d, a.C, 1}, s.valuesT.data(), s.S, s.dp.data(), s.S, queries, width, a.D, false);
      Copy(d, a.C, queries, a.D, rows.data(), s.DP);
      folio::MatMul({s.p.data(), 1, s.S}, rows.data(), s.DP, s.dv.data(), s.DP, seen, s.DP, queries, true);
      for (int64_t r = 0; r < queries; r++) {
        float dot = 0;
        for (int64_t c = 0; c < a.D; c++) dot += d[r * a.C + c] * o[r * a.C + c];
        float* row = s.dp.data() + r * s.S;
        const float* p = s.p.data() + r * s.S;
        for (int64_t j = 0; j < width; j += kLanes) Store(row + j, Load(p + j) * (Load(row + j) - dot) * a.scale);
      }
      folio::MatMul({s.dp.data(), s.S, 1}, s.keys.data(), s.DP, s.tmp.data(), s.DP, queries, s.DP, seen, false);
      float* dq = dqkv + (b * a.T + first) * stride + h * a.D;
      for (int64_t r = 0; r < queries; r++) std::copy_n(s.tmp.data() + r * s.DP, a.D, dq + r * stride);
      Copy(q + first * stride, stride, queries, a.D, rows.data(), s.DP);
      folio::MatMul({s.dp.data(), 1, s.S}, rows.data(), s.DP, s.dk.data(), s.DP, seen, s.DP, queries, true);
    }
    float* dk = dqkv + b * a.T * stride + a.C + h * a.D;
    for (int64_t t = 0; t < a.T; t++) {
      std::copy_n(s.dk.data() + t * s.DP, a.D, dk + t * stride);
      std::copy_n(s.dv.data() + t * s.DP, a.D, dk + a.C + t * stride);
    }
  }
  int64_t batch_, heads_;
};

// ---- AdamW in place; see adamUpdate in ops.ts. `clip` scales the gradient.

class AdamWOp : public OpKernel {
 public:
  explicit AdamWOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("beta1", &beta1_));
    OP_REQUIRES_OK(context, context->GetAttr("beta2", &beta2_));
    OP_REQUIRES_OK(context, context->GetAttr("epsilon", &epsilon_));
    OP_REQUIRES_OK(context, context->GetAttr("weight_decay", &decay_));
  }
  void Compute(OpKernelContext* context) override {
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

absl::Status SameAs(InferenceContext* c, int output, int input) {
  c->set_output(output, c->input(input));
  return absl::OkStatus();
}

}  // namespace

#include "decode.h"

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
    .Input("inverse: float").Output("dx: float").Output("dweight: float")
    .SetShapeFn([](InferenceContext* c) { c->set_output(1, c->input(2)); return SameAs(c, 0, 1); });
REGISTER_OP("FolioGelu").Attr("tanh: bool").Input("x: float").Output("y: float")
    .SetShapeFn([](InferenceContext* c) { return SameAs(c, 0, 0); });
REGISTER_OP("FolioGeluGrad").Attr("tanh: bool").Input("dy: float").Input("x: float").Output("dx: float")
    .SetShapeFn([](InferenceContext* c) { return SameAs(c, 0, 1); });
REGISTER_OP("FolioAttention").Attr("batch: int").Attr("heads: int").Input("qkv: float").Output("out: float").Output("lse: float")
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
REGISTER_OP("FolioAttentionGrad").Attr("batch: int").Attr("heads: int").Input("dout: float").Input("qkv: float")
    .Input("out: float").Input("lse: float").Output("dqkv: float")
    .SetShapeFn([](InferenceContext* c) { return SameAs(c, 0, 1); });
REGISTER_OP("FolioAdamW").Attr("beta1: float").Attr("beta2: float").Attr("epsilon: float").Attr("weight_decay: float")
    .Input("param: resource").Input("m: resource").Input("v: resource").Input("gradient: float").Input("clip: float")
    .Input("learning_rate: float").Input("correction1: float").Input("correction2: float").SetIsStateful()
    .SetShapeFn([](InferenceContext*) { return absl::OkStatus(); });

REGISTER_KERNEL_BUILDER(Name("FolioLayerNorm").Device(DEVICE_CPU), LayerNormOp);
REGISTER_KERNEL_BUILDER(Name("FolioLayerNormGrad").Device(DEVICE_CPU), LayerNormGradOp);
REGISTER_KERNEL_BUILDER(Name("FolioGelu").Device(DEVICE_CPU), GeluOp);
REGISTER_KERNEL_BUILDER(Name("FolioGeluGrad").Device(DEVICE_CPU), GeluGradOp);
REGISTER_KERNEL_BUILDER(Name("FolioAttention").Device(DEVICE_CPU), AttentionOp);
REGISTER_KERNEL_BUILDER(Name("FolioAttentionGrad").Device(DEVICE_CPU), AttentionGradOp);
REGISTER_KERNEL_BUILDER(Name("FolioAdamW").Device(DEVICE_CPU), AdamWOp);
