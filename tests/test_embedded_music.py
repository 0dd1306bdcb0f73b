"""What the embedded family plays is music as it was asked for: the figures it had to reach, on twelve held-out songs.

Listeners are librosa and a regression on spectra. ``python -m acestep.training.evaluate weights/tiny`` measures the
same and more on 64 songs; a dozen may fall short of a share by one standard error of a share so large.
"""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open

from acestep.audio.codec import Codec
from acestep.cogrun.schema import PROJECT
from acestep.constants import SAMPLE_RATE
from acestep.handler import AceStepHandler
from acestep.inference import generate_music
from acestep.llm_inference import LLMHandler
from acestep.training.card import CARD, EVALUATION
from acestep.training.drum_ear import hears_drums
from acestep.training.ears import Heard, longest_silence_s, tempo_agrees
from acestep.training.evaluation.measures import clipped_samples, reconstruction
from acestep.training.evaluation.observe import observe_plan
from acestep.training.evaluation.report import Figure, markdown
from acestep.training.evaluation.rows import ROWS
from acestep.training.evaluation.studio import CONFIG, HeldOutSong, Studio, asked_for, digest_of, held_out_song

SONGS = 12
FAMILY = ("tiny", "tiny-base")
FILE_MAX, FAMILY_MAX = 12 << 20, 24 << 20  # bytes
TEMPO, DRUMS = 0.7, 0.8
SI_SDR_DB, LOG_MEL, EXCERPTS = 3.0, 0.8, 8
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
    """When all but caption and lyrics is open."""
    studio, observed = Studio(PROJECT / "weights"), []
    studio.model, studio.planner = tiny, planner  # loaded once
    for song in songs:
        studio.begin(song)
        observed.append(observe_plan(studio, song))
    studio.close()
    row = next(row for row in ROWS if row.name == "planner")
    for question in row.questions:
        answers = [answer for one in observed if (answer := question.score(one.asked, one.heard)) is not None]
        assert len(answers) > SONGS / 2
        assert np.mean(answers) >= least(question.needed, len(answers)), question.what


def test_the_autoencoder_keeps_composed_songs(tiny: AceStepHandler) -> None:
    """Excerpts of three seconds (``fixtures/README.md``), of which is asked what is asked of songs."""
    sound, rate = soundfile.read(Path(__file__).parent / "fixtures" / "composed.ogg", dtype="float32")
    assert rate == SAMPLE_RATE
    codec, scores = Codec(tiny.renderer.family.vae), []
    for excerpt in np.split(np.ascontiguousarray(sound.T), EXCERPTS, axis=1):
        with torch.inference_mode():
            made = codec.decode(codec.encode(torch.from_numpy(excerpt.copy())[None]).float())[0]
        scores.append(reconstruction(made.numpy(), excerpt))
    assert np.mean([score["si_sdr"] for score in scores]) >= SI_SDR_DB
    assert np.mean([score["log_mel"] for score in scores]) <= LOG_MEL


def test_the_card_and_the_figures_are_of_these_weights() -> None:
    folder, digest = PROJECT / "weights" / "tiny", digest_of(PROJECT / "weights")
    assert digest in (folder / CARD).read_text(encoding="utf-8")
    evaluation = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
    assert evaluation["weights"] == digest
    figures = [Figure(**figure) for figure in evaluation["figures"]]
    assert markdown(figures).rstrip() in (folder / CARD).read_text(encoding="utf-8")
    needed = [figure for figure in figures if figure.needed is not None]
    goals = [one.needed is not None or one.beyond_error for row in ROWS for one in row.questions]
    assert len(needed) == sum(goals)
    assert [figure.what for figure in needed if not figure.met] == []


def test_the_family_is_small() -> None:
    files = [path for name in FAMILY for path in (PROJECT / "weights" / name).rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) <= FILE_MAX
    assert sum(path.stat().st_size for path in files) <= FAMILY_MAX
    for path in (path for path in files if path.suffix == ".safetensors"):
        with safe_open(path, "pt") as file:
            assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118 - a file
