"""The C API gives the reference's logits bit for bit, on every instruction set and with 1, 2 and 3 threads: on this
machine, under sanitizers (`make test-sanitize`) and on 64-bit ARM under an emulator (`make test-arm`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cases import Case, kernel_cases, network_cases, write
from toolchain import AARCH64, Toolchain, must_run

from evenbit.runtime.engine import isas


def assert_exact(cases: Iterable[Case], command: tuple[str, ...], toolchain: Toolchain, folder: Path) -> None:
    count = write(cases, folder / "cases")
    expected = ("neon", "scalar") if toolchain.name == "aarch64" else isas()
    printed = must_run(*command, "cases", str(folder / "cases"))
    assert printed == f"{' '.join(expected)} {count} cases {count * 3 * len(expected)} runs 0 failures\n"


def test_kernels(toolchain: Toolchain, check_cases: tuple[str, ...], tmp_path: Path) -> None:
    assert_exact(kernel_cases(), check_cases, toolchain, tmp_path)


def test_networks(toolchain: Toolchain, check_cases: tuple[str, ...], tmp_path: Path) -> None:
    settings = {} if toolchain is AARCH64 else {"epochs": 4}
    assert_exact(network_cases(tmp_path / "run", **settings), check_cases, toolchain, tmp_path)
