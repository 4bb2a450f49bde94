"""The graph of a network, from `torch.export`: deployment lowers it, and binarization analyses it.

Binary convolutions and signs are single nodes of the graph (`evenbit.nn.ops`); all other nodes are standard ATen ops.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.nn.parameter import is_lazy

from evenbit.errors import CaptureError
from evenbit.nn.decompose import decompose

BLOCKS = "a block in torch.cond, or in both torch.no_grad and torch.enable_grad"
LOGGERS = ("fx.experimental.symbolic_shapes", "export", "_subclasses.fake_tensor")
BATCH = 2  # of the example input; any batch runs


class Logits(nn.Module):
    """Makes a network return its logits alone: Hugging Face's networks return a dataclass that holds them.

    Args:
        network: From images to something that holds logits.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = network.training

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return logits_of(self.network(images))


def logits_of(output: Any) -> Tensor:
    """The logits in what a network returns.

    Raises:
        CaptureError: If there are none.
    """
    if isinstance(output, Mapping) and "logits" in output:
        output = output["logits"]
    output = getattr(output, "logits", output)
    if not isinstance(output, Tensor):
        raise CaptureError("the network should return one tensor, its logits, or hold it under the name 'logits'")
    return output


def image_size(example: Tensor) -> tuple[int, ...]:
    """Channels, height and width of images `[N, C, H, W]`, or channels and length of sequences `[N, C, L]`.

    Raises:
        CaptureError: If they have another number of axes.
    """
    if not isinstance(example, Tensor) or example.dim() not in (3, 4):
        shape = list(example.shape) if isinstance(example, Tensor) else type(example).__name__
        raise CaptureError(
            f"the example should be images of the shape N x C x H x W, or sequences N x C x L, but is {shape}"
        )
    return tuple(example.shape[1:])


def zeros(module: nn.Module, size: tuple[int, ...]) -> Tensor:
    """Images `[BATCH, *size]` on the device of a network."""
    device = next((parameter.device for parameter in module.parameters()), None)
    return torch.zeros(BATCH, *size, dtype=torch.float32, device=device)


def trace(module: nn.Module, size: tuple[int, ...]) -> torch.export.ExportedProgram:
    """The graph from images `[BATCH, *size]` to logits; see `module_path` for its nodes.

    Raises:
        CaptureError: If a module is in training mode, has no values yet or cannot be traced; the error names it.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise CaptureError("the network was made by torch.jit; give the network that it was made from")
    for path, part in module.named_modules():
        if part.training:
            raise CaptureError(f"{place(path)} is in training mode; call eval() on the network first")
        for tensor in (*part._parameters.values(), *part._buffers.values()):
            if is_lazy(tensor):
                raise CaptureError(f"{place(path)} has no weights yet; run the network on an image first")
            if tensor is not None and tensor.is_meta:
                raise CaptureError(f"{place(path)} is on the device 'meta', without values; load its weights first")
    example = zeros(module, size)
    entered: list[str] = []  # modules whose forward has begun and not ended
    failed = "it cannot be computed"
    try:
        with _recorded(module, entered), _quiet(), _in_float32():
            # What the network keeps from its first run, such as a grid of positions, should be real tensors.
            with buffers_kept(module), torch.no_grad():
                module(example)
            failed = "torch.export cannot trace it"
            # A block that turns gradients off, or on where they are off, is an op of its own, with a graph inside it.
            # So a network is traced the other way if it has such blocks; few have both.
            program = torch.export.export(Logits(module), (example,), strict=False)
            if _blocks(program.graph):
                with torch.no_grad():
                    program = torch.export.export(Logits(module), (example,), strict=False)
        for node in _blocks(program.graph):
            raise CaptureError(f"{where(node)}: {BLOCKS} cannot be traced; take it out")
        decompose(program.graph)
        return program
    except CaptureError:
        raise
    except Exception as error:  # torch.export raises many types for what it cannot trace
        reason = str(error).strip().splitlines() or [type(error).__name__]
        if isinstance(error, GuardOnDataDependentSymNode):
            what = "of the images, or of tensors made in forward (an `if` on a tensor)"
            reason = [f"which ops it runs, or on which shapes, depends on the values {what}"]
        kinds = {parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()}
        if kinds - {torch.float32}:
            reason = [f"it has parameters of {(kinds - {torch.float32}).pop()}; call float() on the network first"]
        raise CaptureError(f"{place(entered[-1] if entered else '')}: {failed}: {reason[0]}") from error


def stored(program: torch.export.ExportedProgram) -> dict[str, Any]:
    """Parameters, buffers and constant tensors by the names of their nodes."""
    signature, tensors = program.graph_signature, {**program.state_dict, **program.constants}
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    return {name: tensors[target] for name, target in names.items()}


def _blocks(graph: torch.fx.Graph) -> list[Node]:
    """The nodes that run a graph inside the graph."""
    return [user for node in graph.nodes if node.op == "get_attr" for user in node.users]


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Sets every module of the network to eval mode; afterwards, each is back in its own mode."""
    modes = [(part, part.training) for part in network.modules()]
    try:
        network.eval()
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def _recorded(module: nn.Module, entered: list[str]) -> Iterator[None]:
    """Keeps the paths of the modules that are being computed in `entered`."""

    def leave(*_: object) -> None:
        entered.pop()

    with ExitStack() as hooks:
        for path, child in module.named_modules(remove_duplicate=True):
            before = child.register_forward_pre_hook(lambda *_, path=path: entered.append(path))
            after = child.register_forward_hook(leave)
            hooks.callback(before.remove)
            hooks.callback(after.remove)
        yield


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """Puts back the buffers of a network, which its forward may change or replace."""
    before = [
        (part._buffers, name, buffer, buffer.clone())
        for part in module.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        for buffers, name, buffer, value in before:
            buffers[name] = buffer.copy_(value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences what torch prints about a failure besides its exception."""
    loggers = [logging.getLogger(f"torch.{name}") for name in LOGGERS]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


@contextmanager
def _in_float32() -> Iterator[None]:
    """Makes blocks in `torch.autocast` compute as if they were not in one."""
    autocast: Any = torch.autocast
    enter, leave = autocast.__enter__, autocast.__exit__
    try:
        autocast.__enter__, autocast.__exit__ = lambda block: block, lambda *_: None
        yield
    finally:
        autocast.__enter__, autocast.__exit__ = enter, leave


def module_path(node: Node) -> str:
    """Path of the module that a node comes from, "" for the network itself."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(path) for path, _ in stack.values()]
    return paths[-1].removeprefix("network").removeprefix(".") if paths else ""


def where(node: Node) -> str:
    """How errors name the place of a node."""
    return place(module_path(node))


def place(path: str) -> str:
    """How errors name the module of a path."""
    return f"module '{path}'" if path else "the network"


def argument(node: Node, index: int, default: Any = None) -> Any:
    """Positional argument, or its default in torch if it is not given."""
    return node.args[index] if len(node.args) > index else default
