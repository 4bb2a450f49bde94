"""The networks that come with evenbit.

cifar10.evb    packed, for `evenbit predict`; cifar10.json says where it comes from
start          the checkpoint of a small network without the optimizer's state, for `evenbit train --from bundled`;
               start.json says where it comes from

`benchmarks/pretrained.py` writes them from runs; `benchmarks/unsure.py --calibrate` measures how sure the packed one
may be.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NETWORK = Path(__file__).with_name("cifar10.evb")
CARD = NETWORK.with_suffix(".json")
START = NETWORK.with_name("start")
START_CARD = START.with_suffix(".json")


def card(path: Path = CARD) -> dict[str, Any]:
    """What is known about a network.

    Args:
        path: `CARD` or `START_CARD`.

    Returns:
        `bytes` and `sha256` of the file; `data`, `model`, `method`, `seed`, `epochs` and `of_epochs` (done and
        planned) of its training, the `command` of it and the `commit` it ran at; `accuracy` in
        percent, of the packed file on the engine or of the start in torch, over that many test `images`; for the packed
        file `calibrated_on`: on how many of these images, from the first on, its confidence was measured.
    """
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
