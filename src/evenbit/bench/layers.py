"""Where a network's time goes: each op, and how near its binary convolutions come to what the CPU can do."""

from __future__ import annotations

from typing import Any

import numpy as np

from evenbit.runtime.engine import Engine
from evenbit.summary import summarize

ROUNDS = 300


def profile_layers(engine: Engine) -> dict[str, Any]:
    """Times every op of one image on one thread.

    Args:
        engine: A loaded network.

    Returns:
        `info` of the network; `isa`; `limit_gmacs`: the limit of a binary convolution, its inner step on registers
        alone, in 1e9 1-bit multiply-adds per second. `layers`: for each op `op`, `name`, `output` (shape), `us`
        (microseconds, its Tail included) and, for convolutions, `macs` and `gmacs`; for binary ones also `share` of
        the limit; for those without groups also `sums_us` and `tail_us` (the time without the Tail and of the Tail
        alone) and `sums_share`. `kinds`: the microseconds of all ops of a kind.
    """
    plan = engine.plan
    image = np.random.default_rng(0).random((1, plan.channels, plan.height, plan.width), dtype=np.float32)
    engine.profile(image, ROUNDS // 10)
    before = engine.measure_binary_limit()
    times = engine.profile(image, ROUNDS)
    limit = max(before, engine.measure_binary_limit()) / 1e9
    layers = []
    for row, time in zip(summarize(plan), times, strict=True):
        layer: dict[str, Any] = {"op": row.kind, "name": row.name, "output": row.output, "us": 1e6 * time.seconds}
        if row.binary_macs or row.float_macs:
            layer["macs"] = row.binary_macs + row.float_macs
            layer["gmacs"] = (row.binary_macs + row.float_macs) / time.seconds / 1e9
        if row.binary_macs:
            layer["share"] = layer["gmacs"] / limit
        if time.sums:
            layer |= {"sums_us": 1e6 * time.sums, "tail_us": 1e6 * time.tail}
            layer["sums_share"] = row.binary_macs / time.sums / 1e9 / limit
        layers.append(layer)
    kinds: dict[str, float] = {}
    for layer in layers:
        kinds[layer["op"]] = kinds.get(layer["op"], 0.0) + layer["us"]
    return {"info": dict(plan.info), "isa": engine.isa, "limit_gmacs": limit, "layers": layers, "kinds": kinds}
