// Normalization of each pixel over its channels: see LayerNorm in evenbit/ops/layer_norm.py.
#pragma once

#include <cmath>

#include "kernels/lane_sum.h"

namespace evenbit {

// d = x - sum(x) / C; v = d * (1 / sqrt(sum(d * d) / C + epsilon)). Tasks: rows.
struct LayerNorm {
  FloatView in;
  float epsilon;
  int channels;
  int height;
  int width;
  int blocks;
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

void layer_norm(const LayerNorm& op, Range tasks) {
  const auto count = static_cast<float>(op.channels);
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    for (int x = 0; x < op.width; ++x) {
      const float* const in = op.in.at(y, x);
      BlockOf lanes = zero_block();
      for (int c = 0; c < op.channels; c += kBlock) {
        const BlockOf v = load_part(in + c, op.channels - c);
        EVENBIT_EACH(n) lanes.v[n] = add(lanes.v[n], v.v[n]);
      }
      const float mean = sum_of(lanes) / count;
      const F minus_mean = broadcast(-mean);
      lanes = zero_block();
      for (int c = 0; c < op.channels; c += kBlock) {
        BlockOf d = load_block(in + c);
        EVENBIT_EACH(n) d.v[n] = add(d.v[n], minus_mean);
        if (op.channels - c < kBlock) {
          alignas(64) float values[kBlock];
          store_block(values, d);
          d = load_part(values, op.channels - c);
        }
        EVENBIT_EACH(n) lanes.v[n] = add(lanes.v[n], mul(d.v[n], d.v[n]));
      }
      const F factor = broadcast(1.0f / std::sqrt(sum_of(lanes) / count + op.epsilon));
      for (int block = 0; block < op.blocks; ++block) {
        BlockOf tile[1] = {load_block(in + int64_t{block} * kBlock)};
        EVENBIT_EACH(n) tile[0].v[n] = mul(add(tile[0].v[n], minus_mean), factor);
        finish<1>(op.tail, tile, y, x, block);
      }
    }
  }
}

}  // namespace
#endif

}  // namespace evenbit
