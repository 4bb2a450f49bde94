/* v starts at -inf; then v = x if x > v else v, in the order of kernel rows and columns. Padding never wins. */
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
