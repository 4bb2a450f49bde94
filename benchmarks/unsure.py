"""What the network that comes with evenbit is unsure of: images of its own classes, and images of none.

    python benchmarks/unsure.py --data-root DIR > results/unsure-cifar10.json

With `--calibrate`, certainty is first measured anew on the first 5,000 test images of CIFAR-10 and written into the
packaged file and its card; no weight changes. The images of its own classes below are the other 5,000. Those of none
are made of what scikit-learn brings along, of random numbers, and of Fashion-MNIST where it is found.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from evenbit import plan_file
from evenbit.confidence import MOST_IMAGES, STATISTICS, Confidence, with_confidence
from evenbit.data import load_dataset
from evenbit.data.dataset import Images
from evenbit.errors import DataError
from evenbit.evaluation import collect_logits, score
from evenbit.files import write_together
from evenbit.pretrained import CARD, NETWORK, card
from evenbit.runtime.engine import Engine
from evenbit.train.origin import Origin
from pretrained import text_of

SIDE = 32
DRAWN = 500


def calibrate(data_root: str | None) -> None:
    """Writes the packaged file and its card with the certainty measured anew."""
    plan = plan_file.load(NETWORK)
    dataset = load_dataset(plan.info["data"], root=data_root)
    plain = dataclasses.replace(plan, info={key: plan.info[key] for key in plan.info if key in card()})
    data = plan_file.to_bytes(with_confidence(plain, Engine(plain), dataset))
    told = {**card(), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "calibrated_on": MOST_IMAGES}
    write_together({NETWORK: data, CARD: text_of(told)})


def strangers(rng: np.random.Generator) -> Iterator[tuple[str, Images]]:
    """Images `[N, 3, 32, 32]` that show none of the classes, with what they are."""
    from sklearn.datasets import load_digits, load_sample_images

    for name, photo in zip(("a temple", "a flower"), load_sample_images().images, strict=True):
        yield f"windows of a photo of {name}", np.stack([_window(photo, rng) for _ in range(DRAWN)])
    digits = (load_digits().images * 255 / 16).astype(np.uint8)
    yield "handwritten digits", np.stack([_fitted(Image.fromarray(digit)) for digit in digits])
    try:
        fashion = load_dataset("fashion-mnist").test.images[:]
        yield "Fashion-MNIST", np.stack([_fitted(Image.fromarray(image[0])) for image in fashion])
    except DataError as error:
        print(f"left out: {error}", file=sys.stderr)
    yield "noise", rng.integers(0, 256, (DRAWN, 3, SIDE, SIDE), dtype=np.uint8)
    yield "one colour", np.tile(rng.integers(0, 256, (DRAWN, 3, 1, 1), dtype=np.uint8), (1, 1, SIDE, SIDE))


def _window(photo: Images, rng: np.random.Generator) -> Images:
    """A square of 64 pixels or more, brought to size."""
    side = int(rng.integers(64, min(photo.shape[:2]) + 1))
    top, left = (int(rng.integers(0, length - side + 1)) for length in photo.shape[:2])
    return _fitted(Image.fromarray(photo[top : top + side, left : left + side]))


def _fitted(image: Image.Image) -> Images:
    pixels = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR).convert("RGB")
    return np.asarray(pixels).transpose(2, 0, 1)


def shares(doubts: list[list[str]]) -> dict[str, float]:
    """Percent of the images that are unsure, and for which reasons."""
    found = {"unsure": 100 * float(np.mean([bool(one) for one in doubts]))}
    return found | {key: 100 * float(np.mean([key in one for one in doubts])) for key in ("certainty", *STATISTICS)}


def main() -> None:
    """Parses the arguments and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root")
    parser.add_argument("--calibrate", action="store_true")
    arguments = parser.parse_args()
    if arguments.calibrate:
        calibrate(arguments.data_root)
    engine = Engine(NETWORK)
    confidence = Confidence.of_info(engine.plan.info)
    if confidence is None:
        raise SystemExit("the packaged file does not say how sure it may be; run with --calibrate")
    test = load_dataset(engine.plan.info["data"], root=arguments.data_root).test
    images, labels = test.images[MOST_IMAGES:], test.labels[MOST_IMAGES:]
    result = score(collect_logits(engine, images), labels)
    doubts = confidence.doubts(images, result.logits)
    right, sure = result.predictions == labels, np.array([not one for one in doubts])
    scaled = score((result.logits / np.float32(confidence.temperature)).astype(np.float32), labels)
    rows = []
    for name, made in strangers(np.random.default_rng(0)):
        found = confidence.doubts(made, collect_logits(engine, made))
        rows.append({"images": name, "number": len(made), **shares(found)})
    here = Origin.here()
    row = {
        "unsure": Path(NETWORK).name,
        "info": dict(engine.plan.info),
        "known": {
            "number": len(images),
            **shares(doubts),
            "of_right": 100 * float((~sure)[right].mean()),
            "of_wrong": 100 * float((~sure)[~right].mean()),
            "accuracy": result.accuracy,
            "accuracy_of_sure": 100 * float(right[sure].mean()),
            "loss": result.loss,
            "loss_at_temperature": scaled.loss,
        },
        "strangers": rows,
        "command": "python benchmarks/unsure.py --data-root DIR > results/unsure-cifar10.json",
        "commit": (here.commit or "")[:7],
        "versions": here.versions,
    }
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
