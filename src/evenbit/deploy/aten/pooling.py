"""Pooling, means over pixels, and interpolation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

import evenbit.nn.ops  # noqa: F401  (registers torch.ops.evenbit)
from evenbit.deploy.aten.common import padded, pair_for
from evenbit.deploy.lowering import Floats, Lowering, Map, check_images, layout, shape_of, spread_out
from evenbit.errors import CaptureError
from evenbit.nn.ops import pair
from evenbit.nn.trace import BATCH, argument, where
from evenbit.ops import (
    AvgPool,
    Conv,
    Interpolate,
    MaxPool,
    Tail,
)

aten = torch.ops.aten

CHANNELS = 16  # that are interpolated at once to find weights


def _interpolate(lowering: Lowering, node: Node) -> None:
    """Linear interpolation, or means of two at most, by the weights that torch itself uses."""
    source: Any = argument(node, 0)
    check_images(source)
    value = lowering.stored(source)
    _, height, width = lowering.maps[value]
    axes = {"row": (2, height), "column": (3, width)} if len(shape_of(source)) == 4 else {"column": (2, width)}
    fields = {} if len(axes) == 2 else {"rows": np.zeros((1, 2)), "row_weights": np.array([[1.0, 0.0]])}
    for name, (axis, size) in axes.items():
        weights = _weights(node, axis)
        order = np.sort(np.argsort(-weights, axis=1, kind="stable")[:, :2], axis=1)
        if size == 1:
            order, weights = np.zeros((len(weights), 2), int), np.pad(weights, ((0, 0), (0, 1)))
            fields |= {f"{name}s": order, f"{name}_weights": weights}
        else:
            fields |= {f"{name}s": order, f"{name}_weights": np.take_along_axis(weights, order, 1)}
    builder = lowering.builder
    stored = {
        name: builder.tensor(array) if name.endswith("weights") else builder.places_tensor(array)
        for name, array in fields.items()
    }
    lowering.define(node, builder.add(Interpolate, value, Tail(), **stored))


def _weights(node: Node, axis: int) -> Floats:
    """What each row or column of the result takes of those of the source, `[results, sources]`, by torch itself."""
    shape, parts = shape_of(argument(node, 0)), []
    # A channel for each row or column, which is 1 there and 0 elsewhere; a few at once, since the maps are whole.
    for rows in torch.split(torch.eye(shape[axis], dtype=torch.float64), CHANNELS):
        ones = rows.reshape(1, len(rows), *(-1 if index == axis else 1 for index in range(2, len(shape))))
        wide = node.target(ones.expand(1, -1, *shape[2:]), *node.args[1:], **node.kwargs)  # type: ignore[operator]
        parts.append(wide[0].movedim(axis - 1, 1).reshape(len(rows), wide.shape[axis], -1)[:, :, 0].clone())
    found: Floats = torch.cat(parts).T.numpy()
    return found


def _by_products(lowering: Lowering, node: Node) -> None:
    """What works along rows and columns one after the other: a dense layer that reads a column, then one for a row."""
    source: Any = argument(node, 0)
    check_images(source)
    value, places, shape = lowering.value(source), lowering.placed(source), list(shape_of(source))
    for axis in range(2, len(shape)):
        weights = _weights(node, axis)
        pixels = lowering.gathered(node, value, places, axis)
        fields = {"weight": lowering.builder.tensor(weights[:, None, None])}
        value = lowering.builder.add(Conv, pixels, Tail(), **fields)
        shape[axis] = len(weights)
        lowering.maps[value] = (len(weights), *lowering.maps[pixels][1:])
        places = spread_out(tuple(shape), axis)
    lowering.define_moved(node, value, places)


def _mean(lowering: Lowering, node: Node) -> None:
    _reduce(lowering, node, AvgPool)


def _sum(lowering: Lowering, node: Node) -> None:
    """Mean times count."""
    _reduce(lowering, node, AvgPool)
    value = lowering.values[node]
    source: Any = argument(node, 0)
    count = np.prod(shape_of(source)) / np.prod(shape_of(node))
    scale = lowering.builder.tensor(np.full(lowering.maps[value][0], count))
    made = lowering.builder.elementwise(value, Tail(scale=scale))
    lowering.values[node], lowering.maps[made] = made, lowering.maps[value]


def _max(lowering: Lowering, node: Node) -> None:
    _reduce(lowering, node, MaxPool)


def _reduce(lowering: Lowering, node: Node, pool: type[AvgPool | MaxPool]) -> None:
    """Pools over whole axes.

    Over all axes but one, the numbers of that one are channels. Over one axis of a map, the others are channels and
    one side of a map. Else all that is kept are channels.
    """
    source: Any = argument(node, 0)
    result = node.meta["val"]
    to = tuple((result if isinstance(result, torch.Tensor) else result[0]).shape)
    shape = shape_of(source)
    given = argument(node, 1, None)
    axes = {axis % len(shape) for axis in ([given] if isinstance(given, int) else given or range(len(shape)))}
    kept = sorted(set(range(1, len(shape))) - axes)
    if 0 in axes or len(to) < 2:
        axes_of = f"{node.target} over the axes {sorted(axes)} of {list(shape)}"
        raise CaptureError(f"{where(node)}: {axes_of} cannot be packed")
    if len(kept) == 1 and shape[0] == BATCH:
        value, over, size = lowering.stored(source, kept[0]), (1, 1), shape[kept[0]]
    elif len(kept) == 2 and len(axes) == 1 and shape[0] == BATCH:
        (axis,), (size, side) = axes, (shape[index] for index in kept)
        value, over = lowering.stored(source, kept[0]), (1, side) if axis < kept[1] else (side, 1)
    else:
        size = int(np.prod([shape[0] // BATCH, *(shape[index] for index in kept)]))
        last = np.moveaxis(lowering.placed(source), kept, range(1, len(kept) + 1))
        value, over = lowering.gathered(node, lowering.value(source), last.reshape(BATCH, size, -1), 1), (1, 1)
    _, height, width = lowering.maps[value]
    kernel = (height // over[0], width // over[1])
    if pool is AvgPool and over == (1, 1):
        made = lowering.builder.mean(value)
    else:
        made = lowering.builder.add(pool, value, Tail(), kernel=kernel, stride=kernel)
    lowering.maps[made] = (size, *over)
    lowering.values[node] = made
    if over != (1, 1) or to[:2] != (BATCH, size):
        lowering.places[node] = np.arange(BATCH * size * over[0] * over[1]).reshape(to)


def _adaptive_mean(lowering: Lowering, node: Node) -> None:
    source = _pooled(node)
    if not _divides(layout(source), layout(node)):
        if _reads_two_at_most(layout(source), layout(node)):
            _interpolate(lowering, node)
            return
        _by_products(lowering, node)
        return
    kernel = _adaptive_kernel(node, layout(source), layout(node))
    value = lowering.stored(source)
    if layout(node)[1:] == (1, 1):
        lowering.define(node, lowering.builder.mean(value))
    else:
        lowering.define(node, lowering.builder.add(AvgPool, value, Tail(), kernel=kernel, stride=kernel))


def _adaptive_max(lowering: Lowering, node: Node) -> None:
    """The node gives a tuple: the values and their places, of which `pick` takes the first."""
    source = _pooled(node)
    shape = tuple(node.meta["val"][0].shape)
    result = (shape[1], *(1, *shape[2:])[-2:])
    kernel = _adaptive_kernel(node, layout(source), result)
    value = lowering.builder.add(MaxPool, lowering.stored(source), Tail(), kernel=kernel, stride=kernel)
    lowering.values[node] = value
    lowering.maps[value] = result


def _pooled(node: Node) -> Any:
    """What a pooling reads: images or sequences; torch also takes one image, whose channels would come first."""
    source: Any = argument(node, 0)
    axes = 3 if "1d" in str(node.target) else 4
    if len(shape_of(source)) != axes:
        wanted = "[N, C, L]" if axes == 3 else "[N, C, H, W]"
        shape = list(shape_of(source))
        raise CaptureError(f"{where(node)}: {node.target} of {shape} cannot be packed; give it {wanted}")
    check_images(source)
    return source


def _divides(source: Map, result: Map) -> bool:
    return not (source[1] % result[1] or source[2] % result[2])


def _reads_two_at_most(source: Map, result: Map) -> bool:
    """Whether the mean of an adaptive pooling is of two rows and columns at most, as in linear interpolation."""
    sizes = list(zip(source[1:], result[1:], strict=True))
    return all(-(-(i + 1) * n // count) - i * n // count <= 2 for n, count in sizes for i in range(count))


def _adaptive_kernel(node: Node, source: Map, result: Map) -> tuple[int, int]:
    """The window of an adaptive pooling whose windows are all alike."""
    if not _divides(source, result):
        sizes = f"from {source[1]}x{source[2]} to {result[1]}x{result[2]} pixels"
        raise CaptureError(
            f"{where(node)}: an adaptive pooling {sizes} cannot be packed; each size must be a multiple of the new one"
        )
    return source[1] // result[1], source[2] // result[2]


def _pool_window(node: Node) -> dict[str, tuple[int, int]]:
    """Kernel, stride and padding, and with ceil_mode how far the last windows hang over the padding."""
    source = _pooled(node)
    kernel = pair_for(source, argument(node, 1), 1)
    stride = pair_for(source, argument(node, 2, None) or argument(node, 1), 1)
    padding = pair_for(source, argument(node, 3, 0), 0)
    sizes = zip(layout(source)[1:], layout(node)[1:], kernel, stride, padding, strict=True)
    over = [max(0, (count - 1) * step + k - size - 2 * pad) for size, count, k, step, pad in sizes]
    return {"kernel": kernel, "stride": stride, "padding": padding, "overhang": (over[0], over[1])}


def _max_pool(lowering: Lowering, node: Node) -> None:
    if set(pair(argument(node, 4, 1))) != {1}:
        raise CaptureError(f"{where(node)}: max pooling with dilation cannot be packed")
    fields = _pool_window(node)
    lowering.define(node, lowering.builder.add(MaxPool, lowering.stored(argument(node, 0)), Tail(), **fields))


def _avg_pool(lowering: Lowering, node: Node) -> None:
    """Zeros of the padding count as values if torch says so; then they are added before."""
    source: Any = argument(node, 0)
    if argument(node, 6, None):
        raise CaptureError(f"{where(node)}: average pooling with divisor_override cannot be packed")
    fields = _pool_window(node)
    value, (y, x) = lowering.stored(source), fields["padding"]
    if argument(node, 5, True) and (y or x):
        value = padded(lowering, value, (y, y, x, x))
        fields["padding"] = (0, 0)
    lowering.define(node, lowering.builder.add(AvgPool, value, Tail(), **fields))


LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {
    aten.upsample_bilinear2d.vec: _interpolate,
    aten.upsample_linear1d.vec: _interpolate,
    aten.upsample_bicubic2d.vec: _by_products,
    aten._upsample_bicubic2d_aa.vec: _by_products,
    aten._upsample_bilinear2d_aa.vec: _by_products,
    aten.amax.default: _max,
    aten.max.dim: _max,
    aten.mean.dim: _mean,
    aten.sum.dim_IntList: _sum,
    aten.adaptive_avg_pool2d.default: _adaptive_mean,
    aten.adaptive_max_pool2d.default: _adaptive_max,
    aten.max_pool2d.default: _max_pool,
    aten.max_pool1d.default: _max_pool,
    aten.avg_pool2d.default: _avg_pool,
    aten.avg_pool1d.default: _avg_pool,
    aten.adaptive_avg_pool1d.default: _adaptive_mean,
    aten.adaptive_max_pool1d.default: _adaptive_max,
}
