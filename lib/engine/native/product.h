// The matrix product C = A B of a training step, in the order of loops of Goto and van de Geijn 2008: blocks of B packed
// into panels of 16 columns, blocks of A read in strips of 6 rows, a tile of 6 x 16 held in registers. Each element of C
// is summed in the same order however the work is divided.
#pragma once
#include <algorithm>
#include <functional>
#include <vector>

#include "simd.h"

namespace folio {

constexpr int64_t kStrip = 6, kPanel = 2 * kLanes;
// Blocks, in floats: a panel of B (kDepth x 16) stays in a first-level cache of 32 kB, a block of A (kRows x kDepth) in a
// second-level one of 512 kB; kColumns of B are packed at a time.
constexpr int64_t kDepth = 384, kRows = 192, kColumns = 256;

// Memory of the calling thread, kept from call to call, at a cache line.
inline float* Workspace(int which, int64_t count) {
  thread_local std::vector<float> held[2];
  std::vector<float>& memory = held[which];
  if (static_cast<int64_t>(memory.size()) < count + 16) memory.resize(count + 16);
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
}

// B [depth, width] as panels [depth][16]; columns behind the last are zero. Read in the order in which B lies in memory.
inline void PackPanels(View b, int64_t depth, int64_t width, float* out) {
  const int64_t whole = b.column == 1 || b.row == 1 ? width / kPanel * kPanel : 0;
  int64_t done = 0;  // rows of the whole panels
  if (b.column == 1) {
    for (; done < depth; done++) {
      const float* from = b.data + done * b.row;
      float* to = out + done * kPanel;
      for (int64_t j = 0; j < whole; j += kPanel, to += depth * kPanel) {
        Store(to, Load(from + j));
        Store(to + kLanes, Load(from + j + kLanes));
      }
    }
  } else if (b.row == 1) {
    for (int64_t j = 0; j < whole; j += kLanes) {
      float* to = out + j / kPanel * depth * kPanel + j % kPanel;
      for (int64_t k = 0; k + kLanes <= depth; k += kLanes) Transpose8(b.data + j * b.column + k, b.column, to + k * kPanel, kPanel);
    }
    done = depth / kLanes * kLanes;
  }
  for (int64_t j = 0; j < width; j += kPanel) {
    for (int64_t k = j < whole ? done : 0; k < depth; k++) {
      for (int64_t c = 0; c < kPanel; c++) out[j * depth + k * kPanel + c] = j + c < width ? b.at(k, j + c) : 0;
    }
  }
}

// A [rows, depth] as strips [depth][6]; rows behind the last are zero. Read in the order in which A lies in memory.
inline void PackStrips(View a, int64_t rows, int64_t depth, float* out) {
  const int64_t whole = a.row == 1 && rows >= kLanes ? (rows - kLanes) / kStrip * kStrip + kStrip : 0;
  for (int64_t k = 0; k + 1 < depth; k++) {
    const float* from = a.data + k * a.column;
    // What is written behind the six is overwritten by the next k, so the last one goes by itself.
    for (int64_t i = 0; i < whole; i += kStrip) Store(out + i * depth + k * kStrip, Load(from + i));
  }
  for (int64_t i = 0; i < rows; i += kStrip) {
    for (int64_t k = i < whole ? std::max<int64_t>(depth - 1, 0) : 0; k < depth; k++) {
      for (int64_t r = 0; r < kStrip; r++) out[i * depth + k * kStrip + r] = i + r < rows ? a.at(i + r, k) : 0;
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

// Called with each block of C, its first row and column and its size, once its sums are complete and while it is near.
using Finish = std::function<void(int64_t row, int64_t column, int64_t rows, int64_t columns)>;

// C [M, N] = A [M, K] B [K, N] on the calling thread, or base + A B; A and B may be views of transposes.
inline void Product(View a, View b, float* c, int64_t ldc, int64_t M, int64_t N, int64_t K, const float* base, int64_t ldbase,
                    const Finish& finish) {
  const bool packed = Packs(a, N);
  const int64_t deepest = std::min(K, kDepth), widest = (std::min(N, kColumns) + kPanel - 1) / kPanel * kPanel;
  float* panels = Workspace(0, deepest * widest);
  float* strips = packed ? Workspace(1, kRows * deepest + kLanes) : nullptr;
  for (int64_t j = 0; j < N; j += kColumns) {
    const int64_t width = std::min(kColumns, N - j);
    for (int64_t k = 0; k == 0 || k < K; k += kDepth) {  // once for K = 0, a sum of nothing
      const int64_t depth = std::min(kDepth, K - k);
      PackPanels({b.data + k * b.row + j * b.column, b.row, b.column}, depth, width, panels);
      for (int64_t i = 0; i < M; i += kRows) {
        const int64_t rows = std::min(kRows, M - i);
        const View block{a.data + i * a.row + k * a.column, a.row, a.column};
        if (packed) PackStrips(block, rows, depth, strips);
        for (int64_t p = 0; p < width; p += kPanel) {
          for (int64_t r = 0; r < rows; r += kStrip) {
            float* to = c + (i + r) * ldc + j + p;
            const float* from = k > 0 ? to : base ? base + (i + r) * ldbase + j + p : nullptr;
            const int64_t ldfrom = k > 0 ? ldc : ldbase;
            const int64_t strip = std::min(kStrip, rows - r), columns = std::min(kPanel, width - p);
            if (packed) AnyTile<true>(strip, strips + r * depth, kStrip, panels + p * depth, depth, to, ldc, columns, from, ldfrom);
            else AnyTile<false>(strip, block.data + r * a.row, a.row, panels + p * depth, depth, to, ldc, columns, from, ldfrom);
          }
        }
        if (finish && k + depth >= K) finish(i, j, rows, width);
      }
    }
  }
}

// A product divided into pieces that threads take one after another.
struct DividedProduct {
  View a, b;
  float* c;
  int64_t M, N, K;
  const float* base;  // added to the product, or nothing
  int64_t ldbase;
  Finish finish;
  int64_t rows, columns;  // of a piece

  // A is read again by each piece of columns, and B packed again by each piece of rows: the longer side is divided. Where A
  // must be packed as well, into as many pieces as there are threads, else into more, which thus end together.
  DividedProduct(View a, View b, float* c, int64_t M, int64_t N, int64_t K, int64_t threads, const float* base = nullptr,
                 int64_t ldbase = 0, Finish finish = {})
      : a(a), b(b), c(c), M(M), N(N), K(K), base(base), ldbase(ldbase), finish(std::move(finish)), rows(std::max<int64_t>(M, 1)), columns(std::max<int64_t>(N, 1)) {
    if (threads == 1 || M * N == 0) return;
    auto part = [](int64_t size, int64_t parts, int64_t unit) { return ((size + parts - 1) / parts + unit - 1) / unit * unit; };
    const bool packed = Packs(a, N);
    if (N > M) columns = packed ? part(N, threads, kPanel) : std::min(kColumns, std::max(part(N, 4 * threads, kPanel), 4 * kPanel));
    else rows = packed ? part(M, threads, kStrip) : std::max(part(M, 4 * threads, kStrip), std::min(kRows, part(M, threads, kStrip)));
  }
  int64_t Pieces() const { return ((M + rows - 1) / rows) * ((N + columns - 1) / columns); }
  void Run(int64_t piece) const {
    const int64_t across = (N + columns - 1) / columns, i = piece / across * rows, j = piece % across * columns;
    const View from{a.data + i * a.row, a.row, a.column}, to{b.data + j * b.column, b.row, b.column};
    const float* added = base ? base + i * ldbase + j : nullptr;
    const Finish here = finish ? [&](int64_t r, int64_t q, int64_t m, int64_t n) { finish(i + r, j + q, m, n); } : Finish();
    Product(from, to, c + i * N + j, N, std::min(rows, M - i), std::min(columns, N - j), K, added, ldbase, here);
  }
};

}  // namespace folio
