"""Every task that works on a recording, on the GPU: it plays what the CPU plays, and what it keeps it keeps exactly.

The bounds are those of ``check_songs``: 1e-3 of the largest value against the CPU, 1e-4 between a track in a batch
and the track alone, nothing between two runs. Recordings are handed over as samples and takes are looked at before
they become files, for the machine may have no packages for audio.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from gpu_support import Note, assert_near, draw, load, request

from acestep.constants import SAMPLE_RATE
from acestep.devices import device_facts, natural_dtype
from acestep.handler import AceStepHandler
from acestep.takes import Performance
from acestep.tasks import TASKS

CPU_SHARE, BATCH_SHARE = 1e-3, 1e-4
MB = 1 << 20
FORMATS = sorted({"float32", natural_dtype(device_facts())})
SECONDS = 5.02  # the last latent frame is cut in half
START_S, END_S = 1.013, 3.5  # neither is on the grid of latent frames
GROWTH_S = 3.01
REGION = {"repainting_start": START_S, "repainting_end": END_S}
WISHES: dict[str, dict[str, object]] = {
    "repaint": REGION,
    "inpainting": REGION,
    "extend": {"extend_duration": GROWTH_S},
    "continuation": {"extend_duration": GROWTH_S, "continuation_mode": "extend_both"},
    "lego": REGION | {"track_name": "drums"},
    "extract": {"track_name": "vocals,drums", "remainder": True},
    "complete": {"track_name": "drums,bass", "mix": True},
    "edit": {"style_prompt": "loud drums and a choir"},
    "style_transfer": {"style_prompt": "loud drums and a choir"},
    "audio2audio": {"preserve_vocals": True},
}
EDITING = [name for name, task in TASKS.items() if task.needs_source]
REPAINTING, GROWING = ("repaint", "inpainting"), ("extend", "continuation")
TRACKS = ("vocals", "drums", "bass")


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """Quiet noise that swells, float32 ``[2, S]``."""
    samples = round(SECONDS * SAMPLE_RATE)
    return (0.1 * draw(2, samples, seed=5) * torch.linspace(0.2, 1.0, samples)).numpy()


@pytest.fixture(scope="module")
def in_formats() -> dict[str, AceStepHandler]:
    """The embedded model that knows every task, in fp32 and in the card's own format."""
    return {dtype: load("tiny-base", dtype=dtype) for dtype in FORMATS}


def edited(
    handler: AceStepHandler, recording: np.ndarray, task: str, seeds: Sequence[int] = (1,), **fields: object
) -> Performance:
    """The takes of a task, as they are before they are finished for a file."""
    from acestep.studio import perform  # measures true peaks; where soxr is not, the checks are still to be found

    given = {"duration": -1, "src_audio": "given as samples", "limit_true_peak": False}
    wish = request(handler, seeds, task_type=task, **given, **WISHES.get(task, {}) | fields)
    plans = [wish.plan(handler.renderer.reader.codebook_size)] * len(seeds)
    return perform(handler.renderer, wish, plans, recording)


def sounds(performance: Performance) -> list[np.ndarray]:
    """Every take ``[2, S]``."""
    return [take.samples for take in performance.takes]


# --- What comes out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("task", EDITING)
def test_a_task_makes_sound_the_same_each_time(
    in_formats: dict[str, AceStepHandler], recording: np.ndarray, task: str, dtype: str
) -> None:
    first, second = (sounds(edited(in_formats[dtype], recording, task)) for _ in range(2))
    grown = {"extend": 1, "continuation": 2}.get(task, 0) * round(GROWTH_S * SAMPLE_RATE)
    for one, other in zip(first, second, strict=True):
        assert one.shape == (2, recording.shape[1] + grown)
        assert np.isfinite(one).all()
        assert np.abs(one).max() > 1e-3
        assert np.array_equal(one, other)


@pytest.mark.parametrize("task", EDITING)
def test_a_task_plays_on_the_gpu_what_it_plays_on_the_cpu(
    tiny_base: AceStepHandler, tiny_base_on_host: AceStepHandler, recording: np.ndarray, task: str
) -> None:
    ours, reference = (edited(handler, recording, task).takes for handler in (tiny_base, tiny_base_on_host))
    for one, other in zip(ours, reference, strict=True):
        assert_near(one.song.latents, other.song.latents, CPU_SHARE)
        assert_near(torch.from_numpy(one.samples), torch.from_numpy(other.samples), CPU_SHARE)


def test_tracks_taken_out_in_one_call_are_those_of_a_call_each(
    tiny_base: AceStepHandler, recording: np.ndarray
) -> None:
    together = edited(tiny_base, recording, "extract", track_name=",".join(TRACKS), remainder=False).takes
    assert [take.track for take in together] == list(TRACKS)
    for take in together:
        (alone,) = edited(tiny_base, recording, "extract", track_name=take.track, remainder=False).takes
        assert_near(take.song.latents, alone.song.latents, BATCH_SHARE)
        assert_near(torch.from_numpy(take.samples), torch.from_numpy(alone.samples), 10 * BATCH_SHARE)


# --- What stays ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("task", REPAINTING)
def test_outside_of_its_region_a_repaint_is_the_recording(
    in_formats: dict[str, AceStepHandler], recording: np.ndarray, task: str, dtype: str
) -> None:
    start, end = round(START_S * SAMPLE_RATE), round(END_S * SAMPLE_RATE)
    first, second = sounds(edited(in_formats[dtype], recording, task, seeds=(1, 2)))
    for one in (first, second):
        assert np.array_equal(one[:, :start], recording[:, :start])
        assert np.array_equal(one[:, end:], recording[:, end:])
        assert not np.array_equal(one[:, start:end], recording[:, start:end])
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("task", GROWING)
def test_within_an_extension_the_recording_is_whole(
    in_formats: dict[str, AceStepHandler], recording: np.ndarray, task: str, dtype: str
) -> None:
    grown = round(GROWTH_S * SAMPLE_RATE)
    first = grown if task == "continuation" else 0
    (longer,) = sounds(edited(in_formats[dtype], recording, task))
    assert np.array_equal(longer[:, first : first + recording.shape[1]], recording)
    assert np.abs(longer[:, -grown:]).max() > 1e-3


# --- What it takes ------------------------------------------------------------------------------------------------


def test_an_offloaded_extension_is_the_resident_one(tiny_base: AceStepHandler, recording: np.ndarray) -> None:
    offloaded = load("tiny-base", offload_to_cpu=True)
    wish = {"extend_duration": 61.0}  # two passes
    ours, theirs = (sounds(edited(handler, recording, "extend", **wish)) for handler in (offloaded, tiny_base))
    assert np.array_equal(ours[0], theirs[0])


def test_six_passes_take_no_more_of_the_card_than_three(
    tiny_base: AceStepHandler, recording: np.ndarray, note: Note
) -> None:
    peaks = {}
    for passes in (3, 6):
        rendering = edited(tiny_base, recording, "extend", extend_duration=60.0 * passes).rendering
        peaks[passes] = rendering.peak.highest
        note(f"an extension in {passes} passes", f"peak {rendering.peak}")
    assert abs(peaks[6] - peaks[3]) <= MB
