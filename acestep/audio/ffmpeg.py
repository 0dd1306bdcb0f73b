"""The ffmpeg program as three functions: look into a file, decode it in blocks, encode blocks into a file.

In: open files or paths, and float32 ``[channels, n]`` blocks. Out: the same, through pipes, never through temporary
files. Refuses to know fields, formats of ours and our errors: it raises ``FfmpegError``, the middle of a sentence.

An uploaded file may be a playlist that names other files or hosts, or may be made to exhaust the machine. So ffmpeg
gets it as its standard input and never learns its name; opens only self-contained containers, only through the
``file`` protocol; and runs with limits on time, memory and what it may write into its log.

An asynchronous exception, which is how Cog cancels, is heard only between two calls into C. So nothing here waits for
an ffmpeg that reads a stranger's file in one call: it looks up every ``STEP_S``.
"""

from __future__ import annotations

import io
import math
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import soundfile as sf

from acestep.audio.source import Deadline, Probe, Unreadable

CONTAINERS = "aac,ac3,aiff,amr,ape,asf,avi,caf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,tta,w64,wav,wv"
BLOCK_SAMPLES = 65_536
FLOAT_BYTES = 4
PIPE_BYTES = 1 << 16  # what a pipe holds
STEP_S = 0.05
ENCODE_LIMIT_S = 600.0
MEMORY_BYTES = 2 << 30  # address space of a process that reads a stranger's file; a normal one takes a quarter
PIECE_BYTES = 1 << 27  # the largest single allocation: a picture of 5000 x 5000 fits, a bomb does not
LOG_BYTES = 1 << 23
READ_ONLY = (
    *("-nostdin", "-max_alloc", str(PIECE_BYTES), "-filter_threads", "1", "-threads", "1"),
    *("-protocol_whitelist", "file", "-format_whitelist", CONTAINERS, "-i", "file:/dev/stdin"),
)
CUT_WORDS = rb"partial file|ended prematurely|corrupt input packet|Packet corrupt"
CUT = re.compile(rb"^\[[^\]]*\] .*(?:%b)" % CUT_WORDS, re.MULTILINE)
STATED = re.compile(rb"^  Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", re.MULTILINE)
REACHED = re.compile(rb" time=(\d+):(\d\d):(\d\d(?:\.\d+)?)")
PLAIN_REASONS = {b"matches no streams": "it has no audio track", b"no decoder found": "its codec is unknown"}

Complaint = Callable[[bytes, int], str]  # of ffmpeg's log and exit status


class FfmpegError(Unreadable):
    """ffmpeg is missing, refused its input or output, or ran too long; the text continues "<file> ..."."""


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


