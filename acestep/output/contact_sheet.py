"""Songs side by side in one picture: of each its caption, its waveform and its spectrogram, on one scale of time.

In: ``Panel``s, in the order they shall stand. Out: a PNG, whole or not there. Refuses to know scores and where the
text of a caption comes from. A song of ten minutes costs little more than one of ten seconds: what is drawn is first
reduced to the columns of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from acestep.output.writer import check_writable, replacing

WIDTH, MARGIN, LABELS = 1600, 24, 56  # pixels: of the picture, around it, for the names of frequencies
PLOT = WIDTH - 2 * MARGIN - LABELS  # columns of the longest song
CAPTION, AXIS, GAP = 30, 26, 22
CAPTION_SIZE, LABEL_SIZE = 19, 13
SPACIOUS, COMPACT = (96, 176), (48, 88)  # heights of waveform and spectrogram
SPACIOUS_PANELS = 12  # more are drawn compact

PAPER, FRAME, FAINT, INK, TEXT = (255, 255, 255), (196, 202, 210), (120, 128, 138), (32, 92, 128), (24, 28, 34)
SHADES = np.array(  # from silence to the loudest
    ((255, 255, 255), (222, 236, 243), (141, 190, 212), (58, 128, 168), (28, 66, 110), (12, 20, 48)), np.float64
)

WINDOW = 4096
LOOKS = 4  # spectra per column at most
BLOCK_COLUMNS = 64  # at once, for bounded memory
LOW_HZ, HIGH_HZ = 40.0, 16_000.0
RANGE_DB = 70.0  # below the loudest
FREQUENCIES = {100.0: "100", 1000.0: "1k", 10_000.0: "10k"}
TICK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120)
TICKS_MAX = 20
SHORTEST_S = 1.0  # what the scale of time spans at least


@dataclass(frozen=True, slots=True)
class Panel:
    """One recording in the picture.

    Attributes:
        samples: float32 ``[1 or 2, S]``, any length.
        sample_rate: in Hz.
        caption: one line above it; what does not fit is cut.
    """

    samples: np.ndarray
    sample_rate: int
    caption: str

    @property
    def duration_s(self) -> float:
        """Its length."""
        return self.samples.shape[1] / self.sample_rate


def contact_sheet(songs: Sequence[Panel], path: str | Path) -> Path:
    """Draw the songs below each other; an existing file of that name is replaced, at once and by a complete one.

    Args:
        songs: at least one, the best first.
        path: of the PNG.

    Returns:
        ``path`` as a ``Path``.

    Raises:
        OutputError: the folder cannot be written, or the disk is full. Nothing is left behind.
        ValueError: there are no songs.
    """
    path = Path(path)
    picture = draw(songs)
    check_writable(path.parent)
    with replacing(path) as part:
        picture.save(part, "PNG")
    return path


def draw(songs: Sequence[Panel]) -> Image.Image:
    """The picture, 1600 pixels wide.

    Raises:
        ValueError: there are no songs.
    """
    if not songs:
        raise ValueError("a contact sheet has at least one song")
    wave, spectrum = SPACIOUS if len(songs) <= SPACIOUS_PANELS else COMPACT
    height = CAPTION + wave + spectrum + AXIS + GAP
    longest_s = max(SHORTEST_S, *(song.duration_s for song in songs))
    picture = Image.new("RGB", (WIDTH, 2 * MARGIN + len(songs) * height - GAP), PAPER)
    for number, song in enumerate(songs):
        _draw_panel(picture, song, MARGIN + number * height, longest_s, (wave, spectrum))
    return picture


def _draw_panel(picture: Image.Image, song: Panel, top: int, longest_s: float, heights: tuple[int, int]) -> None:
    """A caption, a waveform, a spectrogram and the axis of time, from ``top`` down."""
    pen, left = ImageDraw.Draw(picture), MARGIN + LABELS
    columns = max(1, round(PLOT * song.duration_s / longest_s))
    wave_top, spectrum_top = top + CAPTION, top + CAPTION + heights[0]
    bottom = spectrum_top + heights[1]
    font = _font(CAPTION_SIZE)
    pen.text((left, top + CAPTION - 6), _fitting(song.caption, font), TEXT, font, anchor="ls")
    picture.paste(Image.fromarray(waveform(song.samples, columns, heights[0])), (left, wave_top))
    picture.paste(
        Image.fromarray(spectrogram(song.samples, song.sample_rate, columns, heights[1])), (left, spectrum_top)
    )
    pen.rectangle((left - 1, wave_top - 1, left + columns, bottom), outline=FRAME)
    pen.line((left, spectrum_top, left + columns, spectrum_top), FRAME)
    _draw_frequencies(pen, left, spectrum_top, heights[1])
    _draw_times(pen, left, bottom, columns, song.duration_s, longest_s)


def _draw_frequencies(pen: ImageDraw.ImageDraw, left: int, top: int, height: int) -> None:
    for frequency, name in FREQUENCIES.items():
        y = top + round(height * (1 - math.log(frequency / LOW_HZ) / math.log(HIGH_HZ / LOW_HZ)))
        pen.line((left - 6, y, left - 2, y), FAINT)
        pen.text((left - 10, y), name, FAINT, _font(LABEL_SIZE), anchor="rm")


def _draw_times(
    pen: ImageDraw.ImageDraw, left: int, top: int, columns: int, duration_s: float, longest_s: float
) -> None:
    step = next((step for step in TICK_STEPS_S if longest_s / step <= TICKS_MAX), TICK_STEPS_S[-1])
    for second in range(0, math.floor(duration_s) + 1, step):
        x = left + min(columns - 1, round(PLOT * second / longest_s))
        pen.line((x, top + 1, x, top + 5), FAINT)
        pen.text((x, top + 8), f"{second // 60}:{second % 60:02d}", FAINT, _font(LABEL_SIZE), anchor="mt")


def waveform(samples: np.ndarray, columns: int, height: int) -> np.ndarray:
    """Pixels ``[height, columns, 3]``: from the lowest to the highest sample of each column, up to full scale."""
    low, high = extremes(samples, columns)
    rows = np.linspace(1.0, -1.0, height)[:, None]
    half = 1.0 / (height - 1)  # a silent column still shows a line
    inside = (rows >= low - half) & (rows <= high + half)  # [height, columns]
    return np.where(inside[..., None], np.array(INK, np.uint8), np.array(PAPER, np.uint8))


def extremes(samples: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest sample of any channel in each of the columns, ``[columns]`` each; 0 where there is none."""
    length = samples.shape[1]
    if length == 0:
        return np.zeros(columns), np.zeros(columns)
    starts = np.minimum(np.arange(columns) * length // columns, length - 1)  # never past the end: reduceat wants that
    low = np.minimum.reduceat(samples, starts, axis=1).min(axis=0)
    high = np.maximum.reduceat(samples, starts, axis=1).max(axis=0)
    return low, high


def spectrogram(samples: np.ndarray, sample_rate: int, columns: int, height: int) -> np.ndarray:
    """Pixels ``[height, columns, 3]``: 40 Hz at the bottom to 16 kHz, ``RANGE_DB`` from white to the loudest."""
    power = band_powers(samples, sample_rate, columns, height)  # [columns, height]
    level = 10 * np.log10(np.maximum(power / max(power.max(), 1e-12), 1e-12)) / RANGE_DB + 1
    return shaded(np.clip(level, 0.0, 1.0).T[::-1])


def band_powers(samples: np.ndarray, sample_rate: int, columns: int, height: int) -> np.ndarray:
    """Power ``[columns, height]`` in bands from 40 Hz to 16 kHz, for every column: the mean of up to four spectra.

    Bands are equal shares of an octave: what falls by 3 dB per octave, as music does, looks even.
    """
    mono = np.pad(samples.mean(axis=0, dtype=np.float32), WINDOW // 2)  # [S + WINDOW]
    looks = max(1, min(LOOKS, 2 * samples.shape[1] // (columns * WINDOW)))
    centres = (np.arange(columns * looks) + 0.5) / (columns * looks) * samples.shape[1]
    windows = np.lib.stride_tricks.sliding_window_view(mono, WINDOW)  # one around every sample, a view
    starts = np.minimum(centres.astype(int), len(windows) - 1)
    edges = np.geomspace(LOW_HZ, HIGH_HZ, height + 1) * WINDOW / sample_rate  # in bins
    hann, bins = np.hanning(WINDOW).astype(np.float32), np.arange(WINDOW // 2 + 2) - 0.5
    powers = np.zeros((columns, height))
    for first in range(0, columns, BLOCK_COLUMNS):
        block = starts[first * looks : (first + BLOCK_COLUMNS) * looks]
        below = np.cumsum(np.abs(np.fft.rfft(windows[block] * hann)) ** 2, axis=1, dtype=np.float64)
        below = np.pad(below, ((0, 0), (1, 0)))  # [looks, bins + 1]: power below the lower edge of every bin
        bands = np.stack([np.diff(np.interp(edges, bins, row)) for row in below])  # [looks, height]
        powers[first : first + BLOCK_COLUMNS] = bands.reshape(-1, looks, height).mean(axis=1)
    return powers


def shaded(level: np.ndarray) -> np.ndarray:
    """Values in [0, 1] as colours, uint8 with a last axis of three; light is quiet."""
    stops = np.linspace(0.0, 1.0, len(SHADES))
    return np.stack([np.interp(level, stops, channel) for channel in SHADES.T], axis=-1).round().astype(np.uint8)


def _fitting(text: str, font: ImageFont.FreeTypeFont) -> str:
    """As much of one line as the picture is wide."""
    line = " ".join(text.splitlines())
    if font.getlength(line) <= PLOT:
        return line
    while line and font.getlength(f"{line}...") > PLOT:
        line = line[:-1]
    return f"{line}..."


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own, which is on every machine."""
    return ImageFont.load_default(size)
