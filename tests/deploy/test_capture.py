from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evenbit.deploy import pack
from evenbit.errors import CaptureError
from evenbit.plan import Plan
from evenbit.runtime import reference


def packed(module: nn.Module, *, channels: int = 3, classes: int = 4) -> Plan:
    names = tuple("abcdefgh"[:classes])
    return pack(module.eval(), channels=channels, height=8, width=6, classes=names)


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


def failing(forward: object, *parts: nn.Module) -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Sequential(nn.Conv2d(3, 4, 1), *parts)

        def forward(self, x: Tensor) -> Tensor:
            return forward(self.part(x))  # type: ignore[no-any-return, operator]

    return Net()


def mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (failing(mean, nn.GELU()), r"module 'part\.1': cannot lower aten\.gelu\.default"),
        (failing(mean, nn.Conv2d(4, 4, 3, dilation=2)), r"module 'part\.1': a dilated convolution"),
        (failing(mean, nn.AvgPool2d(3, padding=1)), r"module 'part\.1': average pooling with padding"),
        (failing(mean, nn.MaxPool2d(2, ceil_mode=True)), r"module 'part\.1': max pooling with dilation or ceil_mode"),
        (failing(mean, nn.AdaptiveAvgPool2d(2)), r"adaptive pooling to more than one pixel"),
        (failing(mean, nn.BatchNorm2d(4, track_running_stats=False)), "without running statistics"),
        (failing(lambda x: x.mean(2).mean(2)), "only the mean over height and width"),
        (failing(lambda x: mean(x * x)), "needs a constant"),
        (failing(lambda x: mean(x * torch.rand(8, 6))), "not one number a channel"),
        (failing(lambda x: mean(x + x.flip(0))), "cannot lower aten.flip"),
        (failing(lambda x: mean(torch.add(x, x, alpha=2))), "a sum with alpha"),
        (failing(lambda x: x.reshape(2, 8, 24)), "not a batch of maps or vectors|only flattening"),
        (failing(lambda x: x.view(-1, 4, 6, 8).mean((2, 3))), "only flattening is possible"),
        (failing(lambda x: F.relu(x.flatten(1))), "on a flattened map cannot be lowered; flatten after it"),
        (failing(lambda x: x.reshape(2, 192, 1, 1).mean((2, 3))), "on a flattened map"),
        (failing(lambda x: mean(F.conv2d(x.reshape(2, 192, 1, 1), torch.ones(4, 192, 1, 1), padding=1))), "flattened"),
        (failing(mean, nn.Linear(6, 6)), r"module 'part\.1': a dense layer along the last axis"),
        (failing(lambda x: mean(F.dropout(x))), "a dropout that is active in eval mode"),
        (failing(lambda x: mean(x / torch.add(x.abs(), 1, alpha=3))), "needs a constant|cannot lower"),
        (
            failing(lambda x: (v := x.flatten(1), F.relu_(x), v @ torch.ones(192, 4))[2]),
            "a view is used too|cannot lower",
        ),
        (failing(lambda x: (mean(x), x)), "should return one tensor"),
        (failing(lambda x: mean(x) if x.sum() > 0 else mean(-x)), "torch.export cannot trace the network"),
    ],
)
def test_what_cannot_be_lowered_is_named(module: nn.Module, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        packed(module)


def test_parameters_must_be_finite() -> None:
    module = failing(mean)
    nn.init.constant_(module.part[0].bias, float("nan"))
    with pytest.raises(CaptureError, match=r"module 'part\.0': holds a parameter that is not finite"):
        packed(module)


def test_training_mode_is_refused() -> None:
    with pytest.raises(CaptureError, match="is in training mode"):
        pack(failing(mean), channels=3, height=8, width=6, classes=("a",))
