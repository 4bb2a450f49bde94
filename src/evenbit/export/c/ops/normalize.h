/* v = x / 255 */
static inline void evenbit_normalize(const uint8_t* image, const evenbit_tail* tail) {
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    for (int32_t c = 0; c < tail->channels; ++c) tail->pixel[c] = (float)*image++ / 255.0f;
    evenbit_finish(tail, pixel);
  }
}
