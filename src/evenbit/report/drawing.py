"""The drawing of a network: its parts from the image to the answer, with bytes and time of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from evenbit.report.collect import Measured, Packed
from evenbit.report.figures import Figure, shortened
from evenbit.report.svg import FAINT, INK, MINUS, PLUS, embed, name, new_figure

MOST_PARTS = 36


@dataclass(frozen=True)
class Part:
    """A part of a network: ops that follow each other and come from one module.

    Attributes:
        name: The first names of the module's path.
        output: Shape of its output.
        channels: Channels of its output.
        bits: Bytes of 1-bit weights.
        floats: Bytes of its other constants.
        us: Microseconds of its ops, one after the other.
    """

    name: str
    output: str
    channels: int
    bits: int
    floats: int
    us: float


def network_parts(packed: Packed, times: Sequence[float]) -> list[Part]:
    """A network's parts from the image to the answer: grouped by two names of the module's path, or one if too many."""
    shapes = packed.plan.op_shapes()
    for depth in (2, 1):
        parts: list[Part] = []
        for row, shape, us in zip(packed.rows, shapes, times, strict=True):
            called = ".".join(row.name.split(".")[:depth]) or "image"
            last = parts.pop() if parts and parts[-1].name == called else Part(called, "", 0, 0, 0, 0.0)
            output = f"{shape.height}x{shape.width}x{shape.channels}"
            bits, floats = last.bits + row.bit_bytes, last.floats + row.float_bytes
            parts.append(Part(called, output, shape.channels, bits, floats, last.us + us))
        if len(parts) <= MOST_PARTS:
            break
    return parts


def draw_network(run: Measured, packed: Packed, times: Sequence[float], key: str) -> Figure:
    """A network from the image to the answer, with the bytes and the time of each part."""
    parts = network_parts(packed, times)
    places = np.arange(len(parts))
    figure = new_figure(0.7 + 0.17 * len(parts))
    drawing, sizes, speeds = figure.subplots(1, 3, sharey=True, width_ratios=(1, 1.6, 1.6))
    widest = max(part.channels for part in parts)
    drawing.plot([0.5, 0.5], [places[0], places[-1]], color=FAINT, linewidth=1)
    for place, part in enumerate(parts):
        width = 0.15 + 0.85 * part.channels / widest
        box = Rectangle((0.5 - width / 2, place - 0.3), width, 0.6, facecolor=PLUS if part.bits else FAINT, linewidth=0)
        name(drawing.add_patch(box), f"{part.name}: gives {part.output}")
    drawing.set(xlim=(-0.05, 1.05), xticks=[], title="channels", yticks=places)
    drawing.set_yticklabels([shortened(part.name) for part in parts], fontsize=7)
    drawing.spines[["left", "bottom"]].set_visible(False)
    start = np.zeros(len(parts))
    for kind, colour in (("bits", PLUS), ("floats", MINUS)):
        values = np.array([getattr(part, kind) / 1e3 for part in parts])
        bars = sizes.barh(places, values, left=start, color=colour, height=0.6)
        for part, bar in zip(parts, bars, strict=True):
            name(bar, f"{part.name}: {getattr(part, kind):,} bytes of {kind}")
        start += values
    for part, bar in zip(parts, speeds.barh(places, [part.us for part in parts], color=INK, height=0.6), strict=True):
        name(bar, f"{part.name}: {part.us:.1f} µs")
    for axes, title in ((sizes, "KB"), (speeds, "µs")):
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.set_title(title)
        axes.tick_params(left=False)
    sizes.invert_yaxis()
    total = sum(part.us for part in parts)
    longest = max(parts, key=lambda part: part.us)
    largest = max(parts, key=lambda part: part.bits + part.floats)
    told = (
        f"{longest.name} takes longest, {100 * longest.us / total:.0f} % of the time; {largest.name} is largest, "
        f"{largest.bits + largest.floats:,} bytes."
    )
    return Figure(
        embed(figure, f"Drawing of {run.label}, {len(parts)} parts from the image to the answer. {told}", key),
        f"{run.label}, from the image at the top to the answer. Left: parts, as wide as they have channels, coloured "
        f"if they have 1-bit weights. Middle: bytes of bits and of floats. Right: time on one thread. {told}",
    )
