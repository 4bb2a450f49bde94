from __future__ import annotations

import evenbit


def test_every_public_name_exists_and_nothing_else_is_listed() -> None:
    assert all(getattr(evenbit, name) is not None for name in evenbit.__all__)
    assert sorted(evenbit.__all__) == dir(evenbit) == sorted(evenbit._HOMES)


def test_unknown_names_are_attribute_errors() -> None:
    assert not hasattr(evenbit, "nonsense")
