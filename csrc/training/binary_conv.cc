#include "training/binary_conv.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/weights.h"

namespace evenbit::training {
namespace {

constexpr int kUnitBits = 32;

const Kernels& best_kernels() {
  static const Kernels* const best = [] {
    const Kernels* const* k = all_kernels();
    while (!(*k)->supported()) ++k;  // the last one always is
    return *k;
  }();
  return *best;
}

// Bit c % 32 of unit c / 32 is channel c.
std::vector<uint32_t> pack(const float* w, size_t rows, size_t channels, size_t units) {
  std::vector<uint32_t> bits(rows * units);
  for (size_t row = 0; row < rows; ++row) {
    for (size_t c = 0; c < channels; ++c) {
      const bool positive = w[row * channels + c] >= 0.0F;
      bits[row * units + c / kUnitBits] |= uint32_t{positive} << c % kUnitBits;
    }
  }
  return bits;
}

// What all images share.
struct Plan {
  const BinaryConvSize& s;
  const Kernels& kernels = best_kernels();
  const int in_blocks = s.channels / kBlock, out_blocks = s.outputs / kBlock;
  const int units = (s.channels + kUnitBits - 1) / kUnitBits;
  const int64_t pixel = int64_t{units} * (kUnitBits / 8), row = pixel * (s.width + 2 * s.pad_x);
  const int64_t bytes = row * (s.height + 2 * s.pad_y);
  const BinaryKernel& kernel = *choose_binary(kernels, out_blocks, s.out_width);
};

// One thread's bits of an image, with a border of +1.
class Bits {
 public:
  explicit Bits(const Plan& plan)
      : plan_(plan),
        bits_(static_cast<size_t>(plan.bytes)),
        pairs_(plan.kernels.pair_bits ? kPairBytes * static_cast<size_t>(plan.bytes) : 0),
        threshold_(static_cast<size_t>(plan.s.channels)),
        flip_(static_cast<size_t>(plan.in_blocks)),
        valid_(static_cast<size_t>(plan.in_blocks)) {
    std::fill(valid_.data(), valid_.data() + valid_.size(), uint16_t{0xFFFF});
    for (int64_t at = 0; at < plan.bytes; at += plan.pixel) {
      std::memcpy(bits_.data() + at, valid_.data(), valid_.size() * sizeof(uint16_t));
    }
  }

  // Where the kernels read the image; `stretch` is the number of bytes that stand for one of bits.
  const uint8_t* of(const float* x, int& stretch) {
    const BinaryConvSize& s = plan_.s;
    Elementwise op{};
    op.in = {const_cast<float*>(x), int64_t{s.width} * s.channels, s.channels};
    op.height = s.height;
    op.width = s.width;
    op.blocks = plan_.in_blocks;
    uint8_t* const first = bits_.data() + s.pad_y * plan_.row + s.pad_x * plan_.pixel;
    op.tail.bits = {reinterpret_cast<uint16_t*>(first), plan_.row / int64_t{sizeof(uint16_t)},
                    plan_.pixel / int64_t{sizeof(uint16_t)}};
    op.tail.threshold = threshold_.data();
    op.tail.flip = flip_.data();
    op.tail.valid = valid_.data();
    plan_.kernels.elementwise(op, {0, s.height});
    stretch = plan_.kernels.pair_bits ? kPairBytes : 1;
    if (stretch == 1) return bits_.data();
    plan_.kernels.pair_bits(bits_.data(), pairs_.data(), plan_.bytes, s.stride_x * plan_.pixel);
    return pairs_.data();
  }

 private:
  const Plan& plan_;
  Aligned<uint8_t> bits_, pairs_;
  Aligned<float> threshold_;
  Aligned<uint16_t> flip_, valid_;
};

}  // namespace

template <typename T>
void binary_conv(Pool& pool, const BinaryConvSize& s, const T* x, const float* w, const float* scale, T* y) {
  const Plan plan{s};
  const int taps = s.kernel_y * s.kernel_x;
  const std::vector<uint32_t> bits =
      pack(w, static_cast<size_t>(s.outputs * taps), static_cast<size_t>(s.channels), static_cast<size_t>(plan.units));
  const Aligned<uint8_t> weight =
      lay_out(reinterpret_cast<const uint8_t*>(bits.data()), static_cast<size_t>(s.outputs),
              static_cast<size_t>(s.kernel_y), static_cast<size_t>(s.kernel_x) * plan.units * sizeof(uint32_t),
              static_cast<size_t>(plan.kernels.step_bits), static_cast<size_t>(plan.kernel.lanes));
  const int groups = (plan.out_blocks + plan.kernel.blocks - 1) / plan.kernel.blocks;
  std::atomic<int> next{0};
  pool.run([&](int) {
    Bits maps(plan);
    const int in_size = s.height * s.width * s.channels, out_size = s.out_height * s.out_width * s.outputs;
    Reader<T> images(x, in_size);
    Writer<T> results(y, out_size);
    for (int n; (n = next.fetch_add(1)) < s.images;) {
      int stretch;
      BinaryConv op{};
      op.in = maps.of(images.tile(static_cast<size_t>(n) * static_cast<size_t>(in_size), in_size), stretch);
      op.in_row = plan.row * stretch;
      op.in_pixel = plan.pixel * stretch;
      op.weight = weight.data();
      op.kh = s.kernel_y;
      op.run = s.kernel_x * plan.units * kUnitBits / plan.kernels.step_bits;
      op.stride_y = s.stride_y;
      op.stride_x = s.stride_x;
      op.height = s.out_height;
      op.width = s.out_width;
      op.blocks = plan.out_blocks;
      op.fan_in = static_cast<float>(taps * s.channels);
      op.tail.scale = scale;
      results.tile(static_cast<size_t>(n) * static_cast<size_t>(out_size), out_size, [&](float* to) {
        op.tail.out = {to, int64_t{s.out_width} * s.outputs, s.outputs};
        plan.kernel.run(op, {0, int64_t{groups} * s.out_height});
      });
    }
  });
}

template <typename T>
void edge_sums(const BinaryConvSize& s, const T* g, float* edges) {
  const int pixels = s.out_height * s.out_width;
  std::vector<int> edge;
  const auto leaves = [](int at, int stride, int pad, int kernel, int size) {
    return at * stride < pad || at * stride - pad + kernel > size;
  };
  for (int i = 0; i < s.out_height; ++i) {
    for (int j = 0; j < s.out_width; ++j) {
      if (leaves(i, s.stride_y, s.pad_y, s.kernel_y, s.height) || leaves(j, s.stride_x, s.pad_x, s.kernel_x, s.width)) {
        edge.push_back(i * s.out_width + j);
      }
    }
  }
  std::fill(edges, edges + int64_t{pixels} * s.outputs, 0.0F);
  Reader<T> rows(g, s.outputs);
  for (int n = 0; n < s.images; ++n) {
    for (const int at : edge) {
      const int64_t row = (int64_t{n} * pixels + at) * s.outputs;
      const float* const from = rows.tile(static_cast<size_t>(row), s.outputs);
      float* const to = edges + int64_t{at} * s.outputs;
      for (int o = 0; o < s.outputs; ++o) to[o] += from[o];
    }
  }
}

#define EVENBIT_MAPS_OF(T)                                                                           \
  template void binary_conv(Pool&, const BinaryConvSize&, const T*, const float*, const float*, T*); \
  template void edge_sums(const BinaryConvSize&, const T*, float*);
EVENBIT_MAPS_OF(float)
EVENBIT_MAPS_OF(BFloat16)
#undef EVENBIT_MAPS_OF

}  // namespace evenbit::training
