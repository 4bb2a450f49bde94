from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evenbit.deploy import pack
from evenbit.errors import CaptureError
from evenbit.plan import Plan
from evenbit.runtime import reference
from evenbit.runtime.engine import Engine, isas


def packed(module: nn.Module, *, channels: int = 3, classes: int = 4) -> Plan:
    return pack(module.eval(), torch.zeros(1, channels, 8, 6), classes=list("abcdefgh"[:classes]))


class Branches(nn.Module):
    """What hand-written float networks are made of, with in-place operations and two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8, affine=False)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.drop = nn.Dropout(0.5)
        self.hidden = nn.Linear(8 * 4 * 3, 10)
        self.bn = nn.BatchNorm1d(10)
        self.head = nn.Linear(10, 4, bias=False)
        self.register_buffer("gain", torch.rand(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(2 * x - 1), inplace=True)
        y = self.norm(self.depthwise(x)) * self.gain
        y += x
        y = self.drop(self.pool(y) + F.avg_pool2d(x, 2) - x.mean((2, 3), keepdim=True))
        return self.head(self.bn(F.relu(self.hidden(y.flatten(1))))) / 3


def test_a_network_that_is_not_ours() -> None:
    torch.manual_seed(0)
    module = Branches()
    module.norm.running_mean.normal_()
    module.bn.running_var.uniform_(0.5, 2)
    plan = packed(module)
    x = torch.rand(5, 3, 8, 6)
    with torch.no_grad():
        expected = module(x).numpy()
    assert abs(reference.run(plan, x.numpy()) - expected).max() < 1e-5
    assert {op.kind for op in plan.ops} == {"normalize", "conv", "elementwise", "max_pool", "avg_pool"}


def without_gradients(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x + torch.arange(4.0)[:, None, None]


def with_gradients(x: Tensor) -> Tensor:
    with torch.enable_grad():
        return x + torch.arange(4.0)[:, None, None]


def with_both(x: Tensor) -> Tensor:
    return without_gradients(x) + with_gradients(x)


def in_float32(x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return F.conv2d(x, WEIGHT)


@torch.autocast("cpu", enabled=False)
def wholly_in_float32(x: Tensor) -> Tensor:
    return F.conv2d(x, WEIGHT)


def network(forward: object, *parts: nn.Module) -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Sequential(nn.Conv2d(3, 4, 1), *parts)

        def forward(self, x: Tensor) -> Tensor:
            return forward(self.part(x))  # type: ignore[no-any-return, operator]

    return Net()


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x.mean(2).transpose(1, 2))[0].mean(1)  # type: ignore[no-any-return]


@functools.cache
def grid(n: int) -> Tensor:
    return torch.linspace(-1, 1, n)


def assigned(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, 1] = x[:, 0]
    return mean(y)


class DataDependent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return -x if x.mean() > 0.5 else x


def mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def channels_first(x: Tensor) -> Tensor:
    """Layer normalization of ConvNeXt's authors."""
    u = x.mean(1, keepdim=True)
    s = (x - u).pow(2).mean(1, keepdim=True)
    return mean((GAIN[:4] * ((x - u) / torch.sqrt(s + 1e-6)) + GAIN[4:8]).relu())


