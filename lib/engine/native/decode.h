// What writing text one token at a time needs: products of a few rows with a matrix, which run as fast as the matrix is
// read, and attention over keys and values that stay where they are. Weights are float32, or bfloat16 held in pairs as
// int32, half as much to read; sums are float32. Included by ops.cc; plain forms: lib/engine/decode.ts.
#pragma once
#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace folio {

typedef uint16_t Half __attribute__((vector_size(16)));
typedef uint16_t UnalignedHalf __attribute__((vector_size(16), aligned(2), may_alias));
typedef uint32_t VecU __attribute__((vector_size(32)));

// bfloat16 is the upper half of a float32.
inline Vec Load(const uint16_t* p) {
#ifdef __AVX2__  // of __builtin_convertvector, GCC makes four instructions where this is one
  return reinterpret_cast<Vec>(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
#else
  const Half half = *reinterpret_cast<const UnalignedHalf*>(p);
  return reinterpret_cast<Vec>(__builtin_convertvector(half, VecU) << 16);
#endif
}
inline float One(float x) { return x; }
inline float One(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float y;
  __builtin_memcpy(&y, &bits, sizeof y);
  return y;
}

// How many rows ahead memory is asked for what comes next: four rows are read side by side, and the processor, which
// sees four short streams, does not guess the next ones.
constexpr int64_t kAhead = 16;

inline void Ahead(const void* p) { __builtin_prefetch(p); }

// y [R, N] += x [R, 4] times four rows of W
template <int R, typename W>
inline void AddFour(const float* x, int64_t ldx, const W* w, int64_t ldw, float* y, int64_t ldy, int64_t N) {
  const W *w0 = w, *w1 = w0 + ldw, *w2 = w1 + ldw, *w3 = w2 + ldw;
  Vec all[R][4];
  for (int r = 0; r < R; r++) for (int i = 0; i < 4; i++) all[r][i] = All(x[r * ldx + i]);
  int64_t j = 0;
  for (; j + kLanes <= N; j += kLanes) {
    const Vec a0 = Load(w0 + j), a1 = Load(w1 + j), a2 = Load(w2 + j), a3 = Load(w3 + j);
    for (const W* row : {w0, w1, w2, w3}) Ahead(row + kAhead * ldw + j);
    for (int r = 0; r < R; r++) {
      float* to = y + r * ldy + j;
      Store(to, Load(to) + a0 * all[r][0] + a1 * all[r][1] + a2 * all[r][2] + a3 * all[r][3]);
    }
  }
  for (; j < N; j++) {
    for (int r = 0; r < R; r++) {
      y[r * ldy + j] += One(w0[j]) * all[r][0][0] + One(w1[j]) * all[r][1][0] + One(w2[j]) * all[r][2][0] + One(w3[j]) * all[r][3][0];
    }
  }
}

// y [R, N] += x [R, K] W [K, N], W row by row as it stands in memory: that is how it is read fastest.
template <typename W>
inline void AddProduct(const float* x, int64_t ldx, const W* w, int64_t ldw, float* y, int64_t ldy, int64_t R, int64_t K, int64_t N) {
  int64_t k = 0;
  for (; k + 4 <= K; k += 4) {
    const W* rows = w + k * ldw;
    int64_t r = 0;
    for (; r + 2 <= R; r += 2) AddFour<2>(x + r * ldx + k, ldx, rows, ldw, y + r * ldy, ldy, N);
    if (r < R) AddFour<1>(x + r * ldx + k, ldx, rows, ldw, y + r * ldy, ldy, N);
  }
  for (; k < K; k++) {
    for (int64_t r = 0; r < R; r++) {
      for (int64_t j = 0; j < N; j++) y[r * ldy + j] += One(w[k * ldw + j]) * x[r * ldx + k];
    }
  }
}

// Rows x [R, K] with Rows rows of W: y[r, n] = x[r] . W[n]
template <int Rows, typename W>
inline void Dots(const float* x, int64_t ldx, const W* w, int64_t ldw, float* y, int64_t ldy, int64_t R, int64_t K) {
  for (int64_t r = 0; r < R; r++) {
    const float* xr = x + r * ldx;
    Vec sums[Rows];
    for (int i = 0; i < Rows; i++) sums[i] = All(0);
    int64_t k = 0;
    for (; k + kLanes <= K; k += kLanes) {
      const Vec v = Load(xr + k);
      for (int i = 0; i < Rows; i++) {
        Ahead(w + (i + kAhead) * ldw + k);
        sums[i] += v * Load(w + i * ldw + k);
      }
    }
    for (int i = 0; i < Rows; i++) {
      float rest = 0;
      for (int64_t t = k; t < K; t++) rest += xr[t] * One(w[i * ldw + t]);
      y[r * ldy + i] = Sum(sums[i]) + rest;
    }
  }
}

// y [R, N] = x [R, K] transpose(W [N, K])
template <typename W>
inline void TransposedProduct(const float* x, int64_t ldx, const W* w, int64_t ldw, float* y, int64_t ldy, int64_t R, int64_t K, int64_t N) {
  int64_t n = 0;
  for (; n + 4 <= N; n += 4) Dots<4>(x, ldx, w + n * ldw, ldw, y + n, ldy, R, K);
  for (; n < N; n++) Dots<1>(x, ldx, w + n * ldw, ldw, y + n, ldy, R, K);
}

}  // namespace folio

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
    const W* w = reinterpret_cast<const W*>(weight.flat<Stored>().data());
    const float* added = bias.dim_size(0) ? In(context, 2) : nullptr;
    float* y = Out(context, 0, TensorShape({R, N}));
    if (!y || R * N == 0) return;
    if (transposed_) Transposed(context, In(context, 0), w, added, y, R, K, N);
    else Plain(context, In(context, 0), w, added, y, R, K, N);
  }

 private:
  static void Transposed(OpKernelContext* context, const float* x, const W* w, const float* bias, float* y, int64_t R, int64_t K, int64_t N) {
    constexpr int64_t kRows = 64;
    Parallel(context, (N + kRows - 1) / kRows, kRows * K * sizeof(W) / 16 * (3 + R), [=](int64_t from, int64_t to) {
      for (int64_t block = from; block < to; block++) {
        const int64_t first = block * kRows, count = std::min(kRows, N - first);
        folio::TransposedProduct(x, K, w + first * K, K, y + first, N, R, K, count);
        for (int64_t r = 0; bias && r < R; r++) for (int64_t n = first; n < first + count; n++) y[r * N + n] += bias[n];
      }
    });
  }

  // W is cut into blocks of whole rows, whose size follows from K alone: sums do not depend on the number of threads.
  static void Plain(OpKernelContext* context, const float* x, const W* w, const float* bias, float* y, int64_t R, int64_t K, int64_t N) {
    const int64_t rows = std::max<int64_t>(32, (K + 31) / 32 * 4), blocks = (K + rows - 1) / rows;
    Tensor partial;
    OP_REQUIRES_OK(context, context->allocate_temp(DT_FLOAT, TensorShape({blocks, R, N}), &partial));
    float* sums = partial.flat<float>().data();
    Parallel(context, blocks, rows * N * sizeof(W) / 16 * (3 + R), [=](int64_t from, int64_t to) {
      for (int64_t block = from; block < to; block++) {
        const int64_t k = block * rows;
        float* to = sums + block * R * N;
        std::fill_n(to, R * N, 0.0f);
        folio::AddProduct(x + k, K, w + k * N, N, to, N, R, std::min(rows, K - k), N);
      }
    });
    for (int64_t r = 0; r < R; r++) {
      if (bias) std::copy_n(bias, N, y + r * N);
      else std::fill_n(y + r * N, N, 0.0f);
    }
    for (int64_t block = 0; block < blocks; block++) {
      const float* from = sums + block * R * N;
      for (int64_t i = 0; i < R * N; i++) y[i] += from[i];
    }
  }
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

class CacheAttentionOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    core::RefCountPtr<Var> vars[2];
    for (int i = 0; i < 2; i++) OP_REQUIRES_OK(context, LookupResource(context, HandleFromInput(context, i), &vars[i]));
    const Tensor& qkv = context->input(2);
    if (!Fits(context, context->input(3).NumElements() == 1, "cached attention: position must be a scalar")) return;
    const int64_t position = context->input(3).flat<int32>()(0);
    Tensor held[2];  // whatever others do with the variables meanwhile, this memory stays
    for (int i = 0; i < 2; i++) {
      mutex_lock lock(*vars[i]->mu());
      Tensor* tensor = vars[i]->tensor();
      if (!Fits(context, tensor->dtype() == DT_FLOAT && tensor->dims() == 4, "cached attention: a cache must be [B, H, S, D]")) return;
      if (!tensor->RefCountIsOne()) {  // somebody still reads it
        Tensor copy;
        OP_REQUIRES_OK(context, context->allocate_temp(DT_FLOAT, tensor->shape(), &copy));
        std::copy_n(tensor->flat<float>().data(), tensor->NumElements(), copy.flat<float>().data());
        *tensor = copy;
      }
      held[i] = *tensor;
    }
    const int64_t B = held[0].dim_size(0), H = held[0].dim_size(1), S = held[0].dim_size(2), D = held[0].dim_size(3), C = H * D;
    const bool fits = held[1].shape() == held[0].shape() && qkv.dims() == 2 && B > 0 && qkv.dim_size(0) % B == 0 && qkv.dim_size(1) == 3 * C;
    if (!Fits(context, fits, "cached attention: qkv must be [B T, 3 H D] of caches [B, H, S, D]")) return;
    const int64_t T = qkv.dim_size(0) / B;
    if (!Fits(context, position >= 0 && position + T <= S, "cached attention: the new positions do not fit into the cache")) return;
    const float* in = In(context, 2);
    float* out = Out(context, 0, TensorShape({B * T, C}));
    if (!out) return;
    float *keys = held[0].flat<float>().data(), *values = held[1].flat<float>().data();
    const float scale = 1.0f / std::sqrt(static_cast<float>(D));
    Parallel(context, B * H, T * (position + T) * D / 2, [=](int64_t from, int64_t to) {
      std::vector<float> scores((position + T + kLanes) * 1);
      for (int64_t head = from; head < to; head++) {
        float *k = keys + head * S * D, *v = values + head * S * D;
        for (int64_t t = 0; t < T; t++) {
          const int64_t row = head / H * T + t, seen = position + t + 1;
          const float* q = in + row * 3 * C + head % H * D;
          std::copy_n(q + C, D, k + (seen - 1) * D);
          std::copy_n(q + 2 * C, D, v + (seen - 1) * D);
          float* p = scores.data();
          folio::TransposedProduct(q, D, k, D, p, seen, 1, D, seen);
          float* to = out + row * C + head % H * D;
          std::fill_n(to, D, 0.0f);
          const float share = 1.0f / Softmax(p, seen, scale);
          folio::AddProduct(p, seen, v, D, to, D, 1, seen, D);
          for (int64_t d = 0; d < D; d++) to[d] *= share;
        }
      }
    });
  }

 private:
  // p = exp(scale p - max); returns the sum.
  static float Softmax(float* p, int64_t count, float scale) {
    float most = p[0];
    for (int64_t i = 1; i < count; i++) most = most < p[i] ? p[i] : most;
    const float shift = most * scale;
    folio::Map(p, p, 0, count, [=](Vec v) { return folio::Exp(v * scale - shift); });
    float sum = 0;
    for (int64_t i = 0; i < count; i++) sum += p[i];
    return sum;
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
