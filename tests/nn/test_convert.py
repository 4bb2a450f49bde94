from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from torch import Tensor, nn

import evenbit
from evenbit.errors import BinarizeError, CaptureError, RecipeError
from evenbit.nn import BinaryConv2d, BinaryLayer, BinaryLinear, RPReLU, binarize, latent_weights, resolve_method
from evenbit.runtime import reference

IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A stem, some parts and a head, put together by `forward(self.parts, x)`."""

    def __init__(self, *parts: nn.Module, forward: Callable[..., Tensor] | None = None, channels: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.parts = nn.Sequential(*parts)
        self.head = nn.Linear(channels, 5)
        self.combine = forward or (lambda parts, x: parts(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.combine(self.parts, self.stem(x)).mean((2, 3)))  # type: ignore[no-any-return]


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda part, inputs, output: output.flip(3))
    return module


def became(net: nn.Module, **options: object) -> dict[str, tuple[str, str]]:
    table = binarize(net, IMAGES, **options).table
    return {row.path: (row.became, row.reason) for row in table}


def test_the_original_stays_as_it_is() -> None:
    net = Net(nn.Conv2d(8, 8, 3, padding=1)).train()
    net.stem[1].eval()
    before = copy.deepcopy(net.state_dict())
    network, _ = binarize(net, IMAGES)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert isinstance(net.parts[0], nn.Conv2d)
    assert network is not net
    for made in (net, network):
        assert made.training
        assert not made.stem[1].training
    assert network.parts[0].training


def test_weights_become_latent_weights() -> None:
    net = Net(nn.Conv2d(8, 6, (3, 1), (2, 1), (1, 0), bias=False), nn.BatchNorm2d(6), channels=6)
    network, table = binarize(net, IMAGES)
    layer = network.parts[0]
    assert isinstance(layer, BinaryLayer)
    assert isinstance(layer.layer, BinaryConv2d)
    assert torch.equal(layer.weight, net.parts[0].weight)
    assert layer.weight.data_ptr() != net.parts[0].weight.data_ptr()
    assert [weight.shape for weight in latent_weights(network)] == [(6, 8, 3, 1)]
    assert (layer.stride, layer.kernel_size, layer.in_channels) == ((2, 1), (3, 1), 8)
    assert isinstance(layer.norm, nn.Identity)
    assert [row.path for row in table] == ["stem.0", "stem.2", "parts.0", "head"]
    binary, total = 6 * 8 * 3 * 4 * 8, 8 * 27 * 64 + 6 * 8 * 3 * 4 * 8 + 6 * 5
    assert table.binary_share == binary / total
    assert "parts.0  Conv2d 3x1 8 to 6  BinaryConv2d" in str(table)
    assert f"{100 * binary / total:.1f} % of the multiply-adds are binary" in str(table)


def test_settings_of_a_layer_can_be_read_from_its_replacement() -> None:
    def forward(parts: nn.Sequential, x: Tensor) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1)) if parts[0].padding_mode == "zeros" else x
        return parts[2](parts[1](parts[0](padded))) + parts[0].bias[:, None, None]  # type: ignore[index]

    net = Net(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), forward=forward)
    network, _ = binarize(net, IMAGES)
    assert torch.equal(network.parts[0].bias, net.parts[0].bias)  # the normalization has taken it over
    assert network.parts[1].bias is None


def test_frozen_weights_stay_frozen() -> None:
    for rank, conv in ((1, nn.Conv1d), (2, nn.Conv2d)):
        flatten = nn.Flatten()
        net = nn.Sequential(conv(3, 4, 1), conv(4, 4, 1), flatten, nn.Linear(4 * 8**rank, 5)).requires_grad_(False)
        network, _ = binarize(net, torch.zeros(1, 3, *[8] * rank))
        assert not network[1].weight.requires_grad


def test_a_normalization_follows_each_binary_layer() -> None:
    convs = [nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1, bias=False)]
    network, table = binarize(Net(*convs), IMAGES)
    norms = [type(network.parts[index].norm) for index in (0, 1, 4)]
    assert norms == [nn.BatchNorm2d, nn.Identity, nn.BatchNorm2d]
    assert torch.equal(network.parts[0].norm.bias, convs[0].bias)
    assert torch.equal(network.parts[4].norm.bias, torch.zeros(8))
    assert [row.became for row in table if row.path.startswith("parts")] == [
        "BinaryConv2d, BatchNorm2d",
        "BinaryConv2d",
        "BinaryConv2d, BatchNorm2d",
    ]


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), "is depthwise"),
        (nn.Conv2d(8, 8, 3, padding=1, groups=2), "has 2 groups"),
        (nn.Conv2d(8, 8, 3, padding=2, dilation=2), "is dilated"),
        (nn.Conv2d(8, 8, 3, 2, padding=2, dilation=(1, 2)), "is dilated"),
        (nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), "has the padding mode 'reflect'"),
        (nn.Conv2d(8, 8, 2, padding="same"), "is padded by more on one side than on the other"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1)), "has a parametrized weight"),
        (hooked(nn.Conv2d(8, 8, 1)), "has hooks"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_layers_that_cannot_be_binary_say_why(part: nn.Module, reason: str) -> None:
    rows = became(Net(part, nn.Conv2d(8, 8, 1)))
    assert rows["parts.0"] == ("float", reason)
    assert rows["parts.1"][0].startswith("BinaryConv2d")
    assert rows["stem.0"] == ("float", "reads the images")
    assert rows["head"] == ("float", "makes the logits")


def test_layers_with_a_forward_of_their_own_stay() -> None:
    class Standardized(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.weight - self.weight.mean(), self.bias)

    class Inside(nn.Conv2d):
        def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return super()._conv_forward(x, weight - weight.mean(), bias)

    class Unused(nn.Conv2d):
        pass

    net = Net(Standardized(8, 8, 1), Inside(8, 8, 1), nn.Conv2d(8, 8, 1))
    net.unused = Unused(8, 8, 1)
    rows = became(net)
    assert rows["parts.0"] == ("float", "is called by the forward of Standardized")
    assert rows["parts.1"] == ("float", "is called by the forward of Inside")
    assert rows["unused"] == ("float", "is never called itself")
    assert list(rows)[-1] == "unused"


def test_a_relu_in_place_that_others_read_before_it_stays() -> None:
    def preactivated(parts: nn.Sequential, x: Tensor) -> Tensor:
        y = parts[0](x)
        return parts[2](parts[1](y)) + y  # the shortcut reads what the ReLU has changed

    def through_a_view(parts: nn.Sequential, x: Tensor) -> Tensor:
        y = parts[0](x)
        view = y.flatten(2)
        return parts[2](parts[1](y)) + view.unflatten(2, (8, 8))

    for forward in (preactivated, through_a_view):
        for inplace, kept in ((True, "ReLU"), (False, "RPReLU")):
            net = Net(nn.BatchNorm2d(8), nn.ReLU(inplace), nn.Conv2d(8, 8, 3, padding=1), forward=forward)
            net.also = net.parts[1]  # another name of it
            network, _ = binarize(net, IMAGES)
            assert type(network.parts[1]).__name__ == kept


def test_a_relu_in_place_that_others_read_first_is_replaced() -> None:
    def read_first(parts: nn.Sequential, x: Tensor) -> Tensor:
        y = parts[0](x)
        shortcut = y.mean((2, 3), keepdim=True)
        return parts[2](parts[1](y)) + shortcut

    network, _ = binarize(
        Net(nn.BatchNorm2d(8), nn.ReLU(True), nn.Conv2d(8, 8, 3, padding=1), forward=read_first), IMAGES
    )
    assert isinstance(network.parts[1], RPReLU)


def test_a_relu_is_not_left_out_if_its_result_is_changed_beside_its_source() -> None:
    def changed(parts: nn.Sequential, x: Tensor) -> Tensor:
        y = parts[0](x)
        h = parts[1](y)
        h += x
        return parts[2](h) + y

    def alone(parts: nn.Sequential, x: Tensor) -> Tensor:
        h = parts[1](parts[0](x))
        h += x
        return parts[2](h)

    for forward, left_out in ((changed, "ReLU"), (alone, "Identity")):
        for method, became in (("bireal", left_out), ("fd", "RPReLU")):
            net = Net(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), forward=forward)
            assert type(binarize(net, IMAGES, method=method).network.parts[1]).__name__ == became


def test_a_relu_with_hooks_stays() -> None:
    seen: list[Tensor] = []
    net = Net(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
    net.parts[1].register_forward_hook(lambda part, inputs, output: seen.append(output))
    network, _ = binarize(net, IMAGES)
    seen.clear()
    network(IMAGES)
    assert isinstance(network.parts[1], nn.ReLU)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("forward", "became"),
    [
        (lambda parts, x: parts[1](parts[0](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)), "ReLU"),
        (lambda parts, x: parts[1](parts[0](x.flatten(2).mT).transpose(1, 2).unflatten(2, (8, 8))), "ReLU"),
        (lambda parts, x: parts[1](F.channel_shuffle(F.max_pool2d(parts[0](x), 2), 2)), "RPReLU"),
        (lambda parts, x: parts[1](parts[0](x).unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)), "RPReLU"),
        (lambda parts, x: parts[1](torch.cat(parts[0](x).chunk(2, 1)[::-1], 1) * x[:, :1].sigmoid()), "RPReLU"),
    ],
)
def test_a_relu_is_replaced_only_if_its_second_axis_has_the_channels(
    forward: Callable[..., Tensor], became: str
) -> None:
    net = Net(nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), forward=forward)
    assert type(binarize(net, IMAGES).network.parts[0]).__name__ == became


def test_layers_behind_a_block_without_gradients_are_seen() -> None:
    def frozen(parts: nn.Sequential, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = parts[0](x)
        return parts[1](x)

    rows = became(Net(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), forward=frozen))
    assert rows["parts.0"][0].startswith("BinaryConv2d")
    assert rows["parts.1"][0].startswith("BinaryConv2d")


def test_shortcuts_and_gates_stay() -> None:
    def squeezed(parts: nn.Sequential, x: Tensor) -> Tensor:
        y = parts[2](F.relu(parts[1](F.relu(parts[0](x))))) + parts[3](F.avg_pool2d(x, 1))
        gate = torch.sigmoid(parts[5](F.relu(parts[4](y.mean((2, 3))))))
        return y * gate[:, :, None, None]

    convs = [nn.Conv2d(8, 8, size, padding=size // 2) for size in (1, 3, 1, 1)]
    rows = became(Net(*convs, nn.Linear(8, 4), nn.Linear(4, 8), forward=squeezed))
    assert [rows[f"parts.{index}"][0].split(",")[0] for index in range(3)] == ["BinaryConv2d"] * 3
    assert rows["parts.3"] == ("float", "is a 1x1 shortcut")
    assert rows["parts.4"] == rows["parts.5"] == ("float", "gates a map")


def test_a_map_of_one_channel_is_a_gate_too() -> None:
    def attended(parts: nn.Sequential, x: Tensor) -> Tensor:
        x = parts[0](x)
        both = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        return x * torch.sigmoid(parts[1](both))

    rows = became(Net(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(2, 1, 7, padding=3), forward=attended))
    assert rows["parts.0"][0].startswith("BinaryConv2d")
    assert rows["parts.1"] == ("float", "gates a map")


def test_channels_that_are_selected_stay_channels() -> None:
    """A ReLU before a selection of channels becomes one with a slope for each channel."""
    parts = nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, padding=1)
    picked = Net(*parts, forward=lambda parts, x: parts[2](parts[1](parts[0](x))[:, [5, 1, 1, 0]]))
    assert isinstance(binarize(picked, IMAGES, method="react").network.parts[1], RPReLU)


@pytest.mark.parametrize("spread", [lambda gate, x: gate, lambda gate, x: gate.expand(x.shape)])
def test_a_gate_stays_between_0_and_1(spread: Callable[..., Tensor]) -> None:
    def gated(parts: nn.Sequential, x: Tensor) -> Tensor:
        x = parts[0](x)
        gate = parts[2](parts[1](x.mean((2, 3), keepdim=True)) + 3) / 6
        return parts[3](x * spread(gate, x))

    parts = nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU6(), nn.Conv2d(8, 8, 3, padding=1)
    network, table = binarize(Net(*parts, forward=gated), IMAGES, method="react")
    assert isinstance(network.parts[0], RPReLU)
    assert isinstance(network.parts[2], nn.ReLU6)
    assert next(row.reason for row in table if row.path == "parts.1") == "gates a map"
    assert isinstance(network.parts[3].activation.adjust, nn.Identity)  # the product has both signs


def test_what_a_gate_of_two_directions_scales_is_centred() -> None:
    def gated(parts: nn.Sequential, x: Tensor) -> Tensor:
        gates = [parts[index](x.mean(2 + index, keepdim=True)) for index in range(2)]
        return parts[2](F.relu(x) * (gates[0] * gates[1]))

    network, _ = binarize(Net(nn.ReLU6(), nn.ReLU6(), nn.Conv2d(8, 8, 1), forward=gated), IMAGES, method="bireal")
    assert isinstance(network.parts[0], nn.ReLU6)
    assert isinstance(network.parts[1], nn.ReLU6)
    assert not isinstance(network.parts[2].activation.adjust, nn.Identity)


def test_many_shortcuts_over_vectors_take_no_time() -> None:
    def forward(parts: nn.Sequential, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        for part in parts:
            x = x + F.relu(part(x))
        return x[:, :, None, None]

    rows = became(Net(*(nn.Linear(8, 8) for _ in range(60)), forward=forward))  # paths double with each of them
    assert all(what.startswith("BinaryLinear") for path, (what, _) in rows.items() if path.startswith("parts"))


def test_keep_names_layers_and_all_in_a_module() -> None:
    net = Net(nn.Conv2d(8, 8, 1), nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3)), nn.Conv2d(8, 8, 1))
    rows = became(net, keep=("first", "parts.1", "*.2"))
    assert [rows[path] for path in ("parts.1.0", "parts.1.1", "parts.2")] == [("float", "is named in keep")] * 3
    assert rows["parts.0"][0].startswith("BinaryConv2d")
    assert rows["head"][0] == "BinaryLinear, BatchNorm1d"
    rows = became(net, keep=())
    assert all(what.startswith("Binary") for path, (what, _) in rows.items() if path != "stem.2")


def test_bridges_are_what_no_path_leads_around() -> None:
    def forward(parts: nn.Sequential, x: Tensor) -> Tensor:
        x = parts[0](x)
        x = parts[2](parts[1](x)) + x
        return torch.cat([parts[3](x), parts[4](x)], 1)

    net = Net(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(5)), forward=forward, channels=16)
    rows = became(net, keep=("bridges",))
    assert [path for path, (_, reason) in rows.items() if reason == "is a bridge"] == ["stem.0", "parts.0", "head"]
    assert sum(what.startswith("Binary") for what, _ in rows.values()) == 4
    assert all(row.is_binary for row in binarize(net, IMAGES, keep=()).table if row.macs)


def test_both_branches_that_read_the_images_are_first() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)
            self.c = nn.Conv2d(8, 5, 8)
            self.d = nn.Conv2d(8, 5, 8)
            self.e = nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.e(torch.cat([self.a(x - 0.5), self.b(x)], 1))
            return (self.c(x) + self.d(x)).flatten(1)

    rows = became(Twice())
    assert [rows[name][1] for name in "abcde"] == ["reads the images"] * 2 + ["makes the logits"] * 2 + [""]


def test_a_relu_before_a_sign_becomes_the_methods_activation() -> None:
    parts = (nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 1))
    assert became(Net(*parts))["parts.2"] == ("RPReLU", "is read by a sign")
    network, _ = binarize(Net(*parts, nn.ReLU()), IMAGES)
    assert isinstance(network.stem[2], RPReLU)
    assert isinstance(network.parts[2], RPReLU)
    assert isinstance(network.parts[5], nn.ReLU)  # no sign reads it
    network, _ = binarize(Net(*parts), IMAGES, method="bireal")
    assert isinstance(network.parts[2], nn.Identity)
    assert isinstance(network.parts[4].activation.adjust, nn.Identity)


@pytest.mark.parametrize("method", ["bnn", "irnet", "react", "fd"])
def test_what_cannot_be_negative_is_centred(method: str) -> None:
    """Where a ReLU cannot be replaced, its sign would be +1 everywhere without an adjustment."""
    net = Net(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1))
    net.combine = lambda parts, x: parts[3](
        2 * F.leaky_relu(F.relu(parts[2](parts[1](parts[0](parts[1](x)))))).clamp(max=6) / 3 + 0.1
    )
    network, table = binarize(net, IMAGES, method=method)
    assert "parts.1" not in {row.path for row in table}  # called twice
    seen: list[Tensor] = []
    for index in (0, 2, 3):
        network.parts[index].activation.register_forward_hook(lambda _, inputs, output: seen.append(output))
    network.train()(torch.rand(16, 3, 8, 8))
    assert [index for index, bits in enumerate(seen) if not 0.2 < (bits > 0).float().mean() < 0.8] == []


def test_groups_fit_the_channels_and_vectors_are_not_excited() -> None:
    method = resolve_method("fd", {"adjustment": "group", "excitation_groups": 4})
    net = Net(nn.Conv2d(8, 6, 1), nn.Conv2d(6, 5, 1), nn.Conv2d(5, 8, 8), nn.Conv2d(8, 8, 1))
    network, _ = binarize(net, IMAGES, method=method)
    activations = [network.parts[index].activation for index in range(4)]
    assert [part.adjust.groups for part in activations] == [4, 2, 1, 4]
    assert [part.excite and part.excite.squeeze.groups for part in activations] == [4, 2, 1, None]
    assert network(IMAGES).shape == (4, 5)
    method = resolve_method("fd", {"adjustment": "instance"})
    assert binarize(net, IMAGES, method=method).network.train()(IMAGES).shape == (4, 5)


def test_shared_modules_and_weights_stay_shared() -> None:
    shared = nn.Conv2d(8, 8, 3, padding=1)
    net = Net(shared, nn.BatchNorm2d(8), shared, nn.Conv2d(8, 8, 3, padding=1))
    net.parts[3].weight = shared.weight
    network, table = binarize(net, IMAGES)
    assert network.parts[0] is network.parts[2]
    assert network.parts[3].layer.weight is network.parts[0].layer.weight
    assert [row.path for row in table if row.is_binary] == ["parts.0", "parts.3"]
    network(IMAGES).sum().backward()


@pytest.mark.parametrize("bias", [True, False])
def test_dense_layers_become_binary(bias: bool) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 70), nn.ReLU(), nn.Linear(70, 65, bias), nn.Linear(65, 5))
    network, table = binarize(net, IMAGES)
    assert isinstance(network[3].layer, BinaryLinear)
    assert [row.became for row in table] == ["float", "RPReLU", "BinaryLinear, BatchNorm1d", "float"]
    for part in network.modules():
        if isinstance(part, nn.BatchNorm1d):
            nn.init.normal_(part.weight)
            assert part.running_mean is not None
            part.running_mean.normal_()
    plan = evenbit.pack(network.eval(), IMAGES)
    with torch.no_grad():
        expected = network(IMAGES).numpy()
    assert np.abs(reference.run(plan, IMAGES.numpy()) - expected).max() < 1e-4
    assert [op.kind for op in plan.ops].count("binary_conv") == 1


class Aside(Net):
    """Gives something beside its logits, for training."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__(*parts)
        self.aside = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ELU(inplace=True), nn.Conv2d(8, 5, 8), nn.Flatten())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.parts(self.stem(x))
        return {"logits": self.head(x.mean((2, 3))), "aside": self.aside(x)}


