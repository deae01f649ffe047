// The matrix product C = A B of a training step, in the order of loops of Goto and van de Geijn 2008: blocks of B packed
// into panels of columns, blocks of A read in strips of 6 rows, a tile of 6 rows and a panel's columns held in registers.
// Each element of C is summed in the same order, however the work is divided.
#pragma once
#include "bfloat16_product.h"
#include "simd.h"

namespace folio {
namespace {

// A tile is 6 x 16 in AVX2's 16 registers or NEON's 32 of half the size (in SSE2's 16 of half the size, two halves), and 6 x 64 in the 32 of AVX-512: 24 sums, four
// vectors of B and one number of A, so that a step's ten loads overlap with its 24 multiplications. (14 x 32 reached 160
// GFLOP/s and 6 x 64 reached 207, in plain loops on an Emerald Rapids.)
constexpr int kPanelVectors = kLanes == 8 ? 2 : 4;
constexpr int64_t kStrip = 6, kPanel = kPanelVectors * kLanes;
// The most sums that registers hold beside the factors.
#if defined(__SSE2__) && !defined(__AVX__)
constexpr int kMostSums = 12;
#else
constexpr int kMostSums = 24;
#endif
// Block sizes, in floats: a panel of B (kDepth x kPanel) stays in a 32 kB first-level cache, or, if 64 wide, streams from the
// second level at 256 bytes per 24 multiplications; a block of A (kRows x kDepth) stays in a 512 kB second-level cache;
// kColumns columns of B are packed at a time, kUnit by one thread.
constexpr int64_t kDepth = 384, kRows = 192, kColumns = 256, kUnit = 64;
// The most that is packed for all threads: 4 MB, since it is read from a cache that they share.
constexpr int64_t kShared = int64_t{1} << 20;

inline float At(View v, int64_t i, int64_t k) { return v.data[i * v.row + k * v.column]; }

// The distance between panels or strips: their size plus one cache line, since otherwise the parts of a row would map to the
// same few sets of the first-level cache while they are written.
constexpr int64_t Apart(int64_t depth, int64_t width) { return depth * width + 16; }

// Packs B [depth, width] into panels [depth][Vectors x kLanes], `apart` apart; columns past the last are zero. B is read in
// memory order.
template <int Vectors>
inline void PackPanels(View b, int64_t depth, int64_t width, float* out, int64_t apart) {
  constexpr int64_t kWide = Vectors * kLanes;
  const int64_t padded = Divided(width, kWide) * kWide;
  int64_t fast = 0, done = 0;  // columns, and rows of these, that are packed by vectors
  if (b.column == 1) {
    const int64_t whole = width / kWide * kWide;
    for (int64_t k = 0; k < depth; k++) {
      const float* from = b.data + k * b.row;
      float* to = out + k * kWide;
      for (int64_t j = 0; j < whole; j += kWide, to += apart) {
        for (int v = 0; v < Vectors; v++) Store(to + v * kLanes, Load(from + j + v * kLanes));
      }
      if (whole == padded) continue;
      Copy(from + whole, width - whole, to);
      Fill(to + width - whole, padded - width, 0);
    }
    return;
  }
  if (b.row == 1) {
    fast = width / 8 * 8;
    done = depth / 8 * 8;
    for (int64_t j = 0; j < fast; j += 8) {
      float* to = out + j / kWide * apart + j % kWide;
      for (int64_t k = 0; k < done; k += 8) Transpose8(b.data + j * b.column + k, b.column, to + k * kWide, kWide);
    }
  }
  for (int64_t j = 0; j < padded; j += 8) {
    float* to = out + j / kWide * apart + j % kWide;
    for (int64_t k = j < fast ? done : 0; k < depth; k++) {
      for (int64_t c = 0; c < 8; c++) to[k * kWide + c] = j + c < width ? At(b, k, j + c) : 0;
    }
  }
}

// Packs A [rows, depth] into strips [depth][6], `apart` apart; rows past the last are zero. A is read in memory order.
inline void PackStrips(View a, int64_t rows, int64_t depth, float* out, int64_t apart) {
  const int64_t whole = a.row == 1 && rows >= 8 ? (rows - 8) / kStrip * kStrip + kStrip : 0;
  for (int64_t k = 0; k + 1 < depth; k++) {
    const float* from = a.data + k * a.column;
    // Eight elements are written; the next k overwrites the two after the six, so the last k is written separately.
    float* to = out + k * kStrip;
    for (int64_t i = 0; i < whole; i += kStrip, to += apart) {
      *reinterpret_cast<Unaligned8*>(to) = *reinterpret_cast<const Unaligned8*>(from + i);
    }
  }
  for (int64_t i = 0; i < rows; i += kStrip) {
    for (int64_t k = i < whole ? Most(depth - 1, 0) : 0; k < depth; k++) {
      for (int64_t r = 0; r < kStrip; r++) out[i / kStrip * apart + k * kStrip + r] = i + r < rows ? At(a, i + r, k) : 0;
    }
  }
}

// Rows x (Vectors x kLanes) of C from a strip of A and a panel of B that is `Panel` vectors wide. A's elements are at
// a[r lda + k] or, if its rows are adjacent, at a[k lda + r].
template <int Rows, bool Adjacent, int Vectors, int Panel>
inline __attribute__((always_inline)) void ProductTile(const float* a, int64_t lda, const float* b, int64_t depth, const TileResult& to) {
  if constexpr (Rows * Vectors > kMostSums) {
    constexpr int kHalf = Rows / 2;
    const TileResult rest{to.c + kHalf * to.ldc, to.ldc, to.columns, to.base ? to.base + kHalf * to.ldbase : nullptr, to.ldbase};
    ProductTile<kHalf, Adjacent, Vectors, Panel>(a, lda, b, depth, to);
    return ProductTile<Rows - kHalf, Adjacent, Vectors, Panel>(a + kHalf * (Adjacent ? 1 : lda), lda, b, depth, rest);
  }
  // Prefetches what this tile will write and what the tile after the next will read.
  for (int r = 0; r < Rows; r++) {
    for (int v = 0; v < Vectors; v += 16 / kLanes) __builtin_prefetch(to.c + r * to.ldc + v * kLanes, 1);
    __builtin_prefetch(to.c + r * to.ldc + Vectors * kLanes - 1, 1);
  }
  Vec sum[Rows][Vectors];
  for (int r = 0; r < Rows; r++) for (int v = 0; v < Vectors; v++) sum[r][v] = All(0);
#pragma GCC unroll 4
  for (int64_t k = 0; k < depth; k++) {
    if (!Adjacent && k % 16 == 0) {
      for (int r = 0; r < Rows; r++) __builtin_prefetch(a + (r + 2 * Rows) * lda + k);
    }
    Vec right[Vectors];
    for (int v = 0; v < Vectors; v++) right[v] = Load(b + k * Panel * kLanes + v * kLanes);
    for (int r = 0; r < Rows; r++) {
      const float x = Adjacent ? a[k * lda + r] : a[r * lda + k];
      for (int v = 0; v < Vectors; v++) sum[r][v] += x * right[v];
    }
  }
  for (int r = 0; r < Rows; r++) StoreRow<Vectors>(sum[r], r, to);
}

// Dozens of tiles for AVX-512, which compilers would otherwise inline into every caller.
#if FOLIO_LANES == 16
#define FOLIO_TILE __attribute__((noinline))
#else
#define FOLIO_TILE inline
#endif
template <bool Adjacent, int Vectors, int Panel>
FOLIO_TILE void TileOfRows(int64_t rows, const float* a, int64_t lda, const float* b, int64_t depth, const TileResult& to) {
  switch (rows) {
    case 1: return ProductTile<1, Adjacent, Vectors, Panel>(a, lda, b, depth, to);
    case 2: return ProductTile<2, Adjacent, Vectors, Panel>(a, lda, b, depth, to);
    case 3: return ProductTile<3, Adjacent, Vectors, Panel>(a, lda, b, depth, to);
    case 4: return ProductTile<4, Adjacent, Vectors, Panel>(a, lda, b, depth, to);
    case 5: return ProductTile<5, Adjacent, Vectors, Panel>(a, lda, b, depth, to);
    default: return ProductTile<6, Adjacent, Vectors, Panel>(a, lda, b, depth, to);
  }
}

// In a partly filled panel only the vectors that contain columns are computed.
template <bool Adjacent, int Panel>
inline void AnyTile(int64_t rows, const float* a, int64_t lda, const float* b, int64_t depth, const TileResult& to) {
  if (to.columns > (Panel - 1) * kLanes) return TileOfRows<Adjacent, Panel, Panel>(rows, a, lda, b, depth, to);
  if constexpr (Panel == 4) {
    if (to.columns > 2 * kLanes) return TileOfRows<Adjacent, 3, Panel>(rows, a, lda, b, depth, to);
    if (to.columns > kLanes) return TileOfRows<Adjacent, 2, Panel>(rows, a, lda, b, depth, to);
  }
  TileOfRows<Adjacent, 1, Panel>(rows, a, lda, b, depth, to);
}

// Whether A's strips are packed: if its rows are adjacent, or if their distance is a multiple of a page, so that they map to
// the same few cache sets, unless there are too few columns for packing to pay off.
inline bool Packs(View a, int64_t N) { return a.column != 1 || (a.row % 1024 == 0 && N >= 128); }

// How the factors of a product are packed and multiplied. Both formats count in 32-bit words: `Words` per depth in elements.
struct Float32 {
  static constexpr int64_t kStrip = folio::kStrip, kPanel = folio::kPanel, kDepth = folio::kDepth;
  static int64_t Words(int64_t depth) { return depth; }
  static bool Packs(View a, int64_t N) { return folio::Packs(a, N); }
  static void PackPanels(View b, int64_t depth, int64_t width, float* out) {
    folio::PackPanels<kPanelVectors>(b, depth, width, out, Apart(depth, kPanel));
  }
  static void PackStrips(View a, int64_t rows, int64_t depth, float* out) { folio::PackStrips(a, rows, depth, out, Apart(depth, kStrip)); }
  static void Tile(bool packed, int64_t rows, const float* a, int64_t lda, const float* b, int64_t depth, const TileResult& to) {
    if (packed) AnyTile<true, kPanelVectors>(rows, a, kStrip, b, depth, to);
    else AnyTile<false, kPanelVectors>(rows, a, lda, b, depth, to);
  }
};

struct Bfloat16 {
  static constexpr int64_t kStrip = kPairs, kPanel = kPairs, kDepth = 2 * folio::kDepth;
  static int64_t Words(int64_t depth) { return Divided(depth, 2); }
  static bool Packs(View, int64_t) { return true; }
  static void PackPanels(View b, int64_t depth, int64_t width, float* out) {
    PackPairs(b.data, b.column, b.row, width, depth, out, Apart(Words(depth), kPanel));
  }
  static void PackStrips(View a, int64_t rows, int64_t depth, float* out) {
    PackPairs(a.data, a.row, a.column, rows, depth, out, Apart(Words(depth), kStrip));
  }
  static void Tile(bool, int64_t rows, const float* a, int64_t, const float* b, int64_t depth, const TileResult& to) {
    PairTiles(a, b, Words(depth), rows, to);
  }
};

// Called with each block of C, its first row and column and its size, when its sums are complete, while it is in the cache.
struct Finish {
  void (*call)(const void* context, int64_t row, int64_t column, int64_t rows, int64_t columns);  // or null
  const void* context;
};

// B [K, N] packed once for all threads: blocks of kDepth rows one after another, each in panels of columns.
template <typename Format>
struct Panels {
  View b;
  int64_t K, N;
  float* memory;

