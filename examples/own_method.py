"""A method of your own: a gradient estimator, a row of the table of methods, and a run that uses both.

python examples/own_method.py
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import evenbit
from evenbit.deploy import pack_run
from evenbit.nn import ESTIMATORS, METHODS
from evenbit.train import load_recipe, train


def cosine(x: Tensor, progress: Tensor) -> Tensor:
    """A raised cosine: `g(x) = 1 + cos(pi x)` on [-1, 1], the derivative of `x + sin(pi x) / pi`.

    Its integral is 2, that of the step from -1 to 1.
    """
    return torch.where(x.abs() <= 1, 1 + torch.cos(math.pi * x), 0.0)


def main() -> None:
    ESTIMATORS["cosine"] = cosine
    METHODS["react-cosine"] = dataclasses.replace(METHODS["react"], name="react-cosine", estimator="cosine")

    recipe = load_recipe("digits-resnet8-fd", {"method": "react-cosine", "epochs": 3})
    result = train(recipe, Path("react-cosine"))
    evenbit.save(pack_run(result.folder), "react-cosine.evb")
    test = evenbit.load_dataset("digits").test
    logits = evenbit.Engine.load("react-cosine.evb")(test.images)
    print(f"in torch {result.accuracy:.1f} %, packed {100 * np.mean(logits.argmax(1) == test.labels):.1f} %")


if __name__ == "__main__":
    main()
