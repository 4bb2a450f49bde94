// Kernels that read each value once: pooling, a Tail on its own or after a product or a cube, maps side by side, a map
// as a vector, and the images' way in.
namespace evenbit {
namespace {

// kPixels neighbouring windows, of which none, if there are several, is cut at the left or right edge.
template <int kPixels>
void pool_tile(const Pool2d& op, int64_t y, int64_t x, int block) {
  const int64_t top = y * op.stride_y - op.pad_y, left = x * op.stride_x - op.pad_x;
  const int64_t first_y = top < 0 ? 0 : top, first_x = left < 0 ? 0 : left;
  const int64_t end_y = top + op.kh < op.in_height ? top + op.kh : op.in_height;
  const int64_t end_x = left + op.kw < op.in_width ? left + op.kw : op.in_width;
  const int64_t step = op.stride_x * op.in.pixel;
  BlockOf tile[kPixels];
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
    EVENBIT_EACH(n) tile[p].v[n] = broadcast(op.max ? -__builtin_inff() : 0.0f);
  }
  for (int64_t iy = first_y; iy < end_y; ++iy) {
    const float* at = op.in.at(iy, first_x) + block * kBlock;
    for (int64_t ix = first_x; ix < end_x; ++ix, at += op.in.pixel) {
      EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
        const BlockOf tap = load_block(at + p * step);
        EVENBIT_EACH(n) { tile[p].v[n] = op.max ? larger(tap.v[n], tile[p].v[n]) : add(tile[p].v[n], tap.v[n]); }
      }
    }
  }
  if (!op.max) {
    const F count = broadcast(static_cast<float>(op.kh * op.kw));
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) EVENBIT_EACH(n) tile[p].v[n] = div(tile[p].v[n], count);
  }
  finish<kPixels>(op.tail, tile, y, x, block);
}

void pool(const Pool2d& op, Range tasks) {
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    for (int x = 0; x < op.width;) {
      const int64_t left = int64_t{x} * op.stride_x - op.pad_x;
      const int64_t right = left + (kConvPixels - 1) * int64_t{op.stride_x} + op.kw;
      const bool several = x + kConvPixels <= op.width && left >= 0 && right <= op.in_width;
      for (int block = 0; block < op.blocks; ++block) {
        several ? pool_tile<kConvPixels>(op, y, x, block) : pool_tile<1>(op, y, x, block);
      }
      x += several ? kConvPixels : 1;
    }
  }
}

template <int kPixels>
void elementwise_tile(const Elementwise& op, int64_t y, int64_t x, int block) {
  BlockOf tile[kPixels];
  const float* at = op.in.at(y, x) + block * kBlock;
  EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p, at += op.in.pixel) tile[p] = load_block(at);
  if (op.factor.base) {
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      const BlockOf factor = load_block(op.factor.at(y, x + p) + block * kBlock);
      EVENBIT_EACH(n) tile[p].v[n] = mul(tile[p].v[n], factor.v[n]);
    }
  }
  if (op.cube_scale) {
    const BlockOf scale = load_block(op.cube_scale + block * kBlock),
                  offset = load_block(op.cube_offset + block * kBlock);
    EVENBIT_UNROLL for (int p = 0; p < kPixels; ++p) {
      EVENBIT_EACH(n) {
        const F u = add(mul(tile[p].v[n], scale.v[n]), offset.v[n]);
        tile[p].v[n] = mul(mul(u, u), u);
      }
    }
  }
  finish<kPixels>(op.tail, tile, y, x, block);
}

bool has_activation(const Tail& tail) { return tail.slope || tail.low || tail.sigmoid || tail.softsign; }

bool writes_bits_only(const Elementwise& op) {
  const Tail& tail = op.tail;
  return tail.bits.base && !op.factor.base && !op.cube_scale && !tail.scale && !tail.bias && !tail.residual.base &&
         !has_activation(tail) && !tail.shift && !tail.out.base && !tail.quantized.base && !tail.row_sums;
}

