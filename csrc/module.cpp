// Python binding of the engine, and nothing else. evenbit/runtime/_core.pyi is its description in Python.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <system_error>

#include "evb/load.h"

namespace nb = nanobind;
using evenbit::Engine;
using evenbit::Network;

namespace {

template <typename T>
using Images = nb::ndarray<const T, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Logits = nb::ndarray<float, nb::ndim<4>, nb::c_contig>;

// Channels, height and width.
std::array<int, 3> sizes(const evenbit::Shape& shape) { return {shape.channels, shape.height, shape.width}; }

template <typename T>
void check_images(const Engine& engine, const Images<T>& images) {
  const evenbit::Shape& wanted = engine.images();
  const size_t sizes[] = {static_cast<size_t>(wanted.channels), static_cast<size_t>(wanted.height),
                          static_cast<size_t>(wanted.width)};
  for (size_t i = 0; i < 3; ++i) {
    if (images.shape(i + 1) != sizes[i]) throw std::invalid_argument("images have another size than the network's");
  }
}

// The network in the bytes of a file; what is wrong with it becomes a ValueError, and threads that the system refuses a
// RuntimeError.
Network load(const nb::bytes& file, const std::string& isa, int threads, const std::string& tile) {
  const nb::gil_scoped_release release;
  try {
    return evenbit::load_network(static_cast<const uint8_t*>(file.data()), file.size(), isa, threads, tile);
  } catch (const evenbit::PlanError& error) {
    throw std::invalid_argument(error.what());
  } catch (const std::system_error& error) {
    throw std::runtime_error("cannot start " + std::to_string(threads) + " threads: " + error.what());
  }
}

template <typename T>
bool run(Network& network, const Images<T>& images, const Logits& logits) {
  Engine& engine = *network.engine;
  check_images(engine, images);
  bool fits = images.shape(0) == logits.shape(0);
  for (size_t i = 0; i < 3; ++i) fits &= logits.shape(i + 1) == static_cast<size_t>(sizes(engine.output())[i]);
  if (!fits) throw std::invalid_argument("logits have another size than the images' and the network's");
  const auto count = static_cast<int64_t>(images.shape(0));
  float* const out = logits.data();
  const nb::gil_scoped_release release;
  if constexpr (std::is_same_v<T, float>) {
    return engine.run(images.data(), nullptr, count, out);
  } else {
    return engine.run(nullptr, images.data(), count, out);
  }
}

std::vector<std::array<double, 3>> profile(Network& network, const Images<float>& image, int rounds) {
  if (image.shape(0) != 1 || rounds < 1) throw std::invalid_argument("one image is profiled, at least once");
  check_images(*network.engine, image);
  const nb::gil_scoped_release release;
  std::vector<std::array<double, 3>> times;
  for (const auto& [seconds, sums, tail] : network.engine->profile(image.data(), rounds)) {
    times.push_back({seconds, sums, tail});
  }
  return times;
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

  nb::class_<Network>(m, "Engine")
      .def_static("load", &load)
      .def("run", &run<float>)
      .def("run", &run<uint8_t>)
      .def("profile", &profile)
      .def(
          "measure_binary_limit", [](const Network& network) { return network.engine->measure_binary_limit(); },
          nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("images", [](const Network& network) { return sizes(network.engine->images()); })
      .def_prop_ro("output", [](const Network& network) { return sizes(network.engine->output()); })
      .def_prop_ro("arena_bytes", [](const Network& network) { return network.engine->arena_bytes(); });
}
