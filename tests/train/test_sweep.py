from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from evenbit import sweep as module
from evenbit.cli import main
from evenbit.errors import CheckpointError, RecipeError
from evenbit.sweep import compared_with_twins, finished_rows, load_sweep, run_sweep, table

QUIET = Console(quiet=True)


def write(path: Path, pictures: Path, runs: str) -> Path:
    base = f'name = "tiny"\nseeds = [0]\n[base]\ndata = "{pictures}"\nimage_size = 8\nbatch_size = 8\nepochs = 1\n'
    path.write_text(base + runs)
    return path


RUNS = """
[[run]]
method = "float"
[[run]]
label = "fd, no excitation"
method = "fd"
seeds = [0, 3]
knobs = { excitation_groups = 0 }
[[run]]
label = "first step"
method = "fd"
knobs = { binary_weights = false }
"""


def test_a_sweep_is_trained_once_and_gives_a_table(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = load_sweep(write(tmp_path / "s.toml", pictures, RUNS))
    trained = []
    real = module.train
    monkeypatch.setattr(
        module, "train", lambda recipe, folder, **kw: trained.append(folder.name) or real(recipe, folder, **kw)
    )
    rows = run_sweep(sweep, tmp_path / "out", data_root=None, console=QUIET)
    assert trained == ["float-seed0", "fd-no-excitation-seed0", "fd-no-excitation-seed3", "first-step-seed0"]
    assert [row["label"] for row in rows] == ["float", "fd, no excitation", "first step"]
    fd = rows[1]
    lines = [
        json.loads((tmp_path / "out" / f"fd-no-excitation-seed{seed}" / "metrics.jsonl").read_text()) for seed in (0, 3)
    ]
    accuracies = [line["test_accuracy"] for line in lines]
    assert fd["accuracies"] == accuracies
    assert fd["accuracy_mean"] == pytest.approx(sum(accuracies) / 2)
    assert fd["accuracy_spread"] == pytest.approx(max(accuracies) - min(accuracies))
    assert fd["gap_points"] == pytest.approx(rows[0]["accuracy_mean"] - fd["accuracy_mean"])
    assert fd["seeds"] == [0, 3]
    assert fd["packed_bytes"] > 1000
    assert rows[2]["packed_bytes"] is None
    assert run_sweep(sweep, tmp_path / "out", data_root=None, console=QUIET) == rows
    assert len(trained) == 4
    header, _, *lines = table(rows).splitlines()
    cells = {line.split("|")[1].strip(): dict(zip(header.split("|"), line.split("|"), strict=True)) for line in lines}
    assert cells["fd, no excitation"][" gap "].strip() == f"{fd['gap_points']:.2f}"
    assert cells["fd, no excitation"][" .evb bytes "].strip() == f"{fd['packed_bytes']:,}"
    assert cells["first step"][" .evb bytes "].strip() == ""
    assert table([{**fd, "label": "a | b"}]).splitlines()[-1].startswith(r"| a \| b | 0, 3 |")


def test_a_stopped_sweep_goes_on(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = load_sweep(write(tmp_path / "s.toml", pictures, '[[run]]\nmethod = "fd"\nepochs = 3\n'))
    straight = run_sweep(sweep, tmp_path / "straight", data_root=None, console=QUIET)
    real = module.train

    def stop(recipe, folder, **options):
        from evenbit.train import loop

        epoch = loop._Training._epoch

        def limited(self, number):
            if number == 1:
                raise KeyboardInterrupt
            return epoch(self, number)

        with monkeypatch.context() as patch:
            patch.setattr(loop._Training, "_epoch", limited)
            real(recipe, folder, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, "train", stop)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(sweep, tmp_path / "stopped", data_root=None, console=QUIET)
    assert len((tmp_path / "stopped" / "fd-seed0" / "metrics.jsonl").read_text().splitlines()) == 1
    resumed = run_sweep(sweep, tmp_path / "stopped", data_root=None, console=QUIET)
    assert resumed[0]["accuracies"] == straight[0]["accuracies"]


def test_a_run_that_fails_leaves_the_others_their_rows(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = '[[run]]\nlabel = "wild"\nmethod = "float"\nlearning_rate = 1e30\n[[run]]\nmethod = "fd"\n'
    path, results = write(tmp_path / "s.toml", pictures, runs), tmp_path / "rows.json"
    assert main(["sweep", str(path), "--out", str(tmp_path / "out"), "--results", str(results)]) == 2
    assert [row["label"] for row in json.loads(results.read_text())["rows"]] == ["fd"]
    printed = capsys.readouterr()
    assert "the loss is not finite" in " ".join(printed.out.split())
    assert "the loss did not stay finite in 'wild', seed 0" in printed.err


def test_twins_have_the_same_blocks_and_images() -> None:
    def row(method: str, accuracy: float, size: int = 32, held: float = 0, **knobs: bool) -> dict[str, object]:
        recipe = {"knobs": knobs, "image_size": size, "validation": held}
        task = {"model": "resnet20", "dataset": "cifar10", "epochs": 8, "recipe": recipe}
        return {**task, "method": method, "accuracy_mean": accuracy}

    rows = [row("float", 84.0), row("fd", 80.0), row("fd", 82.0, double_skip=True)]
    assert [found["gap_points"] for found in compared_with_twins(rows)] == [None, 4.0, None]
    rows.append(row("float", 85.0, double_skip=True))
    assert [found["gap_points"] for found in compared_with_twins(rows)] == [None, 4.0, 3.0, None]
    rows = [row("float", 90.0, size=64), row("float", 91.0, held=0.1), row("float", 92.0, held=0.2)]
    rows += [row("fd", 80.0), row("fd", 80.0, size=64), row("fd", 80.0, held=0.2)]
    assert [found["gap_points"] for found in compared_with_twins(rows)] == [None, None, None, None, 10.0, 12.0]


def test_a_run_of_another_recipe_is_not_taken_for_finished(tmp_path: Path, pictures: Path) -> None:
    run_sweep(
        load_sweep(write(tmp_path / "s.toml", pictures, '[[run]]\nmethod = "fd"\n')),
        tmp_path / "out",
        data_root=None,
        console=QUIET,
    )
    other = load_sweep(write(tmp_path / "s.toml", pictures, '[[run]]\nmethod = "fd"\nflip = true\n'))
    with pytest.raises(CheckpointError, match="was trained with another recipe"):
        run_sweep(other, tmp_path / "out", data_root=None, console=QUIET)


def test_a_run_without_all_of_its_metrics_has_no_row(tmp_path: Path, pictures: Path) -> None:
    sweep = load_sweep(write(tmp_path / "s.toml", pictures, '[[run]]\nmethod = "float"\n'))
    run_sweep(sweep, tmp_path / "out", data_root=None, console=QUIET)
    (tmp_path / "out" / "float-seed0" / "metrics.jsonl").unlink()
    with pytest.raises(CheckpointError, match=r"float-seed0/metrics.jsonl holds 0 of the 1 epochs"):
        finished_rows(sweep, tmp_path / "out")


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ("", r"has no \[\[run\]\] table"),
        ('[[run]]\nmethod = "fdd"\n', "'fdd': unknown method 'fdd'"),
        ('[[run]]\nmethod = "fd"\nepoch = 1\n', "'fd': unknown key 'epoch'; did you mean 'epochs'"),
        ('[[run]]\nmethod = "fd"\n[[run]]\nmethod = "fd"\n', "the runs 'fd' and 'fd' would share a folder"),
        ('[[run]]\nlabel = "a b"\n[[run]]\nlabel = "A-B"\n', "the runs 'a b' and 'A-B' would share a folder"),
        ('[[run]]\nmethod = "fd"\nseed = 3\n', r"run 1: a sweep takes a list of seeds: seeds = \[3\]"),
        ("[[run]]\nknobs = 1\n", "have to be TOML tables"),
        ('[[run]]\nmethod = "fd"\nseeds = []\n', "seeds should be a list of different numbers"),
        ('[[run]]\nmethod = "fd"\n[more]\n', "unknown key 'more'"),
        ("[[run]\n", "is not valid TOML"),
    ],
)
def test_bad_sweeps_are_named(tmp_path: Path, pictures: Path, runs: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_sweep(write(tmp_path / "s.toml", pictures, runs))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run = [1]\n", "have to be TOML tables"),
        ("base = 1\n[[run]]\n", "have to be TOML tables"),
        ("seeds = [[]]\n[[run]]\n", "seeds should be a list of different numbers"),
        ("seeds = 3\n[[run]]\n", "seeds should be a list of different numbers"),
        ("run = " + "[" * 100_000, "is nested too deeply"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_sweep(tmp_path / "s.toml")


SWEEPS = sorted((Path(__file__).parents[2] / "sweeps").glob("*.toml"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_sweeps_of_this_project_can_be_loaded(path: Path) -> None:
    sweep = load_sweep(path)
    assert sweep.name == path.stem
    assert path.name in path.read_text().splitlines()[1], "the second line is the command"
