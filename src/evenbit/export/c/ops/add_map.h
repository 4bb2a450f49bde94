/* v = x + map */
static inline void evenbit_add_map(const float* in, const float* map, const evenbit_tail* tail) {
  const int32_t channels = tail->channels;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    for (int32_t c = 0; c < channels; ++c) tail->pixel[c] = in[pixel * channels + c] + map[pixel * channels + c];
    evenbit_finish(tail, pixel);
  }
}
