"""The C++ engine: runs a Plan fast, with exactly the results of `evenbit.runtime.reference`."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evenbit import _core, plan_file
from evenbit.errors import EvenbitError, InputError, PlanError
from evenbit.ops import (
    AvgPool,
    BinaryConv,
    Concat,
    Conv,
    Cube,
    Elementwise,
    Flatten,
    Int8Conv,
    MaxPool,
    Multiply,
    Normalize,
    Op,
    Shape,
    Tail,
    Threshold,
)
from evenbit.plan import Plan
from evenbit.runtime.reference import check_images

ISA_VARIABLE = "EVENBIT_ISA"
MAX_THREADS = 256


def isas() -> tuple[str, ...]:
    """Instruction sets that this machine can run, best first."""
    return tuple(_core.isas())


def tiles(isa: str) -> tuple[str, ...]:
    """Names of the tiles that the binary convolutions of an instruction set can keep in registers."""
    return tuple(_core.tiles(isa))


class OpTime(NamedTuple):
    """Seconds that an op takes on one thread.

    A binary convolution is also timed in parts: with its Tail left out and with its sums left out. They need not add
    up to the whole, since the CPU works on both at a time. For other ops they are 0.
    """

    seconds: float
    sums: float
    tail: float


class Engine:
    """A network ready to run: `engine(images) -> logits`.

    Several Python threads may call one engine at a time; the interpreter lock is released meanwhile. The engine's
    own threads then serve one call, the others run on their caller's thread alone. In a forked process, too, calls run
    on their caller's thread alone.

    Args:
        plan: The network.
        threads: Threads of the engine, the caller's included; None for as many as the process may use CPUs.
        isa: One of `isas()`; None for what the variable `EVENBIT_ISA` says, or else the best.
        tile: One of `tiles(isa)` for all binary convolutions, to test and to measure; None for the measured choice.

    Attributes:
        plan: The network.
        isa: The instruction set in use.
        threads: Threads of the engine.

    Raises:
        PlanError: If the Plan is not valid or needs more than 2 GiB for one image.
        EvenbitError: If the instruction set or tile is unknown here or `threads` is out of range.
    """

    def __init__(
        self, plan: Plan, *, threads: int | None = None, isa: str | None = None, tile: str | None = None
    ) -> None:
        self.plan = plan
        self.isa = choose_isa(isa)
        self.threads = len(os.sched_getaffinity(0)) if threads is None else threads
        if not 1 <= self.threads <= MAX_THREADS:
            raise EvenbitError(f"threads should be from 1 to {MAX_THREADS}, but is {self.threads}")
        if tile is not None and tile not in tiles(self.isa):
            raise EvenbitError(f"unknown tile '{tile}'; {self.isa} has {', '.join(tiles(self.isa))}")
        try:
            loader = _Loader(plan, self.isa, self.threads, tile or "")
        except ValueError as error:  # what the C++ side refuses and `Plan.shapes` does not
            raise PlanError(str(error)) from None
        self._core, self._origins = loader.core, loader.origins

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, threads: int | None = None, isa: str | None = None) -> Engine:
        """The network in an `.evb` file; see the class and `evenbit.plan_file.load`."""
        return cls(plan_file.load(path), threads=threads, isa=isa)

    @property
    def arena_bytes(self) -> int:
        """Memory for the values of one image in flight."""
        return self._core.arena_bytes

    def __call__(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Logits of a batch.

        Args:
            images: `[N, C, H, W]`, float32 in [0, 1] or uint8 in [0, 255].

        Returns:
            Logits `[N, classes]`, float32.

        Raises:
            InputError: If the images do not fit the network or hold a value that is not finite.
        """
        check_images(self.plan, images)
        logits = np.empty((len(images), len(self.plan.classes)), np.float32)
        if len(images) and not self._core.run(np.ascontiguousarray(images), logits):
            raise InputError("images hold a value that is not finite (NaN or infinity)")
        return logits

    def profile(self, image: npt.NDArray[np.float32], rounds: int) -> list[OpTime]:
        """The time of each op of the Plan on one thread, in order: medians of many runs.

        Args:
            image: `[1, C, H, W]`, float32 in [0, 1].
            rounds: Number of runs.

        Raises:
            InputError: If the image does not fit the network.
        """
        check_images(self.plan, image)
        times = np.zeros((len(self.plan.ops), 3))
        np.add.at(times, self._origins, self._core.profile(np.ascontiguousarray(image), rounds))
        return [OpTime(*row) for row in times.tolist()]

    def measure_binary_limit(self) -> float:
        """1-bit multiply-adds a second on one thread if a binary convolution were its inner step alone."""
        return self._core.measure_binary_limit()


