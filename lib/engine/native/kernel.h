// What the kernels of Folio's operations share: threads, inputs, outputs and the errors of inputs that do not fit.
#pragma once
#include <algorithm>
#include <vector>

#include "simd.h"
#include "team.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

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

int Threads(OpKernelContext* context) { return context->device()->tensorflow_cpu_worker_threads()->num_threads; }

// Runs f(piece) for pieces [0, count) on all threads, or on this one where `cycles`, of all of them, are too few.
template <typename F>
void Take(OpKernelContext* context, int64_t count, double cycles, const F& f) {
  folio::Team& team = folio::Team::Shared(Threads(context));
  if (cycles >= 30'000) return team.Run(count, f);
  port::ScopedFlushDenormal flush;
  for (int64_t piece = 0; piece < count; piece++) f(piece);
}

// Runs f(from, to) over [0, count) in parts; cost in cycles an item.
template <typename F>
void Parallel(OpKernelContext* context, int64_t count, int64_t cost, const F& f) {
  const int64_t parts = std::min<int64_t>(count, 4 * Threads(context));
  Take(context, parts, static_cast<double>(count) * cost, [&](int64_t part) { f(part * count / parts, (part + 1) * count / parts); });
}

// The same in blocks of a fixed size: where a vector ends does not depend on the number of threads either.
template <typename F>
void ParallelElements(OpKernelContext* context, int64_t count, int64_t cost, const F& f) {
  constexpr int64_t kBlock = 1024;
  Parallel(context, (count + kBlock - 1) / kBlock, kBlock * cost, [&](int64_t from, int64_t to) {
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

// An output in the memory of an input that nobody else needs, or in new memory.
float* OutOver(OpKernelContext* context, int index, int input, const TensorShape& shape) {
  Tensor* tensor = nullptr;
  const absl::Status status = context->forward_input_or_allocate_output({input}, index, shape, &tensor);
  if (!status.ok()) {
    context->CtxFailure(status);
    return nullptr;
  }
  return tensor->flat<float>().data();
}

// The tensor of an optional last input (a list of none or one), which must have this shape.
bool Plus(OpKernelContext* context, int index, const TensorShape& shape, const float** plus) {
  *plus = nullptr;
  if (context->num_inputs() == index) return true;
  const bool fits = context->num_inputs() == index + 1 && context->input(index).shape() == shape;
  if (!Fits(context, fits, "what is added must be one tensor of the result's shape")) return false;
  *plus = In(context, index);
  return true;
}

absl::Status SameAs(InferenceContext* c, int output, int input) {
  c->set_output(output, c->input(input));
  return absl::OkStatus();
}

}  // namespace
