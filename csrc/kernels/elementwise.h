// Kernels that read each value once: pooling, a Tail on its own or after a product, maps side by side, a map as a
// vector, and the images' way in.
namespace evenbit {
namespace {

void pool(const Pool2d& op, Range tasks) {
  const F count = broadcast(static_cast<float>(op.kh * op.kw));
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    const int64_t top = y * op.stride_y - op.pad_y;
    for (int x = 0; x < op.width; ++x) {
      const int64_t left = int64_t{x} * op.stride_x - op.pad_x;
      for (int block = 0; block < op.blocks; ++block) {
        BlockOf tile[1];
        EVENBIT_EACH(n) tile[0].v[n] = broadcast(op.max ? -__builtin_inff() : 0.0f);
        for (int64_t iy = top < 0 ? 0 : top; iy < top + op.kh && iy < op.in_height; ++iy) {
          for (int64_t ix = left < 0 ? 0 : left; ix < left + op.kw && ix < op.in_width; ++ix) {
            const BlockOf tap = load_block(op.in.at(iy, ix) + block * kBlock);
            EVENBIT_EACH(n) { tile[0].v[n] = op.max ? larger(tap.v[n], tile[0].v[n]) : add(tile[0].v[n], tap.v[n]); }
          }
        }
        if (!op.max) EVENBIT_EACH(n) tile[0].v[n] = div(tile[0].v[n], count);
        finish<1>(op.tail, tile, y, x, block);
      }
    }
  }
}

template <int kPixels>
void elementwise_tile(const Elementwise& op, int64_t y, int64_t x, int block) {
  BlockOf tile[kPixels];
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) tile[p] = load_block(op.in.at(y, x + p) + block * kBlock);
  if (op.factor.base) {
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      const BlockOf factor = load_block(op.factor.at(y, x + p) + block * kBlock);
      EVENBIT_EACH(n) tile[p].v[n] = mul(tile[p].v[n], factor.v[n]);
    }
  }
  finish<kPixels>(op.tail, tile, y, x, block);
}

void elementwise(const Elementwise& op, Range tasks) {
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    for (int block = 0; block < op.blocks; ++block) {
      int x = 0;
      for (; x + kConvPixels <= op.width; x += kConvPixels) elementwise_tile<kConvPixels>(op, y, x, block);
      for (; x < op.width; ++x) elementwise_tile<1>(op, y, x, block);
    }
  }
}

void concat(const Concat& op, Range tasks) {
  alignas(64) float values[kBlock] = {};
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    for (int x = 0; x < op.width; ++x) {
      for (int i = 0; i < op.count; ++i) {
        const Piece& piece = op.pieces[i];
        std::memcpy(values + piece.lane, piece.from.at(y, x), piece.count * sizeof(float));
        if (!piece.ends_block) continue;
        BlockOf tile[1] = {load_block(values)};
        finish<1>(op.tail, tile, y, x, piece.block);
      }
    }
  }
}

void flatten(const Flatten& op, Range) {
  int y = 0, x = 0, c = 0;
  for (int block = 0; block < op.blocks; ++block) {
    alignas(64) float values[kBlock] = {};
    for (int lane = 0; lane < kBlock && c < op.channels; ++lane) {
      values[lane] = op.in.at(y, x)[c];
      if (++x < op.width) continue;
      x = 0;
      if (++y < op.height) continue;
      y = 0;
      ++c;
    }
    BlockOf tile[1] = {load_block(values)};
    finish<1>(op.tail, tile, 0, 0, block);
  }
}

// Gathers one block of channels of kPixels neighbouring pixels from their planes; returns whether all are finite.
template <int kPixels>
bool normalize_tile(const Normalize& op, int64_t y, int64_t x, int block) {
  const int64_t plane = int64_t{op.height} * op.width;
  const int lanes = op.channels - block * kBlock < kBlock ? op.channels - block * kBlock : kBlock;
  alignas(64) float values[kPixels][kBlock] = {};
  bool finite = true;
  for (int lane = 0; lane < lanes; ++lane) {
    const int64_t at = (block * kBlock + lane) * plane + y * op.width + x;
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      const float v = op.floats ? op.floats[at + p] : static_cast<float>(op.bytes[at + p]) / 255.0f;
      finite &= v - v == 0.0f;  // NaN for infinities and NaN
      values[p][lane] = v;
    }
  }
  BlockOf tile[kPixels];
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) tile[p] = load_block(values[p]);
  finish<kPixels>(op.tail, tile, y, x, block);
  return finite;
}

bool normalize(const Normalize& op, Range tasks) {
  bool finite = true;
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    for (int block = 0; block < op.blocks; ++block) {
      int x = 0;
      for (; x + kConvPixels <= op.width; x += kConvPixels) finite &= normalize_tile<kConvPixels>(op, y, x, block);
      for (; x < op.width; ++x) finite &= normalize_tile<1>(op, y, x, block);
    }
  }
  return finite;
}

}  // namespace
}  // namespace evenbit
