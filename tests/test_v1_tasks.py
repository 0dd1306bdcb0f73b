"""What v1 makes of a recording, task by task: outside a region nothing changes, and what is heard of it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import Tensor

from acestep.audio.io import read_audio
from acestep.audio.levels import from_db, true_peak
from acestep.audio.limiter import CEILING_DB
from acestep.audio.resample import resample, resampled_length
from acestep.constants import INSTRUMENTAL_LYRICS, SAMPLE_RATE
from acestep.errors import CancelledError, InputError
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music
from acestep.output.formats import CD_RATE
from acestep.output.tags import read_recipe
from acestep.request import Request
from acestep.takes import Performance
from acestep.tasks import FIRST_TASKS, Region
from acestep.v1.length import NATIVE_RATE, SAMPLES_PER_FRAME
from acestep.v1.stage import NOT_HEARD, perform

from edit_support import run, saved, sounds, tune
from v1_road_support import NAME, tiny_v1, warnings_of

RECORDED = 106_543  # samples: no whole number of frames
CLOSE = 1e-4
LOSSLESS = {"wav": 16, "wav32": 0, "flac": 24}
NOTES = {"vocal_accompaniment": [NOT_HEARD.format(model=NAME)]}


def at(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def region(start: float, end: float, **more: Any) -> dict[str, Any]:
    return {"task_type": "repaint", "repainting_start": start, "repainting_end": end, **more}


def growth(mode: str, seconds: float, **more: Any) -> dict[str, Any]:
    return {"task_type": "extend", "continuation_mode": mode, "extend_duration": seconds, **more}


PLACES: dict[str, tuple[dict[str, Any], int, int, tuple[tuple[int, int], ...]]] = {  # said, first, total, made
    "repaint": (region(0.7, 1.4), 0, RECORDED, ((at(0.7), at(1.4)),)),
    "inpainting between frames": (
        region(0.61237, 1.10001, task_type="inpainting"), 0, RECORDED, ((at(0.61237), at(1.10001)),)
    ),
    "repaint of a moment": (region(1.0, 1.01), 0, RECORDED, ((at(1), at(1.01)),)),
    "repaint to the end": (region(1.7, -1), 0, RECORDED, ((at(1.7), RECORDED),)),
    "repaint before the beginning": (
        region(-1.2345, 0.7), at(1.2345), at(1.2345) + RECORDED, ((0, at(1.2345) + at(0.7)),)
    ),
    "repaint beyond the end": (region(1.8, 3.4321), 0, at(3.4321), ((at(1.8), at(3.4321)),)),
    "inpaint_middle": (
        region(0.9, 1.6, task_type="continuation", continuation_mode="inpaint_middle"),
        0, RECORDED, ((at(0.9), at(1.6)),),
    ),
    "extend_end": (growth("extend_end", 1.7), 0, RECORDED + at(1.7), ((RECORDED, RECORDED + at(1.7)),)),
    "extend_start": (growth("extend_start", 1.23), at(1.23), RECORDED + at(1.23), ((0, at(1.23)),)),
    "extend_both": (
        growth("extend_both", 1.1, task_type="continuation"), at(1.1), RECORDED + 2 * at(1.1),
        ((0, at(1.1)), (RECORDED + at(1.1), RECORDED + 2 * at(1.1))),
    ),
    "both sides, one longer": (
        growth("extend_both", 1.1, extend_start_duration=2.05), at(2.05), RECORDED + at(2.05) + at(1.1),
        ((0, at(2.05)), (RECORDED + at(2.05), RECORDED + at(2.05) + at(1.1))),
    ),
}  # fmt: skip
EVERYWHERE = ("inpainting between frames", "both sides, one longer")


@pytest.fixture(scope="module")
def handler() -> AceStepHandler:
    return tiny_v1()


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    return tune(RECORDED / SAMPLE_RATE)


@pytest.fixture(scope="module")
def source(recording: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("source") / "song.wav", recording)


@pytest.fixture(scope="module")
def imitation(handler: AceStepHandler, recording: np.ndarray) -> np.ndarray:
    """The recording once through the codec, at its rate."""
    codec = handler.renderer.family.codec
    native = torch.from_numpy(resample(recording, SAMPLE_RATE, NATIVE_RATE))
    with torch.inference_mode():
        sound = codec.decode(codec.encode(native[None]))[0].numpy()
    return resample(sound, NATIVE_RATE, SAMPLE_RATE)[:, :RECORDED]


def stays(length: int, made: tuple[tuple[int, int], ...], rate: int = SAMPLE_RATE) -> np.ndarray:
    """Which samples of a file are to stay, bool ``[length]``."""
    instants = np.arange(length) * SAMPLE_RATE / rate
    return ~np.any([(instants >= start) & (instants < stop) for start, stop in made], axis=0)


def stored(samples: np.ndarray, bits: int) -> np.ndarray:
    """Samples as a file of so many bits holds them; 0 bits are floats."""
    if bits == 0:
        return samples
    most = 2 ** (bits - 1)
    steps = np.rint(samples.astype(np.float64) * most).clip(-most, most - 1)
    return steps.astype(np.int32) << (32 - bits)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2)))


def performed(handler: AceStepHandler, sound: np.ndarray, seeds: tuple[int, ...] = (3,), **said: Any) -> Performance:
    """The takes of a task on samples ``[2, S]``, before they are finished for a file."""
    usual = {"caption": "jazz", "src_audio": "given as samples", "inference_steps": 2, "guidance_scale": 1.0}
    request = Request.from_params(
        GenerationParams(**{**usual, **said}), GenerationConfig(batch_size=1), handler.model
    )
    request = replace(request, seeds=seeds).lasting(sound.shape[1] / SAMPLE_RATE)
    return perform(handler.renderer, request, [request.plan(0)] * len(seeds), sound)


# --- Every task -----------------------------------------------------------------------------------------------------


def said_for(name: str) -> dict[str, Any]:
    """What a task needs beside a recording."""
    task = FIRST_TASKS[name]
    return {
        "task_type": name,
        **({"style_prompt": "rock"} if task.target_words else {}),
        **({"repainting_start": 0.5, "repainting_end": 1.5} if task.region is Region.GIVEN else {}),
        **({"extend_duration": 1.0} if task.region is Region.GROWN else {}),
    }


@pytest.mark.parametrize("name", [name for name, task in FIRST_TASKS.items() if task.needs_source])
def test_every_task_makes_files_that_say_what_they_are(
    handler: AceStepHandler, source: str, tmp_path: Path, name: str
) -> None:
    said, config = said_for(name), GenerationConfig(batch_size=2, audio_format="wav", score=True)
    shares: list[float] = []
    params = GenerationParams(
        caption="jazz", thinking=False, seed=3, inference_steps=2, src_audio=source, guidance_interval=1.0, **said
    )
    flow = FIRST_TASKS[name].flow_edit
    result = generate_music(handler, None, params, config, tmp_path, lambda share, _: shares.append(share))
    assert result.success, result.error
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    grown = at(1.0) if FIRST_TASKS[name].region is Region.GROWN else 0
    for audio, seed in zip(result.audios, (3, 4), strict=True):
        recipe = read_recipe(audio["path"])
        assert (recipe["task"], recipe["seeds"], recipe["models"]["dit"]["name"]) == (name, [seed], NAME)
        assert recipe["sources"]["source"]["duration_s"] == pytest.approx(RECORDED / SAMPLE_RATE)
        assert sf.info(audio["path"]).frames == RECORDED + grown
        assert recipe["warnings"] == result.extra_outputs["warnings"]
    ignored = [f"guidance_interval has no effect on task_type {name!r}."] if flow else []
    assert warnings_of(result) == [*ignored, *NOTES.get(name, [])]
    one, other = sounds(result)
    assert distance(one, other) > 1e-3
    alone = generate_music(handler, None, replace(params, seed=4), GenerationConfig(batch_size=1, audio_format="wav"))
    np.testing.assert_allclose(sounds(alone)[0], other, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("name", ["repaint", "audio2audio", "edit", "vocal_accompaniment"])
def test_what_is_stopped_leaves_nothing(handler: AceStepHandler, source: str, tmp_path: Path, name: str) -> None:
    def stop(_: float, stage: str) -> None:
        if stage.startswith("decoding"):
            raise CancelledError("Enough.")

    folder = tmp_path / "songs"
    params = GenerationParams(caption="jazz", inference_steps=1, src_audio=source, **said_for(name))
    result = generate_music(handler, None, params, GenerationConfig(batch_size=1), folder, stop)
    assert (result.success, result.error) == (False, "Enough.")
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    assert handler.renderer.busy is False


# --- What is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "rate"),
    [(name, "wav", SAMPLE_RATE) for name in PLACES if name not in EVERYWHERE]
    + [(name, kind, rate) for name in EVERYWHERE for kind in LOSSLESS for rate in (SAMPLE_RATE, CD_RATE)],
)
def test_outside_is_the_recording(
    handler: AceStepHandler, recording: np.ndarray, source: str, tmp_path: Path, name: str, kind: str, rate: int
) -> None:
    said, first, total, made = PLACES[name]
    config = GenerationConfig(batch_size=1, audio_format=kind)
    result = run(handler, source, tmp_path, config, **said, inference_steps=1, sample_rate=rate)
    bits = LOSSLESS[kind]
    written = sf.read(result.audios[0]["path"], dtype="int32" if bits else "float32", always_2d=True)[0].T
    line = np.zeros((2, total), np.float32)
    line[:, first : first + RECORDED] = recording
    expected = stored(resample(line, SAMPLE_RATE, rate), bits)
    assert written.shape == expected.shape == (2, round(total * rate / SAMPLE_RATE))
    outside = stays(expected.shape[1], made, rate)
    np.testing.assert_array_equal(written[:, outside], expected[:, outside])
    assert (written[:, ~outside] != expected[:, ~outside]).mean() > 0.9
    for start, stop in made:
        inside = sounds(result)[0][:, round(start * rate / SAMPLE_RATE) : round(stop * rate / SAMPLE_RATE)]
        assert np.sqrt(np.mean(inside**2)) > 0.005


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (22_050, 1)])
def test_other_recordings_stay_as_they_were_read(
    handler: AceStepHandler, tmp_path: Path, rate: int, channels: int
) -> None:
    file = saved(tmp_path / "song.wav", tune(2.0, rate=rate)[:channels], rate)
    heard = read_audio(file, field="src_audio").samples
    [grown] = sounds(run(handler, file, **growth("extend_end", 1.0), inference_steps=1))
    np.testing.assert_array_equal(grown[:, : heard.shape[1]], heard)
    assert grown.shape[1] == heard.shape[1] + at(1.0)


def test_new_music_is_below_the_ceiling_beside_a_recording_that_is_not(
    handler: AceStepHandler, tmp_path: Path
) -> None:
    loud = tune(2.5, level=1.2)
    assert true_peak(loud) > from_db(CEILING_DB)
    [song] = sounds(run(handler, saved(tmp_path / "loud.wav", loud), **region(0.8, 1.8)))
    assert np.abs(song).max() <= 1.0
    assert true_peak(song[:, at(0.9) : at(1.7)]) <= from_db(CEILING_DB)
    np.testing.assert_array_equal(song[:, : at(0.8)], loud[:, : at(0.8)])


def test_a_repaint_may_stay_near_what_it_was(handler: AceStepHandler, source: str, imitation: np.ndarray) -> None:
    """Its strength is the share of the steps that are run."""
    inside = slice(at(0.8), at(1.3))
    distances = []
    for strength in (0.2, 0.5, 0.0):
        fields = region(0.7, 1.4, inference_steps=10, variation_strength=strength, limit_true_peak=False)
        [song] = sounds(run(handler, source, **fields))
        distances.append(distance(song[:, inside], imitation[:, inside]))
    near, further, new = distances
    assert near < further < new
    [all_the_way] = sounds(
        run(handler, source, **region(0.7, 1.4, inference_steps=10, variation_strength=1.0, limit_true_peak=False))
    )
    assert distance(all_the_way[:, inside], imitation[:, inside]) == pytest.approx(new)


def test_what_grows_hears_the_recording(handler: AceStepHandler, tmp_path: Path) -> None:
    """The same noise behind two recordings is two different songs."""
    files = [saved(tmp_path / f"{seed}.wav", tune(1.5, seed)) for seed in (0, 1)]
    behind = [sounds(run(handler, file, **growth("extend_end", 1.0)))[0][:, at(1.6) :] for file in files]
    assert distance(*behind) > 1e-3


# --- In passes ------------------------------------------------------------------------------------------------------


@contextmanager
def heard_frames(handler: AceStepHandler) -> Iterator[list[tuple[int, Tensor]]]:
    """Frames and first state of every run of the transformer's steps."""
    seen: list[tuple[int, Tensor]] = []

    def note(_module: object, args: tuple[Tensor, ...], _named: dict[str, object]) -> None:
        seen.append((args[0].shape[3], args[0].clone()))

    hook = handler.renderer.family.transformer.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        hook.remove()


