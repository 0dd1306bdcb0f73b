"""``acestep regenerate``: every song comes back from its recipe, bit for bit on the same machine; else it is told
what differs. What cannot be made again is refused in one sentence, and nothing is left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from acestep import __version__
from acestep.cli import main
from acestep.errors import InputError, OutputError
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, GenerationResult, generate_music, stitch
from acestep.llm_inference import LLMHandler
from acestep.output.compare import likeness
from acestep.output.formats import FORMATS
from acestep.output.recipe import to_json
from acestep.output.tags import SongTags, read_recipe, read_tags, write_tags
from acestep.output.writer import write_audio
from acestep.regenerate import Verdict, remake_of, same_machine
from acestep.remaking import Remade, regenerate

from edit_support import saved, tune

QUICK = {"inference_steps": 1, "guidance_scale": 1.0, "seed": 3, "thinking": False, "caption": "jazz"}
LENGTH_S = 1.6
EDITS = {  # by the task, or by what is not usual about it; on the model that can do all
    "cover": {"audio_cover_strength": 0.5, "cover_noise_strength": 0.3, "inference_steps": 2},
    "repaint": {"repainting_start": 0.5, "repainting_end": 1.2},
    "extend": {"extend_duration": 1.0},
    "lego": {"track_name": "drums", "mix": True},
    "complete": {"track_name": "drums, bass", "bpm": 99, "keyscale": "am"},
    "edit": {"style_prompt": "rock", "edit_n_avg": 2},
    "style_transfer": {"style_prompt": "rock", "preserve_vocals": True, "lyrics": "[verse]\nla la la"},
    "audio2audio": {"audio2audio_strength": 0.3},
    "vocal_accompaniment": {"accompaniment_style": "jazz"},
    "sde": {"task_type": "cover", "infer_method": "sde", "inference_steps": 2},
    "own levels": {"task_type": "cover", "timesteps": [0.9, 0.4]},
    "44100 Hz": {"task_type": "cover", "sample_rate": 44_100, "limit_true_peak": False},
}
PROMPT = {"duration": 10, "caption": "calm piano", "lyrics": "[Verse]\nla la", "bpm": 77, "keyscale": "am"}
SONGS = {  # without a recording
    "plain": {},
    "other noise": {"variation_seed": 9, "variation_strength": 0.4},
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(saved(tmp_path_factory.mktemp("source") / "source.wav", tune(LENGTH_S)))


@pytest.fixture(scope="module")
def made(tiny: AceStepHandler, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A song of ten seconds, made alone; tests copy it."""
    return files(song(tiny, tmp_path_factory.mktemp("made"), **PROMPT))[0]


def song(
    handler: AceStepHandler,
    folder: Path,
    planner: LLMHandler | None = None,
    config: GenerationConfig | None = None,
    **fields: object,
) -> GenerationResult:
    params, config = GenerationParams(**{**QUICK, **fields}), config or GenerationConfig(batch_size=1)
    result = generate_music(handler, planner, params, config, folder)
    result.check()
    return result


def files(result: GenerationResult) -> list[Path]:
    return [Path(audio["path"]) for audio in result.audios]


def again(handler: AceStepHandler, file: Path, **inputs: object) -> Remade:
    return regenerate(handler, file, file.with_stem(f"{file.stem}-again"), **inputs)


def assert_same(remade: Remade, file: Path) -> None:
    """The new file is the old one: its sound, what players show, and what the recipe says it is."""
    assert str(remade.verdict) == "identical"
    assert likeness(file, remade.path).identical
    assert read_tags(remade.path) == read_tags(file)
    then, now = read_recipe(file), read_recipe(remade.path)
    assert now == remade.recipe
    changing = {"created", "timing", "batch", "models"}
    assert {name: now[name] for name in now if name not in changing} == {
        name: then[name] for name in then if name not in changing
    }
    assert now["models"]["dit"]["name"] == then["models"]["dit"]["name"]
    assert now["models"].get("lm") == then["models"].get("lm")
    assert sorted(path.name for path in file.parent.iterdir() if path.name.startswith(".")) == []


# --- every task, every format ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", list(EDITS))
def test_an_edit_of_a_batch_comes_back(tiny_base: AceStepHandler, source: Path, tmp_path: Path, kind: str) -> None:
    config = GenerationConfig(batch_size=2)
    fields = {"task_type": kind, "src_audio": str(source), **EDITS[kind]}
    second = files(song(tiny_base, tmp_path, config=config, **fields))[1]
    remade = again(tiny_base, second, source=source)
    assert_same(remade, second)
    assert remade.recipe["seeds"] == [4]
    assert remade.recipe["batch"] == {"songs": 2, "number": 2, "tracks": []}


