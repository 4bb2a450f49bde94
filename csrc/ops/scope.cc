#include "ops/scope.h"

namespace evenbit {
namespace {

constexpr int64_t kMaxWindow = int64_t{1} << 15;  // kernel, stride or padding

std::string text(const std::vector<int64_t>& shape) {
  std::string sizes;
  for (const int64_t size : shape) sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
  return "[" + sizes + "]";
}

}  // namespace

std::string text(const Shape& s) {
  return std::to_string(s.height) + "x" + std::to_string(s.width) + "x" + std::to_string(s.channels) +
         (s.bits ? " bits" : "");
}

bool product_fits(std::initializer_list<int64_t> sizes, int64_t limit) {
  for (const int64_t size : sizes) limit /= size;
  return limit >= 1;
}

void Scope::write(const std::string& name, const Shape& shape) {
  require(tensors_.count(name) == 0 && values_.emplace(name, shape).second,
          "writes '" + name + "', which exists already");
}

const Shape& Scope::value(const std::string& name, bool bits) const {
  const auto found = values_.find(name);
  require(found != values_.end(), "reads '" + name + "', which no earlier op writes");
  require(found->second.bits == bits,
          "needs '" + name + "' as " + (bits ? "bits" : "float") + ", but it is " + (bits ? "float" : "bits"));
  return found->second;
}

const Shape& Scope::other_map(const std::string& name) const {
  require(name != kImages, "reads 'images' as something else than its input");
  return value(name, false);
}

void Scope::check_same_or_vector(const char* what, const std::string& name, const Shape& shape) const {
  const Shape& found = other_map(name);
  require(found == shape || found == vector_of(shape.channels),
          what + (" '" + name) + "' is " + text(found) + ", not " + text(shape));
}

const Tensor& Scope::tensor(const std::string& name, Type type, const std::vector<int64_t>& shape) const {
  const auto found = tensors_.find(name);
  require(found != tensors_.end(), "needs the tensor '" + name + "', which is missing");
  const Tensor& tensor = found->second;
  bool fits = tensor.type == type && tensor.shape.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) {
    fits = shape[i] == kAny ? tensor.shape[i] >= 1 : tensor.shape[i] == shape[i];
  }
  require(fits, "tensor '" + name + "' should be " + info(type).in_numpy + " " + text(shape) + ", but is " +
                    info(tensor.type).in_numpy + " " + text(tensor.shape));
  return tensor;
}

void Scope::check_vector(const std::string& name, int channels) const { tensor(name, Type::kFloat, {channels}); }

const Tensor& Scope::flips(const std::string& name, int channels) const {
  return tensor(name, Type::kWords, {words_of(channels)});
}

void Scope::check_tail(const plan::Tail& tail, const Shape& shape) const {
  for (const plan::Name* name : {&tail.scale, &tail.bias, &tail.slope, &tail.low, &tail.high, &tail.shift}) {
    if (*name) check_vector(**name, shape.channels);
  }
  require(tail.slope.has_value() == (tail.activation == "prelu"),
          "a slope goes with the activation prelu, and only with it");
  const bool clamp = tail.activation == "clamp";
  require(tail.low.has_value() == clamp && tail.high.has_value() == clamp,
          "low and high go with the activation clamp, and only with it");
  if (tail.residual) check_same_or_vector("residual", *tail.residual, shape);
  if (tail.second_residual) {
    for (const plan::Name* name : {&tail.residual, &tail.second_residual}) {
      require(*name && other_map(**name) == shape, "with a second residual, both should be " + text(shape));
    }
  }
  if (!tail.bits) return;
  const std::string& threshold = tail.bits->threshold;
  check_spare_bits(tail.bits->flip, flips(tail.bits->flip, shape.channels), shape.channels);
  require(threshold != kImages, "reads 'images' as something else than its input");
  if (const auto found = values_.find(threshold); found != values_.end()) {
    const Shape vector = vector_of(shape.channels);
    require(found->second == vector, "threshold '" + threshold + "' should be " + text(vector));
  } else {
    check_vector(threshold, shape.channels);
  }
}

void check_cut(const Window& window) {
  for (int axis = 0; axis < 2; ++axis) {
    require(window.padding[axis] < window.kernel[axis] && window.overhang[axis] < window.kernel[axis] &&
                window.padding[axis] + window.overhang[axis] < window.kernel[axis],
            "padding and overhang together must be smaller than the kernel");
  }
}

Shape slide(const Window& window, const Shape& in, int64_t channels) {
  const auto& [kernel, stride, padding, overhang] = window;
  const int64_t size[] = {in.height, in.width};
  int64_t padded[2], out[2];
  for (int axis = 0; axis < 2; ++axis) {
    require(kernel[axis] >= 1 && kernel[axis] <= kMaxWindow && stride[axis] >= 1 && stride[axis] <= kMaxWindow &&
                padding[axis] >= 0 && padding[axis] <= kMaxWindow && overhang[axis] >= 0 &&
                overhang[axis] <= kMaxWindow,
            "its kernel, stride, padding or overhang is out of range");
    padded[axis] = size[axis] + 2 * padding[axis] + overhang[axis];
    require(padded[axis] >= kernel[axis], "its kernel is larger than its padded input");
    out[axis] = (padded[axis] - kernel[axis]) / stride[axis] + 1;
  }
  require(product_fits({out[0], out[1], channels}, kMaxElements) &&
              product_fits({padded[0], padded[1], in.channels}, kMaxElements),
          "its map is too large");
  return {false, static_cast<int>(out[0]), static_cast<int>(out[1]), static_cast<int>(channels)};
}

int per_group(int channels, int64_t groups) {
  require(groups >= 1 && channels % groups == 0,
          std::to_string(channels) + " channels do not divide into " + std::to_string(groups) + " groups");
  return static_cast<int>(channels / groups);
}

void check_outputs(const Tensor& weight, int64_t groups) {
  require(weight.shape[0] % groups == 0,
          std::to_string(weight.shape[0]) + " outputs do not divide into " + std::to_string(groups) + " groups");
}

void check_spare_bits(const std::string& name, const Tensor& packed, int channels) {
  const int used = channels % 64;
  if (used == 0) return;
  const int64_t row = words_of(channels);
  const auto count = static_cast<int64_t>(packed.bytes / sizeof(uint64_t));
  for (int64_t last = row - 1; last < count; last += row) {
    require(element<uint64_t>(packed, last) >> used == 0,
            "tensor '" + name + "' has bits set past channel " + std::to_string(channels));
  }
}

}  // namespace evenbit
