"""Scores through ``generate_music``: what is judged of which songs, where it is written, that it changes nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, GenerationResult, generate_music
from acestep.llm_inference import LLMHandler
from acestep.output.tags import read_recipe, read_tags
from acestep.output.timed_lyrics import to_lrc, to_srt, to_vtt
from acestep.scoring.sound import measure

from edit_support import ROUGH, run, saved, tune

SUNG = "[Verse]\nOver the hills and far away\nthe river sings to me\n\n[Chorus]\nHold on / hold on"
LINES = ["Over the hills and far away", "the river sings to me", "Hold on / hold on"]
PARAMS = GenerationParams(
    caption="calm piano with soft strings and a warm female voice",
    lyrics=SUNG,
    duration=12,
    bpm=90,
    keyscale="D minor",
    seed=5,
    thinking=False,
    inference_steps=2,
)
JUDGED = GenerationConfig(batch_size=1, score=True, audio_format="wav")


def made(
    handler: AceStepHandler,
    folder: Path | None = None,
    llm: LLMHandler | None = None,
    config: GenerationConfig = JUDGED,
    **differs: object,
) -> GenerationResult:
    result = generate_music(handler, llm, replace(PARAMS, **differs), config, folder)
    result.check()
    return result


@pytest.fixture(scope="module")
def song(tiny: AceStepHandler, tmp_path_factory: pytest.TempPathFactory) -> GenerationResult:
    """A song that is judged, and written to a file."""
    return made(tiny, tmp_path_factory.mktemp("song"))


@pytest.fixture(scope="module")
def songs(tiny: AceStepHandler) -> GenerationResult:
    """Four that are made and judged together; the first has the words and the seed of ``song``."""
    return made(tiny, config=replace(JUDGED, batch_size=4))


def test_nothing_is_judged_unless_it_is_asked_for(tiny: AceStepHandler, tmp_path: Path) -> None:
    result = made(tiny, tmp_path, config=replace(JUDGED, score=False))
    [audio] = result.audios
    assert audio["scores"] is None
    assert audio["timed_lyrics"] == ()
    assert read_recipe(audio["path"])["scores"] is None
    assert result.ranking == (0,)
    assert result.extra_outputs["time_costs"]["scoring_time"] == 0
    assert not result.is_judged


def test_judging_changes_no_sample(tiny: AceStepHandler, song: GenerationResult) -> None:
    plain = made(tiny, config=replace(JUDGED, score=False))
    assert torch.equal(plain.audios[0]["tensor"], song.audios[0]["tensor"])
    assert song.extra_outputs["time_costs"]["scoring_time"] > 0


def test_a_song_is_judged_by_what_it_sings_and_how_it_sounds(song: GenerationResult) -> None:
    [audio] = song.audios
    scores = audio["scores"]
    assert 0 <= scores["overall"] <= 1
    assert {"score", "coverage", "monotonicity", "confidence"} == set(scores["alignment"])
    assert scores["likelihood"] is None, "there is no planner"
    sound = measure(audio["tensor"].numpy(), audio["sample_rate"], bpm=90, keyscale="D minor")
    assert scores["sound"]["loudness_lufs"] == pytest.approx(sound.loudness_lufs, abs=1e-4)
    assert scores["sound"]["true_peak_dbtp"] == pytest.approx(sound.true_peak_dbtp, abs=1e-4)
    assert scores["sound"]["tempo_agreement"] == pytest.approx(sound.tempo_agreement, abs=1e-4)


def test_the_recipe_and_the_tags_hold_scores_and_times(song: GenerationResult) -> None:
    [audio] = song.audios
    recipe, tags = read_recipe(audio["path"]), read_tags(audio["path"])
    assert {name: recipe["scores"][name] for name in audio["scores"]} == audio["scores"]
    sung = [line for line in audio["timed_lyrics"] if not line.is_tag]
    assert [line.text for line in sung] == LINES
    assert [line["lyrics"] for line in recipe["scores"]["lines"] if "[" not in line["lyrics"]] == LINES
    assert [text for _, text in tags.synced] == LINES
    assert [start for start, _ in tags.synced] == pytest.approx([line.start_s for line in sung], abs=0.0101)
    starts = [line.start_s for line in audio["timed_lyrics"]]
    assert starts == sorted(starts)
    assert all(0 <= line.start_s <= line.end_s <= 12 for line in audio["timed_lyrics"])


def test_an_instrumental_is_judged_without_lyrics(tiny: AceStepHandler) -> None:
    for words in ({"lyrics": ""}, {"lyrics": "[Intro]\n\n[Outro - fade out]"}, {"instrumental": True}):
        [audio] = made(tiny, **words).audios
        assert audio["scores"]["alignment"] is None
        assert audio["scores"]["overall"] is not None
        assert audio["timed_lyrics"] == ()


def test_a_planner_is_asked_what_it_hears(tiny: AceStepHandler, terse: LLMHandler) -> None:
    [audio] = made(tiny, llm=terse, thinking=True).audios
    guessed = audio["scores"]["likelihood"]
    assert all(0 <= guessed[part] <= 1 for part in ("caption", "lyrics", "metadata", "reward"))
    [silent] = made(tiny, llm=terse, thinking=True, instrumental=True).audios
    assert silent["scores"]["likelihood"]["lyrics"] is None


def test_without_being_asked_a_planner_says_nothing(tiny: AceStepHandler, terse: LLMHandler) -> None:
    [audio] = made(tiny, llm=terse).audios
    assert audio["scores"]["likelihood"] is None


def test_a_song_is_judged_as_if_it_were_alone(
    tiny: AceStepHandler, song: GenerationResult, songs: GenerationResult
) -> None:
    apart = [song, *(made(tiny, seed=PARAMS.seed + number) for number in (1, 2))]
    for audio, single in zip(songs.audios, apart, strict=False):
        [alone] = single.audios
        assert audio["scores"]["overall"] == pytest.approx(alone["scores"]["overall"], abs=2e-3)
        assert [line.text for line in audio["timed_lyrics"]] == [line.text for line in alone["timed_lyrics"]]


def test_the_ranking_is_that_of_the_overall_scores(songs: GenerationResult) -> None:
    overall = [audio["scores"]["overall"] for audio in songs.audios]
    assert songs.ranking == tuple(np.argsort([-score for score in overall], kind="stable").tolist())
    head, *rows = songs.status_message.splitlines()[2:]
    assert head.split()[:3] == ["song", "seed", "overall"]
    assert [int(row.split()[0]) - 1 for row in rows] == list(songs.ranking)
    assert max(map(len, [head, *rows])) <= 100


def test_scores_hold_json_alone(song: GenerationResult) -> None:
    [audio] = song.audios
    text = json.dumps(audio["scores"], allow_nan=False)
    assert json.loads(text) == audio["scores"]


@pytest.mark.parametrize("task", ["repaint", "cover"])
def test_edits_of_whole_songs_are_judged_with_their_lyrics(tiny: AceStepHandler, tmp_path: Path, task: str) -> None:
    source = saved(tmp_path / "song.wav", tune(12))
    region = {"repainting_start": 4.0, "repainting_end": 8.0} if task == "repaint" else {}
    [audio] = run(tiny, source, config=JUDGED, task_type=task, lyrics=SUNG, **region).audios
    assert audio["scores"]["alignment"] is not None
    assert len(audio["timed_lyrics"]) == 5


def test_what_is_made_in_passes_is_judged_by_its_sound(tiny: AceStepHandler, tmp_path: Path) -> None:
    source = saved(tmp_path / "song.wav", tune(35))
    changes = {"extend_duration": 61.0, "inference_steps": 1}
    [audio] = run(tiny, source, config=JUDGED, task_type="extend", lyrics=SUNG, **changes).audios
    assert audio["scores"]["alignment"] is None
    assert audio["timed_lyrics"] == ()
    assert math.isfinite(audio["scores"]["sound"]["loudness_lufs"])


def test_tracks_are_judged_by_their_sound_alone(tiny_base: AceStepHandler, tmp_path: Path) -> None:
    source = saved(tmp_path / "song.wav", tune(4))
    result = run(
        tiny_base, source, config=JUDGED, task_type="extract", track_name="drums,bass", lyrics=SUNG, bpm=90, **ROUGH
    )
    for audio in result.audios:
        assert audio["scores"]["alignment"] is None
        assert audio["scores"]["sound"]["tempo_agreement"] is None
    assert result.ranking == (0,)


@pytest.mark.parametrize(
    "task",
    [
        {"task_type": "lego", "track_name": "drums"},
        {"task_type": "lego", "track_name": "vocals", "mix": True},
        {"task_type": "lego", "instruction": "Generate the kazoo track:"},
        {"task_type": "complete", "track_name": "drums,bass"},
        {"task_type": "complete"},
        {"task_type": "vocal_accompaniment"},
        {"task_type": "vocal_accompaniment", "mix": True},
        {"task_type": "audio2audio", "preserve_vocals": True},
    ],
    ids=str,
)
def test_words_are_followed_in_whole_songs_alone(
    tiny_base: AceStepHandler, tmp_path: Path, task: dict[str, object]
) -> None:
    source = saved(tmp_path / "song.wav", tune(4))
    [audio] = run(tiny_base, source, config=JUDGED, lyrics=SUNG, bpm=90, **task, **ROUGH).audios
    assert audio["scores"]["alignment"] is None
    assert audio["timed_lyrics"] == ()
    is_track = not (task.get("mix") or task.get("preserve_vocals"))
    sound = audio["scores"]["sound"]
    assert sound["is_track"] == is_track
    assert (sound["tempo_agreement"] is None) == is_track


def test_where_no_take_is_a_song_the_transformer_is_not_asked_again(
    tiny_base: AceStepHandler, tmp_path: Path
) -> None:
    source = saved(tmp_path / "song.wav", tune(4))
    calls: list[int] = []
    embed = tiny_base.renderer.family.model.decoder.condition_embedder
    hook = embed.register_forward_pre_hook(lambda _module, args: calls.append(len(args[0])))
    counts = []
    for config in (replace(JUDGED, score=False), JUDGED):
        run(tiny_base, source, config=config, task_type="lego", track_name="drums", lyrics=SUNG, **ROUGH)
        counts.append(len(calls))
    hook.remove()
    assert counts == [counts[0], 2 * counts[0]]


def test_times_of_lines_hold_no_credentials(tiny: AceStepHandler, tmp_path: Path) -> None:
    secret = "hf_abcdefghijklmnopqrstuvwxyz"
    lyrics = f"[Verse] my love is\nthe key {secret} to you\n[a]hf_[b]abcdefghijklmnopqrstuvwxyz\nhold on"
    [audio] = made(tiny, tmp_path, lyrics=lyrics).audios
    lines = audio["timed_lyrics"]
    assert [line.text for line in lines] == ["my love is", "the key *** to you", "***", "hold on"]
    assert [bool(line.tokens) for line in lines] == [True, False, False, True]
    assert all(line.start_s <= line.end_s for line in lines)
    texts = [str(read_tags(audio["path"]).synced), to_lrc(lines), to_srt(lines), to_vtt(lines), repr(lines)]
    recipe = read_recipe(audio["path"])
    texts = [*texts, json.dumps(recipe["scores"])]
    assert not any("abcdefghijklmnopqrstuvwxyz" in text for text in texts)
    assert secret not in json.dumps(recipe)


def test_progress_reaches_the_end_through_the_judging(tiny: AceStepHandler) -> None:
    told: list[tuple[float, str]] = []
    generate_music(tiny, None, PARAMS, JUDGED, progress=lambda share, stage: told.append((share, stage)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert "judging" in [stage for _, stage in told]
    assert told[-1] == (1.0, "finished")


def test_judging_can_be_ended(tiny: AceStepHandler, tmp_path: Path) -> None:
    class EnoughError(Exception):
        pass

    def stop(_share: float, stage: str) -> None:
        if stage == "judging":
            raise EnoughError

    with pytest.raises(EnoughError):
        generate_music(tiny, None, PARAMS, JUDGED, tmp_path / "new", stop)
    assert not (tmp_path / "new").exists()
