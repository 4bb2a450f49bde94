/* The ops of a packed network in portable C99; the generated network calls them with constants. First comes what they
 * share, then each op.
 *
 * Maps are height x width x channels, channels last; floats, or bits packed into words with bit c of a pixel in word
 * c / EVENBIT_WORD_BITS. Each op makes one output pixel at a time: its channels are computed into `tail.pixel`,
 * finished there (scale, bias, residual, activation, shift) and only then written, as floats, into a mean, and as bits.
 * So an op may write over what it has read already, which the arena of a network relies on.
 *
 * Every float operation is rounded once and sums have a fixed order, so that the logits are the same bits everywhere.
 * That needs -ffp-contract=off (no fused multiply-add) and no -ffast-math.
 */
#ifndef EVENBIT_KERNELS_H
#define EVENBIT_KERNELS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__)
#error "compile without -ffast-math: the logits have to be exact"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "floats are computed in a wider type here; on 32-bit x86 compile with -msse2 -mfpmath=sse"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#ifndef EVENBIT_WORD_BITS
#if UINTPTR_MAX > 0xffffffff
#define EVENBIT_WORD_BITS 64
#else
#define EVENBIT_WORD_BITS 32
#endif
#endif

#if EVENBIT_WORD_BITS == 64
typedef uint64_t evenbit_word;
#elif EVENBIT_WORD_BITS == 32
typedef uint32_t evenbit_word;
#else
#error "EVENBIT_WORD_BITS should be 32 or 64"
#endif

#define EVENBIT_ALL_BITS ((evenbit_word) - 1)

/* The window of a convolution or pooling and the map that it slides over. */
typedef struct {
  int32_t height, width, channels;
  int32_t kernel_height, kernel_width;
  int32_t stride_y, stride_x;
  int32_t padding_y, padding_x;
} evenbit_window;

/* The end of an op, and its result's shape. Parts that are NULL or 0 are left out; they apply in this order:
 *
 *   v = v * scale[c] + bias[c], in two roundings
 *   v = v + residual[pixel * residual_step + c]     the step is 0 where a vector is added to every pixel; if there is
 *                                                   a second residual, the sum of both is added
 *   v = v if v >= 0 else v * slope[c]
 *   v = low[c] if low[c] > v else v, then v = high[c] if high[c] < v else v
 *   v = evenbit_logistic(v)                         where `sigmoid` is set
 *   v = v / (1 + |v|)                               where `softsign` is set
 *   v = evenbit_normal(v)                           where `normal_cdf` is set
 *   v = 1 / sqrt(v)                                 where `rsqrt` is set
 *   v = v + shift[c]
 *
 * then `out` is v; `mean` its mean over the pixels, for which `row` holds the sum of a row; and
 * bit c of `bits` is (v >= threshold[c]) xor bit c of `flip`.
 */
typedef struct {
  int32_t height, width, channels;
  float* pixel;
  const float *scale, *bias, *residual, *second_residual, *slope, *low, *high, *shift;
  int32_t residual_step, sigmoid, softsign, normal_cdf, rsqrt;
  float *out, *mean, *row;
  evenbit_word* bits;
  const float* threshold;
  const evenbit_word* flip;
} evenbit_tail;

static inline int32_t evenbit_words(int32_t channels) { return (channels + EVENBIT_WORD_BITS - 1) / EVENBIT_WORD_BITS; }

static inline float evenbit_clamp(float v, float low, float high) {
  v = low > v ? low : v;
  return high < v ? high : v;
}

/* 1 / (1 + exp(-v)) as a ratio of polynomials, since libraries differ in the last bits of exp; at most 2.1e-7 off. */
static inline float evenbit_logistic(float v) {
  static const float numerator[] = {0.25f, 0.008398873f, 5.5690027e-05f, 8.505203e-08f, 1.4708866e-11f};
  static const float denominator[] = {1.0f, 0.116928793f, 0.0016335023f, 5.311231e-06f, 3.3022258e-09f};
  const float t = evenbit_clamp(v, -16.0f, 16.0f), u = t * t;
  float p = numerator[4], q = denominator[4];
  for (int i = 3; i >= 0; --i) {
    p = p * u + numerator[i];
    q = q * u + denominator[i];
  }
  return 0.5f + t * p / q;
}

