"""Read an audio file that a person handed in: it becomes 48 kHz stereo float32, or one clear sentence.

In: a path and the name of the field it was given in. Out: ``Audio`` (samples, their origin, a hash of the file).
The content decides how a file is read, never its suffix: libsndfile first, ffmpeg for what libsndfile does not know
or would misread. What a file says about itself is checked before anything is decoded, and again while decoding.
Refuses to know tasks, latents and what the audio is for. Messages name the field and the file, never its folder.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from acestep.audio import ffmpeg, ogg, sndfile
from acestep.audio.resample import resample_blocks
from acestep.audio.source import Deadline, Probe, Unreadable
from acestep.constants import AUDIO_CHANNELS, DURATION_MAX_S, SAMPLE_RATE
from acestep.errors import AudioError

SILENT_SAMPLE = 1e-6  # upstream's threshold: a file whose every sample is smaller holds no sound
LOUDEST_SAMPLE = 1e6  # beyond it a resampler could overflow; either way the result is clamped to 1
SHOWN_CHARS = 80  # of a file's name

Blocks = Iterator[np.ndarray]


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """What a file may be. Rates in Hz, both ends included; ``max_decode_s`` is wall-clock time."""

    min_duration_s: float = 0.1
    max_duration_s: float = DURATION_MAX_S
    max_channels: int = 8
    min_rate: int = 8_000
    max_rate: int = 192_000
    max_bytes: int = 1 << 29
    max_decode_s: float = 120.0


DEFAULT_LIMITS = AudioLimits()


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """A decoded file.

    Attributes:
        samples: float32 ``[2, S]`` within [-1, 1]; mono is in both rows, of more channels the first two are kept.
        sample_rate: of ``samples``, 48000 Hz.
        source_rate: of the file, in Hz.
        source_channels: of the file; more than 2 is worth a warning.
        sha256: hex digest of the file's bytes.
        duration_s: length of ``samples`` in seconds.
        source_peak: largest magnitude in the file; what is beyond 1 is cut from ``samples``.
    """

    samples: np.ndarray
    sample_rate: int
    source_rate: int
    source_channels: int
    sha256: str
    duration_s: float
    source_peak: float


def read_audio(
    path: str | Path, *, field: str, limits: AudioLimits = DEFAULT_LIMITS, require_sound: bool = False
) -> Audio:
    """Decode a file to 48 kHz stereo, as upstream does: first two channels, resample, clamp.

    Args:
        path: the file; its suffix is ignored.
        field: input it was given in, for messages.
        limits: checked before decoding where the file states its size, and again while decoding.
        require_sound: refuse a file that is silent from start to end.

    Raises:
        AudioError: missing, not a file, not audio, damaged, over a limit, empty, not finite, or silent although
            sound is required.
    """
    try:
        with _opened(Path(path), limits) as file, _decoder(file, limits) as (found, blocks):
            _check_probe(found, limits)
            meter = _Meter()
            samples = _stereo(_checked(blocks, found, limits, meter), found)
            _check_samples(samples, meter, limits, require_sound)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except Unreadable as error:
        raise _audio_error(field, path, str(error)) from error
    except OSError as error:
        raise _audio_error(field, path, f"cannot be read ({error.strerror})") from error
    return Audio(
        samples, SAMPLE_RATE, found.sample_rate, found.channels, digest, samples.shape[1] / SAMPLE_RATE, meter.peak
    )


def _audio_error(field: str, path: str | Path, reason: str) -> AudioError:
    name = _shown_name(path)
    return AudioError(f"{field}: {name!r} {reason}.", field=field, value=name)


def _shown_name(path: str | Path) -> str:
    """The last part of a path, short; of a URL given by mistake neither the content, the user nor the query."""
    text = str(path)
    if text.lower().startswith("data:"):
        return "data:"
    name = Path(text).name
    if re.match(r"[a-z][a-z0-9+.-]*:/", text, re.IGNORECASE):
        name = Path(re.split("[?#]", text, maxsplit=1)[0]).name.rpartition("@")[2]
    return name if len(name) <= SHOWN_CHARS else f"{name[: SHOWN_CHARS - 20]}...{name[-16:]}"


@contextmanager
def _opened(path: Path, limits: AudioLimits) -> Iterator[BinaryIO]:
    """The one descriptor everything is read through, so that nobody can exchange the file between two looks at it."""
    if not path.exists():
        raise Unreadable("does not exist")
    if not path.is_file():  # before opening: to open a device may already do something
        raise Unreadable("is not a file")
    # A pipe put there in the meantime would keep us for ever; a buffer would hide where the descriptor stands.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable("is not a file")
        if about.st_size == 0:
            raise Unreadable("is empty")
        if about.st_size > limits.max_bytes:
            has, allowed = about.st_size / 2**20, limits.max_bytes / 2**20
            raise Unreadable(f"has {has:.0f} MiB; at most {allowed:.0f} MiB are allowed")
        ogg.check_last_page(file)
        yield file


@contextmanager
def _decoder(file: BinaryIO, limits: AudioLimits) -> Iterator[tuple[Probe, Blocks]]:
    """What the file says about itself, and its blocks ``[channels, n]``, not yet decoded; ended with the context."""
    deadline = Deadline.after(limits.max_decode_s)
    sound = sndfile.opened(file, deadline)
    if sound is not None:
        with sound:
            yield sndfile.probe(sound), sndfile.decode_blocks(sound, file, deadline)
        return
    stop_s = limits.max_duration_s + 1.0  # enough to see that it is too long
    found = ffmpeg.probe(file, stop_s, deadline)
    with closing(ffmpeg.decode_blocks(file, found.channels, stop_s, deadline)) as blocks:
        yield found, blocks


def _check_probe(found: Probe, limits: AudioLimits) -> None:
    if found.channels > limits.max_channels:
        raise Unreadable(f"has {found.channels} channels; at most {limits.max_channels} are allowed")
    if not limits.min_rate <= found.sample_rate <= limits.max_rate:
        allowed = f"{limits.min_rate} to {limits.max_rate} Hz"
        raise Unreadable(f"has a sample rate of {found.sample_rate} Hz; allowed are {allowed}")
    if found.duration_s is not None:
        _check_longest(found.duration_s, limits)


def _check_longest(duration_s: float, limits: AudioLimits) -> None:
    if duration_s > limits.max_duration_s:
        length = f"is {duration_s:.1f} s long" if math.isfinite(duration_s) else "states no length and is too long"
        raise Unreadable(f"{length}; at most {limits.max_duration_s:g} s are allowed")


@dataclass(slots=True)
class _Meter:
    """What passed by: samples per channel, and the range of each channel's values."""

    count: int = 0
    low: np.ndarray | float = np.inf
    high: np.ndarray | float = -np.inf

    def add(self, block: np.ndarray) -> None:
        self.count += block.shape[1]
        self.low = np.minimum(self.low, block.min(axis=1, initial=np.inf))
        self.high = np.maximum(self.high, block.max(axis=1, initial=-np.inf))

    @property
    def peak(self) -> float:
        """Largest magnitude of any channel."""
        return float(np.max(np.maximum(-np.asarray(self.low), self.high)))

    @property
    def silent(self) -> bool:
        """No channel moves: zeros, or a constant voltage."""
        return bool(np.max(self.high - self.low) < 2 * SILENT_SAMPLE)


