"""The page as a browser reads it, and its numbers against what the runs recorded."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bs4 import BeautifulSoup, Tag
from PIL import Image
from rich.console import Console
from torch.optim import AdamW

from evenbit import plan_file
from evenbit.confidence import calibrated
from evenbit.data import load_dataset
from evenbit.deploy import pack_run
from evenbit.errors import CheckpointError, EvenbitError, RecipeError
from evenbit.evaluation import evaluate
from evenbit.export import EXPORTERS
from evenbit.export.c.size import CALL_BYTES, KERNEL_BYTES
from evenbit.report import make_report
from evenbit.report.collect import _check_same_task
from evenbit.report.words import clearest_layer
from evenbit.summary import summarize, total
from evenbit.train import Run, load_recipe, load_run, read_checkpoint, torch_predict, train
from evenbit.train.augmented import augmented
from evenbit.train.checkpoint import build_model, write_checkpoint


@pytest.fixture(scope="module")
def soup(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture
def without_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other runtimes, which take longest to prepare, are left out."""
    monkeypatch.setattr("evenbit.report.timing.TWINS", {})


def last_metrics(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    return found


def one(soup: BeautifulSoup, selector: str) -> Tag:
    (found,) = soup.select(selector)
    return found


def test_it_needs_nothing_but_itself(page: Path, soup: BeautifulSoup) -> None:
    assert page.stat().st_size <= 1_500_000
    assert not soup.find_all(["script", "iframe", "object", "embed"])
    for tag in soup.find_all(True):
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert tag.get(name, "#").startswith(("#", "data:")), tag.name
        assert not any(name.startswith("on") for name in tag.attrs)
    assert "url(" not in one(soup, "style").text
    assert "@import" not in one(soup, "style").text


def test_every_figure_has_a_caption_and_a_text_for_those_who_do_not_see_it(soup: BeautifulSoup) -> None:
    figures = soup.find_all("figure")
    # Curves, entropies, 6 layers of 2 runs, 3 confusion matrices, bits and floats, 3 networks; the others are images.
    assert len(soup.select("figure > svg")) == 2 + 1 + 6 * 2 + 3 + 1 + 3
    assert len(soup.select("figure > img")) >= 8
    for figure in figures:
        assert len(one(figure, "figcaption").text.split()) >= 2
        (picture,) = figure.find_all(["svg", "img"], recursive=False)
        assert len((picture.get("aria-label") or picture["alt"]).split()) >= 5
        assert picture.name == "img" or picture["role"] == "img"


def test_ids_are_unique_and_references_lead_somewhere(page: Path, soup: BeautifulSoup) -> None:
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))
    text = page.read_text(encoding="utf-8")
    references = re.findall(r'(?:href|aria-labelledby)="#?([^":]+)"|url\(#([^)]+)\)', text)
    assert len(references) > 20
    assert {first or second for first, second in references} <= set(ids)


def test_colours_are_those_of_the_page_in_light_and_dark(soup: BeautifulSoup) -> None:
    style = one(soup, "style").text
    assert style.count("--plus:") == 3  # light, dark and print
    known = set(re.findall(r"(--\w+):", style))
    for svg in soup.find_all("svg"):
        used = set(re.findall(r"var\((--\w+)\)", str(svg)))
        assert "--ink" in used
        assert used <= known
        assert not re.search(r"#0[0-9a]\d{4}", str(svg))


def test_accuracies_and_sizes_are_those_of_the_runs(soup: BeautifulSoup, runs: list[Path]) -> None:
    rows = soup.select("#runs tbody tr")
    assert [row["data-run"] for row in rows] == ["float", "react", "fd"]
    for row, run in zip(rows, runs, strict=True):
        assert one(row, "[data-value=accuracy]").text == f"{last_metrics(run)['test_accuracy']:.2f} %"
        plan = pack_run(run)
        assert one(row, "[data-value=bytes]").text == f"{len(plan_file.to_bytes(plan)):,}"
        sums = total(summarize(plan))
        table = one(soup, f"[data-parts={run.name}]")
        for key, value in sums.items():
            assert one(table, f"[data-value={key}]").text == f"{value:,}"


