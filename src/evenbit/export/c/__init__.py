"""A Plan as C99 source: kernels, the network, its header, a self-test and a Makefile in one folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import numpy as np

from evenbit.errors import ExportError
from evenbit.export.c.arena import plan_arena
from evenbit.export.c.kernels import kernels_header
from evenbit.export.c.source import MARK, header, network, self_test
from evenbit.export.folder import write_folder
from evenbit.plan import Plan
from evenbit.runtime import reference

TEST_IMAGES = 3
MAX_NAME = 40


def export(plan: Plan, folder: Path, name: str = "evenbit") -> Mapping[str, object]:
    """Writes the network as C99 source that computes the reference's logits bit for bit.

    The folder then holds `NAME_network.c` and `.h` with `int NAME_run(const uint8_t *image, float *logits)`,
    `evenbit_kernels.h`, a self-test `NAME_test.c` with images and the reference's logits for them, and a `Makefile`
    whose target `test` builds and runs it. An earlier export in the folder is replaced; any other file is left alone.

    Args:
        plan: The network.
        folder: Created if it is missing; its parent has to exist.
        name: Prefix of all names in C; macros have it in capitals.

    Returns:
        The folder, and the bytes of the constants and of the arena with 32-bit words.

    Raises:
        PlanError: If the Plan is not valid.
        ExportError: If the Plan holds an op that has no kernel in C, the name is not a C name, or a file that would be
            replaced does not come from an export.
        OSError: If the folder cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or len(name) > MAX_NAME:
        raise ExportError(
            f"'{name}' cannot begin a name in C; use a letter, then letters, digits or _, at most {MAX_NAME} in all"
        )
    narrow, wide = plan_arena(plan, 32), plan_arena(plan, 64)
    code = network(plan, name, narrow, wide)
    images = np.random.default_rng(0).integers(
        0, 256, (TEST_IMAGES, plan.channels, plan.height, plan.width), dtype=np.uint8
    )
    makefile = (resources.files("evenbit.export.c") / "Makefile").read_text(encoding="utf-8")
    files = {
        f"{name}_network.h": header(plan, name, narrow, wide),
        f"{name}_network.c": code.text,
        f"{name}_test.c": self_test(plan, name, images, reference.run(plan, images)),
        "evenbit_kernels.h": f"/* {MARK} */\n{kernels_header()}",
        "Makefile": f"# {MARK}\nNAME := {name}\n{makefile}",
    }
    contents = {file: text.encode() for file, text in files.items()}
    write_folder(folder, contents, MARK, {file: file for file in files})
    return {"folder": str(folder), "constant_bytes": code.constant_bytes, "arena_bytes": narrow.bytes}
