/* v[y, x, c] = sum over i of in[y, x, i] * other[y, i, c], in this order from 0 */
static inline void evenbit_matmul(const float* in, const float* other, int32_t depth, const evenbit_tail* tail) {
  const int32_t channels = tail->channels;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    const float* w = other + pixel / tail->width * depth * channels;
    for (int32_t c = 0; c < channels; ++c) tail->pixel[c] = 0.0f;
    for (int32_t i = 0; i < depth; ++i) {
      const float x = in[pixel * depth + i];
      for (int32_t c = 0; c < channels; ++c) tail->pixel[c] += x * *w++;
    }
    evenbit_finish(tail, pixel);
  }
}
