/* The values that the window at output (y, x) reads, tap after tap; outside the map it reads 0. Each is multiplied by
 * `multiplier` and rounded to an integer from -127 to 127, halves to even. */
static inline const int8_t* evenbit_int8_taps(const float* in, const evenbit_window* window, int32_t y, int32_t x,
                                              float multiplier, int8_t* taps) {
  const float half_even = 12582912.0f; /* 1.5 * 2^23: floats of this size are 1 apart, so adding it rounds */
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
