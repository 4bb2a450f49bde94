from __future__ import annotations

import os

import pytest

# For torch, here and in every process that a test starts: small maps gain nothing from more threads, and on a busy
# machine the threads wait for each other. Read when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"

# Files that take minutes, first, so that the processes of `make test` are done at about the same time.
LONGEST = ("test_docs.py", "test_cli.py", "test_demo.py", "test_kills.py", "test_new_op.py", "test_compilation.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
