"""Lowering: what is known of a graph's nodes while they become Plan ops; `evenbit.deploy.aten` has the ops.

A Plan's maps are channels, height and width. A node's tensor may have its axes elsewhere: tokens have their channels
last, sequences have no height, and what is reshaped, permuted or split has its numbers in another order than the value
that they are in. Moving numbers is therefore put off: `places` says where each number of such a node lies, found by
doing to the numbers' places what the node does to the numbers. An op that needs a map gets it by `stored`, which adds a
`Flatten` or `Gather` only where the order is not the right one already.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.fx import Node

from evenbit.deploy.builder import Builder
from evenbit.errors import CaptureError
from evenbit.nn.trace import BATCH, argument, where
from evenbit.ops import Flatten, Gather, Tail

aten = torch.ops.aten
Map = tuple[int, int, int]  # channels, height, width
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]  # of a node's numbers, those of all images of the batch one after the other


class Lowering:
    """The state of a lowering: what is known about the nodes so far.

    Attributes:
        builder: Collects the Plan.
        constants: Values of the nodes that do not depend on the images.
        values: Plan names of the nodes that depend on the images.
        parts: Nodes that give several tensors, each as a Plan name and places.
        maps: Channels, height and width of each Plan value.
        places: Where the numbers of a node lie, `[...]` as the node; for nodes whose map is not their value as it is.
        signs: Of values that are bits, the value whose signs they are.
        pads: Zeros that a convolution has to add around its input: above, below, left, right.
        softsigns: Divisions that end a softsign, each with the other nodes of the softsign.
    """

    def __init__(self, graph: torch.fx.Graph) -> None:
        self.builder = Builder()
        self.constants: dict[Node, Any] = {}
        self.values: dict[Node, str] = {}
        self.parts: dict[Node, list[tuple[str, Places]]] = {}
        self.maps: dict[str, Map] = {}
        self.places: dict[Node, Places] = {}
        self.pads: dict[Node, tuple[int, int, int, int]] = {}
        self.signs: dict[str, str] = {}
        self._gathered: dict[tuple[str, Map, bytes], str] = {}
        self.softsigns = _find_softsigns(graph)

    def evaluate(self, item: Any) -> Any:
        """`item` with every constant node replaced by its value."""
        return torch.fx.node.map_arg(item, lambda node: self.constants[node])

    def forget(self, node: Node) -> None:
        """Drops what is known about a node that nothing reads any more: weights and places take much memory."""
        for known in (self.constants, self.values, self.parts, self.places, self.pads):
            known.pop(node, None)

    def define(self, node: Node, value: str, axis: int = 1) -> None:
        """Records that `node` is the Plan value `value`, whose channels are that axis and whose pixels the others."""
        shape = shape_of(node)
        self.maps[value] = layout(node, axis)
        self.values[node] = value
        self.places.pop(node, None)
        if not is_plain(shape, axis):
            self.places[node] = spread_out(shape, axis)

    def define_alike(self, node: Node, value: str, source: Node, like: str) -> None:
        """Records that `node` is the Plan value `value`, whose numbers lie as those of `source` do in `like`."""
        self.values[node] = value
        self.maps[value] = self.maps[like]
        if source in self.places:
            self.places[node] = self.places[source]

    def define_moved(self, node: Node, value: str, places: Places) -> None:
        """Records that the numbers of `node` lie in the Plan value `value` at `places`."""
        self.values[node] = value
        self.places[node] = places

    def value(self, node: Any) -> str:
        """Plan value of an argument, whose numbers may lie in it in another order."""
        if not isinstance(node, Node) or node not in self.values:
            raise CaptureError(f"expected a tensor that depends on the images, not {node}")
        return self.values[node]

    def placed(self, node: Node) -> Places:
        """Where the numbers of a node lie in its value."""
        if node in self.places:
            return self.places[node]
        return spread_out(shape_of(node), 1)

    def stored(self, node: Any, axis: int = 1) -> str:
        """Plan value of an argument as a map: its channels are that axis, its pixels the others."""
        value, shape = self.value(node), shape_of(node)
        if node not in self.places and is_plain(shape, axis):
            return value
        return self.gathered(node, value, self.placed(node), axis)

    def channel_axis(self, node: Node) -> int:
        """The axis of a node, the last or the second, that is as long as its value has channels."""
        return -1 if node.meta["val"].shape[-1] == self.maps[self.value(node)][0] else 1

    def can_be_stored(self, value: str, places: Places) -> bool:
        """Whether `stored` can give the numbers at these places of a value, with channels first or last."""
        size = int(np.prod(self.maps[value]))
        if places.ndim < 2 or not places.size or places.shape[0] % BATCH:
            return True  # what comes of them has a place for its numbers, or is refused, later
        found = (_first_image(places, axis, size) for axis in (1, -1))
        return all(wanted is None or _as_sums(wanted) is not None for wanted in found)

    def rows(self, node: Any) -> str:
        """Plan value of an argument as vectors along its last axis, one pixel each, with those of an image together.

        They do not lie together where tokens come before images, `[L, N, C]`, as inside `nn.MultiheadAttention`.
        """
        order = self._order(node)
        if order is None:
            return self.stored(node, -1)
        channels = self.places[node].shape[-1]
        vectors = self.places[node].reshape(-1, channels)[order].reshape(BATCH, -1, channels)
        return self.gathered(node, self.value(node), vectors, -1)

    def define_rows(self, node: Node, value: str, source: Node) -> None:
        """Records that `node` is the Plan value `value`, made of the pixels that `rows` gives for `source`."""
        order = self._order(source)
        if order is None:
            self.define(node, value, -1)
            return
        shape = tuple(node.meta["val"].shape)
        places = np.empty((len(order), shape[-1]), np.int64)
        places[order] = np.arange(places.size).reshape(BATCH, shape[-1], -1).transpose(0, 2, 1).reshape(places.shape)
        self.maps[value] = (shape[-1], 1, len(order) // BATCH)
        self.define_moved(node, value, places.reshape(shape))

    def _order(self, node: Node) -> Places | None:
        """The order that puts the vectors of each image together; None if they lie so already."""
        if node not in self.places:
            return None
        images = self.places[node][..., 0].reshape(-1) // int(np.prod(self.maps[self.values[node]]))
        order = np.argsort(images, kind="stable")
        wanted = np.repeat(np.arange(BATCH), len(order) // BATCH)
        apart = np.array_equal(images[order], wanted) and not np.array_equal(images, wanted)
        return order if apart else None

    def gathered(self, node: Node, value: str, places: Places, axis: int) -> str:
        """The numbers at `places` of a value as a map for `node`, whose channels are that axis."""
        size = int(np.prod(self.maps[value]))
        wanted = _of_one_image(node, places, axis, size)
        in_order = wanted.size == size and np.array_equal(wanted.reshape(-1), np.arange(size))
        if in_order and wanted.shape == self.maps[value]:
            return value
        return self._moved(node, value, wanted, in_order=in_order)

    def _moved(self, node: Node, value: str, wanted: Places, *, in_order: bool) -> str:
        key = (value, wanted.shape, wanted.tobytes())
        if key in self._gathered:
            return self._gathered[key]
        if value in self.signs:
            made = self.sign(self._moved(node, self.signs[value], wanted, in_order=in_order))
        elif in_order and wanted.shape[1:] == (1, 1):
            made = self.builder.add(Flatten, value, Tail())
        else:
            fields = {name: self.builder.places_tensor(part) for name, part in _parts(node, wanted).items()}
            made = self.builder.add(Gather, value, Tail(), **fields)
        self.maps[made] = wanted.shape
        self._gathered[key] = made
        return made

    def sign(self, value: str) -> str:
        """The bits of a value."""
        made = self.builder.sign(value, self.maps[value][0])
        self.maps[made] = self.maps[value]
        self.signs[made] = value
        return made

    def is_map(self, node: Node, axis: int) -> bool:
        """Whether `stored` with that axis has nothing to move."""
        shape = shape_of(node)
        if node not in self.places:
            return is_plain(shape, axis)
        return self.maps[self.values[node]] == layout(node, axis) and np.array_equal(
            self.places[node], spread_out(shape, axis)
        )

    def is_whole(self, node: Node) -> bool:
        """Whether the node has each number of its value once, in whatever order."""
        if node not in self.places:
            return True
        places, size = self.places[node], int(np.prod(self.maps[self.values[node]]))
        seen = np.zeros(BATCH * size, np.bool_)
        seen[places.reshape(-1)] = True
        return places.size == BATCH * size and bool(seen.all())

    def worked_on(self, node: Any) -> str:
        """Plan value of an argument to work on number by number, in whatever order they lie.

        If the node does not have every number of the value once, a value of just its numbers is made first.
        """
        value = self.value(node)
        if not self.is_whole(node):
            value = self.stored(node)
            self.define(node, value)
        return value

    def in_one_order(self, left: Node, right: Node) -> bool:
        """Whether the numbers of two nodes of one shape lie in the same order in values of the same shape."""
        if not (self.is_whole(left) and self.is_whole(right)):
            return False
        alike = self.maps[self.values[left]] == self.maps[self.values[right]]
        return alike and (
            (left not in self.places and right not in self.places)
            or np.array_equal(self.placed(left), self.placed(right))
        )

    def moves(self, node: Node, axis: int) -> int:
        """How many numbers `stored` with that axis moves."""
        return 0 if self.is_map(node, min(axis, len(shape_of(node)) - 1)) else int(np.prod(shape_of(node)))

    def widened(self, source: Node, node: Node, axis: int = 1) -> str:
        """Plan value of an argument as a map that has the shape of `node`, to which it is broadcast."""
        places = np.broadcast_to(self.placed(source), shape_of(node))
        return self.gathered(node, self.value(source), places, axis)

    def array(self, node: Any, owner: Node, *, minus_infinity: bool = False) -> Floats:
        """Constant argument in float64, checked to be finite; `minus_infinity` allows -inf, as masks hold it."""
        if isinstance(node, Node) and (node in self.values or node in self.parts):
            raise CaptureError(f"{where(owner)}: {owner.target} needs a constant, but is given a computed tensor")
        constant: Floats = torch.as_tensor(self.evaluate(node)).double().cpu().numpy()
        allowed = np.isfinite(constant) | np.isneginf(constant) if minus_infinity else np.isfinite(constant)
        if not allowed.all():
            raise CaptureError(f"{where(owner)}: holds a parameter that is not finite")
        return constant

    def per_channel(self, constant: Floats, node: Node, axis: int | None = None) -> Floats | None:
        """A constant that is combined elementwise with a computed node, as one number per channel.

        Args:
            constant: It broadcasts to the shape of the node.
            node: The node, or one of its shape.
            axis: The axis of the node's channels; None for the channels of the value that it is in.

        Returns:
            `[C]`; None if the constant differs between the pixels of a channel.
        """
        shape = shape_of(node)
        padded = constant.reshape((1,) * (len(shape) - constant.ndim) + constant.shape)
        channels, height, width = self.maps[self.values[node]] if axis is None else layout(node, axis)
        along = 1 if axis is None else axis % len(shape)
        if (axis is not None or node not in self.places) and shape[0] == BATCH:
            if any(size != 1 for index, size in enumerate(padded.shape) if index != along):
                return None
            return np.broadcast_to(padded.reshape(-1), (channels,)).copy()
        places = self.placed(node) if axis is None else spread_out(shape, axis)
        spread = np.empty(BATCH * channels * height * width)
        spread[places.reshape(-1)] = np.broadcast_to(padded, shape).reshape(-1)
        images = spread.reshape(BATCH, channels, height * width)
        alike = np.array_equal(images, np.broadcast_to(images[:1, :, :1], images.shape))
        return images[0, :, 0].copy() if alike else None


def shape_of(node: Node) -> tuple[int, ...]:
    """Shape of a node's tensor, which has fixed sizes and begins with the batch or a multiple of it."""
    shape = tuple(node.meta["val"].shape)
    if not all(isinstance(size, int) for size in shape) or len(shape) < 2 or shape[0] % BATCH:
        raise CaptureError(
            f"{where(node)}: {node.target} gives the shape {list(shape)}, not a batch of maps or vectors"
        )
    return shape


