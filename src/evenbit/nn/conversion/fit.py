"""A start better than chance: a new binary network fitted to the real one in one pass over a few hundred images.

Both networks see the same images. In the order in which the binary network computes, each part is set in closed form
so that what it makes of *the binary network's own* values comes closest, in least squares, to what the real network has
there. So each part also corrects errors of the parts before it. Tokens are treated like the pixels of a map.

    zero points      t_c = (E[x | x >= t_c] + E[x | x < t_c]) / 2     of each channel of a binary layer's input: the two
                                                                      values closest to x on average meet there
    signs            min over b in {±1} of E (f - s b·x̂ - c)²         x̂: the bits that a filter reads; f: what the real
                                                                      one makes; from sign(w), one sign at a time
    normalizations   γ, β with γ ŷ + β closest to the real result     ŷ: normalized by the moments of y, which become
                                                                      the running ones
    RPReLU, Maxout   slope 0 where they replace a ReLU, which they then equal
    last layer       ΔW, Δb closest to the difference of the logits   by ridge regression

The size |w| of each weight stays, and with it how easily training changes its sign. Where the method has no part that
moves a zero point, the zero point stays.

Sources: Lloyd, Least squares quantization in PCM, 1982 (zero points); Frantar et al., GPTQ, ICLR 2023 (weights chosen
by the second moments of what a layer reads). How they are put together is this project's choice.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from evenbit.nn.activation import BinaryActivation
from evenbit.nn.block import BinaryLayer
from evenbit.nn.conv import BinaryConv2d, BinaryLinear
from evenbit.nn.conversion.structure import Structure
from evenbit.nn.distribution import EPSILON, DistributionAdjustment
from evenbit.nn.excitation import GroupExcitation
from evenbit.nn.refinement import Maxout, RPReLU, ZeroPoint
from evenbit.nn.trace import image_size, in_eval_mode, module_path
from evenbit.nn.two_values import TwoValues
from evenbit.nn.weight import WeightBinarizer

PIXELS = 64  # of each image's map, or tokens, at most, that are looked at
STEPS = 10  # towards the zero points
SWEEPS = 3  # over the signs of a filter
RIDGE = 0.01  # of the mean variance of what the last layer reads
CHUNK = 16  # images whose patches are in memory at once
TINY = 1e-12


@torch.no_grad()
def fit(network: nn.Module, real: nn.Module, images: Tensor) -> None:
    """Sets the parameters of a fresh binary network by what the real one computes.

    Args:
        network: What `evenbit.binarize` made of `real`; is changed.
        real: The trained real network.
        images: `[N, C, H, W]` in [0, 1], a few hundred, such as those that `real` was trained on; all go through both
            networks at once.

    Raises:
        CaptureError: If the real network cannot be traced.
    """
    with in_eval_mode(network), in_eval_mode(real):
        _Fit(network, real, images).run()


class _Fit:
    def __init__(self, network: nn.Module, real: nn.Module, images: Tensor) -> None:
        self.network, self.real, self.images = network, real, images
        self.pixels: dict[int, Tensor] = {}
        self.targets: dict[str, Tensor] = {}  # what modules of the real network make, by path
        structure = Structure(real, image_size(images))
        nodes = [module_path(node) for node in structure.graph.nodes if node.op == "call_function"]
        self.called_once = {path for path in nodes if nodes.count(path) == 1}
        self.last = {call.path for call in structure.calls if call.is_last}

    def run(self) -> None:
        """Records what the real network makes, then sets each module of the binary one just before it is called."""
        real = dict(self.real.named_modules())
        hooks: list[tuple[nn.Module, Callable[..., Any]]] = []
        wanted = set()
        for path, module in self.network.named_modules():
            if isinstance(module, RPReLU | Maxout) and isinstance(real.get(path), nn.ReLU | nn.ReLU6):
                module.slope.zero_()
            if path not in self.called_once or path not in real:
                continue
            if isinstance(module, BinaryLayer):
                hooks.append((module.activation, lambda each, inputs, _: _set_zero_points(each, inputs)))
                if isinstance(module.layer.binarizer, WeightBinarizer):  # and its weights are not real
                    hooks.append((module.layer, self._hook(self._set_signs, path)))
                if isinstance(module.norm, _BatchNorm):
                    hooks.append((module.norm, self._hook(self._set_norm, path)))
            elif isinstance(module, _BatchNorm) and module.affine and module.track_running_stats:
                hooks.append((module, self._hook(self._set_norm, path)))
            elif isinstance(module, nn.Linear) and path in self.last:
                hooks.append((module, self._hook(self._set_last, path)))
            else:
                continue
            wanted.add(path)
        with ExitStack() as recorded:
            for path in wanted:
                recorded.callback(real[path].register_forward_hook(self._recorder(path)).remove)
            self.real(self.images)
        with ExitStack() as hooked:
            for module, hook in hooks:
                hooked.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
            self.network(self.images)

    def _recorder(self, path: str) -> Callable[..., None]:
        def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.targets[path] = self._rows(output, last=isinstance(module, nn.Linear))

        return record

    def _hook(self, setter: Callable[[Any, Tensor, Tensor], None], path: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            if path in self.targets:
                setter(module, (*inputs, *named.values())[0], self.targets[path])

        return hook

    def _positions(self, count: int) -> Tensor:
        """The pixels of each image that are looked at of so many, `[N, P]`; others for each image."""
        if count not in self.pixels:
            draw = torch.Generator().manual_seed(0)
            order = torch.rand(len(self.images), count, generator=draw).argsort(1)
            self.pixels[count] = order[:, :PIXELS].to(self.images.device)
        return self.pixels[count]

    def _rows(self, x: Tensor, *, last: bool = False) -> Tensor:
        """`[N, C, ...]`, or `[..., C]` where channels are the last axis, at these pixels, as `[M, C]`."""
        if last or x.dim() == 2:
            x = x.reshape(len(self.images), -1, x.shape[-1]).transpose(1, 2)
        x = x.flatten(2)
        at = self._positions(x.shape[2])
        return x.gather(2, at[:, None].expand(-1, x.shape[1], -1)).transpose(1, 2).flatten(0, 1)

    def _set_signs(self, layer: BinaryConv2d | BinaryLinear, bits: Tensor, target: Tensor) -> None:
        target = target - target.mean(0)
        if isinstance(layer, BinaryConv2d):
            second, cross, total = self._moments(layer, bits, target)
        else:
            rows = self._rows(bits)
            second, cross, total = (rows.T @ rows)[None], target.T @ rows, rows.sum(0)[None]
        count = len(target)
        covariance = second / count - total[:, :, None] * total[:, None] / count**2
        weight = layer.weight.flatten(1)
        signs = layer.binarizer.normalized(layer.weight).sign().view_as(weight)
        parts = (torch.where(signs == 0, 1.0, signs).chunk(len(second)), covariance, (cross / count).chunk(len(second)))
        chosen = torch.cat([_best_signs(*part) for part in zip(*parts, strict=True)])
        # Where filters are standardized on use, the smallest weights may turn out with another sign.
        layer.weight.copy_((chosen * weight.abs().clamp(min=TINY)).view_as(layer.weight))

    def _moments(self, conv: BinaryConv2d, bits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over the rows of `target` of x̂ x̂ᵀ, f x̂ᵀ and x̂, with x̂ the bits that a filter reads there.

        Returns:
            `[G, K, K]`, `[O, K]` and `[G, K]`, for G groups of channels.
        """
        groups, inputs = conv.groups, conv.weight[0].numel()
        second, total = bits.new_zeros(groups, inputs, inputs), bits.new_zeros(groups, inputs)
        cross = bits.new_zeros(len(conv.weight), inputs)
        kernel, (up, left) = conv.weight.shape[2:], conv.padding
        for start in range(0, len(bits), CHUNK):
            part = slice(start, start + CHUNK)
            padded = F.pad(bits[part], (left, left, up, up), value=1.0)
            patches = F.unfold(padded, kernel, dilation=conv.dilation, stride=conv.stride)
            at = self._positions(patches.shape[2])[part]
            read = patches.gather(2, at[:, None].expand(-1, patches.shape[1], -1)).transpose(1, 2)
            read = read.reshape(-1, groups, inputs).transpose(0, 1)
            wanted = target.view(len(bits), -1, target.shape[1])[part].reshape(read.shape[1], groups, -1)
            second += read.transpose(1, 2) @ read
            cross += (wanted.permute(1, 2, 0) @ read).flatten(0, 1)
            total += read.sum(1)
        return second, cross, total

    def _set_norm(self, norm: _BatchNorm, y: Tensor, target: Tensor) -> None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        var, mean = torch.var_mean(y.transpose(0, 1).flatten(1), 1, correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
        rows = (self._rows(y) - mean) * torch.rsqrt(var + norm.eps)
        centred, middle = rows - rows.mean(0), target.mean(0)
        norm.weight.copy_((centred * (target - middle)).sum(0) / centred.square().sum(0).clamp(min=TINY))
        norm.bias.copy_(middle - norm.weight * rows.mean(0))

    def _set_last(self, linear: nn.Linear, x: Tensor, target: Tensor) -> None:
        x = self._rows(x, last=True)
        missing = target - F.linear(x, linear.weight, linear.bias)
        centred = (x - x.mean(0)).double()
        second = centred.T @ centred
        second.diagonal().add_(RIDGE * second.diagonal().mean() + TINY)
        change = torch.linalg.solve(second, centred.T @ (missing - missing.mean(0)).double()).T.to(x.dtype)
        linear.weight.add_(change)
        if linear.bias is not None:
            linear.bias.add_(missing.mean(0) - change @ x.mean(0))


def _set_zero_points(module: BinaryActivation, inputs: tuple[Tensor, ...]) -> None:
    """Sets what of a method moves the zero points by the input of its sign."""
    values = inputs[0].transpose(0, 1).flatten(1)
    var, mean = torch.var_mean(values, 1, correction=0)
    scale, offset = torch.ones_like(mean), torch.zeros_like(mean)
    adjust = module.adjust
    # What the gate of an excitation gives before it has learned anything.
    shift = float(module.excite.bound(torch.zeros(()))) if isinstance(module.excite, GroupExcitation) else 0.0
    if isinstance(adjust, DistributionAdjustment):
        if adjust.axes == "group":
            rows = values.view(adjust.groups, -1)
            mean = rows.mean(1).repeat_interleave(len(mean) // adjust.groups)
            var = rows.var(1, correction=0).repeat_interleave(len(var) // adjust.groups)
        adjust.running_mean.copy_(mean)
        adjust.running_var.copy_(var)
        scale = adjust.weight * torch.rsqrt(var + EPSILON)
        if not isinstance(module.refine, ZeroPoint):
            adjust.bias.copy_((mean - _middle(values)) * scale - shift)
        offset = adjust.bias - mean * scale
    offset = offset + shift
    if isinstance(module.values, TwoValues):
        module.values.middle.copy_(_middle((values * scale[:, None] + offset[:, None]).reshape(1, -1))[0])
    if isinstance(module.refine, ZeroPoint):
        middle = _middle(values) * scale + offset
        module.refine.tau.copy_(middle.view(-1, *(1,) * (module.refine.tau.dim() - 1)))


def _middle(values: Tensor) -> Tensor:
    """t, for each row; see the module's page."""
    middle = values.mean(1, keepdim=True)
    for _ in range(STEPS):
        above = values >= middle
        count = above.sum(1, keepdim=True)
        high = torch.where(above, values, 0).sum(1, keepdim=True) / count.clamp(min=1)
        low = torch.where(above, 0, values).sum(1, keepdim=True) / (values.shape[1] - count).clamp(min=1)
        middle = torch.where((count > 0) & (count < values.shape[1]), (high + low) / 2, middle)
    return middle.squeeze(1)


def _best_signs(signs: Tensor, covariance: Tensor, cross: Tensor) -> Tensor:
    """Signs b `[O, K]` with the least s² b G bᵀ - 2 s b rᵀ, changed one by one as long as that falls.

    Args:
        signs: To begin with.
        covariance: G, of the bits, `[K, K]`.
        cross: r, of the bits with what is wanted, `[O, K]`.
    """
    signs = signs.clone()
    products = signs @ covariance
    for _ in range(SWEEPS):
        scale = (signs * cross).sum(1) / (signs * products).sum(1).clamp(min=TINY)
        for k, row in enumerate(covariance):
            others = products[:, k] - row[k] * signs[:, k]
            chosen = torch.where(scale * (cross[:, k] - scale * others) >= 0, 1.0, -1.0).to(signs.dtype)
            products += (chosen - signs[:, k])[:, None] * row
            signs[:, k] = chosen
    return signs
