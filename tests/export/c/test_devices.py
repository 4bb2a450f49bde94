"""The exported C gives the reference's logits bit for bit on 64-bit ARM and on Cortex-M, under QEMU.

These run in `make test-devices`, which needs cross compilers and QEMU, and not with the other tests.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from networks import digits, grouped_bits, halves, narrow_resnet20, subnormal
from plans import everything
from programs import run
from random_plans import RandomPlan

from evenbit.deploy import pack_untrained
from evenbit.export.c import export

pytestmark = pytest.mark.device
ROOT = Path(__file__).parents[3]
CORTEX_M = str(ROOT / "examples" / "cortex-m")
AARCH64 = ("CC=aarch64-linux-gnu-gcc", "LDFLAGS=-static", "RUN=qemu-aarch64")
EQUAL = "evenbit: the logits of 3 images are equal bit for bit"
NETWORKS = {
    "digits": digits,
    "narrow-resnet20": narrow_resnet20,
    "everything": lambda: everything(5, 33),
    "subnormal": subnormal,
    "halves": halves,
    "grouped-bits": grouped_bits,
    "random-1": lambda: RandomPlan(1).plan,
    "random-2": lambda: RandomPlan(2).plan,
}


@pytest.mark.parametrize("network", NETWORKS)
def test_self_tests_pass(network: str, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    export(NETWORKS[network](), folder)
    for word_bits in (32, 64):
        output = run("make", "-s", "clean", "test", f"WORD_BITS={word_bits}", *AARCH64, cwd=folder)
        assert output.strip() == EQUAL
    for cpu in ("cortex-m4", "cortex-m7"):
        output = run("make", "-s", "-C", CORTEX_M, "test", f"EXPORT={folder}", f"CPU={cpu}", cwd=folder)
        assert output.strip() == EQUAL


def test_a_wrong_logit_fails_on_the_device(tmp_path: Path) -> None:
    export(subnormal(), tmp_path / "net")
    test = tmp_path / "net" / "evenbit_test.c"
    head, mark, expected = test.read_text().partition("expected[")
    test.write_text(head + mark + re.sub("0x[0-9a-f]{8}", "0x00000001", expected, count=1))
    command = ["make", "-s", "-C", CORTEX_M, "test", f"EXPORT={tmp_path / 'net'}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "1 of 15 logits differ" in result.stdout


def test_resnet20_fits_a_small_microcontroller(tmp_path: Path) -> None:
    """With 256 KiB of flash and 128 KiB of RAM it links, runs, and takes the instructions that its bits explain."""
    export(pack_untrained("resnet20", "fd", channels=3, size=32, classes=10), tmp_path / "net")
    memory = ("FLASH=256K", "RAM=128K", f"EXPORT={tmp_path / 'net'}")
    output = run("make", "-s", "-C", CORTEX_M, "count", *memory, cwd=tmp_path)
    instructions, stack = (int(found) for found in re.findall(r"\w+ (\d+)", output))
    assert 10e6 < instructions < 60e6  # 40 million 1-bit multiply-adds
    assert 0 < stack < 1024
    result = subprocess.run(
        ["make", "-s", "-C", CORTEX_M, "count", "RAM=64K", memory[2]], capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    assert "region `RAM' overflowed" in result.stderr


def test_the_commands_of_the_page_run(photos: Path) -> None:
    """Those of docs/devices.md that need the tools of this file, after the others of the page."""
    page = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    (photos / "examples").symlink_to(ROOT / "examples")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = re.findall(r"^```sh( device)?\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert any(mark for mark, _ in found)
    for _, text in found:
        result = subprocess.run(
            ["bash", "-euc", text],
            cwd=photos,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{text}\n{result.stdout}{result.stderr}"
