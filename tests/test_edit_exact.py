"""What a repaint or an extension leaves alone comes out of the file sample for sample; what it fills is music."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from acestep.audio.codec import Codec
from acestep.audio.io import read_audio
from acestep.audio.levels import from_db, intersample_peaks, peak, true_peak
from acestep.audio.limiter import CEILING_DB
from acestep.audio.resample import resample
from acestep.cogrun.schema import PROJECT
from acestep.constants import LATENT_CHANNELS, LATENT_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME
from acestep.editing.splice import JOIN_S
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig
from acestep.output.formats import CD_RATE
from acestep.sampling.noise import item_noise, pass_seed

import seam_meter as meter
from edit_support import played, run, saved, sounds, tune, watched_steps

RECORDED = 165_926  # samples: no whole number of frames
LOSSLESS = {"wav": 16, "wav32": 0, "flac": 24}
JOIN = round(JOIN_S * SAMPLE_RATE)


def at(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class Case:
    """One way to fill a part of a timeline.

    Attributes:
        fields: of the call.
        first: sample of the timeline where the recording begins.
        total: length of the timeline.
        made: (start, stop) of the new music.
    """

    fields: dict[str, object]
    first: int
    total: int
    made: tuple[tuple[int, int], ...] = field(default=())


def region(task: str, start: float, end: float, **more: object) -> dict[str, object]:
    return {"task_type": task, "repainting_start": start, "repainting_end": end, **more}


def growth(mode: str, seconds: float) -> dict[str, object]:
    return {"task_type": "extend", "continuation_mode": mode, "extend_duration": seconds}


CASES = {
    "repaint": Case(region("repaint", 1.0, 2.0), 0, RECORDED, ((at(1), at(2)),)),
    "repaint between frames": Case(
        region("inpainting", 1.01237, 1.50001), 0, RECORDED, ((at(1.01237), at(1.50001)),)
    ),
    "repaint of a moment": Case(region("repaint", 1.0, 1.01), 0, RECORDED, ((at(1), at(1.01)),)),
    "repaint to the end": Case(region("repaint", 2.2, -1), 0, RECORDED, ((at(2.2), RECORDED),)),
    "repaint before the beginning": Case(
        region("repaint", -1.2345, 0.7), at(1.2345), at(1.2345) + RECORDED, ((0, at(1.2345) + at(0.7)),)
    ),
    "repaint beyond the end": Case(region("repaint", 3.0, 5.4321), 0, at(5.4321), ((at(3), at(5.4321)),)),
    "repaint behind the end alone": Case(
        region("repaint", RECORDED / SAMPLE_RATE, 5.0), 0, at(5), ((RECORDED, at(5)),)
    ),
    "inpaint_middle": Case(
        region("continuation", 0.9, 2.6, continuation_mode="inpaint_middle"), 0, RECORDED, ((at(0.9), at(2.6)),)
    ),
    "extend_end": Case(growth("extend_end", 1.7), 0, RECORDED + at(1.7), ((RECORDED, RECORDED + at(1.7)),)),
    "extend_start": Case(growth("extend_start", 1.23), at(1.23), RECORDED + at(1.23), ((0, at(1.23)),)),
    "extend_both": Case(
        growth("extend_both", 1.1), at(1.1), RECORDED + 2 * at(1.1),
        ((0, at(1.1)), (RECORDED + at(1.1), RECORDED + 2 * at(1.1))),
    ),
}  # fmt: skip
EVERYWHERE = ("repaint between frames", "repaint before the beginning", "inpaint_middle", "extend_both")


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    return tune(RECORDED / SAMPLE_RATE)


@pytest.fixture(scope="module")
def source(recording: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("source") / "song.wav", recording)


def kept(length: int, made: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Which samples of a timeline are to stay, bool ``[length]``."""
    stays = np.ones(length, dtype=bool)
    for start, stop in made:
        stays[start:stop] = False
    return stays


def on_timeline(recording: np.ndarray, case: Case) -> np.ndarray:
    line = np.zeros((2, case.total), np.float32)
    line[:, case.first : case.first + recording.shape[1]] = recording
    return line


def written(path: str) -> np.ndarray:
    """What is in a file, as whole numbers of 32 bits or as floats, ``[2, S]``."""
    kind = "float32" if sf.info(path).subtype == "FLOAT" else "int32"
    return sf.read(path, dtype=kind, always_2d=True)[0].T


def stored(samples: np.ndarray, bits: int) -> np.ndarray:
    """Samples as a file of so many bits holds them; 0 bits are floats."""
    if bits == 0:
        return samples
    steps = np.rint(samples.astype(np.float64) * 2 ** (bits - 1)).clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return steps.astype(np.int32) << (32 - bits)


