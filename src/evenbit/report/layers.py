"""The values in every binary layer of a network before its adjustment and before its sign.

Let a be the input of a binary activation, and u the values that its sign is taken of. In every channel u = s a + o,
where o may depend on the image. So the sign changes where a is at the zero point

    t = -o / s = a - u / s

A report draws the mean of t over the images. The slope s is the same for all images, so it is estimated from the first
batch, by least squares within each image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from evenbit.nn import BinaryActivation
from evenbit.train.probes import ActivationProbe, ActivationSums, gradient_window

Histogram = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

BINS = 60
SHOWN = (0.005, 0.995)  # quantiles of the values, all channels together, between which a histogram is drawn
QUANTILE_VALUES = 100_000  # from which the quantiles are taken


@dataclass(frozen=True)
class Distribution:
    """Values of a map.

    Attributes:
        edges: The `BINS + 1` edges of a histogram's bins; 0 is one of them.
        shares: Share of the first batch's values in each bin, all channels together.
        probe: The probe of the values, as if their sign were taken, over all images.
    """

    edges: npt.NDArray[np.float64]
    shares: npt.NDArray[np.float64]
    probe: ActivationProbe

    @property
    def positive(self) -> float:
        """Share of +1 over all channels."""
        return float(np.mean(self.probe.share))


@dataclass(frozen=True)
class BinaryLayer:
    """One binary activation.

    Attributes:
        before: Its input.
        after: The values that its sign is taken of.
        adjusted: Whether the two differ.
        zero_points: For each channel, the mean over the images of where the sign changes, in units of the input;
            NaN for a channel that is constant.
        window: Half the width of the gradient window around 0 of `after`; inf if it has no end.
    """

    before: Distribution
    after: Distribution
    adjusted: bool
    zero_points: npt.NDArray[np.float64]
    window: float


@torch.inference_mode()
def observe_layers(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, BinaryLayer]:
    """Every `BinaryActivation` of a network, by module path, in order; empty for a real-valued network.

    Args:
        model: In eval mode.
        batches: Images as the network takes them; at least one batch. Histograms are made from the first one.
    """
    observed = {name: _Observed(part) for name, part in model.named_modules() if isinstance(part, BinaryActivation)}
    if not observed:
        return {}
    handles = [handle for one in observed.values() for handle in one.hooks()]
    try:
        for batch in batches:
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: one.result() for name, one in observed.items()}


class _Observed:
    """Observes one activation while batches go through it."""

    def __init__(self, activation: BinaryActivation) -> None:
        self._activation = activation
        self._before, self._after = ActivationSums(activation.sign), ActivationSums(activation.sign)
        self._histograms: tuple[Histogram, Histogram] | None = None
        self._u: Tensor | None = None
        self._per_slope = torch.zeros(())  # 1 / s
        self._adjusted = False

    def hooks(self) -> tuple[torch.utils.hooks.RemovableHandle, ...]:
        return (
            self._activation.sign.register_forward_hook(self._see_sign),
            self._activation.register_forward_hook(self._see_input),
        )

    def _see_sign(self, module: nn.Module, inputs: tuple[Tensor], bits: Tensor) -> None:
        self._u = inputs[0]

    def _see_input(self, module: nn.Module, inputs: tuple[Tensor], bits: Tensor) -> None:
        a, u, self._u = inputs[0], self._u, None
        assert u is not None
        self._before.add(a)
        self._after.add(u)
        if self._histograms is None:
            self._histograms = _histogram(a), _histogram(u)
            self._adjusted = not torch.equal(a, u)
            around_a, around_u = _around_mean(a), _around_mean(u)
            self._per_slope = around_a.square().sum((0, 2)) / (around_a * around_u).sum((0, 2))  # 0 / 0 if constant

    def result(self) -> BinaryLayer:
        assert self._histograms is not None
        before, after = self._histograms
        zero_points = self._before.mean() - self._after.mean() * self._per_slope
        return BinaryLayer(
            before=Distribution(*before, self._before.probe()),
            after=Distribution(*after, self._after.probe()),
            adjusted=self._adjusted,
            zero_points=zero_points.numpy(),
            window=gradient_window(self._activation.sign),
        )


def _histogram(values: Tensor) -> Histogram:
    """Edges of the bins, and the shares of the values in them."""
    flat = values.flatten()
    edges = _edges(flat)
    counts = torch.histogram(flat, edges.to(flat.dtype)).hist.double()
    return edges.numpy(), (counts / flat.numel()).numpy()


def _edges(values: Tensor) -> Tensor:
    """Edges of equal bins between the `SHOWN` quantiles, shifted so that no bin holds values of both signs."""
    sample = values[:: len(values) // QUANTILE_VALUES + 1].double()
    low, high = torch.quantile(sample, torch.tensor(SHOWN, dtype=torch.float64)).tolist()
    low, high = min(low, 0.0), max(high, 0.0)
    width = max((high - low) / (BINS - 1), 1e-6)  # one bin more than the range needs, since the shift is less than one
    edges: Tensor = (torch.arange(BINS + 1, dtype=torch.float64) + float(np.floor(low / width))) * width
    return edges


def _around_mean(values: Tensor) -> Tensor:
    """Differences from the mean of each image's channel, `[N, C, P]`; for vectors, from the mean over the batch."""
    maps = values.flatten(2) if values.dim() > 2 else values.T[None]
    centred: Tensor = maps - maps.mean(2, keepdim=True)
    return centred
