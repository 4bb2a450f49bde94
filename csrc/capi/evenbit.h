/* evenbit in C: runs the binary networks that `evenbit pack` writes, without Python.
 *
 *     char error[256];
 *     evenbit_network *network = evenbit_load(data, size, 1, NULL, error, sizeof error);
 *     if (!network) { fprintf(stderr, "%s\n", error); exit(1); }
 *     float *logits = malloc(evenbit_classes(network) * evenbit_output_height(network) *
 *                            evenbit_output_width(network) * sizeof *logits);
 *     evenbit_run_uint8(network, pixels, 1, logits);
 *     evenbit_free(network);
 *
 * The logits are those of `evenbit.Engine` in Python, bit for bit, on every instruction set and number of threads.
 */
#ifndef EVENBIT_H
#define EVENBIT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define EVENBIT_API __attribute__((visibility("default")))
#else
#define EVENBIT_API
#endif

/* A network ready to run. Several threads may run one network at once: the network's own threads then serve one call,
 * and the others run on their caller's thread alone. Only evenbit_free must not meet another call. In a forked process
 * calls run on their caller's thread alone. */
typedef struct evenbit_network evenbit_network;

typedef enum evenbit_status {
  EVENBIT_OK = 0,
  EVENBIT_NOT_FINITE = 1,    /* an image holds NaN or an infinity; the logits mean nothing */
  EVENBIT_OUT_OF_MEMORY = 2, /* the logits mean nothing; the network can be used on */
  EVENBIT_BAD_ARGUMENT = 3   /* a pointer is NULL, or there is no such map of bits */
} evenbit_status;

/* Loads the .evb file whose bytes are data[0 .. size - 1]; they need no alignment and are not needed afterwards.
 *
 *   threads     1 to 256: threads that run the network, the caller's included.
 *   isa         instruction set, one of evenbit_isa(); NULL for what the environment variable EVENBIT_ISA says, or
 *               else the best.
 *   error       where to put the reason of a failure: one line, cut to error_size bytes with its final zero; may be
 *               NULL if error_size is 0.
 *
 * The file is checked whole before it is used: digest, types, sizes, and every op. A damaged or hostile one is refused.
 * Returns NULL after a failure. */
EVENBIT_API evenbit_network* evenbit_load(const void* data, size_t size, int threads, const char* isa, char* error,
                                          size_t error_size);

/* Frees a network; NULL is allowed. */
EVENBIT_API void evenbit_free(evenbit_network* network);

/* Size of an image. */
EVENBIT_API int evenbit_channels(const evenbit_network* network);
EVENBIT_API int evenbit_height(const evenbit_network* network);
EVENBIT_API int evenbit_width(const evenbit_network* network);

/* Number of classes. */
EVENBIT_API int evenbit_classes(const evenbit_network* network);

/* Size of the map of logits: 1 and 1, but for a network that classifies each pixel of a map. */
EVENBIT_API int evenbit_output_height(const evenbit_network* network);
EVENBIT_API int evenbit_output_width(const evenbit_network* network);

/* Name of a class in UTF-8, which lives as long as the network; NULL if there is no such class. */
EVENBIT_API const char* evenbit_class_name(const evenbit_network* network, int index);

/* Runs `count` images.
 *
 *   images      [count][channels][height][width], from 0 to 255, or from 0.0 to 1.0.
 *   logits      [count][classes][output height][output width], written.
 *
 * The memory for the maps of as many images as are run at once is allocated by the first runs, and kept; later runs
 * allocate a few bytes. */
EVENBIT_API evenbit_status evenbit_run_uint8(evenbit_network* network, const uint8_t* images, size_t count,
                                             float* logits);
EVENBIT_API evenbit_status evenbit_run_float(evenbit_network* network, const float* images, size_t count,
                                             float* logits);

/* Maps of bits that the network computes on the way to its logits: what its binary layers see of an image. */
EVENBIT_API int evenbit_bit_maps(const evenbit_network* network);

/* Size of the map of that index, from 0 on; all 0 if there is no such map. */
EVENBIT_API void evenbit_bit_map_size(const evenbit_network* network, int index, int* channels, int* height,
                                      int* width);

/* That map for one image: 1 for +1 and 0 for -1.
 *
 *   image       [channels][height][width], from 0 to 255.
 *   bits        [channels][height][width] of the map, written.
 */
EVENBIT_API evenbit_status evenbit_read_bits(evenbit_network* network, const uint8_t* image, int index, uint8_t* bits);

/* Names of the instruction sets that this machine can run, best first; NULL from the index on where they end. */
EVENBIT_API const char* evenbit_isa(int index);

#ifdef __cplusplus
}
#endif

#endif /* EVENBIT_H */