@pytest.mark.parametrize("remainder", [False, True])
def test_one_track_of_several_comes_back(
    tiny_base: AceStepHandler, source: Path, tmp_path: Path, remainder: bool
) -> None:
    fields = {"task_type": "extract", "track_name": "drums,bass", "remainder": remainder, "src_audio": str(source)}
    for audio in song(tiny_base, tmp_path, **fields).audios:
        file = Path(audio["path"])
        remade = regenerate(tiny_base, file, tmp_path / f"{audio['track']}.flac", source)
        assert_same(remade, file)
        assert remade.recipe["output"]["track"] == audio["track"]


@pytest.mark.parametrize("kind", list(SONGS))
def test_a_new_song_comes_back(tiny: AceStepHandler, tmp_path: Path, kind: str) -> None:
    config = GenerationConfig(batch_size=2 if kind == "other noise" else 1, audio_format="wav32")
    file = files(song(tiny, tmp_path, config=config, **PROMPT, **SONGS[kind]))[-1]
    assert_same(again(tiny, file), file)


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_song_comes_back_in_every_format(
    tiny_base: AceStepHandler, source: Path, tmp_path: Path, name: str
) -> None:
    config = GenerationConfig(batch_size=1, audio_format=name)
    fields = {"task_type": "cover", "src_audio": str(source), "lyrics": "[Verse]\nla 啦", "keyscale": "C# minor"}
    [file] = files(song(tiny_base, tmp_path, config=config, **fields))
    assert_same(again(tiny_base, file, source=source), file)


def test_a_planned_song_comes_back_without_its_planner(
    tiny: AceStepHandler, terse: LLMHandler, tmp_path: Path
) -> None:
    wish = {"caption": "", "simple_query": "a soft love song", "thinking": True, "lm_temperature": 0.7}
    [file] = files(song(tiny, tmp_path, terse, **{**wish, "duration": 10}))
    remade = again(tiny, file)
    assert_same(remade, file)
    assert len(remade.recipe["plan"]["audio_codes"]) == 50
    assert remade.recipe["parameters"]["simple_query"] == "a soft love song"
    assert_same(again(tiny, remade.path), file)  # as often as one likes


def test_a_planned_song_of_a_batch_comes_back(tiny: AceStepHandler, planner: LLMHandler, tmp_path: Path) -> None:
    """The plans of the others are gone: with theirs may go the last bit, and that is told."""
    fields = {"thinking": True, "use_cot_caption": False, "duration": 10}
    second = files(song(tiny, tmp_path, planner, GenerationConfig(batch_size=2, audio_format="wav32"), **fields))[1]
    told = again(tiny, second).verdict
    assert told.identical or "it was one of 2 songs made at once, whose own plans are not kept" in told.differences
    assert told.identical or told.peak_db < -100


def test_a_timbre_comes_back(tiny: AceStepHandler, source: Path, tmp_path: Path) -> None:
    [file] = files(song(tiny, tmp_path, **PROMPT, reference_audio=str(source)))
    assert_same(again(tiny, file, reference=source), file)


def test_a_stitched_song_comes_back_from_both_recordings(tiny: AceStepHandler, source: Path, tmp_path: Path) -> None:
    other = Path(saved(tmp_path / "other.wav", tune(1.2, seed=5)))
    params = GenerationParams(**QUICK)
    result = stitch(tiny, params, GenerationConfig(batch_size=1), source, other, 1.0, tmp_path / "made")
    result.check()
    [file] = files(result)
    assert_same(again(tiny, file, source=[source, other]), file)
    named = "whose SHA-256 begin with [0-9a-f]{12}, then [0-9a-f]{12}"
    with pytest.raises(InputError, match=f"source is given 1 times; the song was made with two recordings {named}"):
        again(tiny, file, source=source)
    with pytest.raises(InputError, match="source is another recording"):
        again(tiny, file, source=[other, source])


