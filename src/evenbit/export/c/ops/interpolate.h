/* Mixes two columns in each of two rows, then the two results. `columns` and `rows` hold two indices for each column
 * and row of the result. */
static inline void evenbit_interpolate(const float* in, const int32_t* rows, const float* row_weights,
                                       const int32_t* columns, const float* column_weights, int32_t width,
                                       const evenbit_tail* tail) {
  const int32_t channels = tail->channels;
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    const int32_t y = pixel / tail->width * 2, x = pixel % tail->width * 2;
    const float* const above = in + rows[y] * width * channels;
    const float* const below = in + rows[y + 1] * width * channels;
    for (int32_t c = 0; c < channels; ++c) {
      const int32_t left = columns[x] * channels + c, right = columns[x + 1] * channels + c;
      const float upper = above[left] * column_weights[x] + above[right] * column_weights[x + 1];
      const float lower = below[left] * column_weights[x] + below[right] * column_weights[x + 1];
      tail->pixel[c] = upper * row_weights[y] + lower * row_weights[y + 1];
    }
    evenbit_finish(tail, pixel);
  }
}