def test_layers_that_the_logits_do_not_need_stay_and_do_not_count() -> None:
    net = Aside(nn.Conv2d(8, 8, 1))
    _, table = binarize(net, IMAGES)
    rows = {row.path: row for row in table}
    for path in ("aside.0", "aside.2"):
        assert (rows[path].became, rows[path].reason, rows[path].macs) == ("float", "is not needed for the logits", 0)
    assert rows["parts.0"].is_binary
    assert rows["head"].reason == "makes the logits"
    assert table.binary_share == 64 * 64 / (8 * 27 * 64 + 64 * 64 + 8 * 5)


@pytest.mark.parametrize("kind", [tuple, list, lambda layers: dict(enumerate(layers)), nn.ModuleList])
def test_layers_that_forward_reaches_past_their_module_are_named(kind: Callable[..., object]) -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 8, 1), nn.Linear(8, 5)
            self.a, self.b = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
            self.layers = kind([self.a, self.b])
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            x = self.b(self.stem(x))
            for index in range(2):
                x = self.layers[index](x)
            return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]

    if kind is nn.ModuleList:
        network, table = binarize(Listed(), IMAGES)
        assert [row.path for row in table if row.is_binary] == ["b", "a"]
        assert network.training
        assert network.calls == 0
    else:
        with pytest.raises(BinarizeError, match=r"does not call what replaces 'a', 'b'; .* or by nn\.ModuleList or"):
            binarize(Listed(), IMAGES)


