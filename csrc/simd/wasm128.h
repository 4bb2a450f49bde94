// WebAssembly SIMD, 128 bits: bytes are looked up in registers, which browsers turn into pshufb or tbl.
#pragma once

#include <wasm_simd128.h>

#include <cstdint>

namespace evenbit {
namespace {

using F = v128_t;
using U = v128_t;
constexpr int kLanes = 4;
using B = v128_t;
constexpr int kByteLanes = 16;
// A browser on x86-64 has 16 registers: 8 for the sums of a tile.
constexpr int kBinaryPixels = 4;
constexpr int kBinaryBlocks = 2;
#define EVENBIT_BINARY_TILES(TILE) TILE(4, 2)
constexpr int kConvPixels = 2;
constexpr int kConvBlocks = 1;

bool supported() { return true; }  // else the browser refuses the module

inline F load(const float* p) { return wasm_v128_load(p); }
inline void store(float* p, F v) { wasm_v128_store(p, v); }
inline F broadcast(float v) { return wasm_f32x4_splat(v); }
inline F add(F a, F b) { return wasm_f32x4_add(a, b); }
inline F mul(F a, F b) { return wasm_f32x4_mul(a, b); }
inline F div(F a, F b) { return wasm_f32x4_div(a, b); }
// Pseudo-maximum and -minimum: the first operand but where the comparison with the second one holds.
inline F larger(F a, F b) { return wasm_f32x4_pmax(b, a); }
inline F smaller(F a, F b) { return wasm_f32x4_pmin(b, a); }
inline F absolute(F v) { return wasm_f32x4_abs(v); }
inline F root(F v) { return wasm_f32x4_sqrt(v); }
inline F prelu(F v, F slope) {
  return wasm_v128_bitselect(v, wasm_f32x4_mul(v, slope), wasm_f32x4_ge(v, wasm_f32x4_splat(0.0f)));
}
inline bool all_finite(F v) { return wasm_i32x4_all_true(wasm_f32x4_eq(wasm_f32x4_sub(v, v), wasm_f32x4_splat(0.0f))); }
inline uint32_t ge_mask(F a, F b) { return static_cast<uint32_t>(wasm_i32x4_bitmask(wasm_f32x4_ge(a, b))); }

inline U load_units(const uint32_t* p) { return wasm_v128_load(p); }
inline U load_bytes_as_units(const uint8_t* p) {
  return wasm_u32x4_extend_low_u16x8(wasm_u16x8_extend_low_u8x16(wasm_v128_load32_zero(p)));
}
inline U broadcast_unit(uint32_t v) { return wasm_i32x4_splat(static_cast<int>(v)); }
inline U add_units(U a, U b) { return wasm_i32x4_add(a, b); }
inline F to_floats(U v) { return wasm_f32x4_convert_i32x4(v); }
inline void opaque(U& v) { asm volatile("" : "+r"(v)); }
inline U zero_counts() { return wasm_i32x4_splat(0); }
inline U add_popcount_xor(U sum, U a, U b) {
  const v128_t pairs = wasm_u16x8_extadd_pairwise_u8x16(wasm_i8x16_popcnt(wasm_v128_xor(a, b)));
  return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(pairs, wasm_i16x8_splat(1)));
}
using HalfUnit = uint16_t;
inline U add_popcount_xor_half(U sum, U a, U b) { return add_popcount_xor(sum, a, b); }
inline F dot_from_count(float fan_in, U count) {
  const U k = wasm_i32x4_splat(static_cast<int>(fan_in));
  return wasm_f32x4_convert_i32x4(wasm_i32x4_sub(k, wasm_i32x4_shl(count, 1)));
}

constexpr bool kByteUnits = false;
constexpr bool kTwoResiduals = false;
inline U add_dot(U sum, U a, U w) { return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(a, w)); }
inline void store_rounded(uint8_t* p, const F (&v)[4]) {
  const auto rounded = [](F x) { return wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(x)); };
  wasm_v128_store(p, wasm_i16x8_narrow_i32x4(rounded(v[0]), rounded(v[1])));
  wasm_v128_store(p + 16, wasm_i16x8_narrow_i32x4(rounded(v[2]), rounded(v[3])));
}

inline B load_bytes(const uint8_t* p) { return wasm_v128_load(p); }
inline B zero_bytes() { return wasm_i32x4_splat(0); }
inline B add_bytes(B a, B b) { return wasm_i8x16_add(a, b); }
inline B subtract_bytes(B a, B b) { return wasm_i8x16_sub(a, b); }
inline B upper_halves(B v) { return wasm_u8x16_shr(v, 4); }
inline B broadcast_table(const uint8_t* p) { return wasm_v128_load(p); }
inline B look_up(B table, B index) { return wasm_i8x16_swizzle(table, index); }
inline void widen(uint16_t* counts, B sums, bool add) {
  const B low = wasm_u16x8_extend_low_u8x16(sums), high = wasm_u16x8_extend_high_u8x16(sums);
  wasm_v128_store(counts, add ? wasm_i16x8_add(wasm_v128_load(counts), low) : low);
  wasm_v128_store(counts + 8, add ? wasm_i16x8_add(wasm_v128_load(counts + 8), high) : high);
}
inline U load_counts(const uint16_t* p) { return wasm_u32x4_load16x4(p); }

}  // namespace
}  // namespace evenbit
