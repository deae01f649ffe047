// Compares every kernel of every variant that this processor can run with its plain form: loops in double precision, one line
// of a formula each. Sizes do not fit vectors, panels and blocks; what lies around a result must stay as it was; and one thread
// must give the same bits as three. Linked without TensorFlow: kernels.test.ts compiles and runs it.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "host.h"

namespace {

using namespace folio;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

int failures = 0, checks = 0;

uint64_t state = 1;
double Uniform() {  // xorshift64*
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return static_cast<double>((state * 2685821657736338717ull) >> 11) / 9007199254740992.0;
}
Floats Random(int64_t count, double scale = 1) {
  Floats x(count);
  for (float& each : x) each = static_cast<float>((Uniform() + Uniform() + Uniform() - 1.5) * 2 * scale);
  return x;
}
std::vector<int32_t> Ids(int64_t count, int64_t below) {
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(Uniform() * below);
  return ids;
}

// A result with marked memory around it.
struct Result {
  static constexpr int64_t kAround = 80;
  static constexpr float kMark = -12345.678f;
  Floats memory;
  int64_t count;
  explicit Result(int64_t count) : memory(count + 2 * kAround, kMark), count(count) {}
  Result(const Floats& start) : Result(start.size()) { std::copy(start.begin(), start.end(), data()); }
  float* data() { return memory.data() + kAround; }
  Floats values() { return Floats(data(), data() + count); }
  bool untouched() const {
    for (int64_t i = 0; i < kAround; i++) if (memory[i] != kMark || memory[kAround + count + i] != kMark) return false;
    return true;
  }
};

uint16_t ToBfloat16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return x != x ? bits >> 16 | 64 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
float FromBfloat16(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
std::vector<uint16_t> Halved(const Floats& x) {
  std::vector<uint16_t> halves;
  for (float each : x) halves.push_back(ToBfloat16(each));
  return halves;
}
Floats Rounded(Floats x) {
  for (float& each : x) each = FromBfloat16(ToBfloat16(each));
  return x;
}

Host Alone() {
  Host host = HostOf(1);
  host.run = [](const Host&, int64_t count, bool, void (*piece)(const void*, int64_t), const void* function) {
    FlushDenormals flush;
    for (int64_t i = 0; i < count; i++) piece(function, i);
  };
  return host;
}

struct Wanted {
  Result* found;
  Doubles values;
  double tolerance;  // of the largest value
};

// Runs a kernel by one thread and by three, from the same start; compares with what is wanted.
void Check(const Kernels& k, const std::string& what, const std::function<void(const Host&)>& run, const std::vector<Wanted>& wanted) {
  std::vector<Floats> start, once;
  for (const Wanted& each : wanted) start.push_back(each.found->memory);
  run(Alone());
  for (size_t i = 0; i < wanted.size(); i++) {
    once.push_back(wanted[i].found->memory);
    wanted[i].found->memory = start[i];
  }
  run(HostOf(3));
  for (size_t i = 0; i < wanted.size(); i++) {
    checks++;
    const Wanted& each = wanted[i];
    const Floats found = each.found->values();
    double largest = 1e-2, difference = 0;  // what should be 0 is compared with numbers of about 1
    for (size_t j = 0; j < found.size(); j++) {
      largest = fmax(largest, fabs(each.values[j]));
      const double d = fabs(found[j] - each.values[j]);
      difference = d == d ? fmax(difference, d) : INFINITY;
    }
    const bool same = memcmp(once[i].data(), each.found->memory.data(), once[i].size() * 4) == 0;
    const char* fault = !each.found->untouched() ? "writes around its result"
                        : !same                  ? "differs between one thread and three"
                        : difference > each.tolerance * largest ? "is wrong" : nullptr;
    if (!fault) continue;
    failures++;
    printf("%s: %s (result %d) %s: off by %g of %g\n", k.name, what.c_str(), static_cast<int>(i), fault, difference, largest);
  }
}

template <typename... Values>
std::string Named(const char* format, Values... values) {
  char text[200];
  snprintf(text, sizeof text, format, values...);
  return text;
}

// gelu and its slope
void PlainGelu(double x, bool tanh_form, double* y, double* slope) {
  if (!tanh_form) {
    const double phi = 0.5 * erfc(-x * M_SQRT1_2);
    *y = x * phi;
    *slope = phi + x * exp(-x * x / 2) / sqrt(2 * M_PI);
    return;
  }
  const double c = sqrt(2 / M_PI), t = tanh(c * (x + 0.044715 * x * x * x));
  *y = 0.5 * x * (1 + t);
  *slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

double At(View v, int64_t i, int64_t j) { return v.data[i * v.row + j * v.column]; }

Doubles PlainProduct(View a, View b, int64_t M, int64_t N, int64_t K) {
  Doubles c(M * N, 0.0);
  for (int64_t i = 0; i < M; i++) for (int64_t k = 0; k < K; k++) for (int64_t j = 0; j < N; j++) c[i * N + j] += At(a, i, k) * At(b, k, j);
  return c;
}

View ViewOf(const Floats& x, bool transposed, int64_t rows, int64_t columns) {
  return transposed ? View{x.data(), 1, rows} : View{x.data(), columns, 1};
}

void TestProduct(const Kernels& k, int64_t M, int64_t N, int64_t K, int form) {
  const bool at = form & 1, bt = form & 2, bf16 = form & 4;
  const int added = form / 8 % 3, gelu = form / 24 % 3;  // added: nothing, a row, a matrix; gelu: none, erf, tanh
  const Floats a = Random(M * K), b = Random(K * N), plus = Random(M * N);
  const Floats ra = bf16 ? Rounded(a) : a, rb = bf16 ? Rounded(b) : b;
  Doubles c = PlainProduct(ViewOf(ra, at, M, K), ViewOf(rb, bt, K, N), M, N, K), slope(M * N);
  for (int64_t i = 0; i < M * N; i++) {
    if (added) c[i] += plus[added == 1 ? i % N : i];
    if (gelu) PlainGelu(c[i], gelu == 2, &c[i], &slope[i]);
  }
  Result found(M * N), found_slope(M * N);
  std::vector<Wanted> wanted{{&found, c, 3e-6}};
  if (gelu) wanted.push_back({&found_slope, slope, 1e-4});  // near 0 it amplifies the error of a long sum
  const MatrixProduct product{ViewOf(a, at, M, K), ViewOf(b, bt, K, N), found.data(), M, N, K, bf16, added ? plus.data() : nullptr,
                              added == 1 ? 0 : N, gelu ? found_slope.data() : nullptr, gelu == 2};
  const std::string what = Named("product %dx%dx%d, form %d", int(M), int(N), int(K), form);
  Check(k, what, [&](const Host& host) { k.matrix_product(host, product); }, wanted);
}

// Times the identity, each element comes back rounded to bfloat16, to the last bit, ties to even.
void TestRounding(const Kernels& k, bool identity_left, bool transposed) {
  const int64_t M = 37, N = 45, K = identity_left ? M : N;
  Floats x = Random(M * N, 100), one(K * K, 0.0f);
  for (int i = 0; i < 64; i++) {
    const uint32_t bits = 0x3f808000u + (static_cast<uint32_t>(i) << 15);
    memcpy(&x[i * 7], &bits, 4);
  }
  for (int64_t i = 0; i < K; i++) one[i * K + i] = 1;
  const Floats rounded = Rounded(x);
  Result found(M * N);
  const View other = transposed ? View{x.data(), 1, M} : View{x.data(), N, 1}, identity{one.data(), K, 1};
  const View exact{rounded.data(), other.row, other.column};
  Doubles wanted;
  for (int64_t i = 0; i < M; i++) for (int64_t j = 0; j < N; j++) wanted.push_back(At(exact, i, j));
  const MatrixProduct product{identity_left ? identity : other, identity_left ? other : identity, found.data(), M, N, K, true, nullptr, 0, nullptr, false};
  Check(k, Named("rounding to bfloat16, left %d, transposed %d", identity_left, transposed),
        [&](const Host& host) { k.matrix_product(host, product); }, {{&found, wanted, 0}});
}

void TestLinearGradient(const Kernels& k, int64_t M, int64_t N, int64_t K, bool transposed, bool bf16, bool scaled) {
  const Floats dy = Random(M * N), x = Random(M * K), w = Random(K * N), scale = Random(M * K);
  const Floats rdy = bf16 ? Rounded(dy) : dy, rx = bf16 ? Rounded(x) : x, rw = bf16 ? Rounded(w) : w;
  const View w_transposed = transposed ? View{rw.data(), K, 1} : View{rw.data(), 1, N};
  Doubles dx = PlainProduct({rdy.data(), N, 1}, w_transposed, M, K, N);
  for (int64_t i = 0; scaled && i < M * K; i++) dx[i] *= scale[i];
  const Doubles dw = transposed ? PlainProduct({rdy.data(), 1, N}, {rx.data(), K, 1}, N, K, M)
                                : PlainProduct({rx.data(), 1, K}, {rdy.data(), N, 1}, K, N, M);
  Result found_dx(M * K), found_dw(K * N);
  const LinearGradient g{dy.data(), x.data(), w.data(), scaled ? scale.data() : nullptr, M, N, K, transposed, bf16, found_dx.data(), found_dw.data()};
  Check(k, Named("linear gradient %dx%dx%d", int(M), int(N), int(K)), [&](const Host& host) { k.linear_gradient(host, g); },
        {{&found_dx, dx, 3e-6}, {&found_dw, dw, 3e-6}});
}

// Philox4x32-10, of 64-bit products.
void PlainPhilox(uint32_t c[4], uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++, k0 += 0x9e3779b9u, k1 += 0xbb67ae85u) {
    const uint64_t p0 = 0xd2511f53ull * c[0], p1 = 0xcd9e8d57ull * c[2];
    const uint32_t next[4] = {uint32_t(p1 >> 32) ^ c[1] ^ k0, uint32_t(p1), uint32_t(p0 >> 32) ^ c[3] ^ k1, uint32_t(p0)};
    memcpy(c, next, sizeof next);
  }
}

// 0 or the scale, for an element of a row.
double PlainFactor(const Dropout& dropout, int64_t row, int64_t element) {
  const int32_t a = int32_t(uint32_t(dropout.key[0]) + uint32_t(dropout.use)), b = int32_t(uint32_t(dropout.key[1]) + uint32_t(row));
  uint32_t key[4] = {uint32_t(a), a < 0 ? ~0u : 0u, uint32_t(b), b < 0 ? ~0u : 0u};
  PlainPhilox(key, 0x3ec8f720, 0x02461e29);
  uint32_t drawn[4] = {uint32_t(element / 4), 0, key[2], key[3]};
  PlainPhilox(drawn, key[0], key[1]);
  return (drawn[element % 4] & 0x7fffff) / 8388608.0 >= dropout.rate ? dropout.scale : 0;
}

void TestDropout(const Kernels& k, int64_t rows, int64_t size, float rate, int32_t key) {
  const Dropout dropout{rate, 1 / (1 - rate), {key, 7 ^ key}, 5};
  const Floats x = Random(rows * size);
  Doubles y;
  for (int64_t i = 0; i < rows * size; i++) y.push_back(static_cast<float>(x[i] * PlainFactor(dropout, i / size, i % size)));
  Result found(y.size()), over(x);
  const std::string what = Named("dropout of %d x %d", int(rows), int(size));
  Check(k, what, [&](const Host& host) { k.dropout(host, dropout, x.data(), rows, size, found.data()); }, {{&found, y, 0}});
  Check(k, what + " in place", [&](const Host& host) { k.dropout(host, dropout, over.data(), rows, size, over.data()); }, {{&over, y, 0}});
}

void TestAttention(const Kernels& k, int64_t batch, int64_t heads, int64_t T, int64_t D, const Dropout* dropout) {
  const int64_t C = heads * D;
  const double scale = 1 / sqrt(static_cast<double>(D));
  const Floats qkv = Random(batch * T * 3 * C), dout = Random(batch * T * C);
  Doubles out(batch * T * C, 0.0), lse(batch * heads * T), dqkv(qkv.size(), 0.0);
  for (int64_t b = 0; b < batch; b++) for (int64_t h = 0; h < heads; h++) for (int64_t i = 0; i < T; i++) {
    auto at = [&](int64_t t, int64_t part) { return (b * T + t) * 3 * C + part * C + h * D; };
    const int64_t to = (b * T + i) * C + h * D;
    Doubles p(i + 1), dp(i + 1, 0.0), factor(i + 1, 1.0);
    if (dropout) for (int64_t j = 0; j <= i; j++) factor[j] = PlainFactor(*dropout, b, (h * T + i) * T + j);
    double most = -INFINITY, sum = 0, dot = 0;
    for (int64_t j = 0; j <= i; j++) {
      double score = 0;
      for (int64_t d = 0; d < D; d++) score += static_cast<double>(qkv[at(i, 0) + d]) * qkv[at(j, 1) + d];
      p[j] = score * scale;
      most = fmax(most, p[j]);
    }
    for (double& each : p) sum += each = exp(each - most);
    lse[(b * heads + h) * T + i] = most + log(sum);
    for (int64_t j = 0; j <= i; j++) {
      p[j] /= sum;
      for (int64_t d = 0; d < D; d++) {
        out[to + d] += p[j] * factor[j] * qkv[at(j, 2) + d];
        dp[j] += factor[j] * dout[to + d] * qkv[at(j, 2) + d];
      }
      dot += p[j] * dp[j];
    }
    for (int64_t j = 0; j <= i; j++) for (int64_t d = 0; d < D; d++) {
      const double ds = p[j] * (dp[j] - dot) * scale;
      dqkv[at(i, 0) + d] += ds * qkv[at(j, 1) + d];
      dqkv[at(j, 1) + d] += ds * qkv[at(i, 0) + d];
      dqkv[at(j, 2) + d] += p[j] * factor[j] * dout[to + d];
    }
  }
  const AttentionShape shape{batch, heads, T, C, D, static_cast<float>(scale)};
  Result found(out.size()), found_lse(lse.size()), found_gradient(dqkv.size());
  const std::string what = Named("attention of %d, %d heads, %d x %d, dropout %d", int(batch), int(heads), int(T), int(D), int(dropout != nullptr));
  Check(k, what, [&](const Host& host) { k.attention(host, shape, dropout, qkv.data(), found.data(), found_lse.data()); },
        {{&found, out, 3e-6}, {&found_lse, lse, 3e-6}});
  const Floats forward = found.values(), sums = found_lse.values();
  Check(k, what + ", gradient", [&](const Host& host) {
    k.attention_gradient(host, shape, dropout, dout.data(), qkv.data(), forward.data(), sums.data(), found_gradient.data());
  }, {{&found_gradient, dqkv, 1e-5}});
}

void TestLayerNorm(const Kernels& k, int64_t N, int64_t C, bool plus_given) {
  const Floats x = Random(N * C, 3), weight = Random(C), dy = Random(N * C), plus = Random(N * C);
  Doubles y(N * C), mean(N, 0.0), inverse(N), dx(N * C), dweight(C, 0.0);
  for (int64_t n = 0; n < N; n++) {
    double variance = 0, g = 0, gu = 0;
    for (int64_t c = 0; c < C; c++) mean[n] += x[n * C + c] / static_cast<double>(C);
    for (int64_t c = 0; c < C; c++) variance += (x[n * C + c] - mean[n]) * (x[n * C + c] - mean[n]) / C;
    inverse[n] = 1 / sqrt(variance + 1e-5);
    auto u = [&](int64_t c) { return (x[n * C + c] - mean[n]) * inverse[n]; };
    for (int64_t c = 0; c < C; c++) {
      y[n * C + c] = u(c) * weight[c];
      g += static_cast<double>(dy[n * C + c]) * weight[c] / C;
      gu += static_cast<double>(dy[n * C + c]) * weight[c] * u(c) / C;
      dweight[c] += dy[n * C + c] * u(c);
    }
    for (int64_t c = 0; c < C; c++) {
      dx[n * C + c] = inverse[n] * (static_cast<double>(dy[n * C + c]) * weight[c] - g - u(c) * gu) + (plus_given ? plus[n * C + c] : 0);
    }
  }
  Result found(N * C), found_mean(N), found_inverse(N), found_dx(N * C), found_dweight(C);
  const std::string what = Named("layer norm %dx%d", int(N), int(C));
  Check(k, what, [&](const Host& host) { k.layer_norm(host, x.data(), weight.data(), N, C, found.data(), found_mean.data(), found_inverse.data()); },
        {{&found, y, 1e-5}, {&found_mean, mean, 1e-5}, {&found_inverse, inverse, 1e-5}});
  const Floats m = found_mean.values(), s = found_inverse.values();
  const LayerNormGradient g{dy.data(), x.data(), weight.data(), m.data(), s.data(), plus_given ? plus.data() : nullptr, N, C,
                            found_dx.data(), found_dweight.data()};
  Check(k, what + ", gradient", [&](const Host& host) { k.layer_norm_gradient(host, g); }, {{&found_dx, dx, C == 1 ? 1e-2 : 2e-5}, {&found_dweight, dweight, 2e-5}});  // of one feature only rounding is left, / sqrt(1e-5)
}

void TestElements(const Kernels& k, int64_t count) {
  const Floats a = Random(count, 3), b = Random(count);
  for (bool tanh_form : {false, true}) {
    Doubles y(count), slope(count);
    for (int64_t i = 0; i < count; i++) PlainGelu(a[i], tanh_form, &y[i], &slope[i]);
    Result found(count), found_slope(count);
    Check(k, Named("GELU of %d", int(count)), [&](const Host& host) { k.gelu(host, a.data(), found.data(), found_slope.data(), count, tanh_form); },
          {{&found, y, 1e-6}, {&found_slope, slope, 3e-6}});
  }
  Doubles product(count);
  for (int64_t i = 0; i < count; i++) product[i] = static_cast<float>(a[i] * b[i]);
  Result times(count);
  Check(k, Named("times %d", int(count)), [&](const Host& host) { k.times(host, a.data(), b.data(), times.data(), count); }, {{&times, product, 0}});
  Doubles wide(count);
  for (int64_t i = 0; i < count; i++) wide[i] = Rounded(a)[i];
  const std::vector<uint16_t> halves = Halved(a);
  Result widened(count);
  Check(k, Named("widening %d", int(count)), [&](const Host& host) { k.widen(host, halves.data(), widened.data(), count); }, {{&widened, wide, 0}});

  const AdamW s{0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, 1e-2f, 0.3f, 0.2f};
  Floats v = Random(count);
  for (float& each : v) each *= each;
  const Floats p = Random(count), m = Random(count);
  Doubles next_p(count), next_m(count), next_v(count);
  for (int64_t i = 0; i < count; i++) {
    const double x = b[i] * s.clip;
    next_m[i] = s.beta1 * m[i] + (1.0 - s.beta1) * x;
    next_v[i] = s.beta2 * v[i] + (1.0 - s.beta2) * x * x;
    next_p[i] = p[i] * (1.0 - s.rate * s.decay) - s.rate / s.correction1 * next_m[i] / (sqrt(next_v[i] / s.correction2) + s.epsilon);
  }
  Result found_p(p), found_m(m), found_v(v);
  Check(k, Named("AdamW of %d", int(count)), [&](const Host& host) { k.adamw(host, s, b.data(), found_p.data(), found_m.data(), found_v.data(), count); },
        {{&found_p, next_p, 3e-6}, {&found_m, next_m, 3e-6}, {&found_v, next_v, 3e-6}});
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += static_cast<double>(a[i]) * a[i] + (i < count / 3 ? static_cast<double>(b[i]) * b[i] : 0);
  const float* tensors[3] = {b.data(), b.data(), a.data()};
  const int64_t counts[3] = {count / 3, 0, count};
  Result total(1);
  Check(k, Named("squares of %d", int(count)), [&](const Host& host) { k.squares(host, tensors, counts, 3, total.data()); }, {{&total, {sum}, 1e-6}});
}

void TestCrossEntropy(const Kernels& k, int64_t N, int64_t V) {
  const Floats x = Random(N * V, 5);
  std::vector<int32_t> targets = Ids(N, V);
  for (int64_t n = 1; n < N; n += 3) targets[n] = -1;
  int64_t counted = 0;
  for (int32_t each : targets) counted += each >= 0;
  double loss = 0;
  Doubles gradient(N * V, 0.0);
  for (int64_t n = 0; n < N; n++) {
    if (targets[n] < 0) continue;
    double sum = 0;
    for (int64_t v = 0; v < V; v++) sum += exp(static_cast<double>(x[n * V + v]));
    loss += (log(sum) - x[n * V + targets[n]]) / counted;
    for (int64_t v = 0; v < V; v++) gradient[n * V + v] = (exp(static_cast<double>(x[n * V + v])) / sum - (v == targets[n])) / counted;
  }
  Result found_loss(1), found(N * V);
  Check(k, Named("cross-entropy %dx%d", int(N), int(V)),
        [&](const Host& host) { k.cross_entropy(host, x.data(), targets.data(), N, V, found_loss.data(), found.data()); },
        {{&found_loss, {loss}, 1e-6}, {&found, gradient, 1e-6}});
}

void TestRows(const Kernels& k, int64_t V, int64_t N, int64_t C) {
  const Floats table = Random(V * C);
  const std::vector<int32_t> ids = Ids(N, V);
  Doubles rows;
  for (int32_t id : ids) rows.insert(rows.end(), table.begin() + id * C, table.begin() + (id + 1) * C);
  Result found(N * C);
  Check(k, "rows", [&](const Host& host) { k.rows(host, table.data(), ids.data(), N, C, found.data()); }, {{&found, rows, 0}});
}

void TestFewRows(const Kernels& k, int64_t R, int64_t K, int64_t N, bool transposed, bool half, bool biased) {
  const Floats x = Random(R * K), w = Random(K * N), bias = Random(N);
  const Floats weight = half ? Rounded(w) : w;
  const std::vector<uint16_t> halves = Halved(w);
  Doubles y = PlainProduct({x.data(), K, 1}, ViewOf(weight, transposed, K, N), R, N, K);
  for (int64_t i = 0; biased && i < R * N; i++) y[i] += bias[i % N];
  Result found(R * N);
  const Matrix matrix{half ? static_cast<const void*>(halves.data()) : w.data(), half};
  Check(k, Named("few rows %dx%dx%d", int(R), int(K), int(N)),
        [&](const Host& host) { k.few_rows(host, x.data(), matrix, biased ? bias.data() : nullptr, transposed, R, K, N, found.data()); },
        {{&found, y, 5e-6}});
}

// Attention of new positions over a cache equals attention over all of them.
Doubles PlainCacheAttention(const CacheShape& s, Doubles& keys, Doubles& values, int64_t position, const Doubles& qkv) {
  const int64_t C = s.H * s.D;
  Doubles out(s.B * s.T * C, 0.0);
  for (int64_t b = 0; b < s.B; b++) for (int64_t h = 0; h < s.H; h++) for (int64_t t = 0; t < s.T; t++) {
    const int64_t row = b * s.T + t, head = (b * s.H + h) * s.S * s.D, seen = position + t + 1;
    for (int64_t d = 0; d < s.D; d++) {
      keys[head + (seen - 1) * s.D + d] = qkv[row * 3 * C + C + h * s.D + d];
      values[head + (seen - 1) * s.D + d] = qkv[row * 3 * C + 2 * C + h * s.D + d];
    }
    Doubles p(seen, 0.0);
    double sum = 0;
    for (int64_t j = 0; j < seen; j++) {
      for (int64_t d = 0; d < s.D; d++) p[j] += qkv[row * 3 * C + h * s.D + d] * keys[head + j * s.D + d];
      sum += p[j] = exp(p[j] / sqrt(static_cast<double>(s.D)));
    }
    for (int64_t j = 0; j < seen; j++) for (int64_t d = 0; d < s.D; d++) out[row * C + h * s.D + d] += p[j] / sum * values[head + j * s.D + d];
  }
  return out;
}

void TestCacheAttention(const Kernels& k, CacheShape s, int64_t position) {
  const Floats start_keys = Random(s.B * s.H * s.S * s.D), start_values = Random(s.B * s.H * s.S * s.D), qkv = Random(s.B * s.T * 3 * s.H * s.D);
  Doubles keys(start_keys.begin(), start_keys.end()), values(start_values.begin(), start_values.end());
  const Doubles out = PlainCacheAttention(s, keys, values, position, Doubles(qkv.begin(), qkv.end()));
  Result found_keys(start_keys), found_values(start_values), found(out.size());
  Check(k, "cached attention", [&](const Host& host) { k.cache_attention(host, s, found_keys.data(), found_values.data(), position, qkv.data(), found.data()); },
        {{&found_keys, keys, 0}, {&found_values, values, 0}, {&found, out, 3e-6}});
}

void TestWholeModel(const Kernels& k, CacheShape s, int64_t V, int64_t layers, int64_t position, bool bias, bool tanh_form, bool head, bool half) {
  const int64_t C = s.H * s.D, R = s.B * s.T;
  std::vector<Floats> parameters;
  std::vector<std::vector<uint16_t>> halves;
  std::vector<bool> halved;
  auto add = [&](int64_t rows, int64_t columns, bool matrix, double scale) {
    parameters.push_back(Random(rows * columns, scale));
    halved.push_back(matrix && half);
    if (halved.back()) parameters.back() = Rounded(parameters.back());
    halves.push_back(Halved(parameters.back()));
  };
  auto vector = [&](int64_t size) { add(1, size, false, 1); };
  auto linear = [&](int64_t from, int64_t to) {
    add(from, to, true, 0.3);
    if (bias) vector(to);
  };
  auto norm = [&] {
    vector(C);
    if (bias) vector(C);
  };
  add(V, C, true, 1);
  vector(s.S * C);
  for (int64_t layer = 0; layer < layers; layer++) {
    norm(), linear(C, 3 * C), linear(C, C), norm(), linear(C, 4 * C), linear(4 * C, C);
  }
  norm();
  if (head) add(V, C, true, 1);
  const std::vector<int32_t> ids = Ids(s.B * (s.T + 2), V);

  size_t next = 2;
  Doubles x(R * C);
  for (int64_t r = 0; r < R; r++) for (int64_t c = 0; c < C; c++) {
    x[r * C + c] = static_cast<double>(parameters[0][ids[r / s.T * (s.T + 2) + r % s.T] * C + c]) + parameters[1][(position + r % s.T) * C + c];
  }
  auto normalized = [&] {
    const Floats &weight = parameters[next], &shift = parameters[next + (bias ? 1 : 0)];
    next += bias ? 2 : 1;
    Doubles y(x.size());
    for (int64_t r = 0; r < R; r++) {
      double mean = 0, variance = 0;
      for (int64_t c = 0; c < C; c++) mean += x[r * C + c] / C;
      for (int64_t c = 0; c < C; c++) variance += (x[r * C + c] - mean) * (x[r * C + c] - mean) / C;
      for (int64_t c = 0; c < C; c++) y[r * C + c] = (x[r * C + c] - mean) / sqrt(variance + 1e-5) * weight[c] + (bias ? shift[c] : 0);
    }
    return y;
  };
  auto projected = [&](const Doubles& from, int64_t inner, int64_t outer) {
    const Floats &w = parameters[next], &shift = parameters[next + (bias ? 1 : 0)];
    next += bias ? 2 : 1;
    Doubles y(R * outer, 0.0);
    for (int64_t r = 0; r < R; r++) for (int64_t o = 0; o < outer; o++) {
      for (int64_t i = 0; i < inner; i++) y[r * outer + o] += from[r * inner + i] * w[i * outer + o];
      if (bias) y[r * outer + o] += shift[o];
    }
    return y;
  };
  auto plus = [&](const Doubles& y) { for (size_t i = 0; i < x.size(); i++) x[i] += y[i]; };
  std::vector<Doubles> caches;
  std::vector<Floats> starts;
  for (int64_t i = 0; i < 2 * layers; i++) {
    starts.push_back(Random(s.B * s.H * s.S * s.D));
    caches.emplace_back(starts.back().begin(), starts.back().end());
  }
  for (int64_t layer = 0; layer < layers; layer++) {
    plus(projected(PlainCacheAttention(s, caches[layer], caches[layers + layer], position, projected(normalized(), C, 3 * C)), C, C));
    Doubles wide = projected(normalized(), C, 4 * C);
    double slope;
    for (double& each : wide) PlainGelu(each, tanh_form, &each, &slope);
    plus(projected(wide, 4 * C, C));
  }
  const Doubles last = normalized();
  Doubles logits(s.B * V, 0.0);
  const Floats& table = parameters[head ? parameters.size() - 1 : 0];
  for (int64_t b = 0; b < s.B; b++) for (int64_t v = 0; v < V; v++) for (int64_t c = 0; c < C; c++) {
    logits[b * V + v] += last[((b + 1) * s.T - 1) * C + c] * table[v * C + c];
  }
  std::vector<Matrix> weights;
  for (size_t i = 0; i < parameters.size(); i++) weights.push_back({halved[i] ? static_cast<const void*>(halves[i].data()) : parameters[i].data(), halved[i]});
  std::vector<Result> held(starts.begin(), starts.end());
  std::vector<float*> memory;
  std::vector<Wanted> wanted;
  for (size_t i = 0; i < held.size(); i++) {
    memory.push_back(held[i].data());
    wanted.push_back({&held[i], caches[i], 1e-5});
  }
  Result found(logits.size());
  wanted.push_back({&found, logits, 1e-5});
  const WholeModel model{s, V, position, layers, bias, tanh_form, head, weights.data(), memory.data(), ids.data(), s.T + 2, found.data()};
  Check(k, "a whole step of writing", [&](const Host& host) { k.whole_model(host, model); }, wanted);
}

void TestNextToken(const Kernels& k, int64_t V, int64_t top_k, float top_p) {
  Floats logits = Random(V, 4);
  for (int64_t i = 0; i < V; i++) logits[i] = roundf(logits[i] * 8) / 8;  // ties
  const double temperature = 0.75;
  Doubles sorted(logits.begin(), logits.end());
  std::sort(sorted.rbegin(), sorted.rend());
  const int64_t likeliest = top_k > 0 && top_k < V ? top_k : V;
  double least = likeliest < V ? sorted[likeliest - 1] : -INFINITY, total = 0, before = 0;
  auto weight = [&](double logit) { return exp((logit - sorted[0]) / temperature); };
  for (int64_t i = 0; i < likeliest; i++) total += weight(sorted[i]);
  for (int64_t i = 0; top_p < 1 && i < likeliest && (i == 0 || before < top_p * total); i++) {
    least = sorted[i];
    before += weight(sorted[i]);
  }
  double all = 0, passed = 0;
  for (float each : logits) all += each >= least ? weight(each) : 0;
  // u in the middle of each token's share: the token itself is drawn.
  for (int64_t i = 0; i < V; i++) {
    if (logits[i] < least) continue;
    const double share = weight(logits[i]);
    const float u = static_cast<float>((passed + share / 2) / all);
    passed += share;
    if (share / all < 1e-5) continue;
    Result found(1);
    Check(k, Named("token %d of %d, top k %d, top p %g", int(i), int(V), int(top_k), double(top_p)), [&](const Host& host) {
      *found.data() = static_cast<float>(k.next_token(host, logits.data(), V, u, {static_cast<float>(temperature), top_p, top_k}));
    }, {{&found, {static_cast<double>(i)}, 0}});
  }
}

void TestVariant(const Kernels& k) {
  const int64_t shapes[][3] = {{1, 1, 1}, {3, 5, 0}, {7, 17, 3}, {6, 64, 5}, {13, 65, 129}, {49, 130, 70}, {1, 300, 200}, {97, 257, 385}, {200, 31, 800}};
  int form = 0;
  for (const auto& [M, N, K] : shapes) for (int i = 0; i < 24; i++) TestProduct(k, M, N, K, form++ % 72);
  for (bool left : {false, true}) for (bool transposed : {false, true}) TestRounding(k, left, transposed);
  for (int i = 0; i < 8; i++) {
    TestLinearGradient(k, 37, 50, 19, i & 1, i & 2, i & 4);
    TestLinearGradient(k, 130, 64, 200, i & 1, i & 2, i & 4);
  }
  const int64_t attentions[][4] = {{1, 1, 1, 1}, {2, 3, 5, 4}, {1, 2, 49, 17}, {2, 2, 70, 32}, {1, 1, 131, 64}, {1, 2, 97, 80}};
  const Dropout dropout{0.3f, 1 / 0.7f, {-5, 2147483647}, 4};
  for (const auto& [batch, heads, T, D] : attentions) for (auto how : {static_cast<const Dropout*>(nullptr), &dropout}) TestAttention(k, batch, heads, T, D, how);
  const int64_t dropped[][2] = {{1, 1}, {2, 3}, {3, 64}, {2, 67}, {2, 4096}, {1, 9001}};
  for (const auto& [rows, size] : dropped) for (int32_t key : {1337, -2147483647 - 1}) TestDropout(k, rows, size, key < 0 ? 0.5f : 0.2f, key);
  const int64_t matrices[][2] = {{1, 1}, {3, 5}, {70, 16}, {131, 33}, {200, 127}};
  for (const auto& [N, C] : matrices) for (bool plus : {false, true}) TestLayerNorm(k, N, C, plus);
  for (const auto& [N, V] : matrices) TestCrossEntropy(k, N, V);
  for (int64_t count : {1, 7, 16, 33, 1'025, 50'003}) TestElements(k, count);
  TestRows(k, 11, 300, 19);
  for (int i = 0; i < 8; i++) {
    for (const auto& [N, K] : matrices) TestFewRows(k, 1 + i, K, N, i & 1, i & 2, i & 4);
    TestFewRows(k, 7 - i % 7, 150, 90, i & 1, i & 2, i & 4);
  }
  TestCacheAttention(k, {2, 1, 3, 9, 5}, 4);
  TestCacheAttention(k, {1, 7, 2, 40, 16}, 0);
  for (int i = 0; i < 16; i++) TestWholeModel(k, {2, 1 + i % 3, 2, 12, 9 + i % 2 * 7}, 21, 2, i % 4, i & 1, i & 2, i & 4, i & 8);
  for (int64_t V : {1, 13, 70}) for (int64_t top_k : {0, 1, 5, 12}) for (float top_p : {1.0f, 0.9f, 0.3f}) TestNextToken(k, V, top_k, top_p);
}

}  // namespace

int main() {
  int wrong = 0;
  for (const folio::Kernels* variant : folio::Variants()) {
    if (!folio::CanRun(*variant)) {
      printf("%s: not run, this processor lacks its instructions\n", variant->name);
      continue;
    }
    failures = checks = 0;
    state = 1;
    TestVariant(*variant);
    printf("%s: %d results compared, %d wrong\n", variant->name, checks, failures);
    wrong += failures;
  }
  return wrong > 0;
}