def test_a_network_that_cannot_use_its_new_layers_is_named() -> None:
    def forward(parts: nn.Sequential, x: Tensor) -> Tensor:
        return parts(x) if not parts[0].transposed else x

    with pytest.raises(BinarizeError, match=r"binary network cannot be computed: .* no attribute 'transposed'"):
        binarize(Net(nn.Conv2d(8, 8, 1), forward=forward), IMAGES)


def test_bad_requests_are_named() -> None:
    net = Net(nn.Conv2d(8, 8, 1))
    with pytest.raises(
        BinarizeError, match=r"keep names 'stage1', which is not a layer of the network; it has 'stem.0'"
    ):
        binarize(net, IMAGES, keep=("first", "stage1"))
    with pytest.raises(BinarizeError, match="keep should be a sequence of names, but is the string 'first'"):
        binarize(net, IMAGES, keep="first")
    with pytest.raises(BinarizeError, match="method 'float' is not binary"):
        binarize(net, IMAGES, method="float")
    with pytest.raises(RecipeError, match="unknown method 'none'"):
        binarize(net, IMAGES, method="none")
    with pytest.raises(BinarizeError, match=r"no layer .* can be binarized: 'stem.0' reads the images; 'head' makes"):
        binarize(Net(), IMAGES)
    with pytest.raises(BinarizeError, match="it has none"):
        binarize(nn.Flatten(), IMAGES)
    with pytest.raises(CaptureError, match="the example should be images of the shape N x C x H x W, or seq"):
        binarize(net, IMAGES[0, 0])
    with pytest.raises(
        CaptureError,
        match="or sequences N x C x L, but is tuple",
    ):
        binarize(net, (3, 8, 8))  # type: ignore[arg-type]
    with pytest.raises(CaptureError, match=r"module 'stem.0': it cannot be computed: .* expected input"):
        binarize(net, torch.rand(1, 4, 8, 8))


