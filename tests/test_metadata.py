"""Keys, tempi, meters and languages as people write them."""

from __future__ import annotations

import pytest

from acestep.constants import KEYSCALES, LANGUAGES
from acestep.errors import InputError
from acestep.metadata import parse_bpm, parse_keyscale, parse_language, parse_timesignature


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("C Major", "C major"),
        ("Am", "A minor"),
        ("AM", "A major"),
        ("F# minor", "F# minor"),
        ("c#m", "C# minor"),
        ("Bb maj", "Bb major"),
        ("B♭ minor", "B♭ minor"),
        ("b minor", "B minor"),
        ("bb", "Bb major"),
        ("G", "G major"),
        ("D-sharp Minor", "D# minor"),
        ("e flat major", "Eb major"),
        ("  A min. ", "A minor"),
        ("", ""),
        ("N/A", ""),
    ],
)
def test_keys_are_normalised(written: str, canonical: str) -> None:
    assert parse_keyscale(written) == canonical


def test_every_trained_key_is_its_own_normal_form() -> None:
    assert len(set(KEYSCALES)) == 70
    assert [parse_keyscale(key) for key in KEYSCALES] == list(KEYSCALES)


@pytest.mark.parametrize("wrong", ["H minor", "C mixolydian", "minor", "C##", "#", "C major minor", "5"])
def test_what_is_no_key_is_refused(wrong: str) -> None:
    with pytest.raises(InputError, match="keyscale .* is not a key") as caught:
        parse_keyscale(wrong)
    assert caught.value.field == "keyscale"
    assert caught.value.value == wrong


def test_bpm_range() -> None:
    assert [parse_bpm(value) for value in (None, 30, 300)] == [None, 30, 300]


@pytest.mark.parametrize("wrong", [29, 301, 0, -1])
def test_bpm_out_of_range_names_the_range(wrong: int) -> None:
    with pytest.raises(InputError, match=f"bpm must be from 30 to 300, not {wrong}"):
        parse_bpm(wrong)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("4/4", "4"), ("6/8", "6"), ("3", "3"), (2, "2"), ("5/4", "5/4"), ("7/8", "7/8"), ("", ""), ("n/a", "")],
)
def test_timesignatures(written: str | int, canonical: str) -> None:
    assert parse_timesignature(written) == canonical


@pytest.mark.parametrize("wrong", ["x", "4/3", "9", "-4"])
def test_unknown_timesignatures_list_the_known_ones(wrong: str) -> None:
    with pytest.raises(InputError, match=r"timesignature .* choose one of: 2, 3, 4, 6, 2/4"):
        parse_timesignature(wrong)


def test_languages() -> None:
    assert len(LANGUAGES) == 51
    assert parse_language("EN") == "en"
    assert parse_language("") == "unknown"
    with pytest.raises(InputError, match="vocal_language 'tlh' is unknown"):
        parse_language("tlh")
