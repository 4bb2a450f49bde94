"""What the graph of a network says about its layers: where they are and what they read.

A *layer* is a convolution or dense layer, called with weights that do not depend on the images.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from evenbit.nn.aliases import DROPOUTS, is_mutable, is_view, needed, viewed
from evenbit.nn.conversion.moves import MOVES
from evenbit.nn.trace import argument, module_path, stored, trace

aten = torch.ops.aten
LAYERS = {
    aten.conv2d.default,
    aten.conv2d.padding,
    aten.conv1d.default,
    aten.conv1d.padding,
    aten.linear.default,
}
NORMALIZATIONS = {aten.batch_norm.default}
REDUCTIONS = {aten.amax.default, aten.max.dim, aten.mean.dim, aten.sum.dim_IntList}
# Ops under which values of at least 0 stay at least 0, and which only pool, copy, pad or rearrange values.
POOLS_AND_VIEWS = {
    *MOVES,
    aten.max_pool1d.default,
    aten.max_pool2d.default,
    aten.avg_pool1d.default,
    aten.avg_pool2d.default,
    aten.adaptive_avg_pool1d.default,
    aten.adaptive_avg_pool2d.default,
    aten.adaptive_max_pool1d.default,
    aten.adaptive_max_pool2d.default,
    aten.upsample_linear1d.vec,
    aten.upsample_bilinear2d.vec,
    aten._upsample_bilinear2d_aa.vec,
    operator.getitem,
    *REDUCTIONS,
    *DROPOUTS,
    aten.alias.default,
    aten.contiguous.default,
    aten.clone.default,
    aten.to.device,
    aten.to.dtype,
    aten.to.dtype_layout,
    aten.pad.default,
}
# Other ops on a single value under which values of at least 0 stay at least 0.
SIGN_KEEPERS = {
    aten.leaky_relu.default,
    aten.leaky_relu_.default,
    aten.silu.default,
    aten.silu_.default,
    aten.hardswish.default,
    aten.hardswish_.default,
    aten.gelu.default,
    aten.reciprocal.default,
}
SUMS = {aten.add.Tensor, aten.add_.Tensor}
PRODUCTS = {aten.mul.Tensor, aten.mul_.Tensor}
QUOTIENTS = {aten.div.Tensor, aten.div_.Tensor}
AT_LEAST_ZERO = {
    aten.relu.default,
    aten.relu_.default,
    aten.relu6.default,
    aten.relu6_.default,
    aten.sigmoid.default,
    aten.sigmoid_.default,
    aten.hardsigmoid.default,
    aten.hardsigmoid_.default,
    aten.softmax.int,
    aten.square.default,
    aten.abs.default,
    aten.abs_.default,
    aten.sqrt.default,
    aten.rsqrt.default,
}
CLAMPS = {
    aten.clamp.default,
    aten.clamp_.default,
    aten.clamp_min.default,
    aten.clamp_min_.default,
    aten.hardtanh.default,
    aten.hardtanh_.default,
}


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Attributes:
        path: Path of the module whose forward calls it.
        node: Its node in the graph.
        input: Shape of its input, `[N, ...]`.
        macs: Multiply-adds for one image.
        is_needed: Whether the logits need its result; other results are returned beside them, or not used.
        is_first: Whether no other layer comes before it: it reads the images.
        is_last: Whether the logits need it, and no other layer after it: it makes the logits.
        is_bridge: Whether no path leads around it from the images to the logits.
        is_gate: Whether its result is a vector (squeeze-and-excitation), or a map of one channel (spatial attention),
            by which a map is multiplied or moved.
        is_shortcut: Whether it is a 1x1 convolution whose result is added to what other layers compute from its input.
        is_normalized: Whether only batch normalizations read its result, perhaps after a pooling.
    """

    path: str
    node: Node
    input: tuple[int, ...]
    macs: int
    is_needed: bool
    is_first: bool
    is_last: bool
    is_bridge: bool
    is_gate: bool
    is_shortcut: bool
    is_normalized: bool


