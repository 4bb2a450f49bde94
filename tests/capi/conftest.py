"""Makes the modules beside the tests and the Plans of tests/runtime importable; builds what the tests run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "runtime")]

from toolchain import AARCH64, NATIVE, SANITIZE, Toolchain  # noqa: E402


@pytest.fixture(
    scope="session",
    params=[
        NATIVE,
        pytest.param(SANITIZE, marks=pytest.mark.sanitize),
        pytest.param(AARCH64, marks=pytest.mark.arm),
    ],
    ids=lambda toolchain: toolchain.name,
)
def toolchain(request: pytest.FixtureRequest) -> Toolchain:
    """Each toolchain, its library built; those that are not native run only when they are asked for."""
    chosen: Toolchain = request.param
    chosen.build_library()
    return chosen


@pytest.fixture(scope="session")
def check_cases(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The command of check_cases.c."""
    return toolchain.build_program(HERE / "check_cases.c", tmp_path_factory.mktemp("c") / "check_cases")
