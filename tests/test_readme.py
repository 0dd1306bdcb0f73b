"""The README's blocks run as written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile as sf

from acestep.cli import main
from acestep.cogrun.schema import PROJECT
from acestep.commands.editing import COMMANDS
from acestep.constants import SAMPLE_RATE

from terse_planner import terse_weights

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def checkout_in(folder: Path) -> dict[str, str]:
    """A working folder that looks like the checkout, without being it; the environment to run in it."""
    for name in ("weights", "predict.py", "acestep", "pyproject.toml"):
        (folder / name).symlink_to(PROJECT / name)
    return {**os.environ, "PYTHONPATH": str(PROJECT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_the_first_command_makes_a_song_file(tmp_path: Path) -> None:
    command = blocks("bash")[0].splitlines()[0].partition("#")[0].strip()
    words = f"{command} -o {tmp_path / 'output.wav'}"
    subprocess.run(words, shell=True, cwd=PROJECT, capture_output=True, timeout=600, check=True)
    assert sf.info(tmp_path / "output.wav").frames == 20 * SAMPLE_RATE


def test_the_python_block(tmp_path: Path) -> None:
    [code] = blocks("python")
    environment = checkout_in(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert Path(tmp_path, run.stdout.strip()).is_file()


def test_the_command_line_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other in one folder; within this process, for a new one takes longer than what it does."""
    checkout_in(tmp_path)
    monkeypatch.setenv("ACESTEP_WEIGHTS", str(terse_weights(tmp_path / "terse")))  # a planner that does not ramble
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("acestep ")]
    for line in (line for line in lines if line.startswith("printf ")):
        subprocess.run(line, shell=True, check=True)
    assert {line.split()[1] for line in commands} >= {row.name for row in COMMANDS}
    for command in commands:
        assert main(shlex.split(command, comments=True)[1:]) == 0, command
    made = {path.name for path in tmp_path.iterdir() if path.is_file() and not path.is_symlink()}
    assert made == {
        *("song.flac", "funk.flac", "plan.json", "take.flac", "wish.flac", "words.json", "codes.txt"),
        *("song.wav", "cover.flac", "repainted.wav", "longer.wav", "with_guitar.wav", "backing.wav", "harp.wav"),
        *("stems-vocals.wav", "stems-drums.wav", "stems-without_vocals_drums.wav", "joined.wav"),
        *("swing.wav", "quartet.wav"),
        *("words.txt", "best.mp3", "best.lrc", "again.mp3"),
    }


def test_the_first_block_names_the_two_commands() -> None:
    commands = [line.split()[0] for line in blocks("bash")[0].strip().splitlines()]
    assert commands == ["./script/predict", "./script/test"]
    for command in commands:
        assert os.access(PROJECT / command, os.X_OK)


@pytest.mark.parametrize("name", re.findall(r"`(acestep/[\w/]+\.py|requirements/[\w.]+|script/\w+)`", README))
def test_every_file_it_names_exists(name: str) -> None:
    assert (PROJECT / name).exists()
