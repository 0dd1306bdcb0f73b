"""Files that are no songs, one row each: a name, how it is made, and what must be said about it.

In: an empty folder. Out: a path in it (or elsewhere) to hand to ``read_audio``. Everything is made here, by hand or
with libsndfile and ffmpeg. ``test_malformed_audio`` judges each, ``benchmarks.malformed`` times them.
"""

from __future__ import annotations

import gzip
import os
import pickle
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from audio_files import coded, run_ffmpeg, stored
from malformed_bytes import (
    FLOAT,
    boxes_in_boxes,
    caf_of_chunks,
    chunk,
    cut,
    endless_8svx,
    flac_of_blocks,
    holed,
    id3,
    many_chunks,
    nested,
    overwritten,
    wav,
    wave64_of_chunks,
    with_flac_total,
    with_last_position,
    without_box,
    zipped,
)

HOURS_10_S = 36_000
ENDLESS = b"\xff" * 4
NO_AUDIO = "is not audio that can be read ("
NO_TRACK = "is not audio that can be read (it has no audio track)"
ROTTEN = "is damaged: too much of it cannot be decoded"
CUT = "is cut short"
DAMAGED = "is damaged or cut short"
LONG = "at most 600 s are allowed"
SHORT = "s of sound; at least 0.1 s are needed"
SILENT = "is silent from start to end"
NOT_FINITE = "contains samples that are not finite numbers"
ABSENT = "does not exist"
MORE = "holds more sound than the 0.2 s that its header states"
TOO_LONG = "cannot be read (File name too long)"
NO_FILE = "is not a file"
MANY = "is split into too many pieces; at most 10000 are allowed"


@dataclass(frozen=True, slots=True)
class Malformed:
    """One thing a person may hand in by mistake or in bad faith.

    Attributes:
        name: for people.
        make: puts it into a folder and says what to read.
        reason: part of the sentence that must be said.
    """

    name: str
    make: Callable[[Path], Path | str]
    reason: str


def _row(name: str, reason: str, content: Callable[[], bytes], file_name: str = "song.wav") -> Malformed:
    return Malformed(name, partial(_written, content, file_name), reason)


def _written(content: Callable[[], bytes], file_name: str, folder: Path) -> Path:
    (folder / file_name).write_bytes(content())
    return folder / file_name


def _noise(seconds: float, kind: str = "<i2") -> bytes:
    """Stereo at 48 kHz."""
    values = np.random.default_rng(5).uniform(-0.5, 0.5, round(seconds * 96_000))
    return (values * (2**15 if kind == "<i2" else 1)).astype(kind).tobytes()


def _floats(first: float, then: float = 0.25, kind: str = "<f4") -> bytes:
    values = np.full(96_000, then, kind)
    values[1000] = first
    return wav(values.tobytes(), codec=FLOAT, bits=values.itemsize * 8)


@cache
def _ten_hours(suffix: str, *arguments: str) -> bytes:
    """Silence at 8 kHz: a minute of it, its packets copied 600 times."""
    with TemporaryDirectory() as folder:
        minute, song = str(Path(folder) / f"minute.{suffix}"), str(Path(folder) / f"song.{suffix}")
        run_ffmpeg("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "60", *arguments, minute)
        run_ffmpeg("-stream_loop", f"{HOURS_10_S // 60 - 1}", "-i", minute, "-c", "copy", song)
        return Path(song).read_bytes()


@cache
def _ten_hours_flac() -> bytes:
    """As ``_ten_hours``, but its frames are numbered and cannot be copied."""
    with TemporaryDirectory() as folder:
        song, coder = str(Path(folder) / "song.flac"), ("-c:a", "flac", "-frame_size", "16384")
        run_ffmpeg("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", f"{HOURS_10_S}", *coder, song)
        return Path(song).read_bytes()


def _ten_hours_mp3() -> bytes:
    frames = _bare_mp3()
    return frames + frames[-72:] * 500_000  # 72 bytes are 72 ms


def _bare_mp3() -> bytes:
    """Nothing but frames of 72 bytes."""
    return coded("mp3", "-c:a", "libmp3lame", "-b:a", "8k", "-ar", "8000", "-ac", "1", *_BARE_MP3)


def _without_length(matroska: bytes) -> bytes:
    """The element Duration (0x4489, 8 bytes) turned into one to be skipped (Void, 0xEC)."""
    return matroska.replace(b"\x44\x89\x88", b"\xec\x40\x08", 1)


_BARE_MP3 = ("-write_xing", "0", "-id3v2_version", "0")
_OPUS = ("-c:a", "libopus", "-b:a", "6k", "-frame_duration", "120")
_M4A = ("m4a", "-c:a", "aac", "-movflags", "+faststart")
_FILM = ("-f", "lavfi", "-i", "color=s=64x64:d=1", "-c:v", "mpeg4")


def _film(folder: Path) -> Path:
    run_ffmpeg(*_FILM, str(folder / "film.mp4"))
    return folder / "film.mp4"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "song.wav")
    return folder / "song.wav"