# --- In every lossless format -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in CASES for kind in (LOSSLESS if name in EVERYWHERE else ("wav",))]
)
def test_outside_is_the_recording(
    tiny_base: AceStepHandler, recording: np.ndarray, source: str, tmp_path: Path, name: str, kind: str
) -> None:
    case = CASES[name]
    config = GenerationConfig(batch_size=1, audio_format=kind)
    [audio] = run(tiny_base, source, tmp_path, config, **case.fields, inference_steps=1).audios
    samples, stays = written(audio["path"]), kept(case.total, case.made)
    assert samples.shape == (2, case.total)
    assert np.array_equal(samples[:, stays], stored(on_timeline(recording, case), LOSSLESS[kind])[:, stays])
    for start, stop in case.made:
        inside = audio["tensor"].numpy()[:, start:stop]
        assert np.sqrt(np.mean(inside**2)) > 0.01
        assert not np.array_equal(inside, on_timeline(recording, case)[:, start:stop])


@pytest.mark.parametrize("kind", list(LOSSLESS))
@pytest.mark.parametrize("name", EVERYWHERE)
def test_at_the_rate_of_compact_discs_outside_is_the_resampled_recording(
    tiny_base: AceStepHandler, recording: np.ndarray, source: str, tmp_path: Path, name: str, kind: str
) -> None:
    case, config = CASES[name], GenerationConfig(batch_size=1, audio_format=kind)
    result = run(tiny_base, source, tmp_path, config, **case.fields, inference_steps=1, sample_rate=CD_RATE)
    samples = written(result.audios[0]["path"])
    expected = stored(resample(on_timeline(recording, case), SAMPLE_RATE, CD_RATE), LOSSLESS[kind])
    assert samples.shape == expected.shape == (2, round(case.total * CD_RATE / SAMPLE_RATE))
    instants = np.arange(expected.shape[1]) * SAMPLE_RATE / CD_RATE
    made = [(instants >= start) & (instants < stop) for start, stop in case.made]
    stays = ~np.any(made, axis=0)
    assert np.array_equal(samples[:, stays], expected[:, stays])
    for inside in made:
        assert (samples[:, inside] != expected[:, inside]).mean() > 0.9


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (22_050, 1), (48_000, 1), (96_000, 2)])
def test_other_recordings_stay_as_they_were_read(
    tiny_base: AceStepHandler, tmp_path: Path, rate: int, channels: int
) -> None:
    file = saved(tmp_path / "song.wav", tune(2.5, rate=rate)[:channels], rate)
    heard = read_audio(file, field="src_audio").samples
    start = at(1.5)
    [grown] = sounds(run(tiny_base, file, **growth("extend_end", 1.0), inference_steps=1))
    [painted] = sounds(run(tiny_base, file, **region("repaint", 1.5, -1), inference_steps=1))
    assert np.array_equal(grown[:, : heard.shape[1]], heard)
    assert np.array_equal(painted[:, :start], heard[:, :start])
    assert grown.shape[1] - at(1.0) == painted.shape[1] == at(2.5)


def test_every_song_of_a_batch_keeps_it(tiny_base: AceStepHandler, recording: np.ndarray, source: str) -> None:
    config = GenerationConfig(batch_size=3, audio_format="wav")
    songs = sounds(run(tiny_base, source, config=config, **region("repaint", 1.0, 2.0)))
    for song in songs:
        assert meter.outside_changes(song, recording, (at(1), at(2))) == 0
    assert len({song[:, at(1) : at(2)].tobytes() for song in songs}) == 3


# --- Levels -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shouting() -> AceStepHandler:
    """The embedded model with a decoder that is ten times as loud: two seconds between loud ones come out soft."""
    return at_level(10.0)


@pytest.fixture(scope="module")
def raised() -> AceStepHandler:
    """The embedded model with a decoder that exceeds full scale now and then."""
    return at_level(1.3)


def at_level(gain: float) -> AceStepHandler:
    handler = AceStepHandler()
    handler.initialize_service(project_root=str(PROJECT), config_path="tiny-base", device="cpu")
    weight = dict(handler.renderer.family.vae.named_parameters())["decoder.conv2.weight"]
    weight.data = gain * weight.data
    return handler


@pytest.mark.parametrize("level", [0.3, 1.2], ids=["below the ceiling", "above the ceiling"])
def test_the_limiter_works_inside_alone(shouting: AceStepHandler, tmp_path: Path, level: float) -> None:
    """A recording that is itself too loud stays; away from the joins, where it still sounds, the new music is not."""
    recording = tune(4.0, level=level)
    assert (true_peak(recording) > from_db(CEILING_DB)) == (level > 1)
    file, (start, stop) = saved(tmp_path / "song.wav", recording), (at(1), at(3))
    limited, free = (
        sounds(run(shouting, file, **region("repaint", 1.0, 3.0), limit_true_peak=limit))[0]
        for limit in (True, False)
    )
    for song in (limited, free):
        assert meter.outside_changes(song, recording, (start, stop)) == 0
    peaks = [true_peak(song[:, start + 2 * JOIN : stop - 2 * JOIN]) for song in (limited, free)]
    assert peaks[0] <= from_db(CEILING_DB) < peaks[1]
    assert max(peak(song[:, start:stop]) for song in (limited, free)) <= 1.0, "beside a loud recording too"


# --- Several passes ---------------------------------------------------------------------------------------------


