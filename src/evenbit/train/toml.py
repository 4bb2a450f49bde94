"""Reading TOML, of which recipes and sweeps are."""

from __future__ import annotations

import sys
from typing import Any

from evenbit.errors import RecipeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

INTEGERS = range(-(2**63), 2**63)  # what TOML promises


def parse_toml(data: bytes, origin: str) -> dict[str, Any]:
    """The table in a file's bytes.

    Args:
        data: The file.
        origin: What errors say it is.

    Raises:
        RecipeError: If it is not valid TOML in UTF-8, is nested too deeply or holds an integer of more than 64 bits.
    """
    try:
        values = tomllib.loads(data.decode("utf-8-sig"))  # some editors put a mark at the beginning
        _check_integers(values)
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are two of its kind
        raise RecipeError(f"{origin} is not valid TOML: {error}") from None
    except RecursionError:
        raise RecipeError(f"{origin} is not valid TOML: it is nested too deeply") from None
    return values


def _check_integers(value: object) -> None:
    """Python reads integers of any length, and cannot print those of some thousand digits."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _check_integers(part)
    elif isinstance(value, int) and value not in INTEGERS:
        raise ValueError("it holds an integer of more than 64 bits")
