/* v = x * factor; `factor_step` is 0 if every pixel is multiplied by the same vector */
static inline void evenbit_multiply(const float* in, const float* factor, int32_t factor_step,
                                    const evenbit_tail* tail) {
  const int32_t channels = tail->channels;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    for (int32_t c = 0; c < channels; ++c) tail->pixel[c] = in[pixel * channels + c] * factor[pixel * factor_step + c];
    evenbit_finish(tail, pixel);
  }
}
