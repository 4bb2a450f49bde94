"""What binarization does to a network's features and weights, measured layer by layer.

For a binary activation with u the values that its sign is taken of, over images and pixels, for each channel c:

    share         p_c, the share of +1
    balance       mean_c |p_c - 1/2|                                          0 = even, 1/2 = constant
    spread        standard deviation over c of p_c
    entropy       mean_c -(p_c log2 p_c + (1 - p_c) log2 (1 - p_c))           1 = even, 0 = constant, in bits
    window        share of u whose gradient is at least a tenth of the estimator's largest
    zero_point    z_c = -mean(u) / std(u): where the zero point lies, in standard deviations from the mean
    displacement  median_c |z_c|, which constant channels do not distort      0 = zero points at the means
    error         mean_c of 1 - mean(|u|)² / mean(u²), the part of u's energy that the best α sign(u) misses

For a binary layer's weights w̄: the same error, with w̄ in place of u, and the share of signs that changed since the
last measurement.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evenbit.data import hold_out, load_dataset
from evenbit.errors import RecipeError
from evenbit.evaluation import batch_for
from evenbit.nn import ESTIMATORS, BinaryActivation, BinaryConv2d, BinaryLinear, Sign
from evenbit.train.checkpoint import load_run
from evenbit.train.metrics import read_metrics
from evenbit.train.precision import exact_float32

WINDOW_SHARE = 0.1
ROUNDING = 1e-9  # tolerance for gradients, so that a window that ends on a grid point includes it
WINDOW_LIMIT = 30.0  # the widest finite window, that of "ede" at the start of training, ends at 18


@dataclass(frozen=True)
class ActivationProbe:
    """One binary activation; see the module's docstring.

    Attributes:
        share: Share of +1, for each channel.
        balance: Mean distance of the shares from 1/2.
        spread: Standard deviation of the shares over the channels.
        entropy: Mean entropy of the bits.
        window: Share of values that pass a gradient.
        zero_point: Zero point of each channel.
        displacement: Median distance of the zero points from the means.
        error: Mean error of the binarization.
    """

    share: tuple[float, ...]
    balance: float
    spread: float
    entropy: float
    window: float
    zero_point: tuple[float, ...]
    displacement: float
    error: float

    def scalars(self) -> dict[str, float]:
        """The fields that are a single number."""
        return {key: value for key, value in dataclasses.asdict(self).items() if isinstance(value, float)}


def gradient_window(sign: Sign) -> float:
    """The largest |u| whose gradient is at least a tenth of the estimator's largest; inf if the window has no end."""
    grid = torch.linspace(0, WINDOW_LIMIT, 30 * 1000 + 1, dtype=torch.float64)
    gradient = ESTIMATORS[sign.estimator](grid, sign.progress.double().cpu())
    inside = grid[gradient >= WINDOW_SHARE * gradient.max() - ROUNDING]
    return math.inf if inside[-1] == WINDOW_LIMIT else float(inside[-1])


@torch.inference_mode()
def probe_activations(model: nn.Module, images: Tensor, batch_size: int) -> dict[str, ActivationProbe]:
    """Probes of every `BinaryActivation` in `model`, by module path; empty for a real-valued network.

    Args:
        model: In eval mode.
        images: uint8, `[N, C, H, W]`, on the model's device; at least one.
        batch_size: Images per pass.
    """
    sums: dict[str, ActivationSums] = {}
    handles = []

    def watch(name: str, sign: Sign) -> Any:
        sums[name] = ActivationSums(sign)
        return sign.register_forward_hook(lambda module, inputs, bits: sums[name].add(inputs[0]))

    for name, module in model.named_modules():
        if isinstance(module, BinaryActivation):
            handles.append(watch(name, module.sign))
    try:
        if handles:
            for batch in torch.split(images, batch_size):
                with exact_float32():
                    model(batch.float() / 255)
    finally:
        for handle in handles:
            handle.remove()
    return {name: one.probe() for name, one in sums.items()}


