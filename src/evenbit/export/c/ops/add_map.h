/* v = x + map, which has a value for each of its cells */
static inline void evenbit_add_map(const float* in, const float* map, int32_t map_rows, int32_t map_columns,
                                   const evenbit_tail* tail) {
  const int32_t channels = tail->channels, height = tail->height, width = tail->width;
  for (int32_t pixel = 0; pixel < height * width; ++pixel) {
    const int32_t row = pixel / width * map_rows / height, column = pixel % width * map_columns / width;
    const float* const added = map + (row * map_columns + column) * channels;
    for (int32_t c = 0; c < channels; ++c) tail->pixel[c] = in[pixel * channels + c] + added[c];
    evenbit_finish(tail, pixel);
  }
}
