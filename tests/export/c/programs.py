"""Builds exported networks, several in one program, and runs images through them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evenbit.export.c import export
from evenbit.plan import Plan

WARNINGS = "-Wall -Wextra -Wpedantic -Wconversion -Wdouble-promotion -Wshadow -Wstrict-prototypes -Werror"
SANITIZE = "-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all"


def compilers() -> list[str]:
    """The C compilers that are here: gcc has to be, clang may be."""
    assert shutil.which("gcc"), "these tests need gcc and make"
    return ["gcc", *(["clang"] if shutil.which("clang") else [])]


class Program:
    """Several networks in one program, which reads images of all of them and writes their logits."""

    def __init__(self, plans: Sequence[Plan], folder: Path) -> None:
        self.plans = plans
        self.folder = folder
        for index, plan in enumerate(plans):
            export(plan, folder, f"n{index}")
        includes = "\n".join(f'#include "n{index}_network.h"' for index in range(len(plans)))
        runs = "\n".join(
            f"  for (int i = 0; i < count; ++i) {{\n"
            f"    static uint8_t image[N{n}_IMAGE_BYTES];\n"
            f"    static float logits[{np.prod(plan.shapes()[plan.output][1:])}];\n"
            f"    if (fread(image, sizeof image, 1, stdin) != 1 || n{n}_run(image, logits) != 0) return 1;\n"
            f"    fwrite(logits, sizeof logits, 1, stdout);\n"
            f"  }}"
            for n, plan in enumerate(plans)
        )
        (folder / "driver.c").write_text(
            f"#include <stdio.h>\n#include <stdlib.h>\n{includes}\n"
            f"int main(int argc, char **argv) {{\n  const int count = argc > 1 ? atoi(argv[1]) : 0;\n{runs}\n"
            "  return 0;\n}\n"
        )

    def logits(
        self, images: Sequence[npt.NDArray[np.uint8]], flags: str, *, compiler: str = "gcc", word_bits: int = 64
    ) -> list[npt.NDArray[np.float32]]:
        """Builds it and runs the same number of images `[N, C, H, W]` through each network."""
        build = Path(tempfile.mkdtemp(dir=self.folder))
        names = [f"n{index}_network" for index in range(len(self.plans))] + ["driver"]
        objects = " ".join(f"{name}.o" for name in names)
        compile_flags = f"-std=c99 -ffp-contract=off {flags} -DEVENBIT_WORD_BITS={word_bits}"
        cached = "ccache " if shutil.which("ccache") else ""
        (build / "Makefile").write_text(
            "export CCACHE_NOHASHDIR = 1\n"  # the folder, which is new each time, does not matter
            f"driver: {objects}\n\t{compiler} {flags} -o $@ $^ -lm\n"
            f"%.o: ../%.c\n\t{cached}{compiler} {compile_flags} -c -o $@ $<\n"
        )
        run("make", f"-j{os.cpu_count()}", cwd=build)
        pixels = b"".join(batch.transpose(0, 2, 3, 1).tobytes() for batch in images)
        count = len(images[0])
        output = subprocess.run([build / "driver", str(count)], input=pixels, capture_output=True, check=True).stdout
        shapes = [plan.shapes()[plan.output][1:] for plan in self.plans]
        sizes = [count * int(np.prod(shape)) for shape in shapes]
        parts = np.split(np.frombuffer(output, np.float32), np.cumsum(sizes)[:-1])
        maps = [np.moveaxis(part.reshape(count, *shape), 3, 1) for part, shape in zip(parts, shapes, strict=True)]
        return [found if plan.gives_map else found[:, :, 0, 0] for found, plan in zip(maps, self.plans, strict=True)]


def run(*command: str, cwd: Path) -> str:
    """What the command prints; it has to succeed."""
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
