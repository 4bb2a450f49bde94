// Checking a Plan: the same rules, in the same order, as in evenbit/plan.py.
#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <limits>

#include "evb/plan.h"

namespace evenbit {
namespace {

constexpr int64_t kMaxElements = int64_t{1} << 28;  // of one value
constexpr int64_t kMaxFanIn = int64_t{1} << 24;
constexpr int64_t kMaxInt8FanIn = int64_t{1} << 17;
constexpr int64_t kMaxWindow = int64_t{1} << 15;  // kernel, stride or padding
constexpr int64_t kAny = -1;                      // any size of at least 1
const char* const kImages = "images";

int64_t words(int64_t channels) { return (channels + 63) / 64; }

// Whether the product of positive sizes is at most `limit`; does not overflow.
bool product_fits(std::initializer_list<int64_t> sizes, int64_t limit) {
  for (const int64_t size : sizes) limit /= size;
  return limit >= 1;
}

std::string text(const Shape& s) {
  return std::to_string(s.height) + "x" + std::to_string(s.width) + "x" + std::to_string(s.channels) +
         (s.bits ? " bits" : "");
}

std::string text(const std::vector<int64_t>& shape) {
  std::string sizes;
  for (const int64_t size : shape) sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
  return "[" + sizes + "]";
}

Shape vector_of(int channels) { return {false, 1, 1, channels}; }

template <typename T>
T element(const Tensor& tensor, int64_t index) {
  T value;
  std::memcpy(&value, tensor.data + static_cast<size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

// Bits past the last channel, in the last word of each row of words.
void check_spare_bits(const std::string& name, const Tensor& packed, int channels) {
  const int used = channels % 64;
  if (used == 0) return;
  const int64_t row = words(channels);
  const auto count = static_cast<int64_t>(packed.bytes / sizeof(uint64_t));
  for (int64_t last = row - 1; last < count; last += row) {
    require(element<uint64_t>(packed, last) >> used == 0,
            "tensor '" + name + "' has bits set past channel " + std::to_string(channels));
  }
}

// Result of a sliding window.
Shape window(const Shape& in, Plan::Sizes kernel, Plan::Sizes stride, Plan::Sizes padding, int64_t channels) {
  const int64_t size[] = {in.height, in.width};
  int64_t padded[2], out[2];
  for (int axis = 0; axis < 2; ++axis) {
    require(kernel[axis] >= 1 && kernel[axis] <= kMaxWindow && stride[axis] >= 1 && stride[axis] <= kMaxWindow &&
                padding[axis] >= 0 && padding[axis] <= kMaxWindow,
            "its kernel, stride or padding is out of range");
    padded[axis] = size[axis] + 2 * padding[axis];
    require(padded[axis] >= kernel[axis], "its kernel is larger than its padded input");
    out[axis] = (padded[axis] - kernel[axis]) / stride[axis] + 1;
  }
  require(product_fits({out[0], out[1], channels}, kMaxElements) &&
              product_fits({padded[0], padded[1], in.channels}, kMaxElements),
          "its map is too large");
  return {false, static_cast<int>(out[0]), static_cast<int>(out[1]), static_cast<int>(channels)};
}

class Checker {
 public:
  explicit Checker(const Plan& plan) : plan_(plan) {
    require(plan.tensors.count(kImages) == 0, "a tensor is named 'images', which is the name of the input");
    require(plan.channels >= 1 && plan.height >= 1 && plan.width >= 1 &&
                product_fits({plan.channels, plan.height, plan.width}, kMaxElements),
            "input size is out of range");
    shapes.values[kImages] = {false, static_cast<int>(plan.height), static_cast<int>(plan.width),
                              static_cast<int>(plan.channels)};
  }

  void visit(const Plan::Op& op) {
    const bool first = op.input == kImages;
    require(first == (op.kind == "normalize") && first == shapes.results.empty(),
            "the first op and no other should be a normalize op and read 'images'");
    const Shape result = result_of(op, value(op.input, op.kind == "binary_conv"));
    check_tail(op.tail, result);
    shapes.results.push_back(result);
    require(op.out || op.tail.mean || op.tail.bits, "writes nothing");
    if (op.out) write(*op.out, result);
    if (op.tail.mean) write(*op.tail.mean, vector_of(result.channels));
    if (op.tail.bits) write(op.tail.bits->out, {true, result.height, result.width, result.channels});
  }

  CheckedShapes shapes;

 private:
  void write(const std::string& name, const Shape& shape) {
    require(plan_.tensors.count(name) == 0 && shapes.values.emplace(name, shape).second,
            "writes '" + name + "', which exists already");
  }

  const Shape& value(const std::string& name, bool bits) const {
    const auto found = shapes.values.find(name);
    require(found != shapes.values.end(), "reads '" + name + "', which no earlier op writes");
    require(found->second.bits == bits,
            "needs '" + name + "' as " + (bits ? "bits" : "float") + ", but it is " + (bits ? "float" : "bits"));
    return found->second;
  }

  // A map that an op reads besides its input.
  const Shape& other_map(const std::string& name) const {
    require(name != kImages, "reads 'images' as something else than its input");
    return value(name, false);
  }

  void check_same_or_vector(const char* what, const std::string& name, const Shape& shape) const {
    const Shape& found = other_map(name);
    require(found == shape || found == vector_of(shape.channels),
            what + (" '" + name) + "' is " + text(found) + ", not " + text(shape));
  }

  const Tensor& tensor(const std::string& name, Type type, const std::vector<int64_t>& shape) const {
    const auto found = plan_.tensors.find(name);
    require(found != plan_.tensors.end(), "needs the tensor '" + name + "', which is missing");
    const Tensor& tensor = found->second;
    bool fits = tensor.type == type && tensor.shape.size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) {
      fits = shape[i] == kAny ? tensor.shape[i] >= 1 : tensor.shape[i] == shape[i];
    }
    require(fits, "tensor '" + name + "' should be " + info(type).in_numpy + " " + text(shape) + ", but is " +
                      info(tensor.type).in_numpy + " " + text(tensor.shape));
    return tensor;
  }

  // Of the accumulator.
  Shape result_of(const Plan::Op& op, const Shape& in) const {
    const int channels = in.channels;
    if (op.kind == "conv" || op.kind == "binary_conv" || op.kind == "int8_conv") {
      const auto& shape = check_weight(op, channels).shape;
      return window(in, {shape[1], shape[2]}, op.stride, op.padding, shape[0]);
    }
    if (op.kind == "max_pool" || op.kind == "avg_pool") {
      require(op.padding[0] < op.kernel[0] && op.padding[1] < op.kernel[1], "padding must be smaller than the kernel");
      return window(in, op.kernel, op.stride, op.padding, channels);
    }
    if (op.kind == "concat") return joined(op, in);
    if (op.kind == "flatten") return vector_of(in.height * in.width * channels);
    if (op.kind == "multiply") check_same_or_vector("factor", op.factor, in);
    if (op.kind == "cube") {
      tensor(op.scale, Type::kFloat, {channels});
      tensor(op.offset, Type::kFloat, {channels});
    }
    if (op.kind == "threshold") check_threshold(op, in);
    return in;
  }

  // Of a convolution; returns it.
  const Tensor& check_weight(const Plan::Op& op, int channels) const {
    require(op.groups >= 1 && channels % op.groups == 0,
            std::to_string(channels) + " channels do not divide into " + std::to_string(op.groups) + " groups");
    const auto per_group = static_cast<int>(channels / op.groups);
    const bool binary = op.kind == "binary_conv", int8 = op.kind == "int8_conv";
    const Type type = binary ? Type::kWords : int8 ? Type::kInt8 : Type::kFloat;
    const Tensor& weight = tensor(op.weight, type, {kAny, kAny, kAny, binary ? words(per_group) : per_group});
    const auto& shape = weight.shape;
    require(shape[0] % op.groups == 0,
            std::to_string(shape[0]) + " outputs do not divide into " + std::to_string(op.groups) + " groups");
    if (type == Type::kFloat) return weight;
    const int64_t limit = binary ? kMaxFanIn : kMaxInt8FanIn;
    require(product_fits({shape[1], shape[2], per_group}, limit),
            "more than " + std::to_string(limit) + " inputs an output");
    if (binary) check_spare_bits(op.weight, weight, per_group);
    if (int8) check_int8(op, weight);
    return weight;
  }

  void check_int8(const Plan::Op& op, const Tensor& weight) const {
    const uint8_t* const end = weight.data + weight.bytes;
    require(std::find(weight.data, end, 0x80) == end,
            "tensor '" + op.weight + "' holds -128; int8 weights go from -127 to 127");
    require(op.multiplier > 0 && op.multiplier <= std::numeric_limits<float>::max() &&
                static_cast<float>(op.multiplier) == op.multiplier,
            "its multiplier is not a positive float32");
  }

  Shape joined(const Plan::Op& op, const Shape& in) const {
    require(!op.others.empty(), "joins a single map");
    int64_t channels = in.channels;
    for (const std::string& name : op.others) {
      const Shape& other = other_map(name);
      require(other.height == in.height && other.width == in.width,
              "joins maps of different sizes: " + text(in) + ", " + text(other));
      channels += other.channels;
    }
    require(product_fits({in.height, in.width, channels}, kMaxElements), "its map is too large");
    return {false, in.height, in.width, static_cast<int>(channels)};
  }

  void check_threshold(const Plan::Op& op, const Shape& in) const {
    require(in == vector_of(in.channels), "needs a vector, but '" + op.input + "' is " + text(in));
    const Tensor& scale = tensor(op.scale, Type::kFloat, {in.channels});
    tensor(op.offset, Type::kFloat, {in.channels});
    const Tensor& flip = tensor(op.flip, Type::kWords, {words(in.channels)});
    for (int c = 0; c < in.channels; ++c) {
      const bool flipped = element<uint64_t>(flip, c / 64) >> c % 64 & 1;
      require(flipped == (element<float>(scale, c) < 0),
              "'" + op.flip + "' is not set exactly where '" + op.scale + "' is negative");
    }
  }

  void check_tail(const Plan::Tail& tail, const Shape& shape) const {
    for (const Plan::Name* name : {&tail.scale, &tail.bias, &tail.slope, &tail.low, &tail.high, &tail.shift}) {
      if (*name) tensor(**name, Type::kFloat, {shape.channels});
    }
    require(tail.slope.has_value() == (tail.activation == "prelu"),
            "a slope goes with the activation prelu, and only with it");
    const bool clamp = tail.activation == "clamp";
    require(tail.low.has_value() == clamp && tail.high.has_value() == clamp,
            "low and high go with the activation clamp, and only with it");
    if (tail.residual) check_same_or_vector("residual", *tail.residual, shape);
    if (!tail.bits) return;
    const Shape vector = vector_of(shape.channels);
    const std::string& threshold = tail.bits->threshold;
    check_spare_bits(tail.bits->flip, tensor(tail.bits->flip, Type::kWords, {words(shape.channels)}), shape.channels);
    require(threshold != kImages, "reads 'images' as something else than its input");
    if (const auto found = shapes.values.find(threshold); found != shapes.values.end()) {
      require(found->second == vector, "threshold '" + threshold + "' should be " + text(vector));
    } else {
      tensor(threshold, Type::kFloat, {shape.channels});
    }
  }

  const Plan& plan_;
};

}  // namespace

CheckedShapes check_plan(const Plan& plan) {
  Checker checker(plan);
  for (const Plan::Op& op : plan.ops) {
    try {
      checker.visit(op);
    } catch (const PlanError& error) {
      throw PlanError("op '" + op.name + "' (" + op.kind + "): " + error.what());
    }
  }
  const auto output = checker.shapes.values.find(plan.output);
  const auto classes = static_cast<int64_t>(plan.classes.size());
  require(plan.output != kImages && output != checker.shapes.values.end() && !output->second.bits &&
              output->second.height == 1 && output->second.width == 1 && output->second.channels == classes,
          "output '" + plan.output + "' should be 1x1x" + std::to_string(classes) + ", one logit a class");
  return std::move(checker.shapes);
}

}  // namespace evenbit
