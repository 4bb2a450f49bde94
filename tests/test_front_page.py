"""`benchmarks/front_page.py` on made-up networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def front_page(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    import front_page

    return front_page


@pytest.fixture
def kept(tmp_path: Path) -> Callable[..., Path]:
    """Keeps networks, each as (kind, model, accuracy, bytes, times by runtime in milliseconds)."""

    def keep(*networks: tuple[str, str, float, int, dict[str, float]]) -> Path:
        times = {}
        folder = tmp_path / "front"
        folder.mkdir()
        for kind, model, accuracy, size, ms in networks:
            method = "float" if kind == "int8" else "fd"
            recipe = {"model": model, "method": method, "data": "cifar10", "epochs": 12, "seed": 0}
            recipe["teacher"] = "runs/big" if model == "resnet20" else None
            origin = {"command": f"evenbit train {model}", "commit": "c", "machine": "m", "torch": "t"}
            row = {
                "name": f"run-{model}",
                "kind": kind,
                "recipe": recipe,
                "accuracy": accuracy,
                "float_accuracy": accuracy + 0.25,
                **origin,
            }
            sizes = {"bytes": size, "float_bytes": 4 * size}
            (folder / f"{model}.json").write_text(json.dumps({**row, **sizes}))
            times |= {f"{model} {runtime}": {"ms": value} for runtime, value in ms.items()}
        timed = {"isa": "avx512", "command": "time", "commit": "c", "machine": "AMD EPYC", "ms": {"cifar10": times}}
        (folder / "times-avx512-amd.json").write_text(json.dumps(timed))
        slow = {name: {"ms": 2 * each["ms"]} for name, each in times.items()}
        other = {**timed, "machine": "Intel(R) Xeon(R)", "ms": {"cifar10": slow}}
        (folder / "times-avx512-intel.json").write_text(json.dumps(other))
        shape = {"shape": "32,64x2", "teacher": "runs/big", "validation_accuracy": 70.5, "command": "train"}
        shapes = {"32,64x2 from big": {**shape, "bytes": 9_000, "ms": {"avx2": 0.25}}}
        (tmp_path / "shapes.json").write_text(json.dumps(shapes))
        return folder

    return keep


SLOW_RIVAL = ("int8", "basic20", 86.0, 300_000, {"onnxruntime-int8": 0.55, "openvino-int8": 0.6, "onnxruntime": 0.9})
FAST_RIVAL = ("int8", "basic8", 80.0, 100_000, {"onnxruntime-int8": 0.25, "openvino-int8": 0.19, "onnxruntime": 0.15})
OURS = ("binary", "resnet20", 83.0, 120_000, {"fd": 0.11})


def test_the_page_compares_what_fits(front_page: Any, kept: Callable[..., Path]) -> None:
    folder = kept(SLOW_RIVAL, FAST_RIVAL, OURS)
    text = front_page.page(folder, folder.parent / "shapes.json")
    assert (
        "| basic8 | int8 | run-basic8 |  | 80.00 | 80.25 | 100,000 | 0.190 (openvino-int8) | 0.380 (openvino-int8) |"
        in text
    )
    assert "| basic20 | int8 | run-basic20 |  | 86.00 | 86.25 | 300,000 | 0.550 (onnxruntime-int8) | 1.100 (" in text
    assert "- under 0.100 ms: no binary network; no int8 network; no float network\n" in text
    assert "| basic8 | float | run-basic8 |  | 80.25 |  | 400,000 | 0.150 (onnxruntime) | 0.300 (onnxruntime) |" in text
    assert "int8 basic8 80.00 %; float basic8 80.25 %; +2.75 points for binary\n- under 0.800 ms" in text
    assert "int8 basic20 86.00 %; float basic8 80.25 %; -3.00 points for binary\n" in text
    rival = "- resnet20 fd (83.00 %): the cheapest rival that is as accurate is basic20 (int8, 86.00 %), which takes"
    assert f"{rival} 5.00 times the time\n" in text
    assert f"{rival} 2.50 times the bytes\n" in text
    assert (
        "| resnet20 fd | binary | run-resnet20 | big | 83.00 |  | 120,000 | 0.110 (evenbit) | 0.220 (evenbit) |" in text
    )
    assert "| 32, 64 | 2 | big | 70.50 | 9,000 | 0.250 |" in text


def test_a_network_that_another_beats_is_not_on_the_front(front_page: Any, kept: Callable[..., Path]) -> None:
    beaten = ("binary", "resnet8", 79.0, 130_000, {"fd": 0.2})
    cheap = ("binary", "mlp", 40.0, 10_000, {"fd": 0.01})
    points, _ = front_page.read(kept(OURS, beaten, cheap))
    for cost in ("avx512, AMD", "avx512, Intel", "bytes"):
        assert [point.label for point in front_page.front(points, cost)] == ["mlp fd", "resnet20 fd"]


def test_a_network_that_none_reaches_is_said_to_be_so(front_page: Any, kept: Callable[..., Path]) -> None:
    folder = kept(FAST_RIVAL, SLOW_RIVAL, ("binary", "resnet18", 92.0, 2_000_000, {"fd": 0.7}))
    text = front_page.page(folder, folder.parent / "shapes.json")
    assert "- resnet18 fd (92.00 %): no rival here is as accurate\n" in text


def test_networks_that_were_trained_for_longer_too_are_told(front_page: Any, kept: Callable[..., Path]) -> None:
    folder = kept(SLOW_RIVAL, OURS)
    row = json.loads((folder / "resnet20.json").read_text())
    row["recipe"]["epochs"] = 30
    for name, accuracy in (("worse", 84.0), ("better", 84.5)):
        (folder / f"{name}.json").write_text(json.dumps({**row, "accuracy": accuracy}))
    text = front_page.page(folder, folder.parent / "shapes.json")
    _, _, table = text.partition("| data | network | kind | 12 epochs | 30 epochs |\n")
    assert table.split("\n\n")[0].splitlines()[1:] == ["| cifar10 | resnet20 fd | binary, taught | 83.00 | 84.50 |"]


def test_the_picture_has_every_network(front_page: Any, kept: Callable[..., Path], tmp_path: Path) -> None:
    untimed = ("binary", "resnet8", 79.0, 130_000, {})
    front_page.draw(kept(SLOW_RIVAL, FAST_RIVAL, OURS, untimed), tmp_path / "front.svg")
    drawn = (tmp_path / "front.svg").read_text()
    assert drawn.startswith("<?xml")
    assert [drawn.count(f"<!-- {name} -->") for name in ("resnet20 fd", "resnet8 fd")] == [2, 1]  # in both, in bytes
