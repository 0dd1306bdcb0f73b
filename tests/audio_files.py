"""Audio files for tests: tones, every container they can be put into, and how well a tone came back.

Signals are float32 ``[channels, S]``. Refuses to know how ``acestep.audio`` reads them.
"""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import soundfile as sf

from acestep.audio.ffmpeg import find_ffmpeg
from acestep.audio.io import DEFAULT_LIMITS, Audio, AudioLimits, read_audio
from acestep.errors import AudioError

RATE = 48_000
SECONDS = 2.0
TONES_HZ = ((440.0, 1250.0), (660.0, 1850.0))  # two per channel: an exchange of channels or a wrong rate is seen
TONES_PEAK = (0.5, 0.25)


def tone(rate: int, channels: int = 2, seconds: float = SECONDS, amplitude: float = 0.5) -> np.ndarray:
    """Channel c holds a sine of 400 + 200 c Hz, ``[channels, S]``."""
    time = np.arange(round(seconds * rate)) / rate
    rows = [amplitude * np.sin(2 * np.pi * (400 + 200 * channel) * time) for channel in range(channels)]
    return np.stack(rows).astype(np.float32)


def two_tones(rate: int, channels: int = 2, seconds: float = SECONDS) -> np.ndarray:
    """``TONES_HZ`` at ``TONES_PEAK`` in the first two channels, silence in the others, ``[channels, S]``."""
    time = np.arange(round(seconds * rate)) / rate
    rows = [
        sum(peak * np.sin(2 * np.pi * hz * time) for hz, peak in zip(pair, TONES_PEAK, strict=True))
        for pair in TONES_HZ
    ]
    rows += [np.zeros_like(time)] * (channels - 2)
    return np.stack(rows[:channels]).astype(np.float32)


def level_error_db(samples: np.ndarray, channel: int) -> float:
    """How far the worse of a channel's two tones is from its peak, delay apart; least squares over the middle."""
    found = np.hypot(*_fit(samples, channel)[0].reshape(2, 2).T)
    return float(np.abs(20 * np.log10(found / np.array(TONES_PEAK))).max())


def noise_db(samples: np.ndarray, channel: int) -> float:
    """What is in the channel besides its two tones, in dB relative to them."""
    rest = _fit(samples, channel)[1]
    return float(10 * np.log10(max(rest, 1e-20)))


def _fit(samples: np.ndarray, channel: int) -> tuple[np.ndarray, float]:
    middle = samples[channel, samples.shape[1] // 8 : -samples.shape[1] // 8].astype(np.float64)
    time = np.arange(len(middle)) / RATE
    waves = [wave(2 * np.pi * hz * time) for hz in TONES_HZ[channel] for wave in (np.sin, np.cos)]
    weights = np.linalg.lstsq(np.stack(waves, axis=1), middle, rcond=None)[0]
    rest = middle - np.stack(waves, axis=1) @ weights
    return weights, float((rest**2).sum() / (middle**2).sum())


def similarity(left: np.ndarray, right: np.ndarray) -> float:
    """Cosine of two waveforms over their common length, per channel, the worst."""
    length = min(left.shape[1], right.shape[1])
    left, right = left[:, :length], right[:, :length]
    return float(((left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)).min())


def write(path: Path, samples: np.ndarray, rate: int = RATE, **options: str) -> Path:
    """Write with libsndfile: WAV of floats unless told otherwise. In blocks: its Ogg encoder needs that."""
    described = {"format": "WAV", "subtype": "FLOAT", **options}
    with path.open("wb") as file, sf.SoundFile(file, "w", rate, samples.shape[0], **described) as sound:
        for start in range(0, samples.shape[1], 4096):
            sound.write(samples[:, start : start + 4096].T)
    return path


def transcode(source: Path, target: Path, *arguments: str) -> Path:
    """Write with ffmpeg, as the suffix or the arguments say."""
    subprocess.run([find_ffmpeg(), "-v", "error", "-y", "-i", source, *arguments, target], check=True)
    return target


def run_ffmpeg(*arguments: str) -> None:
    """Any other ffmpeg command, its complaints shown."""
    subprocess.run([find_ffmpeg(), "-v", "error", "-y", "-nostdin", *arguments], check=True)


@cache
def coded(suffix: str, *arguments: str, rate: int = RATE, seconds: float = SECONDS) -> bytes:
    """The content of a file of two tones that ffmpeg made; made once per run."""
    with TemporaryDirectory() as folder:
        source = write(Path(folder) / "source.wav", two_tones(rate, seconds=seconds), rate)
        return transcode(source, Path(folder) / f"song.{suffix}", *arguments).read_bytes()


@cache
def stored(kind: str, subtype: str, rate: int = RATE, channels: int = 2, seconds: float = SECONDS) -> bytes:
    """The content of a file of two tones that libsndfile made; made once per run."""
    with TemporaryDirectory() as folder:
        tones = two_tones(rate, channels, seconds)
        return write(Path(folder) / "song", tones, rate, format=kind, subtype=subtype).read_bytes()


def assert_is_two_tones(audio: Audio, noise: float, padding_s: float = 0.0) -> None:
    """Length, level and purity of what came back; a delay is allowed within the padding."""
    assert audio.samples.dtype == np.float32
    assert audio.samples.shape == (2, round(audio.duration_s * RATE))
    assert audio.sample_rate == RATE
    assert abs(audio.duration_s - SECONDS) <= padding_s + 1 / RATE
    for channel in range(2):
        assert level_error_db(audio.samples, channel) < (0.02 if noise <= -80 else 0.5)
        assert noise_db(audio.samples, channel) < noise


def refused(path: Path | str, limits: AudioLimits = DEFAULT_LIMITS, require_sound: bool = False) -> str:
    """The sentence with which a file is refused: field and name first, no folder, one line."""
    with pytest.raises(AudioError) as caught:
        read_audio(path, field="src_audio", limits=limits, require_sound=require_sound)
    assert caught.value.field == "src_audio"
    message = str(caught.value)
    assert message.startswith("src_audio: '")
    assert str(Path(path).parent) == "." or str(Path(path).parent) not in message, "no folder may be shown"
    assert "\n" not in message
    return message
