"""The application that commands register with, and what their signatures share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter

# In the order of `evenbit --help`; within a group, commands are in the order of their `sort_key`.
TRAIN = Group("Train", sort_key=1)
DEPLOY = Group("Deploy", sort_key=2)
MEASURE = Group("Measure", sort_key=3)
HELP = Group("Help", sort_key=4)

app = App(
    name="evenbit",
    help="Binary neural networks guided by their features: train, pack, run the bits.",
    exit_on_error=False,
    print_error=False,
    group_commands=HELP,
    result_action="return_value",
)

Json = Annotated[bool, Parameter(name="--json", negative="")]
Out = Annotated[Path, Parameter(name=("--out", "-o"))]