def probe(file: BinaryIO, stop_s: float, deadline: Deadline) -> Probe:
    """Rate, channels and length of the first audio stream, all found out, none believed.

    Rate and channels come from its first decoded frame, the length from walking through its packets, decoding none.
    The walk ends at ``stop_s`` seconds; what is longer has the length that the file states, or an infinite one.

    Raises:
        FfmpegError: no audio, cut short, or too slow.
    """
    first = ["-map", "0:a:0", "-frames:a", "1", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
    walk = ["-map", "0:a:0", "-c", "copy", "-t", f"{stop_s:.3f}", "-f", "null", "-"]
    arguments = ["-v", "info", "-nostats", *READ_ONLY, *first, *walk]
    with _running(arguments, deadline, _not_read, file) as (process, log):
        header = b"".join(_read_pieces(process.stdout, PIPE_BYTES))
        _wait(process)
        said = _text(log)
    if CUT.search(said):
        raise FfmpegError("is cut short: its last piece of sound is incomplete")
    try:
        with sf.SoundFile(io.BytesIO(header)) as sound:
            return Probe(sound.samplerate, sound.channels, _length(said, stop_s))
    except sf.LibsndfileError as error:
        raise FfmpegError("is not audio that can be read (it holds no sound)") from error


def _length(said: bytes, stop_s: float) -> float | None:
    reached, stated = REACHED.findall(said), STATED.search(said)
    if not reached:
        return None
    walked_s, stated_s = _seconds(reached[-1]), _seconds(stated.groups()) if stated else 0.0
    if walked_s < stop_s:
        return walked_s
    return stated_s if stated_s > stop_s else math.inf


def _seconds(clock: Sequence[bytes]) -> float:
    hours, minutes, seconds = (float(part) for part in clock)
    return hours * 3600 + minutes * 60 + seconds


def decode_blocks(
    file: BinaryIO, channels: int, stop_s: float, deadline: Deadline
) -> Generator[np.ndarray, None, None]:
    """Float32 blocks ``[channels, n]`` of the first audio stream at its own rate, up to ``stop_s`` seconds of it.

    Raises:
        FfmpegError: damaged, or too slow.
    """
    pcm = ["-map", "0:a:0", "-t", f"{stop_s:.3f}", "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]
    arguments = ["-v", "error", "-max_error_rate", "0.1", *READ_ONLY, *pcm]
    with _running(arguments, deadline, _damaged, file) as (process, _):
        for data in _read_pieces(process.stdout, BLOCK_SAMPLES * channels * FLOAT_BYTES):
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
        _running(arguments, Deadline.after(ENCODE_LIMIT_S), _not_encoded) as (process, _),
        suppress(BrokenPipeError),  # ffmpeg has given up: its status and last words follow
    ):
        for block in blocks:
            process.stdin.write(np.ascontiguousarray(block.T, "<f4"))  # [n, channels]


@contextmanager
def _running(
    arguments: Sequence[str], deadline: Deadline, complaint: Complaint, source: BinaryIO | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A running ffmpeg and its log; killed when the caller fails or time is up, its status checked after.

    With a ``source`` it reads that file, confined, and writes to a pipe; without, it reads a pipe.
    """
    command = [find_ffmpeg(), "-hide_banner", *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    if source is not None:
        source.seek(0)  # some systems open /dev/stdin where the descriptor stands
        pipes = {"stdin": source, "stdout": subprocess.PIPE}
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stderr=log, **pipes) as process,
    ):
        watchdog = threading.Timer(deadline.left_s, process.kill)
        watchdog.start()
        try:
            if source is not None:
                _confine(process.pid)
            yield process, log
            _close_input(process)
            _wait(process)
        except BaseException:
            process.kill()
            _close_input(process)
            raise
        finally:
            expired = not watchdog.is_alive()
            watchdog.cancel()
            watchdog.join()
        if expired:
            raise FfmpegError(deadline.complaint)
        if process.returncode != 0:
            raise FfmpegError(complaint(_text(log), process.returncode))


def _read_pieces(pipe: IO[bytes], size: int) -> Iterator[bytes]:
    """Everything from a pipe in pieces of ``size`` bytes, the last one shorter."""
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)  # the end of the pipe wakes it as well
    piece = bytearray()
    while True:
        while not waiting.poll(STEP_S * 1000):
            pass
        data = os.read(pipe.fileno(), size - len(piece))
        piece += data
        if piece and (not data or len(piece) == size):
            yield bytes(piece)
            piece.clear()
        if not data:
            return


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Until it ends. With a limit, even an endless one, ``Popen.wait`` sleeps in short steps instead of one call."""
    process.wait(threading.TIMEOUT_MAX)


def _confine(process_id: int) -> None:
    """Limit what a child can take; only Linux can do this from outside, elsewhere ``-max_alloc`` has to do."""
    if sys.platform == "linux":
        import resource

        with suppress(ProcessLookupError):  # it has ended already
            for which, most in {resource.RLIMIT_AS: MEMORY_BYTES, resource.RLIMIT_FSIZE: LOG_BYTES}.items():
                inherited = resource.prlimit(process_id, which)[1]
                lowest = most if inherited == resource.RLIM_INFINITY else min(most, inherited)
                resource.prlimit(process_id, which, (lowest, lowest))


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()


def _text(log: IO[bytes]) -> bytes:
    log.seek(0)
    return log.read()


def _not_read(said: bytes, status: int) -> str:
    found = (reason for words, reason in PLAIN_REASONS.items() if words in said)
    reason = next(found, "its kind is unknown or its content is damaged")
    return f"is not audio that can be read ({'it is too much for its decoder' if status < 0 else reason})"


def _damaged(_said: bytes, _status: int) -> str:
    return "is damaged: too much of it cannot be decoded"


def _not_encoded(said: bytes, status: int) -> str:
    """With the reason in ffmpeg's last line that does not quote a path."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines()]
    told = [line.split(": ")[-1] for line in lines if line and "file:" not in line]
    return f"could not be encoded ({told[-1] if told else f'ffmpeg ended with status {status}'})"
