"""Errors a user can cause. The command line prints them as one line and exits with status 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from evenbit.printable import printable


class EvenbitError(Exception):
    """Base of every error that names something wrong with the user's input, file or setting.

    Args:
        message: One line. Characters that cannot be printed are escaped: they may come from a file, and could break
            the line or control the terminal.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class PlanError(EvenbitError):
    """A Plan, or the `.evb` file that holds one, is not valid."""


class InputError(EvenbitError):
    """Images handed to a network do not fit it: wrong shape, type or values."""


class DataError(EvenbitError):
    """A data set is missing, incomplete or malformed."""


class RecipeError(EvenbitError):
    """A training recipe holds an unknown key or a value out of range."""


class CheckpointError(EvenbitError):
    """A run folder or checkpoint is missing, damaged, or belongs to another model."""


class TrainingError(EvenbitError):
    """Training cannot continue, for example because the loss is not finite."""


class CaptureError(EvenbitError):
    """A torch module cannot be turned into a Plan."""


class BinarizeError(EvenbitError):
    """A torch network cannot be made binary as asked."""


class ExportError(EvenbitError):
    """A Plan cannot be written in the form that was asked for."""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that does not exist: the nearest one that does, or all of them if none is near."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"unknown {what} '{name}'; " + (f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(names)}")
