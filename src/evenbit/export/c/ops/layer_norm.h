/* d = x - sum(x) / C; v = d * (1 / sqrt(sum(d * d) / C + epsilon)) */
static inline void evenbit_layer_norm(const float* in, float epsilon, const evenbit_tail* tail) {
  const int32_t channels = tail->channels;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    const float* const x = in + pixel * channels;
    const float mean = evenbit_sum(x, channels) / (float)channels;
    float lanes[16] = {0}, sum = 0.0f;
    for (int32_t c = 0; c < channels; ++c) {
      const float d = x[c] - mean;
      tail->pixel[c] = d;
      lanes[c % 16] += d * d;
    }
    for (int lane = 0; lane < 16; ++lane) sum += lanes[lane];
    const float factor = 1.0f / sqrtf(sum / (float)channels + epsilon);
    for (int32_t c = 0; c < channels; ++c) tail->pixel[c] *= factor;
    evenbit_finish(tail, pixel);
  }
}
