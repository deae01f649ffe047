// The matrix product C = A B of a training step, in the order of loops of Goto and van de Geijn 2008: blocks of B packed
// into panels of 16 columns, blocks of A read in strips of 6 rows, a tile of 6 x 16 held in registers. Each element of C
// is summed in the same order however the work is divided.
#pragma once
#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "pairs.h"
#include "simd.h"
#include "team.h"

namespace folio {

constexpr int64_t kStrip = 6, kPanel = 2 * kLanes;
// Blocks, in floats: a panel of B (kDepth x 16) stays in a first-level cache of 32 kB, a block of A (kRows x kDepth) in a
// second-level one of 512 kB; kColumns of B are packed at a time.
constexpr int64_t kDepth = 384, kRows = 192, kColumns = 256;
// What is packed for all threads, at most: 4 MB, for it is read from a cache that they share.
constexpr int64_t kShared = int64_t{1} << 20;

// Memory of the calling thread, kept from call to call, at a cache line.
inline float* Workspace(int which, int64_t count) {
  thread_local std::vector<float> held[4];
  std::vector<float>& memory = held[which];
  if (static_cast<int64_t>(memory.size()) < count + 16) memory.resize(count + 16);
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
}

// From one panel or strip to the next: a line more than it takes, or those of a row would fall into the same few places of
// a first-level cache while they are written side by side.
constexpr int64_t Apart(int64_t depth, int64_t width) { return depth * width + 16; }

// B [depth, width] as panels [depth][16], so far apart; columns behind the last are zero. Read in the order in which B lies
// in memory.
inline void PackPanels(View b, int64_t depth, int64_t width, float* out, int64_t apart) {
  const int64_t whole = b.column == 1 || b.row == 1 ? width / kPanel * kPanel : 0;
  int64_t done = 0;  // rows of the whole panels
  if (b.column == 1) {
    for (; done < depth; done++) {
      const float* from = b.data + done * b.row;
      float* to = out + done * kPanel;
      for (int64_t j = 0; j < whole; j += kPanel, to += apart) {
        Store(to, Load(from + j));
        Store(to + kLanes, Load(from + j + kLanes));
      }
    }
  } else if (b.row == 1) {
    for (int64_t j = 0; j < whole; j += kLanes) {
      float* to = out + j / kPanel * apart + j % kPanel;
      for (int64_t k = 0; k + kLanes <= depth; k += kLanes) Transpose8(b.data + j * b.column + k, b.column, to + k * kPanel, kPanel);
    }
    done = depth / kLanes * kLanes;
  }
  for (int64_t j = 0; j < width; j += kPanel) {
    for (int64_t k = j < whole ? done : 0; k < depth; k++) {
      for (int64_t c = 0; c < kPanel; c++) out[j / kPanel * apart + k * kPanel + c] = j + c < width ? b.at(k, j + c) : 0;
    }
  }
}

// A [rows, depth] as strips [depth][6], so far apart; rows behind the last are zero. Read in the order in which A lies in memory.
inline void PackStrips(View a, int64_t rows, int64_t depth, float* out, int64_t apart) {
  const int64_t whole = a.row == 1 && rows >= kLanes ? (rows - kLanes) / kStrip * kStrip + kStrip : 0;
  for (int64_t k = 0; k + 1 < depth; k++) {
    const float* from = a.data + k * a.column;
    // What is written behind the six is overwritten by the next k, so the last one goes by itself.
    float* to = out + k * kStrip;
    for (int64_t i = 0; i < whole; i += kStrip, to += apart) Store(to, Load(from + i));
  }
  for (int64_t i = 0; i < rows; i += kStrip) {
    for (int64_t k = i < whole ? std::max<int64_t>(depth - 1, 0) : 0; k < depth; k++) {
      for (int64_t r = 0; r < kStrip; r++) out[i / kStrip * apart + k * kStrip + r] = i + r < rows ? a.at(i + r, k) : 0;
    }
  }
}

// Rows x 16 of C, of which `columns` exist, from a strip of A and a panel of B. A's elements lie at a[r lda + k], or, where
// its rows are adjacent, at a[k lda + r]. C = A B, or base + A B; base may be C.
template <int Rows, bool Adjacent>
inline __attribute__((always_inline)) void ProductTile(const float* a, int64_t lda, const float* b, int64_t depth, float* c,
                                                       int64_t ldc, int64_t columns, const float* base, int64_t ldbase) {
  // What the tile will write and what the one after the next will read come from afar meanwhile.
  for (int r = 0; r < Rows; r++) {
    __builtin_prefetch(c + r * ldc, 1);
    __builtin_prefetch(c + r * ldc + kPanel - 1, 1);
  }
  Vec sum[Rows][2];
  for (int r = 0; r < Rows; r++) sum[r][0] = sum[r][1] = All(0);
#pragma GCC unroll 4
  for (int64_t k = 0; k < depth; k++) {
    if (!Adjacent && k % 16 == 0) {
      for (int r = 0; r < Rows; r++) __builtin_prefetch(a + (r + 2 * Rows) * lda + k);
    }
    const Vec b0 = Load(b + k * kPanel), b1 = Load(b + k * kPanel + kLanes);
    for (int r = 0; r < Rows; r++) {
      const float x = Adjacent ? a[k * lda + r] : a[r * lda + k];
      sum[r][0] += x * b0;
      sum[r][1] += x * b1;
    }
  }
  for (int r = 0; r < Rows; r++) {
    float* out = c + r * ldc;
    const float* from = base + r * ldbase;
    if (columns == kPanel) {
      Store(out, base ? Load(from) + sum[r][0] : sum[r][0]);
      Store(out + kLanes, base ? Load(from + kLanes) + sum[r][1] : sum[r][1]);
    } else {
      for (int64_t j = 0; j < columns; j++) {
        const float value = sum[r][j / kLanes][j % kLanes];
        out[j] = base ? from[j] + value : value;
      }
    }
  }
}

template <bool Adjacent>
inline void AnyTile(int64_t rows, const float* a, int64_t lda, const float* b, int64_t depth, float* c, int64_t ldc,
                    int64_t columns, const float* base, int64_t ldbase) {
  switch (rows) {
    case 1: return ProductTile<1, Adjacent>(a, lda, b, depth, c, ldc, columns, base, ldbase);
    case 2: return ProductTile<2, Adjacent>(a, lda, b, depth, c, ldc, columns, base, ldbase);
    case 3: return ProductTile<3, Adjacent>(a, lda, b, depth, c, ldc, columns, base, ldbase);
    case 4: return ProductTile<4, Adjacent>(a, lda, b, depth, c, ldc, columns, base, ldbase);
    case 5: return ProductTile<5, Adjacent>(a, lda, b, depth, c, ldc, columns, base, ldbase);
    default: return ProductTile<6, Adjacent>(a, lda, b, depth, c, ldc, columns, base, ldbase);
  }
}

// Whether A's strips are packed: where its rows are adjacent, and where they are so far apart that they fall into the same
// few places of a cache (multiples of a page), unless there are too few columns to read them for.
inline bool Packs(View a, int64_t N) { return a.column != 1 || (a.row % 1024 == 0 && N >= 8 * kPanel); }

// How the factors of a product are packed and multiplied. Both formats count in words of 32 bits, of which a depth of so many
// elements takes `Words`.
struct Float32 {
  static constexpr int64_t kStrip = folio::kStrip, kDepth = folio::kDepth;
  static int64_t Words(int64_t depth) { return depth; }
  static bool Packs(View a, int64_t N) { return folio::Packs(a, N); }
  static void PackPanels(View b, int64_t depth, int64_t width, float* out) { folio::PackPanels(b, depth, width, out, Apart(depth, kPanel)); }
  static void PackStrips(View a, int64_t rows, int64_t depth, float* out) { folio::PackStrips(a, rows, depth, out, Apart(depth, kStrip)); }
  static void Tile(bool packed, int64_t rows, const float* a, int64_t lda, const float* b, int64_t depth, float* c, int64_t ldc,
                   int64_t columns, const float* base, int64_t ldbase) {
    if (packed) AnyTile<true>(rows, a, kStrip, b, depth, c, ldc, columns, base, ldbase);
    else AnyTile<false>(rows, a, lda, b, depth, c, ldc, columns, base, ldbase);
  }
};

struct Bfloat16 {
  static constexpr int64_t kStrip = kWide, kDepth = 2 * folio::kDepth;
  static int64_t Words(int64_t depth) { return (depth + 1) / 2; }
  static bool Packs(View, int64_t) { return true; }
  static void PackPanels(View b, int64_t depth, int64_t width, float* out) {
    PackPairs(b.data, b.column, b.row, width, depth, out, Apart(Words(depth), kPanel));
  }
  static void PackStrips(View a, int64_t rows, int64_t depth, float* out) {
    PackPairs(a.data, a.row, a.column, rows, depth, out, Apart(Words(depth), kStrip));
  }
  static void Tile(bool, int64_t rows, const float* a, int64_t, const float* b, int64_t depth, float* c, int64_t ldc, int64_t columns,
                   const float* base, int64_t ldbase) {
    PairTile(a, b, Words(depth), c, ldc, rows, columns, base, ldbase);
  }
};

// Called with each block of C, its first row and column and its size, once its sums are complete and while it is near.
using Finish = std::function<void(int64_t row, int64_t column, int64_t rows, int64_t columns)>;

// B [K, N] packed once for all threads: its blocks of kDepth rows one after another, panels of 16 columns in each.
template <typename Format>
struct Panels {
  View b;
  int64_t K, N;
  float* memory;

