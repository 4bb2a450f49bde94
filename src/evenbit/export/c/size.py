"""How much flash and RAM a network takes as C on a microcontroller, before anything is compiled.

RAM is the arena, which is known exactly. Flash is the constants and the names of the classes, also exact, and the
code. For the code, compiled networks give

    code = 5,600 bytes for the kernels + 114 bytes for the call of each op

with GCC 12 at -O2 for Cortex-M4. For resnet8, resnet20 and vgg_slim, this is within 4 % of the size of the code, which
is less than 1 % of the flash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from evenbit.errors import ExportError
from evenbit.export.c.arena import plan_arena
from evenbit.export.c.calls import Calls
from evenbit.export.c.tables import Tables
from evenbit.plan import Plan

KERNEL_BYTES, CALL_BYTES = 5_600, 114
WORD = 4
UNITS = {"": 1, "K": 2**10, "M": 2**20}


@dataclass(frozen=True)
class Memory:
    """Memory in bytes, of a network or of a device.

    Attributes:
        flash: For constants and code; None for a device whose flash is not known.
        ram: For the arena; None likewise.
    """

    flash: int | None
    ram: int | None

    def __str__(self) -> str:
        parts = (("flash", self.flash), ("RAM", self.ram))
        return " and ".join(f"{in_kib(size)} of {name}" for name, size in parts if size is not None)

    def holds(self, other: Memory) -> bool:
        """Whether the other fits into this."""
        pairs = ((self.flash, other.flash), (self.ram, other.ram))
        return all(limit is None or size is None or size <= limit for limit, size in pairs)


def memory_of(plan: Plan) -> Memory:
    """What a network takes as C, with 32-bit words.

    Raises:
        ExportError: If it holds an op that has no kernel in C.
    """
    arena, tables = plan_arena(plan, 32), Tables(plan)
    Calls(plan, tables, arena, arena).all()  # collects the tables; the text, which names the arenas, is not used
    code = KERNEL_BYTES + CALL_BYTES * len(plan.ops)
    return Memory(tables.nbytes + sum(map(_name_bytes, plan.classes)) + code, arena.bytes)


def _name_bytes(name: str) -> int:
    """Of a class's name: a pointer, and the text with the zero that ends it, in whole words."""
    return WORD + -(-(len(name.encode()) + 1) // WORD) * WORD


def parse_memory(flash: str | None, ram: str | None) -> Memory:
    """The memory of a device, from texts such as 256K.

    Raises:
        ExportError: If a text is not a number of bytes.
    """
    return Memory(_bytes(flash, "--fit-flash"), _bytes(ram, "--fit-ram"))


def check_fits(plan: Plan, device: Memory) -> None:
    """Raises ExportError with the numbers if the network takes more than the device has."""
    needed = memory_of(plan)
    if not device.holds(needed):
        raise ExportError(
            f"the network takes about {needed} as C, more than {device}; give these limits to evenbit train as well, "
            "which then chooses a network that fits"
        )


def _bytes(text: str | None, flag: str) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,12})([KM]?)(i?B)?", text.strip(), re.IGNORECASE | re.ASCII)
    if not found:
        raise ExportError(f"{flag} should be a number of bytes such as 256K, but is '{text}'")
    return int(found[1]) * UNITS[found[2].upper()]


def in_kib(size: int) -> str:
    """A number of bytes as text, in KiB from 1,024 bytes on."""
    return f"{size:,} bytes" if size < 2**10 else f"{size / 2**10:.1f} KiB"
