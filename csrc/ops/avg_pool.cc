#include "ops/ops.h"
#include "ops/pool.h"

namespace evenbit::plan {

Shape AvgPool::result(const Shape& in, const Scope&) const { return slide({kernel, stride, {0, 0}}, in, in.channels); }

void AvgPool::build(Builder& builder) const {
  add_pool(builder, builder.value(input), {kernel, stride, {0, 0}}, /*max=*/false);
}

}  // namespace evenbit::plan
