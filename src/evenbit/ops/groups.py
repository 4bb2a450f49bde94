"""Groups of channels, for convolutions in which each output reads only a part of the inputs."""

from __future__ import annotations

from evenbit.errors import PlanError
from evenbit.ops.shape import Array


def per_group(channels: int, groups: int) -> int:
    """Input channels of a group.

    Raises:
        PlanError: If the channels do not divide into the groups.
    """
    if groups < 1 or channels % groups:
        raise PlanError(f"{channels} channels do not divide into {groups} groups")
    return channels // groups


def check_outputs(weight: Array, groups: int) -> None:
    """Raises PlanError if the outputs of a weight `[O, ...]` do not divide into the groups."""
    if len(weight) % groups:
        raise PlanError(f"{len(weight)} outputs do not divide into {groups} groups")
