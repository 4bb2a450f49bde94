"""What packing keeps: the engine, the numpy reference and torch, side by side on one trained network.

The engine gives the bytes of the reference's logits, on every instruction set and number of threads. torch adds floats
in another order, so its logits are near, and its classes the same but where a value lies at its threshold.

    python examples/compare_bits.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import evenbit
from evenbit.deploy import pack_run
from evenbit.runtime import reference
from evenbit.runtime.engine import isas
from evenbit.train import load_recipe, torch_predict, train


def main() -> None:
    recipe = load_recipe("digits-resnet8-fd", {"epochs": 3})
    folder = train(recipe, Path("digits")).folder
    plan = pack_run(folder)
    images = evenbit.load_dataset("digits").test.images

    expected = reference.run(plan, images)
    for isa in isas():
        for threads in (1, 2):
            logits = evenbit.Engine(plan, isa=isa, threads=threads)(images)
            print(f"{isa}, {threads} threads: same bytes as the reference: {logits.tobytes() == expected.tobytes()}")

    in_torch = torch_predict(evenbit.load_run(folder).model)(images)
    same = int((in_torch.argmax(1) == expected.argmax(1)).sum())
    print(f"torch: the same class for {same} of {len(images)} images")
    print(f"torch: median distance of logits {np.median(abs(in_torch - expected)):.1e}")


if __name__ == "__main__":
    main()
