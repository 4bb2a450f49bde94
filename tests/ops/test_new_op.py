"""An operation is added as docs/extending.md says, to a copy of the sources: the negation of a map, which does nothing
that a Tail could not.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nlohmann_json
import pytest

ROOT = Path(__file__).parents[2]
NEW = Path(__file__).parent / "negate"
RUN = """
import runpy, sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in type(finder).__module__]
sys.path.insert(0, {source!r})
sys.argv = {arguments!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def insert(file: Path, before: str, text: str) -> None:
    """Adds a row to a list, or a function to a file, before a line."""
    content = file.read_text(encoding="utf-8")
    assert content.count(before) == 1, f"{file.name}: {before}"
    file.write_text(content.replace(before, text + before), encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sources with the op in its six places."""
    for name in ("src", "csrc", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("CMakeLists.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    package, csrc = tmp_path / "src" / "evenbit", tmp_path / "csrc"

    shutil.copy(NEW / "negate.py", package / "ops")
    insert(package / "ops" / "__init__.py", "from evenbit.ops.normalize", "from evenbit.ops.negate import Negate\n")
    insert(package / "ops" / "__init__.py", "        Normalize,\n        Conv,\n", "        Negate,\n")

    lower = (NEW / "aten.py.in").read_text(encoding="utf-8")
    arithmetic = package / "deploy" / "aten" / "arithmetic.py"
    insert(arithmetic, "from evenbit.ops import", "from evenbit.ops.negate import Negate\n")
    insert(arithmetic, "LOWERINGS: dict", f"{lower}\n\n")
    rows = arithmetic.read_text(encoding="utf-8")
    assert rows.count("    aten.neg.default: _neg,\n") == 1
    rows = rows.replace("    aten.neg.default: _neg,\n", "    aten.neg.default: _negate,\n")
    arithmetic.write_text(rows, encoding="utf-8")

    shutil.copy(NEW / "op.cc", csrc / "ops" / "negate.cc")

    shutil.copy(NEW / "kernel.h", csrc / "kernels" / "negate.h")
    insert(csrc / "kernels" / "kernels.h", '#include "kernels/normalize.h"', '#include "kernels/negate.h"\n')
    insert(csrc / "kernels" / "kernels.h", "  KERNEL(normalize, ", "  KERNEL(negate, Negate) \\\n")

    node = (NEW / "nodes.py.in").read_text(encoding="utf-8")
    insert(package / "export" / "nodes.py", "from evenbit.ops import", "from evenbit.ops.negate import Negate\n")
    insert(package / "export" / "nodes.py", "NODES: dict", f"{node}\n\n")
    insert(package / "export" / "nodes.py", "        normalize,\n", "        negate,\n")

    shutil.copy(NEW / "exported.h", package / "export" / "c" / "ops" / "negate.h")
    return tmp_path


def run_in_copy(copy: Path, *arguments: str) -> str:
    """What a script prints that imports evenbit from the copy."""
    code = RUN.format(source=str(copy / "src"), arguments=list(arguments))
    result = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_an_operation_is_added_in_six_places(copy: Path) -> None:
    for name in ("evenbit.nn._training", "evenbit.runtime._core"):  # these two are those of the installed package
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        shutil.copy(spec.origin, (copy / "src").joinpath(*name.split(".")[:-1]))
    run_in_copy(copy, "tools/op_fields.py")

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CMAKE_PREFIX_PATH": str(Path(nlohmann_json.__file__).parent)}
    plain = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=any", "-DCMAKE_CXX_FLAGS=-DEVENBIT_SCALAR_ONLY"]
    # Its speed is not tested: one file, not optimized, is compiled in a quarter of the time.
    plain += ["-DCMAKE_BUILD_TYPE=None", "-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_UNITY_BUILD_BATCH_SIZE=0"]
    for command in (
        ["cmake", "-S", ".", "-B", "build", "-DEVENBIT_C_API=ON", *plain],
        ["cmake", "--build", "build", "--parallel", "2"],
    ):
        result = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
    library = copy / "build" / "csrc" / "capi" / "libevenbit.so"
    printed = run_in_copy(copy, str(NEW / "check.py"), str(library))
    assert "the logits of 3 images are equal bit for bit" in printed
