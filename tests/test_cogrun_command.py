"""`./script/predict` end to end: the command line, the real Cog runtime, and the file in the caller's folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from acestep.cogrun.main import COGLET_FOLDERS, main
from acestep.output.tags import read_recipe

from cog_server import alive, project
from hardening_support import tone

ROOT = Path(__file__).resolve().parents[1]
RUNNER = """
import signal, sys
from pathlib import Path
from acestep.cogrun.main import main
# a runner started in the background or by nohup inherits "ignore"
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
sys.exit(main(sys.argv[2:], project=Path(sys.argv[1])))
"""
DEADLINE_S = 30.0


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder the user stands in, which is not the project's."""
    folder = tmp_path / "user's folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@contextmanager
def command(folder: Path, arguments: Sequence[str], cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """The command as a process of its own, ended by force if a test leaves it running."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(folder), *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        if process.poll() is None:
            process.terminate()


def line_with(process: subprocess.Popen[str], text: str) -> str:
    """The first line on stderr that holds `text`; the test's own deadline ends a silent process."""
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"the command ended with {process.wait()} before it said {text!r}")


def wait_until(condition: object, what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {DEADLINE_S:g} s"
        time.sleep(0.02)


def test_writes_the_file_where_o_says(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "songs").mkdir()
    code = main(["-i", "text=a=b, c", "-i", "steps=3", "-o", "songs/first.wav"], project=project(tmp_path, "echo"))
    captured = capsys.readouterr()
    assert (code, captured.out) == (0, "songs/first.wav\n")
    assert (here / "songs" / "first.wav").read_text() == "a=b, c"
    assert [path.name for path in (here / "songs").iterdir()] == ["first.wav"]
    assert captured.err.splitlines()[:4] == ["loading the echo", "33%|#| 1/3", "66%|#| 2/3", "100%|#| 3/3"]


def test_the_default_is_output_in_the_current_folder(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "output.wav").write_text("of an earlier run")
    before = set(COGLET_FOLDERS.glob("predict-*"))
    assert main(["-i", "text=new"], project=project(tmp_path, "echo")) == 0
    assert capsys.readouterr().out == "output.wav\n"
    assert (here / "output.wav").read_text() == "new"
    assert [path.name for path in here.iterdir()] == ["output.wav"]
    assert set(COGLET_FOLDERS.glob("predict-*")) <= before


@pytest.mark.parametrize("size", [0, 1000, 105 * 2**20], ids=["empty", "small", "above Cog's 100 MiB of a request"])
def test_a_file_goes_there_and_back(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    source = here / "My söng #1.flac"
    with source.open("wb") as file:
        file.write(b"fLaC"[:size])
        file.truncate(size)
    arguments = ["-i", "text=x", "-i", f"audio=@{source.name}", "-o", "copy.flac"]
    assert main(arguments, project=project(tmp_path, "echo")) == 0
    assert subprocess.run(["cmp", source.name, "copy.flac"], check=False).returncode == 0
    assert "note:" not in capsys.readouterr().err


def test_the_real_model_takes_a_local_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model itself downloads its files, and by default not from loopback, where the command offers them."""
    (here / "my tone.wav").write_bytes(tone(2.0))
    inputs = ["model=tiny", "prompt=x", "audio_duration=10", "infer_steps=1", "reference_audio=@my tone.wav"]
    arguments = [part for text in inputs for part in ("-i", text)]
    assert main([*arguments, "-e", "ACESTEP_MODEL=tiny", "-o", "song.wav"]) == 0
    assert read_recipe(here / "song.wav")["sources"]["reference"]["duration_s"] == pytest.approx(2.0)
    assert capsys.readouterr().out == "song.wav\n"


def test_another_suffix_is_said(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-i", "text=x", "-o", "song.mp3"], project=project(tmp_path, "echo")) == 0
    assert "note: song.mp3 holds a .wav file" in capsys.readouterr().err


def test_json_prints_the_whole_answer(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["-i", "text=x", "-i", "loud=true", "-i", "seed=5", "-e", "ECHO_GREETING=good day", "--json"]
    assert main(arguments, project=project(tmp_path, "echo")) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["status"], answer["output"]) == ("succeeded", "output.wav")
    assert "seed=5 gain=1.0 loud=True greeting=good day" in answer["logs"]
    assert answer["metrics"]["predict_time"] > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-i", "txet=x"], "error: there is no input 'txet'; closest: text"),
        (["-i", "text"], "error: -i 'text' is not of the form name=value"),
        (["-i", "steps=3"], "error: input 'text' is required"),
        (["-i", "text=x", "-i", "steps=10"], "error: steps=10 is above the maximum of 9"),
        (["-i", "text=x", "-i", "audio=@no.wav"], "error: audio: there is no file 'no.wav'"),
        (["-i", "text=x", "-e", "GREETING"], "error: -e 'GREETING' is not of the form NAME=VALUE"),
        (["-i", "text=x", "-o", "."], "error: -o . is a folder; name the file"),
        (["-i", "text=x", "-o", "no/song.wav"], "error: -o no/song.wav: there is no folder"),
    ],
)
def test_bad_input_is_one_line_before_anything_starts(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    folder = project(tmp_path, "echo")
    assert main(arguments, project=folder) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(sentence)
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert not (folder / ".cog").exists()


@pytest.mark.parametrize(
    ("mode", "code", "sentence"),
    [
        ("fail", 1, "error: RuntimeError: the echo is broken"),
        ("refuse", 2, "error: text='x' is not a sound; say something else"),
        ("missing", 1, "error: the prediction succeeded but its output file does not exist"),
        ("crash", 1, "error: Worker crashed"),
    ],
)
def test_a_failed_prediction_is_one_line_and_no_file(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str, code: int, sentence: str
) -> None:
    assert main(["-i", "text=x", "-i", f"mode={mode}"], project=project(tmp_path, "echo")) == code
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1] == sentence
    assert captured.out == ""
    assert list(here.iterdir()) == []


def test_a_failed_setup_shows_what_was_printed(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], project=project(tmp_path, "broken_setup")) == 1
    assert capsys.readouterr().err.splitlines() == [
        "looking for weights",
        "error: the model's setup failed: ValueError: no weights here",
    ]


def test_progress_is_visible_while_the_model_runs(here: Path, tmp_path: Path) -> None:
    """The model waits for a file that is made only after its progress was seen."""
    go = tmp_path / "go"
    with command(project(tmp_path, "echo"), ["-i", f"text={go}", "-i", "mode=wait"], here) as process:
        assert line_with(process, "2/2") == "100%|#| 2/2\n"
        assert process.poll() is None
        go.touch()
        assert process.stdout.read() == "output.wav\n"
        assert process.wait(DEADLINE_S) == 0


def test_an_output_that_cannot_be_written_is_one_line(here: Path, tmp_path: Path) -> None:
    go, folder = tmp_path / "go", here / "songs"
    folder.mkdir()
    arguments = ["-i", f"text={go}", "-i", "mode=wait", "-o", "songs/a.wav"]
    with command(project(tmp_path, "echo"), arguments, here) as process:
        line_with(process, "2/2")
        folder.rmdir()
        go.touch()
        assert (
            line_with(process, "error:")
            == f"error: cannot write the output into {folder}: No such file or directory\n"
        )
        assert process.wait(DEADLINE_S) == 1


@pytest.mark.parametrize(
    ("fixture", "arguments", "number", "code"),
    [
        ("echo", ["-i", "text=x", "-i", "mode=spawn"], signal.SIGINT, 130),
        ("echo", ["-i", "text=x", "-i", "mode=spawn"], signal.SIGTERM, 143),
        ("slow_setup", [], signal.SIGINT, 130),
        ("slow_setup", [], signal.SIGHUP, 129),
    ],
)
def test_an_interruption_leaves_nothing_behind(
    here: Path, tmp_path: Path, fixture: str, arguments: list[str], number: int, code: int
) -> None:
    with command(project(tmp_path, fixture), arguments, here) as process:
        pids = [int(word) for word in line_with(process, "processes").split()[1:]]
        assert all(alive(pid) for pid in pids)
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == code
        assert process.stdout.read() == ""
    wait_until(lambda: not any(alive(pid) for pid in pids), "processes ended")
    assert list(here.iterdir()) == []


def test_impatient_interruptions_still_clean_up(here: Path, tmp_path: Path) -> None:
    """A model that swallows its cancellation, and a user who presses Ctrl-C until the prompt is back."""
    with command(project(tmp_path, "echo"), ["-i", "text=x", "-i", "mode=stubborn"], here) as process:
        pids = [int(word) for word in line_with(process, "processes").split()[1:]]
        process.send_signal(signal.SIGINT)
        line_with(process, "ignored CancelationException")
        started = time.monotonic()
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert process.wait(DEADLINE_S) == 130
    assert time.monotonic() - started < 5.0
    wait_until(lambda: not any(alive(pid) for pid in pids), "processes ended")


def test_the_script_works_from_anywhere(here: Path, tmp_path: Path) -> None:
    """Called through a symlink, from a folder whose own `acestep` must not be taken for the project's."""
    root = tmp_path / "clone"
    shutil.copytree(ROOT / "acestep", root / "acestep", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "script", root / "script")
    shutil.copy(project(tmp_path, "echo") / "predict.py", root)
    bootstrap = root / "script" / "bootstrap"
    bootstrap.write_text(
        f'#!/bin/sh\necho ready\nmkdir -p "{root}/.venv/bin"\nln -sf {sys.executable} "{root}/.venv/bin/python"\n'
    )
    (here / "predict").symlink_to(root / "script" / "predict")
    (here / "acestep").mkdir()
    (here / "acestep" / "__init__.py").write_text("raise RuntimeError('the wrong acestep')\n")
    (here / "in.wav").write_bytes(b"RIFF")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if "site-packages" in path)}
    done = subprocess.run(
        ["./predict", "-i", "text=x", "-i", "audio=@in.wav", "-o", "out.wav"],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.returncode, done.stdout) == (0, "out.wav\n"), done.stderr
    assert (here / "out.wav").read_bytes() == b"RIFF"
    schema = subprocess.run([root / "script" / "schema"], check=True, capture_output=True, text=True, env=environment)
    assert json.loads(schema.stdout)["components"]["schemas"]["Input"]["required"] == ["text"]
