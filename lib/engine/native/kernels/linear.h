// Matrix products of rank 2, and both gradients of a linear layer in one kernel, so that the threads share the work of both.
// With `bf16`, factors are rounded to bfloat16; sums and results are always float32.
#pragma once
#include "../arithmetic/matrix_product.h"
#include "gelu.h"

namespace folio {
namespace {

void RunProducts(const Host& host, bool bf16, DividedProduct* products, int count) {
  bf16 ? RunProducts<Bfloat16>(host, products, count) : RunProducts<Float32>(host, products, count);
}

void RunMatrixProduct(const Host& host, const MatrixProduct& product) {
  DividedProduct divided{product.a, product.b, product.c, product.M, product.N, product.K, product.added, product.added_row};
  if (product.slope) {
    divided.finish.context = &product;
    divided.finish.call = [](const void* context, int64_t row, int64_t column, int64_t rows, int64_t columns) {
      const MatrixProduct& p = *static_cast<const MatrixProduct*>(context);
      for (int64_t at = row * p.N + column; at < (row + rows) * p.N; at += p.N) Gelu(p.c + at, p.c + at, p.slope + at, columns, p.tanh);
    };
  }
  RunProducts(host, product.bf16, &divided, 1);
}

void RunLinearGradient(const Host& host, const LinearGradient& g) {
  const int64_t M = g.M, N = g.N, K = g.K;
  const View x{g.x, K, 1}, x_transposed{g.x, 1, K}, dy{g.dy, N, 1}, dy_transposed{g.dy, 1, N};
  const View w_transposed = g.transposed ? View{g.w, K, 1} : View{g.w, 1, N};  // [N, K]
  DividedProduct products[2] = {
      g.transposed ? DividedProduct{dy_transposed, x, g.dw, N, K, M} : DividedProduct{x_transposed, dy, g.dw, K, N, M},
      {dy, w_transposed, g.dx, M, K, N},
  };
  if (g.scale) {
    products[1].finish.context = &g;
    products[1].finish.call = [](const void* context, int64_t row, int64_t column, int64_t rows, int64_t columns) {
      const LinearGradient& g = *static_cast<const LinearGradient*>(context);
      for (int64_t at = row * g.K + column; at < (row + rows) * g.K; at += g.K) Multiply(g.dx + at, g.scale + at, g.dx + at, columns);
    };
  }
  RunProducts(host, g.bf16, products, 2);
}

}  // namespace
}  // namespace folio
