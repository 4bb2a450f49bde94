"""Fused kernels of training on a CPU; csrc/training/fused.h states the arithmetic."""

from typing import Any, TypeAlias

import numpy.typing as npt

Array = npt.NDArray[Any]  # float32; maps are [images, pixels, channels], of float32 or of bfloat16 as int16

def moments(x: Array, mean: Array, var: Array, third: Array | None, threads: int) -> None: ...

# Height and width of a map, and into how many rows and columns of cells it is cut.
Cells: TypeAlias = tuple[int, int, int, int]

def sign_forward(x: Array, scale: Array, offset: Array, y: Array, cells: Cells, threads: int, /) -> None: ...
def sign_backward_sums(
    window: str,
    g: Array,
    x: Array,
    scale: Array,
    offset: Array,
    dscale: Array,
    doffset: Array,
    cells: Cells,
    threads: int,
    /,
) -> None: ...
def sign_backward(
    window: str,
    g: Array,
    x: Array,
    scale: Array,
    offset: Array,
    a: Array,
    b: Array,
    mean: Array | None,
    d: Array | None,
    dx: Array,
    cells: Cells,
    threads: int,
) -> None: ...
def rprelu_forward(
    y: Array, r: Array | None, scale: Array, offset: Array, slope: Array, shift: Array, z: Array, threads: int
) -> None: ...
def rprelu_backward(
    g: Array,
    y: Array,
    r: Array | None,
    scale: Array,
    offset: Array,
    slope: Array,
    du: Array,
    sums: Array,
    threads: int,
) -> None: ...
def norm_backward(du: Array, y: Array, scale: Array, a: Array, b: Array, dy: Array, threads: int, /) -> None: ...

# Those of convolutions are [images, height, width, channels], weights [outputs, height, width, channels], and steps are
# the vertical and horizontal stride and padding.
Steps: TypeAlias = tuple[int, int, int, int]

def binary_conv(x: Array, w: Array, scale: Array, steps: Steps, y: Array, threads: int, /) -> None: ...
def edge_sums(x: Array, w: Array, g: Array, steps: Steps, edges: Array, /) -> None: ...

# Has the C library keep freed memory for the next step, for the rest of the process.
def keep_freed_memory() -> None: ...