def changes_for_others(network: nn.Module, size: tuple[int, ...]) -> set[str]:
    """Paths of the ReLUs that change in place what others read afterwards.

    The graph does not show it: there, the others read what the ReLU gives. So the network is traced once more, as if
    its ReLUs changed nothing in place, where the others then read what the ReLU reads.

    Args:
        network: A network in eval mode.
        size: Of an image, without the batch.
    """
    parts = [part for part in network.modules() if type(part) in (nn.ReLU, nn.ReLU6) and part.inplace]
    if not parts:
        return set()
    try:
        for part in parts:
            part.inplace = False  # type: ignore[assignment]
        graph = trace(network, size).graph
    finally:
        for part in parts:
            part.inplace = True  # type: ignore[assignment]
    modules = dict(network.named_modules(remove_duplicate=False))
    found, before = set(), set()
    for node in graph.nodes:
        before.add(node)
        if node.op == "call_function" and modules.get(module_path(node)) in parts:
            source = viewed(node.all_input_nodes[0])
            if not before.issuperset(_readers(source)):
                found.add(module_path(node))
    return found


def is_changed_beside_its_source(node: Node) -> bool:
    """Whether an op changes the node's result in place, and others read what the node reads.

    If the node were left out, the op would change what they read.
    """
    source = viewed(node.all_input_nodes[0])
    return any(map(is_mutable, _readers(node))) and any(reader is not node for reader in _readers(source))


def _readers(value: Node) -> Iterator[Node]:
    """The nodes that read the value or a view of it."""
    for user in value.users:
        if is_view(user):
            yield from _readers(user)
        else:
            yield user


class Structure:
    """The calls of a network's layers, in order, and where its values cannot be negative.

    Raises:
        CaptureError: If the network cannot be traced.
    """

    def __init__(self, network: nn.Module, size: tuple[int, ...]) -> None:
        program = trace(network, size)
        self.graph: Graph = program.graph
        self._stored = stored(program)
        images = [name for name in program.graph_signature.user_inputs if isinstance(name, str)]
        self._ancestors: dict[Node, set[Node]] = {}  # of what depends on the images
        self._images: Node | None = None
        for node in self.graph.nodes:
            parents = [parent for parent in node.all_input_nodes if parent in self._ancestors]
            if node.op == "placeholder" and node.name in images:
                self._images = node
                self._ancestors[node] = set()
            elif parents and node.op == "call_function":
                self._ancestors[node] = set(parents).union(*(self._ancestors[parent] for parent in parents))
        nodes = [node for node in self._ancestors if node.target in LAYERS and self._depends(argument(node, 0))]
        self._needed = needed(self.graph)
        self.calls = [self._call(node, nodes) for node in nodes]

    def _depends(self, node: Any) -> bool:
        return isinstance(node, Node) and node in self._ancestors

    def _call(self, node: Node, layers: list[Node]) -> Call:
        return Call(
            path=module_path(node),
            node=node,
            input=tuple(node.args[0].meta["val"].shape),  # type: ignore[union-attr]
            macs=_macs(node),
            is_needed=node in self._needed,
            is_first=not any(other in self._ancestors[node] for other in layers),
            is_last=node in self._needed
            and not any(node in self._ancestors[other] for other in layers if other in self._needed),
            is_bridge=not self._has_way_around(node),
            is_gate=_is_thin(node) and self._gates(node),
            is_shortcut=self._is_shortcut(node),
            is_normalized=all(user.target in NORMALIZATIONS for user in self._readers(node)),
        )

    def _has_way_around(self, node: Node) -> bool:
        """Whether the output can be reached from the images without `node`."""
        seen: set[Node] = {node}
        frontier = [self._images]
        while frontier:
            value = frontier.pop()
            if value is None or value in seen:
                continue
            if value.op == "output":
                return True
            seen.add(value)
            frontier += value.users
        return False

    def _readers(self, node: Node) -> Iterator[Node]:
        """The nodes that read a value, looking through pools and views."""
        for user in node.users:
            if user.target in POOLS_AND_VIEWS:
                yield from self._readers(user)
            else:
                yield user

    def _gates(self, node: Node) -> bool:
        """Whether what a thin node gives reaches a sum or product with a whole map by way of thin nodes."""
        seen: set[Node] = set()
        frontier = list(node.users)
        while frontier:
            user = frontier.pop()
            if user in seen:
                continue
            seen.add(user)
            if user.target in SUMS | PRODUCTS and not _is_thin(user):
                return True
            if user.op == "call_function" and _is_thin(user):
                frontier += user.users
        return False

    def _is_shortcut(self, node: Node) -> bool:
        kernel = argument(node, 1).meta["val"].shape[2:] if node.target in LAYERS else ()
        if not kernel or prod(kernel) != 1:
            return False
        source: Any = argument(node, 0)
        while source.target in POOLS_AND_VIEWS | NORMALIZATIONS:
            source = argument(source, 0)
        frontier = list(node.users)
        while frontier:
            user = frontier.pop()
            if user.target in POOLS_AND_VIEWS | NORMALIZATIONS:
                frontier += user.users
            elif user.target in SUMS:
                others = [side for side in user.args[:2] if self._depends(side) and not self._is_behind(side, node)]
                if any(source in self._ancestors[side] for side in others):  # type: ignore[index]
                    return True
        return False

    def _is_behind(self, value: Any, node: Node) -> bool:
        return value is node or node in self._ancestors[value]

    def at_least_zero(self, signed: Iterable[Node]) -> dict[Node, set[Node]]:
        """Values with channels that cannot be negative, each with the nodes that are the cause.

        Args:
            signed: Nodes that are assumed to give values of both signs, whatever they compute.
        """
        found: dict[Node, set[Node]] = {}
        exempt = set(signed)
        for node in self._ancestors:
            sources = [found[part] for part in node.all_input_nodes if part in found]
            if node in exempt:
                continue
            sides = node.args[:2]
            square = node.target in PRODUCTS and sides[0] is sides[1]
            if node is self._images or node.target in AT_LEAST_ZERO or _clamps_at_zero(node) or square:
                found[node] = {node}
            elif node.target in POOLS_AND_VIEWS | SIGN_KEEPERS | CLAMPS and sources:
                found[node] = sources[0]
            elif (node.target == aten.cat.default and sources) or (
                node.target in SUMS | PRODUCTS | QUOTIENTS
                and sources
                and all(side in found or (isinstance(side, int | float) and side >= 0) for side in sides)
            ):
                found[node] = set().union(*(found[part] for part in _signed_by(node) if part in found))
        return found

    def keeps_channels(self, source: Node, values: Iterable[Node], causes: dict[Node, set[Node]]) -> bool:
        """Whether axis 1 of a node, by whatever moves, becomes axis 1 of these values or a part of it.

        If it does not, as in a network whose maps have their channels last, axis 1 is not what the layers that read the
        values take for channels. Found by doing to the numbers 1 to C along axis 1 what is done to the node's result.

        Args:
            source: The node.
            values: Values of which it is a cause.
            causes: What `at_least_zero` gave.
        """
        path = [node for node, nodes in causes.items() if source in nodes and node is not source]
        if not any(node.target in MOVES or node.target in REDUCTIONS for node in path):
            return True
        shape = _shape(source)
        numbers = torch.arange(1.0, shape[1] + 1).view(-1, *[1] * len(shape[2:])).expand(shape)
        known: dict[Node, Any] = {source: numbers.contiguous() / shape[1]}
        for node in path:
            args, kwargs = map_arg(
                (node.args, node.kwargs), lambda part: known[part] if part in known else self._stand_in(part)
            )
            target: Any = node.target
            known[node] = target(*args, **kwargs)
        return shape[1] == 1 or all(bool((known[value] != known[value][:, :1]).any()) for value in values)

    def _stand_in(self, node: Node) -> Any:
        """Ones in the shape of a node; what says where numbers go, such as an index, as it is."""
        if node.meta["val"].is_floating_point():
            return torch.ones(_shape(node))
        if node.name in self._stored:
            return self._stored[node.name]
        target: Any = node.target
        return target(*map_arg(node.args, self._stand_in), **node.kwargs)


