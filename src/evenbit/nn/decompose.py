"""Ops that are traced as others: each is replaced by the ops that it is defined by.

So there is one form of each computation for binarization and deployment to know. Most rules are torch's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch.fx import Graph, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

from evenbit.nn.aliases import changes_others, is_mutable

aten = torch.ops.aten

# By torch's rules: an op that is made of others runs as these, the other rules are those of torch's compiler.
BY_TORCH = (
    aten.addcmul.default,
    aten.broadcast_to.default,
    aten.clip.default,
    aten.concat.default,
    aten.concatenate.default,
    aten.divide.Scalar,
    aten.divide.Tensor,
    aten.expand_as.default,
    aten.glu.default,
    aten.hstack.default,
    aten.mT.default,
    aten.moveaxis.int,
    aten.moveaxis.intlist,
    aten.multiply.Scalar,
    aten.multiply.Tensor,
    aten.negative.default,
    aten.numpy_T.default,
    aten.ravel.default,
    aten.reshape_as.default,
    aten.stack.default,
    aten.subtract.Scalar,
    aten.subtract.Tensor,
    aten.tensor_split.indices,
    aten.tensor_split.sections,
    aten.true_divide.Scalar,
    aten.true_divide.Tensor,
    aten.type_as.default,
    aten.view_as.default,
    aten.vstack.default,
)


def _variance(x: Tensor, axes: Any = None, correction: Any = True, keepdim: bool = False) -> Tensor:
    """`sum (x - mean)^2 / (n - correction)`; torch's default for the correction, and for `unbiased`, is 1."""
    mean = x.mean(axes, True)
    n = prod(x.shape) / prod(mean.shape)
    return (x - mean).square().mean(axes, keepdim) * (n / (n - (1 if correction is None else correction)))


def _variance_and_mean(x: Tensor, axes: Any = None, correction: Any = True, keepdim: bool = False) -> Any:
    return _variance(x, axes, correction, keepdim), x.mean(axes, keepdim)


def _deviation_and_mean(x: Tensor, axes: Any = None, correction: Any = True, keepdim: bool = False) -> Any:
    return _deviation(x, axes, correction, keepdim), x.mean(axes, keepdim)


def _deviation(x: Tensor, axes: Any = None, correction: Any = True, keepdim: bool = False) -> Tensor:
    return _variance(x, axes, correction, keepdim).sqrt()


def _norm(x: Tensor, order: float = 2, axes: Any = None, keepdim: bool = False) -> Tensor:
    """The root of the sum of squares."""
    return x.square().sum(axes, keepdim).sqrt()


def _layer_norm(x: Tensor, shape: list[int], weight: Any, bias: Any, epsilon: float, *_: Any) -> Tensor:
    """Mean 0 and variance 1 over the last axes, then scaled and shifted."""
    axes = tuple(range(-len(shape), 0))
    d = x - x.mean(axes, True)
    normalized = d * (d.square().mean(axes, True) + epsilon).rsqrt()
    scaled = normalized if weight is None else normalized * weight
    return scaled if bias is None else scaled + bias


def _rms_norm(x: Tensor, shape: list[int], weight: Tensor | None = None, epsilon: float | None = None) -> Tensor:
    """`x / sqrt(mean x^2 + epsilon)` over the last axes (Zhang and Sennrich, Root mean square normalization, 2019)."""
    least = torch.finfo(torch.float32).eps if epsilon is None else epsilon
    normalized = x * (x.square().mean(tuple(range(-len(shape), 0)), True) + least).rsqrt()
    return normalized if weight is None else normalized * weight


def _at_most(x: Tensor, largest: float) -> Tensor:
    return x.clamp(max=largest)


def _between(x: Tensor, y: Tensor, part: float) -> Tensor:
    return x + (y - x) * part


def _least(x: Tensor, axes: Any = (), keepdim: bool = False) -> Tensor:
    return -torch.amax(-x, axes, keepdim)


def _largest_of_two(x: Tensor, y: Tensor) -> Tensor:
    return y + (x - y).relu()


def _least_of_two(x: Tensor, y: Tensor) -> Tensor:
    return y - (y - x).relu()


def _add_quotient(x: Tensor, above: Tensor, below: Tensor, *, value: float = 1) -> Tensor:
    return x + above / below * value