def shuffled(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def scores(x: Tensor) -> Tensor:
    return x @ x.transpose(2, 3)


def attention(x: Tensor) -> Tensor:
    tokens = x.flatten(2)[:, :, :47].transpose(1, 2)
    found, _ = MULTIHEAD(tokens, tokens, tokens.roll(1, 1))
    return found.mean(1)


def cut(x: Tensor, rows: int, columns: int) -> Tensor:
    """A map as tokens in windows, `[N, windows, rows * columns, C]`."""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // rows, rows, w // columns, columns).permute(0, 2, 4, 3, 5, 1)
    return x.reshape(n, -1, rows * columns, c)


def joined(x: Tensor, rows: int, columns: int) -> Tensor:
    """The map of eight rows that was cut into these windows."""
    x = x.unflatten(2, (rows, columns)).unflatten(1, (8 // rows, -1))
    return x.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def mixed(x: Tensor) -> Tensor:
    """A dense layer on tokens."""
    return F.linear(x, WEIGHT[:4, :4, 0, 0])


def relu_after(copied: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A ReLU in place after a copy was made of what it changes."""

    def forward(x: Tensor) -> Tensor:
        copy = copied(x)
        return mean(F.relu_(x) * 2 + copy)

    return forward


def with_more(x: Tensor) -> dict[str, Tensor]:
    """Logits beside what cannot be packed, some of it computed in place."""
    aside = F.elu_(F.max_pool2d(x, 2)).flatten(1)
    F.relu_(x)
    return {"aside": aside.log_softmax(1).mul_(2), "logits": mean(x), "spread": x.std()}


def marked(x: Tensor) -> Tensor:
    """A map of marks that is made while computing."""
    marks = x.new_zeros((8, 6))
    marks[2:5, 1:] = 1.5
    marks[-1] += torch.ones_like(x)[0, 0, 0]
    return mean(F.relu(x + marks))


class Tokens(nn.Module):
    """A block of a transformer, with a class token and positions."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        self.token, self.positions = torch.randn(1, 1, 12, generator=draw), torch.randn(1, 49, 12, generator=draw)
        self.qkv, self.out = torch.randn(36, 4, generator=draw), torch.randn(12, 12, generator=draw)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2) @ self.qkv[:12].T
        tokens = torch.cat([self.token.expand(2, -1, -1), tokens], 1) + self.positions
        qkv = (
            F.linear(F.layer_norm(tokens, (12,)), self.qkv.repeat(1, 3)).reshape(2, 49, 3, 4, 3).permute(2, 0, 3, 1, 4)
        )
        q, k, v = qkv.unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 49, 12)
        tokens = tokens + F.gelu(F.linear(y, self.out))
        return tokens[:, 0] + tokens.mean(1)


TOKENS = Tokens()
LENGTH_FIRST = nn.MultiheadAttention(4, 2).requires_grad_(False).eval()
MULTIHEAD = nn.MultiheadAttention(4, 2, batch_first=True).requires_grad_(False).eval()
MASK = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(2)) + 0.5 * torch.eye(8)
UPPER = torch.ones(8, 8).triu(1)
PLACES = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
WEIGHT = torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(0))
GAIN = torch.rand(12, 1, 1, generator=torch.Generator().manual_seed(0))
torch.manual_seed(0)  # the layers below draw their weights now
WORKING: list[tuple[object, list[nn.Module]]] = [
    (mean, [nn.ReLU6(), nn.Hardtanh(-0.3, 0.2), nn.LeakyReLU(0.1, inplace=True)]),
    (mean, [nn.Sigmoid(), nn.SiLU(), nn.Hardswish(), nn.Hardsigmoid(), nn.Softsign()]),
    (mean, [nn.Conv2d(4, 6, 3, 2, padding="valid"), nn.PReLU(6), nn.Conv2d(6, 6, (4, 3), padding="same")]),
    (mean, [nn.Conv2d(4, 6, 3, padding=(2, 1), dilation=(3, 2)), nn.Conv2d(6, 6, 3, padding="same", dilation=2)]),
    (mean, [nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(4, 5, 3, 2, padding=1)]),
    (mean, [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 4, 3, 2, groups=4)]),
    (mean, [nn.ZeroPad2d((0, 1, 2, 0)), nn.MaxPool2d(2)]),
    (mean, [nn.AdaptiveAvgPool2d((4, 2)), nn.AdaptiveMaxPool2d((2, 1)), nn.AdaptiveAvgPool2d((2, 1))]),
    (mean, [nn.AdaptiveAvgPool2d((4, 4)), nn.Hardtanh(-0.3, 0.2), nn.AdaptiveAvgPool2d((7, 9)), nn.ReLU()]),
    (
        lambda x: F.adaptive_max_pool2d(x, 1).flatten(1),
        [nn.Dropout2d(), nn.Dropout(inplace=True), nn.Dropout2d(inplace=True)],
    ),
    (lambda x: mean(without_gradients(x)), []),
    (lambda x: mean(in_float32(x) - wholly_in_float32(x * x)), []),
    (lambda x: mean(with_gradients(x)), []),
    (lambda x: F.dropout(t := x.flatten(2).transpose(1, 2), training=False, inplace=True).mean(1) + t.mean(1), []),
    (lambda x: x.flatten(2).transpose(1, 2).add_(torch.linspace(0, 1, 4)).mean(1), []),
    (lambda x: mean(F.scaled_dot_product_attention(x, x, x, scale=0.0)), []),
    (lambda x: mean(x * x.mean((2, 3), keepdim=True) * 3 - x * x), []),
    (lambda x: mean(x.mean((2, 3), keepdim=True).sigmoid() * x), []),
    (lambda x: mean(torch.cat([x, x, F.relu(x)], 1) * GAIN), []),
    (lambda x: torch.cat([mean(x), x.flatten(1)], -1), []),
    (lambda x: torch.stack([mean(x), x.amax((2, 3)), mean(x * x)]).mean(0), []),
    (lambda x: mean(torch.stack([x, x * x], dim=0).sum(dim=0)), [nn.ReLU()]),
    (lambda x: (t := mean(x), s := torch.stack([t, t * t]), t.mul_(3), s.mean(0) - t)[3], []),
    (lambda x: mean(torch.cat([x], 1).clamp(max=0.3).clamp(min=-0.2).clamp_(-0.1, 0.2)), []),
    (lambda x: mean(1 - x) - mean(torch.ones(4, 1, 1) - x) * 2 + (3 - mean(x)), []),
    (lambda x: F.relu(x.flatten(1)), []),
    (lambda x: F.relu(x.flatten(1)) + x.flatten(1) * x.flatten(1), []),
    (lambda x: x.reshape(2, 192, 1, 1).mean((2, 3)), []),
    (lambda x: mean(F.conv2d(x.reshape(2, 192, 1, 1), torch.ones(4, 192, 1, 1), padding=1)), []),
    (lambda x: {"loss": None, "logits": mean(x)}, []),
    (with_more, []),
    (relu_after(torch.clone), []),
    (relu_after(lambda x: x.flip(3)), []),
    (relu_after(lambda x: x.roll(1, 2)), []),
    (relu_after(lambda x: x.repeat(1, 1, 1, 1)), []),
    (relu_after(lambda x: x.repeat_interleave(1, 1)), []),
    (lambda x: mean(x * GAIN[:4].clone().add_(1)), []),
    # Numbers that change places: channels shuffled, split and joined, tokens, rows and columns.
    (lambda x: mean(shuffled(x, 2) * GAIN[:4]), []),
    (lambda x: mean(F.conv2d(shuffled(x, 2), WEIGHT, padding=1)), [nn.ReLU()]),
    (lambda x: mean(torch.cat([F.relu(x.chunk(2, 1)[1]), x.chunk(2, 1)[0]], 1)), []),
    (lambda x: mean(x.split([1, 3], 1)[1] * x[:, :1]), []),
    (lambda x: mean(x[:, 1:3, ::2, 1:-1].flip(3) + x[:, 2:3].mean(3, keepdim=True)[:, :, ::2]), []),
    (lambda x: mean(torch.cat([x, x * x], 2)) - torch.cat([x, -x], 3).flatten(2).mean(2), []),
    (lambda x: x.mean(2).mean(2) + mean(x.mean(1, keepdim=True) * x), []),
    (lambda x: mean(x.permute(0, 2, 3, 1).flip(1).permute(0, 3, 1, 2) + x), []),
    (lambda x: F.relu(x.flatten(2).transpose(1, 2) @ WEIGHT[:, :, 0, 0]).mean(1), []),
    (lambda x: (x.permute(0, 2, 3, 1) * GAIN[:4, 0, 0]).reshape(2, 48, 4).mean(1) * 5, [nn.Linear(6, 6)]),
    (lambda x: x.reshape(2, 8, 24).mean(2), []),
    (lambda x: x.view(-1, 4, 6, 8).mean((2, 3)), []),
    (lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 4).mean((2, 3)), []),
    (lambda x: mean(F.interpolate(x, scale_factor=3) * F.interpolate(x, (24, 18))), []),
    (lambda x: mean(F.interpolate(x, (5, 13)).roll(2, 3)), []),
    (lambda x: mean(x.swapaxes(1, 3).repeat_interleave(2, 1).swapdims(1, 3).tile(1, 1, 2, 1)), []),
    (lambda x: x.permute(1, 0, 2, 3).flip(0).permute(1, 0, 2, 3).mean((2, 3)), []),
    (lambda x: mean(-x), []),
    (lambda x: mean(F.relu6(x.to(x.device).cpu().to("cpu", torch.float32, copy=True) + 3.0, inplace=True) / 6), []),
    (lambda x: mean(x.clamp_max(0.2).clamp_min_(-0.1)) - mean((x * 1).abs_()) + mean((x * 2).clamp_max_(0.1)), []),
    (lambda x: mean(sum(torch.var_mean(x, (2, 3), keepdim=True, unbiased=False)) * x), []),
    (lambda x: sum(torch.std_mean(x, dim=(2, 3))), []),
    (lambda x: mean(torch.cat([torch.tensor([]), x, x * x], 1)), []),
    (lambda x: mean(x + grid(6)), [nn.AlphaDropout()]),
    (lambda x: mean(x.unfold(2, 3, 2).unfold(3, 2, 1).flatten(4).mean(4)), []),
    # Windows of one size and then of another, which do not begin at the same places.
    (lambda x: cut(joined(mixed(cut(x, 2, 2)), 2, 2), 4, 3).swapaxes(1, 2).softmax(3).mean((1, 2)), []),
    (lambda x: mixed(cut(joined(mixed(cut(x, 4, 3)), 4, 3), 8, 2).swapaxes(1, 2)).mean((1, 2)), [nn.ReLU()]),
    (lambda x: mixed(cut(x.roll((-3, 2), (2, 3)), 2, 3)).softmax(2).mean((1, 2)), []),
    (lambda x: F.interpolate(x, (6, 6)).view(2, 4, 3, 2, 6).transpose(1, 2).reshape(2, 12, 12)[:, :4].mean(2), []),
    (lambda x: mixed(x.permute(0, 2, 3, 1)).reshape(2, 32, 6)[:, 3:7].softmax(2).square().mean(2), []),
    # Windows that hang over the edge, and padding that counts or does not.
    (mean, [nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d((2, 3), ceil_mode=True)]),
    (mean, [nn.AvgPool2d(3, 2, ceil_mode=True, padding=1), nn.AvgPool2d(3, 1, 1, count_include_pad=False)]),
    (mean, [nn.AvgPool2d(3, padding=1), nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)]),
    # Normalizations and activations.
    (
        mean,
        [nn.GroupNorm(2, 4), nn.ReLU(), nn.GroupNorm(4, 4, affine=False), nn.GELU(), nn.InstanceNorm2d(4), nn.GELU()],
    ),
    (lambda x: F.gelu(F.layer_norm(x.permute(0, 2, 3, 1), (4,), GAIN[:4, 0, 0])).permute(0, 3, 1, 2).mean((2, 3)), []),
    (lambda x: F.group_norm(x.flatten(2), 1, GAIN[:4, 0, 0], GAIN[4:8, 0, 0]).relu().mean(2), []),
    (lambda x: mean(F.gelu(3 * x, approximate="tanh") - (2 * x).tanh()), []),
    (lambda x: (3 * mean(x)).softmax(1) + mean(x.softmax(1)) + x.flatten(2).softmax(2)[:, :, 5], []),
    # Maps made larger, and transposed convolutions.
    (lambda x: mean(F.interpolate(x, scale_factor=2, mode="bilinear")), []),
    (lambda x: mean(F.interpolate(x, (16, 12), mode="bilinear", align_corners=True) * F.interpolate(x, (16, 12))), []),
    (
        lambda x: (
            mean(F.interpolate(x[:, :, :1], (3, 11), mode="bilinear"))
            + F.interpolate(x[:, :, 0], 9, mode="linear").square().mean(2)
        ),
        [],
    ),
    (lambda x: mean(F.relu(x)), [nn.ConvTranspose2d(4, 6, 2, 2), nn.ReLU(), nn.ConvTranspose2d(6, 4, 3, 2, 1, 1)]),
    (lambda x: mean(F.relu(x)), [nn.ConvTranspose2d(4, 4, (5, 3), (3, 1), (2, 1), (2, 0), 2, dilation=(1, 2))]),
    (lambda x: mean(x * x), [nn.ConvTranspose2d(4, 4, 2, 3, 0, 1)]),
    (lambda x: F.conv_transpose1d(x.flatten(2), WEIGHT[:, :, 0], GAIN[:4, 0, 0], 2, 1).relu().mean(2), []),
    # Parts of others' networks: gates that are spread out, shortcuts that add channels, attention of CBAM.
    (lambda x: mean(x * mean(x).sigmoid().view(2, 4, 1, 1).expand_as(x)), []),
    (lambda x: mean(x - torch.broadcast_to(x.amax((2, 3), True), x.shape)), []),
    (lambda x: mean(x[:, :1].expand(-1, 4, -1, -1) * x[:, :, :1].expand(-1, -1, 8, -1)), []),
    (lambda x: mean(F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2)).relu()) + F.pad(mean(x), (2, 1)), []),
    (lambda x: F.conv1d(F.pad(x.flatten(2), (0, 0, 2, 2)), WEIGHT[:, :, 0].repeat(1, 2, 1)).mean(2), []),
    (lambda x: mean(torch.cat([x.mean(1, True), x.max(1, keepdim=True)[0], x.max(2, keepdim=True)[0] * x], 1)), []),
    (lambda x: x.max(-1)[0].amax(-1) - x.amin((2, 3)) + x.flatten(2).sum(2) + x.sum((2, 3), True).flatten(1), []),
    (lambda x: mean(x + x.amax((1, 2, 3), keepdim=True)) * mean(x).mean(1, keepdim=True), []),
    (lambda x: torch.stack([mean(x), mean(x * x)], 1).sum(1), []),
    (lambda x: mean(torch.stack([x, F.relu(x)], 1).amax(1)) - torch.hstack([mean(x)[:, 1:], mean(x)[:, :1]]), []),
    (mean, [nn.ZeroPad2d((-1, 1, 2, -3)), nn.ReLU(), nn.ZeroPad2d((1, -1, 0, 0)), nn.Conv2d(4, 4, 3)]),
    (lambda x: F.pad(x.flatten(2), (-5, 3)).relu().mean(2), []),
    (mean, [nn.ReflectionPad2d((1, 2, 0, 3)), nn.ReplicationPad2d((0, 1, 2, 0)), nn.CircularPad2d(1)]),
    (mean, [nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), nn.Conv2d(4, 4, 3, padding_mode="reflect")]),
    (lambda x: mean(x[:, [2, 0, 1, 3]] * x.index_select(1, torch.tensor([3, 1, 1, 0]))), []),
    # Made of other ops.
    (lambda x: F.normalize(mean(x)) + F.normalize(x).amax((2, 3)) + F.rms_norm(mean(x), (4,), GAIN[:4, 0, 0]), []),
    (lambda x: x.std((2, 3)) + x.var((2, 3), unbiased=False) - mean(x.std(1, keepdim=True) * x), []),
    (lambda x: mean(x * torch.rsqrt(x.pow(2).mean((1, 2, 3), keepdim=True) + 1e-6)) + (mean(x) ** 2 + 1).sqrt(), []),
    (lambda x: mean((x * 0).sqrt() + x), []),
    (lambda x: mean(x.pow(3) - x**4 + (x.abs() + 1) ** -0.5 + (x.abs() + 1) ** 0.5), []),
    (lambda x: mean(F.glu(torch.concat([x, -x], 1), 1) + torch.lerp(x, x * x, 0.3)) * mean(x.type_as(x)), []),
    (lambda x: mean(torch.addcmul(x, x, x, value=0.5).subtract(x.multiply(2)).divide(3).negative()), []),
    (lambda x: mean(x.moveaxis(1, 3).mT.transpose(2, 3).movedim(3, 1) + x.flatten(1).view_as(x).reshape_as(x)), []),
    (lambda x: mean(torch.cat(x.tensor_split(3, 1)[::-1], 1)).ravel().view(2, 4), []),
    (channels_first, []),
    (lambda x: mean(x * torch.linspace(-1, 1, 48).view(8, 6) + x / torch.linspace(1, 3, 192).view(4, 8, 6)), []),
    (lambda x: mean(mean(x)[:, :, None, None] * torch.linspace(1, 2, 192).view(4, 8, 6)), []),
    (lambda x: mean(x.flatten(2).transpose(1, 2).mul(torch.linspace(0, 1, 48)[:, None]).unflatten(1, (8, 6))), []),
    (mean, [nn.LayerNorm((4, 8, 6)), nn.ReLU(), nn.LayerNorm((8, 6), elementwise_affine=False), nn.ReLU()]),
    (mean, [nn.ELU(), nn.ELU(0.5, inplace=True), nn.CELU(2), nn.SELU(inplace=True), nn.Mish(), nn.Softshrink(0.1)]),
    (lambda x: mean(torch.maximum(x, 0.1 * x) - torch.min(*x.chunk(2, 1)).repeat(1, 2, 1, 1)), []),
    (lambda x: 1 / (mean(x) + 2) - mean(torch.addcdiv(x, x, x.abs() + 1, value=0.5)), []),
    (lambda x: (y := (z := x * 2).type_as(x), z.relu_(), mean(z) + mean(y))[2], []),
    # Tokens and attention.
    (lambda x: TOKENS(x), []),
    (lambda x: (x.softmax(3) @ x.transpose(2, 3) * 0.5).softmax(-1)[:, :, 1, :4].mean(1), []),
    (lambda x: F.scaled_dot_product_attention(x, -x, x * x, scale=2.0).mean((2, 3)), []),
    (lambda x: F.scaled_dot_product_attention(x, -x, x * x, MASK).mean((2, 3)), []),
    (lambda x: F.scaled_dot_product_attention(x, -x, x * x, MASK > 0).mean((2, 3)), []),
    (lambda x: F.scaled_dot_product_attention(x[:, :, :5], -x, x * x, is_causal=True).mean((2, 3)), []),
    (lambda x: mean((scores(x) + torch.full((8, 8), -torch.inf).triu(1)).softmax(-1) @ x), []),
    (lambda x: mean((scores(x) + torch.tensor([0.0, -torch.inf, 0.5] * 2 + [-1.0, 0.0])).softmax(-1) @ x), []),
    (lambda x: mean(scores(x).masked_fill(UPPER > 0, -torch.inf).softmax(-1) @ x), []),
    (lambda x: mean(torch.where(UPPER == 1, -1e9, scores(x)).softmax(-1) @ x), []),
    (lambda x: mean(torch.where(UPPER != 1, scores(x), torch.tensor(-3e38)).softmax(-1) @ x), []),
    (attention, []),
    (lambda x: mean(torch.einsum("b h i d, b h j d -> b h i j", x, x * x).softmax(-1) @ x), []),
    (lambda x: torch.einsum("bchw,bcqw->bqhc", x, x * x).softmax(-1).mean((1, 2)), []),
    (lambda x: torch.einsum("bchw,bc->bhwc", x, mean(x)).relu().mean((1, 2)), []),
    (lambda x: torch.einsum("bchw,bchw->bc", x, x), []),
    (lambda x: mean(torch.einsum("bchw,cd->bdhw", x, WEIGHT[0, :, :, 0])), []),
    (lambda x: mean(torch.einsum("hwk,bchw->bckh", PLACES[..., None] * WEIGHT[0, 0, 0], x).relu()), []),
    (lambda x: torch.einsum("bchw,hwc->bc", x, PLACES[..., None] * WEIGHT[0, :, 0, 0]), []),
    (lambda x: mean(PLACES.T @ x).relu(), []),
    (lambda x: mean(x @ (WEIGHT[0, :, :1, :1] * PLACES.T)), []),
    (lambda x: mean((WEIGHT[:1, :, :1, :1] * PLACES.T) @ x - x.mT @ PLACES[:, :1]), []),
    (marked, []),
    (lambda x: mean(x / x.mean(1, keepdim=True)) + mean(x / torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)), []),
    # Sequences.
    (lambda x: F.conv1d(F.pad(x[:, :, 0], (2, 1)), WEIGHT[:, :, 0], stride=2).mean(2), []),
    (lambda x: F.avg_pool1d(F.max_pool1d(x.flatten(2), 5, 3, 2, ceil_mode=True), 4).mean(-1), []),
    (lambda x: F.conv1d(x.flatten(2), WEIGHT[:, :2, 1], padding="same", dilation=3, groups=2).relu().mean(-1), []),
    (mean, [nn.AdaptiveAvgPool2d((3, 2)), nn.Hardtanh(-0.2, 0.1), nn.Conv2d(4, 4, 2)]),
    (lambda x: mean(F.interpolate(x, scale_factor=2, mode="bicubic") * F.interpolate(x, (16, 12))), []),
    (lambda x: mean(F.interpolate(x, (5, 7), mode="bicubic", align_corners=True).square()), []),
    (lambda x: mean(F.interpolate(x, (6, 13), mode="bicubic", antialias=True).square()), []),
    (lambda x: mean(F.interpolate(x, (3, 4), mode="bilinear", antialias=True).square()), []),
    (lambda x: mean(x * x), [nn.Upsample((80, 80)), nn.AdaptiveAvgPool2d(7)]),
    (lambda x: F.adaptive_avg_pool1d(x.flatten(2), 7).sigmoid().mean(2), []),
    (lambda x: F.adaptive_max_pool1d(F.adaptive_avg_pool1d(x.flatten(2), 6), 1)[:, :, 0], []),
    (lambda x: SimpleNamespace(logits=mean(x)), []),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("forward", "parts"), WORKING)
