"""The command line as a person uses it: real processes, exit codes, one-line errors, nothing left behind."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile as sf

from acestep.cli import main
from acestep.cogrun.schema import PROJECT
from acestep.commands import editing, restyling
from acestep.output.tags import read_recipe
from acestep.sampling.choice import SOLVER_NAMES
from acestep.tasks import EDIT, REPAINT

WRONG_OPTIONS = (
    (["--solver", "ab9"], "--solver 'ab9' is unknown; choose one of: euler, heun, pingpong, ab3, stork4."),
    (["--steps", "0"], "--steps must be from 1 to 200 for tiny, not 0."),
    (["--guidance", "31"], "--guidance must be a number from 0 to 30, not 31.0."),
    (["--method", "pde"], "--method 'pde' is unknown; choose one of: ode, sde."),
    (["--method", "sde", "--solver", "ab3"], "--method 'sde' does not go with --solver 'ab3'; use --solver 'euler'."),
    (["--correction", "x"], "--correction 'x' is unknown; choose one of: off, low, high, double, pix."),
    (["--correction-strength", "1.5"], "--correction-strength must be a number from 0 to 1, not 1.5."),
    (["--correction-strength-high", "nan"], "--correction-strength-high must be a number from 0 to 1, not nan."),
    (["--correction", "low", "--method", "sde"], "--correction 'low' does not go with --method 'sde'; it corrects"),
    (["--correction", "low", "--solver", "heun"], "--correction 'low' does not go with --solver 'heun'; it corrects"),
    (["--variation-seed", "-2"], "--variation-seed must be -1 (random) or a whole number from 0 to 4294967295"),
    (["--variation-strength", "1.1"], "--variation-strength must be a number from 0 to 1, not 1.1."),
    (["--duration", "601"], "Invalid audio duration: --duration must be 10 to 600 seconds, not 601."),
    (["--codes", "1,2"], "--codes holds '1,2'"),
    (["--simple"], "--simple needs the planner, and there is none; name one by --lm."),
)


def acestep(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "acestep", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )


def within(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same within this process, which is sooner there; what is logged is not seen."""
    said, told = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        code = main(arguments)
    return subprocess.CompletedProcess(arguments, code, said.getvalue(), told.getvalue())


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
    told = acestep("info", "--json", "song.flac", cwd=tmp_path)
    recipe = json.loads(told.stdout)
    assert recipe["parameters"]["lyrics"] == "[Verse]\nla la la"
    assert recipe["seeds"] == [4]


def test_a_batch_is_numbered(tmp_path: Path) -> None:
    made = within(
        "generate",
        "x",
        "--duration",
        "10",
        "--batch-size",
        "2",
        "--seed",
        "1",
        "--lm",
        "none",
        "--steps",
        "1",
        "-o",
        "a.ogg",
        cwd=tmp_path,
    )
    assert made.stdout == "a-1.ogg  seed 1\na-2.ogg  seed 2\n", made.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-1.ogg", "a-2.ogg"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["generate", "x", "--duration", "5", "-o", "a.wav"], 2, "Invalid audio duration"),
        (["generate", "x", "--key", "H minor", "-o", "a.wav"], 2, "--key 'H minor' is not a key"),
        (["generate", "x", "--model", "nope", "-o", "a.wav"], 2, "--model 'nope' is unknown"),
        (["generate", "x", "-o", "a.xyz"], 2, "--output 'a.xyz' is unknown; choose one of: NAME.wav"),
        (["generate", "x", "--format", "wav24", "-o", "a.flac"], 2, "--output must end in .wav for the format wav24"),
        (["generate", "x", "-o", "n" * 300 + ".wav"], 2, "--output: File name too long"),
        (["generate", "", "-o", "new/folder/a.wav"], 2, "TEXT and lyrics are both empty"),
        (["generate", "x", "--reference", "none.wav", "-o", "a.wav"], 2, "--reference: 'none.wav' does not exist."),
        (
            ["generate", "x", "--model", "acestep-v15-turbo", "-o", "a.wav"],
            1,
            "Model not loaded: acestep-v15-turbo needs",
        ),
        (["generate", "x", "--device", "cuda", "-o", "a.wav"], 1, "no CUDA device is available"),
        (["generate", "x", "--device", "tpu", "-o", "a.wav"], 2, "--device 'tpu' is unknown"),
        (["info", "none.wav"], 2, "none.wav"),
        (["download", "--model", "nope"], 2, "--model 'nope' is unknown; choose one of: vae,"),
        *(
            (["generate", "x", "--lm", "none", "-o", "a.wav", *options], 2, sentence)
            for options, sentence in WRONG_OPTIONS
        ),
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
    assert "--output 'd.wav' is a folder" in capsys.readouterr().err


def test_warnings_are_shown(tmp_path: Path) -> None:
    made = acestep(
        "generate", "x", "--duration", "10", "--guidance", "12", "--lm", "none", "-o", "a.wav", cwd=tmp_path
    )
    assert "acestep: --guidance has no effect: tiny runs without guidance." in made.stderr


