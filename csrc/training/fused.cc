#include "training/fused.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "training/clones.h"

namespace evenbit::training {
namespace {

// Floats that are worked on at once: whole pixels, so that per-channel values repeat with this period.
constexpr int kTile = 256;

int tile_of(int channels) { return std::max(1, kTile / channels) * channels; }

// Per-channel values repeated over a tile.
class Tiled {
 public:
  Tiled(int channels, int tile) : channels_(static_cast<size_t>(channels)), values_(static_cast<size_t>(tile)) {}
  const float* set(const float* v) {
    for (size_t i = 0; i < values_.size(); i += channels_) std::copy_n(v, channels_, values_.data() + i);
    return values_.data();
  }

 private:
  size_t channels_;  // the tile is a multiple of it
  std::vector<float> values_;
};

// One running sum a lane of a tile.
class Sums {
 public:
  Sums(int channels, int tile) : channels_(channels), lanes_(static_cast<size_t>(tile)) {}
  float* start() {
    std::fill(lanes_.begin(), lanes_.end(), 0.0F);
    return lanes_.data();
  }
  void finish(float* out) const {
    const size_t channels = static_cast<size_t>(channels_);
    for (size_t c = 0; c < channels; ++c) {
      double sum = 0;
      for (size_t i = c; i < lanes_.size(); i += channels) sum += static_cast<double>(lanes_[i]);
      out[c] = static_cast<float>(sum);
    }
  }

