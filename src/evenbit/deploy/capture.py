"""Capture: a torch module in eval mode becomes a Plan of unfused ops.

`evenbit.nn.trace` gives a graph of ATen ops in which binary layers are single nodes. Nodes that do not depend on the
images, such as the binarization of weights, are evaluated at once. A function of `evenbit.deploy.aten` turns each other
node into Plan ops (it *lowers* the node). An ATen op without such a function is an error that names the op and its
module.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.fx import Node

from evenbit.deploy.aten import LOWERINGS, hint
from evenbit.deploy.lowering import Lowering
from evenbit.errors import CaptureError
from evenbit.nn.aliases import DROPOUTS, changes_others, is_mutable, made_by, needed
from evenbit.nn.conv import BinaryConv2d, BinaryLinear
from evenbit.nn.trace import argument, module_path, stored, trace, where
from evenbit.plan import Plan

aten = torch.ops.aten


def capture(
    module: nn.Module,
    size: tuple[int, ...],
    classes: tuple[str, ...] | None,
    info: Mapping[str, str],
) -> Plan:
    """The Plan of a network, one op or more for each node of its graph.

    Args:
        module: A network in eval mode from images `[N, C, H, W]` in [0, 1] to logits `[N, classes]`, or a map of them
            `[N, classes, H', W']`.
        size: C, H and W; or C and L of a network of sequences `[N, C, L]`, whose Plan takes images of height 1.
        classes: Class names in the order of the logits; None for their numbers.
        info: Where the network comes from.

    Raises:
        CaptureError: If the network cannot be traced or holds something that cannot be packed.
    """
    check_weights(module)
    program = trace(module, size)
    _leave_out_last_softmax(program.graph)
    _erase_what_logits_do_not_need(program.graph)
    lowering = Lowering(program.graph)
    output = walk(program, lowering)
    count = lowering.maps[output][0]
    if classes is None:
        classes = tuple(map(str, range(count)))
    if count != len(classes):
        raise CaptureError(f"the network should give one logit for each of {len(classes)} classes, but gives {count}")
    channels, height, width = (size[0], *(1, *size[1:])[-2:])
    return lowering.builder.plan(channels, height, width, classes, output, info)


def _leave_out_last_softmax(graph: torch.fx.Graph) -> None:
    """Makes a network that ends in a softmax over the classes, or its logarithm, give what it reads: the logits."""
    (output,) = (node for node in graph.nodes if node.op == "output")
    last: Any = output.args[0][0]
    is_softmax = isinstance(last, Node) and last.target in (aten.softmax.int, aten.log_softmax.int)
    if is_softmax and argument(last, 1) % last.meta["val"].dim() == 1:
        output.replace_input_with(last, last.args[0])


def _erase_what_logits_do_not_need(graph: torch.fx.Graph) -> None:
    """Erases computation whose result is returned beside the logits, or is not used at all."""
    kept = needed(graph)
    for node in reversed(graph.nodes):
        if node.op == "call_function" and node not in kept:
            graph.erase_node(node)


def check_weights(module: nn.Module) -> None:
    """Raises CaptureError that names a binary layer whose weights are all zero or not all finite."""
    for path, layer in module.named_modules():
        if isinstance(layer, BinaryConv2d | BinaryLinear):
            if not layer.weight.isfinite().all():
                raise CaptureError(f"module '{path}': holds a weight that is not finite")
            if not layer.weight.any():
                raise CaptureError(f"module '{path}': its weights are all zero, so they have no signs")


def walk(program: torch.export.ExportedProgram, lowering: Lowering) -> str:
    """Lowers every node in order and returns the name of the logits."""
    constants, known = lowering.constants, stored(program)
    skipped = {part for parts in lowering.softsigns.values() for part in parts}
    last_reader = {parent: node for node in program.graph.nodes for parent in node.all_input_nodes}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in known:
            constants[node] = known[node.name].detach()
        elif node.op == "placeholder":
            lowering.define(node, lowering.builder.normalize())
        elif node.op == "output":
            return _output(node, lowering)
        elif node.target in FACTORIES:
            shaped: Any = node.args[0]
            value = shaped.meta["val"]
            like = torch.empty(value.shape, dtype=value.dtype, device=value.device)
            constants[node] = node.target(like, *node.args[1:], **node.kwargs)
        elif all(parent in constants for parent in node.all_input_nodes):
            _check_constant(node)
            constants[node] = node.target(*lowering.evaluate(node.args), **lowering.evaluate(node.kwargs))
        elif node not in skipped:
            _lower(node, lowering)
        for parent in node.all_input_nodes:
            if last_reader[parent] is node:
                lowering.forget(parent)
    raise AssertionError("a graph ends in its output")


def _lower(node: Node, lowering: Lowering) -> None:
    lower = LOWERINGS.get(node.target)
    if lower is None:
        raise CaptureError(f"{where(node)}: {node.target} cannot be packed; {hint(node.target)}")
    _check_settings(node)
    _check_in_place(node)
    with lowering.builder.at(module_path(node)):
        lower(lowering, node)


def _check_settings(node: Node) -> None:
    """Refuses settings and types that no lowering looks at."""
    result = node.meta["val"]
    if result is None:  # a check that holds while tracing
        return
    for name, value in node.kwargs.items():
        if value is not None and name not in ADOPTED:
            raise CaptureError(f"{where(node)}: {node.target} with the setting '{name}' cannot be packed")
    if isinstance(result, torch.Tensor) and result.dtype != torch.float32 and node.target != operator.getitem:
        raise CaptureError(f"{where(node)}: {node.target} gives {result.dtype}; only float32 can be packed")


# Settings that change no number.
PLACING = ("copy", "device", "layout", "memory_format", "non_blocking", "pin_memory")
# And those that the lowering of a node looks at, or that are checked by the type of its result.
ADOPTED = (*PLACING, "alpha", "approximate", "dtype", "max", "min", "scale")


# What takes of a tensor nothing but its shape.
FACTORIES = {
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_full.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.full_like.default,
}


def _check_in_place(node: Node) -> None:
    """Refuses to change a tensor in place while a view of it is used: the graph does not show that both change."""
    if is_mutable(node) and node.target not in DROPOUTS and changes_others(node):
        raise CaptureError(f"{where(node)}: {node.target} changes a tensor in place while a view of it is in use")


def _check_constant(node: Node) -> None:
    """Refuses a node whose result is not the same in every run."""
    if is_mutable(node) and made_by(node).op == "placeholder":
        raise CaptureError(f"{where(node)}: {node.target} changes a parameter or buffer while running")
    if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
        raise CaptureError(f"{where(node)}: {node.target} draws random numbers, which cannot be packed")


def _output(node: Node, lowering: Lowering) -> str:
    results: Any = node.args[0]
    if results[0] not in lowering.values:
        raise CaptureError("the logits do not depend on the images")
    return lowering.stored(results[0])
