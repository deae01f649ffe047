// What a training step does beside products and element by element: rows of a table, gradients by rows, the squares of
// all gradients.
#pragma once
#include <string>

#include "kernel.h"

namespace {

// Of a list of tensors: the sum of all squares. In blocks of a fixed size, so that it does not depend on the threads.
class SquaresOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    constexpr int64_t kBlock = 16'384;
    struct Block {
      const float* from;
      int64_t count;
    };
    std::vector<Block> blocks;
    for (int i = 0; i < context->num_inputs(); i++) {
      const int64_t count = context->input(i).NumElements();
      for (int64_t j = 0; j < count; j += kBlock) blocks.push_back({In(context, i) + j, std::min(kBlock, count - j)});
    }
    float* total = Out(context, 0, TensorShape({}));
    if (!total) return;
    std::vector<double> partial(blocks.size());
    Parallel(context, blocks.size(), kBlock / 8, [&](int64_t from, int64_t to) {
      for (int64_t b = from; b < to; b++) partial[b] = Squares(blocks[b].from, blocks[b].count);
    });
    double sum = 0;
    for (const double each : partial) sum += each;
    *total = static_cast<float>(sum);
  }

 private:
  static double Squares(const float* x, int64_t count) {
    Vec sums[4] = {All(0), All(0), All(0), All(0)};
    int64_t i = 0;
    for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
      for (int j = 0; j < 4; j++) sums[j] += Load(x + i + j * kLanes) * Load(x + i + j * kLanes);
    }
    double rest = 0;
    for (; i < count; i++) rest += static_cast<double>(x[i]) * x[i];
    return folio::Sum((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest;
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
      // As TensorFlow's own says it.
      const std::string found = "indices[" + std::to_string(n) + "] = " + std::to_string(id[n]);
      Fits(context, false, (found + " is not in [0, " + std::to_string(V) + ")").c_str());
      return;
    }
    const float* from = In(context, 0);
    Parallel(context, N, C / 4, [=](int64_t first, int64_t end) {
      for (int64_t n = first; n < end; n++) std::copy_n(from + id[n] * C, C, out + n * C);
    });
  }
};

// table + rows[n] at ids[n]: the table's memory is taken over where nobody else needs it.
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
      if (id[n] < 0 || id[n] >= V) continue;  // as TensorFlow's sum over segments has it
      for (int64_t c = 0; c < C; c++) out[id[n] * C + c] += from[n * C + c];
    }
  }
};

}  // namespace

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