class WeightProbe:
    """Measures how the binary weights of a network change from one call of `look` to the next.

    Args:
        model: The network; the first call compares with its present signs.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers = {
            name: module for name, module in model.named_modules() if isinstance(module, BinaryConv2d | BinaryLinear)
        }
        self._signs = {name: _signs(layer) for name, layer in self._layers.items()}

    @torch.no_grad()
    def look(self) -> dict[str, dict[str, float]]:
        """For each binary layer, its `error` and its `flips`, the share of signs that changed since the last call."""
        found = {}
        for name, layer in self._layers.items():
            signs = _signs(layer)
            flips = float((signs != self._signs[name]).double().mean())
            self._signs[name] = signs
            rows = layer.binarizer.normalized(layer.weight).double()
            found[name] = {"error": float(_error(rows.abs().mean(1), rows.square().mean(1))), "flips": flips}
        return found


def means(probes: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean of each number over the layers."""
    keys = next(iter(probes.values())).keys() if probes else ()
    return {key: math.fsum(layer[key] for layer in probes.values()) / len(probes) for key in keys}


def check_number(images: int) -> None:
    """Raises RecipeError if the number of images to look at is below 1."""
    if images < 1:
        raise RecipeError(f"the number of images should be at least 1, but is {images}")


def probe_run(folder: Path, *, data_root: str | None, images: int) -> dict[str, Any]:
    """The probes of a run, over the images that it was measured on.

    Args:
        folder: Folder of the run.
        data_root: Where the files of a named data set are.
        images: How many of these images to use, from the first on.

    Returns:
        `run`, the folder; `layers`, the probe of each binary activation; `means` over them; and `weights`, the `error`
        and `flips` of each binary layer after the run's last epoch.

    Raises:
        CheckpointError, DataError: If the run or its data cannot be read.
        RecipeError: If `images` is not at least 1, or the run's network has no binary activations.
    """
    run = load_run(folder)
    check_number(images)
    dataset = load_dataset(run.data, root=data_root, size=run.recipe.image_size)
    if run.recipe.validation:
        dataset = hold_out(dataset, run.recipe.validation)
    looked_at = dataset.test.images[:images]
    probes = probe_activations(run.model, torch.from_numpy(looked_at), batch_for(looked_at))
    if not probes:
        raise RecipeError(f"the network in {folder} has no binary activations")
    found = means({name: probe.scalars() for name, probe in probes.items()})
    layers = {name: dataclasses.asdict(probe) for name, probe in probes.items()}
    metrics = read_metrics(folder, run.epoch)
    return {"run": str(folder), "means": found, "layers": layers, "weights": metrics[-1]["weights"] if metrics else {}}


@dataclass
class ActivationSums:
    """Sums over batches for the probe of one activation, for each channel in float64.

    Attributes:
        sign: The activation's sign, whose gradient decides what is inside the window.
    """

    sign: Sign
    _count: int = 0
    _totals: dict[str, Any] = field(default_factory=dict)

    def add(self, u: Tensor) -> None:
        """Adds the values that the sign is taken of, `[N, C, ...]`."""
        u = u.flatten(2) if u.dim() > 2 else u[..., None]
        magnitude = u.abs()
        values = {
            "ones": u >= 0,
            "inside": magnitude <= gradient_window(self.sign),
            "u": u,
            "magnitude": magnitude,
            "square": u.square(),
        }
        self._count += u.shape[0] * u.shape[2]
        for key, value in values.items():
            self._totals[key] = self._totals.get(key, 0) + value.sum((0, 2), dtype=torch.float64).cpu()

    def mean(self) -> Tensor:
        """The mean of each channel so far."""
        return self._totals["u"] / self._count  # type: ignore[no-any-return]

    def probe(self) -> ActivationProbe:
        """The probe of everything added so far."""
        share, inside, mean, magnitude, square = (
            self._totals[key] / self._count for key in ("ones", "inside", "u", "magnitude", "square")
        )
        entropy = -(torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share)) / math.log(2)
        zero_point = -mean / (square - mean.square()).clamp(min=0).sqrt().clamp(min=1e-12)
        return ActivationProbe(
            share=tuple(share.tolist()),
            balance=float((share - 0.5).abs().mean()),
            spread=float(share.std(correction=0)),
            entropy=float(entropy.mean()),
            window=float(inside.mean()),
            zero_point=tuple(zero_point.tolist()),
            displacement=float(zero_point.abs().median()),
            error=float(_error(magnitude, square)),
        )


def _error(magnitude: Tensor, square: Tensor) -> Tensor:
    return (1 - magnitude.square() / square.clamp(min=1e-30)).mean()


@torch.no_grad()
def _signs(layer: BinaryConv2d | BinaryLinear) -> Tensor:
    return layer.binarizer.normalized(layer.weight) >= 0
