"""What the embedded family plays is music as it was asked for: the figures it had to reach, on twelve held-out songs.

Listeners are librosa and a regression on spectra. ``python -m acestep.training.evaluate weights/tiny`` measures the
same and more on 64 songs; a dozen may fall short of a share by one standard error of a share so large.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import safe_open

from acestep.cogrun.schema import PROJECT
from acestep.constants import SAMPLE_RATE
from acestep.handler import AceStepHandler
from acestep.inference import generate_music
from acestep.llm_inference import LLMHandler
from acestep.planning import plan_songs
from acestep.request import Request
from acestep.training.drum_ear import hears_drums
from acestep.training.ears import Heard, longest_silence_s, tempo_agrees
from acestep.training.evaluation.measures import clipped_samples
from acestep.training.evaluation.observe import observe_plan
from acestep.training.evaluation.rows import ROWS
from acestep.training.evaluation.studio import CONFIG, HeldOutSong, asked_for, held_out_song

SONGS = 12
FAMILY = ("tiny", "tiny-base")
FILE_MAX, FAMILY_MAX = 12 << 20, 24 << 20  # bytes
TEMPO, DRUMS = 0.7, 0.8
SILENCE_MAX_S = 1.0


def least(share: float, songs: int) -> float:
    """What a share may fall to among so few songs."""
    return share - sqrt(share * (1 - share) / songs)


@pytest.fixture(scope="module")
def songs() -> list[HeldOutSong]:
    return [held_out_song(number) for number in range(SONGS)]


@pytest.fixture(scope="module")
def played(tiny: AceStepHandler, planner: LLMHandler, songs: list[HeldOutSong]) -> list[np.ndarray]:
    """Every song, planned and played, ``[2, S]``."""
    results = [generate_music(tiny, planner, asked_for(song, thinking=True), CONFIG) for song in songs]
    for result in results:
        result.check()
    return [result.audios[0]["tensor"].numpy() for result in results]


def test_songs_are_as_fast_as_asked(played: list[np.ndarray], songs: list[HeldOutSong]) -> None:
    agree = [tempo_agrees(Heard.of(sound).tempo, song.score.bpm) for sound, song in zip(played, songs, strict=True)]
    assert np.mean(agree) >= least(TEMPO, SONGS)


def test_drums_play_where_they_were_asked_for_and_nowhere_else(
    played: list[np.ndarray], songs: list[HeldOutSong]
) -> None:
    asked = ["drums" in song.score.tracks for song in songs]
    agree = [hears_drums(Heard.of(sound)) == drums for sound, drums in zip(played, asked, strict=True)]
    assert len(set(asked)) == 2
    assert np.mean(agree) >= least(DRUMS, SONGS)


def test_songs_are_as_long_as_asked_unclipped_and_without_holes(
    played: list[np.ndarray], songs: list[HeldOutSong]
) -> None:
    for sound, song in zip(played, songs, strict=True):
        assert sound.shape == (2, round(song.record.duration * SAMPLE_RATE))
        assert clipped_samples(sound) == 0
        assert longest_silence_s(sound) <= SILENCE_MAX_S


def test_plans_are_valid_and_know_style_and_language(
    tiny: AceStepHandler, planner: LLMHandler, songs: list[HeldOutSong]
) -> None:
    """When all but caption and lyrics is open; as it is evaluated."""
    open_fields = {"bpm": None, "keyscale": "", "timesignature": "", "duration": None, "vocal_language": "unknown"}
    observed = []
    for song in songs:
        params = replace(asked_for(song, thinking=True), **open_fields)
        request = Request.from_params(params, CONFIG, tiny.model)
        studio = SimpleNamespace(planned=lambda asked=request: plan_songs(asked, planner, tiny.renderer.reader))
        observed.append(observe_plan(studio, song))
    row = next(row for row in ROWS if row.name == "planner")
    for question in row.questions:
        answers = [answer for one in observed if (answer := question.score(one.asked, one.heard)) is not None]
        assert len(answers) > SONGS / 2
        assert np.mean(answers) >= least(question.needed, len(answers)), question.what


def test_the_family_is_small() -> None:
    files = [path for name in FAMILY for path in (PROJECT / "weights" / name).rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) <= FILE_MAX
    assert sum(path.stat().st_size for path in files) <= FAMILY_MAX
    for path in (path for path in files if path.suffix == ".safetensors"):
        with safe_open(path, "pt") as file:
            assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118 - a file
