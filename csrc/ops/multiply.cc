#include "ops/elementwise.h"
#include "ops/ops.h"
#include "program/builder.h"

namespace evenbit::plan {

Shape Multiply::result(const Shape& in, const Scope& scope) const {
  scope.check_same_or_vector("factor", factor, in);
  return in;
}

void Multiply::build(Builder& builder) const {
  const int in = builder.value(input), by = builder.value(factor);
  builder.add(elementwise(builder.kernels(), in, by), {}, {in, by});
}

}  // namespace evenbit::plan
