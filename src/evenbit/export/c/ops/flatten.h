/* A map as a vector: channel by channel, each pixel by pixel */
static inline void evenbit_flatten(const float* in, int32_t pixels, int32_t depth, const evenbit_tail* tail) {
  float* next = tail->pixel;
  for (int32_t c = 0; c < depth; ++c) {
    for (int32_t pixel = 0; pixel < pixels; ++pixel) *next++ = in[pixel * depth + c];
  }
  evenbit_finish(tail, 0);
}
