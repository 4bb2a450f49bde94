// Binary convolution with groups: neighbouring outputs read different channels.
//
// Each pixel's channels come regrouped, each group's bits in units of its own that lie unit by unit, so that the groups
// of neighbouring outputs are neighbours too. A step fills the lanes with the unit that each output reads: where all
// read one group, that is a broadcast.
#pragma once

#include "kernels/rows.h"
#include "kernels/tail.h"

namespace evenbit {

// out[y, x, o] = K - 2 * sum over (ky, kx, u) of popcount(in[y * sy + ky, x * sx + kx, u, g] xor weight[o, ky, kx, u])
//
// where g = o / per_group is the group of output o and u runs over its units.
//
// Tasks: (output block, output row).
struct GroupedBinaryConv {
  const uint32_t* in;  // for each pixel [units][groups, padded to whole blocks]
  int64_t in_row;      // units from a row to the next
  int64_t in_pixel;
  int64_t unit_stride;     // units from a group's unit to its next
  const uint32_t* weight;  // [output blocks][kh][kw][units][16]
  int kh;
  int kw;
  int units;      // of 32 bits that hold the channels of a group
  int per_group;  // outputs
  int stride_y;
  int stride_x;
  int height;
  int width;
  int blocks;
  float fan_in;
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

// The unit that each output of a block reads. `units` are those of one pixel, for one position in the group.
inline void load_groups(U (&lanes)[kVectors], const uint32_t* units, int first_output, int per_group) {
  if (per_group % kBlock == 0) {
    EVENBIT_EACH(n) lanes[n] = broadcast_unit(units[first_output / per_group]);
  } else {
    alignas(64) uint32_t gathered[kBlock];
    for (int lane = 0; lane < kBlock; ++lane) gathered[lane] = units[(first_output + lane) / per_group];
    EVENBIT_EACH(n) lanes[n] = load_units(gathered + n * kLanes);
  }
}

struct GroupedTile {
  static constexpr int kPixels = kConvPixels;
  static constexpr int kBlocks = 1;
  static constexpr int kRestPixels = kPixels;
  static constexpr int kRestBlocks = 1;

  template <int kP, int kB>
  static void run(const GroupedBinaryConv& op, int y, int x, int block) {
    static_assert(kB == 1);
    U counts[kP][kVectors];
    EVENBIT_UNROLL for (int p = 0; p < kP; ++p) EVENBIT_EACH(n) counts[p][n] = zero_counts();
    const uint32_t* in = op.in + int64_t{y} * op.stride_y * op.in_row + int64_t{x} * op.stride_x * op.in_pixel;
    const uint32_t* weight = op.weight + int64_t{block} * op.kh * op.kw * op.units * kBlock;
    for (int ky = 0; ky < op.kh; ++ky, in += op.in_row) {
      for (int kx = 0; kx < op.kw; ++kx) {
        for (int u = 0; u < op.units; ++u, weight += kBlock) {
          EVENBIT_UNROLL for (int p = 0; p < kP; ++p) {
            U a[kVectors];
            load_groups(a, in + (p * op.stride_x + kx) * op.in_pixel + u * op.unit_stride, block * kBlock,
                        op.per_group);
            EVENBIT_EACH(n) counts[p][n] = add_popcount_xor(counts[p][n], a[n], load_units(weight + n * kLanes));
          }
        }
      }
    }
    BlockOf tile[kP];
    EVENBIT_UNROLL for (int p = 0; p < kP; ++p) {
      EVENBIT_EACH(n) tile[p].v[n] = dot_from_count(op.fan_in, counts[p][n]);
    }
    finish<kP>(op.tail, tile, y, x, block);
  }
};

void grouped_binary_conv(const GroupedBinaryConv& op, Range tasks) { run_tiles<GroupedTile>(op, tasks); }

}  // namespace
#endif

}  // namespace evenbit
