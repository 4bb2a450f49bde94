"""The source archive, the wheel that is built from it, and an installation of that in a clean environment.

`make test-packaging` runs them: they compile the engine once, and fetch what they need from the package index.
"""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.message import Message
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
# What needs the extra `train`, by its path; everything else has to be there without any.
NEED_TRAIN = (
    *("evenbit.nn", "evenbit.models", "evenbit.train", "evenbit.deploy", "evenbit.sweep", "evenbit.demo"),
    *("evenbit.data.augment", "evenbit.report", "evenbit.device"),
)

NEED_EXPORT = tuple(f"evenbit.export.{name}" for name in ("onnx", "qonnx", "graph", "lowering", "nodes"))


def must_run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd="/", env=environment
    )
    assert result.returncode == 0, f"{command}\n{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
    return result.stdout


def tracked(folder: str) -> set[str]:
    return set(must_run("git", "-C", ROOT, "ls-files", folder).split())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sdist")
    must_run(sys.executable, "-m", "build", "--sdist", "--outdir", out, ROOT)
    (archive,) = out.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source archive, in an environment of its own."""
    out = tmp_path_factory.mktemp("wheel")
    must_run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, sdist)
    (archive,) = out.iterdir()
    return archive


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a clean environment in which the wheel and what it requires are installed, and nothing else."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    must_run(folder / "bin" / "pip", "install", "--quiet", wheel)
    return folder / "bin"


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_source_archive_holds_what_is_built_and_no_kept_runs(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked("src") | tracked("csrc") | {"CMakeLists.txt", "pyproject.toml", "LICENSE", "README.md"} <= names
    assert not [name for name in names if name.startswith(("results/", "build/", ".venv", "runs/"))]
    assert sdist.stat().st_size < 4_000_000


def test_the_wheel_holds_every_file_of_the_package_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (licence,) = (name for name in names if name.endswith("/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert {name.removeprefix("src/") for name in tracked("src")} <= names
    outside = {name for name in names if not name.startswith(("evenbit/", f"evenbit-{metadata_of(wheel)['Version']}."))}
    assert not outside
    assert "evenbit/py.typed" in names
    assert [name for name in names if name.startswith("evenbit/recipes/") and name.endswith(".toml")]
    assert not [name for name in names if name.endswith((".cc", ".cpp", ".pyc"))]


def test_the_metadata_are_complete_and_can_be_shown(sdist: Path, wheel: Path) -> None:
    metadata = metadata_of(wheel)
    assert (metadata["Name"], metadata["License-Expression"], metadata["License-File"]) == (
        "evenbit",
        "Apache-2.0",
        "LICENSE",
    )
    assert metadata["Requires-Python"] == ">=3.10"
    required = [line.split(";")[0] for line in metadata.get_all("Requires-Dist", []) if "extra" not in line]
    assert not [line for line in required if line.startswith(("torch", "scipy", "scikit", "pydantic", "onnx"))]
    must_run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)


def test_the_wheel_is_for_every_newer_python_where_that_is_possible(wheel: Path) -> None:
    tags = wheel.stem.split("-")[2:4]
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert tags == (["cp312", "abi3"] if sys.version_info >= (3, 12) else [version, version])


def test_predict_runs_in_a_clean_environment_without_torch(installed: Path) -> None:
    packages = must_run(installed / "pip", "list", "--format=freeze").lower()
    assert "torch" not in packages
    path = {"PATH": f"{installed}{os.pathsep}{os.environ['PATH']}"}
    assert '"probability"' in must_run(HERE / "smoke.sh", environment=path)


def test_every_module_can_be_imported_but_those_that_need_an_extra(installed: Path) -> None:
    lacks = json.loads(must_run(installed / "python", HERE / "import_all.py"))
    allowed = {**dict.fromkeys(NEED_TRAIN, "train"), **dict.fromkeys(NEED_EXPORT, "export")}
    unexpected = {
        name: missing
        for name, missing in lacks.items()
        if not any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed)
    }
    assert not unexpected
    stale = [prefix for prefix in allowed if not any(f"{name}.".startswith(f"{prefix}.") for name in lacks)]
    assert not stale, "they can be imported, so they should not be listed"
