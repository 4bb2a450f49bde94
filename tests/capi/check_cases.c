/* Runs the cases in a file that cases.py wrote through the C API, and says where logits are not what they should be.
 *
 *     check_cases cases CASES       every case, on every instruction set, with 1, 2 and 3 threads
 *     check_cases damage FILE.evb   the network damaged in many ways: refused, or as good as before
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evenbit.h"

enum { REFUSED = 0, LOADED = 1, FLOATS = 2, BYTES = 3 }; /* what a case expects, as in cases.py */

static long failures = 0;

static void fail(const char* what, const char* isa, int threads, const char* detail) {
  printf("FAILED %s (%s, %d threads): %s\n", what, isa, threads, detail);
  ++failures;
}

static void die(const char* message) {
  fprintf(stderr, "%s\n", message);
  exit(2);
}

static void* must_allocate(size_t size) {
  void* memory = malloc(size ? size : 1);
  if (!memory) die("out of memory");
  return memory;
}

static void must_read(FILE* file, void* to, size_t size) {
  if (fread(to, 1, size, file) != size) die("the file of cases ends early");
}

static void* read_block(FILE* file, size_t* size) {
  uint64_t length;
  void* data;
  must_read(file, &length, sizeof length);
  data = must_allocate((size_t)length);
  must_read(file, data, (size_t)length);
  *size = (size_t)length;
  return data;
}

static int is_nan(float v) { return v != v; }

/* Of a NaN only that it is one. */
static int same(const float* found, const float* expected, size_t count) {
  size_t i;
  for (i = 0; i < count; ++i) {
    if (memcmp(&found[i], &expected[i], sizeof *found) != 0 && !(is_nan(found[i]) && is_nan(expected[i]))) return 0;
  }
  return 1;
}

static evenbit_status run(evenbit_network* network, uint64_t kind, const void* images, size_t count, float* logits) {
  return kind == FLOATS ? evenbit_run_float(network, images, count, logits)
                        : evenbit_run_uint8(network, images, count, logits);
}

/* The images together, and the first of them alone, which is computed by all threads together. */
static void check_logits(evenbit_network* network, const char* name, const char* isa, int threads, uint64_t kind,
                         const void* images, const float* expected, size_t values) {
  const size_t classes = (size_t)evenbit_classes(network);
  const size_t count = values / classes;
  float* logits = must_allocate(values * sizeof *logits);
  size_t part;
  for (part = count; part > 0; part = part > 1 ? 1 : 0) {
    if (run(network, kind, images, part, logits) != EVENBIT_OK) {
      fail(name, isa, threads, "does not run");
    } else if (!same(logits, expected, part * classes)) {
      fail(name, isa, threads, "gives other logits");
    }
  }
  free(logits);
}

static int check_cases(const char* path) {
  FILE* file = fopen(path, "rb");
  uint64_t kind, cases;
  long runs = 0;
  uint64_t index;
  int i;
  if (!file) die("cannot open the file of cases");
  must_read(file, &cases, sizeof cases);
  for (index = 0; index < cases; ++index) {
    size_t name_size, size, images_size, logits_size;
    char* name = read_block(file, &name_size);
    void* data = read_block(file, &size);
    void *images, *logits;
    const char* isa;
    must_read(file, &kind, sizeof kind);
    images = read_block(file, &images_size);
    logits = read_block(file, &logits_size);
    for (i = 0; (isa = evenbit_isa(i)) != NULL; ++i) {
      int threads;
      for (threads = 1; threads <= (kind < FLOATS ? 1 : 3); ++threads) {
        char error[200] = "";
        evenbit_network* network = evenbit_load(data, size, threads, isa, error, sizeof error);
        ++runs;
        if (!network != (kind == REFUSED)) fail(name, isa, threads, network ? "is not refused" : error);
        if (!network && (!error[0] || strchr(error, '\n'))) fail(name, isa, threads, "is refused without a reason");
        if (network && kind >= FLOATS) {
          check_logits(network, name, isa, threads, kind, images, logits, logits_size / sizeof(float));
        }
        evenbit_free(network);
      }
    }
    free(name), free(data), free(images), free(logits);
  }
  fclose(file);
  for (i = 0; evenbit_isa(i); ++i) printf("%s ", evenbit_isa(i));
  printf("%" PRIu64 " cases %ld runs %ld failures\n", cases, runs, failures);
  return failures != 0;
}

