"""The contact sheet: what it shows where, for how many songs, in what time, and whole or not at all."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acestep.constants import SAMPLE_RATE
from acestep.errors import OutputError
from acestep.output.contact_sheet import (
    CAPTION,
    HIGH_HZ,
    INK,
    LABELS,
    LOW_HZ,
    MARGIN,
    PAPER,
    PLOT,
    SPACIOUS,
    SPACIOUS_PANELS,
    WIDTH,
    Panel,
    band_powers,
    contact_sheet,
    draw,
    extremes,
    shaded,
    spectrogram,
    waveform,
)

CD_RATE = 44_100


def tone(frequency: float, seconds: float = 4.0, amplitude: float = 0.5, rate: int = SAMPLE_RATE) -> np.ndarray:
    wave = amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)
    return np.stack([wave, wave]).astype(np.float32)


def panel(samples: np.ndarray, text: str = "a song", rate: int = SAMPLE_RATE) -> Panel:
    return Panel(samples, rate, text)


def pixels(*songs: Panel) -> np.ndarray:
    return np.asarray(draw(songs))


def test_the_file_is_a_picture_of_the_wanted_width(tmp_path: Path) -> None:
    path = contact_sheet([panel(tone(440)), panel(tone(880))], tmp_path / "new" / "sheet.png")
    with Image.open(path) as picture:
        picture.load()
        assert (picture.format, picture.mode, picture.width) == ("PNG", "RGB", WIDTH)
    assert path.is_file()


def test_the_same_songs_make_the_same_file(tmp_path: Path) -> None:
    songs = [panel(tone(440)), panel(tone(220, rate=CD_RATE), rate=CD_RATE)]
    first, second = (contact_sheet(songs, tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert first == second


def test_an_existing_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    path.write_bytes(b"old")
    contact_sheet([panel(tone(440))], str(path))
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="cannot write"):
        contact_sheet([panel(tone(440))], tmp_path / "file" / "sheet.png")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(OutputError, match=r"cannot write 'taken.png'"):
        contact_sheet([panel(tone(440))], tmp_path / "taken.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken.png"]


def test_no_songs_are_no_picture() -> None:
    with pytest.raises(ValueError, match="at least one"):
        draw([])


def test_columns_hold_the_extremes_of_their_samples() -> None:
    rng = np.random.default_rng(0)
    for length, columns in ((10_000, 7), (1496, 1496), (997, 31), (5, 12), (1, 4)):
        samples = rng.uniform(-1, 1, (2, length)).astype(np.float32)
        low, high = extremes(samples, columns)
        for column in range(columns):
            start = min(column * length // columns, length - 1)
            own = samples[:, start : max(start + 1, (column + 1) * length // columns)]
            assert (low[column], high[column]) == (own.min(), own.max())


def test_the_waveform_is_as_high_as_the_sound() -> None:
    for amplitude in (0.25, 0.5, 1.0):
        drawn = waveform(tone(440, 1.0, amplitude), 100, 96)
        share = (drawn == INK).all(axis=2).mean(axis=0)
        assert share == pytest.approx(amplitude, abs=0.03)
    flat = (waveform(np.zeros((2, 9), np.float32), 100, 96) == INK).all(axis=2)
    assert (flat.sum(axis=0) == 2).all()
    assert flat[47:49].all()


@pytest.mark.parametrize("rate", [CD_RATE, SAMPLE_RATE])
@pytest.mark.parametrize("frequency", [60.0, 100.0, 440.0, 1000.0, 5000.0, 12_000.0])
def test_a_tone_is_the_darkest_row_at_its_frequency(frequency: float, rate: int) -> None:
    height = 176
    drawn = spectrogram(tone(frequency, rate=rate), rate, 200, height).astype(int).sum(axis=2)[:, 20:-20]
    edges = np.geomspace(LOW_HZ, HIGH_HZ, height + 1)[::-1]  # top to bottom
    row = int(drawn.sum(axis=1).argmin())
    bin_hz = rate / 4096
    assert edges[row + 1] - bin_hz <= frequency <= edges[row] + bin_hz


def test_bands_hold_all_the_power_of_what_lies_in_them() -> None:
    """Against a plain sum over the bins of the same windows."""
    rng = np.random.default_rng(3)
    samples = rng.standard_normal((2, 3 * SAMPLE_RATE)).astype(np.float32)
    powers = band_powers(samples, SAMPLE_RATE, 60, 40)
    mono = np.pad(samples.mean(axis=0), 2048)
    within = np.geomspace(LOW_HZ, HIGH_HZ, 2) * 4096 / SAMPLE_RATE
    for column in (0, 30, 59):
        start = int((column + 0.5) / 60 * samples.shape[1])
        spectrum = np.abs(np.fft.rfft(mono[start : start + 4096] * np.hanning(4096))) ** 2
        bins = np.arange(len(spectrum))
        assert powers[column].sum() == pytest.approx(
            spectrum[(bins > within[0]) & (bins < within[1])].sum(), rel=0.02
        )


def test_what_sounds_later_is_drawn_further_right() -> None:
    samples = np.concatenate([np.zeros((2, 6 * SAMPLE_RATE), np.float32), tone(1000, 6.0)], axis=1)
    loud = spectrogram(samples, SAMPLE_RATE, 100, 40).astype(int).sum(axis=(0, 2))
    assert (loud[:47] == 3 * 255 * 40).all()
    assert (loud[53:] < 3 * 255 * 40).all()


def test_shades_go_from_paper_to_dark() -> None:
    values = shaded(np.linspace(0, 1, 50)).astype(int).sum(axis=1)
    assert (np.diff(values) < 0).all()
    assert tuple(shaded(np.zeros(1))[0]) == PAPER


def test_songs_share_one_scale_of_time() -> None:
    drawn = pixels(panel(tone(440, 20.0)), panel(tone(440, 5.0)))
    middles = [
        MARGIN + CAPTION + SPACIOUS[0] // 2 + number * (len(drawn) - 2 * MARGIN + 22) // 2 for number in (0, 1)
    ]
    inked = [np.flatnonzero((drawn[middle] == INK).all(axis=1)) for middle in middles]
    assert [(columns.min(), columns.max() + 1) for columns in inked] == [
        (MARGIN + LABELS, MARGIN + LABELS + PLOT), (MARGIN + LABELS, MARGIN + LABELS + PLOT // 4),
    ]  # fmt: skip


def test_captions_are_drawn_above_and_stay_inside() -> None:
    plain, told = (pixels(panel(tone(440), text)) for text in ("", "#1   seed 42 " + 60 * "overall "))
    rows, columns = np.nonzero((plain != told).any(axis=2))
    assert MARGIN <= rows.min() < rows.max() < MARGIN + CAPTION
    assert MARGIN + LABELS - 2 <= columns.min() < columns.max() <= MARGIN + LABELS + PLOT
    assert pixels(panel(tone(440), "two\nlines")).shape == plain.shape


def test_nothing_touches_the_edge() -> None:
    for seconds in (0.5, 11.0, 59.7, 600.0):
        drawn = pixels(panel(np.zeros((2, round(seconds * SAMPLE_RATE)), np.float32), "a song " * 60))
        border = np.ones(drawn.shape[:2], bool)
        border[4:-4, 4:-4] = False
        assert (drawn[border] == PAPER).all()


def test_eight_songs_of_six_tracks_are_drawn_compact() -> None:
    few, many = (draw([panel(tone(440, 1.0))] * count) for count in (SPACIOUS_PANELS, 48))
    assert many.width == few.width == WIDTH
    assert many.height / 48 < 0.7 * few.height / SPACIOUS_PANELS


ODD = {
    "empty": np.zeros((2, 0), np.float32),
    "one sample": np.zeros((2, 1), np.float32),
    "10 ms": tone(440, 0.01),
    "mono": tone(440, 1.0)[:1],
    "beyond full scale": 4 * tone(90, 1.0),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_recordings_are_drawn_beside_others(kind: str) -> None:
    usual = panel(tone(440))
    drawn, alone = pixels(usual, panel(ODD[kind])), pixels(usual)
    height = len(alone) - MARGIN
    assert (drawn[:height] == alone[:height]).all()


def test_ten_minutes_cost_less_than_a_second() -> None:
    song = panel(np.tile(tone(440, 12.0), 50))
    seconds = []
    for _ in range(2):  # of this thread alone, whatever else the machine does
        start = time.thread_time()
        draw([song])
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 1.0


def test_drawing_leaves_the_samples_as_they_are() -> None:
    samples = tone(440, 1.0)
    before = samples.copy()
    draw([panel(samples)])
    assert np.array_equal(samples, before)