def layout(node: Node, axis: int = 1) -> Map:
    """Channels, height and width of a node whose channels are that axis and whose pixels are the others."""
    return layout_of(shape_of(node), axis)


def layout_of(shape: tuple[int, ...], axis: int) -> Map:
    """The same for a tensor of that shape."""
    pixels = [size for index, size in enumerate(shape) if index not in (0, axis % len(shape))]
    if shape[0] != BATCH:  # images that were taken apart: each part is a row of pixels
        pixels.insert(0, shape[0] // BATCH)
    *rows, columns = (1, *pixels)
    return shape[axis], int(np.prod(rows)), columns


def check_images(node: Node) -> None:
    """Refuses images that were split into parts, for an op whose window would reach from one part into another."""
    if shape_of(node)[0] != BATCH:
        raise CaptureError(f"{where(node)}: {node.target} cannot be packed once images are split along the batch axis")


def is_plain(shape: tuple[int, ...], axis: int = 1) -> bool:
    """Whether a value with these channels and pixels holds the node's numbers in the node's order."""
    return shape[0] == BATCH and axis % len(shape) == 1


def spread_out(shape: tuple[int, ...], axis: int) -> Places:
    """Places of the numbers of a node that is a value with these channels and pixels."""
    channels_second = (shape[0], shape[axis], *(s for i, s in enumerate(shape) if i not in (0, axis % len(shape))))
    parts = shape[0] // BATCH
    places = np.arange(int(np.prod(shape))).reshape(BATCH, channels_second[1], parts, *channels_second[2:])
    return np.moveaxis(np.moveaxis(places, 2, 1).reshape(channels_second), 1, axis).copy()


def _of_one_image(node: Node, places: Places, axis: int, size: int) -> Places:
    """The places as channels, height and width, for the first image; those of the others are alike."""
    if not places.size:
        raise CaptureError(f"{where(node)}: {node.target} reads or gives no number at all, which cannot be packed")
    found = _first_image(places, axis, size) if axis % places.ndim else None
    if found is None:
        raise CaptureError(f"{where(node)}: {node.target} mixes the images of a batch, which cannot be packed")
    return found


def _first_image(places: Places, axis: int, size: int) -> Places | None:
    """The same, or None where an image reads numbers of another."""
    shape = places.shape
    images = np.moveaxis(places, axis, 1)
    images = np.moveaxis(images.reshape(BATCH, shape[0] // BATCH, *images.shape[1:]), 1, 2)
    alike = np.array_equal(images[0] + size, images[1]) and images[0].min() >= 0 and images[0].max() < size
    return images[0].reshape(layout_of(shape, axis)) if alike else None


def _parts(node: Node, wanted: Places) -> dict[str, Places]:
    """The places as sums of one number for the row, one for the column and one for the channel."""
    parts = _as_sums(wanted)
    if parts is None:
        raise CaptureError(f"{where(node)}: {node.target} moves numbers in a way that cannot be packed")
    return parts


def _as_sums(wanted: Places) -> dict[str, Places] | None:
    """The same, or None where they are not such sums."""
    first = wanted[0, 0, 0]
    channels, rows, columns = wanted[:, 0, 0], wanted[0, :, 0] - first, wanted[0, 0, :] - first
    if not np.array_equal(wanted, channels[:, None, None] + rows[:, None] + columns):
        return None
    channels = channels + rows.min() + columns.min()
    return {"rows": rows - rows.min(), "columns": columns - columns.min(), "channels": channels}


def _find_softsigns(graph: torch.fx.Graph) -> dict[Node, tuple[Node, Node]]:
    """Each division that is `x / (1 + |x|)`, with the nodes of `|x|` and the sum: torch.export splits softsign up."""
    found = {}
    for node in graph.nodes:
        if node.target == aten.div.Tensor and isinstance(argument(node, 1), Node):
            total = node.args[1]
            plain = total.target == aten.add.Tensor and total.kwargs.get("alpha", 1) == 1
            if plain and total.args[1] == 1 and len(total.users) == 1:
                absolute = total.args[0]
                is_abs = isinstance(absolute, Node) and absolute.target == aten.abs.default
                if is_abs and absolute.args[0] is node.args[0] and len(absolute.users) == 1:
                    found[node] = (absolute, total)
    return found
