"""Reading a recipe, and settings as the command line takes them. The first byte says which."""

from __future__ import annotations

from evenbit.train.recipe import load_recipe, make_recipe, parse_settings
from targets import scratch


def check(data: bytes) -> None:
    """Reads a recipe's file, or one setting a line."""
    if data[:1] < b"\x80":
        load_recipe(scratch.write("recipe.toml", data[1:]), {"knobs": {"zero_point": True}})
    else:
        make_recipe(parse_settings(data[1:].decode(errors="surrogateescape").split("\n")), "settings")
