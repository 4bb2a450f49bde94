#include <algorithm>

#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {
namespace {

// Each map cut where a block of the result ends.
std::vector<Piece> cut(const Memory& memory, const std::vector<int>& parts, int channels) {
  std::vector<Piece> pieces;
  int channel = 0;
  for (const int id : parts) {
    FloatView from = memory.floats(id);
    const int end = channel + memory.value(id).channels;
    while (channel < end) {
      const int lane = channel % kBlock, block = channel / kBlock;
      const int count = std::min(kBlock - lane, end - channel);
      channel += count;
      pieces.push_back({from, lane, count, block, channel % kBlock == 0 || channel == channels});
      from.base += count;
    }
  }
  return pieces;
}

}  // namespace

Shape Concat::result(const Shape& in, const Scope& scope) const {
  require(!others.empty(), "joins a single map");
  int64_t channels = in.channels;
  for (const std::string& name : others) {
    const Shape& other = scope.other_map(name);
    require(other.height == in.height && other.width == in.width,
            "joins maps of different sizes: " + text(in) + ", " + text(other));
    channels += other.channels;
  }
  require(product_fits({in.height, in.width, channels}, kMaxElements), "its map is too large");
  return {false, in.height, in.width, static_cast<int>(channels)};
}

void Concat::build(Builder& builder) const {
  std::vector<int> parts{builder.value(input)};
  for (const std::string& name : others) parts.push_back(builder.value(name));
  const Shape shape = builder.result();
  const auto bind = [=, run = builder.kernels().concat](const Memory& memory, const evenbit::Tail& tail) -> Step {
    const auto rows = [=, pieces = cut(memory, parts, shape.channels)](Range range) {
      run({pieces.data(), static_cast<int>(pieces.size()), shape.height, shape.width, tail}, range);
    };
    return {rows, shape.height};
  };
  builder.add(bind, parts);
}

}  // namespace evenbit::plan
