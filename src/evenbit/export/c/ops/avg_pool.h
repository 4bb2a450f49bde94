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
