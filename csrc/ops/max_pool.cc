#include "ops/ops.h"
#include "ops/pool.h"

namespace evenbit::plan {

Shape MaxPool::result(const Shape& in, const Scope&) const {
  require(padding[0] < kernel[0] && padding[1] < kernel[1], "padding must be smaller than the kernel");
  return slide({kernel, stride, padding}, in, in.channels);
}

void MaxPool::build(Builder& builder) const {
  add_pool(builder, builder.value(input), {kernel, stride, padding}, /*max=*/true);
}

}  // namespace evenbit::plan
