"""The README's blocks run as written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile as sf

from acestep.cogrun.schema import PROJECT
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


def test_the_command_line_blocks(tmp_path: Path) -> None:
    environment = checkout_in(tmp_path)
    environment["ACESTEP_WEIGHTS"] = str(terse_weights(tmp_path / "terse"))  # a planner that does not ramble
    for block in (block for block in blocks("bash") if block.startswith("acestep ")):
        for command in block.strip().splitlines():
            words = command.replace("acestep ", f"{sys.executable} -m acestep ", 1)
            subprocess.run(
                words, shell=True, cwd=tmp_path, env=environment, capture_output=True, timeout=120, check=True
            )
    made = {path.name for path in tmp_path.iterdir() if path.is_file() and not path.is_symlink()}
    assert made == {"song.flac", "plan.json", "take.flac", "wish.flac", "words.json", "codes.txt"}


def test_the_first_block_names_the_two_commands() -> None:
    commands = [line.split()[0] for line in blocks("bash")[0].strip().splitlines()]
    assert commands == ["./script/predict", "./script/test"]
    for command in commands:
        assert os.access(PROJECT / command, os.X_OK)


@pytest.mark.parametrize("name", re.findall(r"`(acestep/[\w/]+\.py|requirements/[\w.]+|script/\w+)`", README))
def test_every_file_it_names_exists(name: str) -> None:
    assert (PROJECT / name).exists()
