"""Read an audio file that a person handed in: it becomes 48 kHz stereo float32, or one clear sentence.

In: a path and the name of the field it was given in. Out: ``Audio`` (samples, their origin, a hash of the file).
The content decides how a file is read, never its suffix: libsndfile first, ffmpeg for what libsndfile does not know.
Refuses to know tasks, latents and what the audio is for. Messages name the field and the file, never its folder.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from acestep.audio import ffmpeg
from acestep.audio.ffmpeg import FfmpegError, Probe
from acestep.audio.resample import resample_blocks
from acestep.constants import AUDIO_CHANNELS, DURATION_MAX_S, SAMPLE_RATE
from acestep.errors import AudioError

BLOCK_SAMPLES = 65_536
SILENT_SAMPLE = 1e-6  # upstream's threshold: a file whose every sample is smaller holds no sound

Blocks = Generator[np.ndarray, None, None]


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
    """

    samples: np.ndarray
    sample_rate: int
    source_rate: int
    source_channels: int
    sha256: str
    duration_s: float


class _Unreadable(Exception):  # noqa: N818 - never leaves this file
    """Why a file is refused, as the end of the sentence "<field>: '<name>' ..."."""


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
    path = Path(path)
    try:
        _check_file(path, limits)
        found, blocks = _open(path, limits)
        _check_probe(found, limits)
        with closing(blocks):  # a refusal half-way ends the decoder at once
            samples = _stereo(_checked(blocks, found, limits), found)
        _check_samples(samples, limits, require_sound)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (_Unreadable, FfmpegError) as error:
        raise _audio_error(field, path, str(error)) from error
    except sf.LibsndfileError as error:
        reason = error.error_string.removeprefix("Error : ").rstrip(".")
        raise _audio_error(field, path, f"is damaged ({reason})") from error
    except OSError as error:
        raise _audio_error(field, path, f"cannot be read ({error.strerror})") from error
    return Audio(samples, SAMPLE_RATE, found.sample_rate, found.channels, digest, samples.shape[1] / SAMPLE_RATE)


def _audio_error(field: str, path: Path, reason: str) -> AudioError:
    name = path.name.split("?")[0]  # a URL given by mistake may carry a token
    return AudioError(f"{field}: {name!r} {reason}", field=field, value=name)


def _check_file(path: Path, limits: AudioLimits) -> None:
    if not path.exists():
        raise _Unreadable("does not exist")
    if not path.is_file():
        raise _Unreadable("is not a file")
    size = path.stat().st_size
    if size == 0:
        raise _Unreadable("is empty")
    if size > limits.max_bytes:
        raise _Unreadable(f"has {size / 2**20:.0f} MiB; at most {limits.max_bytes / 2**20:.0f} MiB are allowed")


def _open(path: Path, limits: AudioLimits) -> tuple[Probe, Blocks]:
    """What the file says about itself, and its blocks ``[channels, n]``, not yet decoded."""
    try:
        found = _probe_with_libsndfile(path)
        return found, _libsndfile_blocks(path, limits.max_decode_s)
    except sf.LibsndfileError:
        found = ffmpeg.probe(path, limits.max_decode_s)
        stop_s = limits.max_duration_s + 1.0  # enough to see that a file without a stated length is too long
        return found, ffmpeg.decode_blocks(path, found.channels, stop_s, limits.max_decode_s)


def _probe_with_libsndfile(path: Path) -> Probe:
    # A file descriptor has no name, so neither soundfile nor libsndfile can be misled by the suffix.
    with path.open("rb") as file, sf.SoundFile(file.fileno(), closefd=False) as sound:
        return Probe(sound.samplerate, sound.channels, sound.frames / sound.samplerate)


def _libsndfile_blocks(path: Path, limit_s: float) -> Blocks:
    deadline = time.monotonic() + limit_s
    with path.open("rb") as file, sf.SoundFile(file.fileno(), closefd=False) as sound:
        while len(block := sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
            if time.monotonic() > deadline:
                raise _Unreadable(f"took longer than {limit_s:g} s to decode")
            yield block.T  # [channels, n]


def _check_probe(found: Probe, limits: AudioLimits) -> None:
    if found.channels > limits.max_channels:
        raise _Unreadable(f"has {found.channels} channels; at most {limits.max_channels} are allowed")
    if not limits.min_rate <= found.sample_rate <= limits.max_rate:
        allowed = f"{limits.min_rate} to {limits.max_rate} Hz"
        raise _Unreadable(f"has a sample rate of {found.sample_rate} Hz; allowed are {allowed}")
    if found.duration_s is not None:
        _check_longest(found.duration_s, limits)


def _check_longest(duration_s: float, limits: AudioLimits) -> None:
    if duration_s > limits.max_duration_s:
        raise _Unreadable(f"is {duration_s:.1f} s long; at most {limits.max_duration_s:g} s are allowed")


def _checked(blocks: Blocks, found: Probe, limits: AudioLimits) -> Iterator[np.ndarray]:
    """The first two channels of every block, refused as soon as one is not finite or too many have come."""
    count = 0
    for block in blocks:
        count += block.shape[1]
        _check_longest(count / found.sample_rate, limits)
        kept = block[:AUDIO_CHANNELS]
        if not np.isfinite(kept).all():
            raise _Unreadable("contains samples that are not finite numbers")
        yield kept


def _stereo(blocks: Iterator[np.ndarray], found: Probe) -> np.ndarray:
    channels = min(found.channels, AUDIO_CHANNELS)
    samples = resample_blocks(blocks, channels, found.sample_rate, SAMPLE_RATE)
    samples = np.repeat(samples, AUDIO_CHANNELS // channels, axis=0)  # [1 or 2, S] -> [2, S]
    return np.clip(samples, -1.0, 1.0, out=samples)


def _check_samples(samples: np.ndarray, limits: AudioLimits, require_sound: bool) -> None:
    if samples.shape[1] < limits.min_duration_s * SAMPLE_RATE:
        length = f"{samples.shape[1] / SAMPLE_RATE:.3f} s"
        raise _Unreadable(f"holds only {length} of sound; at least {limits.min_duration_s:g} s are needed")
    if require_sound and max(samples.max(), -samples.min()) < SILENT_SAMPLE:
        raise _Unreadable("is silent from start to end")
