// Made by tools/op_fields.py from the dataclasses in evenbit/ops; run it after a change there.
#pragma once

#include "ops/op.h"

namespace evenbit::plan {

// See evenbit/ops/normalize.py.
struct Normalize final : Op {
  template <class Fields>
  void take(Fields&) {}
  const char* kind() const override { return "normalize"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/conv.py.
struct Conv final : Op {
  std::string weight;
  Sizes stride{1, 1};
  Sizes padding{0, 0};
  int64_t groups = 1;

  template <class Fields>
  void take(Fields& fields) {
    fields.required("weight", weight);
    fields.optional("stride", stride);
    fields.optional("padding", padding);
    fields.optional("groups", groups);
  }
  const char* kind() const override { return "conv"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/int8_conv.py.
struct Int8Conv final : Op {
  std::string weight;
  double multiplier = 0;
  Sizes stride{1, 1};
  Sizes padding{0, 0};

  template <class Fields>
  void take(Fields& fields) {
    fields.required("weight", weight);
    fields.required("multiplier", multiplier);
    fields.optional("stride", stride);
    fields.optional("padding", padding);
  }
  const char* kind() const override { return "int8_conv"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/binary_conv.py.
struct BinaryConv final : Op {
  std::string weight;
  Sizes stride{1, 1};
  Sizes padding{0, 0};
  int64_t groups = 1;

  template <class Fields>
  void take(Fields& fields) {
    fields.required("weight", weight);
    fields.optional("stride", stride);
    fields.optional("padding", padding);
    fields.optional("groups", groups);
  }
  const char* kind() const override { return "binary_conv"; }
  bool reads_bits() const override { return true; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/elementwise.py.
struct Elementwise final : Op {
  template <class Fields>
  void take(Fields&) {}
  const char* kind() const override { return "elementwise"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/multiply.py.
struct Multiply final : Op {
  std::string factor;

  template <class Fields>
  void take(Fields& fields) {
    fields.required("factor", factor);
  }
  const char* kind() const override { return "multiply"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/cube.py.
struct Cube final : Op {
  std::string scale;
  std::string offset;

  template <class Fields>
  void take(Fields& fields) {
    fields.required("scale", scale);
    fields.required("offset", offset);
  }
  const char* kind() const override { return "cube"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/concat.py.
struct Concat final : Op {
  std::vector<std::string> others;

  template <class Fields>
  void take(Fields& fields) {
    fields.required("others", others);
  }
  const char* kind() const override { return "concat"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/flatten.py.
struct Flatten final : Op {
  template <class Fields>
  void take(Fields&) {}
  const char* kind() const override { return "flatten"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/gather.py.
struct Gather final : Op {
  std::string rows;
  std::string columns;
  std::string channels;

  template <class Fields>
  void take(Fields& fields) {
    fields.required("rows", rows);
    fields.required("columns", columns);
    fields.required("channels", channels);
  }
  const char* kind() const override { return "gather"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/threshold.py.
struct Threshold final : Op {
  std::string scale;
  std::string offset;
  std::string flip;

  template <class Fields>
  void take(Fields& fields) {
    fields.required("scale", scale);
    fields.required("offset", offset);
    fields.required("flip", flip);
  }
  const char* kind() const override { return "threshold"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/max_pool.py.
struct MaxPool final : Op {
  Sizes kernel;
  Sizes stride;
  Sizes padding{0, 0};
  Sizes overhang{0, 0};

  template <class Fields>
  void take(Fields& fields) {
    fields.required("kernel", kernel);
    fields.required("stride", stride);
    fields.optional("padding", padding);
    fields.optional("overhang", overhang);
  }
  const char* kind() const override { return "max_pool"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/avg_pool.py.
struct AvgPool final : Op {
  Sizes kernel;
  Sizes stride;
  Sizes padding{0, 0};
  Sizes overhang{0, 0};

  template <class Fields>
  void take(Fields& fields) {
    fields.required("kernel", kernel);
    fields.required("stride", stride);
    fields.optional("padding", padding);
    fields.optional("overhang", overhang);
  }
  const char* kind() const override { return "avg_pool"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/add_map.py.
struct AddMap final : Op {
  std::string map;

  template <class Fields>
  void take(Fields& fields) {
    fields.required("map", map);
  }
  const char* kind() const override { return "add_map"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/interpolate.py.
struct Interpolate final : Op {
  std::string rows;
  std::string row_weights;
  std::string columns;
  std::string column_weights;

  template <class Fields>
  void take(Fields& fields) {
    fields.required("rows", rows);
    fields.required("row_weights", row_weights);
    fields.required("columns", columns);
    fields.required("column_weights", column_weights);
  }
  const char* kind() const override { return "interpolate"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/layer_norm.py.
struct LayerNorm final : Op {
  double epsilon = 0;

  template <class Fields>
  void take(Fields& fields) {
    fields.required("epsilon", epsilon);
  }
  const char* kind() const override { return "layer_norm"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/matmul.py.
struct MatMul final : Op {
  std::string other;

  template <class Fields>
  void take(Fields& fields) {
    fields.required("other", other);
  }
  const char* kind() const override { return "matmul"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

// See evenbit/ops/softmax.py.
struct Softmax final : Op {
  template <class Fields>
  void take(Fields&) {}
  const char* kind() const override { return "softmax"; }
  Shape result(const Shape& in, const Scope& scope) const override;
  void build(Builder& builder) const override;
};

}  // namespace evenbit::plan

// One row an op: its name in a file, and its struct.
#define EVENBIT_OPS(OP)        \
  OP(normalize, Normalize)     \
  OP(conv, Conv)               \
  OP(int8_conv, Int8Conv)      \
  OP(binary_conv, BinaryConv)  \
  OP(elementwise, Elementwise) \
  OP(multiply, Multiply)       \
  OP(cube, Cube)               \
  OP(concat, Concat)           \
  OP(flatten, Flatten)         \
  OP(gather, Gather)           \
  OP(threshold, Threshold)     \
  OP(max_pool, MaxPool)        \
  OP(avg_pool, AvgPool)        \
  OP(add_map, AddMap)          \
  OP(interpolate, Interpolate) \
  OP(layer_norm, LayerNorm)    \
  OP(matmul, MatMul)           \
  OP(softmax, Softmax)
