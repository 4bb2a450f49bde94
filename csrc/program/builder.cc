#include "program/builder.h"

#include <algorithm>

#include "ops/elementwise.h"

namespace evenbit {
namespace {

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

}  // namespace

Builder::Builder(const Plan& plan, const CheckedShapes& shapes, const Kernels& kernels, const BinaryKernel* tile)
    : plan_(plan), shapes_(shapes), kernels_(kernels), tile_(tile) {
  program_.kernels = &kernels;
  program_.images = shapes.values.at(kImages);
  program_.ops = static_cast<int>(plan.ops.size());
}

Program Builder::build() {
  for (const auto& [name, shape] : shapes_.values) {
    if (name != kImages) values_[name] = new_value(shape);
  }
  for (op_ = 0; op_ < plan_.ops.size(); ++op_) plan_.ops[op_]->build(*this);
  program_.output = values_.at(plan_.output);
  find_readers();
  share_borders();
  plan_arena(program_);
  return std::move(program_);
}

int Builder::new_value(const Shape& shape) {
  Value v;
  v.form = shape.bits ? Form::kBits : Form::kFloats;
  v.height = shape.height;
  v.width = shape.width;
  v.channels = shape.channels;
  program_.values.push_back(v);
  return static_cast<int>(program_.values.size()) - 1;
}

int Builder::value(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? kNone : found->second;
}

int Builder::twin(int bits, Form form, int groups, int distance) {
  for (const int id : program_.values[bits].twins) {
    const Value& v = program_.values[id];
    if (v.form == form && v.groups == groups && v.distance == distance) return id;
  }
  Value twin = program_.values[bits];
  twin.form = form;
  twin.groups = groups;
  twin.distance = distance;
  twin.twins.clear();
  program_.values.push_back(twin);
  const int id = static_cast<int>(program_.values.size()) - 1;
  program_.values[bits].twins.push_back(id);
  return id;
}

// Written by the node that writes the floats, in its Tail; by a node of its own where that writes other integers.
int Builder::quantized(int id, float multiplier) {
  auto& nodes = program_.nodes;
  auto node = std::find_if(nodes.begin(), nodes.end(), [&](const Node& n) { return n.out == id; });
  if (node != nodes.end() && node->quantized != kNone && node->multiplier == multiplier) return node->quantized;
  if (node == nodes.end() || node->quantized != kNone) {
    add_node(elementwise_node(id));
    node = nodes.end() - 1;
  }
  Value twin = info(id);
  twin.form = Form::kQuantized;
  twin.channel_bytes = kernels_.byte_units ? 1 : 2;
  program_.values.push_back(twin);
  node->multiplier = multiplier;
  return node->quantized = static_cast<int>(program_.values.size()) - 1;
}

// A node with a Tail on its own, after the value.
Node Builder::elementwise_node(int id) {
  Node node;
  node.height = info(id).height;
  node.width = info(id).width;
  node.channels = info(id).channels;
  node.bind = elementwise(kernels_, id);
  node.pixelwise = {id};
  return node;
}

// The value that holds the sum of two maps.
int Builder::sum(int id, int other) {
  Node node = elementwise_node(id);
  node.residual = other;
  node.out = new_value({false, node.height, node.width, node.channels});
  add_node(std::move(node));
  return program_.nodes.back().out;
}

void Builder::pad(int id, const IntWindow& window) {
  Value& v = program_.values[id];
  v.border_y = std::max(v.border_y, window.padding_y);
  v.border_x = std::max(v.border_x, window.padding_x);
}

const float* Builder::floats(const std::string& name) {
  const auto [entry, is_new] = floats_.emplace(name, nullptr);
  if (is_new) {
    Aligned<float> padded(round_up(tensor(name).bytes / sizeof(float), kBlock));
    std::memcpy(padded.data(), tensor(name).data, tensor(name).bytes);
    entry->second = keep(std::move(padded));
  }
  return entry->second;
}

const uint16_t* Builder::flips(const std::string& name) {
  const auto [entry, is_new] = flips_.emplace(name, nullptr);
  if (is_new) entry->second = keep(as_blocks(copied<uint64_t>(name)));
  return entry->second;
}

const uint64_t* Builder::numbers(const std::string& name) {
  const auto [entry, is_new] = numbers_.emplace(name, nullptr);
  if (is_new) {
    Aligned<uint64_t> copy(tensor(name).bytes / sizeof(uint64_t));
    std::memcpy(copy.data(), tensor(name).data, tensor(name).bytes);
    entry->second = keep(std::move(copy));
  }
  return entry->second;
}

void Builder::add(Bind bind, std::vector<int> whole, std::vector<int> pixelwise) {
  const plan::Op& op = *plan_.ops[op_];
  Node node;
  node.height = result().height;
  node.width = result().width;
  node.channels = result().channels;
  node.bind = std::move(bind);
  node.whole = std::move(whole);
  node.pixelwise = std::move(pixelwise);
  node.out = named(op.out);
  add_tail(op.tail, node);
  add_node(std::move(node));
}

void Builder::add_tail(const plan::Tail& tail, Node& node) {
  const auto constant = [&](const plan::Name& name) { return name ? floats(*name) : nullptr; };
  node.tail.scale = constant(tail.scale);
  node.tail.bias = constant(tail.bias);
  node.tail.slope = constant(tail.slope);
  node.tail.low = constant(tail.low);
  node.tail.high = constant(tail.high);
  node.tail.sigmoid = tail.activation == "sigmoid";
  node.tail.softsign = tail.activation == "softsign";
  node.tail.normal_cdf = tail.activation == "normal_cdf";
  node.tail.rsqrt = tail.activation == "rsqrt";
  node.tail.shift = constant(tail.shift);
  node.residual = named(tail.residual);
  if (tail.second_residual && kernels_.two_residuals) {
    node.second_residual = value(*tail.second_residual);
    node.pixelwise.push_back(node.second_residual);
  } else if (tail.second_residual) {
    node.residual = sum(node.residual, value(*tail.second_residual));
  }
  node.mean = named(tail.mean);
  if (node.mean != kNone) node.row_sums = new_value({false, node.height, 1, node.channels});
  if (!tail.bits) return;
  node.bits = value(tail.bits->out);
  node.tail.flip = flips(tail.bits->flip);
  node.tail.valid = keep(as_blocks(ones(node.channels)));
  node.threshold = value(tail.bits->threshold);
  if (node.threshold == kNone) node.tail.threshold = floats(tail.bits->threshold);
}

void Builder::add_node(Node node) {
  node.op = static_cast<int>(op_);
  program_.nodes.push_back(std::move(node));
}

// Who writes each value first and reads it last; maps that nobody reads are not written.
void Builder::find_readers() {
  auto& values = program_.values;
  for (int i = 0; i < static_cast<int>(program_.nodes.size()); ++i) {
    const Node& node = program_.nodes[i];
    for (const auto* ids : {&node.whole, &node.pixelwise}) {
      for (const int id : *ids) values[id].last = i;
    }
    for (const int id : {node.residual, node.threshold}) {
      if (id != kNone) values[id].last = i;
    }
    for (const int id : written(program_, node)) values[id].first = values[id].last = i;
  }
  values[program_.output].last = static_cast<int>(program_.nodes.size());
  for (Node& node : program_.nodes) {
    if (node.out != kNone && values[node.out].last == values[node.out].first) node.out = kNone;
  }
}

// Bits have the widest border of those in which other forms of them are read, and all forms have it.
void Builder::share_borders() {
  for (Value& bits : program_.values) {
    for (const int id : bits.twins) {
      bits.border_y = std::max(bits.border_y, program_.values[id].border_y);
      bits.border_x = std::max(bits.border_x, program_.values[id].border_x);
    }
    for (const int id : bits.twins) {
      program_.values[id].border_y = bits.border_y;
      program_.values[id].border_x = bits.border_x;
    }
  }
}

}  // namespace evenbit
