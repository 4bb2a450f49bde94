"""The command line through its installed entry point, on the digits and on images made here."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import warm
from evenbit import plan_file
from evenbit.export.c.size import memory_of

EVENBIT = Path(sys.executable).with_name("evenbit")


def run(
    *arguments: object, status: int = 0, cwd: Path | None = None, file_limit: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command; with a limit, no file can grow beyond so many bytes, as on a disk that is full."""
    environment = {**os.environ, "COLUMNS": "80"}
    command = [warm.command("evenbit"), *map(str, arguments)]
    if file_limit is not None:
        command = ["prlimit", f"--fsize={file_limit}", str(EVENBIT), *map(str, arguments)]
        # Where coverage is measured, its own file would not fit either.
        environment = {key: value for key, value in environment.items() if not key.startswith("COVERAGE")}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, check=False)
    assert result.returncode == status, result.stderr + result.stdout
    return result


def fails(*arguments: object, cwd: Path | None = None, file_limit: int | None = None) -> str:
    """The one line that a mistake gives."""
    result = run(*arguments, status=2, cwd=cwd, file_limit=file_limit)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("evenbit: ")
    return line


def answer(*arguments: object, cwd: Path | None = None) -> Any:
    return json.loads(run(*arguments, "--json", cwd=cwd).stdout)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short run on the digits in `run`, and its packed file `net.evb`."""
    folder = tmp_path_factory.mktemp("cli")
    settings = ["--set", "pad=1", "--set", "flip=false", "--set", "batch_size=32"]
    run("train", "--data", "digits", "--model", "resnet8", "--method", "fd", "--epochs", 3, "--out", "run",
        *settings, cwd=folder)  # fmt: skip
    run("pack", "run", "-o", "net.evb", cwd=folder)
    return folder


def test_train_leaves_a_run(work: Path) -> None:
    lines = [json.loads(line) for line in (work / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[-1]["test_accuracy"] > 50
    assert set(lines[-1]["layers"]) == {f"stage{s}.{i}.conv.0" for s in (1, 2, 3) for i in (0, 1)}


def test_run_and_packed_file_have_the_same_accuracy(work: Path) -> None:
    in_torch = answer("eval", work / "run")
    on_engine = answer("eval", work / "net.evb", "--threads", 2)
    assert in_torch["accuracy"] == pytest.approx(on_engine["accuracy"], abs=0.3)  # one of 359 images
    assert in_torch["images"] == on_engine["images"] == 359
    shown = run("eval", work / "net.evb", "--isa", "scalar").stdout
    assert f"test accuracy {on_engine['accuracy']:.2f} % of 359 images" in shown
    assert sum(item["images"] for item in on_engine["classes"]) == 359
    assert f"top-5 accuracy {on_engine['top5']:.2f} %" in shown


def test_resume_of_a_finished_run_changes_nothing(work: Path) -> None:
    before = (work / "run" / "metrics.jsonl").read_bytes()
    shown = run("train", "--resume", "--out", work / "run").stdout
    recorded = json.loads((work / "run" / "metrics.jsonl").read_text().splitlines()[-1])["test_accuracy"]
    assert "all epochs (3) are done; to continue, give a larger number with --epochs\n" in shown
    assert f"test accuracy {recorded:.2f} % of 359 images" in shown
    assert "most often taken for" in shown
    assert f"see the mistakes with: evenbit eval {work / 'run'} --wrong\npack it with: evenbit pack" in shown
    assert f"pack it with: evenbit pack {work / 'run'} -o model.evb\n" in shown
    assert (work / "run" / "metrics.jsonl").read_bytes() == before


def test_interrupted_training_says_how_to_go_on(tmp_path: Path) -> None:
    command = [str(EVENBIT), "train", "digits-resnet8-fd", "--epochs", "1000", "--out", "my run"]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell runs in the background ignores it
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        metrics = tmp_path / "my run" / "metrics.jsonl"
        # The second epoch's line comes after the first epoch's checkpoint.
        while not metrics.is_file() or metrics.read_text().count("\n") < 2:
            time.sleep(0.05)
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, message = process.communicate()
    assert process.returncode == 130
    assert message == "evenbit: stopped; go on with: evenbit train --resume --out 'my run'\n"
    told = run("eval", "my run", cwd=tmp_path)
    hint = "of its 1000 epochs; go on with: evenbit train --resume --out 'my run'"
    assert re.fullmatch(rf"evenbit: my run has done \d+ {hint}\n", told.stderr)
    assert run("pack", "my run", "-o", "net.evb", cwd=tmp_path).stderr == told.stderr
    assert answer("eval", tmp_path / "net.evb")["accuracy"] > 10


def test_info_counts_bits(work: Path) -> None:
    info = answer("info", work / "net.evb")
    assert info["bytes"] == (work / "net.evb").stat().st_size
    convs = [op for op in info["ops"] if op["kind"] == "binary_conv"]
    assert len(convs) == 6
    assert convs[0]["binary_macs"] == 8 * 8 * 16 * 16 * 9
    assert convs[0]["bit_bytes"] == 16 * 9 * 8
    assert info["total"]["bit_bytes"] == sum(op["bit_bytes"] for op in info["ops"])
    text = run("info", work / "net.evb").stdout
    assert "% of the multiply-adds are 1-bit. Float: conv" in " ".join(text.split())
    assert info["header_bytes"] + info["total"]["bit_bytes"] + info["total"]["float_bytes"] == info["bytes"]
    assert f"the other {info['header_bytes']:,} of the file are its header" in " ".join(text.split())
    memory = memory_of(plan_file.load(work / "net.evb"))
    assert (info["as_c"]["flash"], info["as_c"]["ram"]) == (memory.flash, memory.ram)
    assert f"As C for a device it takes about {memory}." in " ".join(text.split())
    assert "stage1.0.conv.1 " in text
    assert max(map(len, text.splitlines())) <= 80


def test_predict_names_classes(work: Path, tmp_path: Path) -> None:
    from evenbit.data import load_dataset

    test = load_dataset("digits").test
    for index in range(10):
        Image.fromarray(test.images[index, 0]).save(tmp_path / f"{index}.png")
    found = answer("predict", work / "net.evb", *(tmp_path / f"{index}.png" for index in range(10)), "--top", 3)
    assert [len(item["classes"]) for item in found] == [3] * 10
    assert sum(item["classes"][0]["class"] == str(test.labels[i]) for i, item in enumerate(found)) >= 5
    assert 0 < found[0]["classes"][2]["probability"] <= found[0]["classes"][0]["probability"] < 1
    assert "0.png" in run("predict", work / "net.evb", tmp_path / "0.png").stdout
    held_out = [item for item in found if not item["unsure"]]
    assert len(held_out) >= 5
    (tmp_path / "plain").mkdir()
    Image.new("L", (8, 8), 255).save(tmp_path / "plain" / "white.png")
    (white,) = answer("predict", work / "net.evb", tmp_path / "plain")
    assert "contrast" in white["unsure"]


def test_bench_has_peers(work: Path) -> None:
    names = ["onnxruntime", "onnxruntime-int8", "openvino-int8"]
    result = answer("bench", work / "net.evb", "--against", ",".join(names), "--rounds", 3, "--batch", 2)
    assert list(result["peers"]) == names
    for peer in result["peers"].values():
        assert peer["ratio"] == pytest.approx(peer["ms"] / result["ours"]["ms"])
    assert result["ours"]["low_ms"] <= result["ours"]["ms"] <= result["ours"]["high_ms"]
    assert "evenbit" in run("bench", work / "net.evb", "--rounds", 2).stdout


def test_larq_needs_an_environment_of_its_own(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENBIT_LARQ_PYTHON", raising=False)
    assert "set EVENBIT_LARQ_PYTHON to a Python that has" in fails("bench", work / "net.evb", "--against", "larq")
    monkeypatch.setenv("EVENBIT_LARQ_PYTHON", str(work / "python"))
    assert "cannot run" in fails("bench", work / "net.evb", "--against", "larq")
    monkeypatch.setenv("EVENBIT_LARQ_PYTHON", "true")  # ends at once
    assert "true cannot build the Larq twin" in fails("bench", work / "net.evb", "--against", "larq")


def test_pack_refuses_options_that_say_nothing(work: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "net.evb")
    assert "--size goes with --untrained; a run has its own" in fails("pack", work / "run", "--size", 64, *out)
    assert "is for a run" in fails("pack", "--untrained", "resnet8", "--freeze-excitation", *out)
    assert "a network takes at most" in fails("pack", "--untrained", "resnet8", "--size", 100_000, *out)
    assert "a layer of mlp would have" in fails("pack", "--untrained", "mlp", "--size", 4_096, *out)
    assert not (tmp_path / "net.evb").exists()


def test_bench_of_too_many_images(work: Path) -> None:
    assert "there is not enough memory" in fails("bench", work / "net.evb", "--batch", 2**31 - 1)
    assert "from 1 to" in fails("bench", work / "net.evb", "--batch", 10**20)


def test_bench_per_layer_compares_with_the_limit(work: Path) -> None:
    result = answer("bench", work / "net.evb", "--per-layer")
    convs = [layer for layer in result["layers"] if layer["op"] == "binary_conv"]
    assert len(convs) == 6
    for layer in convs:
        assert layer["share"] == pytest.approx(layer["gmacs"] / result["limit_gmacs"])
        assert 0 < layer["share"] < 1.2
    kinds = result["kinds"]
    assert sum(kinds.values()) == pytest.approx(sum(layer["us"] for layer in result["layers"]))
    assert kinds["binary_conv"] == pytest.approx(sum(layer["us"] for layer in convs))
    shown = run("bench", work / "net.evb", "--per-layer").stdout
    assert "of limit" in shown
    assert max(map(len, shown.splitlines())) <= 80
    last = " ".join(shown.split())
    assert re.search(r"binary_conv \d+ %,? .* \d+ us in all, \d+ % of it binary sums; ", last)
    assert re.search(r"the longest that are not binary convolutions: \S+ \(\w+ to \S+, \d+ %\), \S+ \(", last)


def test_bench_per_layer_takes_grouped_convolutions(tmp_path: Path) -> None:
    answer("pack", "--untrained", "mobilenet", "-o", tmp_path / "net.evb")
    layers = answer("bench", tmp_path / "net.evb", "--per-layer")["layers"]
    binary = [layer for layer in layers if layer["op"] == "binary_conv"]
    assert {"sums_us" in layer for layer in binary} == {True, False}
    assert all(layer["share"] > 0 for layer in binary)


def test_pack_in_8_bits_says_what_it_costs(work: Path) -> None:
    floats = answer("pack", "run", "-o", "again.evb", cwd=work)
    packed = answer("pack", "run", "-o", "int8.evb", "--float-layers", "int8", cwd=work)
    assert set(packed) - set(floats) == {"float_accuracy", "int8_accuracy"}
    assert abs(packed["float_accuracy"] - packed["int8_accuracy"]) <= 2
    assert packed["bytes"] < floats["bytes"]
    rows = [answer("eval", name, cwd=work)["accuracy"] for name in ("again.evb", "int8.evb")]
    assert rows[0] - rows[1] <= 2
    assert "int8_conv" in run("info", "int8.evb", cwd=work).stdout
    assert 'Invalid value "int4"' in fails("pack", "run", "-o", "x.evb", "--float-layers", "int4", cwd=work)


def test_pack_freezes_excitations(work: Path) -> None:
    floats = answer("pack", "run", "-o", "dynamic.evb", cwd=work)
    packed = answer("pack", "run", "-o", "frozen.evb", "--freeze-excitation", cwd=work)
    assert packed["bytes"] < floats["bytes"]
    assert packed["ops"] < floats["ops"]
    last = json.loads((work / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert abs(answer("eval", "frozen.evb", cwd=work)["accuracy"] - last["test_accuracy_frozen"]) <= 0.5


def test_untrained_resnet18_is_small_and_light(tmp_path: Path) -> None:
    """At most 2.2 MB; one image is classified without torch in at most 90 MB of memory."""
    path = tmp_path / "resnet18.evb"
    run("pack", "--untrained", "resnet18", "--method", "fd", "-o", path)
    assert path.stat().st_size <= 2_200_000
    code = (
        "import sys, numpy as np; from evenbit import Engine\n"
        f"Engine.load({str(path)!r})(np.zeros((1, 3, 32, 32), np.uint8))\n"
        "assert 'torch' not in sys.modules\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(result.stdout) * 1024 <= 90e6


def test_a_file_that_does_not_say_its_data_asks_for_them(tmp_path: Path) -> None:
    run("pack", "--untrained", "resnet8", "-o", tmp_path / "net.evb")
    assert fails("eval", tmp_path / "net.evb").endswith(
        "does not say what it was trained on; name a data set with --data"
    )


def test_nothing_is_left_among_the_photos(tmp_path: Path) -> None:
    for name in ("dark", "light"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(3):
            Image.new("L", (8, 8), index).save(tmp_path / "photos" / name / f"{index}.png")
    told = run("train", "--data", ".", "--method", "float", cwd=tmp_path / "photos", status=2).stderr
    assert told.endswith("runs/photos-resnet8-float lies in the folder of images .; choose another folder with --out\n")
    assert sorted(path.name for path in (tmp_path / "photos").iterdir()) == ["dark", "light"]


def test_a_run_with_knobs_is_resumed_with_one_of_them_named(tmp_path: Path) -> None:
    knobs = ["--set", "knobs.excitation_groups=0", "--set", "knobs.third_moment=false"]
    run("train", "--epochs", 1, "--out", "run", *knobs, cwd=tmp_path)
    run("train", "--resume", "--out", "run", *knobs[:2], cwd=tmp_path)
    assert "trained with another recipe" in fails(
        "train", "--resume", "--out", "run", "--set", "knobs.third_moment=true", cwd=tmp_path
    )


def test_a_folder_of_images_goes_all_the_way(tmp_path: Path, draw_photos: Callable[..., None]) -> None:
    draw_photos(tmp_path / "photos", {"dark": 50, "light": 200}, 20, 24)
    settings = ["--set", "image_size=16", "--set", "batch_size=8", "--set", "pad=0"]
    (tmp_path / "photos" / "dark" / "y.mov").touch()
    flags = ("--model", "resnet8", "--epochs", 4, "--out", "run", *settings)
    told = run("train", "--data", "photos", *flags, cwd=tmp_path).stdout
    assert "\nphotos: 1 file is skipped: 1 .mov; save images of other kinds as JPEG or PNG\n" in told
    told = run("pack", "run", "-o", "net.evb", cwd=tmp_path).stderr
    unmarked = r"answers of net\.evb will not be marked 'unsure', since this needs 20 held-out images, not \d+"
    assert re.fullmatch(rf"evenbit: {unmarked}\n", told)
    assert answer("eval", "net.evb", cwd=tmp_path)["accuracy"] == 100
    (guess,) = answer("predict", "net.evb", "photos/light/3.png", cwd=tmp_path)
    assert guess["classes"][0]["class"] == "light"
    _elsewhere_the_photos_are_found(tmp_path)
    _a_photo_in_the_wrong_folder_is_named(tmp_path)


def _elsewhere_the_photos_are_found(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    there = {"cwd": folder / "elsewhere"}
    assert answer("eval", "../run", **there)["accuracy"] == 100
    assert answer("probe", "../run", **there)["layers"]
    assert "test accuracy 100.00 %" in run("train", "--resume", "--out", "../run", **there).stdout
    run("pack", "../run", "-o", "int8.evb", "--float-layers", "int8", **there)
    told = "was trained on the folder photos, which is not here; say where it is with --data"
    assert fails("eval", "../net.evb", **there) == f"evenbit: ../net.evb {told}"
    assert answer("eval", "../net.evb", "--data", "../photos", **there)["accuracy"] == 100
    (guess,) = answer("predict", "../photos/light/3.png", "../net.evb", "--top", 1, **there)
    assert guess["classes"][0]["class"] == "light"


def _a_photo_in_the_wrong_folder_is_named(folder: Path) -> None:
    for part, level in (("train", 50), ("test", 50)):
        for name in ("dark", "light"):
            (folder / "laid" / part / name).mkdir(parents=True)
            Image.new("RGB", (20, 24), (level if name == "dark" else 200,) * 3).save(
                folder / "laid" / part / name / "x.png"
            )
    Image.new("RGB", (20, 24), (200,) * 3).save(folder / "laid" / "test" / "dark" / "y.png")
    for path in ("run", "net.evb"):
        result = answer("eval", path, "--data", "laid", "--wrong", cwd=folder)
        (wrong,) = result["wrong"]
        assert (wrong["image"], wrong["class"], wrong["named"]) == ("laid/test/dark/y.png", "dark", "light")
        assert 0.5 < wrong["certainty"] <= 1
        assert (result["accuracy"], result["balanced_accuracy"]) == (pytest.approx(200 / 3), 75)
        assert "laid/test/dark/y.png" in run("eval", path, "--data", "laid", "--wrong", cwd=folder).stdout
    told = run("eval", "net.evb", "--wrong", cwd=folder)
    assert "no image is classified wrong" in told.stdout
    assert told.stderr == ""
    told = run("eval", "net.evb", "--data", "photos", cwd=folder)
    assert told.stderr.startswith("evenbit: photos: 1 file is skipped: 1 .mov; ")
    (folder / "laid" / "train" / "dark" / "z.png").symlink_to(folder / "laid" / "test" / "dark" / "y.png")
    result = answer("eval", "net.evb", "--data", "laid", "--wrong", "--all", cwd=folder)
    assert {(one["part"], Path(one["image"]).name) for one in result["wrong"]} == {
        ("test", "y.png"),
        ("train", "z.png"),
    }
    assert result["train"]["accuracy"] == pytest.approx(200 / 3)
    told = run("eval", "net.evb", "--data", "laid", "--wrong", "--all", cwd=folder)
    assert "\ntraining accuracy 66.67 % of 3 images\n" in told.stdout
    assert "images, which the network has learned from\n" in run("eval", "net.evb", "--all", cwd=folder).stdout
    assert re.search(r"dark +light +[\d.]+ % +train  laid/train/dark/z.png", told.stdout)
    assert "wrong" not in answer("eval", "net.evb", cwd=folder)


def test_mistakes_are_one_line(work: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"no image")
    (tmp_path / "cut.evb").write_bytes((work / "net.evb").read_bytes()[:-10])
    (tmp_path / "recipe.toml").write_text("epoch = 3\n")
    assert "unknown key 'epoch'; did you mean 'epochs'" in fails("train", tmp_path / "recipe.toml")
    assert "unknown method 'fdd'" in fails("train", "--method", "fdd", "--out", tmp_path / "x")
    assert "exists and is not empty" in fails("train", "digits-resnet8-fd", "--out", work / "run")
    assert "unknown data set 'cats'" in fails("train", "--data", "cats", "--out", tmp_path / "x")
    assert "it needs data_batch_1.bin" in fails("train", "cifar10-resnet20-fd", "--data-root", tmp_path, "--out", "x")
    assert "gone does not exist" in fails("pack", tmp_path / "gone", "-o", tmp_path / "y.evb")
    assert "nowhere: no such folder" in fails("pack", work / "run", "-o", tmp_path / "nowhere" / "y.evb")
    assert "give either" in fails("pack", "-o", tmp_path / "y.evb")
    assert "No such file" in fails("info", tmp_path / "gone.evb")
    for command in (("info",), ("bench",), ("export", "--to", "c", "-o", tmp_path / "c")):
        told = fails(command[0], work / "run", *command[1:])
        assert told.endswith(f"a packed network is needed; pack it: evenbit pack {work / 'run'} -o model.evb")
    assert "is a folder, not a recipe; to train on its images, give it as --data" in fails("train", work)
    assert "is a run, not a recipe; continue it with --resume --out, or" in fails("train", work / "run")
    assert "is truncated" in fails("predict", tmp_path / "cut.evb", tmp_path / "photo.png")
    assert "photo.png cannot be read as an image" in fails("predict", work / "net.evb", tmp_path / "photo.png")
    assert "give at least one photo" in fails("predict", work / "net.evb")
    assert "give one packed network, not 2: " in fails("predict", work / "net.evb", "x.png", "y.evb")
    told = "does not expect 'b' 'c'; see evenbit eval --help"
    assert fails("eval", "a", "b", "c") == f"evenbit: evenbit eval {told}"
    assert fails("eval") == "evenbit: evenbit eval needs PATH; see evenbit eval --help"
    assert fails("pack", work / "run") == "evenbit: evenbit pack needs a value for --out; see evenbit pack --help"
    assert "needs a value for --threads" in fails("eval", work / "net.evb", "--threads")
    assert "unknown peer 'tflite'; choose from onnxruntime" in fails("bench", work / "net.evb", "--against", "tflite")
    assert "unknown instruction set 'mmx'" in fails("eval", work / "net.evb", "--isa", "mmx")
    assert "--epochs" in fails("train", "--epochs", "many")
    assert "unknown command 'trian'; did you mean 'train'?" in fails("trian")
    assert "it is empty" in fails("export", work / "net.evb", "--to", "c", "-o", "")
    checkpoint = work / "run" / "checkpoint.safetensors"
    assert "is the checkpoint of a run, which is not replaced" in fails("pack", work / "run", "-o", checkpoint)
    assert not (tmp_path / "x").exists()


def test_where_there_is_no_room_nothing_is_overwritten(work: Path, tmp_path: Path) -> None:
    for name in ("net.evb", "net.onnx"):
        (tmp_path / name).write_bytes(b"old")
    for name, command in {
        "net.evb": ("pack", work / "run", "-o", tmp_path / "net.evb"),
        "net.onnx": ("export", work / "net.evb", "--to", "onnx", "-o", tmp_path / "net.onnx"),
        "c/evenbit_network.h": ("export", work / "net.evb", "--to", "c", "-o", tmp_path / "c"),
        "run/checkpoint.safetensors": ("train", "digits-resnet8-fd", "--out", tmp_path / "run"),
    }.items():
        assert fails(*command, file_limit=1000) == f"evenbit: {tmp_path / name}: File too large"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["net.evb", "net.onnx"]
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"old"}


def test_two_trainings_into_one_folder_are_refused(tmp_path: Path) -> None:
    from evenbit.train.lock import locked

    with locked(tmp_path / "run"):
        told = fails("train", "digits-resnet8-fd", "--out", tmp_path / "run")
        assert f"another process is training in {tmp_path / 'run'}" in told
        (tmp_path / "run" / "theirs").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["theirs"]


def test_a_closed_output_is_no_error(work: Path) -> None:
    command = shlex.join([sys.executable, "-m", "evenbit", "info", str(work / "net.evb")])
    for end in (">&-", "| true"):
        ended = subprocess.run(["bash", "-o", "pipefail", "-c", f"{command} {end}"], capture_output=True, check=True)
        assert ended.stderr == b""


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = run("info", tmp_path / "gone.evb", "--debug", status=1)
    assert "Traceback" in result.stderr


def test_help_and_version_name_the_program() -> None:
    assert "train" in run("--help").stdout
    assert run("--version").stdout.strip() == "0.1.0"
