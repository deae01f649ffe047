// The interface between Folio's TensorFlow operations and their kernels: the table of kernels of each variant (one per
// instruction set), and the kernels' arguments. Plain data only: a function defined here would be compiled for every
// variant, and the linker would keep only one of the copies.
#pragma once
#include <stdint.h>

namespace folio {

// Threads and memory, shared by all variants (host.h).
struct Host {
  int threads;
  int device;  // which team of threads: each device of a session has one
  // Calls piece(function, i) for i in [0, count): on all threads, or only on the calling one.
  void (*run)(const Host& host, int64_t count, bool alone, void (*piece)(const void* function, int64_t i), const void* function);
  // Memory of the calling thread, aligned to a cache line and kept between calls; one block per slot.
  float* (*memory)(int place, int64_t floats);
  // Called repeatedly, with a count, while waiting for another thread.
  void (*wait)(int64_t spins);
};

// A matrix by its first element and the distances between rows and between columns, so that a transpose is a view.
struct View {
  const float* data;
  int64_t row, column;
};

// A weight matrix in memory, float32 or bfloat16.
struct Matrix {
  const void* data;
  bool half;
};

// c [M, N] = a [M, K] b [K, N], or added + a b, where rows of `added` are added_row apart; if slope is given, c = gelu of that.
struct MatrixProduct {
  View a, b;
  float* c;
  int64_t M, N, K;
  bool bf16;  // factors are rounded to bfloat16
  const float* added;
  int64_t added_row;
  float* slope;
  bool tanh;
};

// The gradients of y = x w (x [M, K], w [K, N], or [N, K] if transposed): dx = dy w^T, times `scale` if given, and dw = x^T dy.
struct LinearGradient {
  const float *dy, *x, *w, *scale;
  int64_t M, N, K;
  bool transposed, bf16;
  float *dx, *dw;
};

struct LayerNormGradient {
  const float *dy, *x, *weight, *mean, *inverse, *plus;  // plus: added to dx, or null
  int64_t N, C;
  float *dx, *dweight;
};

struct AdamW {
  float beta1, beta2, epsilon, decay, clip, rate, correction1, correction2;
};

// Elements are dropped with probability `rate`, by random numbers of key + [use, row]; the others are multiplied by `scale`.
struct Dropout {
  float rate, scale;
  int32_t key[2];
  int32_t use;
};

struct AttentionShape {
  int64_t batch, heads, T, C, D;
  float scale;
};

// Sizes: B sequences, T new positions each, H heads of size D, at most S positions.
struct CacheShape {
  int64_t B, T, H, S, D;
};

// A whole step of generating text. Weights in the order of the model's parameters; the head is the token table or the last weight.
struct WholeModel {
  CacheShape shape;
  int64_t V, position, layers;
  bool bias, tanh, head;
  const Matrix* weights;
  float* const* caches;      // keys of all layers, then values
  const int32_t* ids;        // [B, stride], of which those after the T-th are ignored
  int64_t stride;
  float* logits;             // [B, V]
};

struct Choice {
  float temperature, top_p;
  int64_t top_k;
};

struct Kernels {
  const char* name;
  void (*matrix_product)(const Host&, const MatrixProduct&);
  void (*linear_gradient)(const Host&, const LinearGradient&);
  // With dropout of the attention weights, [batch, heads T T] in its rows, unless it is null.
  void (*attention)(const Host&, const AttentionShape&, const Dropout*, const float* qkv, float* out, float* lse);
  void (*attention_gradient)(const Host&, const AttentionShape&, const Dropout*, const float* dout, const float* qkv,
                             const float* out, const float* lse, float* dqkv);
  void (*layer_norm)(const Host&, const float* x, const float* weight, int64_t N, int64_t C, float* y, float* mean, float* inverse);
  void (*layer_norm_gradient)(const Host&, const LayerNormGradient&);
  void (*gelu)(const Host&, const float* x, float* y, float* slope, int64_t count, bool tanh);
  void (*dropout)(const Host&, const Dropout&, const float* x, int64_t rows, int64_t size, float* y);
  void (*times)(const Host&, const float* a, const float* b, float* c, int64_t count);
  void (*cross_entropy)(const Host&, const float* logits, const int32_t* targets, int64_t N, int64_t V, float* loss, float* gradient);
  void (*adamw)(const Host&, const AdamW&, const float* gradient, float* parameter, float* m, float* v, int64_t count);
  void (*squares)(const Host&, const float* const* tensors, const int64_t* counts, int64_t tensor_count, float* sum);
  void (*rows)(const Host&, const float* table, const int32_t* ids, int64_t N, int64_t C, float* out);
  void (*few_rows)(const Host&, const float* x, const Matrix& weight, const float* bias, bool transposed, int64_t R, int64_t K,
                   int64_t N, float* y);
  void (*widen)(const Host&, const uint16_t* x, float* y, int64_t count);
  void (*cache_attention)(const Host&, const CacheShape&, float* keys, float* values, int64_t position, const float* qkv, float* out);
  void (*whole_model)(const Host&, const WholeModel&);
  int32_t (*next_token)(const Host&, const float* logits, int64_t V, float u, const Choice&);
};

}  // namespace folio
