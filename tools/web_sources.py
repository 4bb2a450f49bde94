"""Prints a digest of all that the WebAssembly module and its scripts are made of.

`make wasm` keeps it beside what it builds, and a test compares: the module is that of the sources of today.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "csrc/base",
    "csrc/capi",
    "csrc/evb",
    "csrc/kernels",
    "csrc/ops",
    "csrc/program",
    "csrc/wasm",
    "web/src",
)
FILES = ("CMakeLists.txt", "csrc/engine.cc", "csrc/engine.h", "csrc/simd/wasm128.h")
FILES += ("web/package-lock.json", "web/tsconfig.json")
OTHERS = ("avx", "neon")  # instruction sets whose kernels are not part of it


def digest() -> str:
    """SHA-256 of the files' names and contents."""
    paths = [ROOT / name for name in FILES]
    for folder in FOLDERS:
        paths += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    sha = hashlib.sha256()
    for path in sorted(paths):
        name = path.relative_to(ROOT).as_posix()
        if not any(other in name for other in OTHERS):
            content = path.read_bytes()
            sha.update(f"{name} {len(content)}\n".encode() + content)
    return sha.hexdigest()


if __name__ == "__main__":
    print(digest())
