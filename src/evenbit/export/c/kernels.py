"""The kernels in C: `ops/KIND.h` holds the function `evenbit_KIND` of each op, and what only this function needs.

The names of its parameters say what a network passes to it; `evenbit.export.c.calls` lists them.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib import resources

from evenbit.errors import ExportError
from evenbit.ops import OPS, Op


@dataclass(frozen=True)
class Kernel:
    """An op's kernel.

    Attributes:
        text: The file.
        parameters: Types of the function's parameters by their names, in order.
    """

    text: str
    parameters: dict[str, str]


def kernel(op: Op) -> Kernel:
    """The kernel of an op.

    Raises:
        ExportError: If it has none.
    """
    found = _kernel(op.kind)
    if found is None:
        raise ExportError(f"op '{op.name}' ({op.kind}) has no kernel in C")
    return found


@functools.cache
def _kernel(kind: str) -> Kernel | None:
    file = resources.files("evenbit.export.c") / "ops" / f"{kind}.h"
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8")
    function = re.search(rf"\bevenbit_{kind}\(([^)]*)\) {{", text)
    assert function, f"{kind}.h does not define evenbit_{kind}"
    parameters = [re.sub(r"\s+", " ", parameter).strip() for parameter in function[1].split(",")]
    split = [re.fullmatch(r"(.*[ *])(\w+)", parameter) for parameter in parameters]
    return Kernel(text, {part[2]: part[1].strip() for part in split if part})


def kernels_header() -> str:
    """`evenbit_kernels.h`: the code that kernels share, and all kernels, since networks in one folder share it."""
    base = (resources.files("evenbit.export.c") / "base.h").read_text(encoding="utf-8")
    kernels = [found.text for found in map(_kernel, OPS) if found]
    return "\n".join([base, *kernels, "#endif\n"])