# --- what differs ---------------------------------------------------------------------------------------------------
def edited(file: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a song whose recipe was changed."""
    copy = Path(shutil.copy(file, folder / f"changed{file.suffix}"))
    recipe = json.loads(to_json(read_recipe(file)))
    change(recipe)
    kind = FORMATS[read_recipe(file)["output"]["format"]].tag_kind
    write_tags(copy, kind, read_tags(file), json.dumps(recipe))
    return copy


def elsewhere(recipe: dict[str, Any]) -> None:
    """As if it had been made by another version on another machine, and somewhat differently."""
    recipe["generator"]["version"] = "0.0.9"
    recipe["machine"] |= {"torch": "2.11.0", "device": "cuda", "dtype": "bfloat16"}
    recipe["models"]["dit"]["revision"] = "0123456789abcdef"
    recipe["parameters"]["caption"] = recipe["plan"]["caption"] = "calm piana"
    recipe["scores"] = {"overall": 0.5}


def test_what_differs_is_told(tiny: AceStepHandler, made: Path, tmp_path: Path) -> None:
    file = edited(made, tmp_path, elsewhere)
    remade = again(tiny, file)
    told = str(remade.verdict)
    assert told.startswith(f"differs: made by version 0.0.9, this is {__version__}; PyTorch 2.11.0 then, 2.")
    assert "device cuda then, cpu now; dtype bfloat16 then, float32 now; revision of tiny 0123456789ab then" in told
    old, new = (sf.read(path, dtype="float64")[0] for path in (file, remade.path))
    peak_db = 20 * np.log10(np.abs(old - new).max())
    assert remade.verdict.peak_db == pytest.approx(peak_db, abs=1e-6)
    assert told.endswith(f"; peak difference {peak_db:.0f} dB")
    assert remade.recipe["scores"] is None, "scores are those of another sound"
    assert remade.recipe["machine"]["device"] == "cpu"
    assert remade.recipe["generator"]["version"] == __version__


def test_another_machine_is_not_told_where_nothing_differs(tiny: AceStepHandler, made: Path, tmp_path: Path) -> None:
    def moved(recipe: dict[str, Any]) -> None:
        recipe["machine"]["torch"] = "2.11.0"
        recipe["scores"] = {"overall": 0.5}

    remade = again(tiny, edited(made, tmp_path, moved))
    assert str(remade.verdict) == "identical"
    assert remade.recipe["scores"] == {"overall": 0.5}


def test_a_song_of_a_batch_is_made_alone_elsewhere(tiny: AceStepHandler, tmp_path: Path) -> None:
    config = GenerationConfig(batch_size=2, audio_format="wav32")
    second = files(song(tiny, tmp_path, config=config, **PROMPT))[1]
    remade = again(tiny, edited(second, tmp_path, lambda recipe: recipe.update(machine=None)))
    assert remade.recipe["batch"] == {"songs": 1, "number": 1, "tracks": []}
    told = "its recipe does not say on what machine it was made; made at once with other songs, 2 then, 1 now"
    assert remade.verdict.identical or str(remade.verdict).startswith(f"differs: {told}; peak difference -1")
    assert remade.verdict.identical or remade.verdict.peak_db < -80


def test_recipes_of_version_1_are_made_again(tiny: AceStepHandler, made: Path, tmp_path: Path) -> None:
    def aged(recipe: dict[str, Any]) -> None:
        recipe["schema"] = 1
        del recipe["machine"], recipe["batch"]

    remade = again(tiny, edited(made, tmp_path, aged))
    assert remade.verdict.identical
    assert read_recipe(remade.path)["machine"]["device"] == "cpu"


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_damaged_song_is_made_again(tiny: AceStepHandler, made: Path, tmp_path: Path, share: float) -> None:
    damaged = tmp_path / "damaged.flac"
    damaged.write_bytes(made.read_bytes()[: int(made.stat().st_size * share)])
    remade = again(tiny, damaged)
    assert str(remade.verdict).startswith("differs: the file it was made from is damaged or cut short")
    assert likeness(made, remade.path).identical


def test_a_machine_is_the_same_whatever_runs_the_language(made: Path) -> None:
    recipe = read_recipe(made)
    assert same_machine(recipe, recipe["machine"] | {"python": "3.99"})
    for name in set(recipe["machine"]) - {"python"}:
        assert not same_machine(recipe, recipe["machine"] | {name: "other"})
    assert not same_machine({**recipe, "machine": None}, recipe["machine"])


def test_what_was_made_at_once_is_made_at_once_where_that_helps(made: Path) -> None:
    tracks = {"parameters": {"instruction": "Extract the BASS track from the audio:", "track_name": "bass"}}
    recipe = {
        **read_recipe(made),
        "task": "extract",
        **tracks,
        "batch": {"songs": 3, "number": 2, "tracks": ["bass", "fx"]},
    }
    recipe["output"] = {**recipe["output"], "track": "bass"}
    together, alone = (remake_of(recipe, together=at_once) for at_once in (True, False))
    assert (together.config.batch_size, together.params.track_name) == (3, "bass,fx")
    assert together.params.instruction == GenerationParams().instruction, "one of one's own goes with one track"
    assert (alone.config.batch_size, alone.params.track_name) == (1, "bass")
    assert together.seed == alone.seed == 3


def test_verdicts_are_one_line() -> None:
    assert str(Verdict(True)) == "identical"
    assert str(Verdict(False, ("made by version 0.0.9, this is 0.1.0",), -62.4)) == (
        "differs: made by version 0.0.9, this is 0.1.0; peak difference -62 dB"
    )
    assert str(Verdict(False, ("the file it was made from is cut short",))) == (
        "differs: the file it was made from is cut short"
    )


# --- the comparison -------------------------------------------------------------------------------------------------
def written(path: Path, samples: np.ndarray, rate: int = 48_000) -> Path:
    return write_audio(samples, rate, path, "wav32" if path.suffix == ".wav" else path.suffix[1:], SongTags(), {})


def test_the_largest_difference_is_found(tmp_path: Path) -> None:
    sound = tune(3.0)
    other = sound.copy()
    other[1, 140_000] += 0.001
    first, second = written(tmp_path / "a.wav", sound), written(tmp_path / "b.wav", other)
    assert likeness(first, first).identical
    found = likeness(first, second)
    assert (found.identical, found.problem) == (False, "")
    assert found.peak_db == pytest.approx(-60, abs=0.01)
    assert likeness(second, first) == found


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "ogg", "opus", "m4a"])
def test_one_file_is_like_itself_and_unlike_another(tmp_path: Path, name: str) -> None:
    first, second = (written(tmp_path / f"{seed}.{name}", tune(1.5, seed)) for seed in (1, 2))
    assert likeness(first, Path(shutil.copy(first, tmp_path / "copy"))).identical
    assert -12 < likeness(first, second).peak_db < 6
    assert not likeness(first, second).alike


def test_what_cannot_be_compared_is_told(tmp_path: Path) -> None:
    sound = tune(2.0)
    whole, short = written(tmp_path / "a.wav", sound), written(tmp_path / "b.wav", sound[:, :70_000])
    other_rate = written(tmp_path / "c.wav", sound, 44_100)
    mono = written(tmp_path / "d.wav", sound[:1])
    assert likeness(short, whole).problem == "holds 70000 samples, not 96000"
    assert likeness(short, whole).peak_db is None
    assert likeness(other_rate, whole).problem == "has 44100 Hz and 2 channels, not 48000 and 2"
    assert likeness(mono, whole).problem == "has 48000 Hz and 1 channels, not 48000 and 2"


# --- refused --------------------------------------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path: Path, made: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a song, and files that are none."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    shutil.copy(made, here / "song.flac")
    shutil.copy(source, here / "source.wav")
    (here / "notes.flac").write_text("Dear diary")
    (here / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    (here / "empty.wav").touch()
    return here


def run(*arguments: str) -> int:
    return main(["regenerate", *arguments])


def refused(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: Sequence[str], sentence: str, code: int = 2
) -> None:
    """One line is said, with an exit code, and no file came or went."""
    before = {path.name: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert run(*arguments) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("acestep: ")]
    assert len(lines) == 1
    assert sentence in lines[0]
    assert str(folder) not in lines[0]
    assert {path.name: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("none.flac -o a.flac", "'none.flac' cannot be read as audio"),
        ("notes.flac -o a.flac", "'notes.flac' cannot be read as audio"),
        ("picture.png -o a.flac", "'picture.png' is no audio file with tags"),
        ("empty.wav -o a.flac", "'empty.wav' cannot be read as audio"),
        ("source.wav -o a.wav", "'source.wav' carries no ACE-Step recipe"),
        ("song.flac -o song.flac", "--output 'song.flac' is what the song is made from; name another file."),
        ("song.flac -o ../here/song.flac", "--output 'song.flac' is what the song is made from"),
        ("song.flac -o a.wav", "--output must end in .flac, the song's format, not 'a.wav'."),
        ("song.flac -o .", "--output '' is a folder"),
        ("song.flac -o a.flac --source source.wav", "--source is not needed: the song was made without one."),
        ("song.flac -o a.flac --reference source.wav", "--reference is not needed: the song was made without one."),
        ("song.flac -o a.flac --source none.wav", "--source: 'none.wav' is not a file."),
        ("song.flac -o a.flac --device tpu", "--device 'tpu' is unknown"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: str, sentence: str
) -> None:
    refused(capsys, folder, arguments.split(), sentence)


def needing(recipe: dict[str, Any], role: str) -> None:
    recipe["sources"][role] = {"sha256": "0123456789ab" + "c" * 52, "duration_s": 2.0}


@pytest.mark.parametrize("role", ["source", "reference"])
def test_recordings_are_verified(folder: Path, capsys: pytest.CaptureFixture[str], role: str) -> None:
    edited(folder / "song.flac", folder.parent, lambda recipe: needing(recipe, role)).replace(folder / "song.flac")
    told = f"--{role} is given 0 times; the song was made with the recording whose SHA-256 begins with 0123456789ab."
    refused(capsys, folder, ["song.flac", "-o", "a.flac"], told)
    from hashlib import sha256

    digest = sha256((folder / "source.wav").read_bytes()).hexdigest()[:12]
    told = f"--{role} is another recording: its SHA-256 begins with {digest}, that of the song's with 0123456789ab."
    refused(capsys, folder, ["song.flac", "-o", "a.flac", f"--{role}", "source.wav"], told)


@pytest.mark.parametrize(
    ("change", "sentence", "code"),
    [
        ({"schema": 7}, "this file's recipe has version 7; this program reads up to 2: update it.", 2),
        (
            {"task": "whistle"},
            "the recipe cannot be played: task_type 'whistle' is unknown; choose one of: text2mus",
            2,
        ),
        ({"models.dit.name": "huge"}, "the recipe cannot be played: this version does not know its model 'huge'.", 2),
        ({"models.dit.name": "acestep-v15-turbo"}, "`acestep-download --model acestep-v15-turbo`", 1),
        ({"output.format": "aac"}, "the recipe cannot be played: audio_format is 'aac'; allowed are", 2),
        ({"plan.metadata.bpm": 1000}, "the recipe cannot be played: bpm must be from 30 to 300, not 1000.", 2),
        ({"parameters.inference_steps": 0}, "the recipe cannot be played: inference_steps must be from 1 to", 2),
        ({"parameters.sample_rate": 8000}, "the recipe cannot be played: sample_rate is 8000", 2),
        ({"plan.audio_codes": [10**6] * 50}, "the recipe cannot be played: audio_codes", 2),
        ({"parameters.tune": 1}, "the recipe is not valid: parameters has the field 'tune', which is unknown.", 2),
        ({"seeds": "1"}, "the recipe is not valid: seeds must be a list, not '1'.", 2),
        ({"parameters.lm_top_p": float("nan")}, "the recipe is not valid JSON (NaN is no number).", 2),
    ],
)
def test_recipes_that_cannot_be_played_are_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], sentence: str, code: int
) -> None:
    def changed(recipe: dict[str, Any]) -> None:
        for place, value in change.items():
            *path, last = place.split(".")
            for name in path:
                recipe = recipe[name]
            recipe[last] = value

    edited(folder / "song.flac", folder.parent, changed).replace(folder / "song.flac")
    refused(capsys, folder, ["song.flac", "-o", "a.flac"], sentence, code)


def test_a_folder_that_cannot_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, folder, ["song.flac", "-o", "notes.flac/a.flac"], "cannot write into the folder", 1)


def test_nothing_is_left_of_a_song_that_fails(tiny: AceStepHandler, folder: Path) -> None:
    def stop(share: float, stage: str) -> None:
        if share > 0.3:
            raise KeyboardInterrupt

    before = sorted(folder.iterdir())
    with pytest.raises(KeyboardInterrupt):
        regenerate(tiny, folder / "song.flac", folder / "new" / "a.flac", progress=stop)
    assert sorted(folder.iterdir()) == before
    with pytest.raises(OutputError, match=r"cannot write 'a\.flac'"):
        (folder / "new" / "a.flac").mkdir(parents=True)
        regenerate(tiny, folder / "song.flac", folder / "new" / "a.flac")
    assert [path.name for path in (folder / "new").iterdir()] == ["a.flac"]


# --- the commands ---------------------------------------------------------------------------------------------------
def test_the_command_says_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("song.flac", "-o", "new/again.flac") == 0
    assert capsys.readouterr().out == "new/again.flac  identical\n"
    assert likeness(folder / "song.flac", folder / "new" / "again.flac").identical


def test_the_command_answers_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited(folder / "song.flac", folder.parent, elsewhere).replace(folder / "song.flac")
    assert run("song.flac", "-o", "again.flac", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["status"], answer["output"], answer["error"]) == ("succeeded", ["again.flac"], None)
    assert (answer["identical"], answer["seeds"], answer["model"]) == (False, [3], "tiny")
    assert answer["differences"][0] == f"made by version 0.0.9, this is {__version__}"
    assert -60 < answer["peak_difference_db"] < 6
    assert run("notes.flac", "-o", "again.flac", "--json") == 2
    assert json.loads(capsys.readouterr().out)["error"].startswith("'notes.flac' cannot be read")


def test_info_tells_what_a_file_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(recipe: dict[str, Any]) -> None:
        recipe["scores"] = {"overall": 0.71234, "alignment": {"score": 0.5, "line_starts": 3, "why": "heard"}}
        recipe["warnings"] = ["one", "two\nlines"]
        recipe["plan"]["lyrics"] = "\n".join(f"line {number}" for number in range(9))
        recipe["parameters"]["caption"] = "piano, please"
        recipe["batch"] |= {"songs": 4, "number": 2}
        needing(recipe, "reference")

    song = edited(folder / "song.flac", folder, told)
    assert main(["info", song.name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Calm piano"
    text = "\n".join(" ".join(line.split()) for line in lines)
    for fact in (
        f"by acestep-cog {__version__} on ",
        "float32\ntask text2music\nmodel tiny\nseed 3 (song 2 of 4)\nlength 0:10.0, flac, 48000 Hz\nbpm 77\n",
        "key A minor\nasked piano, please\ncaption calm piano\nlyrics line 0\nline 1\nline 2\nline 3\nline 4\n",
        "line 5\n... 3 more lines\nreference 2.0 s, SHA-256 0123456789ab...\n",
        "scores overall 0.712\nalignment: score 0.5, line starts 3\n",
        "warnings one\ntwo\nlines\nAI-generated music, made with ACE-Step",
    ):
        assert fact in text


def test_info_gives_a_terminal_nothing_to_obey(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def hostile(recipe: dict[str, Any]) -> None:
        recipe["plan"]["caption"] = "\x1b]0;owned\x07 \u202eevil \x9b31m हिन्‍दी 👩‍🎤"
        recipe["created"] = "\x1b[2J"

    assert main(["info", edited(folder / "song.flac", folder.parent, hostile).as_posix()]) == 0
    said = capsys.readouterr().out
    assert "?]0;owned? ?evil ?31m हिन्‍दी 👩‍🎤" in said
    assert all(character == "\n" or character in "\u200c\u200d" or character.isprintable() for character in said)


def test_info_gives_recipe_and_schema_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from jsonschema import Draft202012Validator

    assert main(["info", "--json", "song.flac"]) == 0
    recipe = json.loads(capsys.readouterr().out)
    assert recipe == read_recipe(folder / "song.flac")
    assert main(["info", "--schema"]) == 0
    Draft202012Validator(json.loads(capsys.readouterr().out)).validate(recipe)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("notes.flac", "'notes.flac' cannot be read as audio"),
        ("picture.png", "'picture.png' is no audio file with tags"),
        ("empty.wav", "'empty.wav' cannot be read as audio"),
        ("none.flac", "'none.flac' cannot be read as audio"),
        ("source.wav", "'source.wav' carries no ACE-Step recipe"),
        (".", "cannot be read as audio"),
        ("", "FILE is missing; name a song."),
    ],
)
def test_info_of_what_is_no_song(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: str, sentence: str
) -> None:
    assert main(["info", *arguments.split()]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("acestep: ")
    assert sentence in line


def test_real_recipes_keep_to_the_schema(made: Path) -> None:
    from jsonschema import Draft202012Validator

    from acestep.output.schema import recipe_schema

    recipe = read_recipe(made)
    Draft202012Validator(recipe_schema()).validate(recipe)
    assert recipe["machine"]["device"] == "cpu"
    assert set(recipe["parameters"]) == {
        *(set(vars(replace(GenerationParams()))) - {"src_audio", "reference_audio"}),
        "model",
    }
