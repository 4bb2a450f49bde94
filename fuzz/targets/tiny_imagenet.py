"""Reading Tiny ImageNet's two text files, which a zero byte divides, over a fixed tree of images."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from evenbit.data.tiny_imagenet import read_tiny_imagenet
from targets import scratch


def _tree() -> Path:
    root = scratch.FOLDER / "tiny-imagenet-200"
    for folder in ("train/n1/images", "train/n2/images", "val/images"):
        (root / folder).mkdir(parents=True)
        Image.new("RGB", (64, 64), "red").save(root / folder / "0.JPEG")
    return root


ROOT = _tree()


def check(data: bytes) -> None:
    """Reads the data set."""
    names, _, annotations = data.partition(b"\0")
    (ROOT / "wnids.txt").write_bytes(names)
    (ROOT / "val" / "val_annotations.txt").write_bytes(annotations)
    read_tiny_imagenet(ROOT)
