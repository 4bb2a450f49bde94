/* The ops of a packed network in portable C99; the generated network calls them with constants.
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
 *   v = v + residual[pixel * residual_step + c]     the step is 0 where a vector is added to every pixel
 *   v = v if v >= 0 else v * slope[c]
 *   v = low[c] if low[c] > v else v, then v = high[c] if high[c] < v else v
 *   v = evenbit_logistic(v)                         where `sigmoid` is set
 *   v = v / (1 + |v|)                               where `softsign` is set
 *   v = v + shift[c]
 *
 * then `out` is v; `mean` its mean over the pixels, for which `row` holds the sum of a row; and
 * bit c of `bits` is (v >= threshold[c]) xor bit c of `flip`.
 */
typedef struct {
  int32_t height, width, channels;
  float* pixel;
  const float *scale, *bias, *residual, *slope, *low, *high, *shift;
  int32_t residual_step, sigmoid, softsign;
  float *out, *mean, *row;
  evenbit_word* bits;
  const float* threshold;
  const evenbit_word* flip;
} evenbit_tail;

static inline int32_t evenbit_words(int32_t channels) { return (channels + EVENBIT_WORD_BITS - 1) / EVENBIT_WORD_BITS; }

/* A map whose channels are joined with those of others. */
typedef struct {
  const float* map;
  int32_t channels;
} evenbit_part;

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
    for (int32_t c = 0; c < channels; ++c) v[c] += residual[c];
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
  if (tail->shift) {
    for (int32_t c = 0; c < channels; ++c) v[c] += tail->shift[c];
  }
  if (tail->out) memcpy(tail->out + pixel * channels, v, (size_t)channels * sizeof *v);
  if (tail->mean) evenbit_add_to_mean(tail, pixel);
  if (tail->bits) evenbit_write_bits(tail, pixel);
}

/* What the window at output (y, x) reads, tap after tap; outside the map it reads 0. If `taps` is NULL, the window has
 * no padding and lies in the map in one piece. */
static inline const float* evenbit_float_taps(const float* in, const evenbit_window* window, int32_t y, int32_t x,
                                              float* taps) {
  const int32_t channels = window->channels;
  const int32_t top = y * window->stride_y - window->padding_y, left = x * window->stride_x - window->padding_x;
  float* tap = taps;
  if (!taps) return in + (top * window->width + left) * channels;
  for (int32_t row = top; row < top + window->kernel_height; ++row) {
    for (int32_t column = left; column < left + window->kernel_width; ++column, tap += channels) {
      if (row < 0 || row >= window->height || column < 0 || column >= window->width) {
        for (int32_t c = 0; c < channels; ++c) tap[c] = 0.0f;
      } else {
        memcpy(tap, in + (row * window->width + column) * channels, (size_t)channels * sizeof *tap);
      }
    }
  }
  return taps;
}

/* The same, each value times `multiplier` and rounded to an integer from -127 to 127, halves to even. */
static inline const int8_t* evenbit_int8_taps(const float* in, const evenbit_window* window, int32_t y, int32_t x,
                                              float multiplier, int8_t* taps) {
  const float half_even = 12582912.0f; /* 1.5 * 2^23: floats of this size lie 1 apart, so that adding it rounds */
  const int32_t channels = window->channels;
  const int32_t top = y * window->stride_y - window->padding_y, left = x * window->stride_x - window->padding_x;
  int8_t* tap = taps;
  for (int32_t row = top; row < top + window->kernel_height; ++row) {
    for (int32_t column = left; column < left + window->kernel_width; ++column, tap += channels) {
      if (row < 0 || row >= window->height || column < 0 || column >= window->width) {
        memset(tap, 0, (size_t)channels);
      } else {
        const float* v = in + (row * window->width + column) * channels;
        for (int32_t c = 0; c < channels; ++c) {
          float p = v[c] * multiplier;
          p = p > -127.0f ? p : -127.0f; /* also for a NaN */
          p = p < 127.0f ? p : 127.0f;
          tap[c] = (int8_t)(p + half_even - half_even);
        }
      }
    }
  }
  return taps;
}

/* The bits of a pixel's channels from `first` on, at most a word of them. */
static inline evenbit_word evenbit_bits(const evenbit_word* pixel, int32_t first, int32_t bits) {
  const int32_t index = first / EVENBIT_WORD_BITS, shift = first % EVENBIT_WORD_BITS;
  evenbit_word word = pixel[index] >> shift;
  if (shift + bits > EVENBIT_WORD_BITS) word |= pixel[index + 1] << (EVENBIT_WORD_BITS - shift);
  return word & EVENBIT_ALL_BITS >> (EVENBIT_WORD_BITS - bits);
}

