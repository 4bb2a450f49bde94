// Binary convolution by popcount: signs as bits, so a product is an xor and a sum a popcount.
//
// With a = +-1 and w = +-1 stored as bits, a * w = +1 where the bits agree and -1 where they differ, hence
//
//   sum of K products = (K - differing) - differing = K - 2 * popcount(a xor w).
//
// A unit is 32 channels.
namespace evenbit {
namespace {

struct HalfDifferences {
  using Unit = HalfUnit;
  static U add(U sum, U a, U w) { return add_popcount_xor_half(sum, a, w); }
};

struct Differences {
  using Unit = uint32_t;
  using Half = HalfDifferences;
  static int64_t steps(const BinaryConv& op) { return op.run + (op.half ? 1 : 0); }
  static U start(const BinaryConv&, int) { return zero_counts(); }
  static U add(U sum, U a, U w) { return add_popcount_xor(sum, a, w); }
  static F finish(const BinaryConv& op, U sum) { return dot_from_count(op.fan_in, sum); }
};

template <int kPixels, int kBlocks>
using BinaryTile = UnitTile<Differences, kPixels, kBlocks>;

constexpr int kStepBits = 32;  // of the input that one step of the inner loop takes in
constexpr int64_t kMaxFanIn = kMaxBinaryFanIn;
constexpr void (*pair_bits)(const uint8_t*, uint8_t*, int64_t, int64_t) = nullptr;  // bits are read as they are

// The inner step of a tile on registers alone, `rounds` times; returns the number of 1-bit multiply-adds.
inline int64_t binary_limit(int64_t rounds) {
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
