"""The C library by itself: what it exports, what it answers, and what it says when it refuses."""

from __future__ import annotations

import ctypes
import dataclasses
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from plans import everything
from toolchain import C_FLAGS, NATIVE, ROOT, must_run

from evenbit import plan_file
from evenbit.bits import unpack_bits
from evenbit.runtime import reference
from evenbit.runtime.engine import isas

PLAN = dataclasses.replace(everything(1, 20), classes=("cat", "dog", "caf\u00e9", "", "\n"))
FILE = plan_file.to_bytes(PLAN)
OK, NOT_FINITE, BAD_ARGUMENT = 0, 1, 3
FUNCTIONS = {
    "load": (
        ctypes.c_void_p,
        [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, *[ctypes.c_char_p] * 2, ctypes.c_size_t],
    ),
    "free": (None, [ctypes.c_void_p]),
    "channels": (ctypes.c_int, [ctypes.c_void_p]),
    "height": (ctypes.c_int, [ctypes.c_void_p]),
    "width": (ctypes.c_int, [ctypes.c_void_p]),
    "classes": (ctypes.c_int, [ctypes.c_void_p]),
    "output_height": (ctypes.c_int, [ctypes.c_void_p]),
    "output_width": (ctypes.c_int, [ctypes.c_void_p]),
    "class_name": (ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_int]),
    "run_uint8": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]),
    "run_float": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]),
    "bit_maps": (ctypes.c_int, [ctypes.c_void_p]),
    "bit_map_size": (None, [ctypes.c_void_p, ctypes.c_int, *[ctypes.POINTER(ctypes.c_int)] * 3]),
    "read_bits": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]),
    "isa": (ctypes.c_char_p, [ctypes.c_int]),
}


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    NATIVE.build_library()
    loaded = ctypes.CDLL(str(NATIVE.library))
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(loaded, f"evenbit_{name}")
        function.restype, function.argtypes = result, arguments
    return loaded


@pytest.fixture
def network(library: ctypes.CDLL) -> Iterator[int]:
    pointer = library.evenbit_load(FILE, len(FILE), 2, None, None, 0)
    yield pointer
    library.evenbit_free(pointer)


def refusal(
    library: ctypes.CDLL, data: bytes | None, threads: int = 1, isa: bytes | None = None, size: int = 256
) -> str:
    error = ctypes.create_string_buffer(b"\xff" * 300)
    assert not library.evenbit_load(data, len(data or b""), threads, isa, error, size)
    assert error.raw[size] == 0xFF
    return error.value.decode()


def test_nothing_else_is_exported(library: ctypes.CDLL) -> None:
    lines = must_run("nm", "-D", "--defined-only", str(NATIVE.library)).splitlines()
    assert sorted(line.split()[-1] for line in lines) == sorted(f"evenbit_{name}" for name in FUNCTIONS)


@pytest.mark.parametrize(("compiler", "standard"), [("gcc", "c99"), ("g++", "c++11")])
def test_the_header_stands_alone(compiler: str, standard: str, tmp_path: Path) -> None:
    source = tmp_path / "alone.c"
    source.write_text('#include "evenbit.h"\nint main(void) { return evenbit_isa(0) == 0; }\n')
    flags = [flag for flag in C_FLAGS if not flag.startswith("-std")]
    must_run(compiler, f"-std={standard}", *flags, f"-I{ROOT / 'csrc' / 'capi'}", "-fsyntax-only", str(source))


def test_sizes_and_names(library: ctypes.CDLL, network: int) -> None:
    sizes = [getattr(library, f"evenbit_{name}")(network) for name in ("channels", "height", "width", "classes")]
    assert sizes == [3, 9, 7, 5]
    names = [library.evenbit_class_name(network, index) for index in range(-1, 6)]
    assert names == [None, *(name.encode() for name in PLAN.classes), None]


def test_instruction_sets_are_those_of_python(library: ctypes.CDLL) -> None:
    assert tuple(library.evenbit_isa(index).decode() for index in range(len(isas()))) == isas()
    assert library.evenbit_isa(len(isas())) is None
    assert library.evenbit_isa(-1) is None


