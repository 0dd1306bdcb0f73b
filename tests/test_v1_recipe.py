"""The recipe in a v1 song: valid, with everything that took effect, and enough to make the song again to the bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf
from jsonschema import Draft202012Validator

from acestep.cli import main
from acestep.errors import InputError
from acestep.handler import AceStepHandler
from acestep.output.compare import likeness
from acestep.output.formats import FORMATS
from acestep.output.recipe import from_json, to_json
from acestep.output.schema import recipe_schema
from acestep.output.tags import read_recipe, read_tags, write_tags
from acestep.regenerate import remake_of
from acestep.remaking import regenerate
from acestep.request import Request
from acestep.v1.length import drawn_duration

from edit_support import saved, tune
from v1_road_support import NAME, ROUGH, WORDS, make, tiny_v1

VALIDATOR = Draft202012Validator(recipe_schema())
LENGTH_S = 1.9
OVER = {  # by the task, or by what is not usual about it
    "repaint": {"repainting_start": 0.5, "repainting_end": 1.2, "variation_strength": 0.5},
    "extend": {"continuation_mode": "extend_both", "extend_duration": 1.0, "extend_start_duration": 1.5},
    "edit": {"style_prompt": "rock", "edit_n_min": 0.2, "edit_n_max": 0.8, "edit_n_avg": 2, "inference_steps": 4},
    "audio2audio": {"audio2audio_strength": 0.3, "scheduler_type": "pingpong", "inference_steps": 4},
    "style_transfer": {"style_prompt": "rock", "style_lyrics": "[verse]\nlo lo", "style_strength": 0.9},
    "vocal_accompaniment": {"accompaniment_style": "jazz"},
    "44100 Hz": {"task_type": "continuation", "extend_duration": 1.0, "sample_rate": 44_100},
}
NEW = {
    "plain": {},
    "other noise": {"variation_seed": 9, "variation_strength": 0.4},
    "noise of nobody's choice": {"variation_strength": 0.4, "seed": -1},
    "picked steps": {"oss_steps": [1, 3, 5], "scheduler_type": "pingpong"},
    "two scales": {"guidance_scale_text": 5.0, "guidance_scale_lyric": 1.5, "use_erg_lyric": False},
    "no guidance": {"guidance_scale": 0.0},
    "instrumental": {"instrumental": True, "sample_rate": 44_100, "limit_true_peak": False},
    "a language": {"vocal_language": "de", "guidance_interval_decay": 0.5, "cfg_type": "cfg"},
    "upstream's languages": {"lyric_detection": "upstream", "lyrics": "- hello world again"},
}


@pytest.fixture(scope="module")
def handler() -> AceStepHandler:
    return tiny_v1()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(saved(tmp_path_factory.mktemp("source") / "source.wav", tune(LENGTH_S)))


@pytest.fixture(scope="module")
def plain(handler: AceStepHandler, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a song."""
    result = make(handler, tmp_path_factory.mktemp("plain"), audio_format="flac", score=True)
    return Path(result.audios[0]["path"])


def written(handler: AceStepHandler, folder: Path, **said: Any) -> list[Path]:
    return [Path(audio["path"]) for audio in make(handler, folder, audio_format="flac", **said).audios]


def assert_again(handler: AceStepHandler, file: Path, **recordings: Path) -> None:
    """The song comes back from its recipe, and its recipe with it."""
    remade = regenerate(handler, file, file.with_stem(f"{file.stem}-again"), **recordings)
    assert str(remade.verdict) == "identical"
    assert likeness(file, remade.path).identical
    then, now = read_recipe(file), read_recipe(remade.path)
    made_anew = {"created", "timing", "models"}
    assert {name: now[name] for name in now if name not in made_anew} == {
        name: then[name] for name in then if name not in made_anew
    }
    assert read_tags(file) == read_tags(remade.path)


# --- Made again -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NEW)
def test_a_new_song_is_made_again(handler: AceStepHandler, tmp_path: Path, name: str) -> None:
    (file,) = written(handler, tmp_path, **NEW[name])
    recipe = read_recipe(file)
    VALIDATOR.validate(recipe)
    assert recipe == from_json(to_json(recipe))
    assert_again(handler, file)


@pytest.mark.parametrize("name", OVER)
def test_a_song_over_a_recording_is_made_again(
    handler: AceStepHandler, source: Path, tmp_path: Path, name: str
) -> None:
    said = {"task_type": name, **OVER[name]}
    (file,) = written(handler, tmp_path, src_audio=str(source), **said)
    recipe = read_recipe(file)
    VALIDATOR.validate(recipe)
    assert recipe["task"] == said["task_type"]
    assert recipe["sources"]["source"]["duration_s"] == pytest.approx(LENGTH_S)
    assert_again(handler, file, source=source)


