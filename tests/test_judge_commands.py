"""Commands about what comes back: scores, the best of several, times of lines, exploring, signing."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from acestep.cli import main
from acestep.cogrun.schema import PROJECT
from acestep.commands.exploring import EXPLORE_EXAMPLE
from acestep.exploring.standing import FILE, read_standing
from acestep.output.tags import read_recipe

from signing_support import identity, pem

SUNG = "[Verse]\nOver the hills and far away\nthe river sings to me"
QUICK = ("--duration", "10", "--steps", "1", "--seed", "7", "--lm", "none")
WORDS = ("generate", "calm piano with soft strings", *QUICK)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_the_best_of_several_is_kept_with_its_lines(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sung = ("--lyrics", SUNG, "--lrc", "--srt", "--vtt")
    assert main([*WORDS, *sung, "--batch-size", "3", "--best", "-o", "song.wav"]) == 0
    assert names(here) == ["song.lrc", "song.srt", "song.vtt", "song.wav"]
    head, best, *others, last = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["song", "seed", "overall"]
    assert len(others) == 2
    seed = int(best.split()[1])
    assert last == f"song.wav  seed {seed}"
    assert read_recipe(here / "song.wav")["seeds"] == [seed]
    assert (here / "song.lrc").read_text().count("Over the hills") == 1
    assert (here / "song.vtt").read_text().startswith("WEBVTT\n")
    assert (here / "song.srt").read_text().startswith("1\n00:00:")
    for kind in ("lrc", "srt", "vtt"):
        assert main(["info", "song.wav", "--lines", kind]) == 0
        assert capsys.readouterr().out == (here / f"song.{kind}").read_text()


def test_scores_are_part_of_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--score", "--json", "-o", "song.wav"]) == 0
    answer = json.loads(capsys.readouterr().out)
    [scores] = answer["scores"]
    assert 0 <= scores["overall"] <= 1
    assert answer["metrics"]["scoring_time"] > 0


def test_without_being_asked_nothing_is_judged(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "-o", "song.wav"]) == 0
    assert capsys.readouterr().out == "song.wav  seed 7\n"
    assert read_recipe(here / "song.wav")["scores"] is None


def test_where_nobody_sings_there_are_no_times(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--lrc", "-o", "song.wav"]) == 0
    assert names(here) == ["song.wav"]
    assert "no line is sung with seed 7: there is no .lrc." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (["--best"], "--best needs several songs to choose from; say --batch-size 4."),
        (["--sign-cert", "a.pem"], "--sign-cert needs --sign-key too."),
        (["--sign-key", "a.pem"], "--sign-key needs --sign-cert too."),
        (["--sign-cert", "no.pem", "--sign-key", "no.pem"], "--sign-cert"),
    ],
)
def test_what_does_not_go_is_told_before_anything_is_made(
    here: Path, capsys: pytest.CaptureFixture[str], said: list[str], sentence: str
) -> None:
    assert main([*WORDS, *said, "-o", "song.wav"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"acestep: {sentence}")
    assert told.count("\n") == 1
    assert names(here) == []


def test_flac_cannot_be_signed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cert.pem", "key.pem"):
        (here / name).write_text("")
    assert main([*WORDS, "--sign-cert", "cert.pem", "--sign-key", "key.pem", "-o", "song.flac"]) == 2
    assert "--format" in capsys.readouterr().err


def test_a_signed_file_says_who_signed_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    singer = identity(here / "singer")
    certificate, key = map(str, singer.files)
    assert main([*WORDS, "--sign-cert", certificate, "--sign-key", key, "-o", "song.mp3"]) == 0
    capsys.readouterr()
    assert main(["info", "song.mp3"]) == 0
    assert "signature   valid, by A. Singer (nobody vouches for that name)" in capsys.readouterr().out
    (here / "authority.pem").write_bytes(pem(singer.authority))
    assert main(["info", "song.mp3", "--signature", "--anchors", "authority.pem"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["trusted"], found["signer"]) == ("valid", True, "A. Singer")
    assert main([*WORDS, "-o", "plain.wav"]) == 0
    capsys.readouterr()
    assert main(["info", "plain.wav", "--signature"]) == 0
    assert json.loads(capsys.readouterr().out) is None


EXPLORE = ("explore", *WORDS[1:], "--keep", "2", "--format", "wav", "-o", "ideas")


def test_exploring_keeps_the_best_and_goes_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*EXPLORE, "--batches", "2"]) == 0
    said = capsys.readouterr().out
    assert "2 songs made; the best so far:" in said
    assert "4 songs made; the best so far:" in said
    assert said.endswith("ideas: the best 2 of 4\n")
    assert len(names(here / "ideas")) == 3
    assert main([*EXPLORE, "--batches", "1"]) == 0
    standing = read_standing(here / "ideas")
    assert standing is not None
    assert standing.made == 6
    assert {7 <= song.seed < 13 for song in standing.best} == {True}
    assert names(here / "ideas") == sorted([FILE, *(song.file for song in standing.best)])


def test_the_clock_ends_an_exploration(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*EXPLORE, "--minutes", "0.0001"]) == 0
    assert capsys.readouterr().out.endswith("ideas: the best 2 of 2\n")


def test_the_example_of_the_help_runs(here: Path) -> None:
    _, command, *said = shlex.split(EXPLORE_EXAMPLE.removeprefix("Example: "))
    assert main([command, *said, "--steps", "1", "--lm", "none", "--batch-size", "1"]) == 0
    standing = read_standing(here / "ideas")
    assert standing is not None
    assert standing.made == 2


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (["--keep", "0"], "--keep must be a whole number from 1 to 100, not 0."),
        (["--batches", "0"], "--batches must be a whole number from 1 on, or None, not 0."),
        (["--minutes", "0"], "--minutes must be above 0, not 0.0."),
        (["--bpm", "7"], "--bpm must be"),
    ],
)
def test_what_explore_refuses(here: Path, capsys: pytest.CaptureFixture[str], said: list[str], sentence: str) -> None:
    assert main([*EXPLORE, *said]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"acestep: {sentence}")
    assert not (here / "ideas" / FILE).exists()


def test_ctrl_c_ends_an_exploration_and_loses_nothing(here: Path) -> None:
    code, said, told = interrupted_once_it_stands(here)
    assert code == 0, told
    assert "stopped; the same command goes on." in told
    standing = read_standing(here / "ideas")
    assert standing is not None
    assert said.endswith(f"ideas: the best {len(standing.best)} of {standing.made}\n")
    assert names(here / "ideas") == sorted([FILE, *(song.file for song in standing.best)])
    assert not [path for path in (here / "ideas").iterdir() if path.name.startswith(".batch-")]


def interrupted_once_it_stands(here: Path) -> tuple[int, str, str]:
    """Exit code, output and errors of an exploration in a process that gets Ctrl-C after its first batch.

    What a shell starts in the background does not hear Ctrl-C, nor do its children; this process does.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "acestep", *EXPLORE]
    settings = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=settings, **pipes) as running:
        signal.signal(signal.SIGINT, before)
        try:
            deadline = time.monotonic() + 60
            while not (here / "ideas" / FILE).exists():
                assert time.monotonic() < deadline, "no first batch"
                time.sleep(0.05)
            running.send_signal(signal.SIGINT)
            said, told = running.communicate(timeout=60)
        finally:
            running.kill()
    return running.returncode, said, told
