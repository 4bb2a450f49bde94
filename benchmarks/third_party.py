"""Networks of Hugging Face transformers, made binary: does the engine name the classes that torch names?

    python benchmarks/third_party.py --data-root DIR > results/third-party.json

Each network is built from its configuration with fresh weights, made binary, trained for one epoch on the first images
of CIFAR-10, packed, and run in torch and on the engine over the first test images. Its real twin is trained alike. One
epoch is far from what the networks can reach: this measures that they go through, not how good they are.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

import evenbit
from agreement import compare
from evenbit import plan_file
from evenbit.cpu import machine
from evenbit.data import Dataset, channel_statistics, load_dataset
from evenbit.data.augment import Augmentation
from evenbit.evaluation import collect_logits, score
from evenbit.models import Normalize
from evenbit.runtime import reference
from evenbit.train import torch_predict
from evenbit.train.checkpoint import to_float
from origin import commit

TRAIN, TEST = 20000, 1000
BATCH = 50
LEARNING_RATE = 1e-3
WARMUP = 20  # steps

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ResNet-18": lambda: transformers.ResNetForImageClassification(
        transformers.ResNetConfig(
            hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic", num_labels=10
        )
    ),
    "MobileNetV2": lambda: transformers.MobileNetV2ForImageClassification(
        transformers.MobileNetV2Config(image_size=32, num_labels=10)
    ),
    "RegNetY-200MF": lambda: transformers.RegNetForImageClassification(
        transformers.RegNetConfig(
            hidden_sizes=[24, 56, 152, 368],
            depths=[1, 1, 4, 7],
            groups_width=8,
            downsample_in_first_stage=False,
            num_labels=10,
        )
    ),
}
# With signs on its bridges it does not learn: see docs/bring-your-own-network.md.
KEEP = {"MobileNetV2": ("first", "last", "bridges")}


class Logits(nn.Module):
    """A network whose output is its logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).logits


def train(network: nn.Module, dataset: Dataset) -> nn.Module:
    """One epoch over the first images; Adam with a warm-up and half a cosine."""
    optimizer = torch.optim.Adam(network.parameters())
    generator = torch.Generator().manual_seed(0)
    augment = Augmentation(pad=4, flip=True, cutout=0)
    steps = TRAIN // BATCH
    network.train()
    for step, batch in enumerate(torch.randperm(TRAIN, generator=generator).split(BATCH)):
        evenbit.set_progress(network, step / steps)
        images = torch.from_numpy(dataset.train.images)[batch]
        rate = min((step + 1) / WARMUP, 0.5 * (1 + math.cos(math.pi * step / steps)))
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * rate
        logits = network(to_float(augment(images, generator)))
        loss = F.cross_entropy(logits, torch.from_numpy(dataset.train.labels)[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        evenbit.keep_latent_weights_within_reach(network)
    return network.eval()


def measure(name: str, dataset: Dataset) -> dict[str, Any]:
    """One network from its configuration to the engine."""
    torch.manual_seed(0)
    real = nn.Sequential(Normalize(*channel_statistics(dataset.train.images)), Logits(NETWORKS[name]()))
    images, labels = dataset.test.images[:TEST], dataset.test.labels[:TEST]
    keep = KEEP.get(name, ("first", "last"))
    network, table = evenbit.binarize(real, to_float(torch.from_numpy(images[:1])), keep=keep)
    train(network, dataset)
    plan = evenbit.pack(network, to_float(torch.from_numpy(images[:1])), classes=dataset.classes)
    in_torch = collect_logits(torch_predict(network), images)
    on_engine = collect_logits(evenbit.Engine(plan), images)
    return {
        "network": name,
        "method": "fd",
        "keep": keep,
        "binary_macs_percent": 100 * table.binary_share,
        "parameters": sum(parameter.numel() for parameter in real.parameters()),
        "packed_bytes": len(plan_file.to_bytes(plan)),
        "accuracy_real": score(collect_logits(torch_predict(train(real, dataset)), images), labels).accuracy,
        "accuracy_torch": score(in_torch, labels).accuracy,
        "accuracy_engine": score(on_engine, labels).accuracy,
        "agreement": compare(network, plan, images, in_torch, on_engine),
        "engine_is_reference": reference.run(plan, images[:2]).tobytes() == on_engine[:2].tobytes(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root")
    dataset = load_dataset("cifar10", root=parser.parse_args().data_root)
    rows = []
    for name in NETWORKS:
        rows.append(measure(name, dataset))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    head = {
        "command": "python benchmarks/third_party.py --data-root DIR > results/third-party.json",
        "commit": commit(),
        "machine": machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "data": "cifar10",
        "train_images": TRAIN,
        "test_images": TEST,
    }
    print(json.dumps({**head, "networks": rows}, indent=1))


if __name__ == "__main__":
    main()