def test_the_variable_chooses_an_instruction_set(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENBIT_ISA", "mmx")
    assert refusal(library, FILE) == f"unknown instruction set 'mmx'; this machine has {', '.join(isas())}"
    pointer = library.evenbit_load(FILE, len(FILE), 1, b"scalar", None, 0)
    assert pointer
    library.evenbit_free(pointer)


def test_refusals_say_why(library: ctypes.CDLL) -> None:
    assert refusal(library, None) == "no data is given"
    assert refusal(library, FILE, threads=0) == "threads should be from 1 to 256, but is 0"
    assert refusal(library, FILE, threads=257) == "threads should be from 1 to 256, but is 257"
    assert refusal(library, FILE[:-1]).startswith("is truncated")
    assert refusal(library, FILE[:-1], size=5) == "is t"
    assert refusal(library, b"", size=1) == ""
    op = dataclasses.replace(PLAN.ops[-1], name="two\nlines", input="nowhere")
    bad = dataclasses.replace(PLAN, ops=(*PLAN.ops[:-1], op))
    expected = "op 'two?lines' (conv): reads 'nowhere', which no earlier op writes"
    assert refusal(library, plan_file._file(plan_file._head(bad), bad.tensors)) == expected


def test_a_file_needs_no_alignment(library: ctypes.CDLL) -> None:
    for offset in range(1, 8):
        memory = ctypes.create_string_buffer(b"\0" * offset + FILE)
        pointer = library.evenbit_load(ctypes.addressof(memory) + offset, len(FILE), 1, None, None, 0)
        assert pointer
        library.evenbit_free(pointer)


def test_running_says_what_is_wrong(library: ctypes.CDLL, network: int) -> None:
    images = np.zeros((2, 3, 9, 7), np.float32)
    logits = np.zeros((2, 5), np.float32)
    run = library.evenbit_run_float
    assert run(network, images.ctypes.data, 2, logits.ctypes.data) == OK
    assert logits.tobytes() == reference.run(PLAN, images).tobytes()
    images[1, 2, 8, 6] = np.nan
    assert run(network, images.ctypes.data, 2, logits.ctypes.data) == NOT_FINITE
    assert run(network, images.ctypes.data, 1, logits.ctypes.data) == OK
    assert run(network, None, 0, None) == OK
    assert run(network, None, 1, logits.ctypes.data) == BAD_ARGUMENT
    assert run(network, images.ctypes.data, 1, None) == BAD_ARGUMENT
    assert run(None, images.ctypes.data, 1, logits.ctypes.data) == BAD_ARGUMENT
    library.evenbit_free(None)


def test_bits_are_those_of_the_reference(library: ctypes.CDLL) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 9, 7), dtype=np.uint8)
    values, shapes = reference.values(PLAN, image), PLAN.shapes()
    names = [op.tail.bits.out for op in PLAN.ops if op.tail.bits is not None]
    assert len(names) > 2
    for isa in isas():
        network = library.evenbit_load(FILE, len(FILE), 1, isa.encode(), None, 0)
        assert library.evenbit_bit_maps(network) == len(names)
        for index, name in enumerate(names):
            size = [ctypes.c_int() for _ in range(3)]
            library.evenbit_bit_map_size(network, index, *map(ctypes.byref, size))
            shape = shapes[name]
            assert [each.value for each in size] == [shape.channels, shape.height, shape.width]
            bits = np.full((shape.channels, shape.height, shape.width), 9, np.uint8)
            assert library.evenbit_read_bits(network, image.ctypes.data, index, bits.ctypes.data) == OK
            expected = unpack_bits(values[name], shape.channels)[0].transpose(2, 0, 1)
            assert (bits == expected).all(), (isa, name)
        library.evenbit_free(network)


def test_there_are_no_other_maps_of_bits(library: ctypes.CDLL, network: int) -> None:
    bits = np.zeros(10_000, np.uint8)
    image = np.zeros((3, 9, 7), np.uint8)
    for index in (-1, library.evenbit_bit_maps(network)):
        size = [ctypes.c_int(5) for _ in range(3)]
        library.evenbit_bit_map_size(network, index, *map(ctypes.byref, size))
        assert [each.value for each in size] == [0, 0, 0]
        assert library.evenbit_read_bits(network, image.ctypes.data, index, bits.ctypes.data) == BAD_ARGUMENT
    assert library.evenbit_read_bits(network, None, 0, bits.ctypes.data) == BAD_ARGUMENT
    assert library.evenbit_read_bits(network, image.ctypes.data, 0, None) == BAD_ARGUMENT


def test_several_threads_share_a_network(library: ctypes.CDLL, network: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 9, 7), dtype=np.uint8)
    expected = reference.run(PLAN, images).tobytes()
    wrong: list[int] = []

    def work(index: int) -> None:
        logits = np.empty((4, 5), np.float32)
        for _ in range(50):
            status = library.evenbit_run_uint8(network, images.ctypes.data, 4, logits.ctypes.data)
            wrong.extend(index for _ in range(1) if status != OK or logits.tobytes() != expected)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="pkg-config is not installed")
def test_a_copy_that_is_installed_is_found_by_pkg_config(library: ctypes.CDLL, tmp_path: Path) -> None:
    """Built from another folder, moved, and used through its .pc file alone."""
    must_run("cmake", "--install", str(NATIVE.build), "--prefix", str(tmp_path / "first"))
    (tmp_path / "first").rename(tmp_path / "prefix")
    (config,) = (tmp_path / "prefix").rglob("evenbit.pc")
    query = (
        f"export PKG_CONFIG_PATH={config.parent}; pkg-config --cflags --libs evenbit; pkg-config --modversion evenbit"
    )
    flags, version = must_run("sh", "-ec", query).splitlines()
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    program = tmp_path / "classify"
    must_run("gcc", "-std=c99", str(ROOT / "examples" / "c" / "classify.c"), "-o", str(program), *flags.split(), "-lm")
    (tmp_path / "net.evb").write_bytes(FILE)
    (tmp_path / "image.raw").write_bytes(bytes(189))
    run = f"LD_LIBRARY_PATH={config.parents[1]} {program} {tmp_path}/net.evb {tmp_path}/image.raw"
    assert must_run("sh", "-ec", run).count("\n") >= 5