 private:
  int channels_;
  std::vector<float> lanes_;
};

// Calls work(first, last) for ranges of images that together are all of them.
template <typename Work>
void for_images(Pool& pool, int images, const Work& work) {
  const int chunk = std::max(1, images / (4 * pool.threads()));
  std::atomic<int> next{0};
  pool.run([&](int) {
    for (int first; (first = next.fetch_add(chunk)) < images;) work(first, std::min(images, first + chunk));
  });
}

inline __attribute__((always_inline)) float window_of(Window window, float u) {
  if (window == Window::clip) return std::fabs(u) <= 1.0F ? 1.0F : 0.0F;
  if (window == Window::polynomial) return std::max(0.0F, 2.0F - 2.0F * std::fabs(u));
  return 1.0F;
}

// The loops over a tile. The pointers never overlap.

EVENBIT_CLONES void add(int n, const float* __restrict x, float* __restrict sum) {
  for (int i = 0; i < n; ++i) sum[i] += x[i];
}

EVENBIT_CLONES void add_squares(int n, const float* __restrict x, const float* __restrict mean, float* __restrict sum) {
  for (int i = 0; i < n; ++i) {
    const float d = x[i] - mean[i];
    sum[i] += d * d;
  }
}

EVENBIT_CLONES void add_squares_and_cubes(int n, const float* __restrict x, const float* __restrict mean,
                                          float* __restrict squares, float* __restrict cubes) {
  for (int i = 0; i < n; ++i) {
    const float d = x[i] - mean[i];
    squares[i] += d * d;
    cubes[i] += d * d * d;
  }
}

EVENBIT_CLONES void signs(int n, const float* __restrict x, const float* __restrict scale,
                          const float* __restrict offset, float* __restrict y) {
  for (int i = 0; i < n; ++i) y[i] = x[i] * scale[i] + offset[i] >= 0.0F ? 1.0F : -1.0F;
}

template <Window window>
inline __attribute__((always_inline)) void add_window(int n, const float* __restrict g, const float* __restrict x,
                                                      const float* __restrict scale, const float* __restrict offset,
                                                      float* __restrict dscale, float* __restrict doffset) {
  for (int i = 0; i < n; ++i) {
    const float h = g[i] * window_of(window, x[i] * scale[i] + offset[i]);
    dscale[i] += h * x[i];
    doffset[i] += h;
  }
}

EVENBIT_CLONES void add_windows(Window window, int n, const float* g, const float* x, const float* scale,
                                const float* offset, float* dscale, float* doffset) {
  if (window == Window::clip) return add_window<Window::clip>(n, g, x, scale, offset, dscale, doffset);
  if (window == Window::polynomial) return add_window<Window::polynomial>(n, g, x, scale, offset, dscale, doffset);
  add_window<Window::identity>(n, g, x, scale, offset, dscale, doffset);
}

// Per-channel values that carry the gradient of the moments; mean and d are null without the third one.
struct Powers {
  const float *a, *b, *mean, *d;
};

template <Window window, bool third>
inline __attribute__((always_inline)) void apply_window(int n, const float* __restrict g, const float* __restrict x,
                                                        const float* __restrict scale, const float* __restrict offset,
                                                        const float* __restrict a, const float* __restrict b,
                                                        const float* __restrict mean, const float* __restrict d,
                                                        float* __restrict dx) {
  for (int i = 0; i < n; ++i) {
    const float h = g[i] * window_of(window, x[i] * scale[i] + offset[i]);
    dx[i] = h * scale[i] + x[i] * a[i] + b[i];
    if (third) dx[i] += (x[i] - mean[i]) * (x[i] - mean[i]) * d[i];
  }
}

template <Window window>
inline __attribute__((always_inline)) void apply_window(int n, const float* g, const float* x, const float* scale,
                                                        const float* offset, const Powers& p, float* dx) {
  if (p.d) return apply_window<window, true>(n, g, x, scale, offset, p.a, p.b, p.mean, p.d, dx);
  apply_window<window, false>(n, g, x, scale, offset, p.a, p.b, p.mean, p.d, dx);
}

EVENBIT_CLONES void apply_windows(Window window, int n, const float* g, const float* x, const float* scale,
                                  const float* offset, const Powers& p, float* dx) {
  if (window == Window::clip) return apply_window<Window::clip>(n, g, x, scale, offset, p, dx);
  if (window == Window::polynomial) return apply_window<Window::polynomial>(n, g, x, scale, offset, p, dx);
  apply_window<Window::identity>(n, g, x, scale, offset, p, dx);
}

struct Rprelu {
  const float *scale, *offset, *slope, *shift;
};

// u of the shortcut r, or of none.
template <bool shortcut>
inline __attribute__((always_inline)) float sum_of(float y, float scale, float offset, const float* r, int i) {
  const float v = y * scale + offset;
  return shortcut ? v + r[i] : v;
}

template <bool shortcut>
inline __attribute__((always_inline)) void rprelu(int n, const float* __restrict y, const float* __restrict r,
                                                  const float* __restrict scale, const float* __restrict offset,
                                                  const float* __restrict slope, const float* __restrict shift,
                                                  float* __restrict z) {
  for (int i = 0; i < n; ++i) {
    const float u = sum_of<shortcut>(y[i], scale[i], offset[i], r, i);
    z[i] = (u >= 0.0F ? u : u * slope[i]) + shift[i];
  }
}

EVENBIT_CLONES void rprelus(int n, const float* y, const float* r, const float* scale, const float* offset,
                            const float* slope, const float* shift, float* z) {
  if (r) return rprelu<true>(n, y, r, scale, offset, slope, shift, z);
  rprelu<false>(n, y, r, scale, offset, slope, shift, z);
}

template <bool shortcut>
inline __attribute__((always_inline)) void rprelu_gradient(int n, const float* __restrict g, const float* __restrict y,
                                                           const float* __restrict r, const float* __restrict scale,
                                                           const float* __restrict offset,
                                                           const float* __restrict slope, float* __restrict du,
                                                           float* __restrict sum_du, float* __restrict sum_duy,
                                                           float* __restrict sum_below, float* __restrict sum_g) {
  for (int i = 0; i < n; ++i) {
    const float u = sum_of<shortcut>(y[i], scale[i], offset[i], r, i);
    const float d = u >= 0.0F ? g[i] : g[i] * slope[i];
    du[i] = d;
    sum_du[i] += d;
    sum_duy[i] += d * y[i];
    sum_below[i] += u >= 0.0F ? 0.0F : g[i] * u;
    sum_g[i] += g[i];
  }
}

EVENBIT_CLONES void rprelu_gradients(int n, const float* g, const float* y, const float* r, const float* scale,
                                     const float* offset, const float* slope, float* du, float* sum_du, float* sum_duy,
                                     float* sum_below, float* sum_g) {
  if (r) {
    return rprelu_gradient<true>(n, g, y, r, scale, offset, slope, du, sum_du, sum_duy, sum_below, sum_g);
  }
  rprelu_gradient<false>(n, g, y, r, scale, offset, slope, du, sum_du, sum_duy, sum_below, sum_g);
}

EVENBIT_CLONES void affine(int n, const float* __restrict du, const float* __restrict y, const float* __restrict scale,
                           const float* __restrict a, const float* __restrict b, float* __restrict dy) {
  for (int i = 0; i < n; ++i) dy[i] = du[i] * scale[i] + y[i] * a[i] + b[i];
}

// Walks the tiles of one image: visit(offset, length).
template <typename Visit>
void for_tiles(size_t first, int elements, int tile, const Visit& visit) {
  for (int i = 0; i < elements; i += tile) visit(first + static_cast<size_t>(i), std::min(tile, elements - i));
}

// Walks the cells of one image: start(cell), then visit(offset, length) for the tiles of its pixels, then finish(cell).
template <typename Start, typename Visit, typename Finish>
void for_cells(const Cells& cells, size_t first, int channels, int tile, const Start& start, const Visit& visit,
               const Finish& finish) {
  const auto border = [](int cell, int of, int size) { return (cell * size + of - 1) / of; };
  for (int k = 0; k < cells.count(); ++k) {
    const int row = k / cells.columns, column = k % cells.columns;
    const int top = border(row, cells.rows, cells.height), bottom = border(row + 1, cells.rows, cells.height);
    const int left = border(column, cells.columns, cells.width), right = border(column + 1, cells.columns, cells.width);
    // Rows that are as wide as the map follow each other in memory.
    const int steps = cells.columns == 1 ? std::min(1, bottom - top) : bottom - top;
    const int pixels = (right - left) * (cells.columns == 1 ? bottom - top : 1);
    start(static_cast<size_t>(k));
    for (int y = 0; y < steps; ++y) {
      const size_t pixel = static_cast<size_t>(top + y) * static_cast<size_t>(cells.width) + static_cast<size_t>(left);
      for_tiles(first + pixel * static_cast<size_t>(channels), pixels * channels, tile, visit);
    }
    finish(static_cast<size_t>(k));
  }
}

}  // namespace

template <typename T>
void moments(Pool& pool, Size size, const T* x, float* mean, float* var, float* third) {
  const int c = size.channels, tile = tile_of(c), elements = size.pixels * c;
  for_images(pool, size.images, [&](int n, int last) {
    Sums sums(c, tile), cubes(c, tile);
    Tiled means(c, tile);
    Reader<T> xs(x, tile);
    const auto finish = [&](const Sums& from, float* to) {
      from.finish(to);
      for (int k = 0; k < c; ++k) to[k] /= static_cast<float>(size.pixels);
    };
    for (; n < last; ++n) {
      const size_t first = static_cast<size_t>(n) * static_cast<size_t>(elements),
                   row = static_cast<size_t>(n) * static_cast<size_t>(c);
      float* lanes = sums.start();
      for_tiles(first, elements, tile, [&](size_t i, int count) { add(count, xs.tile(i, count), lanes); });
      finish(sums, mean + row);
      const float* centre = means.set(mean + row);
      lanes = sums.start();
      if (third) {
        float* const thirds = cubes.start();
        for_tiles(first, elements, tile,
                  [&](size_t i, int count) { add_squares_and_cubes(count, xs.tile(i, count), centre, lanes, thirds); });
        finish(cubes, third + row);
      } else {
        for_tiles(first, elements, tile,
                  [&](size_t i, int count) { add_squares(count, xs.tile(i, count), centre, lanes); });
      }
      finish(sums, var + row);
    }
  });
}

template <typename T>
void sign_forward(Pool& pool, Size size, const Cells& cells, const T* x, const float* scale, const float* offset,
                  T* y) {
  const int c = size.channels, tile = tile_of(c), elements = size.pixels * c;
  const size_t count = static_cast<size_t>(cells.count()), width = static_cast<size_t>(c);
  for_images(pool, size.images, [&](int n, int last) {
    Tiled scales(c, tile), offsets(c, tile);
    Reader<T> xs(x, tile);
    Writer<T> ys(y, tile);
    for (; n < last; ++n) {
      const size_t row = static_cast<size_t>(n) * static_cast<size_t>(c);
      const float *const s = scales.set(scale + row), *o = nullptr;
      for_cells(
          cells, static_cast<size_t>(n) * static_cast<size_t>(elements), c, tile,
          [&](size_t k) { o = offsets.set(offset + row * count + k * width); },
          [&](size_t i, int length) {
            const float* const values = xs.tile(i, length);
            ys.tile(i, length, [&](float* to) { signs(length, values, s, o, to); });
          },
          [](size_t) {});
    }
  });
}

template <typename T>
void sign_backward_sums(Pool& pool, Size size, const Cells& cells, Window window, const T* g, const T* x,
                        const float* scale, const float* offset, float* dscale, float* doffset) {
  const int c = size.channels, tile = tile_of(c), elements = size.pixels * c;
  const size_t count = static_cast<size_t>(cells.count()), width = static_cast<size_t>(c);
  for_images(pool, size.images, [&](int n, int last) {
    Tiled scales(c, tile), offsets(c, tile);
    Sums dscales(c, tile), doffsets(c, tile);
    Reader<T> gs(g, tile), xs(x, tile);
    for (; n < last; ++n) {
      const size_t row = static_cast<size_t>(n) * static_cast<size_t>(c);
      const auto of_cell = [&](size_t k) { return row * count + k * width; };
      const float *const s = scales.set(scale + row), *o = nullptr;
      float *const ds = dscales.start(), *dof = nullptr;
      for_cells(
          cells, static_cast<size_t>(n) * static_cast<size_t>(elements), c, tile,
          [&](size_t k) {
            o = offsets.set(offset + of_cell(k));
            dof = doffsets.start();
          },
          [&](size_t i, int length) {
            add_windows(window, length, gs.tile(i, length), xs.tile(i, length), s, o, ds, dof);
          },
          [&](size_t k) { doffsets.finish(doffset + of_cell(k)); });
      dscales.finish(dscale + row);
    }
  });
}

template <typename T>
void sign_backward(Pool& pool, Size size, const Cells& cells, Window window, const T* g, const T* x, const float* scale,
                   const float* offset, const float* a, const float* b, const float* mean, const float* d, T* dx) {
  const int c = size.channels, tile = tile_of(c), elements = size.pixels * c;
  const size_t count = static_cast<size_t>(cells.count()), width = static_cast<size_t>(c);
  for_images(pool, size.images, [&](int n, int last) {
    Tiled scales(c, tile), offsets(c, tile), as(c, tile), bs(c, tile), means(c, tile), ds(c, tile);
    Reader<T> gs(g, tile), xs(x, tile);
    Writer<T> dxs(dx, tile);
    for (; n < last; ++n) {
      const size_t row = static_cast<size_t>(n) * static_cast<size_t>(c);
      const float *const s = scales.set(scale + row), *o = nullptr;
      const Powers powers{as.set(a + row), bs.set(b + row), d ? means.set(mean + row) : nullptr,
                          d ? ds.set(d + row) : nullptr};
      for_cells(
          cells, static_cast<size_t>(n) * static_cast<size_t>(elements), c, tile,
          [&](size_t k) { o = offsets.set(offset + row * count + k * width); },
          [&](size_t i, int length) {
            const float *const gt = gs.tile(i, length), *const xt = xs.tile(i, length);
            dxs.tile(i, length, [&](float* to) { apply_windows(window, length, gt, xt, s, o, powers, to); });
          },
          [](size_t) {});
    }
  });
}

template <typename T>
void rprelu_forward(Pool& pool, Size size, const T* y, const T* r, const float* scale, const float* offset,
                    const float* slope, const float* shift, T* z) {
  const int c = size.channels, tile = tile_of(c), elements = size.pixels * c;
  Tiled scales(c, tile), offsets(c, tile), slopes(c, tile), shifts(c, tile);
  const float *s = scales.set(scale), *o = offsets.set(offset), *k = slopes.set(slope), *t = shifts.set(shift);
  for_images(pool, size.images, [&](int n, int last) {
    Reader<T> ys(y, tile), rs(r, tile);
    Writer<T> zs(z, tile);
    for (; n < last; ++n) {
      for_tiles(static_cast<size_t>(n) * static_cast<size_t>(elements), elements, tile, [&](size_t i, int count) {
        const float *const yt = ys.tile(i, count), *const rt = rs.tile(i, count);
        zs.tile(i, count, [&](float* to) { rprelus(count, yt, rt, s, o, k, t, to); });
      });
    }
  });
}

template <typename T>
void rprelu_backward(Pool& pool, Size size, const T* g, const T* y, const T* r, const float* scale, const float* offset,
                     const float* slope, T* du, float* sums) {
  const int c = size.channels, tile = tile_of(c), elements = size.pixels * c;
  Tiled scales(c, tile), offsets(c, tile), slopes(c, tile);
  const float *s = scales.set(scale), *o = offsets.set(offset), *k = slopes.set(slope);
  for_images(pool, size.images, [&](int n, int last) {
    Sums sum0(c, tile), sum1(c, tile), sum2(c, tile), sum3(c, tile);
    Reader<T> gs(g, tile), ys(y, tile), rs(r, tile);
    Writer<T> dus(du, tile);
    for (; n < last; ++n) {
      float *l0 = sum0.start(), *l1 = sum1.start(), *l2 = sum2.start(), *l3 = sum3.start();
      for_tiles(static_cast<size_t>(n) * static_cast<size_t>(elements), elements, tile, [&](size_t i, int count) {
        const float *const gt = gs.tile(i, count), *const yt = ys.tile(i, count), *const rt = rs.tile(i, count);
        dus.tile(i, count, [&](float* to) { rprelu_gradients(count, gt, yt, rt, s, o, k, to, l0, l1, l2, l3); });
      });
      float* row = sums + static_cast<size_t>(n) * 4 * static_cast<size_t>(c);
      sum0.finish(row);
      sum1.finish(row + c);
      sum2.finish(row + 2 * c);
      sum3.finish(row + 3 * c);
    }
  });
}

template <typename T>
void norm_backward(Pool& pool, Size size, const T* du, const T* y, const float* scale, const float* a, const float* b,
                   T* dy) {
  const int c = size.channels, tile = tile_of(c), elements = size.pixels * c;
  Tiled scales(c, tile), as(c, tile), bs(c, tile);
  const float *s = scales.set(scale), *at = as.set(a), *bt = bs.set(b);
  for_images(pool, size.images, [&](int n, int last) {
    Reader<T> dus(du, tile), ys(y, tile);
    Writer<T> dys(dy, tile);
    for (; n < last; ++n) {
      for_tiles(static_cast<size_t>(n) * static_cast<size_t>(elements), elements, tile, [&](size_t i, int count) {
        const float *const dut = dus.tile(i, count), *const yt = ys.tile(i, count);
        dys.tile(i, count, [&](float* to) { affine(count, dut, yt, s, at, bt, to); });
      });
    }
  });
}

#define EVENBIT_MAPS_OF(T)                                                                                            \
  template void moments(Pool&, Size, const T*, float*, float*, float*);                                               \
  template void sign_forward(Pool&, Size, const Cells&, const T*, const float*, const float*, T*);                    \
  template void sign_backward_sums(Pool&, Size, const Cells&, Window, const T*, const T*, const float*, const float*, \
                                   float*, float*);                                                                   \
  template void sign_backward(Pool&, Size, const Cells&, Window, const T*, const T*, const float*, const float*,      \
                              const float*, const float*, const float*, const float*, T*);                            \
  template void rprelu_forward(Pool&, Size, const T*, const T*, const float*, const float*, const float*,             \
                               const float*, T*);                                                                     \
  template void rprelu_backward(Pool&, Size, const T*, const T*, const T*, const float*, const float*, const float*,  \
                                T*, float*);                                                                          \
  template void norm_backward(Pool&, Size, const T*, const T*, const float*, const float*, const float*, T*);
EVENBIT_MAPS_OF(float)
EVENBIT_MAPS_OF(BFloat16)
#undef EVENBIT_MAPS_OF

}  // namespace evenbit::training
