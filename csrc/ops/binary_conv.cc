#include "kernels/weights.h"
#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {
namespace {

// [outputs][taps][words] to [blocks of outputs][taps][units][16], a unit being 32 bits.
Aligned<uint8_t> lay_out_groups(const std::vector<uint64_t>& weight, size_t outputs, size_t taps, size_t units) {
  const size_t words = weight.size() / outputs / taps;
  Aligned<uint8_t> result(round_up(outputs, kBlock) * taps * units * sizeof(uint32_t));
  auto* const to = reinterpret_cast<uint32_t*>(result.data());
  for (size_t o = 0; o < outputs; ++o) {
    for (size_t tap = 0; tap < taps; ++tap) {
      for (size_t u = 0; u < units; ++u) {
        const uint64_t word = weight[(o * taps + tap) * words + u / 2];
        to[((o / kBlock * taps + tap) * units + u) * kBlock + o % kBlock] = static_cast<uint32_t>(word >> u % 2 * 32);
      }
    }
  }
  return result;
}

// Weights [outputs][taps][words of 64 bits] with whole blocks of 16 in the place of words, as bits lie in memory.
std::vector<uint8_t> in_blocks(const Tensor& weight, size_t blocks) {
  const size_t words = static_cast<size_t>(weight.shape[3]), taps = weight.bytes / sizeof(uint64_t) / words;
  const size_t bytes = blocks * sizeof(uint16_t);
  std::vector<uint8_t> result(taps * bytes);
  for (size_t tap = 0; tap < taps; ++tap) {
    std::memcpy(result.data() + tap * bytes, weight.data + tap * words * sizeof(uint64_t), bytes);
  }
  return result;
}

// A convolution whose outputs read all channels.
void add_dense(Builder& builder, int bits, const std::string& weight, const IntWindow& window) {
  const Kernels& kernels = builder.kernels();
  const Shape shape = builder.result();
  const int in = kernels.pair_bits ? builder.twin(bits, Form::kPaired, 1, window.stride_x) : bits;
  builder.pad(in, window);
  const int blocks = (shape.channels + kBlock - 1) / kBlock;
  const BinaryKernel* const kernel =
      builder.forced_tile() ? builder.forced_tile() : choose_binary(kernels, blocks, shape.width);
  const size_t row_bytes = window.kernel_x * builder.info(bits).pixel_bytes();
  const std::vector<uint8_t> rows = in_blocks(builder.tensor(weight), static_cast<size_t>(builder.info(bits).blocks()));
  const uint8_t* const weights =
      builder.keep(lay_out(rows.data(), static_cast<size_t>(shape.channels), static_cast<size_t>(window.kernel_y),
                           row_bytes, static_cast<size_t>(kernels.step_bits), static_cast<size_t>(kernel->lanes)));
  const int steps = static_cast<int>(row_bytes * 8 / kernels.step_bits);
  const bool half = row_bytes * 8 % kernels.step_bits != 0;
  const auto fan_in = static_cast<float>(int64_t{window.kernel_y} * window.kernel_x * builder.info(bits).channels);
  const int64_t tasks = int64_t{(blocks + kernel->blocks - 1) / kernel->blocks} * shape.height;
  const auto bind = [=, run = kernel->run](const Memory& memory, const evenbit::Tail& tail) -> Step {
    const Value& v = memory.value(in);
    const evenbit::BinaryConv work{memory.window(in, window.padding_y, window.padding_x),
                                   static_cast<int64_t>(v.row_bytes()),
                                   static_cast<int64_t>(v.pixel_bytes()),
                                   weights,
                                   window.kernel_y,
                                   steps,
                                   half,
                                   window.stride_y,
                                   window.stride_x,
                                   shape.height,
                                   shape.width,
                                   blocks,
                                   fan_in,
                                   tail};
    evenbit::BinaryConv sums = work, ends = work;
    sums.tail = {};
    ends.kh = 0;
    return {[=](Range range) { run(work, range); }, tasks, [=](Range range) { run(sums, range); },
            [=](Range range) { run(ends, range); }};
  };
  builder.add(bind, {in});
}

// [channels][taps][1] to [words of channels][taps][channels of a word], a byte each.
Aligned<uint8_t> lay_out_depthwise(const std::vector<uint64_t>& weight, size_t taps) {
  const size_t channels = weight.size() / taps;
  Aligned<uint8_t> result(round_up(channels, kWordBits) * taps);
  for (size_t c = 0; c < channels; ++c) {
    for (size_t tap = 0; tap < taps; ++tap) {
      result[(c / kWordBits * taps + tap) * kWordBits + c % kWordBits] = static_cast<uint8_t>(weight[c * taps + tap]);
    }
  }
  return result;
}

// A convolution whose outputs read one channel each.
void add_depthwise(Builder& builder, int bits, const std::string& weight, const IntWindow& window) {
  const Shape shape = builder.result();
  const int in = builder.twin(bits, Form::kBytes, 1, 0);
  builder.pad(in, window);
  const auto taps = static_cast<size_t>(window.kernel_y * window.kernel_x);
  const uint8_t* const weights = builder.keep(lay_out_depthwise(builder.copied<uint64_t>(weight), taps));
  const int blocks = (shape.channels + kBlock - 1) / kBlock;
  const auto bind = [=, run = builder.kernels().depthwise_binary_conv](const Memory& memory,
                                                                       const evenbit::Tail& tail) -> Step {
    const Value& v = memory.value(in);
    const DepthwiseBinaryConv work{memory.window(in, window.padding_y, window.padding_x),
                                   static_cast<int64_t>(v.row_bytes()),
                                   static_cast<int64_t>(v.pixel_bytes()),
                                   weights,
                                   window.kernel_y,
                                   window.kernel_x,
                                   window.stride_y,
                                   window.stride_x,
                                   shape.height,
                                   shape.width,
                                   blocks,
                                   tail};
    return {[=](Range tasks) { run(work, tasks); }, int64_t{words_of(shape.channels)} * shape.height};
  };
  builder.add(bind, {in});
}

// A convolution whose outputs read the channels of one of several groups. It is also the one that counts in 32 bits
// on every instruction set.
void add_grouped(Builder& builder, int bits, const std::string& weight, const IntWindow& window, int groups) {
  const Shape shape = builder.result();
  const int in = builder.twin(bits, Form::kGrouped, groups, 0);
  builder.pad(in, window);
  const int taps = window.kernel_y * window.kernel_x, units = static_cast<int>(builder.info(in).group_units());
  const uint8_t* const weights =
      builder.keep(lay_out_groups(builder.copied<uint64_t>(weight), static_cast<size_t>(shape.channels),
                                  static_cast<size_t>(taps), static_cast<size_t>(units)));
  const int blocks = (shape.channels + kBlock - 1) / kBlock;
  const auto fan_in = static_cast<float>(int64_t{taps} * (builder.info(bits).channels / groups));
  const auto bind = [=, run = builder.kernels().grouped_binary_conv](const Memory& memory,
                                                                     const evenbit::Tail& tail) -> Step {
    constexpr int kUnit = sizeof(uint32_t);
    const Value& v = memory.value(in);
    const GroupedBinaryConv work{
        reinterpret_cast<const uint32_t*>(memory.window(in, window.padding_y, window.padding_x)),
        static_cast<int64_t>(v.row_bytes()) / kUnit,
        static_cast<int64_t>(v.pixel_bytes()) / kUnit,
        static_cast<int64_t>(v.group_stride()),
        reinterpret_cast<const uint32_t*>(weights),
        window.kernel_y,
        window.kernel_x,
        units,
        shape.channels / groups,
        window.stride_y,
        window.stride_x,
        shape.height,
        shape.width,
        blocks,
        fan_in,
        tail};
    return {[=](Range tasks) { run(work, tasks); }, int64_t{blocks} * shape.height};
  };
  builder.add(bind, {in});
}

}  // namespace