/* The same for the bits of `channels` channels from `first` on; outside the map it reads +1, which is a set bit for
 * each channel. The bits of a tap follow those of the tap before without a gap, in `taps` as in the weights. */
static inline const evenbit_word* evenbit_bit_taps(const evenbit_word* in, const evenbit_window* window, int32_t first,
                                                   int32_t channels, int32_t y, int32_t x, evenbit_word* taps) {
  const int32_t words = evenbit_words(window->channels);
  const int whole = channels == window->channels; /* then words are taken as they are: their spare bits are 0 */
  const int32_t top = y * window->stride_y - window->padding_y, left = x * window->stride_x - window->padding_x;
  evenbit_word *next = taps, word = 0;
  int32_t filled = 0; /* bits of `word`, which comes next */
  if (!taps) return in + (top * window->width + left) * words;
  for (int32_t row = top; row < top + window->kernel_height; ++row) {
    for (int32_t column = left; column < left + window->kernel_width; ++column) {
      const int outside = row < 0 || row >= window->height || column < 0 || column >= window->width;
      const evenbit_word* tap = outside ? NULL : in + (row * window->width + column) * words;
      for (int32_t done = 0; done < channels; done += EVENBIT_WORD_BITS) {
        const int32_t rest = channels - done, bits = rest < EVENBIT_WORD_BITS ? rest : EVENBIT_WORD_BITS;
        evenbit_word value = EVENBIT_ALL_BITS >> (EVENBIT_WORD_BITS - bits);
        if (tap) value = whole ? *tap++ : evenbit_bits(tap, first + done, bits);
        word |= value << filled;
        filled += bits;
        if (filled >= EVENBIT_WORD_BITS) {
          filled -= EVENBIT_WORD_BITS;
          *next++ = word;
          word = filled ? value >> (bits - filled) : 0;
        }
      }
    }
  }
  if (filled) *next = word;
  return taps;
}

/* Three bits added at each position of a word. */
typedef struct {
  evenbit_word sum, carry;
} evenbit_added;

static inline evenbit_added evenbit_add(evenbit_word a, evenbit_word b, evenbit_word c) {
  const evenbit_word either = a ^ b;
  const evenbit_added added = {either ^ c, (a & b) | (either & c)};
  return added;
}

/* Set bits, counted in fields of 4 bits. */
static inline evenbit_word evenbit_in_fours(evenbit_word word) {
  const evenbit_word in_pairs = word - (word >> 1 & EVENBIT_ALL_BITS / 3);
  return (in_pairs & EVENBIT_ALL_BITS / 5) + (in_pairs >> 2 & EVENBIT_ALL_BITS / 5);
}

/* Counts in fields of 4 bits, added up in fields of 8 bits. */
static inline evenbit_word evenbit_in_eights(evenbit_word in_fours) {
  return (in_fours & EVENBIT_ALL_BITS / 17) + (in_fours >> 4 & EVENBIT_ALL_BITS / 17);
}

/* The sum of all fields of 8 bits. */
static inline int32_t evenbit_total(evenbit_word in_eights) {
  const evenbit_word in_sixteens = (in_eights & EVENBIT_ALL_BITS / 257) + (in_eights >> 8 & EVENBIT_ALL_BITS / 257);
  return (int32_t)(in_sixteens * (EVENBIT_ALL_BITS / 65535) >> (EVENBIT_WORD_BITS - 16));
}

/* Bits in which the n words of a and b differ. Few microcontrollers count bits in one instruction, so seven words are
 * added to three, which are worth 1, 2 and 4, and their bits are counted side by side in fields. */
