"""A real network of your own becomes binary: train it, convert it, see what training the bits brings, pack it.

python examples/convert.py
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

import evenbit
from evenbit.models import Normalize


def conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def make_network() -> nn.Sequential:
    """A plain convolutional network; `Normalize` is part of it, so its file takes images in [0, 1]."""
    return nn.Sequential(
        Normalize(mean=(0.5,), std=(0.3,)),
        *(conv(1, 32), conv(32, 64), nn.MaxPool2d(2), conv(64, 64), conv(64, 64)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )


def train(network: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    network.train()
    for epoch in range(epochs):
        evenbit.set_progress(network, epoch / epochs)
        for batch in torch.randperm(len(images)).split(64):
            loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            evenbit.keep_latent_weights_within_reach(network)
    network.eval()


@torch.inference_mode()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    return 100 * float((network(images).argmax(1) == labels).double().mean())


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = evenbit.load_dataset("digits")
    images, labels = torch.from_numpy(data.train.images) / 255, torch.from_numpy(data.train.labels)
    test = torch.from_numpy(data.test.images) / 255, torch.from_numpy(data.test.labels)

    real = make_network()
    train(real, images, labels, epochs=5)
    print(f"real, trained             {accuracy(real, *test):5.1f} %")

    binary, table = evenbit.binarize(real, images[:1])
    print(f"binary, without training  {accuracy(binary.eval(), *test):5.1f} %")
    train(binary, images, labels, epochs=5)
    print(f"binary, trained           {accuracy(binary, *test):5.1f} %")

    plan = evenbit.pack(binary, images[:1], classes=data.classes)
    evenbit.save(plan, "converted.evb")
    logits = evenbit.Engine.load("converted.evb")(data.test.images)
    print(f"binary, on the engine     {100 * np.mean(logits.argmax(1) == data.test.labels):5.1f} %")
    print(table)


if __name__ == "__main__":
    main()
