"""``stitch``: two recordings stay as they are, sample for sample, and a passage lies between them."""

from __future__ import annotations

import hashlib
import math
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from acestep.audio.io import read_audio
from acestep.constants import LATENT_CHANNELS, LATENT_RATE, SAMPLE_RATE
from acestep.errors import CancelledError, OutputError
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, GenerationResult, stitch
from acestep.output.tags import read_recipe

from edit_support import watched_steps

Stitched = Callable[..., GenerationResult]


def written(path: Path, seconds: float, tone: float, rate: int = SAMPLE_RATE, channels: int = 2) -> Path:
    """A 16-bit recording."""
    noise = np.random.default_rng(round(tone)).normal(size=(round(seconds * rate), channels))
    time = np.arange(len(noise))[:, None] / rate
    sf.write(path, 0.3 * np.sin(2 * np.pi * tone * time) + 0.02 * noise, rate, subtype="PCM_16")
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the recordings are; ``scratch`` in it is where temporary files go."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    written(tmp_path / "a.wav", 3.21, 220)
    written(tmp_path / "b.wav", 4.567, 330)
    return tmp_path


@pytest.fixture
def join(tiny: AceStepHandler, folder: Path) -> Stitched:
    """``stitch`` of the two recordings into ``made``, with what differs."""

    def run(first: object = "a.wav", second: object = "b.wav", bridge_s: object = 3.5, **differs: object):
        config = {name: differs.pop(name) for name in ("audio_format", "batch_size") if name in differs}
        progress = differs.pop("progress", None)
        params = GenerationParams(**{"caption": "drums", "inference_steps": 1, "seed": 3, **differs})
        before = asdict(params)
        files = (folder / name if isinstance(name, str) else name for name in (first, second))
        config = GenerationConfig(**{"batch_size": 1, **config})
        result = stitch(tiny, params, config, *files, bridge_s, folder / "made", progress)
        assert asdict(params) == before
        assert list((folder / "scratch").iterdir()) == []
        return result

    return run


@pytest.mark.parametrize("audio_format", ["wav", "wav32", "flac"])
def test_both_recordings_stay_as_they_are(join: Stitched, folder: Path, audio_format: str) -> None:
    result = join(audio_format=audio_format)
    assert result.success, result.error
    song, _ = sf.read(result.audios[0]["path"], dtype="float32")
    first, second = (sf.read(folder / name, dtype="float32")[0] for name in ("a.wav", "b.wav"))
    bridge = round(3.5 * SAMPLE_RATE)
    assert len(song) == len(first) + bridge + len(second)
    assert np.count_nonzero(song[: len(first)] != first) == 0
    assert np.count_nonzero(song[-len(second) :] != second) == 0
    assert np.sqrt(np.mean(song[len(first) :][:bridge] ** 2)) > 1e-3
    assert np.array_equal(song[: len(first)], result.audios[0]["tensor"].numpy().T[: len(first)])


def test_other_rates_and_channels_are_those_of_the_reader(join: Stitched, folder: Path) -> None:
    mono = written(folder / "mono.flac", 3.3, 440, rate=44_100, channels=1)
    song = join("mono.flac", "a.wav").audios[0]["tensor"].numpy()
    heard = read_audio(mono, field="first").samples
    assert np.array_equal(song[:, : heard.shape[1]], heard)
    assert song.shape[1] == heard.shape[1] + round(3.5 * SAMPLE_RATE) + round(3.21 * SAMPLE_RATE)


def test_versions_differ_in_the_passage_alone(join: Stitched) -> None:
    one, other = (audio["tensor"].numpy() for audio in join(batch_size=2).audios)
    places = np.flatnonzero((one != other).any(axis=0))
    start, stop = round(3.21 * SAMPLE_RATE), round(6.71 * SAMPLE_RATE)
    assert start <= places.min() < start + 100
    assert stop - 100 <= places.max() < stop
    assert len(places) > 0.99 * (stop - start)