def test_a_long_growth_is_made_in_passes(handler: AceStepHandler, recording: np.ndarray, source: str) -> None:
    with heard_frames(handler) as seen:
        [song] = sounds(run(handler, source, **growth("extend_end", 61.2345), inference_steps=1))
    assert len(seen) == 2
    assert song.shape == (2, RECORDED + at(61.2345))
    np.testing.assert_array_equal(song[:, :RECORDED], recording)
    (first, noise), (_, other) = seen
    assert first < frames_in(35)
    assert not torch.equal(noise[..., -100:], other[..., -100:]), "with one noise a long song would repeat itself"
    tenths = song[:, : song.shape[1] // 4800 * 4800].reshape(2, -1, 4800)
    assert np.square(tenths).mean(axis=2).min() > 1e-6, "it is never silent"


def test_in_a_recording_longer_than_a_song_only_what_is_near_is_heard(
    handler: AceStepHandler, tmp_path: Path
) -> None:
    long = np.tile(tune(1.0, level=0.2), 245)
    file = saved(tmp_path / "long.wav", long)
    with heard_frames(handler) as seen:
        [song] = sounds(run(handler, file, **region(242.0, 244.0), inference_steps=1))
    assert [frames for frames, _ in seen] == [frames_in(63)]
    assert song.shape == long.shape
    outside = stays(song.shape[1], ((at(242), at(244)),))
    np.testing.assert_array_equal(song[:, outside], long[:, outside])
    with pytest.raises(InputError, match="src_audio: the result would be 245 s long; at most 240 s are allowed"):
        run(handler, file, task_type="audio2audio")


def frames_in(seconds: float) -> int:
    return -(-round(seconds * NATIVE_RATE) // SAMPLES_PER_FRAME)


# --- Over a whole recording -----------------------------------------------------------------------------------------


def test_no_way_from_the_recording_is_once_through_the_codec(
    handler: AceStepHandler, source: str, imitation: np.ndarray
) -> None:
    fields = {"task_type": "audio2audio", "audio2audio_strength": 0.0, "limit_true_peak": False}
    [song] = sounds(run(handler, source, **fields))
    np.testing.assert_allclose(song, imitation, rtol=0, atol=CLOSE)


def test_all_the_way_from_the_recording_nothing_of_it_is_heard(handler: AceStepHandler) -> None:
    far, near = (
        [
            performed(handler, tune(2.0, seed), task_type="audio2audio", audio2audio_strength=strength)
            for seed in (0, 1)
        ]
        for strength in (1.0, 0.6)
    )
    np.testing.assert_allclose(far[0].takes[0].samples, far[1].takes[0].samples, rtol=0, atol=CLOSE)
    assert distance(near[0].takes[0].samples, near[1].takes[0].samples) > 1e-3


def test_the_further_the_less_is_left(handler: AceStepHandler, source: str, imitation: np.ndarray) -> None:
    made = [
        sounds(
            run(
                handler, source, task_type="audio2audio", audio2audio_strength=strength, inference_steps=10,
                limit_true_peak=False,
            )
        )[0]
        for strength in (0.1, 0.5, 1.0)
    ]  # fmt: skip
    distances = [distance(song, imitation) for song in made]
    assert distances == sorted(distances)
    assert distances[0] < 0.8 * distances[-1]


@pytest.mark.parametrize("name", ["audio2audio", "edit", "vocal_accompaniment"])
@pytest.mark.parametrize("rate", [SAMPLE_RATE, CD_RATE])
def test_a_song_over_a_recording_is_as_long_to_the_sample(
    handler: AceStepHandler, tmp_path: Path, name: str, rate: int
) -> None:
    """Also where the recording, at the rate of the networks, ends half a sample behind a frame."""
    lengths = (n for n in range(90_000, 10**6) if round(n * 147 / 160) % SAMPLES_PER_FRAME == 0)
    length = next(n for n in lengths if resampled_length(round(n * 147 / 160), NATIVE_RATE, SAMPLE_RATE) < n)
    file = saved(tmp_path / "song.wav", tune(length / SAMPLE_RATE)[:, :length])
    [song] = sounds(run(handler, file, **said_for(name), sample_rate=rate, inference_steps=1))
    assert song.shape == (2, round(length * rate / SAMPLE_RATE))


# --- From words to words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [{"edit_n_avg": 2}, {"edit_n_min": 0.5}, {"guidance_scale": 5.0}])
def test_an_edit_to_its_own_words_is_the_recording(
    handler: AceStepHandler, source: str, imitation: np.ndarray, said: dict[str, Any]
) -> None:
    own = {"caption": "jazz", "lyrics": "[verse]\nhello moon"}
    words = {**own, "style_prompt": own["caption"], "style_lyrics": own["lyrics"]}
    [song] = sounds(run(handler, source, task_type="edit", **words, **said, limit_true_peak=False))
    np.testing.assert_allclose(song, imitation, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("new", [{"style_prompt": "rock, loud"}, {"style_lyrics": "[verse]\ngoodbye sun"}])
def test_an_edit_to_other_words_is_another_song(
    handler: AceStepHandler, source: str, imitation: np.ndarray, new: dict[str, str]
) -> None:
    fields = {"caption": "jazz", "lyrics": "[verse]\nhello moon", "guidance_scale": 15.0, "limit_true_peak": False}
    [song] = sounds(run(handler, source, task_type="edit", **fields, **new))
    assert distance(song, imitation) > 1e-3


@pytest.mark.parametrize(
    ("said", "compared", "sampled"),
    [
        ({"task_type": "edit"}, 10, 0),
        ({"task_type": "edit", "edit_n_min": 0.2, "edit_n_max": 0.4}, 2, 6),
        ({"task_type": "edit", "edit_n_min": 0.6}, 4, 0),
        ({"task_type": "style_transfer", "style_strength": 1.0}, 10, 0),
        ({"task_type": "style_transfer", "style_strength": 0.3}, 3, 0),
        ({"task_type": "style_transfer", "style_strength": 0.0}, 1, 0),
    ],
)
def test_windows_of_an_edit_say_which_steps_compare(
    handler: AceStepHandler, source: str, said: dict[str, Any], compared: int, sampled: int
) -> None:
    with heard_frames(handler) as seen:
        run(handler, source, **said, style_prompt="rock", inference_steps=10)
    assert len(seen) == 2 * compared + sampled


# --- Under a voice --------------------------------------------------------------------------------------------------


def test_an_accompaniment_is_new_music_under_a_voice_that_it_does_not_hear(handler: AceStepHandler) -> None:
    voices = [tune(2.0, seed) for seed in (0, 1)]
    one, other = (performed(handler, voice, task_type="vocal_accompaniment") for voice in voices)
    bed, same = one.rendering.songs[0].waveform, other.rendering.songs[0].waveform
    assert torch.equal(bed, same)
    assert one.notes == (NOT_HEARD.format(model=NAME),)
    assert one.rendering.songs[0].plan.lyrics == INSTRUMENTAL_LYRICS
    for made, voice in ((one, voices[0]), (other, voices[1])):
        mix = made.takes[0].samples
        bed_48k = resample(bed.numpy(), NATIVE_RATE, SAMPLE_RATE)[:, : voice.shape[1]]
        both = np.stack([voice.ravel(), bed_48k.ravel()], axis=1).astype(np.float64)
        shares, *_ = np.linalg.lstsq(both, mix.ravel().astype(np.float64), rcond=None)
        np.testing.assert_allclose(both @ shares, mix.ravel(), rtol=0, atol=1e-5)
        assert (shares > 0.05).all(), "both are heard"


def test_what_the_accompaniment_is_is_in_the_words(handler: AceStepHandler, source: str, tmp_path: Path) -> None:
    fields = {"task_type": "vocal_accompaniment", "accompaniment_style": "rock", "lyrics": "[verse]\nla"}
    result = run(handler, source, tmp_path, **fields)
    recipe = read_recipe(result.audios[0]["path"])
    assert recipe["plan"]["caption"] == "rock accompaniment, jazz"
    assert recipe["plan"]["lyrics"] == INSTRUMENTAL_LYRICS
    assert NOT_HEARD.format(model=NAME) in recipe["warnings"]
    assert any(warning.startswith("lyrics has no effect") for warning in recipe["warnings"])
