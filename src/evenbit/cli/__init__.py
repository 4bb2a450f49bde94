"""The command line: parse, call, print. What a command does lives in the module it calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError, MissingArgumentError, UnknownCommandError, UnusedCliTokensError

from evenbit import terminal
from evenbit.cli import deployment, machine, measurement, training  # noqa: F401  (they register their commands)
from evenbit.cli.app import app
from evenbit.errors import EvenbitError, unknown

# Packages that a command may lack, and the extra of evenbit that installs them.
TRAINING = ("torch", "accelerate", "pydantic", "tensorboard", "sklearn", "jinja2", "matplotlib", "jaxtyping", "scipy")
EXTRAS = dict.fromkeys(TRAINING, "train") | {"onnx": "export"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit status.

    0 is success; 2 is a mistake in the command or its input, reported in one line; an interruption ends the process
    with 130. `--debug` anywhere shows the traceback of an error.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in tokens
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this process
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123  (as long as the process)
    try:
        status = app([token for token in tokens if token != "--debug"])
    except BrokenPipeError:  # a reader such as `head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (EvenbitError, CycloptsError, OSError, MemoryError) as error:
        if debug:
            raise
        terminal.print_error(_explain(error))
        return 2
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if debug or extra is None:
            raise
        terminal.print_error(f"this command needs the package '{error.name}'; pip install 'evenbit[{extra}]'")
        return 2
    return status if isinstance(status, int) else 0


def _explain(error: Exception) -> str:
    """An error in one line."""
    command = " ".join(("evenbit", *(getattr(error, "command_chain", None) or ())))
    if isinstance(error, MissingArgumentError) and error.argument:
        name, option = error.argument.name, error.argument.index is None
        return f"{command} needs {f'a value for {name}' if option else name[2:].upper()}; see {command} --help"
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        return unknown("command", error.unused_tokens[0], (name for name in app if not name.startswith("-")))
    if isinstance(error, UnusedCliTokensError):
        extra = " ".join(f"'{token}'" for token in error.unused_tokens or ())
        return f"{command} does not expect {extra}; see {command} --help"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"there is not enough memory: {error or 'the system gives no more'}"
    return " ".join(str(error).split())


__all__ = ["app", "main"]
