from __future__ import annotations

import csv
import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evenbit import plan_file
from evenbit.cli import main
from evenbit.errors import InputError, PlanError
from evenbit.ops import Flatten, Normalize
from evenbit.plan import Plan
from evenbit.predict import BATCH, predict_images

OPS = (Normalize("pixels", "images", "map"), Flatten("flat", "map", "logits"))


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A network on one pixel: its logits are the red, green and blue of the photo, 0 to 1."""
    plan_file.save(Plan(3, 1, 1, ("red", "lime", "blue"), OPS, "logits", {}), tmp_path / "net.evb")
    return tmp_path / "net.evb"


def photo(path: Path, colour: str) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.new("RGB", (3, 5), colour).save(path)
    return path


def best(found: list[dict]) -> list[str]:
    return [item["classes"][0]["class"] if "classes" in item else "?" for item in found]


def test_a_probability_is_the_softmax(network: Path, tmp_path: Path) -> None:
    (item,) = predict_images(network, [photo(tmp_path / "x.png", "lime")])
    assert item["image"] == str(tmp_path / "x.png")
    assert best([item]) == ["lime"]
    assert [guess["probability"] for guess in item["classes"]] == pytest.approx(
        [np.e / (np.e + 2), 1 / (np.e + 2), 1 / (np.e + 2)]
    )


@pytest.mark.parametrize("name", ["net.EVB", "net"])
def test_the_command_knows_a_network_by_its_content(
    network: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = network.rename(tmp_path / name)
    assert main(["predict", str(other), str(photo(tmp_path / "x.png", "blue")), "--csv"]) == 0
    assert "blue" in capsys.readouterr().out


def test_a_folder_is_all_its_photos_in_order(network: Path, tmp_path: Path) -> None:
    for name, colour in (("b.png", "blue"), ("a/z.JPG", "red"), ("c/d/e.webp", "lime"), (".hidden/x.png", "red")):
        photo(tmp_path / "all" / name, colour)
    (tmp_path / "all" / "notes.txt").write_text("no photo")
    single = photo(tmp_path / "single.png", "blue")
    found = predict_images(network, [tmp_path / "all", single])
    names = [str(Path(item["image"]).relative_to(tmp_path)) for item in found]
    assert names == ["all/a/z.JPG", "all/b.png", "all/c/d/e.webp", "single.png"]
    assert best(found) == ["red", "blue", "lime", "blue"]


def test_folders_that_are_links_are_followed_once(network: Path, tmp_path: Path) -> None:
    photo(tmp_path / "real" / "x.png", "blue")
    photo(tmp_path / "all" / "a.png", "red")
    (tmp_path / "all" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "all" / "around").symlink_to(tmp_path / "all")
    (tmp_path / "all" / "gone.png").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "all" / "pipe.png")
    found = predict_images(network, [tmp_path / "all"])
    assert [Path(item["image"]).name for item in found] == ["a.png", "gone.png", "x.png"]
    assert best(found) == ["red", "?", "blue"]


def test_bad_folders_do_not_stop_the_others(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = photo(tmp_path / "good" / "x.png", "red")
    photo(tmp_path / "good" / "closed" / "y.png", "red")
    (tmp_path / "empty").mkdir()
    scan = os.scandir

    def refused(path: str) -> object:  # by the system's rights, which do not bind an administrator
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    found = predict_images(network, [tmp_path / "empty", tmp_path / "good"])
    assert [item["image"] for item in found] == [
        str(tmp_path / "empty"),
        str(tmp_path / "good" / "closed"),
        str(good),
    ]
    assert best(found) == ["?", "?", "red"]
    assert [item["error"].rpartition("/")[2] for item in found[:2]] == [
        "empty holds no images",
        "closed: Permission denied",
    ]


def test_a_photo_is_not_taken_for_a_network(network: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    gif = photo(tmp_path / "x.gif", "blue")
    Image.new("RGB", (3, ord("{")), "blue").save(gif)  # its ninth byte is that of a network's file
    assert gif.read_bytes()[8:9] == b"{"
    assert main(["predict", str(network), str(gif), "--csv"]) == 0
    assert "blue" in capfd.readouterr().out
    command = f"cat {gif} | {sys.executable} -m evenbit predict {network} /dev/stdin --csv"
    piped = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert "blue" in piped.stdout


def test_bad_photos_do_not_stop_the_others(network: Path, tmp_path: Path) -> None:
    good = photo(tmp_path / "good.png", "red")
    (tmp_path / "bad.png").write_text("no photo")
    found = predict_images(network, [tmp_path / "bad.png", good, tmp_path / "none.png"], top=1)
    assert best(found) == ["?", "red", "?"]
    assert "bad.png cannot be read as an image" in found[0]["error"]
    assert "none.png does not exist" in found[2]["error"]
    assert best(predict_images(network, [tmp_path / "bad.png"])) == ["?"]


def test_many_photos_are_told_in_batches(network: Path, tmp_path: Path) -> None:
    for index in range(BATCH + 3):
        photo(tmp_path / "many" / f"{index:03}.png", ("red", "blue")[index % 2])
    told: list[tuple[float, float]] = []
    found = predict_images(network, [tmp_path / "many"], progress=lambda *values: told.append(values))
    assert best(found) == [("red", "blue")[index % 2] for index in range(BATCH + 3)]
    assert told == [(BATCH, BATCH + 3), (BATCH + 3, BATCH + 3)]


def test_mistakes_are_told(network: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        predict_images(network, [tmp_path / "empty"])
    with pytest.raises(InputError, match="give at least one photo"):
        predict_images(network, [])
    with pytest.raises(InputError, match="should be at least 1, but is 0"):
        predict_images(network, [tmp_path / "x.png"], top=0)
    with pytest.raises(PlanError, match="No such file"):
        predict_images(tmp_path / "none.evb", [tmp_path / "x.png"])


def test_networks_of_other_channels_take_no_photos(tmp_path: Path) -> None:
    plan_file.save(Plan(4, 1, 1, tuple("abcd"), OPS, "logits", {}), tmp_path / "net.evb")
    with pytest.raises(InputError, match="1 or 3 channels, but the network takes 4"):
        predict_images(tmp_path / "net.evb", [tmp_path / "x.png"])


def test_the_command_tells_what_it_could_and_ends_with_2(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")  # so that a long path is not folded
    good = photo(tmp_path / "good.png", "red")
    bad = tmp_path / "bad.png"
    bad.write_text("no photo")
    assert main(["predict", str(network), str(bad), str(good)]) == 2
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[1].split() == [str(good), "red", "57.6", "%"]
    assert lines[-2:] == [
        "the network saw the middle of each photo, in colour and 1x1 pixels",
        "there are 3 classes: red, lime, blue",
    ]
    (line,) = told.err.splitlines()
    assert line.startswith(f"evenbit: {bad} cannot be read")
    assert main(["predict", str(network), str(good)]) == 0


def test_json_and_csv_hold_the_same(network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = [str(photo(tmp_path / name, "lime")) for name in ("a.png", 'b, "c".png')]
    assert main(["predict", str(network), *photos, "--json", "--top", "2"]) == 0
    items = json.loads(capsys.readouterr().out)
    assert main(["predict", str(network), *photos, "--csv", "--top", "2"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["image"] for row in rows] == [photos[0]] * 2 + [photos[1]] * 2
    assert [row["rank"] for row in rows] == ["1", "2"] * 2
    guesses = [guess for item in items for guess in item["classes"]]
    assert [row["class"] for row in rows] == [guess["class"] for guess in guesses]
    assert [float(row["probability"]) for row in rows] == [guess["probability"] for guess in guesses]
    assert main(["predict", str(network), *photos, "--csv", "--json"]) == 2
    assert "choose one of --csv and --json" in capsys.readouterr().err


def test_a_table_of_several_photos_has_a_line_for_each(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [str(photo(tmp_path / f"{name}.png", name)) for name in ("red", "lime")]
    for asked, lines in ((photos, 2), (photos[:1], 3), ([*photos, "--top", "2"], 4)):
        assert main(["predict", str(network), *asked]) == 0
        assert capsys.readouterr().out.count("%") == lines
    assert main(["predict", str(network), *photos, "--json"]) == 0
    assert [len(item["classes"]) for item in json.loads(capsys.readouterr().out)] == [3, 3]


def test_without_a_network_the_one_that_comes_along_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(photo(tmp_path / "x.png", "blue")), "--top", "1"]) == 0
    assert "this is the network that comes with evenbit" in capsys.readouterr().out


def test_a_run_is_no_packed_network(network: Path, tmp_path: Path) -> None:
    (tmp_path / "my run").mkdir()
    (tmp_path / "my run" / "checkpoint.safetensors").touch()
    with pytest.raises(InputError, match=r"is a run.*pack it: evenbit pack '.*my run' -o model.evb"):
        predict_images(None, [tmp_path / "my run", photo(tmp_path / "x.png", "red")])


def sure_network(folder: Path, **info: str) -> Path:
    """A network on one pixel whose file says how sure it may be: of what is red, green or blue, in strong colours."""
    known = {"temperature": "0.1", "certainty": "0.9", "contrast": "0 to 0", "detail": "0 to 0", "colour": "60 to 200"}
    plan = Plan(3, 1, 1, ("red", "lime", "blue"), OPS, "logits", {}, {**known, **info})
    plan_file.save(plan, folder / "sure.evb")
    return folder / "sure.evb"


def test_an_answer_of_little_certainty_or_to_an_unusual_photo_is_unsure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    network = sure_network(tmp_path)
    photos = [photo(tmp_path / f"{name}.png", name) for name in ("red", "yellow", "gray")]
    found = predict_images(network, photos)
    assert [item["unsure"] for item in found] == [[], ["certainty"], ["certainty", "colour"]]
    assert found[0]["classes"][0]["probability"] == pytest.approx(1 / (1 + 2 * np.exp(-10)))  # at the temperature
    assert main(["predict", str(network), *map(str, photos), "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [str(photos[0]), "red", "100.0", "%"]
    assert lines[2].split("%")[1].strip() == "unsure: no class is likely"
    assert lines[3].split("%")[1].strip() == "unsure: no class is likely; unusual colour"
    assert lines[4].startswith("unusual: hardly any image that the network was trained or tested on has such contrast")
    assert main(["predict", str(network), *map(str, photos), "--top", "1", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["unsure"] for row in rows] == ["", "certainty", "certainty colour"]


@pytest.mark.parametrize("damage", [{"temperature": "warm"}, {"temperature": "0"}, {"colour": "much"}, {"detail": ""}])
def test_what_a_file_says_wrongly_of_its_certainty_is_not_used(tmp_path: Path, damage: dict[str, str]) -> None:
    (item,) = predict_images(sure_network(tmp_path, **damage), [photo(tmp_path / "x.png", "red")])
    assert "unsure" not in item
    assert item["classes"][0]["probability"] == pytest.approx(np.e / (np.e + 2))
