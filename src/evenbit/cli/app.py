"""The application that commands register with, and what their signatures share."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from cyclopts import App, Group, Parameter, Token, convert

# In the order of `evenbit --help`; within a group, commands are in the order of their `sort_key`.
TRAIN = Group("Train", sort_key=1)
DEPLOY = Group("Deploy", sort_key=2)
MEASURE = Group("Measure", sort_key=3)
HELP = Group("Help", sort_key=4)


def _exactly(type_: Any, tokens: Sequence[Token]) -> Any:
    """Converts a value of the command line to its type.

    1.5 is refused as a whole number, not rounded, and nothing as a path, which would stand for the current folder.
    """
    if Path in (type_, *get_args(type_)) and any(not token.value for token in tokens):
        raise ValueError("it is empty")
    if int in (type_, *get_args(type_)):
        for token in tokens:
            with contextlib.suppress(ValueError):
                if not float(token.value).is_integer():
                    raise TypeError
    return convert(type_, tokens)


app = App(
    name="evenbit",
    help="Binary neural networks guided by their features: train, pack, run the bits.",
    exit_on_error=False,
    print_error=False,
    group_commands=HELP,
    result_action="return_value",
    default_parameter=Parameter(converter=_exactly),
)

Json = Annotated[bool, Parameter(name="--json", negative="")]
Out = Annotated[Path, Parameter(name=("--out", "-o"))]
