"""Texts of files and folders, made safe to show."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""A text in which every character that cannot be printed is escaped, as `\x1b` or `\n`.

    What comes from a file may hold anything: it could break a line, command the terminal, or be no Unicode at all.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def is_text(name: str) -> bool:
    """Whether a name is Unicode; one of a folder or an argument that is not UTF-8 holds stand-ins for its bytes."""
    return not any("\ud800" <= c <= "\udfff" for c in name)