  static constexpr int64_t kUnit = 4 * kPanel, kDepth = Format::kDepth;  // columns that a thread packs at a time
  static int64_t Across(int64_t N) { return (N + kPanel - 1) / kPanel; }
  static int64_t Size(int64_t K, int64_t N) { return Across(N) * (Format::Words(K) * kPanel + (K / kDepth + 1) * 16); }
  float* At(int64_t k, int64_t j) const {
    const int64_t before = Across(N) * (Format::Words(k) * kPanel + k / kDepth * 16);
    return memory + before + j / kPanel * Apart(Format::Words(std::min(kDepth, K - k)), kPanel);
  }
  int64_t Units() const { return (K + kDepth - 1) / kDepth * ((N + kUnit - 1) / kUnit); }
  void Pack(int64_t unit) const {
    const int64_t across = (N + kUnit - 1) / kUnit, k = unit / across * kDepth, j = unit % across * kUnit;
    Format::PackPanels({b.data + k * b.row + j * b.column, b.row, b.column}, std::min(kDepth, K - k), std::min(kUnit, N - j), At(k, j));
  }
};

// C [M, N] = A [M, K] B [K, N] on the calling thread, or base + A B; A and B may be views of transposes. `shared` has B
// packed, or is nothing.
template <typename Format>
void Product(View a, View b, const Panels<Format>* shared, float* c, int64_t ldc, int64_t M, int64_t N, int64_t K, const float* base,
             int64_t ldbase, const Finish& finish) {
  constexpr int64_t kStrip = Format::kStrip, kDepth = Format::kDepth;
  const bool packed = Format::Packs(a, N);
  const int64_t deepest = Format::Words(std::min(K, kDepth)), widest = Panels<Format>::Across(std::min(N, kColumns));
  float* panels = shared ? nullptr : Workspace(0, widest * Apart(deepest, kPanel));
  float* strips = packed ? Workspace(1, kRows / kStrip * Apart(deepest, kStrip) + kLanes) : nullptr;
  auto pack = [&](int64_t k, int64_t depth, int64_t i, int64_t rows) {
    if (packed) Format::PackStrips({a.data + i * a.row + k * a.column, a.row, a.column}, rows, depth, strips);
  };
  auto block = [&](int64_t k, int64_t depth, int64_t i, int64_t rows, int64_t j, int64_t width, const float* from) {
    const float* left = a.data + i * a.row + k * a.column;
    const int64_t words = Format::Words(depth);
    for (int64_t p = 0; p < width; p += kPanel, from += Apart(words, kPanel)) {
      for (int64_t r = 0; r < rows; r += kStrip) {
        float* to = c + (i + r) * ldc + j + p;
        const float* before = k > 0 ? to : base ? base + (i + r) * ldbase + j + p : nullptr;
        const int64_t ldbefore = k > 0 ? ldc : ldbase, strip = std::min(kStrip, rows - r), columns = std::min(kPanel, width - p);
        const float* of = packed ? strips + r / kStrip * Apart(words, kStrip) : left + r * a.row;
        Format::Tile(packed, strip, of, a.row, from, depth, to, ldc, columns, before, ldbefore);
      }
    }
    if (finish && k + depth >= K) finish(i, j, rows, width);
  };
  for (int64_t k = 0; k == 0 || k < K; k += kDepth) {  // once for K = 0, a sum of nothing
    const int64_t depth = std::min(kDepth, K - k);
    if (shared) {
      for (int64_t i = 0; i < M; i += kRows) {
        const int64_t rows = std::min(kRows, M - i);
        pack(k, depth, i, rows);
        for (int64_t j = 0; j < N; j += kColumns) block(k, depth, i, rows, j, std::min(kColumns, N - j), shared->At(k, j));
      }
      continue;
    }
    for (int64_t j = 0; j < N; j += kColumns) {
      const int64_t width = std::min(kColumns, N - j);
      Format::PackPanels({b.data + k * b.row + j * b.column, b.row, b.column}, depth, width, panels);
      for (int64_t i = 0; i < M; i += kRows) {
        const int64_t rows = std::min(kRows, M - i);
        pack(k, depth, i, rows);
        block(k, depth, i, rows, j, width, panels);
      }
    }
  }
}

// A product divided into pieces that threads take one after another.
struct DividedProduct {
  View a, b;
  float* c;
  int64_t M, N, K;
  bool bf16;
  const float* base = nullptr;  // added to the product, or nothing
  int64_t ldbase = 0;
  Finish finish;
  bool shares = false;    // whether B is packed once for all threads, before the pieces are taken
  int64_t rows, columns;  // of a piece