static inline int32_t evenbit_differing(const evenbit_word* a, const evenbit_word* b, int32_t n) {
  int32_t count = 0;
  evenbit_word in_eights = 0;
  for (; n >= 7; n -= 7, a += 7, b += 7) {
    const evenbit_added first = evenbit_add(a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2]);
    const evenbit_added second = evenbit_add(a[3] ^ b[3], a[4] ^ b[4], a[5] ^ b[5]);
    const evenbit_added ones = evenbit_add(first.sum, second.sum, a[6] ^ b[6]);
    const evenbit_added twos = evenbit_add(first.carry, second.carry, ones.carry);
    const evenbit_word low = evenbit_in_fours(ones.sum) + 2 * evenbit_in_fours(twos.sum);
    count += evenbit_total(evenbit_in_eights(low) + 4 * evenbit_in_eights(evenbit_in_fours(twos.carry)));
  }
  if (n >= 3) {
    in_eights = evenbit_in_eights(evenbit_in_fours(a[0] ^ b[0]) + evenbit_in_fours(a[1] ^ b[1]) +
                                  evenbit_in_fours(a[2] ^ b[2]));
    n -= 3;
    a += 3;
    b += 3;
  }
  for (; n > 0; --n) in_eights += evenbit_in_eights(evenbit_in_fours(*a++ ^ *b++));
  return count + evenbit_total(in_eights);
}

/* v = x / 255 */
static inline void evenbit_normalize(const uint8_t* image, const evenbit_tail* tail) {
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    for (int32_t c = 0; c < tail->channels; ++c) tail->pixel[c] = (float)*image++ / 255.0f;
    evenbit_finish(tail, pixel);
  }
}

/* v = x */
static inline void evenbit_elementwise(const float* in, const evenbit_tail* tail) {
  const int32_t channels = tail->channels;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    memcpy(tail->pixel, in + pixel * channels, (size_t)channels * sizeof *in);
    evenbit_finish(tail, pixel);
  }
}

/* v = x * factor; the factor's step is 0 where every pixel is multiplied by a vector */
static inline void evenbit_multiply(const float* in, const float* factor, int32_t step, const evenbit_tail* tail) {
  const int32_t channels = tail->channels;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    for (int32_t c = 0; c < channels; ++c) tail->pixel[c] = in[pixel * channels + c] * factor[pixel * step + c];
    evenbit_finish(tail, pixel);
  }
}

/* v = (u * u) * u with u = x * scale + offset */
static inline void evenbit_cube(const float* in, const float* scale, const float* offset, const evenbit_tail* tail) {
  const int32_t channels = tail->channels;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    for (int32_t c = 0; c < channels; ++c) {
      const float u = in[pixel * channels + c] * scale[c] + offset[c];
      tail->pixel[c] = u * u * u;
    }
    evenbit_finish(tail, pixel);
  }
}

/* The channels of several maps, one map's after the other's */
static inline void evenbit_concat(const evenbit_part* parts, int32_t count, const evenbit_tail* tail) {
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    float* next = tail->pixel;
    for (const evenbit_part* part = parts; part < parts + count; next += part->channels, ++part) {
      memcpy(next, part->map + pixel * part->channels, (size_t)part->channels * sizeof *next);
    }
    evenbit_finish(tail, pixel);
  }
}

/* A map as a vector, each channel pixel by pixel */
static inline void evenbit_flatten(const float* in, int32_t pixels, int32_t channels, const evenbit_tail* tail) {
  float* next = tail->pixel;
  for (int32_t c = 0; c < channels; ++c) {
    for (int32_t pixel = 0; pixel < pixels; ++pixel) *next++ = in[pixel * channels + c];
  }
  evenbit_finish(tail, 0);
}

/* v = sum of x * w over kernel rows, kernel columns and the channels of the output's group, in this order, from 0 */
static inline void evenbit_conv(const float* in, const evenbit_window* window, float* taps, const float* weight,
                                int32_t groups, const evenbit_tail* tail) {
  const int32_t channels = window->channels, inputs = channels / groups, outputs = tail->channels / groups;
  const int32_t size = window->kernel_height * window->kernel_width;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    const float* x = evenbit_float_taps(in, window, pixel / tail->width, pixel % tail->width, taps);
    const float* w = weight;
    for (int32_t o = 0; o < tail->channels; ++o) {
      float v = 0.0f;
      if (groups == 1) {
        for (int32_t i = 0; i < size * channels; ++i) v += x[i] * *w++;
      } else {
        for (int32_t tap = 0; tap < size; ++tap) {
          const float* first = x + tap * channels + o / outputs * inputs;
          for (int32_t i = 0; i < inputs; ++i) v += first[i] * *w++;
        }
      }
      tail->pixel[o] = v;
    }
    evenbit_finish(tail, pixel);
  }
}