def test_a_song_as_long_as_its_seed_is_made_again(handler: AceStepHandler, tmp_path: Path) -> None:
    seed = next(seed for seed in range(1000) if drawn_duration(seed) < 31)
    (file,) = written(handler, tmp_path, seed=seed, duration=-1, inference_steps=1, guidance_scale=1.0)
    assert read_recipe(file)["parameters"]["duration"] == drawn_duration(seed)
    assert_again(handler, file)


def test_a_song_of_a_batch_is_made_again(handler: AceStepHandler, tmp_path: Path) -> None:
    _, second = written(handler, tmp_path, batch_size=2, seeds=[7, 5])
    recipe = read_recipe(second)
    assert (recipe["seeds"], recipe["batch"]) == ([5], {"songs": 2, "number": 2, "tracks": []})
    remade = regenerate(handler, second, tmp_path / "again.flac")
    assert remade.verdict.identical or remade.verdict.peak_db < -80


@pytest.mark.parametrize("name", ["plain", "instrumental", "other noise"])
def test_what_is_made_again_is_told_no_more_than_the_first_time(
    handler: AceStepHandler, tmp_path: Path, name: str
) -> None:
    (file,) = written(handler, tmp_path, **NEW[name])
    recipe = read_recipe(file)
    remake = remake_of(recipe, together=True)
    request = Request.from_params(remake.params, replace(remake.config, seeds=None), handler.model)
    assert list(request.warnings) == recipe["warnings"] == [f"inference_steps 2 {ROUGH}"]


# --- What it says ---------------------------------------------------------------------------------------------------


def test_the_recipe_says_what_took_effect(plain: Path) -> None:
    recipe = read_recipe(plain)
    VALIDATOR.validate(recipe)
    said = recipe["parameters"]
    assert (said["model"], recipe["models"]["dit"]["name"], recipe["models"]["lm"]) == (NAME, NAME, None)
    assert recipe["models"]["dit"]["reason"]
    assert (said["inference_steps"], said["guidance_scale"], said["shift"]) == (2, 15.0, None)
    assert (said["caption"], said["lyrics"], said["duration"]) == (WORDS["caption"], WORDS["lyrics"], 10)
    assert recipe["plan"]["audio_codes"] == []
    assert recipe["scores"]["overall"] > 0
    assert recipe["scores"]["lines"] == []
    assert recipe["output"] == {"format": "flac", "sample_rate": 48_000, "samples": 480_000, "track": ""}


def test_players_show_the_song(plain: Path) -> None:
    tags = read_tags(plain)
    assert (tags.title, tags.lyrics, tags.bpm, tags.key) == ("Pop", WORDS["lyrics"], None, "")
    assert "AI" in tags.comment


@pytest.mark.parametrize("kind", ["wav", "mp3", "ogg"])
def test_it_is_in_every_kind_of_file(handler: AceStepHandler, tmp_path: Path, kind: str) -> None:
    result = make(handler, tmp_path, audio_format=kind, inference_steps=1)
    recipe = read_recipe(result.audios[0]["path"])
    assert (recipe["output"]["format"], recipe["models"]["dit"]["name"]) == (kind, NAME)


def test_words_of_both_kinds_are_there_when_a_recording_was_led_from_one_to_the_other(
    handler: AceStepHandler, source: Path, tmp_path: Path
) -> None:
    fields = {"task_type": "edit", "src_audio": str(source), "style_prompt": "slow jazz"}
    recipe = read_recipe(written(handler, tmp_path, **fields)[0])
    assert (recipe["parameters"]["caption"], recipe["plan"]["caption"]) == (WORDS["caption"], "slow jazz")
    assert recipe["parameters"]["style_prompt"] == "slow jazz"
    assert recipe["plan"]["lyrics"] == WORDS["lyrics"]


# --- On the command line --------------------------------------------------------------------------------------------


def test_the_command_wants_the_recording_it_was_made_of(
    handler: AceStepHandler,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (file,) = written(handler, tmp_path, src_audio=str(source), task_type="audio2audio")
    monkeypatch.chdir(tmp_path)
    assert main(["regenerate", file.name, "-o", "again.flac"]) == 2
    assert "the song was made with the recording whose SHA-256 begins with" in capsys.readouterr().err
    assert main(["regenerate", file.name, "--source", str(source), "-o", "again.flac"]) == 0
    assert capsys.readouterr().out == "again.flac  identical\n"
    assert sf.info("again.flac").frames == round(LENGTH_S * 48_000)


def test_a_recipe_that_asks_for_what_v1_cannot_is_blamed(
    handler: AceStepHandler, plain: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "song.flac"
    copy.write_bytes(plain.read_bytes())
    recipe = read_recipe(copy)
    recipe["parameters"]["scheduler_type"] = "ab3"
    write_tags(copy, FORMATS["flac"].tag_kind, read_tags(copy), to_json(recipe))
    with pytest.raises(InputError, match="scheduler_type 'ab3' belongs to the ACE-Step 1.5 models"):
        regenerate(handler, copy, tmp_path / "again.flac")
    assert not (tmp_path / "again.flac").exists()
    assert json.loads(to_json(recipe))["parameters"]["scheduler_type"] == "ab3"
