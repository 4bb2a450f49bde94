/* The threshold for x at which the sign of scale * x + offset + e changes, where e is the input. If the scale is
 * negative, it is the next larger float, since the comparison is then reversed. If the scale is 0, it is infinite, so
 * that every x or no x passes. */
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
