"""The command line as a person uses it: real processes, exit codes, one-line errors, nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile as sf

from acestep.cli import main
from acestep.cogrun.schema import PROJECT


def acestep(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "acestep", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(PROJECT)}


def test_generate_then_info(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("[Verse]\nla la la\n")
    made = acestep(
        "generate",
        "calm piano",
        "--lyrics",
        "words.txt",
        "--duration",
        "10",
        "--seed",
        "4",
        "-o",
        "song.flac",
        cwd=tmp_path,
    )
    assert (made.returncode, made.stdout) == (0, "song.flac  seed 4\n"), made.stderr
    assert sf.info(tmp_path / "song.flac").frames == 480_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["song.flac", "words.txt"]
    told = acestep("info", "song.flac", cwd=tmp_path)
    recipe = json.loads(told.stdout)
    assert recipe["parameters"]["lyrics"] == "[Verse]\nla la la"
    assert recipe["seeds"] == [4]


def test_a_batch_is_numbered(tmp_path: Path) -> None:
    made = acestep(
        "generate", "x", "--duration", "10", "--batch-size", "2", "--seed", "1", "-o", "a.ogg", cwd=tmp_path
    )
    assert made.stdout == "a-1.ogg  seed 1\na-2.ogg  seed 2\n", made.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-1.ogg", "a-2.ogg"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["generate", "x", "--duration", "5", "-o", "a.wav"], 2, "Invalid audio duration"),
        (["generate", "x", "--key", "H minor", "-o", "a.wav"], 2, "keyscale 'H minor' is not a key"),
        (["generate", "x", "--model", "nope", "-o", "a.wav"], 2, "model 'nope' is unknown"),
        (["generate", "x", "-o", "a.xyz"], 2, "output 'a.xyz' is unknown; choose one of: NAME.wav"),
        (["generate", "x", "--format", "wav24", "-o", "a.flac"], 2, "output must end in .wav for the format wav24"),
        (["generate", "x", "-o", "n" * 300 + ".wav"], 2, "output: File name too long"),
        (["generate", "", "-o", "new/folder/a.wav"], 2, "caption and lyrics are both empty"),
        (["generate", "x", "--reference", "none.wav", "-o", "a.wav"], 2, "reference_audio"),
        (
            ["generate", "x", "--model", "acestep-v15-turbo", "-o", "a.wav"],
            1,
            "Model not loaded: acestep-v15-turbo needs",
        ),
        (["generate", "x", "--device", "cuda", "-o", "a.wav"], 1, "no CUDA device is available"),
        (["generate", "x", "--device", "tpu", "-o", "a.wav"], 2, "device 'tpu' is unknown"),
        (["info", "none.wav"], 2, "none.wav"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    arguments: list[str],
    code: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("acestep: ")
    assert sentence in last
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["generate", "x", "-o", str(tmp_path / "file" / "a.wav")]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_a_folder_is_no_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.wav").mkdir()
    assert main(["generate", "x", "-o", str(tmp_path / "d.wav")]) == 2
    assert "output 'd.wav' is a folder" in capsys.readouterr().err


def test_warnings_are_shown(tmp_path: Path) -> None:
    made = acestep("generate", "x", "--duration", "10", "--guidance", "12", "-o", "a.wav", cwd=tmp_path)
    assert "acestep: --guidance has no effect: tiny runs without guidance." in made.stderr


def test_json_answers_like_a_prediction(tmp_path: Path) -> None:
    command = ["generate", "x", "--lm", "none", "--duration", "10", "--seed", "1", "--batch-size", "2", "--json"]
    command += ["--guidance", "12"]
    made = acestep(*command, "-o", "a.wav", cwd=tmp_path)
    answer = json.loads(made.stdout)
    assert (answer["status"], answer["error"]) == ("succeeded", None)
    assert answer["output"] == ["a-1.wav", "a-2.wav"]
    assert (answer["seeds"], answer["model"]) == ([1, 2], "tiny")
    assert answer["warnings"] == ["guidance_scale has no effect: tiny runs without guidance."]
    assert answer["metrics"]["dit_total_time_cost"] > 0


def test_json_answers_for_errors_too(tmp_path: Path) -> None:
    made = acestep("generate", "x", "--duration", "5", "--json", "-o", "a.wav", cwd=tmp_path)
    answer = json.loads(made.stdout)
    assert (made.returncode, answer["status"], answer["output"]) == (2, "failed", None)
    assert answer["error"].startswith("Invalid audio duration")
    assert made.stderr == f"acestep: {answer['error']}\n"


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["generate", "--help"])
    assert "Example: acestep generate" in capsys.readouterr().out