def _socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(folder / "song.wav"))  # an absolute one may be too long
    return folder / "song.wav"


def _link(target: str, folder: Path) -> Path:
    (folder / "song.wav").symlink_to(target)
    return folder / "song.wav"


def _sparse(size: int, folder: Path) -> Path:
    with (folder / "song.wav").open("wb") as file:
        file.write(wav(b"", stated=min(size, 0xFFFF_FFFF))[:44])
        file.truncate(size)
    return folder / "song.wav"


def _playlist(text: str, folder: Path) -> Path:
    secret = folder / "secret.ts"
    secret.write_bytes(coded("ts", "-c:a", "aac"))
    (folder / "song.m4a").write_text(text.format(target=secret))
    return folder / "song.m4a"


NO_AUDIO_AT_ALL = (
    _row("no byte", "is empty", lambda: b""),
    _row("one byte", NO_AUDIO, lambda: b"R"),
    _row("a text", NO_AUDIO, lambda: b"Dear diary,\n" * 500),
    _row("a text with a byte order mark", NO_AUDIO, lambda: ("Dear diary,\n" * 500).encode("utf-16")),
    _row("a web page", NO_AUDIO, lambda: b"<!doctype html><title>404</title>" * 9, "song.mp3"),
    _row("a vector drawing", NO_AUDIO, lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    _row("a picture", NO_AUDIO, lambda: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 40),
    _row("a program", NO_AUDIO, lambda: b"\x7fELF\2\1\1" + bytes(9) + bytes(range(256)) * 40),
    _row("a document", NO_AUDIO, lambda: b"%PDF-1.7\n" + bytes(range(256)) * 40),
    _row("a pickle", NO_AUDIO, lambda: pickle.dumps(list(range(999)))),
    _row("an archive with a song", NO_AUDIO, lambda: zipped(wav(_noise(1.0)))),
    _row("a compressed song", NO_AUDIO, lambda: gzip.compress(wav(_noise(1.0)))),
    _row("MIDI notes", NO_AUDIO, lambda: b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\0\0\4\0\xff\x2f\0" * 20, "song.mid"),
    _row("nothing but zeros", NO_AUDIO, lambda: bytes(500_000)),
    _row("nothing but ones", NO_AUDIO, lambda: b"\xff" * 500_000, "song.mp3"),
    _row("random bytes", NO_AUDIO, lambda: np.random.default_rng(3).bytes(500_000)),
    Malformed("a film without sound", _film, NO_TRACK),
    Malformed("an HLS playlist", partial(_playlist, "#EXTM3U\n#EXTINF:2.0,\n{target}\n#EXT-X-ENDLIST\n"), NO_AUDIO),
    Malformed("a concat playlist", partial(_playlist, "ffconcat version 1.0\nfile '{target}'\n"), NO_AUDIO),
    Malformed("a playlist of a web address", partial(_playlist, "#EXTM3U\nhttp://127.0.0.1:9/song.ts\n"), NO_AUDIO),
)

WAV_FILES = (
    _row("WAV: only twelve bytes", NO_AUDIO, lambda: wav(_noise(1.0))[:12]),
    _row("WAV: header cut", NO_AUDIO, lambda: wav(_noise(1.0))[:30]),
    _row("WAV: only a header", SHORT, lambda: wav(_noise(1.0))[:44]),
    _row("WAV: no sound chunk", NO_AUDIO, lambda: chunk(b"RIFF", b"WAVE" + chunk(b"LIST", bytes(900)))),
    _row("WAV: sample rate 0", NO_AUDIO, lambda: wav(_noise(1.0), rate=0)),
    _row("WAV: sample rate 4294967295", NO_AUDIO, lambda: wav(_noise(1.0), rate=0xFFFF_FFFF)),
    _row("WAV: 7 kHz", "has a sample rate of 7000 Hz; allowed are 8000 to", lambda: wav(_noise(1.0), rate=7000)),
    _row("WAV: 384 kHz", "has a sample rate of 384000 Hz", lambda: wav(_noise(4.0), rate=384_000)),
    _row("WAV: 0 channels", NO_AUDIO, lambda: wav(_noise(1.0), channels=0, align=4)),
    _row("WAV: 9 channels", "has 9 channels; at most 8 are allowed", lambda: wav(bytes(18 * 9600), channels=9)),
    _row("WAV: 1024 channels", "has 1024 channels", lambda: wav(bytes(2048 * 9600), channels=1024)),
    _row("WAV: 65535 channels", NO_AUDIO, lambda: wav(bytes(131_070), channels=65_535)),
    _row("WAV: 0 bits", NO_AUDIO, lambda: wav(_noise(1.0), bits=0, align=4)),
    _row("WAV: 77 bits", NO_AUDIO, lambda: wav(_noise(1.0), bits=77)),
    _row("WAV: unknown codec", NO_AUDIO, lambda: wav(_noise(1.0), codec=0x1234)),
    _row("WAV: ADPCM with blocks of no bytes", NO_AUDIO, lambda: wav(_noise(1.0), codec=2, bits=4, align=0)),
    _row("WAV: one sample", SHORT, lambda: wav(bytes(4))),
    _row("WAV: sound of no bytes", SHORT, lambda: wav(b"")),
    _row("WAV: recording never closed", SHORT, lambda: wav(_noise(1.0), stated=0)),
    _row("WAV: odd size of the sound", SHORT, lambda: wav(bytes(4001), stated=4001)),
    _row("WAV: negative size of the sound", SHORT, lambda: wav(bytes(100), stated=0xFFFF_FF00)),
    _row("WAV: 4 GiB stated, 100 bytes there", SHORT, lambda: wav(bytes(100), stated=0xFFFF_FFFF)),
    _row("WAV: 100 MB stated, 1 MB there", CUT, lambda: wav(_noise(5.0), stated=100_000_000)),
    _row("WAV: cut in the middle", CUT, lambda: cut(wav(_noise(2.0)))),
    _row("WAV: nested in itself", NO_AUDIO, lambda: nested(_noise(1.0))),
    _row("WAV: format chunk of 4 GiB", NO_AUDIO, lambda: b"RIFF" + ENDLESS + b"WAVEfmt " + ENDLESS + bytes(900)),
    _row("WAV: a sample that is no number", NOT_FINITE, lambda: _floats(np.nan)),
    _row("WAV: an infinite sample", NOT_FINITE, lambda: _floats(-np.inf)),
    _row("WAV: a double beyond floats", NOT_FINITE, lambda: _floats(1e300, kind="<f8")),
    _row("WAV: zeros", SILENT, lambda: wav(bytes(400_000))),
    _row("WAV: a constant voltage", SILENT, lambda: _floats(0.25)),
    _row("WAV: a constant voltage at 44.1 kHz", SILENT, lambda: wav(b"\0\x10" * 200_000, rate=44_100)),
    _row("WAV: eleven minutes", f"is 660.0 s long; {LONG}", lambda: wav(bytes(660 * 16_000), channels=1, rate=8000)),
    Malformed("WAV: 4 GiB on the disk", partial(_sparse, 4 << 30), "has 4096 MiB; at most 512 MiB are allowed"),
    Malformed("WAV: 500 MiB of nothing", partial(_sparse, 500 << 20), LONG),
    _row("RF64: cut in the middle", CUT, lambda: cut(stored("RF64", "PCM_16"))),
    _row("W64: cut in the middle", CUT, lambda: cut(stored("W64", "PCM_16")), "song.w64"),
    _row("AIFF: cut in the middle", CUT, lambda: cut(stored("AIFF", "PCM_16")), "song.aiff"),
    _row("AIFF: only a header", NO_AUDIO, lambda: b"FORM\0\0\0\4AIFF", "song.aiff"),
    _row("AU: cut in the middle", CUT, lambda: cut(stored("AU", "PCM_16")), "song.au"),
    _row("AU: sound begins at 4 GiB", NO_AUDIO, lambda: b".snd" + struct.pack(">5I", 2**32 - 1, 99, 3, 48_000, 2)),
    _row("CAF: cut in the middle", CUT, lambda: cut(stored("CAF", "PCM_16")), "song.caf"),
)

CODED_FILES = (
    _row("FLAC: only its mark", NO_AUDIO, lambda: b"fLaC", "song.flac"),
    _row("FLAC: header cut", NO_AUDIO, lambda: stored("FLAC", "PCM_16")[:30], "song.flac"),
    _row("FLAC: cut in mid frame", DAMAGED, lambda: cut(stored("FLAC", "PCM_16")), "song.flac"),
    _row("FLAC: a hole of zeros", DAMAGED, lambda: holed(stored("FLAC", "PCM_16"), 0.5, 2000), "song.flac"),
    _row("FLAC: more stated", DAMAGED, lambda: with_flac_total(stored("FLAC", "PCM_16"), 960_000), "song.flac"),
    _row(
        "FLAC: less stated", "holds more sound", lambda: with_flac_total(stored("FLAC", "PCM_16"), 9600), "song.flac"
    ),
    _row("FLAC: 397 hours stated", LONG, lambda: with_flac_total(stored("FLAC", "PCM_16"), 2**36 - 1), "song.flac"),
    _row("FLAC: ten hours of silence", f"is 36000.0 s long; {LONG}", _ten_hours_flac, "song.flac"),
    _row("FLAC: ten hours, no length", LONG, lambda: with_flac_total(_ten_hours_flac(), 0), "song.flac"),
    _row("MP3: only a tag", NO_AUDIO, lambda: id3(200_000), "song.mp3"),
    _row("MP3: a tag that never ends", NO_AUDIO, lambda: id3(2_000_000)[:900], "song.mp3"),
    _row("MP3: cut in the middle", CUT, lambda: cut(coded("mp3", "-c:a", "libmp3lame", "-b:a", "128k")), "song.mp3"),
    _row("MP3: ten hours, no length", LONG, _ten_hours_mp3, "song.mp3"),
    _row("Ogg: only headers", NO_AUDIO, lambda: stored("OGG", "VORBIS")[:58], "song.ogg"),
    _row("Ogg: cut in mid page", CUT, lambda: cut(stored("OGG", "VORBIS")), "song.ogg"),
    _row("Ogg: last page at 2^62", LONG, lambda: with_last_position(stored("OGG", "VORBIS"), 2**62), "song.ogg"),
    _row("Opus: cut in mid page", CUT, lambda: cut(coded("opus", "-c:a", "libopus")), "song.opus"),
    _row("Opus: ten hours of silence", LONG, lambda: _ten_hours("opus", *_OPUS), "song.opus"),
    _row("AAC: cut in mid frame", CUT, lambda: cut(coded("aac", "-c:a", "aac", "-f", "adts"), 0.503), "song.aac"),
    _row("M4A: no index", NO_AUDIO, lambda: without_box(coded(*_M4A), b"moov"), "song.m4a"),
    _row("M4A: no sound", CUT, lambda: without_box(coded(*_M4A), b"mdat"), "song.m4a"),
    _row("M4A: index at the cut end", NO_AUDIO, lambda: cut(coded("m4a", "-c:a", "aac")), "song.m4a"),
    _row("M4A: index first, sound cut", CUT, lambda: cut(coded(*_M4A)), "song.m4a"),
    _row("M4A: a third of the sound random", ROTTEN, lambda: overwritten(coded(*_M4A)), "song.m4a"),
    _row("M4A: a thousand boxes in each other", NO_AUDIO, lambda: boxes_in_boxes(1000), "song.m4a"),
    _row("M4A: ten hours of silence", LONG, lambda: _ten_hours("m4a", "-c:a", "aac"), "song.m4a"),
    _row("Matroska: only a header", NO_AUDIO, lambda: coded("mka", "-c:a", "flac")[:60], "song.mka"),
    _row("Matroska: cut in the middle", CUT, lambda: cut(coded("mka", "-c:a", "flac")), "song.mka"),
    _row("WebM: ten hours, no length", LONG, lambda: _without_length(_ten_hours("webm", *_OPUS)), "song.webm"),
)

PIECES = (
    _row("WAV: 100 MB of empty chunks", MANY, lambda: many_chunks(b"RIFF", b"WAVE", 12_500_000)),
    _row("WAV: 72 MB of empty chunks", MANY, lambda: many_chunks(b"RIFF", b"WAVE", 9_000_000)),
    _row("WAV: 72 MB of zeros and no sound", MANY, lambda: chunk(b"RIFF", b"WAVE" + bytes(72_000_000))),
    _row("WAV: a song, then empty chunks", MANY, lambda: wav(_noise(1.0)) + chunk(b"JUNK", b"") * 200_000),
    _row("WAV: empty chunks, then a song", MANY, lambda: wav(_noise(1.0), before=chunk(b"JUNK", b"") * 200_000)),
    _row("WAV: chunks of one byte", MANY, lambda: wav(_noise(1.0), before=chunk(b"JUNK", b"x") * 200_000)),
    _row("WAV: empty chunks behind a tag", MANY, lambda: id3(900) + many_chunks(b"RIFF", b"WAVE", 200_000)),
    _row("RIFX: empty chunks", MANY, lambda: many_chunks(b"RIFX", b"WAVE", 200_000, ">")),
    _row("RF64: empty chunks", MANY, lambda: many_chunks(b"RF64", b"WAVE", 200_000)),
    _row("W64: empty chunks", MANY, lambda: wave64_of_chunks(200_000), "song.w64"),
    _row("AIFF: empty chunks", MANY, lambda: many_chunks(b"FORM", b"AIFF", 200_000, ">"), "song.aiff"),
    _row("CAF: empty chunks", MANY, lambda: caf_of_chunks(200_000), "song.caf"),
    _row("FLAC: 72 MB of empty blocks", MANY, lambda: flac_of_blocks(stored("FLAC", "PCM_16"), 18_000_000)),
    _row("FLAC: a stack of tags", MANY, lambda: id3(0) * 20_000 + stored("FLAC", "PCM_16"), "song.flac"),
    _row("MP3: a stack of tags", MANY, lambda: id3(0) * 20_000 + _bare_mp3(), "song.mp3"),
    _row("MP3: tags between two frames", MANY, lambda: _bare_mp3() + id3(0) * 20_000 + _bare_mp3(), "song.mp3"),
    _row("8SVX: libsndfile would never end", NO_AUDIO, endless_8svx, "song.iff"),
    _row("8SVX: the same behind a tag", NO_AUDIO, lambda: id3(9) + endless_8svx(), "song.iff"),
)

PLACES = (
    Malformed("a missing file", lambda folder: folder / "song.wav", ABSENT),
    Malformed("a folder", lambda folder: folder, NO_FILE),
    Malformed("a pipe nobody writes to", _pipe, NO_FILE),
    Malformed("a socket", _socket, NO_FILE),
    Malformed("an endless device", lambda folder: Path(os.devnull).with_name("zero"), NO_FILE),
    Malformed("a link to an endless device", partial(_link, "/dev/zero"), NO_FILE),
    Malformed("a link to the user list", partial(_link, "/etc/passwd"), NO_AUDIO),
    Malformed("a link to nothing", partial(_link, "nothing"), ABSENT),
    Malformed("a link to itself", partial(_link, "song.wav"), ABSENT),
    Malformed("a file below a file", lambda folder: _written(lambda: b"x", "song", folder) / "song.wav", ABSENT),
    Malformed("a name too long", lambda folder: folder / ("x" * 5000), TOO_LONG),
    Malformed("a name with a zero byte", lambda folder: "song\0.wav", ABSENT),
    Malformed("a name that is no text", lambda folder: "song\ud800.wav", ABSENT),
    Malformed("an address", lambda folder: "https://user:pass@127.0.0.1:9/song.wav?token=secret", ABSENT),
    Malformed("a file address", lambda folder: "file:///etc/passwd", ABSENT),
    Malformed("a concat address", lambda folder: "concat:/etc/passwd|/etc/hosts", ABSENT),
    Malformed("a song in the address itself", lambda folder: "data:audio/wav;base64," + "QUJD" * 5000, TOO_LONG),
)


CASES = NO_AUDIO_AT_ALL + WAV_FILES + CODED_FILES + PIECES + PLACES
