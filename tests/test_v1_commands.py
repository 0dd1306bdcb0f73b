"""The command line with v1 models: options that only they read, songs from recordings, and what is told of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from acestep.cli import main
from acestep.commands.names import OPTIONS
from acestep.constants import SAMPLE_RATE
from acestep.fields import FIELDS, FIRST_FAMILY
from acestep.output.tags import read_recipe

from edit_support import saved, tune
from v1_road_support import NAME

SOURCE_S = 2.5
GENERATE = ["generate", "pop, piano", "--model", NAME, "--duration", "10", "--steps", "2", "--seed", "7"]
SAID = {  # an option, and what it is in the recipe
    ("--cfg", "cfg"): ("cfg_type", "cfg"),
    ("--omega", "5"): ("omega_scale", 5.0),
    ("--guidance-text", "5"): ("guidance_scale_text", 5.0),
    ("--guidance-lyric", "1.5"): ("guidance_scale_lyric", 1.5),
    ("--guidance-interval", "0.8"): ("guidance_interval", 0.8),
    ("--guidance-decay", "0.25"): ("guidance_interval_decay", 0.25),
    ("--guidance-min", "2"): ("min_guidance_scale", 2.0),
    ("--no-erg", "tag"): ("use_erg_tag", False),
    ("--no-erg", "lyric"): ("use_erg_lyric", False),
    ("--no-erg", "diffusion"): ("use_erg_diffusion", False),
    ("--oss-steps", "1,3,5"): ("oss_steps", [1, 3, 5]),
    ("--lyric-detection", "upstream"): ("lyric_detection", "upstream"),
    ("--lora-weight", "0.5"): ("lora_weight", 0.5),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two recordings."""
    for seed, name in enumerate(("song", "other")):
        saved(tmp_path / f"{name}.wav", tune(SOURCE_S, seed))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """The answer of a command that works."""
    capsys.readouterr()
    code = main([*words, "--json"])
    said, told = capsys.readouterr()
    assert code == 0, told
    return json.loads(said)


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The last line of a command that is refused."""
    capsys.readouterr()
    assert main([*words]) == 2
    said, told = capsys.readouterr()
    assert said == ""
    return told.splitlines()[-1]


def told(answer: dict[str, Any]) -> list[str]:
    return [warning for warning in answer["warnings"] if "is rough for" not in warning]


# --- Options --------------------------------------------------------------------------------------------------------


def test_every_parameter_of_v1_has_an_option() -> None:
    """``use_erg_*`` are switched off by the one option ``--no-erg``."""
    parameters = {field.name for field in FIELDS if field.owner == FIRST_FAMILY} | {"cfg_type", "lora_name_or_path"}
    assert {parameter for parameter, _ in SAID.values()} == parameters - {"lora_name_or_path"}
    named = {parameter for parameter in parameters if not parameter.startswith("use_erg")}
    assert named <= OPTIONS.keys()


def test_options_arrive_in_the_song(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = made(capsys, *GENERATE, *(word for option in SAID for word in option), "-o", "song.flac")
    assert (answer["model"], answer["seeds"], answer["plan"]) == (NAME, [7], None)
    recipe = read_recipe("song.flac")
    said = recipe["parameters"]
    assert {name: said[name] for name, _ in SAID.values()} == dict(SAID.values())
    assert said["inference_steps"] == 3, "as many as were picked"
    assert "--lora-weight has no effect: --lora is none." in answer["warnings"]


def test_without_options_everything_is_the_models_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "pop", "--model", NAME, "--duration", "10", "--seed", "7", "-o", "song.wav"]
    answer = made(capsys, *words)
    said = read_recipe("song.wav")["parameters"]
    assert (said["inference_steps"], said["guidance_scale"], said["thinking"]) == (60, 15.0, False)
    assert answer["warnings"] == []


@pytest.mark.parametrize(
    "command",
    ["generate", "render", "repaint", "extend", "complete", "edit", "stitch", "audio2audio", "style-transfer"],
)
def test_commands_that_play_tell_of_them(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert left.value.code == 0
    for option in ("--omega", "--no-erg", "--oss-steps", "--lora", "--lyric-detection", "ACE-Step v1"):
        assert option in shown


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--duration", "241"], "Invalid audio duration: --duration must be 10 to 240 seconds, not 241."),
        (["--cfg", "zero"], "--cfg 'zero' is unknown; choose one of: apg, cfg, cfg_star."),
        (["--omega", "101"], "--omega must be a number from -100 to 100, not 101.0."),
        (["--guidance-text", "-1"], "--guidance-text must be a number from 0 to 30, not -1.0."),
        (["--guidance-interval", "nan"], "--guidance-interval must be a number from 0 to 1, not nan."),
        (["--guidance-decay", "2"], "--guidance-decay must be a number from 0 to 1, not 2.0."),
        (["--guidance-min", "31"], "--guidance-min must be a number from 0 to 30, not 31.0."),
        (["--oss-steps", "5,3"], "--oss-steps must rise from step to step, but 5 is followed by 3."),
        (["--oss-steps", "1,x"], "--oss-steps must be whole numbers separated by commas, not '1,x'."),
        (["--oss-steps", "1,2", "--solver", "heun"], "--oss-steps does not go with --solver 'heun'"),
        (["--lyric-detection", "guess"], "--lyric-detection 'guess' is unknown; choose one of: script, upstream."),
        (["--lora-weight", "3"], "--lora-weight must be a number from 0 to 2, not 3.0."),
        (["--lora", "nothing here"], "--lora must be a hub id such as"),
        (["--solver", "stork4"], "--solver 'stork4' belongs to the ACE-Step 1.5 models; choose one of: euler, heun,"),
        (["--lm", "tiny"], "--lm 'tiny' does not go with model 'tiny-v1', which has no planner."),
        (["--simple"], "--simple needs the planner, and there is none"),
        (["--lyrics", "q\n" * 1500], "Tokenization error: --lyrics make"),
    ],
)
def test_what_is_wrong_is_one_line_in_the_words_of_the_command(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    line = refusal(capsys, *GENERATE, *words, "-o", "no.wav")
    assert line.startswith("acestep: ")
    assert sentence in line
    assert not Path("no.wav").exists()


def test_what_v1_does_not_read_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    idle = ["--shift", "2", "--bpm", "90", "--reference", "song.wav"]
    answer = made(capsys, *GENERATE, *idle, "--lyrics", "[Verse 1]\nla la", "-o", "new.wav")
    whose = "has no effect: it belongs to the ACE-Step 1.5 models."
    assert sorted(told(answer)) == [
        "'[Verse 1]' is no structure tag of v1 and is read as words; write [verse].",
        f"--bpm {whose}",
        f"--reference {whose}",
        f"--shift {whose}",
    ]


def test_other_models_do_not_read_what_is_for_v1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "pop", "--model", "tiny", "--lm", "none", "--duration", "10", "--omega", "5", "-o", "a.wav"]
    assert "--omega has no effect: it belongs to the v1-3.5B models." in told(made(capsys, *words))


# --- Recordings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "task", "seconds"),
    [
        (["repaint", "song.wav", "a solo", "--start", "0.5", "--end", "1.5"], "repaint", SOURCE_S),
        (["extend", "song.wav", "on and on", "--by", "1", "--where", "both"], "extend", SOURCE_S + 2),
        (["edit", "song.wav", "--from", "piano", "--to", "guitar", "--n-min", "0.5"], "edit", SOURCE_S),
        (["complete", "song.wav", "soul", "--accompany", "jazz"], "vocal_accompaniment", SOURCE_S),
        (["stitch", "song.wav", "other.wav", "a break", "--bridge", "3"], "repaint", 2 * SOURCE_S + 3),
        (["extend", "song.wav", "--by", "1", "--by-start", "1.5", "--where", "both"], "extend", SOURCE_S + 2.5),
        (["audio2audio", "song.wav", "harp", "--strength", "0.6"], "audio2audio", SOURCE_S),
        (["style-transfer", "song.wav", "--to", "jazz", "--strength", "0.6"], "style_transfer", SOURCE_S),
    ],
    ids=["repaint", "extend", "edit", "complete", "stitch", "extend unevenly", "audio2audio", "style-transfer"],
)
def test_commands_on_recordings(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], task: str, seconds: float
) -> None:
    made(capsys, *words, "--model", NAME, "--steps", "2", "--seed", "7", "-o", "out.wav")
    recipe = read_recipe("out.wav")
    assert (recipe["task"], recipe["models"]["dit"]["name"]) == (task, NAME)
    assert sf.info("out.wav").frames == round(seconds * SAMPLE_RATE)


def test_what_is_kept_by_a_command_is_kept_to_the_sample(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["repaint", "song.wav", "a solo", "--start", "0.5", "--end", "1.5", "--model", NAME, "--steps", "1"]
    made(capsys, *words, "-o", "out.flac")
    before, after = (sf.read(name, dtype="int32")[0] for name in ("song.wav", "out.flac"))
    kept = np.r_[: SAMPLE_RATE // 2, 3 * SAMPLE_RATE // 2 : len(before)]
    np.testing.assert_array_equal(after[kept], before[kept])


def test_how_far_the_new_is_from_the_old_can_be_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", NAME, "--steps", "2", "--seed", "7"]
    repaint = ["repaint", "song.wav", "a solo", "--start", "0.5", "--end", "1.5", *words]
    made(capsys, *repaint, "-o", "far.flac")
    made(capsys, *repaint, "--variation-strength", "0.3", "-o", "near.flac")
    assert read_recipe("near.flac")["parameters"]["variation_strength"] == 0.3
    assert not np.array_equal(sf.read("near.flac")[0], sf.read("far.flac")[0])
    made(capsys, "audio2audio", "song.wav", "harp", "--strength", "0.25", *words, "-o", "harp.wav")
    assert read_recipe("harp.wav")["parameters"]["audio2audio_strength"] == 0.25
    line = refusal(capsys, "style-transfer", "song.wav", "--to", "x", "--strength", "2", *words, "-o", "no.wav")
    assert line.startswith("acestep: --strength must be a number from 0 to 1, not 2")


def test_a_command_whose_task_v1_lacks_says_who_has_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, "cover", "song.wav", "jazz", "--model", NAME, "-o", "no.wav")
    assert "task 'cover' needs a model that was trained for it, and tiny-v1 was not; choose one of: acestep" in line


def test_a_plan_is_played(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = {"caption": "pop, piano", "lyrics": "[verse]\nla la", "metadata": {"duration": 10.5, "language": "en"}}
    Path("plan.json").write_text(json.dumps(plan))
    made(capsys, "render", "plan.json", "--model", NAME, "--steps", "1", "--seed", "7", "-o", "out.wav")
    recipe = read_recipe("out.wav")
    assert (recipe["plan"]["caption"], recipe["plan"]["metadata"]["language"]) == ("pop, piano", "en")
    assert sf.info("out.wav").frames == round(10.5 * SAMPLE_RATE)


# --- What is there --------------------------------------------------------------------------------------------------


def test_the_overview_shows_both_models(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--device", "cpu"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "shipped" in rows[NAME]
    assert "absent" in rows["v1-3.5B"]
    answer = made(capsys, "models", "--device", "cpu")
    states = {row["name"]: row["state"] for row in answer["models"] if row["role"] == "transformer"}
    assert (states[NAME], states["v1-3.5B"]) == ("shipped", "absent")


def test_a_song_tells_what_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(capsys, *GENERATE, "--lyrics", "[verse]\nla la", "--language", "en", "--bpm", "90", "-o", "new.flac")
    assert main(["info", "new.flac"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Pop\n")
    for fact in ("model       tiny-v1\n", "seed        7\n", "language    en\n", "caption     pop, piano\n"):
        assert fact in shown
    assert "lora" not in shown
    assert "bpm         90" not in shown, "which was not heard"
    assert made(capsys, "info", "new.flac")["models"]["dit"]["name"] == NAME
