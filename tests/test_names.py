"""Names of classes, runs, files and facts, which may hold anything: what is written can be read, and what is shown does
not command the terminal or the page.
"""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from evenbit import plan_file
from evenbit.cli import main
from evenbit.deploy import pack
from evenbit.errors import CaptureError, CheckpointError, PlanError
from evenbit.files import append_line
from evenbit.ops import Flatten, Normalize
from evenbit.plan import Plan
from evenbit.runtime.engine import Engine
from evenbit.sweep import load_sweep, table
from evenbit.train import Recipe
from evenbit.train.checkpoint import Task, read_checkpoint, write_checkpoint
from evenbit.train.metrics import read_metrics

OPS = (Normalize("pixels", "images", "map"), Flatten("flat", "map", "logits"))
NAMES = st.one_of(
    st.text(st.characters(codec=None, categories=None), max_size=12),  # all of Unicode, halves of pairs too
    st.binary(max_size=8).map(os.fsdecode),  # names of folders in any encoding
    st.sampled_from(["", "a\nb", "\x1b[2J", "$x$", "_a", "..", "\u2028", "x" * 10_000]),
)
ATTACK = "a\x1b]52;c;ZXZpbA==\x07\x1b[2J"


def three(names: tuple[Any, ...], info: dict[str, Any] | None = None) -> Plan:
    return Plan(3, 1, 1, names, OPS, "logits", {}, info or {})


def photos(root: Path, *classes: str, count: int = 3) -> Path:
    for level, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (8, 8), (90 * level + index, index, 7)).save(root / name / f"{index}.png")
    return root


@settings(max_examples=200, deadline=None)
@given(names=st.tuples(NAMES, NAMES, NAMES), facts=st.dictionaries(NAMES, NAMES, max_size=2))
def test_what_a_file_takes_both_readers_give_back(names: tuple[str, ...], facts: dict[str, str]) -> None:
    plan = three(names, facts)
    try:
        data = plan_file.to_bytes(plan)
    except PlanError:
        assert any("\ud800" <= c <= "\udfff" for text in (*names, *facts, *facts.values()) for c in text)
        return
    read = plan_file.from_bytes(data)
    assert (read.classes, read.info) == (names, facts)
    assert Engine(read, threads=1)(np.zeros((1, 3, 1, 1), np.uint8)).shape == (1, 3)


