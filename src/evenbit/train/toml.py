"""Reading TOML, the format of recipes and sweeps."""

from __future__ import annotations

import sys
from typing import Any

from evenbit.errors import RecipeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

INTEGERS = range(-(2**63), 2**63)  # the range that TOML guarantees


def parse_toml(data: bytes, origin: str) -> dict[str, Any]:
    """The table in a file's bytes.

    Args:
        data: The file.
        origin: What errors call it.

    Raises:
        RecipeError: If it is not valid TOML in UTF-8, is nested too deeply or holds an integer of more than 64 bits.
    """
    try:
        values = tomllib.loads(data.decode("utf-8-sig"))  # some editors begin a file with a byte order mark
        _check_integers(values)
    except ValueError as error:  # includes TOMLDecodeError and UnicodeDecodeError
        raise RecipeError(f"{origin} is not valid TOML: {error}") from None
    except RecursionError:
        raise RecipeError(f"{origin} is not valid TOML: it is nested too deeply") from None
    return values


def _check_integers(value: object) -> None:
    """Refuses integers of more than 64 bits: Python reads them, but cannot print thousands of digits."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _check_integers(part)
    elif isinstance(value, int) and value not in INTEGERS:
        raise ValueError("it holds an integer of more than 64 bits")
