// The Tail: what ends every kernel, on a tile of pixels x blocks that is still in registers.
//
//   v = v * scale + bias;  v = v + residuals;  v = activation(v);  v = v + shift
//   store v;  store round(v * multiplier);  row sum += v;  bit = (v >= threshold) xor flip
#pragma once

#include <cstring>

#include "kernels/views.h"

namespace evenbit {

// The elementwise end of every kernel: see Tail in evenbit/ops/tail.py for the formula. Parts that are absent are null.
struct Tail {
  const float* scale = nullptr;  // vectors have one float a channel, padded with zeros to whole blocks
  const float* bias = nullptr;
  FloatView residual;
  FloatView second_residual;
  const float* slope = nullptr;
  const float* low = nullptr;  // given with `high`
  const float* high = nullptr;
  bool sigmoid = false;
  bool softsign = false;
  bool normal_cdf = false;
  bool rsqrt = false;
  const float* shift = nullptr;
  FloatView out;
  QuantizedView quantized;
  float* row_sums = nullptr;  // [height][channels]: for each row, the sum of its pixels from left to right
  int64_t row_sums_stride = 0;
  BitView bits;
  const float* threshold = nullptr;
  const uint16_t* flip = nullptr;   // bits to invert, one unit a block
  const uint16_t* valid = nullptr;  // bits of real channels, one unit a block
};

#ifdef EVENBIT_BODIES
namespace {

// The vectors of one block.
struct BlockOf {
  F v[kVectors];
};

inline BlockOf load_block(const float* p) {
  BlockOf b;
  EVENBIT_UNROLL for (int n = 0; n < kVectors; ++n) b.v[n] = load(p + n * kLanes);
  return b;
}

inline void store_block(float* p, const BlockOf& b) {
  EVENBIT_UNROLL for (int n = 0; n < kVectors; ++n) store(p + n * kLanes, b.v[n]);
}

inline BlockOf zero_block() {
  BlockOf b;
  EVENBIT_UNROLL for (int n = 0; n < kVectors; ++n) b.v[n] = broadcast(0.0f);
  return b;
}

// Polynomials of the sigmoid: see SIGMOID_NUMERATOR in evenbit/ops/tail.py.
constexpr float kSigmoidLimit = 16.0f;
constexpr float kSigmoidNumerator[] = {0.25f, 0.008398873f, 5.5690027e-05f, 8.505203e-08f, 1.4708866e-11f};
constexpr float kSigmoidDenominator[] = {1.0f, 0.116928793f, 0.0016335023f, 5.311231e-06f, 3.3022258e-09f};

// Horner's rule, from the last coefficient on.
template <int kCount>
inline F polynomial(const float (&coefficients)[kCount], F u) {
  F p = broadcast(coefficients[kCount - 1]);
  EVENBIT_UNROLL for (int i = kCount - 2; i >= 0; --i) p = add(mul(p, u), broadcast(coefficients[i]));
  return p;
}

inline F sigmoid(F v) {
  const F t = smaller(broadcast(kSigmoidLimit), larger(broadcast(-kSigmoidLimit), v));
  const F u = mul(t, t);
  return add(broadcast(0.5f), div(mul(t, polynomial(kSigmoidNumerator, u)), polynomial(kSigmoidDenominator, u)));
}

// Polynomials of the normal distribution: see NORMAL_NUMERATOR there.
constexpr float kNormalLimit = 5.5f;
constexpr float kNormalNumerator[] = {0.39894222f,    0.034376162f,   0.0047072628f,
                                      0.00017385121f, 6.3565268e-06f, 2.2145232e-08f};
constexpr float kNormalDenominator[] = {1.0f, 0.25283397f, 0.028940119f, 0.0019129813f, 7.5102024e-05f, 1.1802092e-06f};

inline F normal_cdf(F v) {
  const F t = smaller(broadcast(kNormalLimit), larger(broadcast(-kNormalLimit), v));
  const F u = mul(t, t), half = broadcast(0.5f);
  const F r = div(mul(t, polynomial(kNormalNumerator, u)), polynomial(kNormalDenominator, u));
  return add(half, smaller(half, larger(broadcast(-0.5f), r)));
}

inline bool has_activation(const Tail& tail) {
  return tail.slope || tail.low || tail.sigmoid || tail.softsign || tail.normal_cdf || tail.rsqrt;
}

#define EVENBIT_EACH(n) EVENBIT_UNROLL for (int n = 0; n < kVectors; ++n)

template <int kPixels, int kBlocks>
EVENBIT_INLINE void prefetch_map(const FloatView& map, int64_t y, int64_t x, int block) {
  if (!map.base) return;
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
    const float* const at = map.at(y, x + p) + int64_t{block} * kBlock;
    EVENBIT_UNROLL for (int b = 0; b < kBlocks; ++b) __builtin_prefetch(at + b * kBlock);
  }
}

// Brings in what `finish` will read: the maps are too large for the first-level cache, and a tile takes long enough.
template <int kPixels, int kBlocks>
EVENBIT_INLINE void prefetch(const Tail& tail, int64_t y, int64_t x, int block) {
  prefetch_map<kPixels, kBlocks>(tail.residual, y, x, block);
  if (kTwoResiduals) prefetch_map<kPixels, kBlocks>(tail.second_residual, y, x, block);
}

// Finishes `kPixels` neighbouring pixels of row y, from column x on, in the given block.
template <int kPixels>
EVENBIT_INLINE void finish(const Tail& tail, BlockOf (&tile)[kPixels], int64_t y, int64_t x, int block) {
  const int64_t c = int64_t{block} * kBlock;
  if (tail.scale) {
    const BlockOf scale = load_block(tail.scale + c);
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) EVENBIT_EACH(n) tile[p].v[n] = mul(tile[p].v[n], scale.v[n]);
  }
  if (tail.bias) {
    const BlockOf bias = load_block(tail.bias + c);
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) EVENBIT_EACH(n) tile[p].v[n] = add(tile[p].v[n], bias.v[n]);
  }
  if (tail.residual.base) {
    const float* at = tail.residual.at(y, x) + c;
    const bool has_second = kTwoResiduals && tail.second_residual.base;
    const float* second = has_second ? tail.second_residual.at(y, x) + c : nullptr;
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p, at += tail.residual.pixel) {
      BlockOf r = load_block(at);
      if (second) {
        const BlockOf s = load_block(second + p * tail.second_residual.pixel);
        EVENBIT_EACH(n) r.v[n] = add(r.v[n], s.v[n]);
      }
      EVENBIT_EACH(n) tile[p].v[n] = add(tile[p].v[n], r.v[n]);
    }
  }
  if (tail.slope) {
    const BlockOf slope = load_block(tail.slope + c);
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) { EVENBIT_EACH(n) tile[p].v[n] = prelu(tile[p].v[n], slope.v[n]); }
  }
  if (tail.low) {
    const BlockOf low = load_block(tail.low + c), high = load_block(tail.high + c);
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      EVENBIT_EACH(n) tile[p].v[n] = smaller(high.v[n], larger(low.v[n], tile[p].v[n]));
    }
  }
  if (tail.sigmoid) {
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) EVENBIT_EACH(n) tile[p].v[n] = sigmoid(tile[p].v[n]);
  }
  if (tail.softsign) {
    const F one = broadcast(1.0f);
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      EVENBIT_EACH(n) tile[p].v[n] = div(tile[p].v[n], add(one, absolute(tile[p].v[n])));
    }
  }
  if (tail.normal_cdf) {
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) EVENBIT_EACH(n) tile[p].v[n] = normal_cdf(tile[p].v[n]);
  }
  if (tail.rsqrt) {
    const F one = broadcast(1.0f);
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) EVENBIT_EACH(n) tile[p].v[n] = div(one, root(tile[p].v[n]));
  }
  if (tail.shift) {
    const BlockOf shift = load_block(tail.shift + c);
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) EVENBIT_EACH(n) tile[p].v[n] = add(tile[p].v[n], shift.v[n]);
  }
  if (tail.out.base) {
    float* at = tail.out.at(y, x) + c;
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p, at += tail.out.pixel) store_block(at, tile[p]);
  }
  if (tail.quantized.base) {
    const F multiplier = broadcast(tail.quantized.multiplier), low = broadcast(-127.0f), high = broadcast(127.0f);
    constexpr int64_t kBytes = kBlock * (kByteUnits ? 1 : 2);
    uint8_t* at = tail.quantized.base + y * tail.quantized.row + x * tail.quantized.pixel + block * kBytes;
    const int64_t room = tail.quantized.pixel - block * kBytes;
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p, at += tail.quantized.pixel) {
      F scaled[kVectors];
      EVENBIT_EACH(n) scaled[n] = smaller(larger(mul(tile[p].v[n], multiplier), low), high);
      if (room >= kBytes) {
        store_rounded(at, scaled);
      } else {
        uint8_t whole[kBytes];
        store_rounded(whole, scaled);
        std::memcpy(at, whole, static_cast<size_t>(room));
      }
    }
  }
  if (tail.row_sums) {
    float* at = tail.row_sums + y * tail.row_sums_stride + c;
    BlockOf sum = x == 0 ? zero_block() : load_block(at);
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) EVENBIT_EACH(n) sum.v[n] = add(sum.v[n], tile[p].v[n]);
    store_block(at, sum);
  }
  if (tail.bits.base) {
    const BlockOf threshold = load_block(tail.threshold + c);
    const uint32_t flip = tail.flip[block], valid = tail.valid[block];
    uint16_t* at = tail.bits.at(y, x) + block;
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p, at += tail.bits.pixel) {
      uint32_t bits = 0;
      EVENBIT_EACH(n) bits |= ge_mask(tile[p].v[n], threshold.v[n]) << (n * kLanes);
      *at = static_cast<uint16_t>((bits ^ flip) & valid);
    }
  }
}

}  // namespace
#endif

}  // namespace evenbit
