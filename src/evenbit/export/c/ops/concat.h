/* One of the maps that are joined. */
typedef struct {
  const float* map;
  int32_t channels;
} evenbit_part;

/* The channels of several maps, one map after the other */
static inline void evenbit_concat(const evenbit_part* parts, int32_t count, const evenbit_tail* tail) {
  for (int32_t pixel = 0; pixel < tail->height * tail->width; ++pixel) {
    float* next = tail->pixel;
    for (const evenbit_part* part = parts; part < parts + count; next += part->channels, ++part) {
      memcpy(next, part->map + pixel * part->channels, (size_t)part->channels * sizeof *next);
    }
    evenbit_finish(tail, pixel);
  }
}
