"""The exported C gives the reference's and the engine's logits bit for bit, from every compiler and with both words."""

from __future__ import annotations

import dataclasses
import platform
import re
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from networks import digits, extreme, grouped_bits, halves, narrow_resnet20, subnormal
from plans import everything, extremes, map_of_logits
from programs import SANITIZE, WARNINGS, Program, compilers, run
from random_plans import RandomPlan

from evenbit.errors import ExportError, PlanError
from evenbit.export.c import export
from evenbit.ops import Elementwise
from evenbit.plan import Plan
from evenbit.runtime import reference
from evenbit.runtime.engine import Engine

BUILDS = [("gcc", 64, f"-O2 {WARNINGS}"), ("gcc", 32, SANITIZE)]
BUILDS += [(compiler, 32, f"-O2 {WARNINGS}") for compiler in compilers()]


def images_of(plan: Plan, count: int) -> npt.NDArray[np.uint8]:
    size = (count, plan.channels, plan.height, plan.width)
    return np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    found = [RandomPlan(seed).plan for seed in range(12)]
    found += [everything(channels, channels) for channels in (17, 33, 65)]
    found += [map_of_logits(), subnormal(), halves(), grouped_bits(), digits(), narrow_resnet20()]
    return [*found, extreme(), *extremes()]


