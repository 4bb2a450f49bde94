/* v = -x */
static inline void evenbit_negate(const float* in, const evenbit_tail* tail) {
  const int32_t channels = tail->channels;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    for (int32_t c = 0; c < channels; ++c) tail->pixel[c] = -in[pixel * channels + c];
    evenbit_finish(tail, pixel);
  }
}
