// Binary convolution: signs as bits, so a product is an xor and a sum a popcount.
//
// With a = +-1 and w = +-1 stored as bits, a * w = +1 where the bits agree and -1 where they differ, hence
//
//   sum of K products = (K - differing) - differing = K - 2 * popcount(a xor w).
//
// A tile is kPixels neighbouring output pixels x kBlocks blocks of outputs. For each word position, the weights of all
// outputs in the tile are loaded once (one output a 64-bit lane), each pixel's word is broadcast, and the popcounts of
// the differences are added up lane by lane. The weights of a group of blocks stay in the first-level cache while the
// pixels of the map pass by.
namespace evenbit {
namespace {

// A word of a bit map, which is written in blocks of 16 bits, the lowest first.
inline uint64_t word_at(const uint64_t* p) {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "blocks make up words on little-endian machines only");
  uint64_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

template <int kPixels, int kBlocks>
void binary_tile(const BinaryConv& op, int y, int x, int block) {
  U sums[kPixels][kBlocks][kWordVectors];
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
    EVENBIT_UNROLL for (int b = 0; b < kBlocks; ++b) {
      EVENBIT_UNROLL for (int n = 0; n < kWordVectors; ++n) sums[p][b][n] = zero_words();
    }
  }
  const uint64_t* in = op.in + int64_t{y} * op.stride_y * op.in_row + int64_t{x} * op.stride_x * op.in_pixel;
  const int64_t step = int64_t{op.stride_x} * op.in_pixel;
  const int64_t block_stride = int64_t{op.kh} * op.run * kBlock;
  const uint64_t* weight = op.weight + block * block_stride;
  for (int ky = 0; ky < op.kh; ++ky, in += op.in_row) {
    for (int j = 0; j < op.run; ++j, weight += kBlock) {
      U w[kBlocks][kWordVectors];
      EVENBIT_UNROLL for (int b = 0; b < kBlocks; ++b) {
        EVENBIT_UNROLL for (int n = 0; n < kWordVectors; ++n) {
          w[b][n] = load_words(weight + b * block_stride + n * kWordLanes);
        }
      }
      EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
        const U a = broadcast_word(word_at(in + p * step + j));
        EVENBIT_UNROLL for (int b = 0; b < kBlocks; ++b) {
          EVENBIT_UNROLL for (int n = 0; n < kWordVectors; ++n) {
            sums[p][b][n] = add_popcount_xor(sums[p][b][n], a, w[b][n]);
          }
        }
      }
    }
  }
  EVENBIT_UNROLL for (int b = 0; b < kBlocks; ++b) {
    BlockOf tile[kPixels];
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      EVENBIT_EACH(n) { tile[p].v[n] = dot_from_popcount(op.fan_in, &sums[p][b][n * kWordVectors / kVectors]); }
    }
    finish<kPixels>(op.tail, tile, y, x, block + b);
  }
}

template <int kBlocks>
void binary_row(const BinaryConv& op, int y, int block) {
  int x = 0;
  for (; x + kBinaryPixels <= op.width; x += kBinaryPixels) binary_tile<kBinaryPixels, kBlocks>(op, y, x, block);
  for (; x < op.width; ++x) binary_tile<1, kBlocks>(op, y, x, block);
}

void binary_conv(const BinaryConv& op, Range tasks) {
  for (int64_t task = tasks.begin; task < tasks.end; ++task) {
    const int block = static_cast<int>(task / op.height) * kBinaryBlocks;
    const int y = static_cast<int>(task % op.height);
    if (block + kBinaryBlocks <= op.blocks) {
      binary_row<kBinaryBlocks>(op, y, block);
    } else {
      for (int b = block; b < op.blocks; ++b) binary_row<1>(op, y, b);
    }
  }
}

int64_t binary_limit(int64_t rounds) {
  constexpr int kPixels = kBinaryPixels, kSums = kBinaryBlocks * kWordVectors;
  U sums[kPixels][kSums], inputs[kPixels], weights[kSums];
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
    inputs[p] = broadcast_word(static_cast<uint64_t>(p));
    EVENBIT_UNROLL for (int n = 0; n < kSums; ++n) sums[p][n] = zero_words();
  }
  EVENBIT_UNROLL for (int n = 0; n < kSums; ++n) weights[n] = broadcast_word(static_cast<uint64_t>(n) << 8);
  for (int64_t round = 0; round < rounds; ++round) {
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      opaque(inputs[p]);
      EVENBIT_UNROLL for (int n = 0; n < kSums; ++n) {
        sums[p][n] = add_popcount_xor(sums[p][n], inputs[p], weights[n]);
      }
    }
  }
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
    EVENBIT_UNROLL for (int n = 0; n < kSums; ++n) opaque(sums[p][n]);
  }
  return rounds * kPixels * kSums * kWordLanes * kWordBits;
}

}  // namespace
}  // namespace evenbit