def test_weights_without_signs_are_named() -> None:
    for value, message in ((0.0, "its weights are all zero"), (float("nan"), "holds a weight that is not finite")):
        net = Net(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1))
        network, _ = binarize(net, IMAGES)
        nn.init.constant_(net.parts[1].weight, value)
        nn.init.constant_(network.parts[1].layer.weight, value)
        with pytest.raises(BinarizeError, match=rf"module 'parts\.1': {message}"):
            binarize(net, IMAGES)
        with pytest.raises(CaptureError, match=rf"module 'parts\.1\.layer': {message}"):
            evenbit.pack(network.eval(), IMAGES)


def test_control_flow_on_the_images_is_named() -> None:
    class Gate(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.mean() > 0 else -x

    with pytest.raises(CaptureError, match=r"module 'parts\.1': .* depends on the values of the images"):
        binarize(Net(nn.Conv2d(8, 8, 1), Gate()), IMAGES)


def test_a_pruned_weight_is_named() -> None:
    layer = nn.Conv2d(8, 8, 3, padding=1)
    torch.nn.utils.prune.l1_unstructured(layer, "weight", 0.5)
    with pytest.raises(BinarizeError, match=r"module 'parts.0': its weight is computed from other tensors, by pruning"):
        binarize(Net(layer), IMAGES)
    torch.nn.utils.prune.remove(layer, "weight")
    assert binarize(Net(layer), IMAGES).table


def test_a_tensor_that_a_module_keeps_is_named() -> None:
    class Keeping(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.last = x
            return x

    net = Net(nn.Conv2d(8, 8, 1), Keeping())
    assert binarize(net, IMAGES).table
    net(IMAGES)
    with pytest.raises(
        BinarizeError, match=r"module 'parts\.1': its attribute 'last' is or holds a tensor .* set it to None first"
    ):
        binarize(net, IMAGES)
    net.parts[1].last = {"all": [net.parts[1].last]}
    with pytest.raises(BinarizeError, match="its attribute 'last' is or holds a tensor"):
        binarize(net, IMAGES)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_networks_of_another_type_are_named(dtype: torch.dtype) -> None:
    net = Net(nn.Conv2d(8, 8, 1)).to(dtype)
    with pytest.raises(CaptureError, match=rf"module 'stem\.0': .* has parameters of {dtype}; call float\(\)"):
        binarize(net, IMAGES)


def test_the_default_type_of_torch_does_not_matter() -> None:
    net = Net(nn.Conv2d(8, 8, 1))
    torch.set_default_dtype(torch.float64)
    try:
        assert binarize(net, IMAGES).network(IMAGES).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
