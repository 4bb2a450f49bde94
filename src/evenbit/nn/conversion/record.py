"""What became of each layer of a network that was binarized."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Conversion:
    """What became of one layer.

    Attributes:
        path: Path of the module in the network.
        layer: The layer as it was.
        became: The layer as it is now; "float" if it was not changed.
        reason: Why it stayed float, or what else there is to know.
        macs: Multiply-adds of the layer for one image; 0 for an activation, and for a layer
            that the logits do not need.
    """

    path: str
    layer: str
    became: str
    reason: str
    macs: int

    @property
    def is_binary(self) -> bool:
        """Whether its weights are binary now."""
        return self.became.startswith("Binary")


class Conversions(tuple[Conversion, ...]):
    """One row for each layer of a network, in the order of their first call; `print` shows a table."""

    @property
    def binary_share(self) -> float:
        """The share of the network's multiply-adds whose weights and inputs are binary now, from 0 to 1."""
        total = sum(row.macs for row in self)
        return sum(row.macs for row in self if row.is_binary) / total

    def __str__(self) -> str:
        rows = [("module", "was", "is now", ""), *((row.path, row.layer, row.became, row.reason) for row in self)]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = ["  ".join((*map(str.ljust, row[:3], widths), row[3])).rstrip() for row in rows]
        return "\n".join([*lines, f"{100 * self.binary_share:.1f} % of the multiply-adds are binary"])
