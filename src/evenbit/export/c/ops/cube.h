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
