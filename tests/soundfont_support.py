"""Writes a SoundFont 2 file small enough to make in a test: one tone for every program, one hit for every drum.

Layout: SoundFont Technical Specification 2.04, sections 5 to 8. The tone is 440 Hz at key 69 and loops without a
seam; the hit begins with its first sample and keeps its pitch on every key.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from acestep.constants import SAMPLE_RATE

ROOT_KEY, CYCLES, LOOP = 69, 11, 1200  # 11 periods of 440 Hz are exactly 1200 samples at 48 kHz
GUARD = 46  # zeros that must follow every sample
RELEASE, INSTRUMENT, SAMPLE, LOOPS, SCALE_TUNING = 38, 41, 53, 54, 56  # generators
RELEASE_50_MS = -5186  # timecents
DRUM_BANK = 128


def write_soundfont(path: Path) -> Path:
    """Write the bank and return its path."""
    tone, hit = _tone(), _hit()
    body = b"sfbk" + _info() + _list(b"sdta", _chunk(b"smpl", _pcm(tone) + _pcm(hit))) + _presets(len(tone), len(hit))
    path.write_bytes(_chunk(b"RIFF", body))
    return path


def _tone() -> np.ndarray:
    phase = 2 * np.pi * CYCLES * np.arange(4 * LOOP) / LOOP
    return 0.2 * sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 6))


def _hit() -> np.ndarray:
    seconds = np.arange(SAMPLE_RATE // 5) / SAMPLE_RATE
    return 0.5 * np.cos(2 * np.pi * 900 * seconds) * np.exp(-seconds / 0.02)


def _pcm(samples: np.ndarray) -> bytes:
    return np.pad(np.round(samples * 32767), (0, GUARD)).astype("<i2").tobytes()


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _list(name: bytes, *chunks: bytes) -> bytes:
    return _chunk(b"LIST", name + b"".join(chunks))


def _info() -> bytes:
    names = (_chunk(name, text) for name, text in ((b"isng", b"EMU8000\0"), (b"INAM", b"tiny\0\0")))
    return _list(b"INFO", _chunk(b"ifil", struct.pack("<HH", 2, 1)), *names)


def _presets(tone: int, hit: int) -> bytes:
    """Presets 0 to 127 of bank 0 and the kits of bank 128, each with one zone; terminal records close every list."""
    rows = [(0, program, 0) for program in range(128)] + [(DRUM_BANK, kit, 1) for kit in range(128)]
    headers = [_preset(b"P", program, bank, zone) for zone, (bank, program, _) in enumerate(rows)]
    generators = [_generator(INSTRUMENT, instrument) for _, _, instrument in rows]
    tone_zone = [_generator(RELEASE, RELEASE_50_MS), _generator(LOOPS, 1), _generator(SAMPLE, 0)]
    hit_zone = [_generator(RELEASE, RELEASE_50_MS), _generator(SCALE_TUNING, 0), _generator(SAMPLE, 1)]
    second = tone + GUARD
    return _list(
        b"pdta",
        _chunk(b"phdr", b"".join([*headers, _preset(b"EOP", 0, 0, len(rows))])),
        _chunk(b"pbag", b"".join(struct.pack("<HH", zone, 0) for zone in range(len(rows) + 1))),
        _chunk(b"pmod", bytes(10)),
        _chunk(b"pgen", b"".join([*generators, _generator(0, 0)])),
        _chunk(b"inst", b"".join(struct.pack("<20sH", name, zone) for zone, name in enumerate((b"T", b"H", b"EOI")))),
        _chunk(b"ibag", b"".join(struct.pack("<HH", start, 0) for start in (0, 3, 6))),
        _chunk(b"imod", bytes(10)),
        _chunk(b"igen", b"".join([*tone_zone, *hit_zone, _generator(0, 0)])),
        _chunk(b"shdr", _sample(b"tone", 0, tone, (LOOP, 3 * LOOP)) + _sample(b"hit", second, hit) + bytes(46)),
    )


def _preset(name: bytes, program: int, bank: int, zone: int) -> bytes:
    return struct.pack("<20sHHHIII", name, program, bank, zone, 0, 0, 0)


def _generator(kind: int, amount: int) -> bytes:
    return struct.pack("<Hh", kind, amount)


def _sample(name: bytes, start: int, length: int, loop: tuple[int, int] = (0, 0)) -> bytes:
    bounds = (start, start + length, start + loop[0], start + loop[1], SAMPLE_RATE)
    return struct.pack("<20sIIIIIBbHH", name, *bounds, ROOT_KEY, 0, 0, 1)
