"""Commands that work on recordings: files, names, recipes, ``--json``; what is wrong is one line in their words."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from acestep.cli import main
from acestep.cogrun.schema import PROJECT
from acestep.commands.editing import COMMANDS
from acestep.commands.names import naming
from acestep.constants import SAMPLE_RATE
from acestep.errors import DeviceMemoryError, InputError
from acestep.output.tags import read_recipe

from edit_support import saved, tune

COMMAND = {row.name: row for row in COMMANDS}
SONG_S, SHORT_S = 8.0, 2.5
QUICK = ("--steps", "2", "--seed", "5")
STEMS = ["stems-vocals.flac", "stems-drums.flac", "stems-without_vocals_drums.flac"]
EXAMPLES = {  # command: the task and model of its recipe, seconds, what each file is called
    "cover": ("cover", "tiny", SONG_S, ["cover.flac"]),
    "repaint": ("repaint", "tiny", SONG_S, ["repainted.flac"]),
    "extend": ("extend", "tiny", SONG_S + 30, ["longer.flac"]),
    "lego": ("lego", "tiny-base", SONG_S, ["with-guitar.flac"]),
    "extract": ("extract", "tiny-base", SONG_S, STEMS),
    "complete": ("complete", "tiny-base", SHORT_S, ["band.flac"]),
    "edit": ("edit", "tiny", SONG_S, ["edited.flac"]),
    "stitch": ("repaint", "tiny", 2 * SHORT_S + 12, ["joined.flac"]),
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what is worked on, each a 16-bit file."""
    folder = tmp_path_factory.mktemp("recordings")
    lengths = {"song": SONG_S, "voice": SHORT_S, "a": SHORT_S, "b": SHORT_S}
    for seed, (name, seconds) in enumerate(lengths.items()):
        saved(folder / f"{name}.wav", tune(seconds, seed))
    return folder