/* Loads a copy that ends where its memory ends, so that a read past it is seen by a sanitizer. */
static int load_damaged(const unsigned char* data, size_t size, const float* expected) {
  char error[200];
  unsigned char* copy = must_allocate(size);
  evenbit_network* network;
  memcpy(copy, data, size);
  network = evenbit_load(copy, size, 1, "scalar", error, sizeof error);
  free(copy);
  if (network) {
    const size_t pixels = (size_t)evenbit_channels(network) * evenbit_height(network) * evenbit_width(network);
    const size_t classes = (size_t)evenbit_classes(network);
    uint8_t* image = must_allocate(pixels);
    float* logits = must_allocate(classes * sizeof *logits);
    memset(image, 100, pixels);
    if (evenbit_run_uint8(network, image, 1, logits) != EVENBIT_OK || !same(logits, expected, classes)) {
      fail("damaged file", "scalar", 1, "is accepted and gives other logits");
    }
    free(image), free(logits);
  }
  evenbit_free(network);
  return network != NULL;
}

static uint64_t random_state = 1;

static size_t random_below(size_t limit) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
  return (size_t)(random_state >> 33) % limit;
}

static int check_damage(const char* path) {
  FILE* file = fopen(path, "rb");
  unsigned char *data = must_allocate(1 << 20), *part = must_allocate(1 << 20);
  size_t size, i, length, from;
  long tried = 0, accepted = 0;
  evenbit_network* network;
  float* expected;
  uint8_t* image;
  if (!file) die("cannot open the network");
  size = fread(data, 1, 1 << 20, file);
  fclose(file);
  network = evenbit_load(data, size, 1, "scalar", NULL, 0);
  if (!network) die("the network cannot be loaded");
  length = (size_t)evenbit_channels(network) * evenbit_height(network) * evenbit_width(network);
  image = must_allocate(length);
  memset(image, 100, length);
  expected = must_allocate((size_t)evenbit_classes(network) * sizeof *expected);
  if (evenbit_run_uint8(network, image, 1, expected) != EVENBIT_OK) die("the network does not run");
  evenbit_free(network);
  if (!load_damaged(data, size, expected)) die("the network is refused");

  for (i = 0; i < size; ++i, ++tried) {
    if (load_damaged(data, i, expected)) fail("truncated file", "scalar", 1, "is accepted");
  }
  for (i = 0; i < 8 * size; ++i, ++tried) {
    data[i / 8] ^= 1u << i % 8;
    accepted += load_damaged(data, size, expected);
    data[i / 8] ^= 1u << i % 8;
  }
  /* A stretch of bytes is overwritten with one from elsewhere, or with one byte again and again. */
  for (i = 0; i < 5000; ++i, ++tried) {
    memcpy(part, data, size);
    length = 1 + random_below(40);
    from = random_below(size - length);
    if (i % 2) {
      memmove(part + random_below(size - length), part + from, length);
    } else {
      memset(part + from, "[{\"0-9,.e\xff"[random_below(11)], length);
    }
    accepted += load_damaged(part, size, expected);
  }
  printf("%ld tried %ld accepted %ld failures\n", tried, accepted, failures);
  free(data), free(part), free(image), free(expected);
  return failures != 0;
}

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "cases") == 0) return check_cases(argv[2]);
  if (argc == 3 && strcmp(argv[1], "damage") == 0) return check_damage(argv[2]);
  die("usage: check_cases cases CASES | check_cases damage FILE.evb");
  return 2;
}
