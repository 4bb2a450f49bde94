// The sum of a pixel's channels: see lane_sum in evenbit/ops/lane_sum.py.
#pragma once

#include <cstring>

#include "kernels/tail.h"

#ifdef EVENBIT_BODIES
namespace evenbit {
namespace {

// The block of a pixel that is `left` channels long from there on, with zeros for what is past its end.
inline BlockOf load_part(const float* p, int left) {
  if (left >= kBlock) return load_block(p);
  alignas(64) float values[kBlock] = {};
  std::memcpy(values, p, static_cast<size_t>(left) * sizeof(float));
  return load_block(values);
}

// The sum of 16 partial sums.
inline float sum_of(const BlockOf& lanes) {
  alignas(64) float values[kBlock];
  store_block(values, lanes);
  float total = 0.0f;
  for (const float value : values) total += value;
  return total;
}

}  // namespace
}  // namespace evenbit
#endif