def test_what_can_be_lowered_gives_what_torch_gives(forward: object, parts: list[nn.Module]) -> None:
    torch.manual_seed(0)
    module = network(forward, *parts).eval()
    images = torch.rand(2, 3, 8, 6)
    with torch.no_grad():
        output = module(images)
    expected = getattr(output, "logits", output["logits"] if isinstance(output, dict) else output).numpy()
    plan = pack(module, images)
    found = reference.run(plan, images.numpy())
    assert np.abs(found - expected).max() <= 1e-5 * max(1, np.abs(expected).max())
    assert np.abs(expected).max() > 0.01
    for isa in isas():
        assert Engine(plan, isa=isa)(images.numpy()).tobytes() == found.tobytes()


def test_what_a_network_keeps_from_its_first_run_are_real_tensors() -> None:
    @functools.cache
    def line(n: int) -> Tensor:
        return torch.linspace(-1, 1, n)

    module = network(lambda x: mean(x + line(6)))
    first = packed(module)
    images = torch.rand(2, 3, 8, 6)
    assert type(line(6)) is Tensor
    for plan in (first, packed(module)):
        assert np.abs(reference.run(plan, images.numpy()) - module(images).detach().numpy()).max() < 1e-5


def test_nothing_is_printed_about_a_network_that_cannot_be_traced(capfd: pytest.CaptureFixture[str]) -> None:
    def forward(x: Tensor) -> Tensor:
        deviation = torch.as_tensor([0.2, 0.3, 0.4])
        if (deviation == 0).any():
            raise ValueError
        return mean(x)

    with pytest.raises(CaptureError, match=r"depends on the values of the images, or of tensors made in forward"):
        packed(network(forward))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (network(mean, nn.Softplus()), r"module 'part\.1': aten\.softplus\.default cannot be packed; use ReLU, Leaky"),
        (network(lambda x: (v := x.flatten(2), F.elu_(x), mean(x) + v.mean(2))[2]), r"elu_\.default cannot be packed"),
        (network(mean, nn.InstanceNorm2d(4, track_running_stats=True)), "an instance normalization with running stat"),
        (network(lambda x: mean(x.log_softmax(1))), "aten.log_softmax.int cannot be packed; only as the last op, ov"),
        (
            network(lambda x: mean(F.interpolate(x.unflatten(1, (2, 2)), scale_factor=2).flatten(1, 2))),
            r"upsample_nearest3d.*; use nearest, bilinear or",
        ),
        (
            network(lambda x: F.scaled_dot_product_attention(x, x, x, mean(x)[:, :, None, None]).mean((2, 3))),
            "attention with a computed mask",
        ),
        (
            network(lambda x: F.scaled_dot_product_attention(x, x, x, MASK > 9).mean((2, 3))),
            "a mask leaves nothing to attend to",
        ),
        (network(lambda x: mean((scores(x) + torch.full((8, 1), -torch.inf)).softmax(-1))), "leaves nothing to attend"),
        (network(lambda x: mean(scores(x).masked_fill(UPPER > 0, -9.0).softmax(-1))), "only scores that a softmax"),
        (network(lambda x: mean(scores(x).masked_fill(UPPER > 0, -1e9))), "only scores that a softmax reads"),
        (network(lambda x: mean(x + torch.full((4, 1, 1), -torch.inf))), "holds a parameter that is not finite"),
        (Recurrent(), r"module 'lstm': aten\.lstm\.input cannot be packed; recurrent layers cannot be run"),
        (network(lambda x: assigned(x)), "parts of a tensor cannot be assigned to; put them together by torch.cat"),
        (network(mean).to("meta"), r"module 'part\.0' is on the device 'meta', without values; load its weights first"),
        (network(mean, nn.LazyConv2d(4, 1)), r"module 'part\.1' has no weights yet; run the network on an image first"),
        (network(lambda x: mean(x.erfinv())), "aten.erfinv.default cannot be packed; the layers around it may have to"),
        (network(mean, nn.AvgPool2d(3, divisor_override=2)), r"module 'part\.1': average pooling with divisor_over"),
        (network(mean, nn.MaxPool2d(2, dilation=2)), r"module 'part\.1': max pooling with dilation"),
        (network(mean, nn.AdaptiveMaxPool2d(3)), r"an adaptive pooling from 8x6 to 3x3 pixels"),
        (
            network(lambda x: F.adaptive_max_pool2d(x, 1, True)[1].float().flatten(1)),
            "the indices of the largest values",
        ),
        (
            network(mean, nn.ConstantPad2d(1, 0.5)),
            r"module 'part\.1': only padding of height and width, or of channels",
        ),
        (
            network(lambda x: mean(F.pad(x, (0, 0, 0, 0, -1, 1)))),
            "only padding of height and width, or of channels, with zeros",
        ),
        (network(lambda x: mean(F.pad(x, (0, 1, 0, 0, 1, 1)))), "only padding of height and width, or of channels"),
        (network(lambda x: mean(x**5)), "a power of 5 cannot be packed; 2, 3, 4, 0.5 and -0.5 can"),
        (network(lambda x: torch.linalg.vector_norm(x, 1, (2, 3))), "linalg_vector_norm.default cannot be packed"),
        (network(lambda x: mean(x).norm(dim=1)), r"aten.sum.dim_IntList over the axes \[1\] of \[2, 4\] cannot be pac"),
        (
            network(lambda x: mean(x[:, mean(x)[0].long()])),
            "which elements aten.index.Tensor selects must not depe|only",
        ),
        (
            network(lambda x: (g := mean(x)[:, :, None, None] * 1, e := g.expand_as(x), g.mul_(2), mean(x * e))[3]),
            "a view of it is in use",
        ),
        (network(lambda x: torch.cat([x, x], 0).mean((2, 3))), "images of a batch cannot be concatenated"),
        (network(lambda x: mean(torch.cat([x, x, torch.ones(2, 1, 8, 6)], 1))), "concatenates a constant"),
        (network(lambda x: mean(x.double())), "aten.to.dtype gives torch.float64; only float32 can be packed"),
        (network(lambda x: x.mean((2, 3), dtype=torch.float64)), "aten.mean.dim gives torch.float64; only float32"),
        (network(lambda x: mean(x.div(2.0, rounding_mode="floor"))), "aten.div.Tensor_mode cannot be packed"),
        (network(lambda x: mean(x / 0)), "divides by zero"),
        (network(lambda x: x.reshape(2, 2, 2, 48).mean((0, 3))), r"mean.dim over the axes \[0, 3\]"),
        (network(lambda x: mean(torch.clamp(x, min=x.mean((2, 3), keepdim=True)))), "limits that are not|be packed"),
        (network(lambda x: mean(x.to(torch.float32) + torch.rand(1))), "draws random numbers"),
        (network(lambda x: torch.ones(2, 4)), "the logits do not depend on the images"),
        (network(mean, nn.BatchNorm2d(4, track_running_stats=False)), "without running statistics"),
        (network(lambda x: mean(x * torch.rand(2, 1, 8, 6).sort(0)[0])), "differs between the images|draws random"),
        (network(lambda x: torch.einsum("bchw->bc", x)), r"einsum\('bchw->bc'\) cannot be packed"),
        (network(lambda x: torch.einsum("...hw,...hw->...", x, x)), "einsum.* cannot be packed"),
        (network(lambda x: torch.einsum("bchw,cd->bd", x, WEIGHT[0, :, :, 0])), "einsum.* cannot be packed"),
        (
            network(lambda x: LENGTH_FIRST(*[x.flatten(2).permute(2, 0, 1)] * 3)[0].mean(0)),
            r"mean.dim over the axes \[0\] of|not a batch of maps",
        ),
        (network(lambda x: mean(x + x.flip(0))), "aten.flip.default mixes the images of a batch"),
        (network(lambda x: mean(torch.add(x, x, alpha=2))), "a sum with alpha"),
        (network(lambda x: torch.rsub(mean(x), 3.0, alpha=2)), "a sum with alpha"),
        (network(lambda x: mean(x.flatten(2).softmax(0).unflatten(2, (8, 6)))), "mixes the images of a batch"),
        (network(lambda x: torch.cat([mean(x), mean(x)[:, :0]], 1)), "reads or gives no number at all"),
        (network(lambda x: mean(torch.einsum("bchw,bcvw->bchv", x, x[:, :1]))), "with an axis that is repeated"),
        (network(lambda x: mean(with_both(x))), "in both torch.no_grad and torch.enable_grad cannot be traced"),
        (network(lambda x: (x[:, 0, 1:].mul_(2), mean(x))[1]), "a view of it is in use"),
        (network(lambda x: {"logits": mean(x), "more": x.flatten(2).mul_(2)}), "a view of it is in use"),
        (network(lambda x: (x.unsqueeze(1).squeeze(1).relu_(), mean(x))[1]), "a view of it is in use"),
        (
            network(lambda x: (v := x.flatten(2).transpose(1, 2), v.add_(1), mean(x) + v.mean(1))[2]),
            "a view of it is in use",
        ),
        (
            network(lambda x: torch.stack([mean(x), mean(x * x)]).amax(0)),
            "images of a batch cannot be concat|not a batch",
        ),
        (
            network(lambda x: torch.stack([mean(x), mean(x * x)]).mean(0, keepdim=True)[0]),
            "cannot be concat|not a batch",
        ),
        (network(lambda x: (torch.ones(3, 2, 1, 8, 8) @ x).mean((0, 3, 4))), "this product of matrices cannot"),
        (network(lambda x: torch.ones(5, 2) @ mean(x)), "this product of matrices cannot be packed"),
        (network(lambda x: mean(F.dropout(x))), "a dropout that is active in eval mode"),
        (network(lambda x: mean(x / torch.add(x.abs(), 1, alpha=3))), "needs a constant|cannot be packed"),
        (
            network(lambda x: (v := x.flatten(1), F.relu_(x), v @ torch.ones(192, 4))[2]),
            "a view of it is in use|cannot be packed",
        ),
        (
            network(lambda x: mean(F.avg_pool2d(x.mean(1), 2).unsqueeze(1))),
            r"avg_pool2d.* cannot be packed; give it \[N, C, H",
        ),
        (
            network(lambda x: mean(F.max_pool2d(x[:, 0], 2).unsqueeze(1))),
            r"max_pool2d.* cannot be packed; give it \[N, C, H",
        ),
        (network(lambda x: F.adaptive_avg_pool2d(x[:, 0], 2).flatten(1)), "give it"),
        (network(lambda x: F.max_pool1d(x.flatten(1), 2)), r"max_pool1d.* cannot be packed; give it \[N, C, L\]"),
        (
            network(lambda x: mean(F.pad(x.unflatten(1, (2, 2)), (0, 1)).flatten(1, 2))),
            r"padding of \[.*\] cannot be packed",
        ),
        (network(lambda x: (mean(x), x)), "should return one tensor, its logits, or hold it"),
        (
            network(lambda x: mean(x) if x.sum() > 0 else mean(-x)),
            "the network: .* depends on the values of the images",
        ),
        (network(mean, DataDependent()), r"module 'part\.1': .* depends on the values of the images"),
        (network(lambda x: mean(x[:, :, : int(x.abs().sum()) + 1])), "depends on the values of the images"),
        (
            network(mean, nn.Linear(5, 5)),
            r"module 'part\.1': it cannot be computed: .*shapes cannot be multiplied",
        ),
    ],
)
def test_what_cannot_be_lowered_is_named(module: nn.Module, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        packed(module)


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.LogSoftmax(-1)])
def test_a_softmax_at_the_end_is_left_out(last: nn.Module) -> None:
    """The logits are what it reads."""
    module, images = network(mean).eval(), torch.rand(2, 3, 8, 6)
    found = reference.run(pack(nn.Sequential(module, last).eval(), images), images.numpy())
    assert found.tobytes() == reference.run(pack(module, images), images.numpy()).tobytes()


