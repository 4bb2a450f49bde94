// Binding a program to memory: its nodes with their addresses, and what follows when a value is written.
#include <algorithm>
#include <array>
#include <cstring>

#include "program/program.h"

namespace evenbit {
namespace {

Tail bind_tail(const Memory& memory, const Node& node) {
  Tail tail = node.tail;
  tail.residual = memory.spread(node.residual);
  tail.second_residual = memory.floats(node.second_residual);
  tail.out = memory.floats(node.out);
  if (node.quantized != kNone) {
    const Value& v = memory.value(node.quantized);
    tail.quantized = {memory.window(node.quantized, 0, 0), static_cast<int64_t>(v.row_bytes()),
                      static_cast<int64_t>(v.pixel_bytes()), node.multiplier};
  }
  if (node.row_sums != kNone) {
    const FloatView sums = memory.floats(node.row_sums);
    tail.row_sums = sums.base;
    tail.row_sums_stride = sums.row;
  }
  if (node.bits != kNone) {
    const Value& v = memory.value(node.bits);
    tail.bits = {reinterpret_cast<uint16_t*>(memory.window(node.bits, 0, 0)),
                 static_cast<int64_t>(v.row_bytes() / sizeof(uint16_t)),
                 static_cast<int64_t>(v.pixel_bytes() / sizeof(uint16_t))};
    if (node.threshold != kNone) tail.threshold = memory.floats(node.threshold).base;
  }
  return tail;
}

// The mean of a map from the sums of its rows.
Step average_rows(const Memory& memory, const Node& node) {
  const float* const sums = memory.floats(node.row_sums).base;
  float* const mean = memory.floats(node.mean).base;
  const int channels = memory.value(node.mean).blocks() * kBlock, height = node.height;
  const auto count = static_cast<float>(node.height * node.width);
  return {[=](Range) {
    std::fill(mean, mean + channels, 0.0f);
    for (int y = 0; y < height; ++y) {
      for (int c = 0; c < channels; ++c) mean[c] += sums[int64_t{y} * channels + c];
    }
    for (int c = 0; c < channels; ++c) mean[c] /= count;
  }};
}

// Fills whole pixels with copies of one.
void fill_pixels(uint8_t* to, size_t bytes, const void* pixel, size_t pixel_bytes) {
  std::memcpy(to, pixel, std::min(bytes, pixel_bytes));
  for (size_t done = pixel_bytes; done < bytes; done *= 2) std::memcpy(to + done, to, std::min(done, bytes - done));
}

// The border of numbers is 0, that of bits +1.
Step fill_border(const Kernels& kernels, const Memory& memory, int id, const Tail& tail) {
  const Value& v = memory.value(id);
  uint8_t* const base = memory.start(id);
  const size_t row_bytes = v.row_bytes(), pixel_bytes = v.pixel_bytes(), side = v.border_x * pixel_bytes;
  const int height = v.height, border = v.border_y;
  const uint16_t* const bits = v.form == Form::kBits ? tail.valid : nullptr;
  const int zero = v.form == Form::kQuantized && kernels.byte_units ? 128 : 0;
  const auto fill = [=](uint8_t* to, size_t bytes) {
    bits ? fill_pixels(to, bytes, bits, pixel_bytes) : (void)std::memset(to, zero, bytes);
  };
  return {[=](Range) {
    for (int y = 0; y < height + 2 * border; ++y) {
      uint8_t* const row = base + y * row_bytes;
      if (y < border || y >= border + height) {
        fill(row, row_bytes);
      } else {
        fill(row, side);
        fill(row + row_bytes - side, side);
      }
    }
  }};
}

// The units of one pixel: each group's channels in units of their own, those of all groups side by side.
void regroup_pixel(const uint8_t* bits, uint32_t* units, int groups, int per_group, int64_t stride) {
  for (int first = 0; first < per_group; first += 32, units += stride) {
    const uint64_t mask = (uint64_t{1} << std::min(32, per_group - first)) - 1;
    for (int group = 0; group < groups; ++group) {
      const int bit = group * per_group + first;
      uint64_t from;
      std::memcpy(&from, bits + bit / 8, sizeof from);
      units[group] = static_cast<uint32_t>(from >> bit % 8 & mask);
    }
  }
}

// For each byte, its bits as bytes.
std::array<std::array<uint8_t, 8>, 256> make_spread() {
  std::array<std::array<uint8_t, 8>, 256> table;
  for (size_t byte = 0; byte < table.size(); ++byte) {
    for (size_t bit = 0; bit < 8; ++bit) table[byte][bit] = byte >> bit & 1;
  }
  return table;
}

// A byte for each bit of all pixels.
void spread_bits(const uint8_t* bits, int64_t pixel, uint8_t* bytes, int64_t stride, int64_t pixels) {
  static const auto kSpread = make_spread();
  for (int64_t n = 0; n < pixels; ++n, bits += pixel, bytes += stride) {
    for (int64_t i = 0; i < pixel; ++i) std::memcpy(bytes + 8 * i, kSpread[bits[i]].data(), sizeof kSpread[0]);
  }
}

// Bits, border included, in the form of a twin; see Form.
Step convert_bits(const Kernels& kernels, const Memory& memory, int id, int twin_id) {
  const Value &v = memory.value(id), &twin = memory.value(twin_id);
  const uint8_t* const from = memory.start(id);
  uint8_t* const to = memory.start(twin_id);
  const auto pixels = static_cast<int64_t>(v.pixels()), pixel = static_cast<int64_t>(v.pixel_bytes());
  if (twin.form == Form::kPaired) {
    return {
        [=, pair = kernels.pair_bits, next = twin.distance * pixel](Range) { pair(from, to, pixels * pixel, next); }};
  }
  if (twin.form == Form::kBytes) {
    return {[=, stride = static_cast<int64_t>(twin.pixel_bytes())](Range) {
      spread_bits(from, pixel, to, stride, pixels);
    }};
  }
  auto* const grouped = reinterpret_cast<uint32_t*>(to);
  const int groups = twin.groups, per_group = v.channels / twin.groups;
  const auto stride = static_cast<int64_t>(twin.group_stride());
  const auto units = static_cast<int64_t>(twin.group_units()) * stride;
  return {[=](Range) {
    for (int64_t i = 0; i < pixels; ++i) {
      regroup_pixel(from + i * pixel, grouped + i * units, groups, per_group, stride);
    }
  }};
}

}  // namespace

const Value& Memory::value(int id) const { return program_.values[id]; }

uint8_t* Memory::start(int id) const { return arena_ + value(id).offset; }

uint8_t* Memory::window(int id, int y, int x) const {
  const Value& v = value(id);
  return arena_ + v.origin() - y * v.row_bytes() - x * v.pixel_bytes();
}

FloatView Memory::floats(int id) const {
  if (id == kNone) return {};
  const Value& v = value(id);
  return {reinterpret_cast<float*>(arena_ + v.origin()), static_cast<int64_t>(v.row_bytes() / sizeof(float)),
          static_cast<int64_t>(v.pixel_bytes() / sizeof(float))};
}

FloatView Memory::spread(int id) const {
  FloatView view = floats(id);
  if (id != kNone && value(id).height == 1 && value(id).width == 1) view.row = view.pixel = 0;
  return view;
}

std::vector<Step> bind(const Program& program, const Memory& memory) {
  const Kernels& kernels = *program.kernels;
  std::vector<Step> steps;
  for (const Node& node : program.nodes) {
    const size_t first = steps.size();
    steps.push_back(node.bind(memory, bind_tail(memory, node)));
    if (node.mean != kNone) steps.push_back(average_rows(memory, node));
    for (const int id : {node.out, node.mean, node.bits, node.quantized}) {
      if (id == kNone) continue;
      const Value& v = memory.value(id);
      if (v.border_y || v.border_x) steps.push_back(fill_border(kernels, memory, id, node.tail));
      for (const int twin : v.twins) steps.push_back(convert_bits(kernels, memory, id, twin));
    }
    for (size_t i = first; i < steps.size(); ++i) steps[i].op = node.op;
  }
  return steps;
}

}  // namespace evenbit
