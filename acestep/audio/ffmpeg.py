"""The ffmpeg program as three functions: look into a file, decode it in blocks, encode blocks into a file.

In: paths and float32 ``[channels, n]`` blocks. Out: the same, through pipes, nothing in temporary audio files.
Refuses to know fields, formats of ours and our error tree: it raises ``FfmpegError`` with the middle of a sentence.

An uploaded file may be a playlist that names other files or hosts, so only self-contained containers are opened, only
through the ``file`` protocol, and every run has a time limit.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import soundfile as sf

CONTAINERS = "aac,ac3,aiff,amr,ape,asf,avi,caf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,tta,w64,wav,wv"
BLOCK_SAMPLES = 65_536
FLOAT_BYTES = 4
ENCODE_LIMIT_S = 600.0


class FfmpegError(Exception):
    """ffmpeg is missing, refused its input or output, or ran too long; the text continues "<file> ..."."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a file says about itself before it is decoded; ``duration_s`` is None when it does not say."""

    sample_rate: int
    channels: int
    duration_s: float | None


def find_ffmpeg() -> str:
    """Path of the program: the one in the ``imageio-ffmpeg`` package, else the one on PATH.

    Raises:
        FfmpegError: there is neither.
    """
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        found = shutil.which("ffmpeg")
    if found is None:
        raise FfmpegError("needs ffmpeg, which is missing: run `pip install imageio-ffmpeg` or put ffmpeg on PATH")
    return found


def probe(path: Path, limit_s: float) -> Probe:
    """Rate and channels of the first audio stream, read off its first decoded frame, and the stated length."""
    arguments = ["-v", "info", *_input(path), "-frames:a", "1", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
    with _running(arguments, limit_s, "is not audio that can be read", stdout=subprocess.PIPE) as (process, log):
        header = process.stdout.read()
        process.wait()
        stated = re.search(rb"Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", _text(log))
    with sf.SoundFile(io.BytesIO(header)) as first:
        rate, channels = first.samplerate, first.channels
    if stated is None:
        return Probe(rate, channels, None)
    hours, minutes, seconds = (float(part) for part in stated.groups())
    return Probe(rate, channels, hours * 3600 + minutes * 60 + seconds)


def decode_blocks(path: Path, channels: int, stop_s: float, limit_s: float) -> Generator[np.ndarray, None, None]:
    """Float32 blocks ``[channels, n]`` of the first audio stream at its own rate, up to ``stop_s`` seconds of it."""
    arguments = ["-v", "error", *_input(path), "-t", f"{stop_s:.3f}", "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]
    with _running(arguments, limit_s, "is damaged", stdout=subprocess.PIPE) as (process, _):
        while data := process.stdout.read(BLOCK_SAMPLES * channels * FLOAT_BYTES):
            whole = len(data) // (channels * FLOAT_BYTES) * channels
            yield np.frombuffer(data, "<f4", whole).reshape(-1, channels).T


def encode_blocks(
    blocks: Iterable[np.ndarray], sample_rate: int, channels: int, path: Path, codec: Sequence[str]
) -> None:
    """Write float32 ``[channels, n]`` blocks to a file.

    Args:
        blocks: consecutive pieces of the waveform.
        sample_rate: in Hz.
        channels: of every block.
        path: file to create or replace; its suffix is not looked at.
        codec: ffmpeg output arguments that name codec, bit rate and container.
    """
    source = ["-f", "f32le", "-ar", str(sample_rate), "-ac", str(channels), "-i", "pipe:0"]
    plain = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact"]
    arguments = ["-v", "error", "-y", *source, *plain, *codec, f"file:{path}"]
    with (
        _running(arguments, ENCODE_LIMIT_S, "could not be encoded", stdin=subprocess.PIPE) as (process, _),
        suppress(BrokenPipeError),  # ffmpeg has given up: its status and last words follow
    ):
        for block in blocks:
            process.stdin.write(np.ascontiguousarray(block.T, "<f4"))  # [n, channels]


def _input(path: Path) -> list[str]:
    guard = ["-protocol_whitelist", "file", "-format_whitelist", CONTAINERS]
    return ["-nostdin", *guard, "-i", f"file:{path}", "-map", "0:a:0"]


@contextmanager
def _running(
    arguments: Sequence[str],
    limit_s: float,
    complaint: str,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A running ffmpeg and its log; killed when the caller fails or the limit passes, its status checked after."""
    command = [find_ffmpeg(), "-hide_banner", *arguments]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=log) as process,
    ):
        watchdog = threading.Timer(limit_s, process.kill)
        watchdog.start()
        try:
            yield process, log
            _close_input(process)
            process.wait()
        except BaseException:
            process.kill()
            _close_input(process)
            raise
        finally:
            expired = not watchdog.is_alive()
            watchdog.cancel()
            watchdog.join()
        if expired:
            raise FfmpegError(f"took longer than {limit_s:g} s")
        if process.returncode != 0:
            raise FfmpegError(f"{complaint} ({_last_words(log, process.returncode)})")


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()


def _text(log: IO[bytes]) -> bytes:
    log.seek(0)
    return log.read()


def _last_words(log: IO[bytes], status: int) -> str:
    """The reason in ffmpeg's last line that does not quote a path."""
    lines = [line.strip() for line in _text(log).decode("utf-8", "replace").splitlines()]
    told = [line.split(": ")[-1] for line in lines if line and "file:" not in line]
    return told[-1] if told else f"ffmpeg ended with status {status}"