def _elu(x: Tensor, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Tensor:
    """`x` where it is positive, else `alpha (exp(x) - 1)`; with `t = tanh(x / 2)`, `exp(x) - 1 = 2 t / (1 - t)`."""
    t = (x.clamp(max=0) * (input_scale / 2)).tanh()
    return (x.relu() + (t + t) / (1 - t) * alpha) * scale


def _celu(x: Tensor, alpha: float = 1) -> Tensor:
    """`x` where it is positive, else `alpha (exp(x / alpha) - 1)` (Barron, Continuously differentiable ELU, 2017)."""
    return _elu(x, alpha, 1, 1 / alpha)


def _selu(x: Tensor) -> Tensor:
    """ELU with the constants of Klambauer et al., Self-normalizing neural networks, 2017."""
    return _elu(x, 1.6732632423543772, 1.0507009873554805)


def _mish(x: Tensor) -> Tensor:
    """`x tanh(log(1 + exp(x)))` (Misra, 2019); with `r = sigmoid(-x)`, that is `x (1 - r r) / (1 + r r)`."""
    r = (-x).sigmoid().square()
    return x * ((1 - r) / (1 + r))


def _softshrink(x: Tensor, width: float = 0.5) -> Tensor:
    return x - x.clamp(-width, width)


RULES: dict[Any, Callable[..., Any]] = {
    **{target: decomposition_table.get(target, target) for target in BY_TORCH},
    aten.addcdiv.default: _add_quotient,
    aten.amin.default: _least,
    aten.celu.default: _celu,
    aten.clamp_max.default: _at_most,
    aten.clamp_max_.default: _at_most,
    aten.celu_.default: _celu,
    aten.elu.default: _elu,
    aten.elu_.default: _elu,
    aten.layer_norm.default: _layer_norm,
    aten.lerp.Scalar: _between,
    aten.linalg_vector_norm.default: _norm,
    aten.max.other: _largest_of_two,
    aten.maximum.default: _largest_of_two,
    aten.min.other: _least_of_two,
    aten.minimum.default: _least_of_two,
    aten.mish.default: _mish,
    aten.mish_.default: _mish,
    aten.rms_norm.default: _rms_norm,
    aten.selu.default: _selu,
    aten.selu_.default: _selu,
    aten.softshrink.default: _softshrink,
    aten.std.correction: _deviation,
    aten.std.dim: _deviation,
    aten.std_mean.correction: _deviation_and_mean,
    aten.std_mean.dim: _deviation_and_mean,
    aten.var.correction: _variance,
    aten.var.dim: _variance,
    aten.var_mean.correction: _variance_and_mean,
    aten.var_mean.dim: _variance_and_mean,
}

OVER_ALL = (aten.mean.dim, aten.sum.dim_IntList)

# They spread their sides over each other themselves.
ELEMENTWISE = (
    aten.add.Tensor,
    aten.add_.Tensor,
    aten.div.Tensor,
    aten.div_.Tensor,
    aten.mul.Tensor,
    aten.mul_.Tensor,
    aten.sub.Tensor,
    aten.sub_.Tensor,
)


def decompose(graph: Graph) -> None:
    """Replaces the nodes of a graph, for whose op there is a rule, until none is left.

    What changes a tensor in place is left as it is if a view of the tensor is used, since then the view changes too.
    """
    for node in list(graph.nodes):
        if node.target in OVER_ALL and node.args[1:2] in ((0,), ([0],)):
            _add_up(graph, node)
    pending = list(graph.nodes)
    while pending:
        node = pending.pop()
        stays = is_mutable(node) and changes_others(node)
        if _has_rule(node) and not stays:
            pending += _replace(graph, node, RULES[node.target])
    for node in graph.nodes:
        if node.target in ELEMENTWISE:
            _leave_out_expand(node)


def _add_up(graph: Graph, node: Node) -> None:
    """Puts a sum of tensors in the place of `torch.stack(tensors).mean(0)` or `.sum(0)`: there, 0 is not the batch."""
    stacked = node.args[0]
    if not (isinstance(stacked, Node) and stacked.target == aten.stack.default and stacked.args[1:2] in ((), (0,))):
        return
    if node.args[2:3] not in ((), (False,)):
        return
    tensors: Any = stacked.args[0]
    total: Node = tensors[0]
    steps: list[tuple[Any, Any]] = [(aten.add.Tensor, other) for other in tensors[1:]]
    if node.target == aten.mean.dim:
        steps.append((aten.mul.Tensor, 1 / len(tensors)))
    with graph.inserting_before(stacked):  # the tensors may be changed in place between the two
        for target, by in steps:
            total = graph.call_function(target, (total, by))
            total.meta = dict(node.meta)
    node.replace_all_uses_with(total)
    graph.erase_node(node)
    if not stacked.users:
        graph.erase_node(stacked)


def _has_rule(node: Node) -> bool:
    """Whether there is a rule for the op, which for a norm is of order 2, for layer normalization is over many axes."""
    if node.target == aten.linalg_vector_norm.default:
        return node.args[1:2] in ((), (2,))
    if node.target == aten.layer_norm.default:
        return len(node.args[1]) > 1  # type: ignore[arg-type]
    return node.target in RULES


def _leave_out_expand(node: Node) -> None:
    """Lets a sum or product read a side that was spread over the other side as it was before."""
    for side, other in (node.args[:2], node.args[1::-1]):
        if isinstance(side, Node) and side.target == aten.expand.default and isinstance(other, Node):
            (source,) = side.all_input_nodes
            fits = other is not side and other.meta["val"].shape == node.meta["val"].shape
            if fits and not any(map(is_mutable, source.users)):
                node.replace_input_with(side, source)


def _replace(graph: Graph, node: Node, rule: Callable[..., Any]) -> Sequence[Node]:
    """Puts the ops that a rule runs in the place of a node; returns them."""
    sources = node.all_input_nodes

    def run(*tensors: Tensor) -> Any:
        values = dict(zip(sources, tensors, strict=True))
        args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
        return rule(*args, **kwargs)

    part = make_fx(run)(*(source.meta["val"] for source in sources)).graph
    known = dict(zip((each for each in part.nodes if each.op == "placeholder"), sources, strict=True))
    with graph.inserting_before(node):
        result: Any = graph.graph_copy(part, known)
    made = [copy for copy in known.values() if copy not in sources]
    for copy in made:
        copy.meta["nn_module_stack"] = node.meta.get("nn_module_stack")
    if isinstance(result, Node):
        node.replace_all_uses_with(result)
    else:  # several tensors
        for user in list(node.users):
            user.replace_all_uses_with(result[user.args[1]])
            graph.erase_node(user)
    graph.erase_node(node)
    return made
