// Python binding of the fused training kernels, and nothing else. evenbit/nn/_training.pyi is its description in
// Python.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>

#include "kernels/kernels.h"
#include "training/binary_conv.h"
#include "training/fused.h"
#include "training/memory.h"

namespace nb = nanobind;
using evenbit::Pool;
using evenbit::training::BinaryConvSize;
using evenbit::training::Cells;
using evenbit::training::Size;
using evenbit::training::Window;

namespace {

template <typename T>
using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu>;
using In = Array<const float>;
using Out = Array<float>;
using Steps = std::array<int, 4>;  // of a convolution
using Cut = std::array<int, 4>;    // of a map into cells: height, width, rows, columns

template <typename T>
Size size_of(const Array<T>& map) {
  if (map.ndim() != 3) throw std::invalid_argument("a map should be [images, pixels, channels]");
  if (map.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    throw std::invalid_argument("a map is too large");
  }
  return {static_cast<int>(map.shape(0)), static_cast<int>(map.shape(1)), static_cast<int>(map.shape(2))};
}

Cells cells_of(const Size& size, const Cut& cut) {
  const Cells cells{cut[0], cut[1], cut[2], cut[3]};
  if (cells.height < 0 || cells.width < 0 || cells.rows < 1 || cells.columns < 1 ||
      static_cast<int64_t>(cells.height) * cells.width != size.pixels) {
    throw std::invalid_argument("cells do not fit their map");
  }
  return cells;
}

template <typename Array>
auto data_of(const Array& array, int elements) {
  if (array.size() != static_cast<size_t>(elements)) throw std::invalid_argument("an array does not fit its map");
  return array.data();
}

Window window_of(const std::string& name) {
  if (name == "clip") return Window::clip;
  if (name == "polynomial") return Window::polynomial;
  if (name == "identity") return Window::identity;
  throw std::invalid_argument("unknown window " + name);
}

// Of a convolution from x to y, maps [images, height, width, channels], with weights [outputs, height, width,
// channels].
template <typename T>
BinaryConvSize size_of_conv(const Array<const T>& x, const In& w, const Array<const T>& y, const Steps& steps) {
  if (x.ndim() != 4 || w.ndim() != 4 || y.ndim() != 4) throw std::invalid_argument("maps and weights should be 4-D");
  if (std::max(x.size(), y.size()) > static_cast<size_t>(std::numeric_limits<int>::max())) {
    throw std::invalid_argument("a map is too large");
  }
  const auto at = [](const auto& array, size_t axis) { return static_cast<int>(array.shape(axis)); };
  const BinaryConvSize s{at(x, 0), at(x, 1), at(x, 2), at(x, 3), at(y, 3), at(y, 1), at(y, 2),
                         at(w, 1), at(w, 2), steps[0], steps[1], steps[2], steps[3]};
  const auto outputs = [](int size, int pad, int kernel, int stride) { return (size + 2 * pad - kernel) / stride + 1; };
  if (at(y, 0) != s.images || at(w, 0) != s.outputs || at(w, 3) != s.channels ||
      s.out_height != outputs(s.height, s.pad_y, s.kernel_y, s.stride_y) ||
      s.out_width != outputs(s.width, s.pad_x, s.kernel_x, s.stride_x)) {
    throw std::invalid_argument("maps and weights do not fit each other");
  }
  if (s.channels % evenbit::kBlock || s.outputs % evenbit::kBlock) {
    throw std::invalid_argument("channels should come in whole blocks");
  }
  return s;
}

// The threads that the kernels of this process share; one caller at a time.
template <typename Work>
void with_pool(int threads, const Work& work) {
  static std::mutex mutex;
  static std::unique_ptr<Pool> pool;
  const nb::gil_scoped_release release;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!pool || pool->threads() != threads) pool = std::make_unique<Pool>(threads);
  work(*pool);
}