  static constexpr int64_t kPanel = Format::kPanel, kDepth = Format::kDepth;
  static int64_t Across(int64_t N) { return Divided(N, kPanel); }
  static int64_t Size(int64_t K, int64_t N) { return Across(N) * (Format::Words(K) * kPanel + (K / kDepth + 1) * 16); }
  float* At(int64_t k, int64_t j) const {
    const int64_t before = Across(N) * (Format::Words(k) * kPanel + k / kDepth * 16);
    return memory + before + j / kPanel * Apart(Format::Words(Least(kDepth, K - k)), kPanel);
  }
  int64_t Units() const { return Divided(K, kDepth) * Divided(N, kUnit); }
  void Pack(int64_t unit) const {
    const int64_t across = Divided(N, kUnit), k = unit / across * kDepth, j = unit % across * kUnit;
    Format::PackPanels({b.data + k * b.row + j * b.column, b.row, b.column}, Least(kDepth, K - k), Least(kUnit, N - j), At(k, j));
  }
};

// C [M, N] = A [M, K] B [K, N] divided into pieces that threads take one after another.
struct DividedProduct {
  View a, b;
  float* c;
  int64_t M, N, K;
  const float* base;  // added to the product, or null
  int64_t ldbase;
  Finish finish;
  bool shares;            // whether B is packed once for all threads, before the pieces are taken
  int64_t rows, columns;  // of a piece

