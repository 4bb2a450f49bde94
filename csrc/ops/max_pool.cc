#include "ops/ops.h"
#include "ops/pool.h"

namespace evenbit::plan {

Shape MaxPool::result(const Shape& in, const Scope&) const {
  const Shape shape = slide({kernel, stride, padding, overhang}, in, in.channels);
  check_cut({kernel, stride, padding, overhang});
  return shape;
}

void MaxPool::build(Builder& builder) const {
  add_pool(builder, builder.value(input), {kernel, stride, padding, overhang}, /*max=*/true);
}

}  // namespace evenbit::plan
