"""Makes texts safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""A text in which every character that cannot be printed is escaped, as `\x1b` or `\n`.

    Text from a file may hold anything: it could break a line, control the terminal, or not even be Unicode.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, noun: str) -> str:
    """A number of things: "1 image", "2 images"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def is_text(name: str) -> bool:
    """Whether a name is Unicode; in the name of a file or an argument, Python replaces bytes that are not UTF-8."""
    return not any("\ud800" <= c <= "\udfff" for c in name)