def _checked(blocks: Blocks, found: Probe, limits: AudioLimits, meter: _Meter) -> Iterator[np.ndarray]:
    """The first two channels of every block, refused as soon as one is not finite or too many have come."""
    for block in blocks:
        kept = block[:AUDIO_CHANNELS]
        if not np.isfinite(kept).all():
            raise Unreadable("contains samples that are not finite numbers")
        meter.add(kept)
        _check_longest(meter.count / found.sample_rate, limits)
        yield np.clip(kept, -LOUDEST_SAMPLE, LOUDEST_SAMPLE)


def _stereo(blocks: Iterator[np.ndarray], found: Probe) -> np.ndarray:
    channels = min(found.channels, AUDIO_CHANNELS)
    samples = resample_blocks(blocks, channels, found.sample_rate, SAMPLE_RATE)
    if channels < AUDIO_CHANNELS:
        samples = np.repeat(samples, AUDIO_CHANNELS, axis=0)  # [1, S] -> [2, S]
    return np.clip(samples, -1.0, 1.0, out=samples)


def _check_samples(samples: np.ndarray, meter: _Meter, limits: AudioLimits, require_sound: bool) -> None:
    if samples.shape[1] < limits.min_duration_s * SAMPLE_RATE:
        length = f"{samples.shape[1] / SAMPLE_RATE:.3f} s"
        raise Unreadable(f"holds only {length} of sound; at least {limits.min_duration_s:g} s are needed")
    if require_sound and meter.silent:
        raise Unreadable("is silent from start to end")
