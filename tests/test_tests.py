"""Every test claims something: it asserts, expects an error, or calls a helper that does."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def claims(function: ast.FunctionDef) -> bool:
    """Whether anything in a function can make a test fail on purpose."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if f"{name}_".startswith(("assert_", "check_", "expect_", "must_")) or name in ("raises", "fail"):
                return True
            if any(keyword.arg == "check" and is_true(keyword.value) for keyword in node.keywords):
                return True  # subprocess.run(..., check=True)
    return False


def is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def empty_tests(source: str) -> list[str]:
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return [each.name for each in functions if each.name.startswith("test_") and not claims(each)]


def test_every_test_claims_something() -> None:
    found = {str(path.relative_to(TESTS)): empty_tests(path.read_text("utf-8")) for path in TESTS.rglob("test_*.py")}
    assert {path: names for path, names in found.items() if names} == {}
    assert len(found) > 40


@pytest.mark.parametrize("body", ["run(3)", "assert run(3) == 4", "subprocess.run(command, check=True)", "raise_it()"])
def test_a_test_that_claims_nothing_is_found(body: str) -> None:
    source = f"def test_it():\n    {body}\n"
    assert empty_tests(source) == ([] if body.startswith(("assert", "subprocess")) else ["test_it"])
