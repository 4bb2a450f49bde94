from __future__ import annotations

import builtins
import json
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from evenbit import doctor
from evenbit.cli import main
from evenbit.doctor import diagnose
from evenbit.runtime.engine import isas


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVENBIT_ISA", "EVENBIT_DATA"):
        monkeypatch.delenv(name, raising=False)


def test_it_tells_versions_and_instruction_sets() -> None:
    found = diagnose()
    assert found["evenbit"] == metadata.version("evenbit")
    assert found["packages"]["numpy"] == metadata.version("numpy")
    assert found["isas"] == list(isas())
    assert found["isa"] == isas()[0]
    assert found["torch"].startswith("computes on ")
    assert "avx512" not in found["isas"] or "avx512_vpopcntdq" in found["cpu"]["features"]


def test_a_wrong_choice_of_instruction_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENBIT_ISA", "scalar")
    assert diagnose()["isa"] == "scalar"
    monkeypatch.setenv("EVENBIT_ISA", "mmx")
    assert diagnose()["isa"].startswith("unknown instruction set 'mmx'")


def test_missing_and_broken_packages_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def broken(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "torch":
            raise OSError("libtorch.so:\n no such file")
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", broken)
    assert diagnose()["torch"] == "does not load: libtorch.so: no such file"
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    assert diagnose()["packages"]["torch"] is None
    assert diagnose()["torch"].startswith("not installed")


def test_data_sets_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "svhn"
    folder.mkdir()
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (folder / name).touch()
    assert diagnose(str(tmp_path))["data"]["svhn"] == str(folder)
    assert diagnose(str(tmp_path))["data"]["cifar10"] is None
    assert diagnose()["data"]["svhn"] is None
    monkeypatch.setenv("EVENBIT_DATA", str(tmp_path))
    assert diagnose()["data"]["svhn"] == str(folder)


def test_the_command_prints_a_table_or_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(diagnose()))
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["tiny-imagenet", "not", "found"] for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_and_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["--install-completion", "--shell", "bash"]) == 0
    script = tmp_path / ".local/share/bash-completion/completions/evenbit"
    assert str(script) in capsys.readouterr().out
    assert str(script) in (tmp_path / ".bashrc").read_text()

    def complete(*words: str) -> list[str]:
        code = f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}"
        code += '; $(complete -p evenbit | sed "s/.*-F \\([^ ]*\\).*/\\1/"); printf "%s\\n" "${COMPREPLY[@]}"'
        return subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert complete("evenbit", "pred") == ["predict"]
    assert "--float-layers" in complete("evenbit", "pack", "--fl")


def test_an_unknown_shell_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--install-completion", "--shell", "tcsh"]) == 2
    assert 'Invalid value "tcsh"' in capsys.readouterr().err
