"""Tracks made for a recording and tracks taken out of it: where they sound, how loud, and what they add up to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile as sf

from acestep.audio.levels import from_db, true_peak
from acestep.audio.limiter import CEILING_DB
from acestep.audio.resample import resample
from acestep.cogrun.schema import PROJECT
from acestep.constants import SAMPLE_RATE, TRACK_NAMES
from acestep.errors import GenerationError
from acestep.finish import heard_takes
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig
from acestep.output.formats import CD_RATE
from acestep.output.tags import read_recipe, read_tags
from acestep.result import song_numbers

from edit_support import judged, played, run, saved, sounds, tune

SECONDS = 3.4567
CEILING = from_db(CEILING_DB)
METER = pyloudnorm.Meter(SAMPLE_RATE)
VOICED = {"audio2audio": {}, "style_transfer": {"style_prompt": "rock"}}
ADDING = {
    "lego": {"track_name": "drums"},
    "lego in a region": {"track_name": "drums", "repainting_start": 1.0, "repainting_end": 2.0},
    "complete": {"track_name": "drums, bass"},
    "vocal_accompaniment": {},
}


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    return tune(SECONDS)


@pytest.fixture(scope="module")
def source(recording: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("source") / "song.wav", recording)


@pytest.fixture(scope="module")
def whispering() -> AceStepHandler:
    """The embedded model with a decoder that is a twentieth as loud."""
    handler = AceStepHandler()
    handler.initialize_service(project_root=str(PROJECT), config_path="tiny-base", device="cpu")
    weight = dict(handler.renderer.family.vae.named_parameters())["decoder.conv2.weight"]
    weight.data = weight.data / 20
    return handler


def samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def loudness(sound: np.ndarray) -> float:
    """LUFS of ``[2, S]``."""
    return METER.integrated_loudness(sound.T)


# --- Lego and complete ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "first", "stop", "length"),
    [
        (1.0, 2.0, samples(1.0), samples(2.0), samples(SECONDS)),
        (0.0, 1.5, 0, samples(1.5), samples(SECONDS)),
        (2.00001, -1, samples(2.00001), samples(SECONDS), samples(SECONDS)),
        (3.0, 4.5, samples(3.0), samples(4.5), samples(4.5)),
        (-0.5, 1.0, 0, samples(1.5), samples(SECONDS) + samples(0.5)),
    ],
)
def test_a_lego_track_is_silent_outside_of_its_region(
    tiny_base: AceStepHandler, source: str, start: float, end: float, first: int, stop: int, length: int
) -> None:
    place = {"repainting_start": start, "repainting_end": end}
    [sound] = sounds(run(tiny_base, source, task_type="lego", track_name="drums", **place))
    assert sound.shape == (2, length)
    assert np.flatnonzero(sound.any(axis=0))[[0, -1]].tolist() == [first, stop - 1]
    assert np.sqrt(np.mean(sound[:, first:stop] ** 2)) > 0.01


@pytest.mark.parametrize("name", list(ADDING))
def test_a_mix_is_as_loud_as_the_recording_and_holds_both(
    tiny_base: AceStepHandler, source: str, recording: np.ndarray, name: str
) -> None:
    """Without the limiter, which bends the peaks of the track alone and those of the mix differently."""
    fields = {"task_type": name.split()[0], "limit_true_peak": False, **ADDING[name]}
    [alone], [mix] = (sounds(run(tiny_base, source, **fields, mix=mix)) for mix in (False, True))
    assert loudness(mix) == pytest.approx(loudness(recording), abs=0.5)
    parts = np.stack([recording.ravel(), alone.ravel()], axis=1).astype(np.float64)
    shares, *_ = np.linalg.lstsq(parts, mix.ravel().astype(np.float64), rcond=None)
    assert (shares > 0.05).all()
    np.testing.assert_allclose(mix.ravel(), parts @ shares, atol=1e-4)


def test_a_mix_with_a_loud_recording_is_not_turned_down_as_a_whole(tiny_base: AceStepHandler, tmp_path: Path) -> None:
    """Its peaks alone come below the ceiling: at -9 LUFS that costs noise 2 LU, where one gain for all costs 4."""
    recording = tune(SECONDS, level=1.0)
    fields = {"task_type": "lego", "track_name": "drums", "mix": True}
    [taken] = played(tiny_base, recording, **fields).takes
    [mix] = sounds(run(tiny_base, saved(tmp_path / "song.wav", recording), **fields))
    assert loudness(taken.samples) == pytest.approx(loudness(recording), abs=0.1)
    assert true_peak(mix) <= CEILING * 1.006
    assert loudness(mix) > loudness(taken.samples * CEILING / true_peak(taken.samples)) + 1.5


# --- Extract ----------------------------------------------------------------------------------------------------


def test_tracks_taken_together_are_the_tracks_taken_alone(tiny_base: AceStepHandler, source: str) -> None:
    names = ("vocals", "drums", "backing_vocals")
    together = run(tiny_base, source, task_type="extract", track_name=", ".join(names))
    assert [audio["track"] for audio in together.audios] == list(names)
    for name, track in zip(names, sounds(together), strict=True):
        [alone] = sounds(run(tiny_base, source, task_type="extract", track_name=name))
        np.testing.assert_allclose(track, alone, rtol=0, atol=1e-4)
    assert np.abs(sounds(together)[0] - sounds(together)[1]).max() > 1e-3


def test_all_tracks_of_a_batch_are_those_of_each_song(tiny_base: AceStepHandler, source: str) -> None:
    """24 pieces are more than are played at once."""
    fields = {"task_type": "extract", "inference_steps": 1}
    both = run(
        tiny_base, source, config=GenerationConfig(batch_size=2, audio_format="wav"), track_name="all", **fields
    )
    assert [audio["track"] for audio in both.audios] == list(TRACK_NAMES) * 2
    assert [audio["params"]["seed"] for audio in both.audios] == [3] * 12 + [4] * 12
    [alone] = sounds(run(tiny_base, source, track_name="brass", seed=4, **fields))
    np.testing.assert_allclose(sounds(both)[12 + TRACK_NAMES.index("brass")], alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("tracks", "songs", "name"),
    [("drums", 2, "without_drums"), ("bass, vocals", 2, "without_bass_vocals"), ("all", 1, "remainder")],
)
def test_tracks_and_what_is_left_are_the_recording(
    tiny_base: AceStepHandler, recording: np.ndarray, source: str, tracks: str, songs: int, name: str
) -> None:
    """Where a part alone is too loud one gain acts on all, at either rate."""
    fields = {"task_type": "extract", "track_name": tracks, "remainder": True, "inference_steps": 1}
    takes = played(tiny_base, recording, batch_size=songs, **fields).takes
    count = len(takes) // songs
    for first in range(0, len(takes), count):
        *parts, rest = takes[first : first + count]
        assert rest.track == name
        assert {take.seed for take in (*parts, rest)} == {3 + first // count}
        total = np.sum([take.samples.astype(np.float64) for take in (*parts, rest)], axis=0)
        np.testing.assert_allclose(total, recording, rtol=0, atol=1e-5)
    for rate in (SAMPLE_RATE, CD_RATE):
        made = sounds(run(tiny_base, source, sample_rate=rate, **fields))
        there, total = resample(recording, SAMPLE_RATE, rate), np.sum(made, axis=0, dtype=np.float64)
        gain = (total * there).sum(axis=0) / np.square(there, dtype=np.float64).sum(axis=0)  # [S]
        np.testing.assert_allclose(total, gain * there, rtol=0, atol=1e-5)
        assert gain.min() > 0
        assert max(map(true_peak, made)) <= CEILING * 1.006


def test_quiet_tracks_and_what_is_left_are_the_recording(whispering: AceStepHandler, tmp_path: Path) -> None:
    """In the files too, sample by sample, as far as 24 bits go."""
    recording = tune(SECONDS, level=0.2)
    result = run(
        whispering, saved(tmp_path / "song.wav", recording), tmp_path / "made",
        GenerationConfig(batch_size=1, audio_format="wav24"),
        task_type="extract", track_name="bass, vocals", remainder=True,
    )  # fmt: skip
    read = [sf.read(audio["path"], dtype="float64")[0].T for audio in result.audios]
    assert len(read) == 3
    np.testing.assert_allclose(sum(read), recording, rtol=0, atol=3 * 2**-23)
    assert all(np.abs(part).max() > 1e-3 for part in read)


def test_a_track_that_the_recording_has_not_is_told_and_left_out(
    tiny_base: AceStepHandler, recording: np.ndarray
) -> None:
    takes = played(
        tiny_base, recording, task_type="extract", track_name="drums, brass, bass", inference_steps=1
    ).takes
    quiet = [replace(take, samples=0 * take.samples) if take.track == "brass" else take for take in takes]
    heard, told = heard_takes(quiet)
    assert [take.track for take in heard] == ["drums", "bass"]
    assert told == ("brass is silent in this recording; there is no file of it.",)
    assert heard_takes(takes) == (takes, ())
    with pytest.raises(GenerationError, match="silence"):
        heard_takes([replace(take, samples=0 * take.samples) for take in takes])
    with pytest.raises(GenerationError, match="not finite"):
        heard_takes([*takes, replace(takes[0], samples=np.nan * takes[0].samples)])
    with pytest.raises(GenerationError, match="silence"):
        heard_takes([replace(takes[0], samples=0 * takes[0].samples, track="")])


@pytest.mark.parametrize(
    ("files", "numbers"),
    [
        ([(3, ""), (4, ""), (4, "")], [0, 1, 2]),
        ([(3, "drums"), (3, "bass"), (4, "drums"), (4, "bass")], [0, 0, 1, 1]),
        ([(3, "drums"), (4, "drums"), (4, "bass")], [0, 1, 1]),
        ([(3, "drums"), (3, "bass"), (3, "drums"), (3, "bass")], [0, 0, 1, 1]),
        ([(3, "bass")], [0]),
    ],
)
def test_files_of_a_result_are_counted_by_song(files: list[tuple[int, str]], numbers: list[int]) -> None:
    assert song_numbers([{"params": {"seed": seed}, "track": track} for seed, track in files]) == numbers


def test_every_track_is_a_file_that_says_what_it_is(tiny_base: AceStepHandler, source: str, tmp_path: Path) -> None:
    result = run(
        tiny_base, source, tmp_path, task_type="extract", track_name="drums, backing vocals", remainder=True,
        caption="calm piano",
    )  # fmt: skip
    tracks = ["drums", "backing_vocals", "without_drums_backing_vocals"]
    assert [audio["track"] for audio in result.audios] == tracks
    assert {audio["params"]["track_name"] for audio in result.audios} == {"drums,backing_vocals"}, "made together"
    assert len({audio["path"] for audio in result.audios}) == len(list(tmp_path.iterdir())) == 3
    for audio in result.audios:
        path = Path(audio["path"])
        assert sf.info(path).frames == samples(SECONDS)
        assert read_tags(path).title.endswith(audio["track"].replace("_", " "))
        assert read_recipe(path)["parameters"]["track_name"] == audio["params"]["track_name"]
        assert read_recipe(path)["output"]["track"] == audio["track"]
        assert true_peak(audio["tensor"].numpy()) <= 10 ** (-1 / 20)


# --- The voice that is kept -------------------------------------------------------------------------------------


def voice_of(handler: AceStepHandler, recording: np.ndarray, **words: object) -> np.ndarray:
    """The voice, asked for with what is known of the recording in words."""
    [take] = played(handler, recording, task_type="extract", track_name="vocals", **words).takes
    return take.samples


@pytest.mark.parametrize("task", list(VOICED))
def test_the_voice_of_the_recording_is_kept_as_it_was_taken_out(
    tiny_base: AceStepHandler, recording: np.ndarray, task: str
) -> None:
    """What lies under it is a new version of all but the voice, as loud as that was."""
    words = VOICED[task]
    sung = {"lyrics": "[verse]\nla la la"}
    voice = voice_of(tiny_base, recording, caption="jazz" if "style_prompt" in words else "", **sung)
    rest = recording - voice
    [take] = played(tiny_base, recording, task_type=task, preserve_vocals=True, **words, **sung).takes
    [made] = played(tiny_base, rest, task_type=task, instrumental=True, **words).takes
    under = take.samples - voice
    gain = float((under * made.samples).sum() / np.square(made.samples).sum())
    np.testing.assert_allclose(under, gain * made.samples, rtol=0, atol=1e-4)
    assert loudness(under) == pytest.approx(loudness(rest), abs=0.5)


def test_an_accompaniment_is_made_for_the_voice_and_goes_under_it(
    tiny_base: AceStepHandler, recording: np.ndarray
) -> None:
    task = {"task_type": "vocal_accompaniment", "accompaniment_style": "rock"}
    voice = voice_of(tiny_base, recording, caption="")
    [take] = played(tiny_base, recording, **task, preserve_vocals=True).takes
    [made] = played(tiny_base, voice, **task, instrumental=True).takes
    parts = np.stack([voice.ravel(), made.samples.ravel()], axis=1).astype(np.float64)
    shares, *_ = np.linalg.lstsq(parts, take.samples.ravel().astype(np.float64), rcond=None)
    np.testing.assert_allclose(take.samples.ravel(), parts @ shares, rtol=0, atol=1e-4)
    assert loudness(voice * shares[0]) == pytest.approx(loudness(made.samples * shares[1]), abs=0.5)
    assert loudness(take.samples) == pytest.approx(loudness(voice), abs=0.5)


@pytest.mark.parametrize("task", [*VOICED, "vocal_accompaniment"])
def test_what_lies_under_a_voice_does_not_sing(tiny_base: AceStepHandler, recording: np.ndarray, task: str) -> None:
    """Lyrics are those of the voice that is kept; the new style's have no effect."""
    lyrics = {"lyrics": "[verse]\nla la la", **VOICED.get(task, {})}
    made = played(tiny_base, recording, task_type=task, preserve_vocals=True, **lyrics)
    assert {song.plan.lyrics for song in made.rendering.songs} == {"[Instrumental]"}
    if task == "style_transfer":
        [other] = played(
            tiny_base, recording, task_type=task, preserve_vocals=True, **lyrics, style_lyrics="[verse]\nother"
        ).takes
        assert np.array_equal(other.samples, made.takes[0].samples)


def test_what_has_no_effect_on_a_kept_voice_is_told(tiny_base: AceStepHandler) -> None:
    kept = {"preserve_vocals": True, "style_prompt": "rock", "style_lyrics": "[verse]\nla", "mix": True}
    told = judged(tiny_base, task_type="style_transfer", **kept).warnings
    assert "style_lyrics has no effect: preserve_vocals keeps the voice of the recording." in told
    mixed_in = judged(tiny_base, task_type="vocal_accompaniment", preserve_vocals=True, mix=True).warnings
    assert "mix has no effect: preserve_vocals mixes the voice with what is made." in mixed_in
    assert not any("mix has" in one for one in judged(tiny_base, task_type="vocal_accompaniment", mix=True).warnings)
