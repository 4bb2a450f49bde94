"""Lowering: how each ATen op becomes Plan ops. `LOWERINGS` is the table; a function of it handles one kind of node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

import evenbit.nn.ops  # noqa: F401  (registers torch.ops.evenbit)
from evenbit.bits import pack_bits
from evenbit.deploy.builder import Builder
from evenbit.errors import CaptureError
from evenbit.plan import AvgPool, BinaryConv, Conv, MaxPool, Tail

aten = torch.ops.aten
BATCH = 2  # of the example input; any batch runs


class Lowering:
    """What is known of the nodes so far.

    Attributes:
        builder: Collects the Plan.
        constants: Values of the nodes that do not depend on the images.
        values: Plan names of the others.
        maps: Channels, height and width of each Plan value.
        softsigns: Divisions that are a softsign, with the nodes that belong to them.
    """

    def __init__(self, graph: torch.fx.Graph) -> None:
        self.builder = Builder()
        self.constants: dict[Node, Any] = {}
        self.values: dict[Node, str] = {}
        self.maps: dict[str, tuple[int, int, int]] = {}
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

    def unflattened(self, node: Any, owner: Node) -> str:
        """Plan value of an argument whose channels are those that are stored."""
        value = self.value(node)
        if self.maps[value] != chw(node):
            raise CaptureError(f"{where(owner)}: {owner.target} on a flattened map cannot be lowered; flatten after it")
        return value

    def array(self, node: Any, owner: Node) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Constant argument in float64, checked to be finite."""
        if isinstance(node, Node) and node in self.values:
            raise CaptureError(f"{where(owner)}: {owner.target} needs a constant, but is given a computed tensor")
        constant = torch.as_tensor(self.evaluate(node)).double()
        if not torch.isfinite(constant).all():
            raise CaptureError(f"{where(owner)}: holds a parameter that is not finite")
        return constant.numpy()

    def per_channel(self, node: Any, owner: Node) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Constant argument that is combined elementwise with the value of `owner`, as one number a channel."""
        constant = self.array(node, owner)
        channels, *size = chw(owner)
        rank = len(owner.meta["val"].shape)
        padded = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
        axes = tuple(axis for axis in range(rank) if axis != 1)
        flat_map = rank == 2 and self.maps[self.value(owner.args[0])] != (channels, *size)
        if any(padded.shape[axis] != 1 for axis in axes) or (flat_map and padded.size > 1):
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


def module_path(node: Node) -> str:
    """Path of the module that a node comes from, "" for the network itself."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return str(paths[-1]) if paths else ""


def where(node: Node) -> str:
    """How errors name the place of a node."""
    path = module_path(node)
    return f"module '{path}'" if path else "the network"


def _find_softsigns(graph: torch.fx.Graph) -> dict[Node, tuple[Node, Node]]:
    """Each division that is `x / (1 + |x|)`, with the nodes of `|x|` and the sum: torch.export splits softsign up."""
    found = {}
    for node in graph.nodes:
        if node.target == aten.div.Tensor and isinstance(_argument(node, 1), Node):
            total = node.args[1]
            plain = total.target == aten.add.Tensor and total.kwargs.get("alpha", 1) == 1
            if plain and total.args[1] == 1 and len(total.users) == 1:
                absolute = total.args[0]
                is_abs = isinstance(absolute, Node) and absolute.target == aten.abs.default
                if is_abs and absolute.args[0] is node.args[0] and len(absolute.users) == 1:
                    found[node] = (absolute, total)
    return found


def _argument(node: Node, index: int, default: Any = None) -> Any:
    """Positional argument, or what torch takes when it is not given."""
    return node.args[index] if len(node.args) > index else default


def _pair(value: Any) -> tuple[int, int]:
    items = [value] if isinstance(value, int) else list(value)
    return (items[0], items[-1])


def _elementwise(lowering: Lowering, node: Node, tail: Tail) -> None:
    lowering.define(node, lowering.builder.elementwise(lowering.unflattened(_argument(node, 0), node), tail))


def _alias(lowering: Lowering, node: Node) -> None:
    lowering.values[node] = lowering.value(_argument(node, 0))


def _dropout(lowering: Lowering, node: Node) -> None:
    if _argument(node, 2):
        raise CaptureError(f"{where(node)}: a dropout that is active in eval mode cannot be lowered")
    _alias(lowering, node)


def _reshape(lowering: Lowering, node: Node) -> None:
    """A map to a vector, or the same numbers with axes of size 1 added or removed at the end."""
    value = lowering.value(_argument(node, 0))
    stored = lowering.maps[value]
    shape = tuple(node.meta["val"].shape[1:])
    padded = (*shape, 1, 1)[:3] if len(shape) < 3 else shape
    if node.meta["val"].shape[0] != BATCH or padded not in (stored, (int(np.prod(stored)), 1, 1)):
        raise CaptureError(
            f"{where(node)}: cannot reshape {list(stored)} to {list(shape)}; only flattening is possible"
        )
    lowering.values[node] = value


