"""What became of each layer of a network that was binarized."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Conversion:
    """What became of one layer.

    Attributes:
        path: Of the module in the network.
        layer: What it was.
        became: What it is now; "float" if it stayed.
        reason: Why it stayed float, or what else there is to know.
        macs: Its multiply-adds for an image, 0 for an activation.
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
    """The rows of a network's layers in the order of their first call; printed, a table of them."""

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
