"""Joins in a real song: what the product promises about them, at many places and for several kinds of new music.

Imitations keep both bars everywhere. Other music never clicks, and makes no step where the two levels are no further
apart than the song's own; where silence meets loud music, 30 ms cannot hide that, and nothing is promised.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from acestep.audio.io import read_audio
from acestep.audio.resample import resample
from acestep.constants import SAMPLE_RATE
from acestep.editing.splice import resample_spliced, splice
from acestep.output.formats import CD_RATE, FORMATS
from acestep.output.tags import SongTags
from acestep.output.writer import write_audio

import seam_meter as meter

PLACES = 100
IMITATIONS = {"12 dB": meter.imitation(12.0), "5 dB": meter.imitation(5.0), "too quiet": meter.shrunken(5.0)}
UNRELATED = {"another part": meter.elsewhere(), "20 dB louder": meter.elsewhere(10.0), "silence": np.zeros_like}


@pytest.fixture(scope="module")
def recording(song: Path) -> np.ndarray:
    """The song as a 16-bit file would hold it, ``[2, S]``."""
    samples = read_audio(song, field="input_audio").samples
    return np.clip(np.rint(samples * 2**15), -(2**15), 2**15 - 1).astype(np.float32) / np.float32(2**15)


@pytest.fixture(scope="module")
def regions(recording: np.ndarray) -> list[meter.Region]:
    return meter.places(recording.shape[1], PLACES)


@pytest.mark.parametrize("kind", IMITATIONS.values(), ids=IMITATIONS)
def test_imitations_keep_both_bars(recording: np.ndarray, regions: list[meter.Region], kind: meter.Kind) -> None:
    generated = kind(recording)
    found = meter.summary(meter.seams(recording, generated, generated, regions, splice))
    assert (found["steps_kept"], found["clicks_kept"]) == (1.0, 1.0)
    assert found["clicks_below_1"] >= 0.98
    assert found["bulge_db_mean"] < 0.25


@pytest.mark.parametrize("kind", UNRELATED.values(), ids=UNRELATED)
def test_nothing_clicks(recording: np.ndarray, regions: list[meter.Region], kind: meter.Kind) -> None:
    generated = kind(recording)
    found = meter.summary(meter.seams(recording, generated, generated, regions, splice))
    assert found["clicks_kept"] == 1.0
    assert found["bulge_db_mean"] < 0.25


@pytest.mark.parametrize("outer", [meter.imitation(5.0), meter.elsewhere()], ids=["repainted", "unrelated"])
def test_other_music_makes_no_step_where_levels_agree(
    recording: np.ndarray, regions: list[meter.Region], outer: meter.Kind
) -> None:
    """One join in two hundred is forgiven: the region begins within the attack of a drum that the new music lacks."""
    found = meter.summary(meter.seams(recording, outer(recording), meter.elsewhere()(recording), regions, splice))
    assert found["level"] > 0.85
    assert found["steps_kept_if_level"] >= 0.995
    assert found["clicks_kept"] == 1.0


def test_at_44_khz_the_joins_do_not_click(recording: np.ndarray, regions: list[meter.Region]) -> None:
    generated = meter.imitation(5.0)(recording)
    usual = meter.Own.of(resample(recording, SAMPLE_RATE, CD_RATE)).bend
    for kept, made, region in meter.excerpts(recording, generated, generated, regions[:40]):
        whole, silenced = resample(kept, SAMPLE_RATE, CD_RATE), kept.copy()
        silenced[:, slice(*region)] = 0.0
        for source in (kept, silenced):
            there = resample(source, SAMPLE_RATE, CD_RATE)
            spliced = splice(kept, made, region)
            result, [borders] = resample_spliced(source, spliced, [region], SAMPLE_RATE, CD_RATE)
            assert meter.outside_changes(result, there, borders) == 0
            for border in borders:
                assert meter.bend(result, border) <= max(usual, meter.bend(whole, border, meter.NEAR_SAMPLES))


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_the_file_holds_the_recording_outside(recording: np.ndarray, tmp_path: Path, name: str) -> None:
    region = (10 * SAMPLE_RATE + 1, 25 * SAMPLE_RATE)
    path = tmp_path / f"song{FORMATS[name].extension}"
    write_audio(splice(recording, meter.elsewhere()(recording), region), SAMPLE_RATE, path, name, SongTags(), {})
    read = sf.read(path, dtype="float32", always_2d=True)[0].T  # [2, S]
    assert meter.outside_changes(read, recording, region) == 0
