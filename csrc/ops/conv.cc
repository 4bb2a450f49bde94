#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {
namespace {

// [outputs][fan_in] to [blocks of outputs][fan_in][16].
Aligned<float> lay_out_floats(const std::vector<float>& weight, size_t outputs) {
  const size_t fan_in = weight.size() / outputs;
  Aligned<float> result(round_up(outputs, kBlock) * fan_in);
  for (size_t o = 0; o < outputs; ++o) {
    for (size_t k = 0; k < fan_in; ++k)
      result[(o / kBlock * fan_in + k) * kBlock + o % kBlock] = weight[o * fan_in + k];
  }
  return result;
}

}  // namespace

Shape Conv::result(const Shape& in, const Scope& scope) const {
  const int inputs = per_group(in.channels, groups);
  const Tensor& tensor = scope.tensor(weight, Type::kFloat, {kAny, kAny, kAny, inputs});
  check_outputs(tensor, groups);
  return slide({{tensor.shape[1], tensor.shape[2]}, stride, padding}, in, tensor.shape[0]);
}

void Conv::build(Builder& builder) const {
  const auto& sizes = builder.tensor(weight).shape;
  const IntWindow window({{sizes[1], sizes[2]}, stride, padding});
  const Shape shape = builder.result();
  const int in = builder.value(input), count = static_cast<int>(groups), inputs = static_cast<int>(sizes[3]);
  const float* const weights =
      builder.keep(lay_out_floats(builder.copied<float>(weight), static_cast<size_t>(shape.channels)));
  builder.pad(in, window);

  const Kernels& kernels = builder.kernels();
  const int blocks = (shape.channels + kBlock - 1) / kBlock;
  const bool shares_inputs = count == 1 || shape.channels / count % kBlock == 0;  // the outputs of a block do
  const bool is_depthwise = count == shape.channels && inputs == 1;
  const auto run = shares_inputs ? kernels.conv : is_depthwise ? kernels.depthwise_conv : kernels.grouped_conv;
  const int64_t tiles = shares_inputs ? (blocks + kernels.conv_blocks - 1) / kernels.conv_blocks : 1;
  const auto bind = [=](const Memory& memory, const evenbit::Tail& tail) -> Step {
    FloatView from = memory.floats(in);
    from.base = from.at(-window.padding_y, -window.padding_x);
    const evenbit::Conv work{from,
                             weights,
                             window.kernel_y,
                             window.kernel_x,
                             inputs,
                             count,
                             shape.channels,
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
