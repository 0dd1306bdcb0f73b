"""Every task from a file to finished songs: how long they are, what decides them, what a batch leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from acestep.constants import SAMPLE_RATE
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationResult
from acestep.output.formats import CD_RATE
from acestep.tasks import TASKS

from edit_support import judged, played, run, saved, sounds, tune

RECORDED = 165_926  # samples: neither whole frames nor whole codes
PLACE = {"repainting_start": 1.0, "repainting_end": 2.5}
CALLS: dict[str, dict[str, object]] = {
    "text2music": {"duration": 10},
    "cover": {},
    "cover-nofsq": {},
    "repaint": PLACE,
    "extend": {"extend_duration": 1.2345},
    "lego": {"track_name": "drums", **PLACE},
    "extract": {"track_name": "vocals, drums"},
    "complete": {"track_name": "drums, bass"},
    "edit": {"style_prompt": "rock"},
    "audio2audio": {},
    "continuation": {"continuation_mode": "extend_both", "extend_duration": 1.0},
    "inpainting": PLACE,
    "style_transfer": {"style_prompt": "rock"},
    "vocal_accompaniment": {},
}
LENGTHS = {"text2music": 480_000, "extend": RECORDED + 59_256, "continuation": RECORDED + 96_000}  # else RECORDED
Plain = Callable[[str], GenerationResult]
SYNONYMS = ("continuation", "inpainting", "audio2audio")  # rows that differ from another in name or default alone
EVERY_TASK = pytest.mark.parametrize("task", list(CALLS))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("source") / "song.wav", tune(RECORDED / SAMPLE_RATE))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A little longer than what is heard of it."""
    return saved(tmp_path_factory.mktemp("reference") / "voice.wav", tune(33.0, seed=7))


@pytest.fixture(scope="module")
def plain(tiny_base: AceStepHandler, source: str) -> Plain:
    """Every task as it is, made once."""
    return cache(lambda task: done(tiny_base, task, source))


def done(
    handler: AceStepHandler, task: str, source: str, config: GenerationConfig | None = None, **fields: object
) -> GenerationResult:
    recording = source if TASKS[task].needs_source else None
    return run(handler, recording, config=config, task_type=task, **CALLS[task], **fields)


def test_no_task_is_left_out() -> None:
    assert list(CALLS) == list(TASKS)


# --- Lengths ----------------------------------------------------------------------------------------------------


@EVERY_TASK
def test_the_length_is_right_to_the_sample(tiny_base: AceStepHandler, plain: Plain, source: str, task: str) -> None:
    for rate, result in (
        (SAMPLE_RATE, plain(task)),
        (CD_RATE, done(tiny_base, task, source, sample_rate=CD_RATE, inference_steps=1)),
    ):
        expected = round(LENGTHS.get(task, RECORDED) * rate / SAMPLE_RATE)
        assert {sound.shape for sound in sounds(result)} == {(2, expected)}
        for audio in result.audios:
            assert audio["sample_rate"] == rate
            assert audio["params"]["duration"] == pytest.approx(expected / rate, abs=1 / rate)


@pytest.mark.parametrize("seconds", [0.1, 0.12345, 11.00001])
@pytest.mark.parametrize("task", ["cover", "edit", "complete"])
def test_a_recording_may_be_shorter_than_any_song(
    tiny_base: AceStepHandler, tmp_path: Path, task: str, seconds: float
) -> None:
    recording = tune(seconds)
    result = done(tiny_base, task, saved(tmp_path / "short.wav", recording))
    assert [sound.shape for sound in sounds(result)] == [recording.shape]


# --- What decides a song ----------------------------------------------------------------------------------------


@EVERY_TASK
def test_the_seed_decides_and_a_batch_changes_nothing(
    tiny_base: AceStepHandler, plain: Plain, source: str, task: str
) -> None:
    """The songs of a batch are those of their seeds alone, and bit for bit those of the same batch."""
    batch = GenerationConfig(batch_size=2, audio_format="wav")
    both, again = (done(tiny_base, task, source, batch, seed=2) for _ in range(2))
    for one, other in zip(sounds(both), sounds(again), strict=True):
        assert np.array_equal(one, other)
    alone = plain(task)
    tracks = len(alone.audios)
    assert [audio["params"]["seed"] for audio in both.audios] == [2] * tracks + [3] * tracks
    for first, second, single in zip(sounds(both)[:tracks], sounds(both)[tracks:], sounds(alone), strict=True):
        np.testing.assert_allclose(second, single, rtol=0, atol=1e-4)
        assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize("guidance", [1.0, 7.0])