@pytest.fixture(scope="module")
def program(plans: list[Plan], tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(plans, tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="module")
def expected(plans: list[Plan]) -> list[npt.NDArray[np.float32]]:
    return [reference.run(plan, images_of(plan, 2)) for plan in plans]


@pytest.mark.parametrize(
    ("compiler", "word_bits", "flags"), BUILDS, ids=lambda value: "sanitized" if value == SANITIZE else str(value)[:5]
)
def test_logits_are_exact(
    program: Program, expected: list[npt.NDArray[np.float32]], compiler: str, word_bits: int, flags: str
) -> None:
    found = program.logits(
        [images_of(plan, 2) for plan in program.plans], flags, compiler=compiler, word_bits=word_bits
    )
    for index, (logits, wanted) in enumerate(zip(found, expected, strict=True)):
        number = ~np.isnan(wanted)
        assert np.isnan(logits[~number]).all(), index
        assert logits[number].tobytes() == wanted[number].tobytes(), index


def test_the_engine_agrees(plans: list[Plan], expected: list[npt.NDArray[np.float32]]) -> None:
    for plan, wanted in zip(plans, expected, strict=True):
        logits = Engine(plan, threads=1)(images_of(plan, 2))
        number = ~np.isnan(wanted)
        assert logits[number].tobytes() == wanted[number].tobytes()
    ends = len(expected) - len([extreme(), *extremes()])
    assert not any(np.isnan(wanted).any() for wanted in expected[:ends])
    assert any(np.isnan(wanted).any() for wanted in expected[ends:])


@pytest.fixture
def net(tmp_path: Path) -> Path:
    export(everything(1, 20), tmp_path / "net", "net")
    return tmp_path / "net"


def test_the_self_test_passes_and_can_fail(net: Path) -> None:
    assert "net: the logits of 3 images are equal bit for bit" in run("make", "-s", "test", cwd=net)
    assert "equal bit for bit" in run("make", "-s", "clean", "test", "WORD_BITS=32", "CFLAGS=-O1", cwd=net)
    export(everything(1, 20), net, "other")
    both = run("make", "-s", "clean", "test", cwd=net)
    assert [f"{name}: the logits of 3 images are equal" in both for name in ("net", "other")] == [True, True]
    test = net / "net_test.c"
    text = test.read_text()
    start = text.index("0x", text.index("expected["))
    other = "0x00000001" if text[start : start + 10] != "0x00000001" else "0x00000002"
    test.write_text(text[:start] + other + text[start + 10 :])
    result = subprocess.run(["make", "-s", "test"], cwd=net, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert f"image 0, class 0: {text[start : start + 10]} should be {other}" in result.stdout
    assert "net: 1 of 15 logits differ" in result.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("-ffast-math", "compile without -ffast-math"),
        ("-DEVENBIT_WORD_BITS=16", "EVENBIT_WORD_BITS should be 32 or 64"),
        *([("-mfpmath=387", "floats are computed in a wider type")] if platform.machine() == "x86_64" else []),
    ],
)
def test_flags_that_would_change_the_logits_are_refused(net: Path, flags: str, message: str) -> None:
    command = ["gcc", "-std=c99", flags, "-fsyntax-only", "net_network.c"]
    result = subprocess.run(command, cwd=net, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert message in result.stderr


def test_null_is_refused_and_the_header_is_cplusplus_too(net: Path) -> None:
    (net / "main.cc").write_text(
        '#include "net_network.h"\n'
        "static uint8_t image[NET_IMAGE_BYTES];\n"
        "static float logits[NET_CLASSES];\n"
        'static_assert(NET_IMAGE_BYTES == 9 * 7 * 3 && NET_HEIGHT == 9 && NET_WIDTH == 7 && NET_CHANNELS == 3, "");\n'
        "int main() {\n"
        "  if (net_run(nullptr, logits) != -1 || net_run(image, nullptr) != -1) return 1;\n"
        "  return net_run(image, logits) == 0 ? 0 : 2;\n"
        "}\n"
    )
    run("make", "-s", "all", cwd=net)
    run("g++", "-Wall", "-Wextra", "-Werror", "-o", "main", "main.cc", "net_network.o", cwd=net)
    assert run("./main", cwd=net) == ""


def test_nothing_is_allocated_and_one_symbol_is_a_function(net: Path) -> None:
    run("make", "-s", "all", cwd=net)
    symbols = [line.split()[-2:] for line in run("nm", "net_network.o", cwd=net).splitlines()]
    assert {name for kind, name in symbols if kind == "T"} == {"net_run"}
    assert {name for kind, name in symbols if kind == "U"} <= {
        "memcpy",
        "memset",
        "nextafterf",
        "sqrtf",
        "_GLOBAL_OFFSET_TABLE_",
    }


def test_names_are_only_text(tmp_path: Path) -> None:
    plan = everything(1, 20)
    hostile = ('a"b', "back\\slash", "??/", "*/ int x; /*", "Größe\n")
    ops = tuple(dataclasses.replace(op, name="*/ #error \\\n") for op in plan.ops)
    info = {"model": "*/ x", "data": "\\\n"}
    named = dataclasses.replace(plan, classes=hostile, ops=ops, info=info)
    export(named, tmp_path / "net", "net")
    (tmp_path / "net" / "main.c").write_text(
        '#include <stdio.h>\n#include "net_network.h"\n'
        "int main(void) { for (int c = 0; c < NET_CLASSES; ++c) { fputs(net_class_names[c], stdout); putchar(0); }\n"
        "  return 0; }\n"
    )
    run("gcc", "-std=c99", *WARNINGS.split(), "-o", "main", "main.c", "net_network.c", "-lm", cwd=tmp_path / "net")
    output = subprocess.run([tmp_path / "net" / "main"], capture_output=True, check=True).stdout
    assert output.decode().split("\0")[:-1] == list(hostile)


def test_an_export_is_replaced_but_no_other_file(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    first = export(everything(1, 20), folder)
    (folder / "notes.txt").write_text("mine")
    text = (folder / "evenbit_network.c").read_text()
    export(everything(2, 20), folder)
    assert (folder / "evenbit_network.c").read_text() != text
    assert (folder / "notes.txt").read_text() == "mine"
    assert first["folder"] == str(folder)
    (folder / "Makefile").write_text("all: # mine\n")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ExportError, match="Makefile exists and was not made by this command"):
        export(everything(3, 20), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_cannot_be_written_is_named_before_anything_is(tmp_path: Path) -> None:
    plan = everything(1, 20)
    with pytest.raises(PlanError, match="output 'nothing' should be"):
        export(dataclasses.replace(plan, output="nothing"), tmp_path / "net")

    class Mystery(Elementwise):
        kind = "mystery"

    first = plan.ops[0]
    between = Mystery("between", first.out or "", "between")
    second = dataclasses.replace(plan.ops[1], input="between")
    with pytest.raises(ExportError, match=r"op 'between' \(mystery\) has no kernel in C"):
        export(dataclasses.replace(plan, ops=(first, between, second, *plan.ops[2:])), tmp_path / "net")
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize("name", ["", "2net", "a-b", "größe", "a" * 41, "a b", "a\n"])
def test_names_that_are_none_in_c_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExportError, match="cannot begin a name in C"):
        export(everything(1, 20), tmp_path / "net", name)
    assert not (tmp_path / "net").exists()


def test_sizes_are_those_of_the_compiled_network(tmp_path: Path) -> None:
    told = export(narrow_resnet20(), tmp_path / "net")
    source = (tmp_path / "net" / "evenbit_network.c").read_text()
    tables = re.findall(r"^static const \w+ (t\d+)\[", source, re.MULTILINE)
    total = " + ".join(f"sizeof {table}" for table in tables)
    (tmp_path / "net" / "main.c").write_text(
        '#include <stdio.h>\n#include "evenbit_network.c"\n'
        f'int main(void) {{ printf("%zu %zu", sizeof arena, {total}); return 0; }}\n'
    )
    run("gcc", "-std=c99", "-DEVENBIT_WORD_BITS=32", "-o", "main", "main.c", "-lm", cwd=tmp_path / "net")
    assert run("./main", cwd=tmp_path / "net") == f"{told['arena_bytes']} {told['constant_bytes']}"
    assert f"static arena of {told['arena_bytes']:,} bytes" in (tmp_path / "net" / "evenbit_network.h").read_text()