def test_the_recipe_names_both_recordings(join: Stitched, folder: Path) -> None:
    results = [join(), join()]
    recipes = [read_recipe(Path(result.audios[0]["path"])) for result in results]
    for recipe, result in zip(recipes, results, strict=True):
        used = recipe["parameters"]
        for name, file in (("first_sha256", "a.wav"), ("second_sha256", "b.wav")):
            assert used[name] == hashlib.sha256((folder / file).read_bytes()).hexdigest()
        assert (recipe["task"], used["bridge_s"]) == ("repaint", 3.5)
        assert (used["repainting_start"], used["repainting_end"]) == (3.21, 6.71)
        assert "scratch" not in str(recipe)
        assert result.audios[0]["params"]["src_audio"] is None
    timelines = [recipe["sources"]["source"] for recipe in recipes]
    assert timelines[0] == timelines[1]
    assert timelines[0]["duration_s"] == pytest.approx(3.21 + 3.5 + 4.567)


@pytest.mark.parametrize(
    ("differs", "sentence"),
    [
        ({"first": "none.wav"}, "first: 'none.wav' does not exist"),
        ({"second": "none.wav"}, "second: 'none.wav' does not exist"),
        ({"second": "words.txt"}, "second: 'words.txt' "),
        ({"first": "silent.wav"}, "first: 'silent.wav' is silent from start to end"),
        ({"second": "long.wav"}, "second: 'long.wav' is 600.5 s long; at most 600 s are allowed"),
        ({"first": None}, "first must be the path of a file, not None."),
        ({"bridge_s": 0.9}, "bridge_s must be a number from 1 to 90, not 0.9."),
        ({"bridge_s": 90.5}, "bridge_s must be a number from 1 to 90, not 90.5."),
        ({"bridge_s": float("nan")}, "bridge_s must be a number from 1 to 90, not nan."),
        ({"bridge_s": "long"}, "bridge_s must be a number, not 'long'."),
        ({"caption": None}, "caption must be text, not None."),
        ({"caption": "word " * 400}, "caption makes a prompt of "),
        ({"task_type": "cover"}, "task_type does not go with stitching"),
        ({"src_audio": "a.wav"}, "src_audio does not go with stitching"),
        ({"repainting_end": 5.0}, "repainting_end does not go with stitching"),
        ({"bpm": 999}, "bpm must be "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_cannot_be_is_said(join: Stitched, folder: Path, differs: dict[str, object], sentence: str) -> None:
    (folder / "words.txt").write_text("no sound")
    sf.write(folder / "silent.wav", np.zeros((SAMPLE_RATE, 2)), SAMPLE_RATE)
    written(folder / "long.wav", 600.5, 50, rate=8_000, channels=1)
    result = join(**differs)
    assert not result.success
    assert sentence in result.error
    assert not (folder / "made").exists()


def test_whoever_watches_may_end_it(join: Stitched, folder: Path) -> None:
    def stop(share: float, stage: str) -> None:
        raise CancelledError("enough")

    result = join(progress=stop)
    assert (result.success, result.error) == (False, "enough")
    assert not (folder / "made").exists()


@contextmanager
def full_disk() -> Iterator[None]:
    """No file grows beyond 100 kB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)


def test_a_full_disk_is_said(join: Stitched) -> None:
    with full_disk():
        result = join()
    assert isinstance(result.cause, OutputError)
    assert result.error == "cannot lay out the two recordings: the disk does not take them."


def test_no_room_for_the_timeline(tiny: AceStepHandler, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "absent"))
    files = folder / "a.wav", folder / "b.wav"
    result = stitch(tiny, GenerationParams(seed=1), GenerationConfig(), *files, 3.0)
    assert result.error == "cannot make a folder for the two recordings: No such file or directory."


def test_the_frame_in_which_the_second_recording_begins_is_made(join: Stitched, tiny: AceStepHandler) -> None:
    """Its first latent frame holds silence before it; were it kept, that silence would be decoded before the join."""
    with watched_steps(tiny) as seen:
        join(bridge_s=3.5)
    [context] = seen.contexts
    mask = context[0, :, LATENT_CHANNELS] > 0  # [T], where music is made
    start, stop = 3.21 * LATENT_RATE, 6.71 * LATENT_RATE
    assert mask.nonzero().flatten()[[0, -1]].tolist() == [int(start), math.ceil(stop) - 1]