def _signed_by(node: Node) -> list[Node]:
    """The inputs that are to give a result of both signs.

    Of a product, the sides that are not spread over the other, as gates are: one factor of both signs is enough, and
    gates have to stay as they are. Of a quotient, what is divided.
    """
    if node.target in PRODUCTS:
        return [part for part in node.all_input_nodes if _shape(part) == _shape(node)]
    if node.target in QUOTIENTS:
        return [part for part in node.args[:1] if isinstance(part, Node)]
    return node.all_input_nodes


def _clamps_at_zero(node: Node) -> bool:
    least = argument(node, 1, node.kwargs.get("min"))
    return node.target in CLAMPS and isinstance(least, int | float) and least >= 0


def _shape(node: Node) -> tuple[int, ...]:
    value = node.meta["val"]
    return tuple((value[0] if isinstance(value, tuple | list) else value).shape)


def _is_thin(node: Node) -> bool:
    """Whether it gives a vector, or a map of one channel."""
    return prod(_shape(node)[2:]) == 1 or _shape(node)[1] == 1


def _macs(node: Node) -> int:
    """Multiply-adds for one image: inputs of each output times outputs."""
    weight: Any = argument(node, 1)
    return int(prod(weight.meta["val"].shape[1:]) * prod(_shape(node)[1:]))
