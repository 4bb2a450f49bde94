"""Networks of papers, made binary: what became binary, do engine and torch agree, and how fast is the engine?

    python benchmarks/networks_of_others.py > results/networks-of-others.json
    python benchmarks/networks_of_others.py --rounds 3 MobileNetV3-small RepVGG-A0

Each network has its published size and fresh weights; its normalizations have seen a few images, as have those of its
binary form. How good the binary form would become says `benchmarks/third_party.py` for three of them. The times are
those of one image on one thread, beside the real network in ONNX Runtime; what stayed real is float32 in both. The
binary form is exported too: the C code runs its own test, and ONNX Runtime runs the ONNX file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
import transformers
from torch import nn

import evenbit
from agreement import compare
from evenbit.bench import interleave, statistics
from evenbit.bench.peers import onnxruntime_peer, onnxruntime_predict, to_onnx
from evenbit.errors import unknown
from evenbit.evaluation import collect_logits
from evenbit.export import EXPORTERS
from evenbit.nn.trace import Logits
from evenbit.runtime import reference
from evenbit.train import torch_predict
from evenbit.train.checkpoint import to_float
from origin import origin
from published_networks import DenseNet, EfficientNetLite, MobileNetV3, RepVGG, ShuffleNetV2, TCResNet, UNet

PHOTO = (3, 224, 224)
SOUND = (40, 1, 98)  # coefficients of 98 pieces of a second
IMAGES = 8
PASSES = 3  # over the images, for the statistics of the normalizations


def _small_vit() -> nn.Module:
    sizes = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
    return transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=1000, **sizes))


def _resnet50() -> nn.Module:
    return transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000))


def _mobilenet_v1() -> nn.Module:
    return transformers.MobileNetV1ForImageClassification(transformers.MobileNetV1Config(num_labels=1000))


def _convnext_v2() -> nn.Module:
    sizes = {"hidden_sizes": [40, 80, 160, 320], "depths": [2, 2, 6, 2]}
    return transformers.ConvNextV2ForImageClassification(transformers.ConvNextV2Config(num_labels=1000, **sizes))


def _poolformer() -> nn.Module:
    return transformers.PoolFormerForImageClassification(transformers.PoolFormerConfig(num_labels=1000))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "MobileNetV1": _mobilenet_v1,
    "MobileNetV3-small": MobileNetV3,
    "EfficientNet-Lite0": EfficientNetLite,
    "DenseNet-121": DenseNet,
    "RepVGG-A0": RepVGG,
    "RepVGG-A0, fused": lambda: _seen(RepVGG(), PHOTO).fused(),
    "ShuffleNetV2 1.0x": ShuffleNetV2,
    "ResNet-50": _resnet50,
    "ConvNeXtV2-Atto": _convnext_v2,
    "PoolFormer-S12": _poolformer,
    "ViT-S/16": _small_vit,
    "U-Net, 32 to 256": UNet,
    "TC-ResNet8": lambda: nn.Sequential(nn.Flatten(2), TCResNet()),
}
SIZES = {"TC-ResNet8": SOUND}  # of all others: PHOTO


def _images(size: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Smooth noise of many sizes: coarse noise enlarged, so that images differ in more than their details."""
    draw = torch.Generator().manual_seed(0)
    parts = [torch.rand(IMAGES, size[0], side, side, generator=draw) for side in (4, 16, 56)]
    enlarged = sum(F.interpolate(part, size[1:], mode="bilinear") for part in parts)
    return (enlarged * (255 / len(parts))).to(torch.uint8).numpy()


def _seen(network: nn.Module, size: tuple[int, int, int]) -> nn.Module:
    """The network in eval mode, after its normalizations have seen the images."""
    network.train()
    with torch.no_grad():
        for _ in range(PASSES):
            network(to_float(torch.from_numpy(_images(size))))
    return network.eval()


def measure(name: str, rounds: int) -> dict[str, Any]:
    """One network from fresh weights to times."""
    torch.manual_seed(0)
    size = SIZES.get(name, PHOTO)
    images = _images(size)
    real = Logits(NETWORKS[name]())
    example = to_float(torch.from_numpy(images[:1]))
    network, table = evenbit.binarize(real, example)
    plan = evenbit.pack(_seen(network, size), example)
    engine = evenbit.Engine(plan, threads=1)
    in_torch, on_engine = collect_logits(torch_predict(network), images), collect_logits(engine, images)
    image = example.numpy()
    runners = {
        "ours": lambda: engine(image),
        "onnxruntime": onnxruntime_peer(to_onnx(real.eval(), image), image, 1).run,
    }
    times = {runner: statistics(turns) for runner, turns in interleave(runners, rounds).items()}
    layers = [row for row in table if row.macs]
    return {
        "network": name,
        "layers": len(layers),
        "binary_layers": sum(row.is_binary for row in layers),
        "binary_macs_percent": 100 * table.binary_share,
        "engine_is_reference": reference.run(plan, images[:1]).tobytes() == on_engine[:1].tobytes(),
        "agreement": compare(network, plan, images, in_torch, on_engine),
        **_exported(plan, image, on_engine[:1]),
        **times,
    }


def _exported(plan: evenbit.Plan, image: npt.NDArray[np.float32], logits: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Whether the C export gives the engine's bits, and how far ONNX Runtime's logits are from the engine's."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, file = Path(temporary) / "c", Path(temporary) / "network.onnx"
        EXPORTERS["c"](plan, folder)
        subprocess.run(["make", "-s", "evenbit_test"], cwd=folder, check=True)
        test = subprocess.run(["./evenbit_test"], cwd=folder, capture_output=True, text=True, check=False)
        EXPORTERS["onnx"](plan, file)
        in_onnx = onnxruntime_predict(file.read_bytes(), 1)(image).reshape(logits.shape)
    return {
        "c_is_engine": "equal bit for bit" in test.stdout,
        "onnx_distance": float(np.abs(in_onnx - logits).max() / np.abs(logits).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=10, help="turns of each runtime")
    options = parser.parse_args()
    missing = [name for name in options.networks if name not in NETWORKS]
    if missing:
        parser.error(unknown("network", missing[0], NETWORKS))
    torch.set_num_threads(1)
    rows = []
    for name in options.networks:
        rows.append(measure(name, options.rounds))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps({**origin(), **versions, "size": PHOTO[1], "test_images": IMAGES, "published": rows}, indent=1))


if __name__ == "__main__":
    main()