/* v = sum of q * w, exact, with q the input times `multiplier`, rounded */
static inline void evenbit_int8_conv(const float* in, const evenbit_window* window, int8_t* taps, const int8_t* weight,
                                     float multiplier, const evenbit_tail* tail) {
  const int32_t fan_in = window->kernel_height * window->kernel_width * window->channels;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    const int8_t* q = evenbit_int8_taps(in, window, pixel / tail->width, pixel % tail->width, multiplier, taps);
    const int8_t* w = weight;
    for (int32_t o = 0; o < tail->channels; ++o) {
      int32_t v = 0;
      for (int32_t i = 0; i < fan_in; ++i) v += q[i] * *w++;
      tail->pixel[o] = (float)v;
    }
    evenbit_finish(tail, pixel);
  }
}

/* v = K - 2 * (number of differing bits), K = kernel height * kernel width * channels of the output's group */
static inline void evenbit_binary_conv(const evenbit_word* in, const evenbit_window* window, evenbit_word* taps,
                                       const evenbit_word* weight, int32_t groups, const evenbit_tail* tail) {
  const int32_t size = window->kernel_height * window->kernel_width;
  const int32_t inputs = window->channels / groups, outputs = tail->channels / groups;
  const int32_t fan_in = size * inputs, words = evenbit_words(fan_in);
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    const int32_t y = pixel / tail->width, x = pixel % tail->width;
    for (int32_t group = 0; group < groups; ++group) {
      const evenbit_word* bits = evenbit_bit_taps(in, window, group * inputs, inputs, y, x, taps);
      for (int32_t o = group * outputs; o < (group + 1) * outputs; ++o) {
        tail->pixel[o] = (float)(fan_in - 2 * evenbit_differing(bits, weight + o * words, words));
      }
    }
    evenbit_finish(tail, pixel);
  }
}

/* From -inf on, v = x if x > v else v in the order of kernel rows and columns; padding never wins. */
static inline void evenbit_max_pool(const float* in, const evenbit_window* window, const evenbit_tail* tail) {
  const int32_t channels = tail->channels;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    const int32_t top = pixel / tail->width * window->stride_y - window->padding_y;
    const int32_t left = pixel % tail->width * window->stride_x - window->padding_x;
    for (int32_t c = 0; c < channels; ++c) tail->pixel[c] = -INFINITY;
    for (int32_t row = top; row < top + window->kernel_height; ++row) {
      for (int32_t column = left; column < left + window->kernel_width; ++column) {
        if (row < 0 || row >= window->height || column < 0 || column >= window->width) continue;
        const float* x = in + (row * window->width + column) * channels;
        for (int32_t c = 0; c < channels; ++c) {
          if (x[c] > tail->pixel[c]) tail->pixel[c] = x[c];
        }
      }
    }
    evenbit_finish(tail, pixel);
  }
}

/* The values of the window summed in the order of kernel rows and columns from 0, then divided by their number. */
static inline void evenbit_avg_pool(const float* in, const evenbit_window* window, const evenbit_tail* tail) {
  const int32_t channels = tail->channels;
  const float size = (float)(window->kernel_height * window->kernel_width);
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    const int32_t top = pixel / tail->width * window->stride_y, left = pixel % tail->width * window->stride_x;
    for (int32_t c = 0; c < channels; ++c) tail->pixel[c] = 0.0f;
    for (int32_t row = top; row < top + window->kernel_height; ++row) {
      for (int32_t column = left; column < left + window->kernel_width; ++column) {
        const float* x = in + (row * window->width + column) * channels;
        for (int32_t c = 0; c < channels; ++c) tail->pixel[c] += x[c];
      }
    }
    for (int32_t c = 0; c < channels; ++c) tail->pixel[c] /= size;
    evenbit_finish(tail, pixel);
  }
}

/* The threshold at which the sign of scale * x + offset + e turns, e being the input: one float further up where the
 * scale is negative, since the comparison is then turned round; and where it is 0, one that no x or every x passes. */
static inline void evenbit_threshold(const float* in, const float* scale, const float* offset,
                                     const evenbit_tail* tail) {
  for (int32_t c = 0; c < tail->channels; ++c) {
    float* t = tail->pixel + c;
    if (scale[c] == 0.0f) {
      *t = offset[c] + in[c] >= 0.0f ? -INFINITY : INFINITY;
    } else {
      *t = (-offset[c] - in[c]) / scale[c];
      if (scale[c] < 0.0f) *t = nextafterf(*t, INFINITY);
    }
  }
  evenbit_finish(tail, 0);
}

#endif
