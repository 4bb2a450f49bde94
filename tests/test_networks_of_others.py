"""Networks of more than convolutions on images: tokens, sequences, shuffled channels, maps of logits.

Each is packed as it is and made binary, and run by torch, reference, engine and ONNX Runtime.
"""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    ConvNextV2Config,
    ConvNextV2ForImageClassification,
    MobileNetV1Config,
    MobileNetV1ForImageClassification,
    PoolFormerConfig,
    PoolFormerForImageClassification,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

import evenbit
from evenbit.errors import CaptureError, InputError
from evenbit.export import EXPORTERS
from evenbit.nn import BinaryConv2d, Sign
from evenbit.nn.block import make_binarizer
from evenbit.predict import predict_images
from evenbit.runtime import reference

SIZE = (1, 32, 32)


class Segmentation(nn.Module):
    """Two sizes and a way back up, by a transposed convolution and by interpolation: a class for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.GroupNorm(4, 24), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(24, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.inside = nn.Sequential(nn.Conv2d(32, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.up = nn.ConvTranspose2d(32, 32, 2, 2)
        self.join = nn.Sequential(nn.Conv2d(64, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.GELU())
        self.head = nn.Conv2d(24, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(self.stem(x))
        x = self.join(torch.cat([x, self.up(self.inside(x))], 1))
        return F.interpolate(self.head(x), scale_factor=2, mode="bilinear", align_corners=False)


class Encoder(nn.Module):
    """Torch's own transformer, on patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 32, 8, 8)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)[:, 1:]  # an odd number of them
        return self.head(self.encoder(tokens).mean(1))


def keywords() -> nn.Module:
    """Residual-free Conv1d layers over a sequence, as for keyword spotting."""
    layers: list[nn.Module] = [nn.Conv1d(3, 32, 9, 2, 4), nn.BatchNorm1d(32), nn.ReLU()]
    for stride, dilation in ((1, 1), (2, 1), (1, 2)):
        padding = dilation * 2
        layers += [nn.Conv1d(32, 32, 5, stride, padding, dilation, bias=False), nn.BatchNorm1d(32), nn.ReLU()]
    return nn.Sequential(*layers, nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 10))


def vit() -> nn.Module:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    return ViTForImageClassification(ViTConfig(num_channels=1, image_size=32, patch_size=8, num_labels=10, **sizes))


def swin() -> nn.Module:
    sizes = {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
    return SwinForImageClassification(SwinConfig(num_channels=1, image_size=32, patch_size=4, num_labels=10, **sizes))


def convnext() -> nn.Module:
    sizes = {"patch_size": 4, "hidden_sizes": [16, 32], "depths": [1, 2], "num_stages": 2}
    return ConvNextV2ForImageClassification(ConvNextV2Config(num_channels=1, image_size=32, num_labels=10, **sizes))


def poolformer() -> nn.Module:
    sizes = {"hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1]}
    return PoolFormerForImageClassification(PoolFormerConfig(num_channels=1, num_labels=10, **sizes))


def mobilenet() -> nn.Module:
    config = MobileNetV1Config(num_channels=1, image_size=32, depth_multiplier=0.25, num_labels=10)
    return MobileNetV1ForImageClassification(config)


def segformer() -> nn.Module:
    sizes = {"depths": [1, 1], "num_encoder_blocks": 2, "hidden_sizes": [16, 32], "sr_ratios": [2, 1]}
    sizes |= {"num_attention_heads": [1, 2], "patch_sizes": [7, 3], "strides": [4, 2], "mlp_ratios": [2, 2]}
    return SegformerForSemanticSegmentation(
        SegformerConfig(num_channels=1, num_labels=10, decoder_hidden_size=32, **sizes)
    )


def published() -> ModuleType:
    """`benchmarks/published_networks.py`."""
    return importlib.import_module("published_networks")


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))


