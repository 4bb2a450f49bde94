// Building a program: checking, laying out constants for the kernels, planning the arena.
#include "engine.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "kernels/weights.h"
#include "program.h"

namespace evenbit {
namespace {

constexpr size_t kMaxArenaBytes = size_t{1} << 31;

void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

const Kernels* find_kernels(const std::string& isa) {
  for (const Kernels* const* k = all_kernels(); *k; ++k) {
    if ((*k)->name == isa && (*k)->supported()) return *k;
  }
  throw std::invalid_argument("this machine cannot run the instruction set '" + isa + "'");
}

// A vector of channels, padded with zeros to whole blocks; empty if there is none.
Aligned<float> padded(const std::vector<float>& values) {
  Aligned<float> result(round_up(values.size(), kBlock));
  std::copy(values.begin(), values.end(), result.data());
  return result;
}

// Words of bits, bit c of a map being channel c, as units of one block.
Aligned<uint16_t> as_blocks(const std::vector<uint64_t>& words) {
  constexpr int kPerWord = kWordBits / kBlock;
  Aligned<uint16_t> result(words.size() * kPerWord);
  for (size_t i = 0; i < result.size(); ++i) {
    result[i] = static_cast<uint16_t>(words[i / kPerWord] >> (i % kPerWord * kBlock));
  }
  return result;
}

// Ones for the real channels.
std::vector<uint64_t> ones(int channels) {
  std::vector<uint64_t> words((channels + kWordBits - 1) / kWordBits, ~uint64_t{0});
  if (channels % kWordBits) words.back() >>= kWordBits - channels % kWordBits;
  return words;
}

int window_size(int size, int padding, int kernel, int stride) {
  require(kernel >= 1 && stride >= 1 && padding >= 0 && size + 2 * padding >= kernel, "a window does not fit its map");
  return (size + 2 * padding - kernel) / stride + 1;
}

}  // namespace

Engine::Engine(const std::string& isa, int threads, const std::string& tile)
    : kernels_(find_kernels(isa)), pool_(std::max(1, threads)) {
  if (tile.empty()) return;
  forced_tile_ = find_binary(*kernels_, tile);
  if (!forced_tile_) throw std::invalid_argument("the instruction set '" + isa + "' has no tile '" + tile + "'");
}

Engine::~Engine() = default;

Engine::Value& Engine::value(int id) {
  require(id >= 0 && id < static_cast<int>(values_.size()), "an op names a value that does not exist");
  return values_[id];
}

const Engine::Value& Engine::value(int id) const { return const_cast<Engine*>(this)->value(id); }

int Engine::add_value(bool bits, int height, int width, int channels) {
  require(height >= 1 && width >= 1 && channels >= 1, "a value needs a positive size");
  Value v;
  v.form = bits ? Form::kBits : Form::kFloats;
  v.height = height;
  v.width = width;
  v.channels = channels;
  values_.push_back(v);
  return static_cast<int>(values_.size()) - 1;
}

void Engine::check_tail(const TailSpec& tail, int height, int width, int channels) const {
  const auto is_vector = [&](const std::vector<float>& v) {
    return v.empty() || v.size() == static_cast<size_t>(channels);
  };
  require(is_vector(tail.scale) && is_vector(tail.bias) && is_vector(tail.slope) && is_vector(tail.low) &&
              is_vector(tail.high) && is_vector(tail.shift) && is_vector(tail.threshold),
          "a constant does not have one number a channel");
  require(tail.low.empty() == tail.high.empty(), "a clamp needs both its limits");
  const auto fits = [&](int id, bool bits, int h, int w) {
    const Value& v = value(id);
    return v.form == (bits ? Form::kBits : Form::kFloats) && v.height == h && v.width == w && v.channels == channels;
  };
  require(tail.out == kNone || fits(tail.out, false, height, width), "an op's map has another size than its value");
  require(tail.mean == kNone || fits(tail.mean, false, 1, 1), "a mean has another size than its value");
  require(tail.residual == kNone || fits(tail.residual, false, height, width) || fits(tail.residual, false, 1, 1),
          "a residual has another size than its op");
  if (tail.bits == kNone) return;
  require(fits(tail.bits, true, height, width), "bits have another size than their value");
  require(tail.flip.size() == static_cast<size_t>(value(tail.bits).words()), "flips do not fit their channels");
  require(tail.threshold_value == kNone ? !tail.threshold.empty() : fits(tail.threshold_value, false, 1, 1),
          "bits need a threshold for each channel");
}

Engine::Op& Engine::new_op(int in, int height, int width, int channels, const TailSpec& tail) {
  require(output_ == kNone, "the program is finished already");
  check_tail(tail, height, width, channels);
  auto op = std::make_unique<Op>();
  op->in = in;
  op->height = height;
  op->width = width;
  op->channels = channels;
  op->scale = padded(tail.scale);
  op->bias = padded(tail.bias);
  op->slope = padded(tail.slope);
  op->low = padded(tail.low);
  op->high = padded(tail.high);
  op->shift = padded(tail.shift);
  op->threshold = padded(tail.threshold);
  op->flip = as_blocks(tail.flip);
  op->valid = as_blocks(ones(channels));
  op->sigmoid = tail.sigmoid;
  op->softsign = tail.softsign;
  op->residual = tail.residual;
  op->out = tail.out;
  op->mean = tail.mean;
  op->bits = tail.bits;
  op->threshold_value = tail.threshold_value;
  if (op->mean != kNone) op->row_sums = add_value(false, height, 1, channels);
  ops_.push_back(std::move(op));
  return *ops_.back();
}

void Engine::add_normalize(int height, int width, int channels, const TailSpec& tail) {
  require(ops_.empty(), "the images are read first");
  new_op(kNone, height, width, channels, tail).kind = Kind::kNormalize;
}

void Engine::add_conv(int in, const float* weight, std::array<int, 4> shape, Pair stride, Pair padding, int groups,
                      const TailSpec& tail) {
  const auto [outputs, kh, kw, per_group] = shape;
  const Value v = value(in);
  require(v.form == Form::kFloats && groups >= 1 && per_group >= 1 && v.channels == per_group * groups &&
              outputs % groups == 0,
          "a convolution does not fit its input");
  const int height = window_size(v.height, padding[0], kh, stride[0]);
  const int width = window_size(v.width, padding[1], kw, stride[1]);
  Op& op = new_op(in, height, width, outputs, tail);
  op.kind = Kind::kConv;
  op.kernel = {kh, kw};
  op.stride = stride;
  op.padding = padding;
  op.groups = groups;
  op.per_group = per_group;
  const size_t fan_in = static_cast<size_t>(kh) * kw * per_group;
  op.weight = Aligned<float>(op.blocks() * fan_in * kBlock);
  for (int o = 0; o < outputs; ++o) {
    for (size_t k = 0; k < fan_in; ++k) {
      op.weight[(o / kBlock * fan_in + k) * kBlock + o % kBlock] = weight[o * fan_in + k];
    }
  }
}

// The value that holds the integers of `id`. Where they are not those of the op that writes it, an op is added.
int Engine::quantized(int id, float multiplier) {
  const auto writes = [&](const std::unique_ptr<Op>& op) { return op->out == id; };
  const auto found = std::find_if(ops_.begin(), ops_.end(), writes);
  Op* op = found == ops_.end() ? nullptr : found->get();
  if (op && op->quantized != kNone && op->multiplier == multiplier) return op->quantized;
  if (!op || op->quantized != kNone) {
    const Value v = value(id);
    op = &new_op(id, v.height, v.width, v.channels, {});
  }
  Value twin = value(id);
  twin.form = Form::kQuantized;
  twin.channel_bytes = kernels_->byte_units ? 1 : 2;
  values_.push_back(twin);
  op->multiplier = multiplier;
  return op->quantized = static_cast<int>(values_.size()) - 1;
}

int Engine::add_int8_conv(int in, const int8_t* weight, std::array<int, 4> shape, float multiplier, Pair stride,
                          Pair padding, const TailSpec& tail) {
  const auto [outputs, kh, kw, channels] = shape;
  const Value v = value(in);
  require(v.form == Form::kFloats && channels == v.channels, "a convolution does not fit its input");
  const int height = window_size(v.height, padding[0], kh, stride[0]);
  const int width = window_size(v.width, padding[1], kw, stride[1]);
  const size_t before = ops_.size();
  const int source = quantized(in, multiplier);
  Op& op = new_op(source, height, width, outputs, tail);
  op.kind = Kind::kInt8Conv;
  op.kernel = {kh, kw};
  op.stride = stride;
  op.padding = padding;
  // The inputs of a kernel row lie one after the other; its last unit may hold inputs beyond it, of weight 0.
  const size_t lanes = kernels_->conv_blocks * kBlock, row = static_cast<size_t>(kw) * channels;
  const size_t bytes = value(source).channel_bytes, per_unit = sizeof(uint32_t) / bytes;
  op.row_units = static_cast<int>((row + per_unit - 1) / per_unit);
  op.packed_weight = Aligned<uint8_t>(round_up(outputs, lanes) * kh * op.row_units * sizeof(uint32_t));
  op.start = Aligned<uint32_t>(round_up(outputs, lanes));
  for (size_t o = 0; o < static_cast<size_t>(outputs); ++o) {
    for (size_t ky = 0; ky < static_cast<size_t>(kh); ++ky) {
      for (size_t k = 0; k < row; ++k) {
        const size_t unit = ((o / lanes * kh + ky) * op.row_units + k / per_unit) * lanes + o % lanes;
        const auto w = static_cast<int16_t>(*weight++);
        std::memcpy(&op.packed_weight[unit * sizeof(uint32_t) + k % per_unit * bytes], &w, bytes);
        if (kernels_->byte_units) op.start[o] -= static_cast<uint32_t>(128 * w);
      }
    }
  }
  return static_cast<int>(ops_.size() - before);
}

void Engine::add_binary_conv(int in, const uint64_t* weight, std::array<int, 4> shape, Pair stride, Pair padding,
                             int groups, const TailSpec& tail) {
  const auto [outputs, kh, kw, words] = shape;
  const Value v = value(in);
  require(v.form == Form::kBits && groups >= 1 && v.channels % groups == 0 && outputs % groups == 0 &&
              words == (v.channels / groups + kWordBits - 1) / kWordBits,
          "a binary convolution does not fit its input");
  const int height = window_size(v.height, padding[0], kh, stride[0]);
  const int width = window_size(v.width, padding[1], kw, stride[1]);
  int source = in;
  if (groups > 1) {
    source = twin(in, Form::kGrouped, groups);
  } else if (kernels_->expand_bits) {
    source = twin(in, Form::kExpanded, 1);
  }
  Op& op = new_op(source, height, width, outputs, tail);
  op.kind = Kind::kBinaryConv;
  op.kernel = {kh, kw};
  op.stride = stride;
  op.padding = padding;
  op.groups = groups;
  const size_t taps = static_cast<size_t>(kh) * kw;
  if (groups == 1) {
    op.binary = forced_tile_ ? forced_tile_ : choose_binary(*kernels_, op.blocks(), width);
    op.packed_weight = lay_out(weight, outputs, taps * words, kernels_->step_bits, op.binary->lanes);
    return;
  }
  const size_t units = value(source).group_units();
  op.packed_weight = Aligned<uint8_t>(op.blocks() * taps * units * kBlock * sizeof(uint32_t));
  auto* const to = reinterpret_cast<uint32_t*>(op.packed_weight.data());
  for (size_t o = 0; o < static_cast<size_t>(outputs); ++o) {
    for (size_t tap = 0; tap < taps; ++tap) {
      for (size_t u = 0; u < units; ++u) {
        const uint64_t word = weight[(o * taps + tap) * words + u / 2];
        to[((o / kBlock * taps + tap) * units + u) * kBlock + o % kBlock] = static_cast<uint32_t>(word >> u % 2 * 32);
      }
    }
  }
}

// The value that holds bits in another form.
int Engine::twin(int bits, Form form, int groups) {
  for (int id : value(bits).twins) {
    if (value(id).form == form && value(id).groups == groups) return id;
  }
  Value twin = value(bits);
  twin.form = form;
  twin.groups = groups;
  twin.twins.clear();
  values_.push_back(twin);
  const int id = static_cast<int>(values_.size()) - 1;
  value(bits).twins.push_back(id);
  return id;
}

void Engine::add_elementwise(int in, const TailSpec& tail) {
  const Value v = value(in);
  require(v.form == Form::kFloats, "an elementwise op reads floats");
  new_op(in, v.height, v.width, v.channels, tail).kind = Kind::kElementwise;
}

void Engine::add_multiply(int in, int factor, const TailSpec& tail) {
  const Value v = value(in), f = value(factor);
  require(v.form == Form::kFloats && f.form == Form::kFloats && v.channels == f.channels &&
              ((v.height == f.height && v.width == f.width) || (f.height == 1 && f.width == 1)),
          "the two sides of a product do not fit each other");
  Op& op = new_op(in, v.height, v.width, v.channels, tail);
  op.kind = Kind::kElementwise;
  op.factor = factor;
}

void Engine::add_cube(int in, const std::vector<float>& scale, const std::vector<float>& offset, const TailSpec& tail) {
  const Value v = value(in);
  const size_t channels = static_cast<size_t>(v.channels);
  require(v.form == Form::kFloats && scale.size() == channels && offset.size() == channels,
          "a cube does not fit its input");
  Op& op = new_op(in, v.height, v.width, v.channels, tail);
  op.kind = Kind::kElementwise;
  op.cube_scale = padded(scale);
  op.offset = padded(offset);
}

void Engine::add_concat(const std::vector<int>& parts, const TailSpec& tail) {
  require(parts.size() >= 2, "a concatenation needs two maps");
  const Value first = value(parts[0]);
  int channels = 0;
  for (int id : parts) {
    const Value& v = value(id);
    require(v.form == Form::kFloats && v.height == first.height && v.width == first.width,
            "maps of different sizes are concatenated");
    channels += v.channels;
  }
  Op& op = new_op(parts[0], first.height, first.width, channels, tail);
  op.kind = Kind::kConcat;
  op.others.assign(parts.begin() + 1, parts.end());
}

void Engine::add_flatten(int in, const TailSpec& tail) {
  const Value v = value(in);
  require(v.form == Form::kFloats, "flattening reads floats");
  new_op(in, 1, 1, v.height * v.width * v.channels, tail).kind = Kind::kFlatten;
}

void Engine::add_threshold(int in, const std::vector<float>& scale, const std::vector<float>& offset,
                           const std::vector<uint64_t>& flip, int out) {
  const Value v = value(in);
  const size_t channels = static_cast<size_t>(v.channels);
  require(v.form == Form::kFloats && v.height == 1 && v.width == 1 && scale.size() == channels &&
              offset.size() == channels && flip.size() == static_cast<size_t>(v.words()),
          "a threshold does not fit its input");
  TailSpec tail;
  tail.out = out;
  Op& op = new_op(in, 1, 1, v.channels, tail);
  op.kind = Kind::kThreshold;
  op.scale = padded(scale);
  op.offset = padded(offset);
  op.flip = as_blocks(flip);
}

void Engine::add_pool(int in, bool max, Pair kernel, Pair stride, Pair padding, const TailSpec& tail) {
  const Value v = value(in);
  require(v.form == Form::kFloats, "pooling reads floats");
  require(padding[0] < kernel[0] && padding[1] < kernel[1], "pooling is padded by less than its kernel");
  require(max || (padding[0] == 0 && padding[1] == 0), "only max pooling can be padded");
  const int height = window_size(v.height, padding[0], kernel[0], stride[0]);
  const int width = window_size(v.width, padding[1], kernel[1], stride[1]);
  Op& op = new_op(in, height, width, v.channels, tail);
  op.kind = Kind::kPool;
  op.max = max;
  op.kernel = kernel;
  op.stride = stride;
  op.padding = padding;
}

void Engine::finish(int output) {
  const Value& v = value(output);
  require(v.form == Form::kFloats && v.height == 1 && v.width == 1, "the output should be a vector of floats");
  output_ = output;
  for (int i = 0; i < static_cast<int>(ops_.size()); ++i) {
    const Op& op = *ops_[i];
    const auto read = [&](int id) {
      if (id == kNone) return;
      require(value(id).first != kNone && value(id).first < i, "an op reads a value that is written later");
      value(id).last = i;
    };
    for (int id : {op.in, op.factor, op.residual, op.threshold_value}) read(id);
    for (int id : op.others) read(id);
    for (int id : written(op)) {
      require(value(id).first == kNone, "two ops write one value");
      value(id).first = value(id).last = i;
    }
    if (op.kind == Kind::kConv || op.kind == Kind::kInt8Conv || op.kind == Kind::kBinaryConv) {
      Value& in = value(op.in);
      in.border_y = std::max(in.border_y, op.padding[0]);
      in.border_x = std::max(in.border_x, op.padding[1]);
    }
  }
  require(v.first != kNone, "no op writes the output");
  for (Value& bits : values_) {
    for (int id : bits.twins) {
      bits.border_y = std::max(bits.border_y, value(id).border_y);
      bits.border_x = std::max(bits.border_x, value(id).border_x);
    }
    for (int id : bits.twins) {
      value(id).border_y = bits.border_y;
      value(id).border_x = bits.border_x;
    }
  }
  value(output).last = static_cast<int>(ops_.size());
  for (const auto& op : ops_) {
    // A map that is read as integers only, or by nobody. Thresholds have no other result than theirs.
    const bool unread = op->out != kNone && value(op->out).last == value(op->out).first;
    if (unread && op->kind != Kind::kThreshold) op->out = kNone;
  }
  plan_arena();
}

void Engine::check_input(int channels, int height, int width) const {
  require(output_ != kNone, "the program is not finished");
  const Op& input = *ops_.front();
  require(
      input.kind == Kind::kNormalize && input.channels == channels && input.height == height && input.width == width,
      "images have another size than the network's");
}

void Engine::check_output(size_t classes) const {
  require(output_ != kNone && static_cast<size_t>(value(output_).channels) == classes,
          "logits have another size than the network's");
}

// Values that the op writes, those for its own use included.
std::vector<int> Engine::written(const Op& op) const {
  std::vector<int> ids;
  for (int id : {op.out, op.mean, op.bits, op.row_sums, op.quantized}) {
    if (id != kNone) ids.push_back(id);
  }
  if (op.bits != kNone) ids.insert(ids.end(), value(op.bits).twins.begin(), value(op.bits).twins.end());
  return ids;
}

// Whether the op may write its map over `source`: read by it pixel by pixel, by no later op, and laid out alike.
bool Engine::may_overwrite(const Op& op, int index, int source) const {
  if (source == kNone || op.out == kNone) return false;
  const Value &from = value(source), &to = value(op.out);
  const bool windowed = op.kind != Kind::kElementwise;
  return from.last == index && !(windowed && source == op.in) && from.height == to.height && from.width == to.width &&
         from.border_y == to.border_y && from.border_x == to.border_x && source != op.threshold_value;
}

// First fit, in the order of the ops: a value takes the lowest gap among those that are alive with it.
void Engine::plan_arena() {
  std::vector<int> placed;
  for (int i = 0; i < static_cast<int>(ops_.size()); ++i) {
    const Op& op = *ops_[i];
    for (int id : written(op)) {
      Value& v = value(id);
      const bool over_residual = id == op.out && may_overwrite(op, i, op.residual);
      if (over_residual || (id == op.out && op.kind == Kind::kElementwise && may_overwrite(op, i, op.in))) {
        v.offset = value(over_residual ? op.residual : op.in).offset;
      } else {
        std::vector<const Value*> alive;
        for (int other : placed) {
          if (value(other).last >= i) alive.push_back(&value(other));
        }
        std::sort(alive.begin(), alive.end(), [](const Value* a, const Value* b) { return a->offset < b->offset; });
        v.offset = 0;
        for (const Value* other : alive) {
          if (v.offset + v.bytes() <= other->offset) break;
          v.offset = std::max(v.offset, round_up(other->offset + other->bytes(), kAlignment));
        }
      }
      placed.push_back(id);
      arena_bytes_ = std::max(arena_bytes_, v.offset + v.bytes());
      require(arena_bytes_ <= kMaxArenaBytes, "the network needs more than 2 GiB of memory for one image");
    }
  }
}

}  // namespace evenbit
