// Made by tools/op_fields.py from the dataclasses in evenbit/ops; run it after a change there.
#pragma once

#include "evb/types.h"

namespace evenbit::plan {

constexpr const char* kActivations[] = {"none", "prelu", "clamp", "sigmoid", "softsign", "normal_cdf", "rsqrt"};

// See Bits in evenbit/ops/tail.py.
struct Bits {
  std::string out;
  std::string threshold;
  std::string flip;

  template <class Fields>
  void take(Fields& fields) {
    fields.required("out", out);
    fields.required("threshold", threshold);
    fields.required("flip", flip);
  }
};

// See Tail in evenbit/ops/tail.py.
struct Tail {
  Name scale;
  Name bias;
  Name residual;
  Name second_residual;
  std::string activation = "none";
  Name slope;
  Name low;
  Name high;
  Name shift;
  Name mean;
  std::optional<Bits> bits;

  template <class Fields>
  void take(Fields& fields) {
    fields.optional("scale", scale);
    fields.optional("bias", bias);
    fields.optional("residual", residual);
    fields.optional("second_residual", second_residual);
    fields.optional("activation", activation);
    fields.optional("slope", slope);
    fields.optional("low", low);
    fields.optional("high", high);
    fields.optional("shift", shift);
    fields.optional("mean", mean);
    fields.optional("bits", bits);
  }
};

// See Op in evenbit/ops/op.py.
struct OpFields {
  std::string name;
  std::string input;
  Name out;
  Tail tail;

  template <class Fields>
  void take(Fields& fields) {
    fields.required("name", name);
    fields.required("input", input);
    fields.optional("out", out);
    fields.optional("tail", tail);
  }
};

}  // namespace evenbit::plan
