// Python binding of the engine, and nothing else. evenbit/_core.pyi is its description in Python.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <limits>

#include "engine.h"

namespace nb = nanobind;
using evenbit::Engine;
using evenbit::Pair;
using evenbit::TailSpec;

namespace {

template <typename T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <typename T>
using Array4 = nb::ndarray<const T, nb::ndim<4>, nb::c_contig, nb::device::cpu>;

template <typename T>
std::vector<T> copied(const Vector<T>& v) {
  return {v.data(), v.data() + v.size()};
}

template <typename T>
std::array<int, 4> shape_of(const Array4<T>& a) {
  std::array<int, 4> shape;
  for (size_t i = 0; i < 4; ++i) {
    if (a.shape(i) > static_cast<size_t>(std::numeric_limits<int>::max())) {
      throw std::invalid_argument("an array is too large");
    }
    shape[i] = static_cast<int>(a.shape(i));
  }
  return shape;
}

// A property that can only be set, from an array.
template <typename T>
auto set_vector(std::vector<T> TailSpec::* member) {
  return [member](TailSpec& tail, const Vector<T>& values) { tail.*member = copied(values); };
}

template <typename T>
bool run(Engine& engine, const Array4<T>& images, nb::ndarray<float, nb::ndim<2>, nb::c_contig>& logits) {
  if (images.shape(0) != logits.shape(0)) throw std::invalid_argument("images and logits differ in number");
  const auto [count, channels, height, width] = shape_of(images);
  engine.check_input(channels, height, width);
  engine.check_output(logits.shape(1));
  const float* floats = nullptr;
  const uint8_t* bytes = nullptr;
  if constexpr (std::is_same_v<T, float>) {
    floats = images.data();
  } else {
    bytes = images.data();
  }
  float* const out = logits.data();
  const nb::gil_scoped_release release;
  return engine.run(floats, bytes, count, out);
}

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (const evenbit::Kernels* const* k = evenbit::all_kernels(); *k; ++k) {
    if ((*k)->supported()) names.emplace_back((*k)->name);
  }
  return names;
}

std::vector<std::string> tiles(const std::string& isa) {
  std::vector<std::string> names;
  for (const evenbit::Kernels* const* k = evenbit::all_kernels(); *k; ++k) {
    if ((*k)->name != isa) continue;
    for (const auto* kernel = (*k)->binary; kernel->name; ++kernel) names.emplace_back(kernel->name);
  }
  return names;
}

}  // namespace

NB_MODULE(_core, m) {
  m.def("isas", &isas);
  m.def("tiles", &tiles);

  nb::class_<TailSpec>(m, "Tail")
      .def(nb::init<>())
      .def("set_scale", set_vector(&TailSpec::scale))
      .def("set_bias", set_vector(&TailSpec::bias))
      .def("set_slope", set_vector(&TailSpec::slope))
      .def("set_low", set_vector(&TailSpec::low))
      .def("set_high", set_vector(&TailSpec::high))
      .def("set_shift", set_vector(&TailSpec::shift))
      .def("set_threshold", set_vector(&TailSpec::threshold))
      .def("set_flip", set_vector(&TailSpec::flip))
      .def_rw("sigmoid", &TailSpec::sigmoid)
      .def_rw("softsign", &TailSpec::softsign)
      .def_rw("residual", &TailSpec::residual)
      .def_rw("out", &TailSpec::out)
      .def_rw("mean", &TailSpec::mean)
      .def_rw("bits", &TailSpec::bits)
      .def_rw("threshold_value", &TailSpec::threshold_value);

  nb::class_<Engine>(m, "Engine")
      .def(nb::init<const std::string&, int, const std::string&>())
      .def("add_value", &Engine::add_value)
      .def("add_normalize", &Engine::add_normalize)
      .def("add_conv",
           [](Engine& e, int in, const Array4<float>& weight, Pair stride, Pair padding, int groups,
              const TailSpec& tail) { e.add_conv(in, weight.data(), shape_of(weight), stride, padding, groups, tail); })
      .def("add_int8_conv",
           [](Engine& e, int in, const Array4<int8_t>& weight, float multiplier, Pair stride, Pair padding,
              const TailSpec& tail) {
             return e.add_int8_conv(in, weight.data(), shape_of(weight), multiplier, stride, padding, tail);
           })
      .def("add_binary_conv",
           [](Engine& e, int in, const Array4<uint64_t>& weight, Pair stride, Pair padding, int groups,
              const TailSpec& tail) {
             e.add_binary_conv(in, weight.data(), shape_of(weight), stride, padding, groups, tail);
           })
      .def("add_elementwise", &Engine::add_elementwise)
      .def("add_multiply", &Engine::add_multiply)
      .def("add_cube", [](Engine& e, int in, const Vector<float>& scale, const Vector<float>& offset,
                          const TailSpec& tail) { e.add_cube(in, copied(scale), copied(offset), tail); })
      .def("add_concat", &Engine::add_concat)
      .def("add_flatten", &Engine::add_flatten)
      .def("add_threshold",
           [](Engine& e, int in, const Vector<float>& scale, const Vector<float>& offset, const Vector<uint64_t>& flip,
              int out) { e.add_threshold(in, copied(scale), copied(offset), copied(flip), out); })
      .def("add_pool", &Engine::add_pool)
      .def("finish", &Engine::finish)
      .def("profile",
           [](Engine& e, const Array4<float>& image, int rounds) {
             const auto [count, channels, height, width] = shape_of(image);
             if (count != 1 || rounds < 1) throw std::invalid_argument("one image is profiled, at least once");
             e.check_input(channels, height, width);
             const nb::gil_scoped_release release;
             std::vector<std::array<double, 3>> times;
             for (const auto& [seconds, sums, tail] : e.profile(image.data(), rounds)) {
               times.push_back({seconds, sums, tail});
             }
             return times;
           })
      .def("measure_binary_limit", &Engine::measure_binary_limit, nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("threads", &Engine::threads)
      .def_prop_ro("arena_bytes", &Engine::arena_bytes)
      .def("run", &run<float>)
      .def("run", &run<uint8_t>);
}
