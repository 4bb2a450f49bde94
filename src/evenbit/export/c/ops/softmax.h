/* exp(v) for v <= 0, as 2^f * 2^n: see evenbit/ops/softmax.py. */
static inline float evenbit_exponential(float v) {
  static const float power[] = {1.0f,           0.693147206f,   0.240226469f,   0.0555032878f,
                                0.00961848896f, 0.00133999315f, 0.000153458113f};
  const float half_even = 12582912.0f; /* 1.5 * 2^23: floats of this size are 1 apart, so adding it rounds */
  const float scaled = v * 1.44269504f, z = scaled < -120.0f ? -120.0f : scaled;
  const float n = z + half_even - half_even, f = z - n;
  const uint32_t bits = (uint32_t)((n >= -120.0f ? (int32_t)n : -120) + 127) << 23; /* of 2^n; n may be a NaN */
  float p = power[6], scale;
  memcpy(&scale, &bits, sizeof scale);
  for (int i = 5; i >= 0; --i) p = p * f + power[i];
  return p * scale;
}

/* Each channel's share of the sum of the exponentials */
static inline void evenbit_softmax(const float* in, const evenbit_tail* tail) {
  const int32_t channels = tail->channels;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    const float* const x = in + pixel * channels;
    float largest = -INFINITY, sum;
    for (int32_t c = 0; c < channels; ++c) largest = x[c] > largest ? x[c] : largest;
    for (int32_t c = 0; c < channels; ++c) tail->pixel[c] = evenbit_exponential(x[c] - largest);
    sum = evenbit_sum(tail->pixel, channels);
    for (int32_t c = 0; c < channels; ++c) tail->pixel[c] /= sum;
    evenbit_finish(tail, pixel);
  }
}
