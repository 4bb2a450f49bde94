#include "evb/load.h"

#include <cstring>

namespace evenbit {
namespace {

// What evenbit/runtime/engine.py does for Python.
class Loader {
 public:
  Loader(const Plan& plan, const CheckedShapes& shapes, Engine& engine) : plan_(plan), engine_(engine) {
    for (const auto& [name, shape] : shapes.values) {
      if (name != "images") values_[name] = engine.add_value(shape.bits, shape.height, shape.width, shape.channels);
    }
    for (size_t i = 0; i < plan.ops.size(); ++i) add(plan.ops[i], shapes.results[i]);
    engine.finish(values_.at(plan.output));
  }

 private:
  void add(const Plan::Op& op, const Shape& result) {
    TailSpec tail = tail_of(op);
    if (op.kind == "normalize") return engine_.add_normalize(result.height, result.width, result.channels, tail);
    const int in = values_.at(op.input);
    const Pair stride = pair(op.stride), padding = pair(op.padding), kernel = pair(op.kernel);
    if (op.kind == "conv") {
      engine_.add_conv(in, floats(op.weight).data(), sizes(op.weight), stride, padding, static_cast<int>(op.groups),
                       tail);
    } else if (op.kind == "binary_conv") {
      engine_.add_binary_conv(in, words(op.weight).data(), sizes(op.weight), stride, padding,
                              static_cast<int>(op.groups), tail);
    } else if (op.kind == "int8_conv") {
      engine_.add_int8_conv(in, copied<int8_t>(op.weight).data(), sizes(op.weight), static_cast<float>(op.multiplier),
                            stride, padding, tail);
    } else if (op.kind == "multiply") {
      engine_.add_multiply(in, values_.at(op.factor), tail);
    } else if (op.kind == "cube") {
      engine_.add_cube(in, floats(op.scale), floats(op.offset), tail);
    } else if (op.kind == "concat") {
      std::vector<int> parts{in};
      for (const std::string& name : op.others) parts.push_back(values_.at(name));
      engine_.add_concat(parts, tail);
    } else if (op.kind == "flatten") {
      engine_.add_flatten(in, tail);
    } else if (op.kind == "max_pool" || op.kind == "avg_pool") {
      engine_.add_pool(in, op.kind == "max_pool", kernel, stride, padding, tail);
    } else if (op.kind == "threshold") {
      add_threshold(op, in, result.channels, tail);
    } else {
      engine_.add_elementwise(in, tail);
    }
  }

  // A Threshold, and its Tail as an op of its own where there is one.
  void add_threshold(const Plan::Op& op, int in, int channels, const TailSpec& tail) {
    const bool plain = op.out && !op.tail.scale && !op.tail.bias && !op.tail.residual && !op.tail.shift &&
                       op.tail.activation == "none" && !op.tail.mean && !op.tail.bits;
    const int out = plain ? tail.out : engine_.add_value(false, 1, 1, channels);
    engine_.add_threshold(in, floats(op.scale), floats(op.offset), words(op.flip), out);
    if (!plain) engine_.add_elementwise(out, tail);
  }

  TailSpec tail_of(const Plan::Op& op) const {
    TailSpec tail;
    tail.scale = floats(op.tail.scale);
    tail.bias = floats(op.tail.bias);
    tail.slope = floats(op.tail.slope);
    tail.low = floats(op.tail.low);
    tail.high = floats(op.tail.high);
    tail.shift = floats(op.tail.shift);
    tail.sigmoid = op.tail.activation == "sigmoid";
    tail.softsign = op.tail.activation == "softsign";
    if (op.out) tail.out = values_.at(*op.out);
    if (op.tail.residual) tail.residual = values_.at(*op.tail.residual);
    if (op.tail.mean) tail.mean = values_.at(*op.tail.mean);
    if (!op.tail.bits) return tail;
    const Plan::Bits& bits = *op.tail.bits;
    tail.bits = values_.at(bits.out);
    tail.flip = words(bits.flip);
    if (const auto vector = values_.find(bits.threshold); vector != values_.end()) {
      tail.threshold_value = vector->second;
    } else {
      tail.threshold = floats(bits.threshold);
    }
    return tail;
  }

  static Pair pair(const Plan::Sizes& sizes) { return {static_cast<int>(sizes[0]), static_cast<int>(sizes[1])}; }

  template <typename T>
  std::vector<T> copied(const std::string& name) const {
    const Tensor& tensor = plan_.tensors.at(name);
    std::vector<T> values(tensor.bytes / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), tensor.data, tensor.bytes);
    return values;
  }
  std::vector<float> floats(const std::string& name) const { return copied<float>(name); }
  std::vector<float> floats(const Plan::Name& name) const { return name ? floats(*name) : std::vector<float>(); }
  std::vector<uint64_t> words(const std::string& name) const { return copied<uint64_t>(name); }

  std::array<int, 4> sizes(const std::string& name) const {
    std::array<int, 4> result;
    for (size_t i = 0; i < result.size(); ++i) result[i] = static_cast<int>(plan_.tensors.at(name).shape[i]);
    return result;
  }

  const Plan& plan_;
  Engine& engine_;
  std::map<std::string, int> values_;
};

}  // namespace

std::unique_ptr<Engine> load_engine(const Plan& plan, const CheckedShapes& shapes, const std::string& isa,
                                    int threads) {
  auto engine = std::make_unique<Engine>(isa, threads, "");
  const Loader loader(plan, shapes, *engine);
  return engine;
}

}  // namespace evenbit
