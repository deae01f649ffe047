// The next token from logits, as lib/draw.ts composes it: temperature, the k likeliest, the fewest that make up a share of
// probability, and the draw. Sums are float64 here.
#pragma once
#include "kernel.h"

namespace {

// The k-th largest of x, k <= count; NaN when too few are numbers.
float KthLargest(const float* x, int64_t count, int64_t k) {
  std::vector<float> best;
  best.reserve(2 * k);
  float least = -std::numeric_limits<float>::infinity();
  const auto settle = [&] {
    std::nth_element(best.begin(), best.begin() + k - 1, best.end(), std::greater<float>());
    best.resize(k);
    least = best[k - 1];
  };
  for (int64_t i = 0; i < count; i++) {
    if (!(x[i] >= least)) continue;
    best.push_back(x[i]);
    if (static_cast<int64_t>(best.size()) == 2 * k) settle();
  }
  if (static_cast<int64_t>(best.size()) < k) return std::numeric_limits<float>::quiet_NaN();
  settle();
  return least;
}

// exp(x) for x <= 0, and 0 where it is next to nothing
void Exponentials(const float* x, float* y, int64_t count) {
  folio::Map(x, y, 0, count, [](Vec v) { return folio::Select(v > -87.0f, folio::Exp(v), All(0)); });
}

// The least of the k largest, k <= count, that is needed for a share of probability: those before it do not reach it.
float LeastOfShare(const float* x, int64_t count, int64_t k, float kth, float share) {
  std::vector<float> kept;
  for (int64_t i = 0; i < count; i++) if (x[i] > kth) kept.push_back(x[i]);
  kept.resize(std::max<int64_t>(kept.size(), k), kth);
  std::sort(kept.begin(), kept.end(), std::greater<float>());
  std::vector<float> shares(kept.size());
  Exponentials(kept.data(), shares.data(), kept.size());
  double total = 0, before = 0;
  for (const float p : shares) total += p;
  float least = kept[0];
  for (size_t i = 0; i < kept.size() && (before == 0 || before < share * total); i++) {
    least = kept[i];
    before += shares[i];
  }
  return least;
}

class DrawOp : public OpKernel {
 public:
  explicit DrawOp(OpKernelConstruction* context) : OpKernel(context) { OP_REQUIRES_OK(context, context->GetAttr("top_k", &top_k_)); }
  void Compute(OpKernelContext* context) override {
    const Tensor &logits = context->input(0), &u = context->input(1);
    const bool fits = logits.dims() == 2 && logits.dim_size(1) > 0 && u.NumElements() == logits.dim_size(0) &&
                      context->input(2).NumElements() == 1 && context->input(3).NumElements() == 1;
    if (!Fits(context, fits, "a draw: logits must be [B, V], u [B, 1], temperature and top_p scalars")) return;
    const int64_t V = logits.dim_size(1);
    const float temperature = *In(context, 2), share = *In(context, 3);
    Tensor* tokens = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({logits.dim_size(0)}), &tokens));
    std::vector<float> scaled(V), weights(V);
    for (int64_t row = 0; row < logits.dim_size(0); row++) {
      tokens->flat<int32>()(row) = Drawn(In(context, 0) + row * V, In(context, 1)[row], temperature, share, scaled, weights);
    }
  }

 private:
  int32 Drawn(const float* logits, float u, float temperature, float share, std::vector<float>& scaled, std::vector<float>& weights) const {
    const int64_t V = scaled.size();
    float most = logits[0];
    for (int64_t i = 1; i < V; i++) most = most < logits[i] ? logits[i] : most;
    folio::Map(logits, scaled.data(), 0, V, [=](Vec v) { return (v - most) / temperature; });
    const int64_t k = top_k_ > 0 && top_k_ < V ? top_k_ : V;
    float least = -std::numeric_limits<float>::infinity();
    if (k < V) least = KthLargest(scaled.data(), V, k);
    if (share < 1 && least == least) least = std::max(least, LeastOfShare(scaled.data(), V, k, least, share));
    std::vector<int32> kept;
    for (int64_t i = 0; i < V; i++) {
      if (!(scaled[i] < least)) kept.push_back(i);
    }
    for (size_t i = 0; i < kept.size(); i++) weights[i] = scaled[kept[i]];
    Exponentials(weights.data(), weights.data(), kept.size());
    double total = 0, passed = 0;
    for (size_t i = 0; i < kept.size(); i++) total += weights[i];
    for (size_t i = 0; i < kept.size(); i++) {
      passed += weights[i];
      if (passed > u * total) return kept[i];
    }
    return 0;  // of logits that are no numbers, as in the plain form
  }

  int64_t top_k_;
};

}  // namespace

REGISTER_OP("FolioDraw").Attr("top_k: int").Input("logits: float").Input("u: float").Input("temperature: float")
    .Input("top_p: float").Output("tokens: int32")
    .SetShapeFn([](InferenceContext* c) {
      shape_inference::ShapeHandle logits;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &logits));
      c->set_output(0, c->Vector(c->Dim(logits, 0)));
      return absl::OkStatus();
    });
REGISTER_KERNEL_BUILDER(Name("FolioDraw").Device(DEVICE_CPU), DrawOp);
