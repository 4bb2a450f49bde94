"""Running an .evb file with numpy alone, without torch and without the C++ engine.

The reference is slow; it is for checking another executor, or for reading how a network is computed.

    evenbit pack --untrained resnet8 -o model.evb
    python examples/numpy_only.py model.evb
"""

from __future__ import annotations

import sys

import numpy as np

import evenbit
from evenbit.ops import BinaryConv
from evenbit.runtime import reference


def main() -> None:
    plan = evenbit.load(sys.argv[1])
    shape = (2, plan.channels, plan.height, plan.width)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    values = reference.values(plan, images)  # every map of the network, by name
    first = next(op for op in plan.ops if isinstance(op, BinaryConv))
    words = values[first.input]
    print(f"{first.name} reads bits: {words.dtype} {words.shape}, the first word {int(words[0, 0, 0, 0]):016x}")
    for row in values[plan.output].reshape(len(images), -1):
        print(f"class {plan.classes[row.argmax()]}, logits {np.round(row, 3)}")
    print("loaded:", [name for name in ("torch", "evenbit.runtime._core") if name in sys.modules] or "numpy alone")


if __name__ == "__main__":
    main()