def _sign(lowering: Lowering, node: Node) -> None:
    value = lowering.value(_argument(node, 0))
    lowering.define(node, lowering.builder.sign(value, lowering.maps[value][0]))
    lowering.maps[lowering.values[node]] = lowering.maps[value]


def _window_weight(lowering: Lowering, node: Node, *, dense: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Weights `[O, I, kh, kw]` or `[O, F]` as `[O, kh, kw, I]`.

    A dense layer on a flattened map is a convolution whose kernel is the whole map; `dense` says that stride,
    padding and groups are those of a dense layer.
    """
    weight = lowering.array(_argument(node, 1), node)
    source = _argument(node, 0)
    stored = lowering.maps[lowering.value(source)]
    if weight.ndim == 2 and len(source.meta["val"].shape) != 2:
        raise CaptureError(f"{where(node)}: a dense layer along the last axis of a map cannot be lowered")
    if stored != chw(source) and not dense:
        lowering.unflattened(source, node)
    if weight.ndim == 2 or stored != chw(source):
        weight = weight.reshape(len(weight), *stored)
    return weight.transpose(0, 2, 3, 1)


def _conv(lowering: Lowering, node: Node) -> None:
    stride, padding, dilation = (_pair(_argument(node, 3 + i, default)) for i, default in enumerate((1, 0, 1)))
    if dilation != (1, 1):
        raise CaptureError(f"{where(node)}: a dilated convolution cannot be lowered")
    _float_window(lowering, node, stride, padding, _argument(node, 6, 1))


def _linear(lowering: Lowering, node: Node) -> None:
    _float_window(lowering, node, (1, 1), (0, 0), 1)


def _float_window(
    lowering: Lowering, node: Node, stride: tuple[int, int], padding: tuple[int, int], groups: int
) -> None:
    builder = lowering.builder
    bias = _argument(node, 2, None)
    tail = Tail() if bias is None else Tail(bias=builder.tensor(lowering.array(bias, node)))
    dense = (stride, padding, groups) == ((1, 1), (0, 0), 1)
    weight = builder.tensor(_window_weight(lowering, node, dense=dense))
    source = lowering.value(_argument(node, 0))
    fields = {"weight": weight, "stride": stride, "padding": padding, "groups": groups}
    lowering.define(node, builder.add(Conv, source, tail, **fields))


def _binary_conv(lowering: Lowering, node: Node) -> None:
    stride, padding, groups = _pair(_argument(node, 2)), _pair(_argument(node, 3)), _argument(node, 4)
    weight = _window_weight(lowering, node, dense=(stride, padding, groups) == ((1, 1), (0, 0), 1))
    if not np.all(np.abs(weight) == 1):
        raise CaptureError(f"{where(node)}: the weights of a binary convolution are not all +1 or -1")
    packed = lowering.builder.bits_tensor(pack_bits(weight > 0))
    fields = {"weight": packed, "stride": stride, "padding": padding, "groups": groups}
    lowering.define(node, lowering.builder.add(BinaryConv, lowering.value(_argument(node, 0)), Tail(), **fields))


def _batch_norm(lowering: Lowering, node: Node) -> None:
    gamma, beta, mean, var = (None if part is None else lowering.array(part, node) for part in node.args[1:5])
    if mean is None or var is None or _argument(node, 5):
        raise CaptureError(f"{where(node)}: a batch normalization without running statistics cannot be lowered")
    scale = (1 if gamma is None else gamma) / np.sqrt(var + _argument(node, 7))
    bias = (0 if beta is None else beta) - mean * scale
    build = lowering.builder.tensor
    _elementwise(lowering, node, Tail(scale=build(scale), bias=build(bias)))


def _add(lowering: Lowering, node: Node) -> None:
    _check_alpha(node)
    left, right = node.args[:2]
    if not isinstance(left, Node) or left not in lowering.values:
        left, right = right, left
    if not isinstance(right, Node) or right not in lowering.values:
        bias = lowering.builder.tensor(lowering.per_channel(right, _with_first(node, left)))
        _elementwise(lowering, node, Tail(bias=bias))
        return
    if lowering.maps[lowering.value(left)] != chw(node):
        left, right = right, left  # the vector that is added to every pixel is the residual
    _add_values(lowering, node, lowering.value(left), lowering.value(right))


def _add_values(lowering: Lowering, node: Node, left: str, right: str) -> None:
    shapes = [lowering.maps[side] for side in (left, right)]
    if shapes[0] != chw(node) or shapes[1] not in (shapes[0], (shapes[0][0], 1, 1)):
        raise CaptureError(f"{where(node)}: cannot add the shapes {list(shapes[0])} and {list(shapes[1])}")
    lowering.define(node, lowering.builder.elementwise(left, Tail(residual=right)))


def _check_alpha(node: Node) -> None:
    if node.kwargs.get("alpha", 1) != 1:
        raise CaptureError(f"{where(node)}: a sum with alpha cannot be lowered")


def _with_first(node: Node, first: Any) -> Node:
    if node.args[0] is not first:
        node.args = (first, *node.args[1:])
    return node


def _sub(lowering: Lowering, node: Node) -> None:
    _check_alpha(node)
    right = _argument(node, 1)
    if right in lowering.values:
        shape = lowering.maps[lowering.values[right]]
        minus = lowering.builder.tensor(-np.ones(shape[0]))
        negative = lowering.builder.elementwise(lowering.values[right], Tail(scale=minus))
        lowering.maps[negative] = shape
        _add_values(lowering, node, lowering.value(_argument(node, 0)), negative)
        return
    bias = -lowering.per_channel(right, node)
    _elementwise(lowering, node, Tail(bias=lowering.builder.tensor(bias)))


def _mul(lowering: Lowering, node: Node) -> None:
    left, right = node.args[:2]
    if not isinstance(left, Node) or left not in lowering.values:
        left, right = right, left
    scale = lowering.per_channel(right, _with_first(node, left))
    _elementwise(lowering, node, Tail(scale=lowering.builder.tensor(scale)))


def _div(lowering: Lowering, node: Node) -> None:
    if node in lowering.softsigns:
        _elementwise(lowering, node, Tail(activation="softsign"))
        return
    scale = 1 / lowering.per_channel(_argument(node, 1), node)
    _elementwise(lowering, node, Tail(scale=lowering.builder.tensor(scale)))


def _relu(lowering: Lowering, node: Node) -> None:
    slope = np.zeros(chw(node)[0])
    _elementwise(lowering, node, Tail(activation="prelu", slope=lowering.builder.tensor(slope)))


def _prelu(lowering: Lowering, node: Node) -> None:
    slope = np.broadcast_to(lowering.array(_argument(node, 1), node).reshape(-1), (chw(node)[0],))
    _elementwise(lowering, node, Tail(activation="prelu", slope=lowering.builder.tensor(slope)))


def _mean(lowering: Lowering, node: Node) -> None:
    axes = {axis % 4 for axis in _argument(node, 1)}
    if axes != {2, 3} or len(_argument(node, 0).meta["val"].shape) != 4:
        raise CaptureError(f"{where(node)}: only the mean over height and width can be lowered")
    lowering.define(node, lowering.builder.mean(lowering.unflattened(_argument(node, 0), node)))


def _adaptive_mean(lowering: Lowering, node: Node) -> None:
    if _pair(_argument(node, 1)) != (1, 1):
        raise CaptureError(f"{where(node)}: an adaptive pooling to more than one pixel cannot be lowered")
    lowering.define(node, lowering.builder.mean(lowering.unflattened(_argument(node, 0), node)))


def _max_pool(lowering: Lowering, node: Node) -> None:
    kernel = _pair(_argument(node, 1))
    stride = _pair(_argument(node, 2, None) or kernel)
    if _pair(_argument(node, 4, 1)) != (1, 1) or _argument(node, 5, False):
        raise CaptureError(f"{where(node)}: max pooling with dilation or ceil_mode cannot be lowered")
    fields = {"kernel": kernel, "stride": stride, "padding": _pair(_argument(node, 3, 0))}
    lowering.define(
        node, lowering.builder.add(MaxPool, lowering.unflattened(_argument(node, 0), node), Tail(), **fields)
    )


def _avg_pool(lowering: Lowering, node: Node) -> None:
    kernel = _pair(_argument(node, 1))
    stride = _pair(_argument(node, 2, None) or kernel)
    if _pair(_argument(node, 3, 0)) != (0, 0) or _argument(node, 4, False) or _argument(node, 6, None):
        raise CaptureError(f"{where(node)}: average pooling with padding, ceil_mode or a divisor cannot be lowered")
    fields = {"kernel": kernel, "stride": stride}
    lowering.define(
        node, lowering.builder.add(AvgPool, lowering.unflattened(_argument(node, 0), node), Tail(), **fields)
    )


LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {
    torch.ops.evenbit.sign.default: _sign,
    torch.ops.evenbit.binary_conv2d.default: _binary_conv,
    aten.conv2d.default: _conv,
    aten.linear.default: _linear,
    aten.batch_norm.default: _batch_norm,
    aten.add.Tensor: _add,
    aten.add_.Tensor: _add,
    aten.sub.Tensor: _sub,
    aten.mul.Tensor: _mul,
    aten.div.Tensor: _div,
    aten.relu.default: _relu,
    aten.relu_.default: _relu,
    aten.prelu.default: _prelu,
    aten.mean.dim: _mean,
    aten.adaptive_avg_pool2d.default: _adaptive_mean,
    aten.max_pool2d.default: _max_pool,
    aten.avg_pool2d.default: _avg_pool,
    aten.flatten.using_ints: _reshape,
    aten.view.default: _reshape,
    aten.reshape.default: _reshape,
    aten.unsqueeze.default: _reshape,
    aten.squeeze.dims: _reshape,
    aten.dropout.default: _dropout,
    aten.contiguous.default: _alias,
    aten.clone.default: _alias,
}

# Ops whose result may share memory with their input.
VIEWS = {target for target, lower in LOWERINGS.items() if lower in (_reshape, _alias, _dropout)}
