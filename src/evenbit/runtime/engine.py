"""The C++ engine: runs a Plan fast, with exactly the results of `evenbit.runtime.reference`."""

from __future__ import annotations

import functools
import os
import warnings
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evenbit import plan_file
from evenbit.errors import EvenbitError, InputError, PlanError
from evenbit.plan import Plan
from evenbit.printable import counted
from evenbit.runtime import _core
from evenbit.runtime.reference import NOT_FINITE, as_array, check_images

ISA_VARIABLE = "EVENBIT_ISA"
MAX_THREADS = 256
MOST_EXPECTED = 2.0  # in float images, where 1 stands for white


def isas() -> tuple[str, ...]:
    """Instruction sets that this machine can run, best first."""
    return tuple(_core.isas())


def tiles(isa: str) -> tuple[str, ...]:
    """Names of the tiles (blocks of results) that binary convolutions can keep in registers, for an instruction set."""
    return tuple(_core.tiles(isa))


class OpTime(NamedTuple):
    """Seconds that an op takes on one thread.

    A binary convolution is also timed in parts: without its Tail (`sums`) and without its sums (`tail`). The parts need
    not add up to the whole, since the CPU works on both at the same time. For other ops the parts are 0.
    """

    seconds: float
    sums: float
    tail: float


class Engine:
    """A network ready to run: `engine(images) -> logits`.

    Several Python threads may call one engine at the same time, since it releases the interpreter lock while it runs.
    The engine's own threads then serve one of the calls; each other call runs only on the thread that makes it. In a
    forked process, too, each call runs only on the thread that makes it.

    Args:
        plan: The network, or the path of an `.evb` file.
        threads: Number of threads, including the caller's; None for one for each CPU that the process may use.
        isa: One of `isas()`; None for the one that the variable `EVENBIT_ISA` names, or else the best.
        tile: One of `tiles(isa)` for all binary convolutions, for tests and measurements; None for the tiles that
            measurements found best.

    Attributes:
        isa: The instruction set in use.
        threads: Number of threads of the engine, including the caller's.

    Raises:
        PlanError: If the Plan is not valid or needs more than 2 GiB for one image; if the file cannot be read, is not
            an `.evb`, is damaged, or is of a newer format version.
        EvenbitError: If the instruction set or tile is unknown here, `threads` is out of range, or the system refuses
            so many.
    """

    def __init__(
        self,
        plan: Plan | str | os.PathLike[str],
        *,
        threads: int | None = None,
        isa: str | None = None,
        tile: str | None = None,
    ) -> None:
        if isinstance(plan, Plan):
            self._start(plan_file.to_bytes(plan), threads, isa, tile)
            return
        file = plan_file.read(plan)
        try:
            self._start(file, threads, isa, tile)
        except PlanError as error:
            raise PlanError(f"{plan}: {error}") from None

    def __repr__(self) -> str:
        return f"<Engine: {self.plan!r} on {self.isa}, {counted(self.threads, 'thread')}>"

    def _start(self, file: bytes, threads: int | None, isa: str | None, tile: str | None = None) -> None:
        self._file = file
        self._looked = False  # whether the first floats have been looked at
        self.isa = choose_isa(isa)
        self.threads = min(len(os.sched_getaffinity(0)), MAX_THREADS) if threads is None else threads
        if not 1 <= self.threads <= MAX_THREADS:
            raise EvenbitError(f"threads should be from 1 to {MAX_THREADS}, but is {self.threads}")
        if tile is not None and tile not in tiles(self.isa):
            raise EvenbitError(f"unknown tile '{tile}'; {self.isa} has {', '.join(tiles(self.isa))}")
        try:
            self._core = _core.Engine.load(file, self.isa, self.threads, tile or "")
        except ValueError as error:
            raise PlanError(str(error)) from None
        except RuntimeError as error:
            raise EvenbitError(str(error)) from None

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, threads: int | None = None, isa: str | None = None) -> Engine:
        """The network in an `.evb` file; the same as `Engine(path)`."""
        return cls(path, threads=threads, isa=isa)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the file's bytes and the settings; the other process loads the engine from them."""
        return _loaded, (self._file, self.threads, self.isa)

    @functools.cached_property
    def plan(self) -> Plan:
        """The network as a Plan."""
        return plan_file.from_bytes(self._file)

    @property
    def arena_bytes(self) -> int:
        """Bytes of memory for the values of one image while it is computed."""
        return self._core.arena_bytes

    def __call__(self, images: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Logits of a batch.

        Args:
            images: `[N, C, H, W]`, float32 in [0, 1] or uint8 in [0, 255]; an array, or a tensor of torch.

        Returns:
            Logits `[N, classes]`, float32; of a network that classifies pixels, maps `[N, classes, H', W']`.

        Raises:
            InputError: If the images do not fit the network or hold a value that is not finite.
        """
        images = as_array(images)
        check_images(self._core.images, images)
        classes, height, width = self._core.output
        logits = np.empty((len(images), classes, height, width), np.float32)
        if len(images) and not self._core.run(np.ascontiguousarray(images), logits):
            raise InputError(NOT_FINITE)
        if not self._looked and images.dtype == np.float32 and len(images):
            self._looked = True
            _warn_of_levels(float(images.max()))
        return logits if (height, width) != (1, 1) else logits[:, :, 0, 0]

    def profile(self, image: npt.NDArray[np.float32], rounds: int) -> list[OpTime]:
        """The time of each op of the Plan on one thread, in order: medians of many runs.

        Args:
            image: `[1, C, H, W]`, float32 in [0, 1].
            rounds: Number of runs.

        Raises:
            InputError: If the image does not fit the network, or `rounds` is not positive.
        """
        check_images(self._core.images, image)
        if len(image) != 1 or image.dtype != np.float32:
            raise InputError(f"one image of float32 is profiled, not {len(image)} of {image.dtype}")
        if rounds < 1:
            raise InputError(f"the number of runs should be at least 1, but is {rounds}")
        return [OpTime(*times) for times in self._core.profile(np.ascontiguousarray(image), rounds)]

    def measure_binary_limit(self) -> float:
        """1-bit multiply-adds per second on one thread, if a binary convolution were only its innermost step."""
        return self._core.measure_binary_limit()


def _warn_of_levels(largest: float) -> None:
    """Floats up to 255 are nearly always a mistake, so each engine warns of them once."""
    if largest > MOST_EXPECTED:
        text = f"images hold floats up to {largest:g}; 1 stands for white in float images, 255 only in uint8 images"
        warnings.warn(text, stacklevel=3)


def _loaded(file: bytes, threads: int, isa: str) -> Engine:
    engine = Engine.__new__(Engine)
    engine._start(file, threads, isa if isa in isas() else None)
    return engine


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