@pytest.fixture
def folder(tmp_path: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the recordings; temporary files go beside it."""
    here, scratch = tmp_path / "here", tmp_path / "scratch"
    here.mkdir()
    scratch.mkdir()
    for file in recordings.iterdir():
        (here / file.name).symlink_to(file)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(here)
    return here


def made(folder: Path) -> set[str]:
    """Names of what is in the folder beside the recordings."""
    return {path.name for path in folder.iterdir() if not path.is_symlink()}


def run(line: str, *more: str) -> None:
    assert main([*shlex.split(line), *more]) == 0


def samples(file: str) -> np.ndarray:
    """Whole numbers ``[S, channels]``."""
    return sf.read(file, dtype="int32", always_2d=True)[0]


def parameters(file: str) -> dict[str, object]:
    return read_recipe(Path(file))["parameters"]


# --- help --------------------------------------------------------------------------------------------------------
def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_example_of_its_help_runs(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a person copies it: one line of the help, whatever the width of the terminal."""
    [example] = re.findall(r"^Example: acestep (.*)$", help_of(command, capsys), flags=re.MULTILINE)
    assert example.startswith(f"{command} ")
    task, model, seconds, names = EXAMPLES[command]
    run(example)
    lines = [line.split("  seed ") for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _ in lines] == names
    assert made(folder) == set(names)
    for name, seed in lines:
        recipe = read_recipe(folder / name)
        assert (recipe["task"], recipe["models"]["dit"]["name"]) == (task, model)
        assert recipe["seeds"] == [int(seed)]
        assert sf.info(name).frames == round(seconds * SAMPLE_RATE)
        assert np.abs(samples(name)).max() > 0


def test_every_command_is_listed_and_tried(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(EXAMPLES) == set(COMMAND)
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    for row in COMMANDS:
        assert re.search(rf"^    {row.name} +{row.about}$", listed, flags=re.MULTILINE)


# --- what is made ------------------------------------------------------------------------------------------------
def test_a_seed_is_a_song(folder: Path) -> None:
    for name, seed in (("a1.wav", "5"), ("a2.wav", "5"), ("b1.wav", "6")):
        run("cover voice.wav jazz --steps 2 --strength 0.5 --noise 0.2", "--seed", seed, "-o", name)
    assert (samples("a1.wav") == samples("a2.wav")).all()
    assert (samples("a1.wav") != samples("b1.wav")).any()
    told = parameters("b1.wav")
    assert (told["audio_cover_strength"], told["cover_noise_strength"], told["caption"]) == (0.5, 0.2, "jazz")


def test_options_arrive_as_parameters(folder: Path) -> None:
    (folder / "words.txt").write_text("[Verse]\nla\n")
    run(
        "cover voice.wav jazz --faithful --lyrics words.txt --bpm 90 --key am --timesignature 3 --language en "
        "--reference a.wav --solver heun --shift 2 --sample-rate 44100 --format wav24 -o c.wav",
        *QUICK,
    )
    recipe = read_recipe(folder / "c.wav")
    told = recipe["parameters"]
    assert (recipe["task"], recipe["sources"]["reference"]["duration_s"]) == ("cover-nofsq", SHORT_S)
    assert (told["lyrics"], told["bpm"], told["keyscale"]) == ("[Verse]\nla", 90, "A minor")
    assert (told["timesignature"], told["vocal_language"], told["shift"]) == ("3", "en", 2.0)
    assert (told["scheduler_type"], told["inference_steps"]) == ("heun", 2)
    info = sf.info("c.wav")
    assert (info.samplerate, info.subtype, info.frames) == (44_100, "PCM_24", round(SHORT_S * 44_100))


def test_codes_stand_in_for_a_recording(folder: Path) -> None:
    codes = "".join(f"<|audio_code_{number}|>" for number in range(50))
    (folder / "codes.txt").write_text(codes + "\n")
    run("cover codes.txt organ -o organ.flac", *QUICK)
    recipe = read_recipe(folder / "organ.flac")
    assert (recipe["plan"]["audio_codes"], recipe["sources"]["source"]) == (list(range(50)), None)
    assert sf.info("organ.flac").frames == 10 * SAMPLE_RATE


@pytest.mark.parametrize(
    ("line", "before", "redone", "behind"),
    [
        ("repaint voice.wav x --start 1", 0, (1, SHORT_S), 0),
        ("repaint voice.wav --start 1.5", 0, (1.5, SHORT_S), 0),
        ("repaint voice.wav x --start 1 --end -1", 0, (1, SHORT_S), 0),
        ("repaint voice.wav x --start 0", 0, (0, SHORT_S), 0),
        ("repaint voice.wav --start 0 --end -1 x", 0, (0, SHORT_S), 0),
        ("repaint voice.wav x --end -1", 0, (0, SHORT_S), 0),
        ("repaint voice.wav x --end 1", 0, (0, 1), 0),
        ("repaint voice.wav x --start -1 --end 0.5", 1, (0, 0.5), 0),
        ("repaint voice.wav x --start 2 --end 4.25", 0, (2, SHORT_S), 1.75),
        ("extend voice.wav --by 1.5", 0, (0, 0), 1.5),
        ("extend voice.wav x --by 2 --where start", 2, (0, 0), 0),
        ("extend voice.wav x --by 1 --where both", 1, (0, 0), 1),
    ],
)
def test_what_is_kept_is_kept(
    line: str, before: float, redone: tuple[float, float], behind: float, folder: Path
) -> None:
    """Seconds of new music before and behind the recording, and where in it."""
    run(f"{line} -o long.wav", *QUICK)
    source, result = samples("voice.wav"), samples("long.wav")
    first, last, start, end = (round(seconds * SAMPLE_RATE) for seconds in (before, behind, *redone))
    assert len(result) == first + len(source) + last
    same = (result[first : first + len(source)] == source).all(axis=1)
    assert same[:start].all()
    assert same[end:].all()
    assert start == end or same[start:end].mean() < 0.1
    assert first == 0 or result[:first].any()
    assert last == 0 or result[-last:].any()


def test_tracks_are_files_of_their_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("extract voice.wav --tracks vocals,Backing-Vocals --rest --batch-size 2 --json -o t.wav", *QUICK)
    answer = json.loads(capsys.readouterr().out)
    tracks = ["vocals", "backing_vocals", "without_vocals_backing_vocals"]
    assert answer["output"] == [f"t-{number}-{track}.wav" for number in (1, 2) for track in tracks]
    assert (answer["tracks"], answer["seeds"], answer["model"]) == (tracks * 2, [5, 5, 5, 6, 6, 6], "tiny-base")
    assert (answer["status"], answer["error"]) == ("succeeded", None)
    assert made(folder) == set(answer["output"])
    recipes = [read_recipe(folder / name) for name in answer["output"]]
    assert [recipe["output"]["track"] for recipe in recipes] == tracks * 2
    assert {recipe["parameters"]["track_name"] for recipe in recipes} == {"vocals,backing_vocals"}
    files = [samples(name) for name in answer["output"]]
    assert {len(file) for file in files} == {round(SHORT_S * SAMPLE_RATE)}
    assert len({file.tobytes() for file in files}) == 6


def test_one_track_and_all_tracks(folder: Path) -> None:
    run("extract voice.wav --tracks drums -o drums.wav", *QUICK)
    assert made(folder) == {"drums.wav"}
    run("extract voice.wav --tracks drums --rest -o s.wav", *QUICK)
    assert made(folder) == {"drums.wav", "s-drums.wav", "s-without_drums.wav"}
    run("extract voice.wav --tracks all --rest -o all.wav", "--steps", "1", "--seed", "1")
    assert len(made(folder)) == 3 + 13
    assert {"all-vocals.wav", "all-fx.wav", "all-remainder.wav"} < made(folder)


def test_a_track_joins_in_its_region(folder: Path) -> None:
    run("lego voice.wav kit --track drums --start 1 --end 2 -o alone.wav", *QUICK)
    alone = samples("alone.wav")
    assert len(alone) == SHORT_S * SAMPLE_RATE
    assert not alone[:SAMPLE_RATE].any()
    assert not alone[2 * SAMPLE_RATE :].any()
    assert alone.any()
    run("lego voice.wav kit --track drums --start 1 --end 2 --mix -o mixed.wav", *QUICK)
    assert samples("mixed.wav")[:SAMPLE_RATE].any()
    assert (parameters("mixed.wav")["mix"], parameters("mixed.wav")["track_name"]) == (True, "drums")


@pytest.mark.parametrize(
    ("said", "task", "style"),
    [
        ("", "complete", "matching"),
        ("--accompany", "vocal_accompaniment", "matching"),
        ("--accompany jazz", "vocal_accompaniment", "jazz"),
    ],
)
def test_a_band_joins_in(said: str, task: str, style: str, folder: Path) -> None:
    run(f"complete voice.wav soul {said} -o band.wav", *QUICK)
    recipe = read_recipe(folder / "band.wav")
    assert (recipe["task"], recipe["models"]["dit"]["name"]) == (task, "tiny-base")
    assert recipe["parameters"]["accompaniment_style"] == style


VOICED = {  # line: what its recipe says
    "cover voice.wav jazz --keep-voice": ("audio2audio", {"audio2audio_strength": 0.0, "caption": "jazz"}),
    "cover voice.wav --keep-voice --strength 0.8 --lyrics la jazz": (
        "audio2audio",
        {"audio2audio_strength": 0.2, "caption": "jazz"},
    ),
    "cover voice.wav --keep-voice --strength 0": ("audio2audio", {"audio2audio_strength": 1.0, "caption": ""}),
    "complete voice.wav --accompany jazz --keep-voice": ("vocal_accompaniment", {"accompaniment_style": "jazz"}),
}


@pytest.mark.parametrize(("line", "told"), VOICED.items(), ids=VOICED)
def test_a_voice_is_kept(line: str, told: tuple[str, dict[str, object]], folder: Path) -> None:
    """On a model that can take it out; near is 1, as in every cover."""
    task, parameters_told = told
    run(f"{line} -o voiced.wav", *QUICK)
    recipe = read_recipe(folder / "voiced.wav")
    assert (recipe["task"], recipe["models"]["dit"]["name"]) == (task, "tiny-base")
    assert recipe["parameters"]["preserve_vocals"] is True
    assert {name: recipe["parameters"][name] for name in parameters_told} == parameters_told
    assert len(samples("voiced.wav")) == SHORT_S * SAMPLE_RATE


def test_how_near_a_kept_voice_has_its_song_is_heard(folder: Path) -> None:
    """All but the voice follows the recording at a strength of 1, which is the default, and not at 0."""
    for name, said in (("near", ""), ("one", "--strength 1"), ("far", "--strength 0")):
        run(f"cover voice.wav jazz --keep-voice {said} -o {name}.wav", *QUICK)
    near, one, far = (samples(f"{name}.wav") for name in ("near", "one", "far"))
    assert (near == one).all()
    assert (near != far).any()


@pytest.mark.parametrize(
    ("line", "caption"),
    [
        ("cover voice.wav", ""),
        ("lego voice.wav --track drums", ""),
        ("lego voice.wav --track drums funky --start 0", "funky"),
        ("lego --track drums --mix voice.wav --seed 5 funky", "funky"),
        ("complete voice.wav", ""),
        ("complete --tracks drums voice.wav 'slow soul' --mix", "slow soul"),
        ("stitch a.wav b.wav --bridge 1", ""),
        ("stitch a.wav --bridge 1 b.wav --lm none 'a break'", "a break"),
    ],
)
def test_words_may_be_left_out_and_stand_anywhere(line: str, caption: str, folder: Path) -> None:
    run(f"{line} -o worded.wav", *QUICK)
    assert parameters("worded.wav")["caption"] == caption


@pytest.mark.parametrize("command", sorted(set(EXAMPLES) - {"extract", "edit"}))
def test_help_says_that_words_may_be_left_out(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(command, capsys)
    assert re.search(r"^ +(SONG|A B) \[TEXT\]$", text, flags=re.MULTILINE)
    assert "in words; default: no words" in " ".join(text.split())


def test_a_recording_may_not_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["repaint", "-o", "a.wav"])
    assert capsys.readouterr().err.endswith("the following arguments are required: SONG\n")


@pytest.mark.parametrize(
    ("command", "what", "without"),
    [
        ("repaint", "the new part", "One of the two must be given; --start 0 is the whole of SONG."),
        ("lego", "the track", "Without the two it plays through the whole of SONG."),
    ],
)
def test_help_says_where(command: str, what: str, without: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of(command, capsys).split())
    start = f"--start S where {what} begins, in seconds of SONG, -600 to 3600; below 0 is before it; default: 0"
    end = "--end S where it ends, in seconds of SONG, up to 3600; may be behind it; -1 is its end; default: -1."
    assert f"{start} {end} {without}" in text


def test_words_of_before_and_after(folder: Path) -> None:
    (folder / "new.txt").write_text("[Verse]\nlo\n")
    run(
        "edit voice.wav --from piano --to harp --from-lyrics la --to-lyrics new.txt "
        "--n-min 0.1 --n-max 0.9 --n-avg 2 -o e.wav",
        *QUICK,
    )
    told = parameters("e.wav")
    names = ("caption", "style_prompt", "lyrics", "style_lyrics", "edit_n_min", "edit_n_max", "edit_n_avg")
    assert [told[name] for name in names] == ["piano", "harp", "la", "[Verse]\nlo", 0.1, 0.9, 2]


def test_two_songs_and_what_is_between(folder: Path, tmp_path: Path) -> None:
    run("stitch a.wav b.wav --bridge 3 -o joined.wav", *QUICK)
    first, second, joined = (samples(f"{name}.wav") for name in ("a", "b", "joined"))
    assert len(joined) == len(first) + len(second) + 3 * SAMPLE_RATE
    assert (joined[: len(first)] == first).all()
    assert (joined[-len(second) :] == second).all()
    assert joined[len(first) : -len(second)].any()
    assert parameters("joined.wav")["bridge_s"] == 3.0
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_planner_hears_the_song(folder: Path) -> None:
    saved(folder / "long.wav", tune(10))  # planners know no shorter ones
    run("cover long.wav jazz --lm auto --bpm 90 -o heard.flac", *QUICK)
    recipe = read_recipe(folder / "heard.flac")
    assert recipe["models"]["lm"]["name"] == "tiny"
    assert recipe["plan"]["metadata"]["bpm"] == 90
    assert recipe["plan"]["metadata"]["keyscale"] != ""


# --- what is wrong -----------------------------------------------------------------------------------------------
WRONG = {
    "cover none.wav x": "SONG 'none.wav' cannot be read: No such file or directory.",
    "cover notes.txt x": "SONG: 'notes.txt' is not audio that can be read",
    "cover folder.flac x": "SONG 'folder.flac' cannot be read: Is a directory.",
    "cover song.wav x --strength 1.1": "--strength must be a number from 0 to 1, not 1.1.",
    "cover song.wav x --noise nan": "--noise must be a number from 0 to 1, not nan.",
    "cover song.wav x --reference notes.txt": "--reference: 'notes.txt' is not audio that can be read",
    "cover song.wav x --reference none.wav": "--reference: 'none.wav' does not exist.",
    "cover song.wav x --lyrics song.wav": "--lyrics: 'song.wav' is not a readable UTF-8 text file.",
    "cover song.wav x --model nope": "--model 'nope' is unknown; choose one of: acestep-v15-turbo,",
    "cover song.wav x --bpm 5": "--bpm must be from 30 to 300, not 5.",
    "cover song.wav x --key H": "--key 'H' is not a key; write a note",
    "cover song.wav x --language xx": "--language 'xx' is unknown; choose one of: ar,",
    "cover song.wav x --batch-size 9": "--batch-size must be from 1 to 8, not 9.",
    "cover song.wav x --seed -5": "--seed must be -1 (random) or a whole number from 0 to",
    "cover song.wav x --steps 0": "--steps must be from 1 to 200 for tiny, not 0.",
    "cover song.wav x --solver nope": "--solver 'nope' is unknown; choose one of: euler,",
    "cover song.wav x --sample-rate 8000": "--sample-rate is 8000; the format flac allows",
    "cover song.wav x --lm nope": "--lm 'nope' is unknown; choose one of:",
    "cover song.wav x --lm auto --backend nope": "--backend 'nope' is unknown; choose one of: native, vllm, pt.",
    "cover codes.txt x --noise 0.5": "--noise does not go with codes, which hold no sound to start from.",
    "cover codes.txt x --faithful": "--faithful does not go with codes, which hold no sound.",
    "cover codes.txt x --keep-voice": "--keep-voice does not go with codes, which hold no sound.",
    "cover song.wav x --keep-voice --faithful": "--faithful does not go with --keep-voice.",
    "cover song.wav x --keep-voice --noise 0": "--noise does not go with --keep-voice.",
    "cover song.wav x --keep-voice --strength 1.1": "--strength must be a number from 0 to 1, not 1.1.",
    "cover song.wav x --keep-voice --strength nan": "--strength must be a number from 0 to 1, not nan.",
    "cover song.wav x --keep-voice --model tiny": "--keep-voice needs a model that was trained for it, and tiny was",
    "cover song.wav x --correction low --solver heun": "--correction 'low' does not go with --solver 'heun'; it",
    "cover broken.txt x": "SONG 'broken.txt' holds more than <|audio_code_N|> tokens.",
    "repaint none.wav x --start 1": "SONG: 'none.wav' does not exist.",
    "repaint song.wav x": "--start and --end give no region; say where, in seconds, music is to be made.",
    "repaint song.wav": "--start and --end give no region; say where, in seconds, music is to be made.",
    "repaint song.wav x --end 0": "--end 0 must lie behind --start 0.",
    "repaint song.wav x --start 0 --end 0": "--end 0 must lie behind --start 0.",
    "lego song.wav --track drums --end 0": "--end 0 must lie behind --start 0.",
    "lego song.wav --track drums --start -0.0 --end 0": "--end 0 must lie behind --start 0.",
    "repaint song.wav x --start 4 --end 4": "--end 4 must lie behind --start 4.",
    "repaint song.wav 'caption --start' --start 5 --end 4": "--end 4 must lie behind --start 5.",
    "repaint song.wav x --start 9": "--start 9 lies behind the end of the source, which is 8.000 s long.",
    "repaint song.wav x --start 9 --end 12": "--start 9 lies behind the end of the source, which is 8.000 s long.",
    "repaint song.wav x --start -4 --end 0": "--end 0 lies before the source, which begins at 0 s.",
    "repaint song.wav x --start -601 --end 4": "--start must be a number from -600 to 3600, not -601.0.",
    "extend song.wav x --by 0": "--by must be a number from 1 to 600, not 0.0.",
    "extend song.wav x --where extend_end": "--where 'extend_end' is unknown; choose one of: end, start, both.",
    "lego song.wav x": "--track is empty; lego needs one of: woodwinds,",
    "lego song.wav x --track kazoo": "--track 'kazoo' is unknown; choose one of: woodwinds,",
    "lego song.wav x --track drums,bass": "--track must name at most 1 for lego, not 'drums,bass'.",
    "lego song.wav x --track drums --start 3 --end 2": "--end 2 must lie behind --start 3.",
    "lego song.wav x --track drums --model tiny": "task 'lego' needs a model that was trained for it, and tiny",
    "extract song.wav": "--tracks is empty; extract needs one of: woodwinds,",
    "extract song.wav --tracks drums,drums": "--tracks names 'drums' twice.",
    "extract song.wav --tracks track_name": "--tracks 'track_name' is unknown; choose one of: woodwinds,",
    "extract song.wav --tracks drums --model tiny": "task 'extract' needs a model that was trained for it, and tiny",
    "complete song.wav x --tracks kazoo": "--tracks 'kazoo' is unknown; choose one of: woodwinds,",
    "complete song.wav x --accompany polka": "--accompany 'polka' is unknown; choose one of: matching, jazz,",
    "complete song.wav x --accompany ''": "--accompany '' is unknown; choose one of: matching, jazz,",
    "complete song.wav x --keep-voice": "--keep-voice goes with --accompany alone.",
    "complete song.wav x --keep-voice --tracks all": "--keep-voice goes with --accompany alone.",
    "complete song.wav --accompany --keep-voice --mix": "--mix does not go with --keep-voice, which is mixed anyway.",
    "complete song.wav --accompany jazz --keep-voice --model tiny": "task 'vocal_accompaniment' needs a model that",
    "edit song.wav --from a": "--to and --to-lyrics are both empty; edit needs the new words.",
    "edit song.wav --to b --n-min 0.5 --n-max 0.5": "--n-min 0.5 must be below --n-max 0.5.",
    "edit song.wav --to b --n-avg 0": "--n-avg must be a whole number from 1 to 8, not 0.",
    "edit song.wav --to b --solver heun": "task 'edit' runs with --solver 'euler' alone, without corrections.",
    "edit song.wav --to b --to-lyrics song.wav": "--to-lyrics: 'song.wav' is not a readable UTF-8 text file.",
    "stitch none.wav b.wav x": "A: 'none.wav' does not exist.",
    "stitch a.wav none.wav": "B: 'none.wav' does not exist.",
    "stitch a.wav notes.txt": "B: 'notes.txt' is not audio that can be read",
    "stitch a.wav b.wav --bridge 0.5": "--bridge must be a number from 1 to 90, not 0.5.",
}


@pytest.fixture
def littered(folder: Path) -> Path:
    """The working folder with what is no recording."""
    (folder / "notes.txt").write_text("not a song\n")
    (folder / "codes.txt").write_text("<|audio_code_1|>" * 50)
    (folder / "broken.txt").write_text("<|audio_code_1|>é", encoding="utf-8")
    (folder / "folder.flac").mkdir()
    return folder


@pytest.mark.parametrize(("line", "sentence"), WRONG.items(), ids=WRONG)
def test_what_is_wrong_is_one_line_in_its_own_words(
    line: str, sentence: str, littered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that is loaded says so on standard error: there is one line, so none was."""
    before = made(littered)
    assert main([*shlex.split(line), "-o", "out.flac"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    [complaint] = printed.err.splitlines()
    assert complaint.startswith(f"acestep: {sentence}")
    assert made(littered) == before


@pytest.mark.parametrize("command", EXAMPLES)
@pytest.mark.parametrize(
    ("output", "sentence"),
    [("folder.flac", "--output 'folder.flac' is a folder; name a file."), ("a.xyz", "--output 'a.xyz' is unknown;")],
)
def test_what_is_no_target_is_found_first(
    command: str, output: str, sentence: str, littered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = COMMAND[command].example.removeprefix("Example: acestep ").partition(" -o ")[0]
    before = made(littered)
    assert main([*shlex.split(line), "-o", output]) == 2
    [complaint] = capsys.readouterr().err.splitlines()
    assert complaint.startswith(f"acestep: {sentence}")
    assert made(littered) == before


def test_files_come_all_or_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is in the way of the second file is seen when the first is there already."""
    (folder / "s-drums.wav").mkdir()
    assert main([*shlex.split("extract voice.wav --tracks vocals,drums -o s.wav"), *QUICK]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "acestep: cannot write 's-drums.wav': Is a directory."
    assert made(folder) == {"s-drums.wav"}


@pytest.mark.parametrize(
    ("python", "options"),
    [
        ("'src_audio' is a src_audio.", "'src_audio' is a SONG."),
        ('"it\'s src_audio" is too long for src_audio', '"it\'s src_audio" is too long for SONG'),
    ],
)
def test_parameters_are_called_options(python: str, options: str) -> None:
    with pytest.raises(InputError) as caught, naming({}).errors():
        raise InputError(python)
    assert str(caught.value) == options


def test_advice_about_memory_is_in_options() -> None:
    with pytest.raises(DeviceMemoryError) as caught, naming({}).errors():
        raise DeviceMemoryError(
            "No memory; try offload_to_cpu=True, a batch_size of 1, a duration below 20 s, a smaller lm_model, "
            "thinking=False."
        )
    assert str(caught.value) == (
        "No memory; try --offload, a --batch-size of 1, a --duration below 20 s, a smaller --lm, --lm none."
    )


def test_a_failure_is_json_too(littered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split("repaint song.wav x --start 5 --end 4 --json -o out.flac")) == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {
        "status": "failed",
        "output": None,
        "error": "--end 4 must lie behind --start 5.",
    }
    assert printed.err == "acestep: --end 4 must lie behind --start 5.\n"


# --- Ctrl-C ------------------------------------------------------------------------------------------------------
HEEDING_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # whatever the runner does
LONG = "stitch a.wav b.wav x --bridge 60 --model tiny-base --steps 100 --batch-size 2 -o new.flac"


def test_an_interruption_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    program = f"{HEEDING_SIGINT}\nimport sys\nfrom acestep.cli import main\nsys.exit(main({shlex.split(LONG)!r}))"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TMPDIR": str(tmp_path / "scratch")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, **pipes) as process:
        try:
            assert process.stderr.readline().startswith("tiny-base (")  # loaded
            deadline = time.monotonic() + 60
            while not any(name.startswith(".acestep-") for name in made(folder)):  # where the songs will be written
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(0.3)  # into the middle of it
            process.send_signal(signal.SIGINT)
            out, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out, told) == (130, "", "acestep: interrupted\n")
    assert made(folder) == set()
    assert list((tmp_path / "scratch").iterdir()) == []
