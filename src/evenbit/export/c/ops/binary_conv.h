/* `bits` bits of a pixel, from channel `first` on; at most a word. */
static inline evenbit_word evenbit_bits(const evenbit_word* pixel, int32_t first, int32_t bits) {
  const int32_t index = first / EVENBIT_WORD_BITS, shift = first % EVENBIT_WORD_BITS;
  evenbit_word word = pixel[index] >> shift;
  if (shift + bits > EVENBIT_WORD_BITS) word |= pixel[index + 1] << (EVENBIT_WORD_BITS - shift);
  return word & EVENBIT_ALL_BITS >> (EVENBIT_WORD_BITS - bits);
}

/* The bits of `channels` channels, from `first` on, that the window at output (y, x) reads, tap after tap. Outside the
 * map it reads +1, a set bit for each channel. As in the weights, there is no gap between the bits of two taps. If
 * `taps` is NULL, the window has no padding and lies in the map in one piece. */
static inline const evenbit_word* evenbit_bit_taps(const evenbit_word* in, const evenbit_window* window, int32_t first,
                                                   int32_t channels, int32_t y, int32_t x, evenbit_word* taps) {
  const int32_t words = evenbit_words(window->channels);
  const int whole = channels == window->channels; /* then words are used unchanged: their spare bits are 0 */
  const int32_t top = y * window->stride_y - window->padding_y, left = x * window->stride_x - window->padding_x;
  evenbit_word *next = taps, word = 0;
  int32_t filled = 0; /* bits in `word`, which is written next */
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

/* The sum of three bits at each position of a word: its low bit in `sum`, its high bit in `carry`. */
typedef struct {
  evenbit_word sum, carry;
} evenbit_added;

static inline evenbit_added evenbit_add(evenbit_word a, evenbit_word b, evenbit_word c) {
  const evenbit_word either = a ^ b;
  const evenbit_added added = {either ^ c, (a & b) | (either & c)};
  return added;
}

/* The number of set bits in each field of 4 bits. */
static inline evenbit_word evenbit_in_fours(evenbit_word word) {
  const evenbit_word in_pairs = word - (word >> 1 & EVENBIT_ALL_BITS / 3);
  return (in_pairs & EVENBIT_ALL_BITS / 5) + (in_pairs >> 2 & EVENBIT_ALL_BITS / 5);
}

/* Adds counts in pairs of 4-bit fields; the sums are in fields of 8 bits. */
static inline evenbit_word evenbit_in_eights(evenbit_word in_fours) {
  return (in_fours & EVENBIT_ALL_BITS / 17) + (in_fours >> 4 & EVENBIT_ALL_BITS / 17);
}

/* The sum of all fields of 8 bits. */
static inline int32_t evenbit_total(evenbit_word in_eights) {
  const evenbit_word in_sixteens = (in_eights & EVENBIT_ALL_BITS / 257) + (in_eights >> 8 & EVENBIT_ALL_BITS / 257);
  return (int32_t)(in_sixteens * (EVENBIT_ALL_BITS / 65535) >> (EVENBIT_WORD_BITS - 16));
}

/* The number of bits in which the n words of a and b differ. Few microcontrollers count bits in one instruction. So
 * seven words are added bit by bit, which gives three words whose bits are worth 1, 2 and 4; then the bits of these are
 * counted in parallel, in fields. */
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