def test_parameters_must_be_finite() -> None:
    module = network(mean)
    nn.init.constant_(module.part[0].bias, float("nan"))
    with pytest.raises(CaptureError, match=r"module 'part\.0': holds a parameter that is not finite"):
        packed(module)


def test_classes_are_numbers_or_as_many_as_logits() -> None:
    images = torch.zeros(1, 3, 8, 6)
    assert pack(network(mean).eval(), images).classes == ("0", "1", "2", "3")
    assert pack(network(mean).eval(), images, classes=["a", "b", "c", "d"]).classes == ("a", "b", "c", "d")
    with pytest.raises(CaptureError, match="should give one logit for each of 2 classes, but gives 4"):
        pack(network(mean).eval(), images, classes=["a", "b"])
    assert pack(nn.Conv2d(3, 4, 1).eval(), images).classes == ("0", "1", "2", "3")
    with pytest.raises(CaptureError, match="one logit for each of 2 classes, but gives 4"):
        pack(nn.Conv2d(3, 4, 1).eval(), images, classes=["a", "b"])


def test_training_mode_is_refused() -> None:
    with pytest.raises(CaptureError, match="the network is in training mode"):
        pack(network(mean), torch.zeros(1, 3, 8, 6))
    module = network(mean, nn.BatchNorm2d(4)).eval()
    module.part[1].train()
    with pytest.raises(CaptureError, match=r"module 'part\.1' is in training mode; call eval\(\) on the network first"):
        pack(module, torch.zeros(1, 3, 8, 6))