def test_a_song_grows_on_both_sides_in_passes(tiny_base: AceStepHandler, recording: np.ndarray, source: str) -> None:
    with watched_steps(tiny_base) as seen:
        [song] = sounds(run(tiny_base, source, **growth("extend_both", 61.0), inference_steps=1))
    first = at(61.0)
    assert len(seen.states) == 4
    assert song.shape == (2, RECORDED + 2 * first)
    assert np.array_equal(song[:, first : first + RECORDED], recording)
    assert never_silent(song)


def test_a_pass_hears_what_the_pass_before_it_made(
    tiny_base: AceStepHandler, recording: np.ndarray, source: str
) -> None:
    """Its source latents, decoded, are the music of the first pass."""
    with watched_steps(tiny_base) as seen:
        grown = {**growth("extend_end", 61.2345), "inference_steps": 1, "limit_true_peak": False}
        [song] = sounds(run(tiny_base, source, **grown))
    assert song.shape == (2, RECORDED + at(61.2345))
    assert np.array_equal(song[:, :RECORDED], recording)
    assert never_silent(song)
    noise = [
        item_noise([pass_seed(3, number)], [state.shape[1]], LATENT_CHANNELS)
        for number, state in enumerate(seen.states)
    ]
    new = -round(30.6 * LATENT_RATE)  # the last frames of either pass
    assert all(torch.equal(state[:, new:], drawn[:, new:]) for state, drawn in zip(seen.states, noise, strict=True))
    assert not torch.equal(noise[0][:, :100], noise[1][:, :100]), "with one noise a long song would repeat itself"
    _, second = (context[..., :LATENT_CHANNELS] for context in seen.contexts)  # [1, T, C]
    low = -(-song.shape[1] // SAMPLES_PER_FRAME) - second.shape[1]  # frames that it does not hear
    decoded = Codec(tiny_base.renderer.family.vae).decode(second)[0].numpy()
    made = slice(at(10), at(20))
    heard = decoded[:, made.start - low * SAMPLES_PER_FRAME : made.stop - low * SAMPLES_PER_FRAME]
    np.testing.assert_allclose(heard, song[:, made], rtol=0, atol=1e-4)


def test_without_the_limiter_nothing_is_turned_down(
    raised: AceStepHandler, recording: np.ndarray, source: str
) -> None:
    """A loud moment does not make the rest of the new music softer than what lies beside it."""
    fields = region("repaint", 0.5, 3.0)
    [take] = played(raised, recording, **fields, limit_true_peak=False).takes
    [made] = played(raised, recording, **fields).rendering.songs
    [song] = sounds(run(raised, source, **fields, limit_true_peak=False))
    np.testing.assert_array_equal(take.samples, song)
    offset = at(0.5) - made.piece.decoded[0] * SAMPLES_PER_FRAME
    raw = made.waveform.numpy()[:, offset : offset + at(2.5)]
    inside = song[:, at(0.5) : at(3.0)]
    calm = intersample_peaks(raw) < 1.0
    calm[: 2 * JOIN] = calm[-2 * JOIN :] = False
    near_a_peak = np.convolve(~calm, np.ones(2 * at(0.02) + 1), "same") > 0
    assert near_a_peak[2 * JOIN : -2 * JOIN].any()
    assert (~near_a_peak).sum() > 1000
    np.testing.assert_array_equal(inside[:, ~near_a_peak], raw[:, ~near_a_peak])


@pytest.mark.parametrize(("peak_of_source", "told"), [(1.0, False), (2.5, True)])
def test_what_is_cut_from_a_recording_is_told(
    tiny_base: AceStepHandler, tmp_path: Path, peak_of_source: float, told: bool
) -> None:
    loud = tune(2.0)
    loud *= peak_of_source / peak(loud)
    sf.write(tmp_path / "loud.wav", loud.T, SAMPLE_RATE, subtype="FLOAT")
    result = run(tiny_base, str(tmp_path / "loud.wav"), **region("repaint", 0.5, 1.5))
    said = "src_audio exceeds full scale (its peak is 2.500); what is beyond is cut."
    assert (said in result.extra_outputs["warnings"]) == told
    np.testing.assert_array_equal(sounds(result)[0][:, : at(0.5)], loud.clip(-1, 1)[:, : at(0.5)])


def never_silent(song: np.ndarray) -> bool:
    """Whether there is sound in every tenth of a second, and in either channel."""
    tenth = SAMPLE_RATE // 10
    tenths = song[:, : song.shape[1] // tenth * tenth].reshape(2, -1, tenth)
    return bool(np.square(tenths).mean(axis=2).min() > 1e-6)


def test_a_recording_that_no_song_is_long_as_is_repainted(tiny_base: AceStepHandler, tmp_path: Path) -> None:
    """What lies far from the region is only copied."""
    long = np.tile(tune(1.0, level=0.2), 605)
    file = saved(tmp_path / "long.wav", long)
    with watched_steps(tiny_base) as seen:
        [song] = sounds(run(tiny_base, file, **region("repaint", 601.0, 604.0), inference_steps=1))
    assert [context.shape[1] for context in seen.contexts] == [64 * LATENT_RATE]
    assert song.shape == long.shape
    assert meter.outside_changes(song, long, (at(601), at(604))) == 0
