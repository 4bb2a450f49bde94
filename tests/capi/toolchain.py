"""Building libevenbit, and C programs that use it, for this machine, with sanitizers, or for ARM."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nlohmann_json
from filelock import FileLock

ROOT = Path(__file__).parents[2]
C_FLAGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1")


@dataclass(frozen=True)
class Toolchain:
    """How to build and run for one kind of machine."""

    name: str
    cc: str = "gcc"
    options: tuple[str, ...] = ()  # of CMake
    flags: tuple[str, ...] = ()
    emulator: tuple[str, ...] = ()

    @property
    def build(self) -> Path:
        return ROOT / "build" / f"c-{self.name}"

    @property
    def library(self) -> Path:
        return self.build / "csrc" / "capi" / "libevenbit.so"

    def build_library(self) -> None:
        """Builds the library. Workers of one run share the folder: one builds, the others wait and find it built."""
        missing = [tool for tool in (self.cc, *self.emulator[:1]) if shutil.which(tool) is None]
        assert not missing, f"these tests need {', '.join(missing)}"
        options = ("-DEVENBIT_C_API=ON", *self.options)
        self.build.mkdir(parents=True, exist_ok=True)
        with FileLock(self.build / "lock"):
            must_run("cmake", "-S", str(ROOT), "-B", str(self.build), *options)
            must_run("cmake", "--build", str(self.build), "--parallel", "2")

    def build_program(self, source: Path, out: Path) -> tuple[str, ...]:
        """The command that runs a C program linked with the library."""
        folder = self.library.parent
        links = (f"-I{ROOT / 'csrc' / 'capi'}", f"-L{folder}", f"-Wl,-rpath,{folder}", "-levenbit", "-lm")
        must_run(self.cc, *C_FLAGS, *self.flags, str(source), "-o", str(out), *links)
        return (*self.emulator, str(out))


def must_run(*command: str) -> str:
    """Runs a command and returns what it prints; shows all of it if it fails."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-4000:]}\n{result.stderr[-8000:]}"
    return result.stdout


def environment() -> dict[str, str]:
    """In which CMake is found, and the header that the library needs, both as they come from PyPI."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "CMAKE_PREFIX_PATH": str(Path(nlohmann_json.__file__).parent)}


NATIVE = Toolchain("native")
SANITIZE = Toolchain(
    "sanitize", options=("-DEVENBIT_SANITIZE=ON",), flags=("-fsanitize=address,undefined", "-fno-sanitize-recover")
)
AARCH64 = Toolchain(
    "aarch64",
    cc="aarch64-linux-gnu-gcc",
    options=(
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
    ),
    emulator=("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"),
)
