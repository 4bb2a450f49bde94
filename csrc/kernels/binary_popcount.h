// Binary convolution by popcount: signs as bits, so a product is an xor and a sum a popcount.
//
// With a = +-1 and w = +-1 stored as bits, a * w = +1 where the bits agree and -1 where they differ, hence
//
//   sum of K products = (K - differing) - differing = K - 2 * popcount(a xor w).
//
// A tile is kPixels neighbouring output pixels x kBlocks blocks of outputs. For each unit of 32 bits, the weights of all
// outputs in the tile are loaded once (one output a lane), each pixel's unit is broadcast, and the popcounts of the
// differences are added up lane by lane. The weights of a group of blocks stay in the first-level cache while the
// pixels of the map pass by.
namespace evenbit {
namespace {

constexpr int kStepBits = 32;  // of the input that one step of the inner loop takes in
constexpr int kRestBlocks = 1;  // of a tile for the blocks that are left over
constexpr int kWeightLanes = kBinaryBlocks * kBlock;  // outputs whose weights for a step lie together
constexpr void (*expand_bits)(const uint8_t*, uint8_t*, int64_t) = nullptr;  // bits are read as they are

// A unit of a bit map, which is written in blocks of 16 bits, the lowest first.
inline uint32_t unit_at(const uint8_t* p) {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "blocks make up units on little-endian machines only");
  uint32_t unit;
  std::memcpy(&unit, p, sizeof unit);
  return unit;
}

template <int kPixels, int kBlocks>
void binary_tile(const BinaryConv& op, int y, int x, int block) {
  U counts[kBlocks][kPixels][kVectors];
  EVENBIT_UNROLL for (int b = 0; b < kBlocks; ++b) {
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) EVENBIT_EACH(n) counts[b][p][n] = zero_counts();
  }
  const uint8_t* in = op.in + int64_t{y} * op.stride_y * op.in_row + int64_t{x} * op.stride_x * op.in_pixel;
  const int64_t step = int64_t{op.stride_x} * op.in_pixel;
  const int64_t group_stride = int64_t{op.kh} * op.run * kWeightLanes;
  const uint32_t* weight = static_cast<const uint32_t*>(op.weight) + block / kBinaryBlocks * group_stride +
                           block % kBinaryBlocks * kBlock;
  prefetch<kPixels, kBlocks>(op.tail, y, x, block);
  for (int ky = 0; ky < op.kh; ++ky, in += op.in_row) {
    for (int j = 0; j < op.run; ++j, weight += kWeightLanes) {
      U w[kBlocks][kVectors];
      EVENBIT_UNROLL for (int b = 0; b < kBlocks; ++b) {
        EVENBIT_EACH(n) {
          w[b][n] = load_units(weight + b * kBlock + n * kLanes);
          opaque(w[b][n]);  // else it would be loaded again for each pixel
        }
      }
      EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
        const U a = broadcast_unit(unit_at(in + p * step + j * int64_t{sizeof(uint32_t)}));
        EVENBIT_UNROLL for (int b = 0; b < kBlocks; ++b) {
          EVENBIT_EACH(n) counts[b][p][n] = add_popcount_xor(counts[b][p][n], a, w[b][n]);
        }
      }
    }
  }
  EVENBIT_UNROLL for (int b = 0; b < kBlocks; ++b) {
    BlockOf tile[kPixels];
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      EVENBIT_EACH(n) tile[p].v[n] = dot_from_count(op.fan_in, counts[b][p][n]);
    }
    finish<kPixels>(op.tail, tile, y, x, block + b);
  }
}

// The inner step of a tile on registers alone, `rounds` times; returns the number of 1-bit multiply-adds.
int64_t binary_limit(int64_t rounds) {
  constexpr int kPixels = kBinaryPixels, kCounts = kBinaryBlocks * kVectors;
  U counts[kPixels][kCounts], inputs[kPixels], weights[kCounts];
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
    inputs[p] = broadcast_unit(static_cast<uint32_t>(p));
    EVENBIT_UNROLL for (int n = 0; n < kCounts; ++n) counts[p][n] = zero_counts();
  }
  EVENBIT_UNROLL for (int n = 0; n < kCounts; ++n) {
    weights[n] = broadcast_unit(static_cast<uint32_t>(n) << 8);
    opaque(weights[n]);
  }
  for (int64_t round = 0; round < rounds; ++round) {
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      opaque(inputs[p]);
      EVENBIT_UNROLL for (int n = 0; n < kCounts; ++n) {
        counts[p][n] = add_popcount_xor(counts[p][n], inputs[p], weights[n]);
      }
    }
  }
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
    EVENBIT_UNROLL for (int n = 0; n < kCounts; ++n) opaque(counts[p][n]);
  }
  return rounds * kPixels * kCounts * kLanes * kStepBits;
}

}  // namespace
}  // namespace evenbit
