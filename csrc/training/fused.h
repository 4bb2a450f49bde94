// The elementwise work of training on a CPU: what torch does in many passes over a map, in one.
//
// A map is x[N][P][C]: N images of P pixels with C channels each, the channels innermost (torch: channels_last). Its
// elements T are float, or BFloat16 to move half the bytes, which is what bounds these loops. All maps of a call have
// the same T. With n an image, p a pixel and c a channel, the arithmetic is, in float32 whatever T is,
//
//   moments             mean[n][c] = sum_p x / P              var[n][c] = sum_p (x - mean[n][c])^2 / P
//                       third[n][c] = sum_p (x - mean[n][c])^3 / P
//
//   sign_forward        u = x * scale[n][c] + offset[n][k][c] y = +1 if u >= 0 else -1
//   sign_backward_sums  h = g * window(u)                     dscale[n][c] = sum_p h * x       doffset[n][k][c] = sum h
//   sign_backward       dx = h * scale[n][c] + x * a[n][c] + b[n][c] + (x - mean[n][c])^2 * d[n][c]
//
//   rprelu_forward      u = y * scale[c] + offset[c] + r      z = (u if u >= 0 else u * slope[c]) + shift[c]
//   rprelu_backward     du = g if u >= 0 else g * slope[c]
//                       sums[n][0..3][c] = sum_p du, du * y, (0 if u >= 0 else g * u), g
//   norm_backward       dy = du * scale[c] + y * a[c] + b[c]
//
// where k is the cell that p lies in, g is the gradient of the result, a, b and d carry the gradient of the moments,
// and r is the shortcut; the third moment, mean with d, and r may be missing. The sum of doffset runs over the pixels
// of the cell. Each sum runs over fixed lanes that are added up at the end, image by image: the results do not depend
// on the instruction set or on the number of threads. Those that go into a map of BFloat16 are rounded to the nearest.
#pragma once

#include "base/threads.h"
#include "training/bfloat16.h"

namespace evenbit::training {

struct Size {
  int images, pixels, channels;
};

// A map cut into cells: the pixel at (y, x) lies in the cell (y * rows / height, x * columns / width), rounded down.
struct Cells {
  int height, width, rows, columns;
  int count() const { return rows * columns; }
};

// What stands for the derivative of the sign (evenbit/nn/sign.py).
enum class Window { clip, polynomial, identity };

template <typename T>
void moments(Pool& pool, Size size, const T* x, float* mean, float* var, float* third);

template <typename T>
void sign_forward(Pool& pool, Size size, const Cells& cells, const T* x, const float* scale, const float* offset, T* y);
template <typename T>
void sign_backward_sums(Pool& pool, Size size, const Cells& cells, Window window, const T* g, const T* x,
                        const float* scale, const float* offset, float* dscale, float* doffset);
template <typename T>
void sign_backward(Pool& pool, Size size, const Cells& cells, Window window, const T* g, const T* x, const float* scale,
                   const float* offset, const float* a, const float* b, const float* mean, const float* d, T* dx);

template <typename T>
void rprelu_forward(Pool& pool, Size size, const T* y, const T* r, const float* scale, const float* offset,
                    const float* slope, const float* shift, T* z);
template <typename T>
void rprelu_backward(Pool& pool, Size size, const T* g, const T* y, const T* r, const float* scale, const float* offset,
                     const float* slope, T* du, float* sums);
template <typename T>
void norm_backward(Pool& pool, Size size, const T* du, const T* y, const float* scale, const float* a, const float* b,
                   T* dy);

}  // namespace evenbit::training
