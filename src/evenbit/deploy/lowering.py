"""Lowering: the state while a graph's nodes become Plan ops; `evenbit.deploy.aten` lowers the single ops."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.fx import Node

from evenbit.deploy.builder import Builder
from evenbit.errors import CaptureError
from evenbit.nn.conversion.trace import BATCH, argument, where
from evenbit.ops import Flatten, Tail

aten = torch.ops.aten


class Lowering:
    """The state of a lowering: what is known about the nodes so far.

    Attributes:
        builder: Collects the Plan.
        constants: Values of the nodes that do not depend on the images.
        values: Plan names of the nodes that depend on the images.
        maps: Channels, height and width of each Plan value.
        pads: Zeros that a convolution has to add around its input: above, below, left, right.
        softsigns: Divisions that end a softsign, each with the other nodes of the softsign.
    """

    def __init__(self, graph: torch.fx.Graph) -> None:
        self.builder = Builder()
        self.constants: dict[Node, Any] = {}
        self.values: dict[Node, str] = {}
        self.maps: dict[str, tuple[int, int, int]] = {}
        self.pads: dict[Node, tuple[int, int, int, int]] = {}
        self._flat: dict[str, str] = {}
        self.softsigns = _find_softsigns(graph)

    def evaluate(self, item: Any) -> Any:
        """`item` with every constant node replaced by its value."""
        return torch.fx.node.map_arg(item, lambda node: self.constants[node])

    def define(self, node: Node, value: str) -> None:
        """Records that `node` is the Plan value `value`, which then has the shape of the node."""
        self.values[node] = value
        self.maps[value] = chw(node)

    def value(self, node: Any) -> str:
        """Plan value of an argument."""
        if not isinstance(node, Node) or node not in self.values:
            raise CaptureError(f"expected a tensor that depends on the images, not {node}")
        return self.values[node]

    def stored(self, node: Any) -> str:
        """Plan value of an argument, in the shape that the argument has.

        Flattening is put off until here, since dense layers read a map as it is.
        """
        value = self.value(node)
        if self.maps[value] == chw(node):
            return value
        if value not in self._flat:
            self._flat[value] = self.builder.add(Flatten, value, Tail())
            self.maps[self._flat[value]] = chw(node)
        return self._flat[value]

    def array(self, node: Any, owner: Node) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Constant argument in float64, checked to be finite."""
        if isinstance(node, Node) and node in self.values:
            raise CaptureError(f"{where(owner)}: {owner.target} needs a constant, but is given a computed tensor")
        constant = torch.as_tensor(self.evaluate(node)).double().cpu()
        if not torch.isfinite(constant).all():
            raise CaptureError(f"{where(owner)}: holds a parameter that is not finite")
        return constant.numpy()

    def per_channel(self, node: Any, owner: Node) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Constant argument that is combined elementwise with the value of `owner`, as one number a channel."""
        constant = self.array(node, owner)
        channels = chw(owner)[0]
        rank = len(owner.meta["val"].shape)
        padded = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
        axes = tuple(axis for axis in range(rank) if axis != 1)
        if rank not in (2, 4) or any(padded.shape[axis] != 1 for axis in axes):
            raise CaptureError(f"{where(owner)}: {owner.target} with a constant that is not one number a channel")
        return np.broadcast_to(padded.reshape(-1), (channels,)).copy()


def chw(node: Node) -> tuple[int, int, int]:
    """Channels, height and width of a node's value; a vector has height and width 1."""
    shape = tuple(node.meta["val"].shape)
    if not all(isinstance(size, int) for size in shape) or len(shape) not in (2, 4) or shape[0] != BATCH:
        raise CaptureError(
            f"{where(node)}: {node.target} gives the shape {list(shape)}, not a batch of maps or vectors"
        )
    return (*shape[1:], 1, 1) if len(shape) == 2 else shape[1:]


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
