"""The scripts and the notebook in examples/, each run as its page says, in an empty folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import warm
from evenbit import plan_file
from evenbit.runtime.engine import isas

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOK = EXAMPLES / "evenbit.ipynb"
EXECUTE = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


def run(folder: Path, *arguments: str | Path, python: str | None = None) -> str:
    """What a script prints; of an interpreter that has imported a lot already, if none is given."""
    command = [python or warm.command("python"), *map(str, arguments)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def percents(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"([0-9.]+) %", text)]


def test_convert(tmp_path: Path) -> None:
    output = run(tmp_path, EXAMPLES / "convert.py")
    real, without_training, trained, on_engine = percents(output)[:4]
    assert without_training < 50 < 90 < trained < real + 1
    assert abs(on_engine - trained) < 0.3  # an image of 359
    assert "Conv2d 3x3 64 to 64  BinaryConv2d" in output
    assert len(plan_file.load(tmp_path / "converted.evb").classes) == 10


def test_own_arrays(tmp_path: Path) -> None:
    in_torch, packed = percents(run(tmp_path, EXAMPLES / "own_arrays.py").splitlines()[-1])
    assert in_torch > 80
    assert abs(in_torch - packed) < 0.4
    plan = plan_file.load(tmp_path / "shapes.evb")
    assert plan.classes == ("disc", "ring", "square")
    assert plan.info["data"] == "shapes"


def test_arrows(tmp_path: Path) -> None:
    run(tmp_path, EXAMPLES / "arrows.py", "arrows")
    sides = {}
    for name in ("left", "right"):
        images = [np.asarray(Image.open(path)).mean(2) for path in sorted((tmp_path / "arrows" / name).iterdir())]
        assert len(images) == 60
        assert {image.shape for image in images} == {(64, 64)}
        # The head is higher than the shaft, so the column with the most dark pixels is on its side.
        columns = np.stack([image < (image.min() + image.max()) / 2 for image in images]).sum(1)
        sides[name] = np.mean(columns[:, :32].max(1) > columns[:, 32:].max(1))
    assert sides["left"] > 0.9
    assert sides["right"] < 0.1


def test_compare_bits(tmp_path: Path) -> None:
    output = run(tmp_path, EXAMPLES / "compare_bits.py")
    assert output.count("same bytes as the reference: True") == 2 * len(isas())
    assert "False" not in output
    same, images = map(int, re.findall(r"same class for (\d+) of (\d+)", output)[0])
    assert images - 2 <= same <= images == 359


def test_own_method(tmp_path: Path) -> None:
    in_torch, packed = percents(run(tmp_path, EXAMPLES / "own_method.py").splitlines()[-1])
    assert in_torch > 70
    assert abs(in_torch - packed) < 0.4
    assert plan_file.load(tmp_path / "react-cosine.evb").info["method"] == "react-cosine"


def test_probe_methods(tmp_path: Path) -> None:
    output = run(tmp_path, EXAMPLES / "probe_methods.py")
    for method in ("react", "fd"):
        block = output.split(f"{method}: accuracy")[1].split("accuracy")[0]
        entropies = [float(number) for number in re.findall(r"entropy ([0-9.]+) bits", block)]
        assert len(entropies) == 6  # the binary layers of ResNet-8
        assert all(0 < entropy < 1 for entropy in entropies)


def test_numpy_only(tmp_path: Path) -> None:
    run(tmp_path, "-m", "evenbit", "pack", "--untrained", "resnet8", "-o", "model.evb")
    output = run(tmp_path, EXAMPLES / "numpy_only.py", "model.evb", python=sys.executable)
    assert "uint64 (2, 32, 32, 1)" in output
    assert "loaded: numpy alone" in output


def test_every_script_has_a_test() -> None:
    scripts = {f"test_{path.stem}" for path in EXAMPLES.glob("*.py")}
    assert scripts
    assert scripts <= set(globals())


def test_notebook_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_notebook(tmp_path: Path) -> None:
    run(tmp_path, "-c", EXECUTE, NOTEBOOK, tmp_path / "run.ipynb")
    cells = {cell["id"]: cell for cell in json.loads((tmp_path / "run.ipynb").read_text(encoding="utf-8"))["cells"]}
    text = "".join("".join(part.get("text", "")) for part in cells["pack"]["outputs"])
    in_torch, on_engine = percents(text)
    assert in_torch > 80
    assert abs(in_torch - on_engine) < 0.3
    for name in ("sign", "picture"):
        assert any("image/png" in part.get("data", {}) for part in cells[name]["outputs"])
