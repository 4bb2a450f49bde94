"""Whether the real-valued maps could be kept in half precision: how many top classes would change.

    python benchmarks/half_precision.py model.evb --data cifar10 --data-root DIR > results/half-precision.json

Runs the reference twice, once with every map rounded to float16 when it is stored, as an engine with half as much
memory traffic would. Zero points lie where values are dense, so a bit that falls on the other side is no rare event.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt

from evenbit import plan_file
from evenbit.data import load_dataset
from evenbit.evaluation import collect_logits
from evenbit.ops import Array, Tail
from evenbit.runtime import reference


def main() -> None:
    """Parses the arguments and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-root")
    parser.add_argument("--images", type=int, default=2000)
    arguments = parser.parse_args()
    plan = plan_file.load(arguments.file)
    test = load_dataset(arguments.data, root=arguments.data_root).test
    images, labels = test.images[: arguments.images], test.labels[: arguments.images]
    finish = Tail.finish

    def finish_in_half(tail: Tail, v: Array, out: str | None, known: Mapping[str, Array]) -> dict[str, Array]:
        written = finish(tail, v, out, known)
        if out is not None and written[out].shape[1] > 1:  # a map, not a vector
            written[out] = written[out].astype(np.float16).astype(np.float32)
        return written

    def classes() -> npt.NDArray[np.int64]:
        return collect_logits(lambda batch: reference.run(plan, batch), images).argmax(1)

    single = classes()
    with mock.patch.object(Tail, "finish", finish_in_half):
        half = classes()
    row = {
        "half_precision": arguments.file.name,
        "info": dict(plan.info),
        "images": len(images),
        "differing": int((single != half).sum()),
        "accuracy": 100 * float((single == labels).mean()),
        "accuracy_half": 100 * float((half == labels).mean()),
    }
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
