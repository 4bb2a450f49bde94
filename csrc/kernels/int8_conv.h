// Convolution of 8-bit integers with 8-bit weights, summed exactly in 32 bits.
//
// The input is what a Tail has stored rounded. With kByteUnits a unit is four channels, stored as q + 128 so that an
// instruction for unsigned times signed fits; the sums then start at -128 times the sum of the weights. Otherwise a
// unit is two channels of 16 bits.
namespace evenbit {
namespace {

struct Int8Product {
  static U start(const Int8Conv& op, int channel) { return load_units(op.start + channel); }
  static U add(U sum, U a, U w) { return add_dot(sum, a, w); }
  static F finish(const Int8Conv&, U sum) { return to_floats(sum); }
};

using Int8Tile = UnitTile<Int8Product, kConvPixels, kConvBlocks>;

void int8_conv(const Int8Conv& op, Range tasks) { run_tiles<Int8Tile>(op, tasks); }

}  // namespace
}  // namespace evenbit
