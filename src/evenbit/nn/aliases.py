"""Which nodes of a graph share memory, and which of them its output needs."""

from __future__ import annotations

import operator

import torch
from torch.fx import Graph, Node

aten = torch.ops.aten

# They change nothing in eval mode, and give their input itself.
DROPOUTS = (
    aten.alpha_dropout.default,
    aten.alpha_dropout_.default,
    aten.dropout.default,
    aten.dropout_.default,
    aten.feature_alpha_dropout.default,
    aten.feature_alpha_dropout_.default,
    aten.feature_dropout.default,
    aten.feature_dropout_.default,
)


def is_mutable(node: Node) -> bool:
    """Whether the op changes a tensor in place."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def is_view(node: Node) -> bool:
    """Whether the result may share memory with the input, which stays as it is. Ops that always copy are none."""
    if node.target in DROPOUTS or node.target is operator.getitem:
        return True
    schema = getattr(node.target, "_schema", None)
    return schema is not None and not schema.is_mutable and any(result.alias_info for result in schema.returns)


def viewed(node: Node) -> Node:
    """The node whose result this one, by a chain of views, may be a part of; itself, if it is no view."""
    while is_view(node):
        node = node.all_input_nodes[0]
    return node


def made_by(node: Node) -> Node:
    """The node that made the tensor which a chain of views and changes in place ends in."""
    while is_view(node) or is_mutable(node):
        node = node.all_input_nodes[0]
    return node


def changes_others(node: Node) -> bool:
    """Whether an op that works in place changes a tensor of which a view is used elsewhere."""
    source: Node = node.all_input_nodes[0]
    shared = any(user is not node and is_view(user) for user in source.users)
    while is_view(source):
        source = source.all_input_nodes[0]
        shared = shared or len(source.users) > 1
    return shared


def needed(graph: Graph) -> set[Node]:
    """The nodes that the output needs: those it is computed from, and those that change one of them in place."""
    changes = [node for node in graph.nodes if is_mutable(node)]
    found: set[Node] = set()
    frontier = [node for node in graph.nodes if node.op == "output"]
    while frontier:
        node = frontier.pop()
        if node not in found:
            found.add(node)
            frontier += node.all_input_nodes
        if not frontier:
            frontier = [change for change in changes if change not in found and made_by(change) in found]
    return found
