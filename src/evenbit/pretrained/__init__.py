"""The network that comes with evenbit: `cifar10.evb`, and where it comes from in `cifar10.json`.

`benchmarks/pretrained.py` writes both from a run; `benchmarks/unsure.py --calibrate` measures how sure it may be.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NETWORK = Path(__file__).with_name("cifar10.evb")
CARD = NETWORK.with_suffix(".json")


def card() -> dict[str, Any]:
    """What is known of the network.

    Returns:
        `bytes` and `sha256` of the file; `data`, `model`, `method`, `seed`, `epochs` and `of_epochs` (done and
        planned) of its training, the `command` of it and the `commit` it ran at; `accuracy` of the file on the
        engine, in percent, over that many test `images`; `calibrated_on`, the number of these, the first ones, on
        which it was measured how sure the file may be.
    """
    content: dict[str, Any] = json.loads(CARD.read_text(encoding="utf-8"))
    return content
