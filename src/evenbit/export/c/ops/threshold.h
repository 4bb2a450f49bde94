/* The threshold at which the sign of scale * x + offset + e turns, e being the input: one float further up where the
 * scale is negative, since the comparison is then turned round; and where it is 0, one that no x or every x passes. */
static inline void evenbit_threshold(const float* in, const float* scale, const float* offset,
                                     const evenbit_tail* tail) {
  for (int32_t c = 0; c < tail->channels; ++c) {
    float* t = tail->pixel + c;
    if (scale[c] == 0.0f) {
      *t = offset[c] + in[c] >= 0.0f ? -INFINITY : INFINITY;
    } else {
      *t = (-offset[c] - in[c]) / scale[c];
      if (scale[c] < 0.0f) *t = nextafterf(*t, INFINITY);
    }
  }
  evenbit_finish(tail, 0);
}
