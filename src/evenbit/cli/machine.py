"""Commands about evenbit on this machine."""

from __future__ import annotations

from typing import Literal

from evenbit import terminal
from evenbit.cli.app import HELP, Json, app
from evenbit.errors import EvenbitError


@app.command(group=HELP, sort_key=0)
def doctor(*, data_root: str | None = None, as_json: Json = False) -> None:
    """Show versions, CPU, instruction sets and data found.

    Args:
        data_root: Where the files of data sets are; if not given, the folder that the variable EVENBIT_DATA names.
        as_json: Print JSON.
    """
    from evenbit.doctor import diagnose

    terminal.show_diagnosis(diagnose(data_root), as_json=as_json)


@app.command(name="--install-completion", group=HELP, sort_key=1)
def install_completion(*, shell: Literal["bash", "zsh", "fish"] | None = None) -> None:
    """Let the shell complete commands and options.

    Args:
        shell: The shell; the one that runs this command if not given.
    """
    from cyclopts.completion.detect import ShellDetectionError

    try:
        path = app.install_completion(shell=shell)
    except ShellDetectionError:
        raise EvenbitError("cannot tell which shell this is; give --shell bash, zsh or fish") from None
    print(f"completion is in {path}; it works in new shells")
