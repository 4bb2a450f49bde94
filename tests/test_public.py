from __future__ import annotations

import subprocess
import sys

import evenbit


def test_every_public_name_exists_and_nothing_else_is_listed() -> None:
    assert all(getattr(evenbit, name) is not None for name in evenbit.__all__)
    assert sorted(evenbit.__all__) == dir(evenbit) == sorted(evenbit._HOMES)


def test_unknown_names_are_attribute_errors() -> None:
    assert not hasattr(evenbit, "nonsense")


def test_training_does_not_import_the_engine() -> None:
    code = "import sys, evenbit.nn, evenbit.models, evenbit.train"
    code += "; assert not any(name.startswith('evenbit.runtime') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
