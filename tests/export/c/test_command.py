from __future__ import annotations

import json
from pathlib import Path

import pytest
from plans import everything

from evenbit import plan_file
from evenbit.cli import main

PLAN = everything(1, 20)


def test_the_command_writes_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan_file.save(PLAN, tmp_path / "net.evb")
    arguments = ["export", str(tmp_path / "net.evb"), "--to", "c", "-o", str(tmp_path / "c"), "--name", "net"]
    assert main(arguments) == 0
    assert "arena_bytes" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == str(tmp_path / "c")
    names = {"net_network.c", "net_network.h", "net_test.c", "evenbit_kernels.h", "Makefile"}
    assert {path.name for path in (tmp_path / "c").iterdir()} == names
    assert "int net_run(const uint8_t *image, float *logits);" in (tmp_path / "c" / "net_network.h").read_text()


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.evb"
    plan_file.save(PLAN, file)
    for arguments, message in (
        ([str(file), "--to", "rust", "-o", str(tmp_path / "c")], "unknown form 'rust'; choose from c, onnx, qonnx"),
        ([str(file), "--to", "c", "-o", str(tmp_path / "no" / "c")], f"{tmp_path / 'no' / 'c'}: No such file"),
        ([str(file), "--to", "c", "-o", str(file)], f"{file} is the network itself"),
        ([str(file), "--to", "c", "-o", __file__], f"{__file__}: "),
        ([str(file), "--to", "c", "-o", str(tmp_path / "c"), "--name", "1"], "'1' cannot begin a name in C"),
        ([str(tmp_path / "gone.evb"), "--to", "c", "-o", str(tmp_path / "c")], "cannot read"),
        ([str(file), "-o", str(tmp_path / "c")], "--to"),
    ):
        assert main(["export", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line, line
    assert not (tmp_path / "c").exists()
