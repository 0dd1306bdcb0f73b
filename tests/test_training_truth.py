"""What training songs are said to be, against their scores: frame by frame, and as a whole."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from acestep.constants import LATENT_RATE, TRACK_NAMES
from acestep.training import truth
from acestep.training.compose.theory import KEYS
from acestep.training.score import Score
from acestep.training.songs import record_of, training_score

SEEDS = range(12)


@pytest.fixture(params=SEEDS)
def score(request: pytest.FixtureRequest) -> Score:
    return training_score(request.param)


def frames(score: Score) -> int:
    return math.ceil(score.duration_s * LATENT_RATE)


def test_a_pitch_class_is_heard_exactly_while_a_note_of_it_sounds(score: Score) -> None:
    facts = truth.frame_facts(score.seed, frames(score))
    for columns, bass in ((truth.CHORD, False), (truth.BASS, True)):
        notes = [
            note for part in score.parts if not part.drums and (part.track == "bass") == bass for note in part.notes
        ]
        for frame in range(5, frames(score) - 5, 7):
            start, stop = (frame - 1) / LATENT_RATE, (frame + 2) / LATENT_RATE  # notes are rounded to frames
            near = {
                note.pitch % 12 for note in notes if note.start_s < stop and note.start_s + note.duration_s > start
            }
            within = {
                note.pitch % 12 for note in notes if note.start_s <= start and note.start_s + note.duration_s >= stop
            }
            told = set(np.flatnonzero(facts[frame, columns]).tolist())
            assert within <= told <= near


def test_drums_are_strongest_where_they_are_struck() -> None:
    checked = 0
    for seed in SEEDS:
        score = training_score(seed)
        facts = truth.frame_facts(seed, frames(score))[:, truth.DRUMS]
        kicks = [note for part in score.parts if part.drums for note in part.notes if note.pitch == 36]
        for note in kicks:
            frame = round(note.start_s * LATENT_RATE)
            if frame < len(facts):
                assert facts[frame, 0] >= note.velocity / 127 - 1e-6
                checked += 1
        struck = {round(note.start_s * LATENT_RATE) + age for note in kicks for age in range(truth.FADING_FRAMES)}
        lower = {round(n.start_s * LATENT_RATE) + age for part in score.parts if part.drums for n in part.notes
                 if n.pitch == 35 for age in range(truth.FADING_FRAMES)}  # fmt: skip
        assert set(np.flatnonzero(facts[:, 0]).tolist()) <= struck | lower
    assert checked > 50


def test_the_place_in_beat_and_bar_turns_once_each(score: Score) -> None:
    grid = 2 * truth.frame_facts(score.seed, frames(score))[:, truth.GRID] - 1  # cosines, then sines
    np.testing.assert_allclose(np.square(grid[:, :2]) + np.square(grid[:, 2:]), 1, atol=1e-5)
    at = (np.arange(len(grid)) + 0.5) / LATENT_RATE
    for column, marks in ((0, score.beats), (1, score.downbeats)):
        turned = np.unwrap(np.arctan2(grid[:, 2 + column], grid[:, column])) / (2 * np.pi)
        at_marks = np.interp(marks[1:-1], at, turned)
        np.testing.assert_allclose(at_marks, np.round(at_marks[:1]) + np.arange(len(at_marks)), atol=1e-2)


def test_voices_are_told_while_lines_are_sung() -> None:
    sung = [training_score(seed) for seed in SEEDS if training_score(seed).lines]
    assert sung
    for score in sung:
        voice = truth.frame_facts(score.seed, frames(score))[:, truth.VOICE]
        middles = [round((line.start_s + line.end_s) / 2 * LATENT_RATE) for line in score.lines]
        assert all(voice[middle] == 1 for middle in middles if middle < len(voice))
        assert voice.mean() < 1


def test_facts_of_a_song_tell_songs_apart(score: Score) -> None:
    record = record_of(score)
    facts = truth.song_facts(record)
    assert facts.shape == (truth.SONG_FACTS,)
    assert ((facts >= 0) & (facts <= 1)).all()
    assert {name for name, told in zip(TRACK_NAMES, facts[-len(TRACK_NAMES) :], strict=True) if told} == set(
        record.tracks
    )
    keys = facts[8 : 8 + len(KEYS)]
    assert keys.sum() == 1
    assert KEYS[int(keys.argmax())].minor == record.keyscale.endswith("minor")
    faster = truth.song_facts(replace(record, bpm=record.bpm + 2))
    assert np.abs(faster[:8] - facts[:8]).max() > 0.02
    np.testing.assert_array_equal(faster[8:], facts[8:])
