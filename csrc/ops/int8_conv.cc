#include <algorithm>
#include <limits>

#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {
namespace {

constexpr int64_t kMaxInt8FanIn = int64_t{1} << 17;

// Weights as the kernel reads them, and where the sums of each output start.
struct LaidOut {
  Aligned<uint8_t> weight;  // [outputs / lanes][kh][units of a kernel row][lanes] units
  Aligned<uint32_t> start;
  int row_units;
};

// The inputs of a kernel row lie one after the other; its last unit may hold inputs beyond it, of weight 0.
LaidOut lay_out_int8(const int8_t* weight, size_t outputs, size_t kernel_y, size_t row, const Kernels& kernels) {
  const size_t lanes = kernels.conv_blocks * kBlock, bytes = kernels.byte_units ? 1 : 2;
  const size_t per_unit = sizeof(uint32_t) / bytes, units = (row + per_unit - 1) / per_unit;
  LaidOut to{Aligned<uint8_t>(round_up(outputs, lanes) * kernel_y * units * sizeof(uint32_t)),
             Aligned<uint32_t>(round_up(outputs, lanes)), static_cast<int>(units)};
  for (size_t o = 0; o < outputs; ++o) {
    for (size_t ky = 0; ky < kernel_y; ++ky) {
      for (size_t k = 0; k < row; ++k) {
        const size_t unit = ((o / lanes * kernel_y + ky) * units + k / per_unit) * lanes + o % lanes;
        const auto w = static_cast<int16_t>(*weight++);
        std::memcpy(&to.weight[unit * sizeof(uint32_t) + k % per_unit * bytes], &w, bytes);
        if (kernels.byte_units) to.start[o] -= static_cast<uint32_t>(128 * w);
      }
    }
  }
  return to;
}

}  // namespace

Shape Int8Conv::result(const Shape& in, const Scope& scope) const {
  const Tensor& tensor = scope.tensor(weight, Type::kInt8, {kAny, kAny, kAny, in.channels});
  require(product_fits({tensor.shape[1], tensor.shape[2], in.channels}, kMaxInt8FanIn),
          "more than " + std::to_string(kMaxInt8FanIn) + " inputs an output");
  const uint8_t* const end = tensor.data + tensor.bytes;
  require(std::find(tensor.data, end, 0x80) == end,
          "tensor '" + weight + "' holds -128; int8 weights go from -127 to 127");
  require(
      multiplier > 0 && multiplier <= std::numeric_limits<float>::max() && static_cast<float>(multiplier) == multiplier,
      "its multiplier is not a positive float32");
  return slide({{tensor.shape[1], tensor.shape[2]}, stride, padding}, in, tensor.shape[0]);
}

void Int8Conv::build(Builder& builder) const {
  const auto& sizes = builder.tensor(weight).shape;
  const IntWindow window({{sizes[1], sizes[2]}, stride, padding});
  const Shape shape = builder.result();
  const int in = builder.quantized(builder.value(input), static_cast<float>(multiplier));
  builder.pad(in, window);

  const Kernels& kernels = builder.kernels();
  LaidOut laid_out = lay_out_int8(builder.copied<int8_t>(weight).data(), static_cast<size_t>(shape.channels),
                                  static_cast<size_t>(sizes[1]), static_cast<size_t>(sizes[2] * sizes[3]), kernels);
  const int row_units = laid_out.row_units;
  const uint8_t* const weights = builder.keep(std::move(laid_out.weight));
  const uint32_t* const start = builder.keep(std::move(laid_out.start));
  const int blocks = (shape.channels + kBlock - 1) / kBlock;
  const int64_t tiles = (blocks + kernels.conv_blocks - 1) / kernels.conv_blocks;
  const auto bind = [=, run = kernels.int8_conv](const Memory& memory, const evenbit::Tail& tail) -> Step {
    const Value& v = memory.value(in);
    const evenbit::Int8Conv work{memory.window(in, window.padding_y, window.padding_x),
                                 static_cast<int64_t>(v.row_bytes()),
                                 static_cast<int64_t>(v.pixel_bytes()),
                                 weights,
                                 start,
                                 window.kernel_y,
                                 row_units,
                                 window.stride_y,
                                 window.stride_x,
                                 shape.height,
                                 shape.width,
                                 blocks,
                                 tail};
    return {[=](Range tasks) { run(work, tasks); }, tiles * shape.height};
  };
  builder.add(bind, {in});
}

}  // namespace evenbit::plan
