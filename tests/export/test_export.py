"""The command `evenbit export`: what it writes, and what it says of mistakes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from executors import FORMS, exported, logits, without_float_sums

from evenbit import plan_file
from evenbit.cli import main
from evenbit.errors import ExportError
from evenbit.export import EXPORTERS, graph


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "net.evb"
    plan_file.save(without_float_sums(0, 16), path)
    return path


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a mistake gives."""
    assert main([*map(str, arguments)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    return line


@pytest.mark.parametrize("form", FORMS)
def test_it_writes_a_file_and_says_so(packed: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = packed.with_name("model.onnx")
    assert main(["export", str(packed), "--to", form, "-o", str(out), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row == {"file": str(out), "bytes": out.stat().st_size, "nodes": len(onnx.load(out).graph.node)}
    assert {path.name for path in out.parent.iterdir()} == {"net.evb", "model.onnx"}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_plan_gives_the_same_bytes(packed: Path, form: str) -> None:
    files = [packed.with_name(name) for name in ("a.onnx", "b.onnx")]
    for file in files:
        EXPORTERS[form](plan_file.load(packed), file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_mistakes_are_told_in_one_line(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = packed.with_name("model.onnx")
    assert "unknown form 'onx'; did you mean 'onnx'" in fails(capsys, "export", packed, "--to", "onx", "-o", out)
    assert "missing.evb" in fails(capsys, "export", packed.with_name("missing.evb"), "--to", "onnx", "-o", out)
    nowhere = packed.parent / "nowhere" / "model.onnx"
    assert "no such folder" in fails(capsys, "export", packed, "--to", "onnx", "-o", nowhere)
    assert not out.exists()


def test_what_does_not_fit_leaves_the_old_file(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = packed.with_name("model.onnx")
    out.write_bytes(b"old")
    monkeypatch.setattr(graph, "MAX_BYTES", 10_000)
    with pytest.raises(ExportError, match=r"takes [\d,]+ bytes as ONNX, which allows at most 10,000"):
        EXPORTERS["onnx"](plan_file.load(packed), out)
    assert out.read_bytes() == b"old"


def test_without_onnx_it_says_what_to_install(packed: Path) -> None:
    code = f"""
import sys
from evenbit.cli import main
sys.modules["onnx"] = None
sys.exit(main(["export", {str(packed)!r}, "--to", "onnx", "-o", {str(packed.with_name("m.onnx"))!r}]))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "evenbit: this command needs the package 'onnx'; pip install 'evenbit[export]'\n"


def test_it_needs_no_torch() -> None:
    forbidden = "{'torch', 'evenbit.runtime._core'}"
    code = f"import sys, evenbit.export.onnx, evenbit.export.qonnx; assert not {forbidden} & {{*sys.modules}}"
    subprocess.run([sys.executable, "-c", code], check=True)


def renamed(item: Any, names: dict[str, str]) -> Any:
    """A part of a Plan with other names."""
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        fields = {field.name: renamed(getattr(item, field.name), names) for field in dataclasses.fields(item)}
        return dataclasses.replace(item, **fields)
    if isinstance(item, tuple):
        return tuple(renamed(part, names) for part in item)
    return names.get(item, item) if isinstance(item, str) else item


@pytest.mark.parametrize("form", FORMS)
def test_names_of_a_plan_may_be_those_of_the_graph(form: str) -> None:
    plan = without_float_sums(3, 16)
    images = np.random.default_rng(0).random((2, plan.channels, plan.height, plan.width), np.float32)
    expected = logits(exported(plan, form), form, images)
    taken = exported(plan, form).graph
    values = [name for name in plan.shapes() if name != "images"]
    others = ["logits", *(node.name for node in taken.node[:-1]), *(tensor.name for tensor in taken.initializer)]
    free = [name for name in others if name not in plan.tensors]
    names = dict(zip([*values, *plan.tensors], free, strict=False))
    tensors = {names.get(name, name): array for name, array in plan.tensors.items()}
    ops = tuple(renamed(op, names) for op in plan.ops)
    clashing = dataclasses.replace(plan, ops=ops, tensors=tensors, output=names[plan.output])
    assert "logits" in clashing.shapes()
    assert np.array_equal(logits(exported(clashing, form), form, images), expected)