def shufflenet() -> nn.Module:
    return published().ShuffleNetV2(1, 10, (24, 32), (2, 2), 48)


def mobilenet_v3() -> nn.Module:
    module = published()
    return module.MobileNetV3(1, 10, [module.SMALL[index] for index in (0, 1, 2, 4, 5)])


def efficientnet_lite() -> nn.Module:
    return published().EfficientNetLite(1, 10, ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2)))


def densenet() -> nn.Module:
    return published().DenseNet(1, 10, (2, 3), 12)


def repvgg() -> nn.Module:
    return published().RepVGG(1, 10, ((2, 24), (3, 40)))


def repvgg_fused() -> nn.Module:
    """With branches whose normalizations have seen images, so that they matter."""
    network = repvgg()
    network(torch.rand(4, *SIZE))
    return network.eval().fused()


# How to make it, the size of what it reads, and how many of its layers become binary.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "shufflenet": (shufflenet, SIZE, 11),
    "segmentation": (Segmentation, SIZE, 3),
    "keywords": (keywords, (3, 101), 2),
    "encoder": (Encoder, SIZE, 4),
    "vit": (vit, SIZE, 12),
    "swin": (swin, SIZE, 25),
    "convnext": (convnext, SIZE, 7),
    "poolformer": (poolformer, SIZE, 11),
    "mobilenet": (mobilenet, SIZE, 13),
    "segformer": (segformer, SIZE, 17),
    "mobilenet-v3": (mobilenet_v3, SIZE, 11),
    "efficientnet-lite": (efficientnet_lite, SIZE, 10),
    "densenet": (densenet, SIZE, 11),
    "repvgg": (repvgg, SIZE, 5),
    "repvgg-fused": (repvgg_fused, SIZE, 5),
}


def in_torch(network: nn.Module, images: Tensor) -> np.ndarray:
    with torch.no_grad():
        output = network(images)
    return (output if isinstance(output, Tensor) else output.logits).numpy()


def in_exported_c(plan: evenbit.Plan, folder: Path) -> None:
    EXPORTERS["c"](plan, folder)
    result = subprocess.run(["make", "-s", "test"], cwd=folder, capture_output=True, text=True, check=False)
    assert "equal bit for bit" in result.stdout, result.stdout + result.stderr


