// Depthwise binary convolution: each output reads one channel, so a tap is one bit.
//
// Bits come as bytes of 0 and 1, a channel a byte. A vector of units is taken for one of bytes: xor works on all of
// them at once, and so does addition, since no byte gets past 255 and carries into the next.
#pragma once

#include "kernels/rows.h"
#include "kernels/tail.h"

namespace evenbit {

constexpr int kMaxTaps = 255;

// out[y, x, c] = K - 2 * sum over (ky, kx) of (in[y * sy + ky, x * sx + kx, c] xor weight[ky, kx, c]), K = kh * kw
//
// Tasks: (word of output channels, output row).
struct DepthwiseBinaryConv {
  const uint8_t* in;  // the channels of a pixel padded to whole words
  int64_t in_row;     // bytes from a row to the next
  int64_t in_pixel;
  const uint8_t* weight;  // [words][kh][kw][channels of a word]
  int kh;
  int kw;
  int stride_y;
  int stride_x;
  int height;  // of the output
  int width;
  int blocks;
  Tail tail;
};

#ifdef EVENBIT_BODIES
namespace {

struct DepthwiseBinaryTile {
  static constexpr int kPixels = kConvPixels;
  static constexpr int kBlocks = kWordBits / kBlock;
  static constexpr int kRestPixels = kPixels;
  static constexpr int kRestBlocks = kBlocks;

  template <int kP, int kB>
  static void run(const DepthwiseBinaryConv& op, int y, int x, int block) {
    static_assert(kB == kBlocks);
    constexpr int kUnitVectors = kWordBits / static_cast<int>(sizeof(U));
    const auto load_vector = [](const uint8_t* p, int v) {
      return load_units(reinterpret_cast<const uint32_t*>(p) + v * kLanes);
    };
    U sums[kP][kUnitVectors];
    EVENBIT_UNROLL for (int p = 0; p < kP; ++p) {
      EVENBIT_UNROLL for (int v = 0; v < kUnitVectors; ++v) sums[p][v] = zero_counts();
    }
    const uint8_t* in = op.in + int64_t{y} * op.stride_y * op.in_row + int64_t{x} * op.stride_x * op.in_pixel;
    in += block * kBlock;
    const int64_t step = int64_t{op.stride_x} * op.in_pixel;
    const uint8_t* weight = op.weight + int64_t{block} * kBlock * op.kh * op.kw;
    for (int ky = 0; ky < op.kh; ++ky, in += op.in_row) {
      const uint8_t* at = in;
      for (int kx = 0; kx < op.kw; ++kx, at += op.in_pixel, weight += kWordBits) {
        EVENBIT_UNROLL for (int v = 0; v < kUnitVectors; ++v) {
          const U w = load_vector(weight, v);
          EVENBIT_UNROLL for (int p = 0; p < kP; ++p) {
            sums[p][v] = add_units(sums[p][v], load_vector(at + p * step, v) ^ w);
          }
        }
      }
    }
    const auto taps = static_cast<float>(op.kh * op.kw);
    alignas(64) uint8_t counts[kP][kWordBits];
    std::memcpy(counts, sums, sizeof counts);
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
      if (block + b == op.blocks) break;  // a word may cover more blocks than there are
      BlockOf tile[kP];
      EVENBIT_UNROLL for (int p = 0; p < kP; ++p) {
        const uint8_t* const count = counts[p] + b * kBlock;
        EVENBIT_EACH(n) tile[p].v[n] = dot_from_count(taps, load_bytes_as_units(count + n * kLanes));
      }
      finish<kP>(op.tail, tile, y, x, block + b);
    }
  }
};

void depthwise_binary_conv(const DepthwiseBinaryConv& op, Range tasks) { run_tiles<DepthwiseBinaryTile>(op, tasks); }

}  // namespace
#endif

}  // namespace evenbit