  DividedProduct(View a, View b, float* c, int64_t M, int64_t N, int64_t K, bool bf16, int64_t threads)
      : a(a), b(b), c(c), M(M), N(N), K(K), bf16(bf16), rows(std::max<int64_t>(M, 1)), columns(std::max<int64_t>(N, 1)) {
    bf16 ? Divide<Bfloat16>(threads) : Divide<Float32>(threads);
  }
  int64_t Pieces() const { return M * N == 0 ? 0 : ((M + rows - 1) / rows) * ((N + columns - 1) / columns); }
  template <typename Format>
  void Run(int64_t piece, const Panels<Format>* shared) const {
    const int64_t across = (N + columns - 1) / columns, i = piece / across * rows, j = piece % across * columns;
    const View from{a.data + i * a.row, a.row, a.column}, to{b.data + j * b.column, b.row, b.column};
    const float* added = base ? base + i * ldbase + j : nullptr;
    const Finish here = finish ? [&](int64_t r, int64_t q, int64_t m, int64_t n) { finish(i + r, j + q, m, n); } : Finish();
    Product<Format>(from, to, shared, c + i * N + j, N, std::min(rows, M - i), std::min(columns, N - j), K, added, ldbase, here);
  }

 private:
  // Pieces of columns share no work where A is read as it lies; pieces of rows share none where B was packed for all, which
  // pays as long as it stays near.
  template <typename Format>
  void Divide(int64_t threads) {
    constexpr int64_t kStrip = Format::kStrip;
    auto part = [](int64_t size, int64_t parts, int64_t unit) { return ((size + parts - 1) / parts + unit - 1) / unit * unit; };
    const bool packed = Format::Packs(a, N), across = N > M && !packed;
    shares = threads > 1 && !across && M > 2 * kStrip && Format::Words(K) * N <= kShared;
    if (across) columns = std::min(kColumns, std::max(part(N, 4 * threads, kPanel), 4 * kPanel));
    else if (shares) {
      for (int64_t each : {1, 2, 4}) {
        const int64_t fewer = part(M, each * threads, kStrip);
        if (each == 1 || fewer >= 8 * kStrip) rows = fewer;
      }
    } else if (N > M) columns = part(N, threads, kPanel);
    else rows = packed ? part(M, threads, kStrip) : std::max(part(M, 4 * threads, kStrip), std::min(kRows, part(M, threads, kStrip)));
  }
};

// Runs products of one format, each once, on the team: first what they share is packed, then their pieces are taken.
template <typename Format>
class ProductRun {
 public:
  explicit ProductRun(const std::vector<DividedProduct>& products) : products_(products), left_(products.size()) {
    for (size_t i = 0; i < products.size(); i++) {
      const DividedProduct& p = products[i];
      panels_.push_back({p.b, p.K, p.N, p.shares ? Workspace(2 + static_cast<int>(i), Panels<Format>::Size(p.K, p.N)) : nullptr});
      left_[i] = p.shares ? panels_[i].Units() : 0;
      units_ += left_[i];
      pieces_ += p.Pieces();
    }
  }
  int64_t Pieces() const { return units_ + pieces_; }
  void Run(int64_t piece) {
    for (size_t i = 0; i < products_.size(); i++) {
      if (!products_[i].shares) continue;
      if (piece < panels_[i].Units()) {
        panels_[i].Pack(piece);
        left_[i]--;
        return;
      }
      piece -= panels_[i].Units();
    }
    for (size_t i = 0; i < products_.size(); i++) {
      if (piece < products_[i].Pieces()) {
        // Pieces are taken in order, so somebody is at work on what is missing.
        for (int spins = 0; left_[i] > 0; spins++) spins < 10'000 ? Pause() : std::this_thread::yield();
        return products_[i].template Run<Format>(piece, products_[i].shares ? &panels_[i] : nullptr);
      }
      piece -= products_[i].Pieces();
    }
  }

 private:
  const std::vector<DividedProduct>& products_;
  std::vector<Panels<Format>> panels_;
  std::vector<std::atomic<int64_t>> left_;
  int64_t units_ = 0, pieces_ = 0;
};

}  // namespace folio
