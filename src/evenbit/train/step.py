"""One update of a network on a batch, and the same update as one CUDA graph.

A step of a binary network runs thousands of small kernels, and the CPU launches them more slowly than the GPU runs
them. A graph launches them all at once. For that, everything a step reads and writes needs a fixed place in memory:
images, labels, learning rate and results are buffers, and weights, statistics and the optimizer's state are changed in
place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from evenbit.data.augment import Mixed
from evenbit.nn import keep_latent_weights_within_reach
from evenbit.train.checkpoint import to_float
from evenbit.train.objective import Objective

WARMUP_STEPS = 3  # before a capture, as torch requires: libraries choose their algorithms and allocate memory


class Batch(NamedTuple):
    """What a step learns from.

    Attributes:
        images: `[N, C, H, W]`, uint8, or floats in [0, 1], channels last.
        labels: `[N]`.
        mixed: Which other images these are mixed with; None if they are not mixed.
    """

    images: Tensor
    labels: Tensor
    mixed: Mixed | None = None

    def tensors(self) -> list[Tensor]:
        """All its tensors."""
        return [self.images, self.labels, *((self.mixed.share, self.mixed.partner) if self.mixed else ())]

    def copy(self) -> Batch:
        """A copy with its own memory."""
        images, labels, *mixed = (tensor.clone() for tensor in self.tensors())
        return Batch(images, labels, Mixed(*mixed) if mixed else None)


class Step:
    """Forward, loss, backward, optimizer, and the clamp of latent weights.

    Args:
        model: What is called: the network, compiled or wrapped for several processes.
        network: The network itself.
        objective: Its loss.
        optimizer: The optimizer of the network's parameters.
        backward: Computes the gradients of the loss.
        bf16: Whether the network runs under autocast to bfloat16.
    """

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        network: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        *,
        backward: Callable[[Tensor], None] = Tensor.backward,
        bf16: bool = False,
    ) -> None:
        self.model, self.network, self.objective, self.optimizer = model, network, objective, optimizer
        self._backward, self._bf16 = backward, bf16

    def __call__(self, batch: Batch, rate: float) -> tuple[Tensor, Tensor]:
        """Updates the network.

        Args:
            batch: Images and labels.
            rate: The learning rate.

        Returns:
            The mean loss, and the number of right answers.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return self.update(batch)

    def update(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Updates the network at the optimizer's present learning rate."""
        images, labels, mixed = batch
        inputs = to_float(images) if images.dtype == torch.uint8 else images
        with (
            self.objective.watching(self.network),
            torch.autocast(images.device.type, torch.bfloat16, enabled=self._bf16),
        ):
            logits = self.model(inputs)
        loss = self.objective(inputs, logits.float(), labels, mixed)
        self.optimizer.zero_grad()
        self._backward(loss)
        self.optimizer.step()
        keep_latent_weights_within_reach(self.network)
        return loss.detach(), (logits.detach().argmax(1) == labels).sum()


class Graph(Protocol):
    """Work that is recorded once and then repeated on the same memory."""

    def warm_up(self, work: Callable[[], None]) -> None:
        """Runs the work a few times, with all its effects."""

    def capture(self, work: Callable[[], None]) -> None:
        """Records the work without any effect."""

    def replay(self) -> None:
        """Runs the recorded work."""


class CudaGraph:
    """A `Graph` on a GPU (`torch.cuda.CUDAGraph`)."""

    def __init__(self) -> None:
        self._graph = torch.cuda.CUDAGraph()

    def warm_up(self, work: Callable[[], None]) -> None:
        """See `Graph`; on a separate stream, like a capture."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARMUP_STEPS):
                work()
        torch.cuda.current_stream().wait_stream(stream)

    def capture(self, work: Callable[[], None]) -> None:
        """See `Graph`."""
        with torch.cuda.graph(self._graph):
            work()

    def replay(self) -> None:
        """See `Graph`."""
        self._graph.replay()


class CapturedStep:
    """A `Step` as a graph, for batches of one shape; the warm-up before its capture is undone.

    Args:
        step: Its optimizer is set to take the learning rate from a buffer.
        batch: Any batch of that shape.
        graph: Records the step.

    Raises:
        RuntimeError: If the step cannot be recorded; network and optimizer are then unchanged.
    """

    def __init__(self, step: Step, batch: Batch, graph: Graph) -> None:
        self._batch, self._graph = batch.copy(), graph
        device = batch.images.device
        self._loss, self._hits = torch.zeros((), device=device), torch.zeros((), dtype=torch.long, device=device)
        self._rate = torch.zeros((), device=device)
        groups = step.optimizer.param_groups
        before = [dict(group) for group in groups]
        for group in groups:
            group["lr"] = self._rate

        def work() -> None:
            loss, hits = step.update(self._batch)
            self._loss.copy_(loss)
            self._hits.copy_(hits)

        restore = _remember(step.network, step.optimizer)
        try:
            graph.warm_up(work)
            restore()
            step.optimizer.zero_grad()  # so that the recorded backward creates gradients and does not add to old ones
            for group in groups:
                group["capturable"] = device.type == "cuda"
            graph.capture(work)
        except RuntimeError:
            restore()
            for group, settings in zip(groups, before, strict=True):
                group |= {key: settings[key] for key in ("lr", "capturable")}
            raise

    def __call__(self, batch: Batch, rate: float) -> tuple[Tensor, Tensor]:
        """See `Step`; the results are overwritten by the next call."""
        for buffer, tensor in zip(self._batch.tensors(), batch.tensors(), strict=True):
            buffer.copy_(tensor)
        self._rate.fill_(rate)
        self._graph.replay()
        return self._loss, self._hits


def _remember(network: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """A function that resets network and optimizer to their present state, in place.

    State that the optimizer does not have yet, since its first step creates it, is reset to 0.
    """
    tensors = [*network.parameters(), *network.buffers()]
    kept = [tensor.detach().clone() for tensor in tensors]
    states = {p: {key: value.clone() for key, value in state.items()} for p, state in optimizer.state.items() if state}

    @torch.no_grad()
    def restore() -> None:
        for tensor, value in zip(tensors, kept, strict=True):
            tensor.copy_(value)
        for parameter, state in optimizer.state.items():
            for key, value in state.items():
                value.copy_(states[parameter][key]) if parameter in states else value.zero_()

    return restore
