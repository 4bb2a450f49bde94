// A binary convolution's forward in training, by the kernels that run deployed networks.
//
//   y[n][i][j][o] = scale[o] * (K - 2 popcount(bits(x) xor bits(w)))
//                 = scale[o] * sum over (ky, kx, c) of x[n][i * sy + ky - py][j * sx + kx - px][c] * w[o][ky][kx][c]
//
// with x = +1 outside of the map and K the number of terms. The sums are whole numbers, so y is rounded once, or once
// more where maps are of BFloat16 (training/fused.h).
//
// For its backward, what torch's convolutions, which pad with zeros, leave out: the gradient of the border,
//
//   edges[i][j][o] = sum_n g[n][i][j][o]    where an output reads outside of the map, else 0
#pragma once

#include "base/threads.h"
#include "training/bfloat16.h"

namespace evenbit::training {

struct BinaryConvSize {
  int images, height, width, channels;  // of the input; channels are a multiple of 16
  int outputs, out_height, out_width;   // outputs are a multiple of 16
  int kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x;
};

template <typename T>
void binary_conv(Pool& pool, const BinaryConvSize& size, const T* x, const float* w, const float* scale, T* y);
template <typename T>
void edge_sums(const BinaryConvSize& size, const T* g, float* edges);

}  // namespace evenbit::training