def choose_isa(isa: str | None) -> str:
    """The instruction set that an engine gets; see `Engine`.

    Raises:
        EvenbitError: If this machine does not have it.
    """
    wanted = isa or os.environ.get(ISA_VARIABLE)
    known = isas()
    if not wanted:
        return known[0]
    if wanted not in known:
        raise EvenbitError(f"unknown instruction set '{wanted}'; this machine has {', '.join(known)}")
    return wanted


class _Loader:
    """Hands a Plan to the C++ side, op by op.

    `values` maps its names to numbers there, `origins` the ops there to the numbers of those that they come from.
    """

    def __init__(self, plan: Plan, isa: str, threads: int, tile: str) -> None:
        self.plan = plan
        self.core = _core.Engine(isa, threads, tile)
        shapes = plan.shapes()
        self.values = {
            name: self.core.add_value(shape.kind == "bits", shape.height, shape.width, shape.channels)
            for name, shape in shapes.items()
            if name != "images"
        }
        self.shapes = shapes
        self.origins: list[int] = []
        for index, (op, result) in enumerate(zip(plan.ops, plan.op_shapes(), strict=True)):
            self.origins += [index] * self.add(op, result)
        self.core.finish(self.values[plan.output])

    def add(self, op: Op, result: Shape) -> int:
        """Adds one op with that result; returns how many it has become."""
        tail = self.tail(op)
        source = self.values.get(op.input, -1)
        match op:
            case Normalize():
                self.core.add_normalize(*result[1:], tail)
            case Conv():
                self.core.add_conv(source, self.tensor(op.weight), op.stride, op.padding, op.groups, tail)
            case Int8Conv():
                return self.core.add_int8_conv(
                    source, self.tensor(op.weight), op.multiplier, op.stride, op.padding, tail
                )
            case BinaryConv():
                self.core.add_binary_conv(source, self.tensor(op.weight), op.stride, op.padding, op.groups, tail)
            case Elementwise():
                self.core.add_elementwise(source, tail)
            case Multiply():
                self.core.add_multiply(source, self.values[op.factor], tail)
            case Cube():
                self.core.add_cube(source, self.tensor(op.scale), self.tensor(op.offset), tail)
            case Concat():
                self.core.add_concat([source, *(self.values[name] for name in op.others)], tail)
            case Flatten():
                self.core.add_flatten(source, tail)
            case MaxPool():
                self.core.add_pool(source, True, op.kernel, op.stride, op.padding, tail)
            case AvgPool():
                self.core.add_pool(source, False, op.kernel, op.stride, (0, 0), tail)
            case Threshold():
                return self.threshold(op, source, tail)
            case _:
                raise NotImplementedError(op.kind)
        return 1

    def threshold(self, op: Threshold, source: int, tail: _core.Tail) -> int:
        """A Threshold, and its Tail as an op of its own where there is one."""
        plain = op.out is not None and op.tail == Tail()
        out = self.values[op.out] if plain and op.out else self.core.add_value(False, *self.shapes[op.input][1:])
        self.core.add_threshold(source, self.tensor(op.scale), self.tensor(op.offset), self.tensor(op.flip), out)
        if not plain:
            self.core.add_elementwise(out, tail)
        return 1 if plain else 2

    def tensor(self, name: str) -> npt.NDArray[Any]:
        """A constant, contiguous."""
        return np.ascontiguousarray(self.plan.tensors[name])

    def tail(self, op: Op) -> _core.Tail:
        """The Tail of an op."""
        spec, result = op.tail, _core.Tail()
        for part in ("scale", "bias", "slope", "low", "high", "shift"):
            if (name := getattr(spec, part)) is not None:
                getattr(result, f"set_{part}")(self.tensor(name))
        result.sigmoid = spec.activation == "sigmoid"
        result.softsign = spec.activation == "softsign"
        if op.out is not None:
            result.out = self.values[op.out]
        if spec.residual is not None:
            result.residual = self.values[spec.residual]
        if spec.mean is not None:
            result.mean = self.values[spec.mean]
        if spec.bits is not None:
            result.bits = self.values[spec.bits.out]
            result.set_flip(self.tensor(spec.bits.flip))
            if spec.bits.threshold in self.values:
                result.threshold_value = self.values[spec.bits.threshold]
            else:
                result.set_threshold(self.tensor(spec.bits.threshold))
        return result