// The kernels of maps of T.
template <typename T>
void define(nb::module_& m) {
  namespace kernels = evenbit::training;
  using InMap = Array<const T>;
  using OutMap = Array<T>;
  m.def(
      "moments",
      [](const InMap& x, Out mean, Out var, std::optional<Out> third, int threads) {
        const Size s = size_of(x);
        const int row = s.images * s.channels;
        float *const m1 = data_of(mean, row), *const m2 = data_of(var, row);
        float* const m3 = third ? data_of(*third, row) : nullptr;
        with_pool(threads, [&](Pool& pool) { kernels::moments(pool, s, x.data(), m1, m2, m3); });
      },
      nb::arg("x"), nb::arg("mean"), nb::arg("var"), nb::arg("third").none(), nb::arg("threads"));
  m.def("sign_forward", [](const InMap& x, const In& scale, const In& offset, OutMap y, const Cut& cut, int threads) {
    const Size s = size_of(x);
    const Cells cells = cells_of(s, cut);
    const int row = s.images * s.channels;
    const float *const a = data_of(scale, row), *const b = data_of(offset, row * cells.count());
    T* const out = data_of(y, row * s.pixels);
    with_pool(threads, [&](Pool& pool) { kernels::sign_forward(pool, s, cells, x.data(), a, b, out); });
  });
  m.def("sign_backward_sums", [](const std::string& window, const InMap& g, const InMap& x, const In& scale,
                                 const In& offset, Out dscale, Out doffset, const Cut& cut, int threads) {
    const Size s = size_of(x);
    const Cells cells = cells_of(s, cut);
    const Window w = window_of(window);
    const int row = s.images * s.channels, all = row * cells.count();
    const T* const gd = data_of(g, row * s.pixels);
    const float *const a = data_of(scale, row), *const b = data_of(offset, all);
    float *const ds = data_of(dscale, row), *const dof = data_of(doffset, all);
    with_pool(threads,
              [&](Pool& pool) { kernels::sign_backward_sums(pool, s, cells, w, gd, x.data(), a, b, ds, dof); });
  });
  m.def(
      "sign_backward",
      [](const std::string& window, const InMap& g, const InMap& x, const In& scale, const In& offset, const In& a,
         const In& b, const std::optional<In>& mean, const std::optional<In>& d, OutMap dx, const Cut& cut,
         int threads) {
        const Size s = size_of(x);
        const Cells cells = cells_of(s, cut);
        const Window w = window_of(window);
        const int row = s.images * s.channels;
        const T* const gd = data_of(g, row * s.pixels);
        const float* const sc = data_of(scale, row);
        const float* const of = data_of(offset, row * cells.count());
        const float *const ad = data_of(a, row), *const bd = data_of(b, row);
        if (mean.has_value() != d.has_value()) throw std::invalid_argument("mean and d go together");
        const float *const m1 = mean ? data_of(*mean, row) : nullptr, *const dd = d ? data_of(*d, row) : nullptr;
        T* const out = data_of(dx, row * s.pixels);
        with_pool(threads,
                  [&](Pool& p) { kernels::sign_backward(p, s, cells, w, gd, x.data(), sc, of, ad, bd, m1, dd, out); });
      },
      nb::arg("window"), nb::arg("g"), nb::arg("x"), nb::arg("scale"), nb::arg("offset"), nb::arg("a"), nb::arg("b"),
      nb::arg("mean").none(), nb::arg("d").none(), nb::arg("dx"), nb::arg("cells"), nb::arg("threads"));
  m.def(
      "rprelu_forward",
      [](const InMap& y, const std::optional<InMap>& r, const In& scale, const In& offset, const In& slope,
         const In& shift, OutMap z, int threads) {
        const Size s = size_of(y);
        const int all = s.images * s.pixels * s.channels;
        const T* const rd = r ? data_of(*r, all) : nullptr;
        const float *const a = data_of(scale, s.channels), *const b = data_of(offset, s.channels);
        const float *const k = data_of(slope, s.channels), *const t = data_of(shift, s.channels);
        T* const out = data_of(z, all);
        with_pool(threads, [&](Pool& pool) { kernels::rprelu_forward(pool, s, y.data(), rd, a, b, k, t, out); });
      },
      nb::arg("y"), nb::arg("r").none(), nb::arg("scale"), nb::arg("offset"), nb::arg("slope"), nb::arg("shift"),
      nb::arg("z"), nb::arg("threads"));
  m.def(
      "rprelu_backward",
      [](const InMap& g, const InMap& y, const std::optional<InMap>& r, const In& scale, const In& offset,
         const In& slope, OutMap du, Out sums, int threads) {
        const Size s = size_of(y);
        const int all = s.images * s.pixels * s.channels;
        const T *const gd = data_of(g, all), *const rd = r ? data_of(*r, all) : nullptr;
        const float *const a = data_of(scale, s.channels), *const b = data_of(offset, s.channels);
        const float* const k = data_of(slope, s.channels);
        T* const d = data_of(du, all);
        float* const total = data_of(sums, 4 * s.images * s.channels);
        with_pool(threads, [&](Pool& pool) { kernels::rprelu_backward(pool, s, gd, y.data(), rd, a, b, k, d, total); });
      },
      nb::arg("g"), nb::arg("y"), nb::arg("r").none(), nb::arg("scale"), nb::arg("offset"), nb::arg("slope"),
      nb::arg("du"), nb::arg("sums"), nb::arg("threads"));
  m.def("norm_backward",
        [](const InMap& du, const InMap& y, const In& scale, const In& a, const In& b, OutMap dy, int threads) {
          const Size s = size_of(y);
          const T* const dd = data_of(du, s.images * s.pixels * s.channels);
          const float* const sc = data_of(scale, s.channels);
          const float *const ad = data_of(a, s.channels), *const bd = data_of(b, s.channels);
          T* const out = data_of(dy, s.images * s.pixels * s.channels);
          with_pool(threads, [&](Pool& pool) { kernels::norm_backward(pool, s, dd, y.data(), sc, ad, bd, out); });
        });
  m.def("binary_conv", [](const InMap& x, const In& w, const In& scale, const Steps& steps, OutMap y, int threads) {
    const BinaryConvSize s = size_of_conv<T>(x, w, InMap(y), steps);
    const float* const factors = data_of(scale, s.outputs);
    with_pool(threads, [&](Pool& pool) { kernels::binary_conv(pool, s, x.data(), w.data(), factors, y.data()); });
  });
  m.def("edge_sums", [](const InMap& x, const In& w, const InMap& g, const Steps& steps, Out edges) {
    const BinaryConvSize s = size_of_conv<T>(x, w, g, steps);
    float* const out = data_of(edges, s.out_height * s.out_width * s.outputs);
    const nb::gil_scoped_release release;
    kernels::edge_sums(s, g.data(), out);
  });
}

}  // namespace

NB_MODULE(_training, m) {
  define<float>(m);
  define<evenbit::training::BFloat16>(m);
  m.def("keep_freed_memory", evenbit::training::keep_freed_memory);
}
