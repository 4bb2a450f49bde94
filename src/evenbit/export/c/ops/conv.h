/* The values that the window at output (y, x) reads, tap after tap; outside the map it reads 0. If `taps` is NULL, the
 * window has no padding and lies in the map in one piece. */
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

/* v = sum of x * w over kernel rows, kernel columns and the channels of the output's group, in this order from 0 */
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