/* The normal distribution up to v, likewise. */
static inline float evenbit_normal(float v) {
  static const float numerator[] = {0.39894222f,    0.034376162f,   0.0047072628f,
                                    0.00017385121f, 6.3565268e-06f, 2.2145232e-08f};
  static const float denominator[] = {1.0f, 0.25283397f, 0.028940119f, 0.0019129813f, 7.5102024e-05f, 1.1802092e-06f};
  const float t = evenbit_clamp(v, -5.5f, 5.5f), u = t * t;
  float p = numerator[5], q = denominator[5];
  for (int i = 4; i >= 0; --i) {
    p = p * u + numerator[i];
    q = q * u + denominator[i];
  }
  return 0.5f + evenbit_clamp(t * p / q, -0.5f, 0.5f);
}

/* The sum of a pixel's channels: 16 partial sums, then their sum. */
static inline float evenbit_sum(const float* v, int32_t channels) {
  float lanes[16] = {0}, sum = 0.0f;
  for (int32_t c = 0; c < channels; ++c) lanes[c % 16] += v[c];
  for (int lane = 0; lane < 16; ++lane) sum += lanes[lane];
  return sum;
}

/* Rows are summed from left to right, then the rows from top to bottom, then one division. */
static inline void evenbit_add_to_mean(const evenbit_tail* tail, int32_t pixel) {
  const int32_t pixels = tail->height * tail->width;
  if (pixel == 0) {
    for (int32_t c = 0; c < tail->channels; ++c) tail->mean[c] = tail->row[c] = 0.0f;
  }
  for (int32_t c = 0; c < tail->channels; ++c) tail->row[c] += tail->pixel[c];
  if ((pixel + 1) % tail->width == 0) {
    for (int32_t c = 0; c < tail->channels; ++c) {
      tail->mean[c] += tail->row[c];
      tail->row[c] = 0.0f;
    }
  }
  if (pixel + 1 == pixels) {
    for (int32_t c = 0; c < tail->channels; ++c) tail->mean[c] /= (float)pixels;
  }
}

static inline void evenbit_write_bits(const evenbit_tail* tail, int32_t pixel) {
  const int32_t words = evenbit_words(tail->channels);
  const float *v = tail->pixel, *threshold = tail->threshold;
  for (int32_t i = 0; i < words; ++i) {
    const int32_t rest = tail->channels - i * EVENBIT_WORD_BITS;
    evenbit_word word = 0, bit = 1;
    for (const float* end = v + (rest < EVENBIT_WORD_BITS ? rest : EVENBIT_WORD_BITS); v < end; bit <<= 1) {
      if (*v++ >= *threshold++) word |= bit;
    }
    tail->bits[pixel * words + i] = word ^ tail->flip[i];
  }
}

/* Finishes the pixel whose accumulators are in `tail->pixel`, and writes it. */
static inline void evenbit_finish(const evenbit_tail* tail, int32_t pixel) {
  const int32_t channels = tail->channels;
  float* v = tail->pixel;
  if (tail->scale) {
    for (int32_t c = 0; c < channels; ++c) v[c] *= tail->scale[c];
  }
  if (tail->bias) {
    for (int32_t c = 0; c < channels; ++c) v[c] += tail->bias[c];
  }
  if (tail->residual) {
    const float* residual = tail->residual + pixel * tail->residual_step;
    if (tail->second_residual) {
      const float* second = tail->second_residual + pixel * channels;
      for (int32_t c = 0; c < channels; ++c) v[c] += residual[c] + second[c];
    } else {
      for (int32_t c = 0; c < channels; ++c) v[c] += residual[c];
    }
  }
  if (tail->slope) {
    for (int32_t c = 0; c < channels; ++c) v[c] = v[c] >= 0.0f ? v[c] : v[c] * tail->slope[c];
  }
  if (tail->low) {
    for (int32_t c = 0; c < channels; ++c) v[c] = evenbit_clamp(v[c], tail->low[c], tail->high[c]);
  }
  if (tail->sigmoid) {
    for (int32_t c = 0; c < channels; ++c) v[c] = evenbit_logistic(v[c]);
  }
  if (tail->softsign) {
    for (int32_t c = 0; c < channels; ++c) v[c] /= 1.0f + fabsf(v[c]);
  }
  if (tail->normal_cdf) {
    for (int32_t c = 0; c < channels; ++c) v[c] = evenbit_normal(v[c]);
  }
  if (tail->rsqrt) {
    for (int32_t c = 0; c < channels; ++c) v[c] = 1.0f / sqrtf(v[c]);
  }
  if (tail->shift) {
    for (int32_t c = 0; c < channels; ++c) v[c] += tail->shift[c];
  }
  if (tail->out) memcpy(tail->out + pixel * channels, v, (size_t)channels * sizeof *v);
  if (tail->mean) evenbit_add_to_mean(tail, pixel);
  if (tail->bits) evenbit_write_bits(tail, pixel);
}