@settings(max_examples=60, deadline=None)
@given(names=st.tuples(NAMES, NAMES))
def test_what_a_checkpoint_takes_is_read_again(
    names: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    network = nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(network.parameters())
    task = Task(names, 1, 2, 2, (0.5,), (0.5,))
    try:
        write_checkpoint(folder, Recipe(), task, 0, network, optimizer)
    except CheckpointError:
        assert any("\ud800" <= c <= "\udfff" for text in names for c in text)
        assert not list(folder.iterdir())
        return
    assert read_checkpoint(folder).task == task


@settings(max_examples=60, deadline=None)
@given(label=NAMES)
def test_a_line_of_metrics_and_a_row_of_a_table_stay_one_line(
    label: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    append_line(folder / "metrics.jsonl", json.dumps({"text": label}))
    append_line(folder / "metrics.jsonl", json.dumps({"text": "next"}))
    assert [line["text"] for line in read_metrics(folder, 2)] == [label, "next"]
    numbers = dict.fromkeys(("accuracy_mean", "accuracy_spread", "seconds_per_epoch"), 1.0)
    others = dict.fromkeys(("accuracy_frozen", "gap_points", "balance", "entropy", "window", "packed_bytes"))
    assert table([{"label": label, "seeds": [0], **numbers, **others}]).count("\n") == 3


def test_classes_and_facts_become_text_or_are_refused() -> None:
    network, example = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval(), torch.zeros(1, 3, 1, 1)
    plan = pack(network, example, classes=[0, np.int64(1)], info={"epochs": 5, "data": Path("photos")})
    assert plan.classes == ("0", "1")
    assert plan.info == {"epochs": "5", "data": "photos"}
    assert plan_file.from_bytes(plan_file.to_bytes(plan)).info == plan.info
    for classes, message in (
        ("ab", "classes should be a list of names, but is the text 'ab'"),
        ([torch.zeros(1), "b"], r"a class should be text, but is tensor\(\[0.\]\)"),
        ([b"a", "b"], "a class should be text, but is b'a'"),
        (["a", "\udcff"], r"a class should be text, but is '\\udcff'"),
    ):
        with pytest.raises(CaptureError, match=message):
            pack(network, example, classes=classes)
    with pytest.raises(CaptureError, match="info 'x' should be text, but is None"):
        pack(network, example, info={"x": None})
    for wrong in (three((1, 2, 3)), three(("a", "b", "c"), {"epochs": 5}), three((np.zeros(2), "b", "c"))):
        with pytest.raises(PlanError, match=r"wrong value for|holds a value that a file cannot hold"):
            plan_file.to_bytes(wrong)


def test_names_that_are_not_utf8_are_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = photos(tmp_path / "good", "a", "b"), photos(tmp_path / "bad", "a", os.fsdecode(b"\xff"))
    strange = tmp_path / os.fsdecode(b"r\xff")
    common = ["--model", "mlp", "--epochs", "1", "--set", "image_size=8"]
    for data, out, message in (
        (bad, tmp_path / "run", "bad/\\udcff is not UTF-8; rename it"),
        (strange, tmp_path / "run", "key 'data'"),
        (good, strange, "r\\udcff is not UTF-8; choose another with --out"),
    ):
        assert main(["train", "--data", str(data), "--out", str(out), *common]) == 2
        told = capsys.readouterr().err
        assert message in told
        assert told.count("\n") == 1
        assert not out.exists()


def test_files_do_not_command_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan_file.save(three((ATTACK, "b", "c"), {"model": ATTACK}), tmp_path / "net.evb")
    picture = tmp_path / f"{ATTACK.replace('/', '')}.png"
    Image.new("RGB", (2, 2), "red").save(picture)
    for command in (["predict", str(tmp_path / "net.evb"), str(picture)], ["info", str(tmp_path / "net.evb")]):
        assert main(command) == 0
        shown = capsys.readouterr().out
        assert "\x1b" not in shown
        assert "\x07" not in shown
        assert "\\x1b" in shown
        assert main([*command, "--json"]) == 0
        exact = json.loads(capsys.readouterr().out)
        assert ATTACK in (
            exact[0]["image"].removesuffix(".png").split("/")[-1] if "predict" in command else exact["classes"]
        )


def test_a_name_that_is_not_utf8_is_predicted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan_file.save(three(("r", "g", "b")), tmp_path / "net.evb")
    picture = os.fsdecode(b"\xff.png")
    Image.new("RGB", (2, 2), "lime").save(picture, "PNG")
    assert main(["predict", "net.evb", picture]) == 0
    assert "\\udcff.png" in capfd.readouterr().out


@pytest.mark.filterwarnings("ignore:Starting a Matplotlib GUI")
def test_a_report_shows_names_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from evenbit.report import make_report
    from evenbit.train import load_recipe, train

    monkeypatch.setattr("evenbit.report.timing.TWINS", {})
    data = photos(tmp_path / "data", "$5_$10", "$5 to $10", "e\x1bscape", count=8)
    recipe = load_recipe(None, {"data": str(data), "image_size": 8, "model": "mlp", "epochs": 1, "method": "react"})
    runs = [tmp_path / "a$b$", tmp_path / "_mine"]
    for run in runs:
        train(recipe, run, console=Console(quiet=True))
    make_report(runs, tmp_path / "page.html", images=4)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    drawn = [text.get_text() for text in BeautifulSoup(page, "html.parser").select("svg text")]
    assert {"$5_$10", "$5 to $10", "e\\x1bscape", "a$b$", "_mine"} <= set(drawn)
    assert "\x1b" not in page


def test_an_engine_goes_into_another_process() -> None:
    engine = Engine(three(("a", "b", "c")), threads=2, isa="scalar")
    again = pickle.loads(pickle.dumps(engine))
    images = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1)
    assert again(images).tobytes() == engine(images).tobytes()
    assert (again.threads, again.isa, again.plan.classes) == (2, "scalar", ("a", "b", "c"))


def test_a_sweep_reads_a_label_of_any_text(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text("\ufeff" + '[[run]]\nlabel = "\\u001b[2J"\nmethod = "bnn"\n', encoding="utf-8")
    (entry,) = load_sweep(path).entries
    assert entry.label == "\x1b[2J"