def test_four_tasks_of_four_lengths_in_one_batch_are_the_four_songs(
    tiny_base: AceStepHandler, guidance: float
) -> None:
    fields = {"guidance_scale": guidance, "inference_steps": 2}
    recordings = {"cover": tune(4.1), "repaint": tune(3.3, seed=1), "lego": tune(5.5, seed=2), "text2music": None}
    alone = []
    for seed, (task, recording) in enumerate(recordings.items()):
        given = {} if recording is not None else {"src_audio": None}
        performance = played(tiny_base, recording, task_type=task, seed=seed, **CALLS[task], **fields, **given)
        alone += performance.rendering.songs
    request = judged(tiny_base, task_type="cover", **fields)
    together = tiny_base.renderer.play(request, [song.piece for song in alone]).songs
    assert [song.latents.shape[0] for song in together] == [103, 83, 138, 250]
    for song, single in zip(together, alone, strict=True):
        torch.testing.assert_close(song.latents, single.latents, rtol=0, atol=1e-4)
        torch.testing.assert_close(song.waveform, single.waveform, rtol=0, atol=1e-4)


@pytest.mark.parametrize("task", [task for task in CALLS if task not in SYNONYMS])
def test_a_reference_changes_every_task(
    tiny_base: AceStepHandler, plain: Plain, source: str, reference: str, task: str
) -> None:
    told = done(tiny_base, task, source, reference_audio=reference)
    for sound, heard in zip(sounds(plain(task)), sounds(told), strict=True):
        assert sound.shape == heard.shape
        assert not np.array_equal(sound, heard)


def test_the_excerpt_of_a_reference_is_the_seeds(tiny_base: AceStepHandler, source: str, reference: str) -> None:
    heard = {
        (seed, file): done(tiny_base, "cover", source, reference_audio=file, seed=seed, inference_steps=1)
        for seed in (3, 4)
        for file in (None, reference)
    }
    states = {key: result.extra_outputs["encoder_hidden_states"] for key, result in heard.items()}
    assert torch.equal(states[3, None], states[4, None])
    assert not torch.equal(states[3, reference], states[4, reference])
    again = done(tiny_base, "cover", source, reference_audio=reference, inference_steps=1)
    assert np.array_equal(sounds(again)[0], sounds(heard[3, reference])[0])


def test_a_variation_leads_from_one_song_to_another(tiny_base: AceStepHandler) -> None:
    def song(**variation: object) -> np.ndarray:
        return sounds(run(tiny_base, None, duration=10, inference_steps=1, **variation))[0]

    plain = song()
    assert np.array_equal(song(variation_seed=9, variation_strength=0.0), plain)
    ways = [song(variation_seed=9, variation_strength=share) for share in (0.1, 0.5, 1.0)]
    apart = [np.abs(way - plain).mean() for way in ways]
    assert 0 < apart[0] < apart[1] < apart[2]
    assert np.array_equal(ways[2], song(seed=9))


# --- Flow edit --------------------------------------------------------------------------------------------------


def own_latents(handler: AceStepHandler, recording: np.ndarray) -> torch.Tensor:
    whole = np.pad(recording, ((0, 0), (0, -recording.shape[1] % 1920)))
    return handler.renderer.latents_of(torch.from_numpy(whole))[0].cpu()


@pytest.mark.parametrize("fields", [{}, {"edit_n_avg": 3}, {"guidance_scale": 7.0, "inference_steps": 6}], ids=str)
def test_an_edit_into_the_same_words_is_the_recording(tiny_base: AceStepHandler, fields: dict[str, object]) -> None:
    recording = tune(RECORDED / SAMPLE_RATE)
    words = {"caption": "soft piano", "lyrics": "[verse]\nla", "style_lyrics": "[verse]\nla"}
    same, other = (
        played(tiny_base, recording, task_type="edit", **words, style_prompt=style, **fields).rendering.songs[0]
        for style in ("soft piano", "loud drums")
    )
    own = own_latents(tiny_base, recording)
    torch.testing.assert_close(same.latents, own, rtol=0, atol=1e-4)
    assert (other.latents - own).abs().max() > 0.01


def test_an_edit_that_starts_later_stays_nearer(tiny_base: AceStepHandler) -> None:
    recording = tune(3.0)
    own = own_latents(tiny_base, recording)
    ways = [
        (
            played(
                tiny_base,
                recording,
                task_type="edit",
                style_prompt="loud drums",
                inference_steps=10,
                edit_n_min=share,
            )
            .rendering.songs[0]
            .latents
            - own
        )
        .abs()
        .mean()
        for share in (0.0, 0.5, 0.9)
    ]
    assert ways[0] > ways[1] > ways[2] > 0


# --- How near ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "strength", "far"),
    [
        ("cover", "audio_cover_strength", 0.0),
        ("cover-nofsq", "audio_cover_strength", 0.0),
        ("style_transfer", "style_strength", 1.0),
        ("audio2audio", "audio2audio_strength", 1.0),
    ],
)
def test_far_from_a_recording_it_does_not_matter_which(
    tiny_base: AceStepHandler, source: str, tmp_path: Path, task: str, strength: str, far: float
) -> None:
    noise = np.random.default_rng(8).uniform(-0.7, 0.7, (2, RECORDED))
    other = saved(tmp_path / "other.wav", noise)
    apart = {}
    for value in (far, 1 - far):
        one, two = (sounds(done(tiny_base, task, file, **{strength: value}))[0] for file in (source, other))
        apart[value] = np.abs(one - two).max()
    assert apart[far] == 0
    assert apart[1 - far] > 0