  int64_t Pieces() const { return M * N == 0 ? 0 : Divided(M, rows) * Divided(N, columns); }
};

// Computes a piece of a product on the calling thread, given its first row and column and its size; `shared` is B packed, or
// null.
template <typename Format>
void RunPiece(const Host& host, const DividedProduct& p, const Panels<Format>* shared, int64_t row, int64_t column, int64_t M, int64_t N) {
  constexpr int64_t kStrip = Format::kStrip, kPanel = Format::kPanel, kDepth = Format::kDepth;
  const View a{p.a.data + row * p.a.row, p.a.row, p.a.column}, b{p.b.data + column * p.b.column, p.b.row, p.b.column};
  float* c = p.c + row * p.N + column;
  const float* base = p.base ? p.base + row * p.ldbase + column : nullptr;
  const int64_t K = p.K;
  const bool packed = Format::Packs(a, N);
  const int64_t deepest = Format::Words(Least(K, kDepth)), widest = Panels<Format>::Across(Least(N, kColumns));
  float* panels = shared ? nullptr : host.memory(kPanels, widest * Apart(deepest, kPanel));
  float* strips = packed ? host.memory(kStrips, Divided(kRows, kStrip) * Apart(deepest, kStrip) + 8) : nullptr;
  auto pack = [&](int64_t k, int64_t depth, int64_t i, int64_t rows) {
    if (packed) Format::PackStrips({a.data + i * a.row + k * a.column, a.row, a.column}, rows, depth, strips);
  };
  auto block = [&](int64_t k, int64_t depth, int64_t i, int64_t rows, int64_t j, int64_t width, const float* from) {
    const float* left = a.data + i * a.row + k * a.column;
    const int64_t words = Format::Words(depth);
    for (int64_t q = 0; q < width; q += kPanel, from += Apart(words, kPanel)) {
      for (int64_t r = 0; r < rows; r += kStrip) {
        float* to = c + (i + r) * p.N + j + q;
        const float* before = k > 0 ? to : base ? base + (i + r) * p.ldbase + j + q : nullptr;
        const float* of = packed ? strips + r / kStrip * Apart(words, kStrip) : left + r * a.row;
        Format::Tile(packed, Least(kStrip, rows - r), of, a.row, from, depth,
                     {to, p.N, Least(kPanel, width - q), before, k > 0 ? p.N : p.ldbase});
      }
    }
    if (p.finish.call && k + depth >= K) p.finish.call(p.finish.context, row + i, column + j, rows, width);
  };
  for (int64_t k = 0; k == 0 || k < K; k += kDepth) {  // once for K = 0, an empty sum
    const int64_t depth = Least(kDepth, K - k);
    if (shared) {
      for (int64_t i = 0; i < M; i += kRows) {
        const int64_t rows = Least(kRows, M - i);
        pack(k, depth, i, rows);
        for (int64_t j = 0; j < N; j += kColumns) block(k, depth, i, rows, j, Least(kColumns, N - j), shared->At(k, j));
      }
      continue;
    }
    for (int64_t j = 0; j < N; j += kColumns) {
      const int64_t width = Least(kColumns, N - j);
      Format::PackPanels({b.data + k * b.row + j * b.column, b.row, b.column}, depth, width, panels);
      for (int64_t i = 0; i < M; i += kRows) {
        const int64_t rows = Least(kRows, M - i);
        pack(k, depth, i, rows);
        block(k, depth, i, rows, j, width, panels);
      }
    }
  }
}

// Dividing by columns repeats no work if A is not packed; dividing by rows repeats none if B is packed for all threads, which
// pays off while it stays in the cache.
template <typename Format>
void Divide(DividedProduct& p, int64_t threads) {
  constexpr int64_t kStrip = Format::kStrip;
  const int64_t M = p.M, N = p.N;
  auto part = [](int64_t size, int64_t parts, int64_t unit) { return Divided(Divided(size, parts), unit) * unit; };
  const bool packed = Format::Packs(p.a, N), across = N > M && !packed;
  p.rows = Most(M, 1);
  p.columns = Most(N, 1);
  p.shares = threads > 1 && !across && M > 2 * kStrip && Format::Words(p.K) * N <= kShared;
  if (across) p.columns = Least(kColumns, Most(part(N, 4 * threads, Format::kPanel), kUnit));
  else if (p.shares) {
    for (int64_t each = 1; each <= 4; each *= 2) {
      const int64_t fewer = part(M, each * threads, kStrip);
      if (each == 1 || fewer >= 8 * kStrip) p.rows = fewer;
    }
  } else if (N > M) p.columns = part(N, threads, Format::kPanel);
  else p.rows = packed ? part(M, threads, kStrip) : Most(part(M, 4 * threads, kStrip), Least(kRows, part(M, threads, kStrip)));
}

// Runs one or two products on the threads: first the shared panels are packed, then the pieces are computed.
template <typename Format>
void RunProducts(const Host& host, DividedProduct* products, int count) {
  Panels<Format> panels[2];
  int64_t left[2] = {0, 0}, units = 0, pieces = 0;
  double multiplications = 0;
  for (int i = 0; i < count; i++) {
    DividedProduct& p = products[i];
    Divide<Format>(p, host.threads);
    panels[i] = {p.b, p.K, p.N, p.shares ? host.memory(kSharedPanels + i, Panels<Format>::Size(p.K, p.N)) : nullptr};
    left[i] = p.shares ? panels[i].Units() : 0;
    units += left[i];
    pieces += p.Pieces();
    multiplications += static_cast<double>(p.M) * p.N * p.K;
  }
  Take(host, units + pieces, multiplications / 32, [&](int64_t piece) {
    for (int i = 0; i < count; i++) {
      if (!products[i].shares) continue;
      if (piece < panels[i].Units()) {
        panels[i].Pack(piece);
        __atomic_fetch_sub(&left[i], 1, __ATOMIC_SEQ_CST);
        return;
      }
      piece -= panels[i].Units();
    }
    for (int i = 0; i < count; i++) {
      const DividedProduct& p = products[i];
      if (piece >= p.Pieces()) {
        piece -= p.Pieces();
        continue;
      }
      // Pieces are taken in order, so other threads are already packing what is missing.
      for (int64_t spins = 0; __atomic_load_n(&left[i], __ATOMIC_SEQ_CST) > 0; spins++) host.wait(spins);
      const int64_t across = Divided(p.N, p.columns), row = piece / across * p.rows, column = piece % across * p.columns;
      return RunPiece<Format>(host, p, p.shares ? &panels[i] : nullptr, row, column, Least(p.rows, p.M - row), Least(p.columns, p.N - column));
    }
  });
}

}  // namespace
}  // namespace folio