// A row of nothing but bits, a word at a time.
void threshold_row(const Elementwise& op, int64_t y) {
  constexpr int kPerWord = kWordBits / kBlock;
  const int whole = op.blocks / kPerWord * kPerWord;
  for (int x = 0; x < op.width; ++x) {
    const float* const in = op.in.at(y, x);
    uint16_t* const out = op.tail.bits.at(y, x);
    for (int block = 0; block < whole; block += kPerWord) {
      uint64_t bits = 0, flip, valid;
      std::memcpy(&flip, op.tail.flip + block, sizeof flip);
      std::memcpy(&valid, op.tail.valid + block, sizeof valid);
      EVENBIT_UNROLL for (int c = 0; c < kWordBits; c += kLanes) {
        const F threshold = load(op.tail.threshold + block * kBlock + c);
        bits |= uint64_t{ge_mask(load(in + block * kBlock + c), threshold)} << c;
      }
      bits = (bits ^ flip) & valid;
      std::memcpy(out + block, &bits, sizeof bits);
    }
    for (int block = whole; block < op.blocks; ++block) elementwise_tile<1>(op, y, x, block);
  }
}

void elementwise(const Elementwise& op, Range tasks) {
  const bool bits_only = writes_bits_only(op);
  for (int64_t y = tasks.begin; y < tasks.end; ++y) {
    if (bits_only) {
      threshold_row(op, y);
      continue;
    }
    int x = 0;
    for (; x + kConvPixels <= op.width; x += kConvPixels) {
      for (int block = 0; block < op.blocks; ++block) elementwise_tile<kConvPixels>(op, y, x, block);
    }
    for (; x < op.width; ++x) {
      for (int block = 0; block < op.blocks; ++block) elementwise_tile<1>(op, y, x, block);
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

bool writes_integers_only(const Tail& tail) {
  return tail.quantized.base && !tail.residual.base && !has_activation(tail) && !tail.shift && !tail.out.base &&
         !tail.row_sums && !tail.bits.base;
}

// Up to one block of neighbouring pixels whose Tail is scale, bias and integers: a lane is a pixel, not a channel.
bool quantize_pixels(const Normalize& op, int64_t y, int x) {
  constexpr int kBytes = kByteUnits ? 1 : 2;
  const QuantizedView& to = op.tail.quantized;
  const int count = op.width - x < kBlock ? op.width - x : kBlock;
  const F multiplier = broadcast(to.multiplier), low = broadcast(-127.0f), high = broadcast(127.0f);
  bool finite = true;
  for (int c = 0; c < op.channels; ++c) {
    const int64_t at = (int64_t{c} * op.height + y) * op.width + x;
    alignas(64) float values[kBlock] = {};
    for (int p = 0; p < count; ++p) values[p] = op.floats ? op.floats[at + p] : static_cast<float>(op.bytes[at + p]);
    BlockOf v = load_block(values);
    if (op.bytes) EVENBIT_EACH(n) v.v[n] = div(v.v[n], broadcast(255.0f));
    EVENBIT_EACH(n) finite &= all_finite(v.v[n]);
    if (op.tail.scale) EVENBIT_EACH(n) v.v[n] = mul(v.v[n], broadcast(op.tail.scale[c]));
    if (op.tail.bias) EVENBIT_EACH(n) v.v[n] = add(v.v[n], broadcast(op.tail.bias[c]));
    EVENBIT_EACH(n) v.v[n] = smaller(larger(mul(v.v[n], multiplier), low), high);
    uint8_t rounded[kBlock * kBytes];
    store_rounded(rounded, v.v);
    uint8_t* out = to.base + y * to.row + x * to.pixel + c * kBytes;
    for (int p = 0; p < count; ++p, out += to.pixel) std::memcpy(out, rounded + p * kBytes, kBytes);
  }
  return finite;
}

bool normalize(const Normalize& op, Range tasks) {
  bool finite = true;
  if (writes_integers_only(op.tail)) {
    for (int64_t y = tasks.begin; y < tasks.end; ++y) {
      for (int x = 0; x < op.width; x += kBlock) finite &= quantize_pixels(op, y, x);
    }
    return finite;
  }
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
