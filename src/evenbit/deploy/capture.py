"""Capture: a torch module in eval mode becomes a Plan of unfused ops.

`torch.export` gives a graph of ATen ops in which binary layers are single nodes (`evenbit.nn.ops`). Nodes that do
not depend on the images, such as the binarization of weights, are evaluated on the spot; each of the others is
turned into Plan ops by the function that `evenbit.deploy.lowering` has for it. An op without one is an error that
names it and the module it comes from.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.fx import Node

from evenbit.deploy.lowering import BATCH, LOWERINGS, VIEWS, Lowering, module_path, where
from evenbit.errors import CaptureError
from evenbit.plan import Plan


def capture(
    module: nn.Module, channels: int, height: int, width: int, classes: tuple[str, ...], info: Mapping[str, str]
) -> Plan:
    """The Plan of a network, one op or more for each node of its graph.

    Args:
        module: A network in eval mode from images `[N, C, H, W]` in [0, 1] to logits `[N, classes]`.
        channels: C.
        height: H.
        width: W.
        classes: Class names in the order of the logits.
        info: Where the network comes from.

    Raises:
        CaptureError: If the network cannot be exported or holds an op that has no lowering.
    """
    if module.training:
        raise CaptureError("the network is in training mode; call eval() first")
    example = torch.zeros(BATCH, channels, height, width)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, (example,))
    except Exception as error:  # torch.export raises many types for what it cannot trace
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CaptureError(f"torch.export cannot trace the network: {reason[0]}") from error
    lowering = Lowering(program.graph)
    output = _walk(program, lowering)
    return lowering.builder.plan(channels, height, width, classes, output, info)


def _walk(program: torch.export.ExportedProgram, lowering: Lowering) -> str:
    """Lowers every node in order and returns the name of the logits."""
    state = {**program.state_dict, **program.constants}
    signature = program.graph_signature
    stored = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    constants = lowering.constants
    skipped = {part for parts in lowering.softsigns.values() for part in parts}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in stored:
            constants[node] = state[stored[node.name]].detach()
        elif node.op == "placeholder":
            lowering.define(node, lowering.builder.normalize())
        elif node.op == "output":
            return _output(node, lowering)
        elif all(parent in constants for parent in node.all_input_nodes):
            constants[node] = node.target(*lowering.evaluate(node.args), **lowering.evaluate(node.kwargs))
        elif node not in skipped:
            _lower(node, lowering)
    raise AssertionError("a graph ends in its output")


def _lower(node: Node, lowering: Lowering) -> None:
    lower = LOWERINGS.get(node.target)
    if lower is None:
        raise CaptureError(f"{where(node)}: cannot lower {node.target}; the layers around it may have to change")
    _check_in_place(node)
    with lowering.builder.at(module_path(node)):
        lower(lowering, node)


def _check_in_place(node: Node) -> None:
    """Refuses to change a tensor in place while a view of it is used: the graph does not show that both change."""
    if not getattr(node.target, "_schema").is_mutable:  # noqa: B009  (every target here is an overload)
        return
    source: Any = node.args[0]
    shared = [user for user in source.users if user is not node and user.target in VIEWS]
    if shared or (source.target in VIEWS and len(source.all_input_nodes[0].users) > 1):
        raise CaptureError(f"{where(node)}: {node.target} changes a tensor of which a view is used too")


def _output(node: Node, lowering: Lowering) -> str:
    results: Any = node.args[0]
    if not isinstance(results, tuple | list) or len(results) != 1 or results[0] not in lowering.values:
        raise CaptureError("the network should return one tensor, its logits")
    return lowering.values[results[0]]
