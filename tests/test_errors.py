from __future__ import annotations

from evenbit.errors import EvenbitError, PlanError


def test_a_message_is_one_line_that_can_be_printed() -> None:
    error = PlanError("reads 'a\nb\x1b[2J\ud800\u2028é'")
    assert str(error) == r"reads 'a\nb\x1b[2J\ud800\u2028é'"
    assert str(EvenbitError("plain (ünicode, 漢字)")) == "plain (ünicode, 漢字)"
