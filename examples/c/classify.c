/* Names what is on a picture, with a network that `evenbit pack` has written.
 *
 *     classify MODEL.evb IMAGE
 *
 * IMAGE is a binary PPM (P6) or PGM (P5) of the network's size, or else the bytes of one image as they are: all rows of
 * its first channel, then of the next. Prints the likeliest classes, a line each: class, probability, logit.
 *
 *     cc -std=c99 classify.c -o classify $(pkg-config --cflags --libs evenbit) -lm
 */
#include <ctype.h>
#include <evenbit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOP = 5 };

static void die(const char* subject, const char* message) {
  fprintf(stderr, "classify: %s: %s\n", subject, message);
  exit(2);
}

static void* allocate(size_t size) {
  void* memory = malloc(size ? size : 1);
  if (!memory) die("memory", "there is not enough");
  return memory;
}

static unsigned char* read_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  size_t capacity = 1 << 16;
  unsigned char* data;
  if (!file) die(path, "cannot be opened");
  data = allocate(capacity);
  *size = 0;
  for (;;) {
    *size += fread(data + *size, 1, capacity - *size, file);
    if (*size < capacity) break;
    capacity *= 2;
    data = realloc(data, capacity);
    if (!data) die(path, "does not fit into memory");
  }
  if (ferror(file)) die(path, "cannot be read");
  fclose(file);
  return data;
}

/* The next number of a PNM header, past spaces and comments; -1 if there is none. */
static long header_number(const unsigned char* data, size_t size, size_t* at) {
  long value = 0;
  size_t start;
  while (*at < size && (isspace(data[*at]) || data[*at] == '#')) {
    if (data[*at] == '#') {
      while (*at < size && data[*at] != '\n') ++*at;
    } else {
      ++*at;
    }
  }
  for (start = *at; *at < size && isdigit(data[*at]) && value < 100000; ++*at) value = 10 * value + (data[*at] - '0');
  return *at > start ? value : -1;
}

/* Planes of the image, as the network takes them. */
static unsigned char* read_image(const char* path, const evenbit_network* network) {
  const size_t channels = (size_t)evenbit_channels(network);
  const size_t pixels = (size_t)evenbit_height(network) * (size_t)evenbit_width(network);
  size_t size, at = 2, pixel, channel;
  unsigned char* data = read_file(path, &size);
  unsigned char* planes;
  char wanted[120];
  if (size < 2 || data[0] != 'P' || (data[1] != '5' && data[1] != '6')) {
    sprintf(wanted, "is no PPM or PGM, and not the %lu bytes of one image", (unsigned long)(channels * pixels));
    if (size != channels * pixels) die(path, wanted);
    return data;
  }
  sprintf(wanted, "should have %d x %d pixels (width x height) of %d channels with 255 levels", evenbit_width(network),
          evenbit_height(network), evenbit_channels(network));
  if (channels != (data[1] == '6' ? 3u : 1u) || header_number(data, size, &at) != evenbit_width(network) ||
      header_number(data, size, &at) != evenbit_height(network) || header_number(data, size, &at) != 255) {
    die(path, wanted);
  }
  ++at; /* the one space that ends the header */
  if (at > size || size - at < channels * pixels) die(path, "ends too early");
  planes = allocate(channels * pixels);
  for (pixel = 0; pixel < pixels; ++pixel) {
    for (channel = 0; channel < channels; ++channel) {
      planes[channel * pixels + pixel] = data[at + pixel * channels + channel];
    }
  }
  free(data);
  return planes;
}

/* The likeliest classes, by softmax of the logits. */
static void print_classes(const evenbit_network* network, const float* logits) {
  const int classes = evenbit_classes(network);
  char* printed = allocate((size_t)classes);
  double sum = 0, largest = logits[0];
  int i, rank;
  memset(printed, 0, (size_t)classes);
  for (i = 1; i < classes; ++i) largest = logits[i] > largest ? logits[i] : largest;
  for (i = 0; i < classes; ++i) sum += exp(logits[i] - largest);
  for (rank = 0; rank < TOP && rank < classes; ++rank) {
    int best = -1;
    for (i = 0; i < classes; ++i) {
      if (!printed[i] && (best < 0 || logits[i] > logits[best])) best = i;
    }
    printed[best] = 1;
    /* Nine digits tell every float from every other. */
    printf("%s\t%.6f\t%.9g\n", evenbit_class_name(network, best), exp(logits[best] - largest) / sum, logits[best]);
  }
  free(printed);
}

int main(int argc, char** argv) {
  char error[256];
  size_t size;
  unsigned char *file, *image;
  float* logits;
  evenbit_network* network;
  if (argc != 3) die("usage", "classify MODEL.evb IMAGE");
  file = read_file(argv[1], &size);
  network = evenbit_load(file, size, 1, NULL, error, sizeof error);
  free(file);
  if (!network) die(argv[1], error);
  if (evenbit_output_height(network) > 1 || evenbit_output_width(network) > 1) {
    die(argv[1], "the network classifies each pixel of a map, not the image");
  }
  image = read_image(argv[2], network);
  logits = allocate((size_t)evenbit_classes(network) * sizeof *logits);
  if (evenbit_run_uint8(network, image, 1, logits) != EVENBIT_OK) die(argv[2], "cannot be run");
  print_classes(network, logits);
  free(image);
  free(logits);
  evenbit_free(network);
  return 0;
}
