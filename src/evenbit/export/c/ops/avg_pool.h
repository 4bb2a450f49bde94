/* The window's values on the map are summed from 0, in the order of kernel rows and columns, then divided by their
 * number. */
static inline void evenbit_avg_pool(const float* in, const evenbit_window* window, const evenbit_tail* tail) {
  const int32_t channels = tail->channels;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    const int32_t top = pixel / tail->width * window->stride_y - window->padding_y;
    const int32_t left = pixel % tail->width * window->stride_x - window->padding_x;
    int32_t count = 0;
    for (int32_t c = 0; c < channels; ++c) tail->pixel[c] = 0.0f;
    for (int32_t row = top; row < top + window->kernel_height; ++row) {
      for (int32_t column = left; column < left + window->kernel_width; ++column) {
        if (row < 0 || row >= window->height || column < 0 || column >= window->width) continue;
        ++count;
        const float* x = in + (row * window->width + column) * channels;
        for (int32_t c = 0; c < channels; ++c) tail->pixel[c] += x[c];
      }
    }
    for (int32_t c = 0; c < channels; ++c) tail->pixel[c] /= (float)count;
    evenbit_finish(tail, pixel);
  }
}
