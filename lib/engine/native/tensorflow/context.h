// What the operations share: the variant in use, threads, inputs, outputs, and the errors for invalid inputs.
#pragma once
#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "../host.h"
#include "tensorflow/core/common_runtime/device_mgr.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/framework/shape_inference.h"

using namespace tensorflow;
using folio::Host;
using folio::Kernels;
using folio::Matrix;
using folio::View;
using shape_inference::InferenceContext;

namespace {

// Set by folio_choose (ops.cc); until then the best variant that the processor can run.
std::atomic<const Kernels*> chosen{nullptr};

const Kernels& Variant() {
  if (chosen == nullptr) {
    const Kernels* best = nullptr;
    for (const Kernels* each : folio::Variants()) if (folio::CanRun(*each)) best = each;
    chosen = best;
  }
  return *chosen;
}

// The machine's threads, divided among the devices of the session.
Host HostFor(OpKernelContext* context) {
  const int threads = context->device()->tensorflow_cpu_worker_threads()->num_threads;
  const FunctionLibraryRuntime* library = context->function_library();
  const int devices = library && library->device_mgr() ? std::max(1, library->device_mgr()->NumDeviceType("CPU")) : 1;
  return folio::HostOf(std::max(1, threads / devices), devices > 1 ? context->device()->parsed_name().id : 0);
}

// The error of an operation with invalid inputs: it ends the step, whereas reading beyond them would end the process.
bool Fits(OpKernelContext* context, bool condition, const char* expected) {
  if (!condition) context->CtxFailure(absl::InvalidArgumentError(expected));
  return condition;
}

bool Succeeded(OpKernelContext* context, const absl::Status& status) {
  if (!status.ok()) context->CtxFailure(status);
  return status.ok();
}

const float* In(OpKernelContext* context, int index) { return context->input(index).flat<float>().data(); }

float* Out(OpKernelContext* context, int index, const TensorShape& shape) {
  Tensor* tensor = nullptr;
  return Succeeded(context, context->allocate_output(index, shape, &tensor)) ? tensor->flat<float>().data() : nullptr;
}

// An output in the memory of an input that nothing else needs, or in new memory.
float* OutOver(OpKernelContext* context, int index, int input, const TensorShape& shape) {
  Tensor* tensor = nullptr;
  const absl::Status status = context->forward_input_or_allocate_output({input}, index, shape, &tensor);
  return Succeeded(context, status) ? tensor->flat<float>().data() : nullptr;
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

// A variable's tensor, whose memory stays valid even if the variable is changed meanwhile.
bool Held(OpKernelContext* context, int input, Tensor* held) {
  core::RefCountPtr<Var> var;
  if (!Succeeded(context, LookupResource(context, HandleFromInput(context, input), &var))) return false;
  tf_shared_lock lock(*var->mu());
  *held = *var->tensor();
  return true;
}

// The same for a float32 variable to be written in place; nothing else reads this memory.
bool HeldToWrite(OpKernelContext* context, int input, Tensor* held) {
  core::RefCountPtr<Var> var;
  if (!Succeeded(context, LookupResource(context, HandleFromInput(context, input), &var))) return false;
  mutex_lock lock(*var->mu());
  Tensor* tensor = var->tensor();
  if (!Fits(context, tensor->dtype() == DT_FLOAT, "a variable to be written must be float32")) return false;
  if (!tensor->RefCountIsOne()) {  // something still reads it
    Tensor copy;
    if (!Succeeded(context, context->allocate_temp(DT_FLOAT, tensor->shape(), &copy))) return false;
    std::copy_n(tensor->flat<float>().data(), tensor->NumElements(), copy.flat<float>().data());
    *tensor = copy;
  }
  *held = *tensor;
  return true;
}

absl::Status SameAs(InferenceContext* c, int output, int input) {
  c->set_output(output, c->input(input));
  return absl::OkStatus();
}

}  // namespace