def test_layers_are_those_that_training_recorded(soup: BeautifulSoup, runs: list[Path]) -> None:
    for run in runs[1:]:
        metrics = last_metrics(run)
        rows = soup.select(f"#layer-numbers tr[data-run={run.name}]")
        assert [row["data-layer"] for row in rows] == list(metrics["layers"])
        for row in rows:
            recorded = metrics["layers"][row["data-layer"]]["entropy"]
            assert float(one(row, "[data-value=entropy]").text) == pytest.approx(recorded, abs=1e-3)
        mean = float(one(soup, f"#runs tr[data-run={run.name}] [data-value=entropy]").text)
        assert mean == pytest.approx(metrics["entropy"], abs=1e-3)


def test_confusion_matrices_count_the_right_answers(soup: BeautifulSoup, runs: list[Path]) -> None:
    for run, figure in zip(runs, soup.select("#classes figure"), strict=True):
        right = round(last_metrics(run)["test_accuracy"] * 359 / 100)
        assert f"{run.name}: {right} of 359 test images are right" in figure.figcaption.text
        numbers = [int(text.text) for text in figure.find_all("text") if "6.5px" in text["style"]]
        assert sum(numbers) == 359
        told = [title.text for title in figure.find_all("title")]
        assert len(told) == len(numbers)
        assert sum(int(text.split(": ")[1].split()[0]) for text in told if "recognized" in text) == right


def test_it_says_how_each_run_was_made(soup: BeautifulSoup, runs: list[Path]) -> None:
    for run in runs:
        origin = load_run(run).origin
        assert origin is not None
        article = one(soup, f"[data-origin={run.name}]")
        assert article.code.text == origin.command
        assert one(article, "[data-value=seed]").text == "5"
        assert origin.versions["torch"] in article.text
        assert (origin.commit or "not run from a git checkout") in article.text
        assert "batch_size = 32" in article.text


@pytest.mark.usefixtures("without_twins")
def test_what_was_not_recorded_is_said(runs: list[Path], tmp_path: Path) -> None:
    checkpoint = read_checkpoint(runs[2])
    (tmp_path / "old").mkdir()
    model = build_model(checkpoint.recipe, checkpoint.task)
    checkpoint.load_model(model)
    write_checkpoint(tmp_path / "old", checkpoint.recipe, checkpoint.task, 2, model, AdamW(model.parameters()))
    make_report([tmp_path / "old"], tmp_path / "report.html", images=20)
    soup = BeautifulSoup((tmp_path / "report.html").read_text(encoding="utf-8"), "html.parser")
    assert "old: not recorded" in one(soup, "#training").text
    cells = {row.th.text: row.td.text for row in one(soup, "[data-origin=old]").find_all("tr")}
    assert [cells[key] for key in ("command", "versions", "commit", "machine", "time")] == ["not recorded"] * 5


def test_a_runtime_that_is_not_installed_is_not_measured(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else real(name))
    make_report(runs[:1], tmp_path / "report.html")
    soup = BeautifulSoup((tmp_path / "report.html").read_text(encoding="utf-8"), "html.parser")
    rows = [[cell.text for cell in row.find_all("td")] for row in soup.select("#timings tbody tr")]
    how = "not measured: this peer needs the package onnxruntime; pip install 'evenbit[bench]'"
    assert [row[1] for row in rows[1:]] == [how, how]
    assert rows[0][0] == "float, evenbit"
    assert float(rows[0][3].removesuffix(" ms")) > 0
    assert "None of these runs has binary layers" in one(soup, "#layers").text
    accuracy = f"{last_metrics(runs[0])['test_accuracy']:.2f} %"
    assert one(soup, "#short").li.text == f"float, which has real numbers, gets {accuracy} of the images right."


def test_a_network_that_cannot_be_packed_is_reported_without_its_file(runs: list[Path], tmp_path: Path) -> None:
    overrides = {"epochs": 1, "knobs": {"binary_weights": False, "excitation_groups": 0}}
    train(load_recipe("digits-resnet8-fd", overrides), tmp_path / "first", console=Console(quiet=True))
    make_report([tmp_path / "first"], tmp_path / "report.html", images=20)
    soup = BeautifulSoup((tmp_path / "report.html").read_text(encoding="utf-8"), "html.parser")
    assert "first cannot be packed: the weights are real" in one(soup, "#parts").text
    assert "none of the runs can be packed" in one(soup, "#speed").text


