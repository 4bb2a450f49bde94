// Float convolution: each output is a sum of products in (ky, kx, i) order, each product and each sum rounded.
//
// A tile is kPixels neighbouring output pixels x kBlocks blocks of outputs; all its sums advance together through the
// same order of terms, one output a lane.
namespace evenbit {
namespace {

struct ConvTile {
  static constexpr int kPixels = kConvPixels;
  static constexpr int kBlocks = kConvBlocks;
  static constexpr int kRestBlocks = 1;

  template <int kP, int kB>
  static void run(const Conv& op, int y, int x, int block) {
    BlockOf sums[kB][kP];
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
      EVENBIT_UNROLL for (int p = 0; p < kP; ++p) sums[b][p] = zero_block();
    }
    const int64_t step = op.stride_x * op.in.pixel;
    const int64_t block_stride = int64_t{op.kh} * op.kw * op.channels * kBlock;
    const float* weight = op.weight + block * block_stride;
    for (int ky = 0; ky < op.kh; ++ky) {
      for (int kx = 0; kx < op.kw; ++kx) {
        const float* in = op.in.at(int64_t{y} * op.stride_y + ky, int64_t{x} * op.stride_x + kx);
        for (int i = 0; i < op.channels; ++i, weight += kBlock) {
          BlockOf w[kB];
          EVENBIT_UNROLL for (int b = 0; b < kB; ++b) w[b] = load_block(weight + b * block_stride);
          EVENBIT_UNROLL for (int p = 0; p < kP; ++p) {
            const F a = broadcast(in[p * step + i]);
            EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
              EVENBIT_EACH(n) sums[b][p].v[n] = add(sums[b][p].v[n], mul(a, w[b].v[n]));
            }
          }
        }
      }
    }
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) finish<kP>(op.tail, sums[b], y, x, block + b);
  }
};

void conv(const Conv& op, Range tasks) { run_tiles<ConvTile>(op, tasks); }

// With groups, neighbouring outputs read different inputs, so each output is summed on its own.
void grouped_conv(const Conv& op, Range tasks) {
  const int per_input = op.channels / op.groups;
  const int per_output = op.outputs / op.groups;
  const int64_t fan_in = int64_t{op.kh} * op.kw * per_input;
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    for (int x = 0; x < op.width; ++x) {
      for (int block = 0; block < op.blocks; ++block) {
        alignas(64) float values[kBlock] = {};
        for (int lane = 0; lane < kBlock && block * kBlock + lane < op.outputs; ++lane) {
          const int o = block * kBlock + lane;
          const float* weight = op.weight + o * fan_in;
          float sum = 0.0f;
          for (int ky = 0; ky < op.kh; ++ky) {
            for (int kx = 0; kx < op.kw; ++kx) {
              const float* in =
                  op.in.at(y * op.stride_y + ky, int64_t{x} * op.stride_x + kx) + o / per_output * per_input;
              for (int i = 0; i < per_input; ++i) sum += in[i] * *weight++;
            }
          }
          values[lane] = sum;
        }
        BlockOf tile[1] = {load_block(values)};
        finish<1>(op.tail, tile, y, x, block);
      }
    }
  }
}

}  // namespace
}  // namespace evenbit
