/* v = x */
static inline void evenbit_elementwise(const float* in, const evenbit_tail* tail) {
  const int32_t channels = tail->channels;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    memcpy(tail->pixel, in + pixel * channels, (size_t)channels * sizeof *in);
    evenbit_finish(tail, pixel);
  }
}
