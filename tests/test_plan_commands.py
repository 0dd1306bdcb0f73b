"""``acestep plan``, ``render``, ``write``, ``understand``, ``codes``: files between them, exit codes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile as sf

from acestep.cli import main
from acestep.cogrun.schema import PROJECT
from acestep.llm_inference import LLMHandler
from acestep.output.tags import read_recipe
from acestep.planner.plan_file import read_plan

from terse_planner import planned, terse_weights

FIXED = ("--keep-caption", "--bpm", "90", "--key", "am", "--timesignature", "3", "--language", "en")


@pytest.fixture(scope="module")
def terse_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return terse_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def folder(tmp_path: Path, terse_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, in which the planner is terse."""
    monkeypatch.setenv("ACESTEP_WEIGHTS", str(terse_root))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> None:
    assert main(arguments) == 0


def process(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command as a person runs it."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "acestep", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def samples_of(path: Path) -> bytes:
    return sf.read(path, dtype="int32")[0].tobytes()


def test_a_plan_is_edited_by_hand_and_played(folder: Path) -> None:
    run("plan", "calm piano", "--duration", "12", "--lyrics", "[Verse]\nla", "--seed", "3", *FIXED, "-o", "plan.json")
    plan = read_plan(folder / "plan.json")
    assert (plan.caption, plan.lyrics, len(plan.audio_codes)) == ("calm piano", "[Verse]\nla", 60)
    raw = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    assert raw["metadata"] == {
        "bpm": 90,
        "keyscale": "A minor",
        "timesignature": "3",
        "duration": 12.0,
        "language": "en",
    }
    raw["metadata"] |= {"bpm": 120, "duration": 11}
    raw["audio_codes"] = raw["audio_codes"][:-5]
    (folder / "edited.json").write_text(json.dumps(raw))
    for name in ("a.flac", "b.flac"):
        run("render", "edited.json", "--seed", "4", "-o", name)
    run("render", "edited.json", "--seed", "5", "-o", "c.flac")
    recipe = read_recipe(folder / "a.flac")
    assert recipe["plan"] == raw
    assert (recipe["parameters"]["bpm"], recipe["models"]["lm"], recipe["seeds"]) == (120, None, [4])
    assert sf.info(folder / "a.flac").frames == 11 * 48_000
    assert samples_of(folder / "a.flac") == samples_of(folder / "b.flac") != samples_of(folder / "c.flac")
    assert len(list(folder.iterdir())) == 5


def test_a_plan_is_that_of_the_python_door(
    folder: Path, terse: LLMHandler, capsys: pytest.CaptureFixture[str]
) -> None:
    sampling = ("--temperature", "0.8", "--top-k", "200", "--top-p", "0.8", "--lm-guidance", "3")
    run("plan", "calm piano", "--duration", "10", "--seed", "3", *sampling)
    printed = capsys.readouterr()
    settings = {"lm_temperature": 0.8, "lm_top_k": 200, "lm_top_p": 0.8, "lm_cfg_scale": 3.0}
    made = planned(terse, seed=3, use_cot_caption=True, **settings)
    assert json.loads(printed.out) == made.plans[0].to_dict()
    assert f"  bpm: {made.chains[0].bpm}\n" in printed.err
    assert "planner tiny on cpu, float32 by native" in printed.err


def test_a_wish_is_planned(folder: Path) -> None:
    run("plan", "a soft love song", "--simple", "--duration", "10", "--seed", "1", "-o", "plan.json")
    plan = read_plan(folder / "plan.json")
    assert plan.caption not in ("", "a soft love song")
    assert plan.lyrics
    run("plan", "a dance", "--simple", "--instrumental", "--duration", "10", "-o", "plan.json")
    assert read_plan(folder / "plan.json").lyrics == "[Instrumental]"


def test_generate_plans_and_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("generate", "calm piano", "--duration", "10", "--seed", "3", *FIXED, "-o", "a.flac", "--json")
    answer = json.loads(capsys.readouterr().out)
    assert answer["plan"]["bpm"] == 90
    assert answer["metrics"]["lm_phase2_time"] > 0
    recipe = read_recipe(folder / "a.flac")
    assert recipe["models"]["lm"]["name"] == "tiny"
    assert len(recipe["plan"]["audio_codes"]) == 50
    run("generate", "calm piano", "--duration", "10", "--lm", "none", "-o", "b.flac")
    recipe = read_recipe(folder / "b.flac")
    assert (recipe["models"]["lm"], recipe["plan"]["audio_codes"]) == (None, [])


def test_a_song_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("write", "a soft Bengali love song", "--language", "bn", "--seed", "2")
    printed = capsys.readouterr()
    song = json.loads(printed.out)
    assert (song["language"], song["seed"]) == ("bn", 2)
    assert song["caption"]
    assert f"  bpm: {song['bpm']}\n" in printed.err
    run("write", "a soft Bengali love song", "--language", "bn", "--seed", "2", "-o", "song.json")
    assert json.loads((folder / "song.json").read_text(encoding="utf-8")) == song


def test_codes_are_shown_heard_and_played(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("generate", "calm piano", "--duration", "10", "--seed", "3", "--lm", "none", "-o", "a.wav")
    run("codes", "a.wav", "-o", "codes.txt")
    codes = (folder / "codes.txt").read_text().strip()
    assert codes.count("<|audio_code_") == 50
    capsys.readouterr()
    told = []
    for heard in ("a.wav", "codes.txt"):
        run("understand", heard, "--seed", "1")
        told.append(json.loads(capsys.readouterr().out))
    assert told[0] == told[1]
    assert told[0]["duration"] == 10.0
    run("generate", "organ", "--codes", "codes.txt", "--lm", "none", "-o", "b.wav")
    assert len(read_recipe(folder / "b.wav")["plan"]["audio_codes"]) == 50


def test_commands_as_processes(folder: Path) -> None:
    made = process("plan", "calm piano", "--duration", "10", *FIXED, "--seed", "3", folder=folder)
    assert made.returncode == 0, made.stderr
    assert len(json.loads(made.stdout)["audio_codes"]) == 50
    told = process("write", "rain", "--seed", "1", "--top-p", "0", folder=folder)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.splitlines()[-1] == "acestep: --top-p must be a number from 0.01 to 1, not 0.0."


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["plan", ""], 2, "TEXT and lyrics are both empty"),
        (["plan", "x", "--duration", "5"], 2, "Invalid audio duration"),
        (["plan", "x", "--language", "xx"], 2, "--language 'xx' is unknown"),
        (["plan", "x", "--temperature", "-1"], 2, "--temperature must be a number from 0 to 2, not -1.0."),
        (["plan", "x", "--lm-guidance", "0.5"], 2, "--lm-guidance must be a number from 1 to 10, not 0.5."),
        (["plan", "x", "--simple", "--lyrics", "la"], 2, "--lyrics does not go with --simple TEXT 'x'"),
        (["plan", "x", "--lm", "none"], 2, "--lm 'none' is no planner here; name one."),
        (["plan", "x", "--lm", "nope"], 2, "--lm 'nope' is unknown"),
        (["plan", "x", "--lm", "acestep-5Hz-lm-0.6B"], 1, "Model not loaded: acestep-5Hz-lm-0.6B needs the folders"),
        (["plan", "x", "--backend", "mlx"], 2, "--backend 'mlx' is unknown"),
        (["plan", "x", "--lyrics", "雨" * 200, "--duration", "5"], 2, "Invalid audio duration"),
        (
            ["render", "absent.json", "-o", "a.wav"],
            2,
            "PLAN.json 'absent.json' cannot be read: No such file or directory.",
        ),
        (["write", " "], 2, "TEXT is blank; describe the song in one line."),
        (["write", "x", "--language", "xx"], 2, "--language 'xx' is unknown"),
        (["understand", "absent.wav"], 2, "FILE 'absent.wav' cannot be read: No such file or directory."),
        (["codes", "absent.wav"], 2, "FILE: 'absent.wav' does not exist."),
        (["generate", "x", "--codes", "1,2", "--lm", "none", "-o", "a.wav"], 2, "--codes holds '1,2'"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_errors_are_one_line_and_leave_nothing(
    arguments: list[str], code: int, sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1].startswith("acestep: ")
    assert sentence in printed.err.splitlines()[-1]
    assert printed.out == ""
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("<|audio_code_1|>é", "FILE 'codes.txt' holds more than <|audio_code_N|> tokens."),
        ("<|audio_code_1|>" * 50 + "x", "FILE holds 'x'; write only <|audio_code_N|> tokens."),
        ("<|audio_code_1|>" * 49, "Invalid audio duration: FILE must be 10 to 600 seconds, not 9.8."),
        ("just words", "codes.txt"),
    ],
    ids=["letters", "junk", "short", "words"],
)
def test_files_without_codes_are_refused(
    content: str, sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "codes.txt").write_text(content, encoding="utf-8")
    assert main(["understand", "codes.txt"]) == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[1]", "PLAN.json must be a JSON object, not [1]."),
        ('{"caption": "x", "metadata": {"bpm": 5}}', "bpm must be from 30 to 300, not 5."),
        ('{"caption": "x", "metadata": {"keyscale": "H"}}', "keyscale 'H' is not a key;"),
        ('{"caption": "x", "metadata": {"language": "xx"}}', "language 'xx' is unknown;"),
        ('{"caption": "x", "metadata": {"duration": 5}}', "duration must be from 10 to 600 seconds, not 5."),
        ('{"caption": "", "metadata": {"duration": 10}}', "caption and lyrics are both empty;"),
    ],
)
def test_what_is_wrong_in_a_plan_is_called_as_the_plan_calls_it(
    content: str, sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "plan.json").write_text(content)
    assert main(["render", "plan.json", "-o", "a.wav"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"acestep: {sentence}")


@contextmanager
def full_disk() -> Iterator[None]:
    """No file grows beyond 100 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)


def test_a_full_disk_leaves_the_old_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "plan.json").write_text("the old one")
    with full_disk():
        assert main(["plan", "calm piano", "--duration", "10", *FIXED, "-o", "plan.json"]) == 1
    assert "acestep: cannot write 'plan.json': File too large" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["plan.json"]
    assert (folder / "plan.json").read_text() == "the old one"


@pytest.mark.parametrize("command", ["plan", "render", "write", "understand", "codes"])
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"Example: acestep {command} " in capsys.readouterr().out
