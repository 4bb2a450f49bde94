// An op of a Plan: its fields as a file has them, what is refused, and how it becomes part of a program. The ops are in
// ops.h, and what they do in a file of their own name.
#pragma once

#include "ops/fields.h"

namespace evenbit {

class Builder;
class Scope;

namespace plan {

struct Op : OpFields {
  Op() = default;
  Op(const Op&) = delete;
  virtual ~Op() = default;

  virtual const char* kind() const = 0;

  // Whether its input holds bits.
  virtual bool reads_bits() const { return false; }

  // Shape of the accumulator, for an input of that shape. Throws PlanError where something does not fit.
  virtual Shape result(const Shape& in, const Scope& scope) const = 0;

  // Adds the op, which has been checked, to the program.
  virtual void build(Builder& builder) const = 0;
};

}  // namespace plan
}  // namespace evenbit
