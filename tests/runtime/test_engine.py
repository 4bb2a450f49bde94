from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from plans import PlanMaker, everything

from evenbit import plan_file
from evenbit.errors import EvenbitError, InputError, PlanError
from evenbit.ops import AddMap, AvgPool, BinaryConv, Conv, Elementwise, Gather, Normalize, Op, Tail
from evenbit.plan import Plan
from evenbit.runtime import reference
from evenbit.runtime.engine import Engine, isas, tiles

PLAN = everything(1, 20)
BATCH = np.random.default_rng(0).random((4, 3, 9, 7), dtype=np.float32)


def test_load_runs_a_file(tmp_path: Path) -> None:
    plan_file.save(PLAN, tmp_path / "net.evb")
    engine = Engine.load(tmp_path / "net.evb", threads=2)
    assert engine(BATCH).tobytes() == reference.run(PLAN, BATCH).tobytes()
    assert (engine.threads, engine.isa) == (2, isas()[0])
    assert 0 < engine.arena_bytes < 100_000


def test_any_strides_and_no_images() -> None:
    engine = Engine(PLAN)
    turned = np.ascontiguousarray(BATCH.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert engine(turned).tobytes() == engine(BATCH).tobytes()
    assert engine(BATCH[:0]).shape == (0, 5)


def test_scalar_is_always_there_and_last() -> None:
    assert isas()[-1] == "scalar"


def test_isa_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENBIT_ISA", "scalar")
    assert Engine(PLAN).isa == "scalar"
    assert Engine(PLAN, isa=isas()[0]).isa == isas()[0]
    monkeypatch.setenv("EVENBIT_ISA", "mmx")
    with pytest.raises(EvenbitError, match=r"unknown instruction set 'mmx'; this machine has .*scalar"):
        Engine(PLAN)


def test_tile_can_be_forced() -> None:
    for isa in isas():
        names = tiles(isa)
        assert names
        for name in names:
            assert Engine(PLAN, isa=isa, tile=name)(BATCH).tobytes() == Engine(PLAN, isa=isa)(BATCH).tobytes()
    with pytest.raises(EvenbitError, match="unknown tile '3x3'; scalar has 1x1"):
        Engine(PLAN, isa="scalar", tile="3x3")


def test_threads_must_be_positive() -> None:
    with pytest.raises(EvenbitError, match="threads should be from 1 to 256, but is 0"):
        Engine(PLAN, threads=0)


def test_a_machine_with_many_cores_is_used_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(384)))
    assert Engine(PLAN).threads == 256


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 3, 9, 8), np.float32), r"should have the shape N x 3x9x7, but have \[1, 3, 9, 8\]"),
        (np.zeros((1, 1, 9, 7), np.float32), "should have the shape"),
        (np.zeros((3, 9, 7), np.float32), "should have the shape"),
        (np.zeros((1, 3, 9, 7), np.float64), "should be float32 or uint8, but are float64"),
        (np.full((1, 3, 9, 7), np.nan, np.float32), "not finite"),
    ],
)
def test_images_that_do_not_fit_are_named(images: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Engine(PLAN)(images)
    with pytest.raises(InputError, match=message):
        reference.run(PLAN, images)


def test_a_list_is_named() -> None:
    with pytest.raises(InputError, match="should be an array of float32 or uint8, but are of type list"):
        Engine(PLAN)([[0.0]])  # type: ignore[arg-type]


def test_floats_up_to_255_are_told_once() -> None:
    engine = Engine(PLAN)
    with pytest.warns(UserWarning, match="hold floats up to 255; 1 stands for white in float images"):
        engine(np.full((1, 3, 9, 7), 255, np.float32))
    again = engine(np.full((1, 3, 9, 7), 255, np.float32))  # a second warning would be an error
    assert again.shape == Engine(PLAN)(np.full((1, 3, 9, 7), 1.5, np.float32)).shape


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("to_integers", [True, False])
def test_one_bad_pixel_is_found_in_any_column(to_integers: bool, bad: float, isa: str) -> None:
    make = PlanMaker(0, 3, 9, 37)
    x, window = make.normalize(), ((3, 3), (1, 1), (1, 1))
    plan = make.plan(make.int8_conv(x, 5, *window, 50.0) if to_integers else make.conv(x, 5, *window, 1))
    engine = Engine(plan, threads=2, isa=isa)
    images = np.zeros((2, 3, 9, 37), np.float32)
    assert engine(images).shape == (2, 5)
    for column in (0, 15, 16, 36):
        damaged = images.copy()
        damaged[1, 2, 8, column] = bad
        with pytest.raises(InputError, match="not finite"):
            engine(damaged)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_one_bad_pixel_is_found(bad: float, threads: int) -> None:
    images = BATCH.copy()
    images[2, 1, 8, 6] = bad
    with pytest.raises(InputError, match="not finite"):
        Engine(PLAN, threads=threads)(images)


def test_several_threads_share_an_engine() -> None:
    engine = Engine(PLAN, threads=2)
    expected = reference.run(PLAN, BATCH)
    same: list[bool] = []

    def work(index: int) -> None:
        part = slice(index % len(BATCH), None)  # a batch of another size for the next thread
        same.extend(engine(BATCH[part]).tobytes() == expected[part].tobytes() for _ in range(50))

    workers = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert same == [True] * 400


def test_memory_stays_flat() -> None:
    """benchmarks/reliability.py does this a million times."""
    engine = Engine(PLAN, threads=1)
    refused = np.full_like(BATCH[:1], np.nan)

    def calls(count: int) -> int:
        for call in range(count):
            if call % 100 == 0:
                with pytest.raises(InputError, match="not finite"):
                    engine(refused)
            engine(BATCH[call % len(BATCH)][None])
        return resident_bytes()

    before = calls(2000)
    assert calls(10_000) - before < 500_000  # a leak of one result, 20 bytes beside an object of 112, would be 1.3 MB


def resident_bytes() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def test_an_invalid_plan_is_refused() -> None:
    import dataclasses

    with pytest.raises(PlanError, match="output 'nothing' should be"):
        Engine(dataclasses.replace(PLAN, output="nothing"))


def test_a_forked_process_runs_and_ends() -> None:
    """A child has none of the engine's threads; it runs alone, has an engine of its own, drops both and exits."""
    engine = Engine(PLAN, threads=3)
    expected = engine(BATCH).tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point
        child = os.fork()
    if child == 0:
        same = engine(BATCH).tobytes() == expected and engine(BATCH[:1]).tobytes() == expected[:20]
        own = Engine(PLAN, threads=3)
        same &= own(BATCH).tobytes() == expected
        del engine
        same &= own(BATCH).tobytes() == expected
        del own
        os._exit(0 if same else 1)
    assert ended(child) == 0


def ended(child: int) -> int:
    """The exit status of a process that should end soon."""
    for _ in range(100):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


def test_a_process_forked_while_other_threads_run_the_engine_can_run_it() -> None:
    plan = Plan(1, 1, 1, ("a",), (Normalize("in", "images", "x"),), "x", {})
    image = np.ones((1, 1, 1, 1), np.uint8)
    engine = Engine(plan, threads=1)
    stop = threading.Event()

    def keep_running() -> None:
        while not stop.is_set():
            engine(image)

    threads = [threading.Thread(target=keep_running) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                os._exit(0 if engine(image).shape == (1, 1) else 1)
            assert ended(child) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def printed_apart(plan: Plan, code: str) -> str:
    """What code prints in a process of its own, in which `sys.argv[1]` is the plan's file."""
    with tempfile.NamedTemporaryFile(suffix=".evb") as file:
        plan_file.save(plan, file.name)
        command = [sys.executable, "-c", code, file.name]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_the_first_run_takes_no_more_memory_than_the_arena() -> None:
    """Wide borders are filled in the arena, without a copy of them beside it."""
    convs = 20
    ops: list[Op] = [Normalize("in", "images", "x0")]
    for i in range(convs):
        ops.append(Elementwise("", f"x{i}", f"x{i + 1}"))
        wide = {"stride": (1, 32768), "padding": (0, 32768)}
        ops.append(Conv("", f"x{i + 1}", f"y{i}", weight="w", **wide))
    ops.append(Conv("", f"x{convs}", "out", weight="w"))
    plan = Plan(256, 1, 1, ("a",), tuple(ops), "out", {"w": np.ones((1, 1, 1, 256), np.float32)})
    code = (
        "import resource, sys, numpy as np; from evenbit import Engine\n"
        "engine = Engine(sys.argv[1], threads=1)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "engine(np.zeros((1, 256, 1, 1), np.uint8))\n"
        "used = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
        "print(used, engine.arena_bytes)"
    )
    used, arena_bytes = map(int, printed_apart(plan, code).split())
    assert used < 1.5 * arena_bytes


def test_weights_that_need_more_memory_than_the_limit_are_refused() -> None:
    """Each op lays out the one tensor as its kernel reads it, 16 times as large."""
    weight = np.zeros((1, 256, 256, 1), np.float32)
    ops = [Normalize("in", "images", "x"), *(Conv("", "x", f"y{i}", weight="w") for i in range(600))]
    with pytest.raises(PlanError, match="more than 2 GiB of memory for its weights"):
        Engine(Plan(1, 256, 256, ("a",), tuple(ops), "y0", {"w": weight}))


def test_a_small_file_does_not_take_much_memory_before_it_is_refused() -> None:
    """A map of one column is laid out for all columns and 16 channels: 64 KB become 16 GiB."""
    n = 16384
    ops = (
        Normalize("in", "images", "a"),
        AddMap("", "a", "b", map="map"),
        AvgPool("", "b", "c", kernel=(n, n), stride=(1, 1)),
    )
    code = (
        "import resource, sys; from evenbit import Engine; from evenbit.errors import PlanError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (5 << 30, 5 << 30))\n"
        "try: Engine(sys.argv[1], threads=1)\n"
        "except PlanError as error: print(error)"
    )
    plan = Plan(1, n, n, ("x",), ops, "c", {"map": np.zeros((n, 1, 1), np.float32)})
    assert "more than 2 GiB of memory for its weights" in printed_apart(plan, code)


def test_indices_are_kept_once_for_all_ops_and_images() -> None:
    indices = np.zeros(1 << 20, np.uint64)

    def gathering(count: int) -> Plan:
        ops = [Gather("", "a", f"g{i}", rows="one", columns="one", channels="many") for i in range(count)]
        tensors = {"one": indices[:1], "many": indices}
        return Plan(1, 1, 1, ("x",), (Normalize("in", "images", "a"), *ops), "a", tensors)

    code = (
        "import resource, sys, numpy as np; from evenbit import Engine\n"
        "def used(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10\n"
        "before = used()\n"
        "engine = Engine(sys.argv[1], threads=1)\n"
        "loaded = used()\n"
        "engine(np.zeros((1, 1, 1, 1), np.uint8))\n"
        "print(loaded - before, used() - loaded)"
    )
    loading, running = map(int, printed_apart(gathering(20), code).split())
    assert loading < 8 * indices.nbytes  # the file, its Plan in Python and in C++, and what is kept
    assert running < 25 * indices.nbytes  # the offsets of each op
    with pytest.raises(PlanError, match="more than 2 GiB of memory for its weights"):
        Engine(gathering(300))


@pytest.mark.parametrize(
    "text", ["{" + ",".join(f'"{i}":{{}}' for i in range(200_000)) + "}", f'{{"x":[{"{}," * 10**6}{{}}]}}']
)
def test_many_small_objects_are_refused_at_once(text: str) -> None:
    file = struct.pack("<Q", len(text)) + text.encode()
    start = time.process_time()
    with pytest.raises(PlanError, match=r"not an \.evb file"):
        Engine._start(Engine.__new__(Engine), file, 1, None)
    assert time.process_time() - start < 5


def test_threads_that_the_system_refuses_end_in_one_line() -> None:
    code = (
        "import resource, sys; from evenbit import Engine, EvenbitError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))  # less than their stacks need\n"
        "try: Engine(sys.argv[1], threads=256)\n"
        "except EvenbitError as error: print(error)"
    )
    assert printed_apart(PLAN, code).startswith("cannot start 256 threads: ")


def test_many_engines_come_and_go() -> None:
    expected = reference.run(PLAN, BATCH[:1]).tobytes()
    for _ in range(300):
        engine = Engine(PLAN, threads=4)
        assert engine(BATCH[:1]).tobytes() == expected
        del engine


def test_a_network_too_large_for_memory_is_refused() -> None:
    """Each convolution alone is small; the map they share would need a border of 65,537 x 65,537 pixels."""
    long = 2**15
    tensors = {"tall": np.ones((1, long, 1, 1), np.float32), "wide": np.ones((1, 1, long, 1), np.float32)}
    ops = (
        Normalize("in", "images", "x"),
        Conv("tall", "x", None, Tail(mean="y"), weight="tall", stride=(long, 1), padding=(long, 0)),
        Conv("wide", "x", None, Tail(mean="z"), weight="wide", stride=(1, long), padding=(0, long)),
    )
    plan = Plan(1, 1, 1, ("a",), ops, "y", tensors)
    plan.shapes()
    with pytest.raises(PlanError, match="more than 2 GiB"):
        Engine(plan)


def test_running_a_file_does_not_import_torch(tmp_path: Path) -> None:
    plan_file.save(PLAN, tmp_path / "net.evb")
    code = (
        "import sys, numpy as np; import evenbit; from evenbit import Engine, load\n"
        f"engine = Engine.load({str(tmp_path / 'net.evb')!r}); engine(np.zeros((1, 3, 9, 7), np.float32))\n"
        "import evenbit.cli, evenbit.predict, evenbit.data, evenbit.evaluation, evenbit.runtime.reference\n"
        "assert not {'torch', 'pydantic', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_profile_times_every_op() -> None:
    engine = Engine(PLAN)
    times = engine.profile(BATCH[:1], 5)
    assert len(times) == len(PLAN.ops)
    assert all(0 <= value < 0.1 for spent in times for value in spent)
    assert sum(spent.seconds for spent in times) > 0
    for op, spent in zip(PLAN.ops, times, strict=True):
        assert (spent.sums > 0 and spent.tail > 0) == isinstance(op, BinaryConv)
    with pytest.raises(InputError, match="should have the shape"):
        engine.profile(np.zeros((1, 3, 9, 8), np.float32), 5)
    with pytest.raises(InputError, match="one image of float32 is profiled, not 4 of float32"):
        engine.profile(BATCH, 5)
    with pytest.raises(InputError, match="one image of float32 is profiled, not 1 of uint8"):
        engine.profile(np.zeros((1, 3, 9, 7), np.uint8), 5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="should be at least 1, but is 0"):
        engine.profile(BATCH[:1], 0)


@pytest.mark.parametrize("isa", isas())
def test_the_limit_is_a_plausible_speed(isa: str) -> None:
    """A core does between 64 multiply-adds at 0.1 GHz and 10,000 at 6 GHz in a cycle."""
    assert 6.4e9 < Engine(PLAN, isa=isa).measure_binary_limit() < 6e13