Shape BinaryConv::result(const Shape& in, const Scope& scope) const {
  const int inputs = per_group(in.channels, groups);
  const Tensor& tensor = scope.tensor(weight, Type::kWords, {kAny, kAny, kAny, words_of(inputs)});
  check_outputs(tensor, groups);
  require(product_fits({tensor.shape[1], tensor.shape[2], inputs}, kMaxBinaryFanIn),
          "more than " + std::to_string(kMaxBinaryFanIn) + " inputs an output");
  check_spare_bits(weight, tensor, inputs);
  return slide({{tensor.shape[1], tensor.shape[2]}, stride, padding}, in, tensor.shape[0]);
}

void BinaryConv::build(Builder& builder) const {
  const auto& sizes = builder.tensor(weight).shape;
  const IntWindow window({{sizes[1], sizes[2]}, stride, padding});
  const int bits = builder.value(input);
  const int64_t fan_in = sizes[1] * sizes[2] * builder.info(bits).channels;
  if (groups == 1 && fan_in <= builder.kernels().max_fan_in) return add_dense(builder, bits, weight, window);
  const bool depthwise = groups == sizes[0] && groups == builder.info(bits).channels;
  if (groups > 1 && depthwise && sizes[1] * sizes[2] <= kMaxTaps) return add_depthwise(builder, bits, weight, window);
  add_grouped(builder, bits, weight, window, static_cast<int>(groups));
}

}  // namespace evenbit::plan