def test_json_answers_like_a_prediction(tmp_path: Path) -> None:
    command = [
        "generate",
        "calm piano",
        "--lm",
        "none",
        "--duration",
        "10",
        "--seed",
        "1",
        "--batch-size",
        "2",
        "--json",
    ]
    command += ["--guidance", "12"]
    made = within(*command, "-o", "a.wav", cwd=tmp_path)
    answer = json.loads(made.stdout)
    assert (answer["status"], answer["error"]) == ("succeeded", None)
    assert answer["output"] == ["a-1.wav", "a-2.wav"]
    assert (answer["seeds"], answer["model"]) == ([1, 2], "tiny")
    assert answer["warnings"] == ["--guidance has no effect: tiny runs without guidance."]
    assert answer["metrics"]["dit_total_time_cost"] > 0


def test_json_answers_for_errors_too(tmp_path: Path) -> None:
    made = within("generate", "x", "--duration", "5", "--json", "-o", "a.wav", cwd=tmp_path)
    answer = json.loads(made.stdout)
    assert (made.returncode, answer["status"], answer["output"]) == (2, "failed", None)
    assert answer["error"].startswith("Invalid audio duration: --duration must be 10 to 600 seconds, not 5.")
    assert made.stderr == f"acestep: {answer['error']}\n"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The song of ``recipe_of`` without options."""
    return recipe_of(tmp_path_factory.mktemp("plain"))


def recipe_of(folder: Path, *options: str) -> dict[str, object]:
    """Of a short song that is made within this process."""
    song = folder / f"{len(list(folder.iterdir()))}.wav"
    command = ("generate", "x", "--lm", "none", "--duration", "10", "--seed", "1", "--steps", "2", *options)
    assert main([*command, "-o", str(song)]) == 0
    return {**read_recipe(song)["parameters"], "sound": sf.read(song, dtype="int16")[0].tobytes()}


@pytest.mark.parametrize("solver", SOLVER_NAMES)
def test_every_solver_plays(solver: str, tmp_path: Path) -> None:
    assert recipe_of(tmp_path, "--solver", solver)["scheduler_type"] == solver


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ("--method sde", {"infer_method": "sde"}),
        ("--correction low", {"dcw_mode": "low", "dcw_scaler": 0.05}),
        ("--correction pix --correction-strength 0.5", {"dcw_mode": "pix", "dcw_scaler": 0.5}),
        (
            "--correction double --correction-strength 0.4 --correction-strength-high 0.3",
            {"dcw_mode": "double", "dcw_scaler": 0.4, "dcw_high_scaler": 0.3},
        ),
        ("--variation-seed 9 --variation-strength 0.3", {"variation_seed": 9, "variation_strength": 0.3}),
    ],
)
def test_options_arrive_and_are_heard(
    options: str, parameters: dict[str, object], plain: dict[str, object], tmp_path: Path
) -> None:
    told = recipe_of(tmp_path, *options.split())
    assert {name: told[name] for name in parameters} == parameters
    assert told["sound"] != plain["sound"]


def test_what_does_not_act_says_so_in_its_own_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    idle = ("--variation-seed", "9", "--correction-strength", "0.5", "--temperature", "0.5")
    song = str(tmp_path / "a.wav")
    words = ("generate", "calm piano", "--lm", "none", "--duration", "10", "--steps", "2")
    arguments = (*words, *idle, "--json", "-o", song)
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == [
        "--correction-strength has no effect: it belongs to wavelet correction, which is off.",
        "--temperature has no effect: it belongs to the planner, which is not asked.",
        "--variation-seed has no effect: --variation-strength is 0.",
    ]


@pytest.mark.parametrize(
    "command", ["generate", "render", *(row.name for row in (*editing.COMMANDS, *restyling.COMMANDS))]
)
def test_help_says_what_can_be_said(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every way to play is offered where it acts, and nowhere else."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    euler_only = command == EDIT.name
    solvers = "--solver NAME euler alone, here; default: euler"
    assert (solvers if euler_only else f"--solver NAME one of {', '.join(SOLVER_NAMES)}; default: euler") in text
    for said in (
        "--method NAME ode or sde, which adds fresh noise at every step, as the solver pingpong does; default: ode",
        "one of off, low, high, double, pix; default: off",
        "--correction-strength S its strength; in double, that of the low band, 0 to 1; default: 0.05",
        "--correction-strength-high S strength of the high band in double, 0 to 1; default: 0.02",
    ):
        assert (said in text) != euler_only
    for said in (
        "--variation-seed N seed of a second noise, -1 (random) or 0 to 4294967295; default: random",
        "--variation-strength V share of the second noise, 0 (off) to 1 (another song); default: 0",
    ):
        assert (said in text) == (command in {"generate", "render", REPAINT.name})


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["generate", "--help"])
    assert "Example: acestep generate" in capsys.readouterr().out