def assert_packed_exactly(network: nn.Module, images: Tensor) -> None:
    """The engine gives the reference's logits bit for bit, and torch's but for rounding."""
    plan = evenbit.pack(network, images)
    found = evenbit.Engine(plan, threads=1)(images.numpy())
    assert reference.run(plan, images.numpy()).tobytes() == found.tobytes()
    assert np.abs(found - in_torch(network, images)).max() < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_real_and_binary(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, size, binary = NETWORKS[name]
    real = make().eval()
    images = torch.rand(2, *size)
    as_maps = images.numpy().reshape(2, size[0], *(1, *size[1:])[-2:])
    network, table = evenbit.binarize(real, images)
    assert sum(row.is_binary for row in table) == binary
    network.train()
    for _ in range(5):  # statistics of their own, so that no value lies at its threshold
        in_torch(network, torch.rand(4, *size))
    for module in (real, network.eval()):
        plan = evenbit.pack(module, images)
        expected = in_torch(module, images)
        on_engine = evenbit.Engine(plan, threads=1)(as_maps)
        found = on_engine.reshape(expected.shape)
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
        assert reference.run(plan, as_maps[:1]).tobytes() == on_engine[:1].tobytes()
        EXPORTERS["onnx"](plan, tmp_path / "net.onnx")
        (in_onnx,) = onnxruntime.InferenceSession(tmp_path / "net.onnx").run(["logits"], {"images": as_maps})
        assert np.abs(in_onnx - on_engine).max() <= 2e-5 * np.abs(expected).max()
    if name in ("segmentation", "keywords", "vit", "mobilenet-v3", "densenet"):
        in_exported_c(plan, tmp_path / "c")


def test_published_networks_have_as_many_parameters_as_in_their_papers() -> None:
    module = published()
    made = (
        module.MobileNetV3(),
        module.EfficientNetLite(),
        module.DenseNet(),
        module.RepVGG(),
        module.RepVGG().fused(),
        module.ShuffleNetV2(),
        module.TCResNet(),
    )
    millions = [round(sum(part.numel() for part in network.parameters()) / 1e6, 2) for network in made]
    assert millions == [2.54, 4.65, 7.98, 9.11, 8.31, 2.28, 0.07]


def test_a_fused_repvgg_computes_what_its_branches_compute() -> None:
    network, images = repvgg(), torch.rand(4, *SIZE)
    network(images)
    expected = in_torch(network.eval(), images)
    assert np.abs(in_torch(network.fused(), images) - expected).max() < 1e-5
    assert np.abs(expected).max() > 0.1


def test_what_names_classes_refuses_maps_of_logits(tmp_path: Path) -> None:
    plan = evenbit.pack(Segmentation().eval(), torch.rand(1, *SIZE))
    assert plan.gives_map
    evenbit.save(plan, tmp_path / "map.evb")
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(InputError, match="classifies each pixel of a map, not a photo"):
        predict_images(tmp_path / "map.evb", [tmp_path / "photo.png"])


def test_grouped_convolutions_are_binary_where_asked() -> None:
    network, table = evenbit.binarize(shufflenet(), torch.rand(1, *SIZE), also=("3.through.1.0",))
    became = {row.path: row.became for row in table}
    assert became["3.through.1.0"] == "BinaryConv2d"
    assert became["5.through.1.0"] == "float"
    images = torch.rand(3, *SIZE)
    network.train()
    in_torch(network, images)
    assert_packed_exactly(network.eval(), images)


@pytest.mark.parametrize(
    ("conv", "size"),
    [
        (nn.Conv2d(12, 20, 3, padding=2, dilation=2), (8, 12)),  # each map of remainders is padded on its own
        (nn.Conv2d(12, 20, 3, padding=2, dilation=2), (7, 12)),  # maps of two heights
        (nn.Conv2d(12, 20, (3, 1), padding=(1, 0), dilation=(3, 1)), (9, 5)),
        (nn.Conv2d(12, 20, (3, 5), padding="same", dilation=(2, 3)), (9, 11)),
        (nn.Conv2d(12, 20, 2, dilation=4, groups=4), (7, 6)),
    ],
)
def test_dilated_convolutions_are_binary_where_asked(conv: nn.Conv2d, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 1, *size)
    real = nn.Sequential(nn.Conv2d(1, 12, 1), nn.Hardtanh(), conv, nn.Hardtanh(), nn.Flatten(), nn.LazyLinear(10))
    real(images)
    network, table = evenbit.binarize(real, images, also=("2",))
    assert [row.became for row in table if row.macs] == ["float", "BinaryConv2d, BatchNorm2d", "float"]
    network.train()
    in_torch(network, images)
    assert_packed_exactly(network.eval(), images)


def test_a_dilated_binary_convolution_with_a_stride_is_refused() -> None:
    real = nn.Sequential(
        nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 3, 2, dilation=2), nn.Conv2d(8, 8, 1), nn.Flatten(), nn.LazyLinear(10)
    )
    real(torch.rand(1, *SIZE))
    _, table = evenbit.binarize(real, torch.rand(1, *SIZE), also=("1",))
    assert {row.path: row.reason for row in table}["1"] == "is dilated and has a stride"
    layer = BinaryConv2d(1, 10, 3, make_binarizer(evenbit.METHODS["bnn"]), stride=2, dilation=2)
    with pytest.raises(CaptureError, match="module '1': a dilated binary convolution with a stride cannot be packed"):
        evenbit.pack(nn.Sequential(Sign("clip"), layer, nn.Flatten()).eval(), torch.rand(1, 1, 8, 8))