@pytest.mark.usefixtures("without_twins")
def test_runs_of_one_name_are_told_apart(runs: list[Path], tmp_path: Path) -> None:
    shutil.copytree(runs[0], tmp_path / "float")
    make_report([runs[0], tmp_path / "float"], tmp_path / "report.html")
    soup = BeautifulSoup((tmp_path / "report.html").read_text(encoding="utf-8"), "html.parser")
    names = [f"{folder.name}/float" for folder in (runs[0].parent, tmp_path)]
    assert [row["data-run"] for row in soup.select("#runs tbody tr")] == names


def refusal(runs: list[Path], out: Path, **options: Any) -> str:
    with pytest.raises((EvenbitError, OSError)) as caught:
        make_report(runs, out, **options)
    assert not out.is_file()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_mistakes_are_refused_in_one_line(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert "name the folder of at least one run" in refusal([], out)
    assert "at least 1, but is 0" in refusal(runs, out, images=0)
    assert "is named twice" in refusal([*runs, runs[0]], out)
    assert "holds no trained network" in refusal([tmp_path], out)
    assert "no such folder" in refusal(runs, tmp_path / "gone" / "report.html")
    checkpoint = read_checkpoint(runs[0])
    recipe = checkpoint.recipe.model_copy(update={"validation": 0.25})
    model = build_model(recipe, checkpoint.task)
    (tmp_path / "other").mkdir()
    write_checkpoint(tmp_path / "other", recipe, checkpoint.task, 1, model, AdamW(model.parameters()))
    with pytest.raises(RecipeError, match=r"on the same images, but validation is 0.* and 0.25 in "):
        make_report([runs[0], tmp_path / "other"], out)
    (tmp_path / "photos").mkdir()
    one, other = (
        Run(recipe.model_copy(update={"data": data}), checkpoint.task, 1, model, None)
        for data in (f"{tmp_path}/photos", f"{tmp_path}/photos/../photos/")
    )
    _check_same_task(runs[0], one, runs[1], other)  # the same folder, however it is spelled
    shutil.copytree(runs[0], tmp_path / "torn")
    (tmp_path / "torn" / "metrics.jsonl").write_text('{"epoch": 1, "tr')
    with pytest.raises(CheckpointError, match="a line is not JSON"):
        make_report([tmp_path / "torn"], out)


def test_what_a_reader_asks_first_comes_first(soup: BeautifulSoup) -> None:
    order = [section["id"] for section in soup.find_all("section")]
    assert order[:4] == ["short", "classes", "mistakes", "device"]
    assert [link["href"] for link in one(soup, "nav").find_all("a")] == [f"#{name}" for name in order]


def test_accuracies_by_class_are_those_of_the_evaluation(soup: BeautifulSoup, runs: list[Path]) -> None:
    test = load_dataset("digits").test
    results = [evaluate(torch_predict(load_run(run).model), test) for run in runs]
    rows = soup.select("#by-class tbody tr")
    assert len(rows) == 10
    for label, row in enumerate(rows):
        cells = [cell.text for cell in row.find_all("td")]
        assert cells[:2] == [str(label), str((test.labels == label).sum())]
        assert cells[2:5] == [f"{result.by_class[label]:.2f} %" for result in results]
        taken = results[2].taken_for(label)
        assert cells[5] == (f"{taken[0]} ({taken[1]})" if taken else "")
    for run, result in zip(runs, results, strict=True):
        assert one(soup, f"[data-balanced={run.name}]").text == f"{result.balanced_accuracy:.2f} %"


def test_memory_on_a_device_is_that_of_the_export(soup: BeautifulSoup, runs: list[Path], tmp_path: Path) -> None:
    for run in runs[1:]:
        plan = pack_run(run)
        exported = EXPORTERS["c"](plan, tmp_path / run.name)
        row = one(soup, f"#memory tr[data-run={run.name}]")
        flash = exported["constant_bytes"] + KERNEL_BYTES + CALL_BYTES * len(plan.ops)
        flash += sum(4 + 4 * (len(name) // 4 + 1) for name in plan.classes)  # a pointer to each name, and the name
        assert one(row, "[data-value=flash]").text == f"{flash / 1024:.1f} KiB"
        assert one(row, "[data-value=ram]").text == f"{exported['arena_bytes'] / 1024:.1f} KiB"


def test_the_drawing_has_the_bytes_of_the_file(soup: BeautifulSoup, runs: list[Path]) -> None:
    for run, figure in zip(runs, soup.select("#parts figure")[1:], strict=True):
        sums = total(summarize(pack_run(run)))
        told = [title.text for title in figure.find_all("title")]
        for kind, key in (("bits", "bit_bytes"), ("floats", "float_bytes")):
            found = [text.split(": ")[1].split()[0] for text in told if text.endswith(f"bytes of {kind}")]
            assert sum(int(number.replace(",", "")) for number in found) == sums[key]
        assert "stage1.0: gives 8x8x16" in told
        assert len([text for text in told if text.endswith("µs")]) == len(figure.find_all("title")) / 4


def test_values_of_the_curves_are_told_where_the_mouse_rests(soup: BeautifulSoup, runs: list[Path]) -> None:
    told = [title.text for title in soup.select("#training figure")[0].find_all("title")]
    for run in runs:
        assert f"{run.name}, epoch 2: {last_metrics(run)['test_accuracy']:.4g} % on the test images" in told
    assert len(told) == 6


@pytest.mark.usefixtures("without_twins")
def test_runs_of_different_length_are_flagged(runs: list[Path], tmp_path: Path) -> None:
    train(
        load_recipe("digits-resnet8-fd", {"epochs": 1, "method": "bnn"}), tmp_path / "bnn", console=Console(quiet=True)
    )
    make_report([str(runs[2]), str(tmp_path / "bnn")], str(tmp_path / "report.html"), images=20)
    soup = BeautifulSoup((tmp_path / "report.html").read_text(encoding="utf-8"), "html.parser")
    assert (
        "not trained equally long (epochs: fd 2, bnn 1), so do not compare their accuracies."
        in one(soup, "#short").text
    )
    assert "This page shows how much" not in one(soup, "#short").text
    assert "To see how much, train a float run beside it" in one(soup, "#short").text


@pytest.mark.parametrize(
    ("gain", "told"),
    [
        (0.2, "gain most from the adjustment"),
        (0.004, "by less than 0.01 in every layer"),
        (-0.1, "in this one they lose least"),
    ],
)
def test_what_is_not_seen_in_two_digits_is_no_gain(gain: float, told: str) -> None:
    def distribution(entropy: float) -> SimpleNamespace:
        return SimpleNamespace(probe=SimpleNamespace(entropy=entropy))

    layer = SimpleNamespace(before=distribution(0.7), after=distribution(0.7 + gain), adjusted=True)
    comparison = SimpleNamespace(runs=[SimpleNamespace(layers={"conv": layer})])
    name, why = clearest_layer(comparison)  # type: ignore[arg-type]
    assert name == "conv"
    assert told in why


def test_samples_are_the_first_images_and_the_surest_mistakes(soup: BeautifulSoup, runs: list[Path]) -> None:
    test = load_dataset("digits").test
    mistakes = calibrated(evaluate(torch_predict(load_run(runs[2]).model), test)).mistakes()[:12]
    first = one(soup, "#images .samples").find_all("figure")
    assert [figure.strong.text for figure in first] == [str(digit) for digit in range(8)]
    for figure, item in zip(one(soup, "#mistakes .samples").find_all("figure"), mistakes, strict=True):
        assert figure.strong.text == item.label
        told = figure.find_all("li")[2].text.replace("\xa0", " ")
        assert told == f"fd: {item.given} ({100 * item.certainty:.0f} %) ✗"
        assert figure.find_all("li")[2]["class"] == ["wrong"]


def test_training_images_are_shown_as_the_network_is_shown_them(soup: BeautifulSoup, runs: list[Path]) -> None:
    source = one(soup, "#shown img")["src"]
    with Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,")))) as image:
        seen = np.asarray(image)
    recipe = load_run(runs[0]).recipe
    first = augmented(recipe, load_dataset("digits").train.images[:6], 4)
    height, width = first.shape[3:]
    assert seen.shape == (4 * (height + 2), 6 * (width + 2), 3)
    for row in range(4):
        for column in range(6):
            top, left = row * (height + 2) + 1, column * (width + 2) + 1
            assert np.array_equal(seen[top : top + height, left : left + width, 0], first[row, column, 0])
    assert f"pad={recipe.pad}" in one(soup, "#shown figcaption").text
