#include <algorithm>
#include <array>
#include <memory>
#include <mutex>

#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {
namespace {

struct Places {
  const uint64_t* first;
  size_t count;

  const uint64_t* begin() const { return first; }
  const uint64_t* end() const { return first + count; }
};
using AllPlaces = std::array<Places, 3>;  // of rows, columns, channels

uint64_t largest(const Places& places) { return *std::max_element(places.begin(), places.end()); }

// Whether what the rows, columns and channels say of a row, column or channel of the input adds up to one of it.
bool adds_up(const AllPlaces& parts, uint64_t height, uint64_t width, uint64_t channels) {
  uint64_t y = 0, x = 0, c = 0;
  for (const Places& places : parts) {
    uint64_t most_y = 0, most_x = 0, most_c = 0;
    for (const uint64_t number : places) {
      most_x = std::max(most_x, number % width);
      most_y = std::max(most_y, number / width % height);
      most_c = std::max(most_c, number / width / height);
    }
    y += most_y, x += most_x, c += most_c;
  }
  return y < height && x < width && c < channels;
}

// Where the numbers lie in memory, the same for all images: made when the first memory is bound.
struct Offsets {
  std::once_flag made;
  std::vector<int64_t> offsets[3];  // empty if places do not add up
  std::vector<uint8_t> whole;
};

void make_offsets(const AllPlaces& places, const Numbers& numbers, const Value& v, int channels, Offsets& to) {
  if (!adds_up(places, static_cast<uint64_t>(v.height), static_cast<uint64_t>(v.width),
               static_cast<uint64_t>(v.channels))) {
    return;
  }
  for (int i = 0; i < 3; ++i) {
    to.offsets[i].reserve(places[i].count);
    for (const uint64_t number : places[i]) to.offsets[i].push_back(numbers.offset(number));
  }
  // A block is loaded whole if it lies within the pixel: the rest of its last block may be anything.
  const auto pixel = uint64_t{1} * static_cast<uint64_t>(v.blocks()) * kBlock;
  const uint64_t area = static_cast<uint64_t>(v.height) * static_cast<uint64_t>(v.width);
  const uint64_t beside = largest(places[0]) / area + largest(places[1]) / area;
  for (int start = 0; start < channels; start += kBlock) {
    const uint64_t* const first = places[2].begin() + start;
    bool whole = beside + first[0] / area + kBlock <= pixel;
    for (int c = 1; c < std::min(kBlock, channels - start); ++c) {
      whole &= first[c] == first[0] + static_cast<uint64_t>(c) * area;
    }
    to.whole.push_back(whole);
  }
}

}  // namespace

Shape Gather::result(const Shape& in, const Scope& scope) const {
  int64_t sizes[3];
  uint64_t last = 0;
  const auto count = uint64_t{1} * static_cast<uint64_t>(in.height) * static_cast<uint64_t>(in.width) *
                     static_cast<uint64_t>(in.channels);
  const std::string* const names[] = {&rows, &columns, &channels};
  for (int i = 0; i < 3; ++i) {
    const Tensor& tensor = scope.tensor(*names[i], Type::kWords, {kAny});
    sizes[i] = tensor.shape[0];
    uint64_t most = 0;
    for (int64_t k = 0; k < sizes[i]; ++k) most = std::max(most, element<uint64_t>(tensor, k));
    require(most < count, "reads past the end of '" + input + "'");
    last += most;
  }
  require(last < count, "reads past the end of '" + input + "'");
  require(product_fits({sizes[0], sizes[1], sizes[2]}, kMaxElements), "its map is too large");
  return {false, static_cast<int>(sizes[0]), static_cast<int>(sizes[1]), static_cast<int>(sizes[2])};
}

void Gather::build(Builder& builder) const {
  const int in = builder.value(input);
  const Shape shape = builder.result();
  const int blocks = (shape.channels + kBlock - 1) / kBlock;
  const auto count = [](int of) { return static_cast<size_t>(of); };
  const AllPlaces places{{{builder.numbers(rows), count(shape.height)},
                          {builder.numbers(columns), count(shape.width)},
                          {builder.numbers(channels), count(shape.channels)}}};
  builder.count((places[0].count + places[1].count + places[2].count) * sizeof(int64_t));  // the offsets
  const auto shared = std::make_shared<Offsets>();
  const auto bind = [=, run = builder.kernels().gather](const Memory& memory, const evenbit::Tail& tail) -> Step {
    const Value& v = memory.value(in);
    const Numbers numbers{memory.floats(in), v.height, v.width};
    std::call_once(shared->made, [&] { make_offsets(places, numbers, v, shape.channels, *shared); });
    evenbit::Gather work{numbers, places[0].first, places[1].first, places[2].first, nullptr, nullptr, nullptr,
                         nullptr, shape.channels,  shape.height,    shape.width,     blocks,  tail};
    if (!shared->whole.empty()) {
      work.row_offsets = shared->offsets[0].data();
      work.column_offsets = shared->offsets[1].data();
      work.channel_offsets = shared->offsets[2].data();
      work.whole = shared->whole.data();
    }
    return {[=](Range range) {
              run(work, range);
              (void)shared;
            },
            shape.height};
  };
  builder.add(bind, {in});
}

}  // namespace evenbit::plan
