/* v[y, x, c] is value number rows[y] + columns[x] + channels[c] of the input; its values are numbered channel by
 * channel, each row by row */
static inline void evenbit_gather(const float* in, const int32_t* rows, const int32_t* columns, const int32_t* channels,
                                  int32_t pixels, int32_t depth, const evenbit_tail* tail) {
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    const int32_t first = rows[pixel / tail->width] + columns[pixel % tail->width];
    for (int32_t c = 0; c < tail->channels; ++c) {
      const int32_t number = first + channels[c];
      tail->pixel[c] = in[number % pixels * depth + number / pixels];
    }
    evenbit_finish(tail, pixel);
  }
}
