"""Captions are true, in three registers, and evaluation has words that training never uses."""

from __future__ import annotations

import random
import re
from dataclasses import fields
from itertools import product

import pytest

from acestep.constants import CAPTION_CHARS_ADVISED, TRACK_NAMES
from acestep.errors import InputError
from acestep.training.compose import STYLES, caption, compose
from acestep.training.compose.captions import REGISTERS, pace_of
from acestep.training.compose.instruments import names_of, programs_of
from acestep.training.compose.wording import HELD_OUT, LANGUAGE_NAMES, MOODS, TEMPOS, TRAINING, Wording
from acestep.training.score import Part, Score

# What a reader takes for an instrument, tried in this order; a match is not read again.
INSTRUMENTS = (
    (
        r"(synth|upright|double|electric|picked|slap|fretless|orchestral) bass|bass guitar|(cello|tuba) bass|bass",
        "bass",
    ),
    (r"backing vocals|vocal harmonies|wordless choir|choir", "backing_vocals"),
    (r"(female|male) (vocals|voice)|vocals|voice", "vocals"),
    (r"piano|harpsichord|celesta|organ|accordion|keyboards?|keys", "keyboard"),
    (r"guitars?|banjo", "guitar"),
    (r"violin|viola|cello|strings|string section|harp", "strings"),
    (r"trumpet|trombone|(french )?horns?|brass( section)?", "brass"),
    (r"saxophone|oboe|clarinet|piccolo|flute|recorder|whistle", "woodwinds"),
    (r"synth|polysynth|synthesizers?", "synth"),
    (r"effects|sweeps|swells", "fx"),
    (r"drums?|beats?|snare|kick|cymbals?", "drums"),
    (r"percussion|timpani|congas?|shakers?|tambourine", "percussion"),
)
ABSENT = re.compile(r"\b(no drums|without (any )?drums|drumless)\b", re.IGNORECASE)
BEATS_PER_MINUTE = re.compile(r"\b(\d+) (?:bpm|beats per minute)")
KEY = re.compile(r"\b([A-G][#b]? (?:major|minor))\b")
METER = re.compile(r"\b(\d/\d)\b")
WRITTEN = list(product(REGISTERS, (False, True)))


@pytest.fixture(scope="module")
def songs() -> list[Score]:
    return [compose(seed) for seed in range(250)] + [compose(seed, duration_s=12, bpm=170) for seed in range(30)]


def captions_of(song: Score, register: str, held_out: bool, count: int = 6) -> list[str]:
    rng = random.Random(song.seed)
    return [caption(song, register, rng, held_out=held_out) for _ in range(count)]


def tracks_named(text: str) -> set[str]:
    """Tracks a caption says are there."""
    found = set()
    text = BEATS_PER_MINUTE.sub(" ", ABSENT.sub(" ", text.lower()))
    for pattern, track in INSTRUMENTS:
        text, count = re.subn(rf"\b({pattern})\b", " ", text)
        if count:
            found.add(track)
    return found


def test_the_reader_of_this_test_knows_every_instrument() -> None:
    parts = [Part(track, program, ()) for track in TRACK_NAMES for program in programs_of(track)]
    for part in parts:
        assert all(tracks_named(name) == {part.track} for name in names_of(part)), part


@pytest.mark.parametrize(("register", "held_out"), WRITTEN)
def test_every_instrument_named_plays_and_drums_are_named_when_they_do(
    songs: list[Score], register: str, held_out: bool
) -> None:
    for song in songs:
        for text in captions_of(song, register, held_out):
            named = tracks_named(text)
            assert named <= set(song.tracks), text
            assert ("drums" in named) == ("drums" in song.tracks), text
            if ABSENT.search(text):
                assert not {"drums", "percussion"} & set(song.tracks), text
            if register != "vague":
                assert ("vocals" in named) == ("vocals" in song.tracks), text
                assert named


@pytest.mark.parametrize("register", REGISTERS)
def test_missing_drums_are_pointed_out_now_and_then(songs: list[Score], register: str) -> None:
    silent = [song for song in songs if not {"drums", "percussion"} & set(song.tracks)]
    said = [bool(ABSENT.search(text)) for song in silent for text in captions_of(song, register, held_out=False)]
    assert 0.2 < sum(said) / len(said) < 0.6


@pytest.mark.parametrize(("register", "held_out"), WRITTEN)
def test_numbers_keys_and_meters_are_the_songs_own(songs: list[Score], register: str, held_out: bool) -> None:
    meters = {"2": "2/4", "3": "3/4", "4": "4/4", "6": "6/8"}
    for song in songs:
        for text in captions_of(song, register, held_out):
            assert set(BEATS_PER_MINUTE.findall(text)) <= {str(song.bpm)}
            assert set(KEY.findall(text)) <= {song.keyscale}
            assert set(METER.findall(text)) <= {meters[song.timesignature]}
            assert "waltz" not in text.lower() or song.timesignature == "3"


@pytest.mark.parametrize(("register", "held_out"), WRITTEN)
def test_moods_tempi_and_languages_are_the_songs_own(songs: list[Score], register: str, held_out: bool) -> None:
    moods = {word for words in MOODS.values() for word in words}
    tempi = {word for words in TEMPOS.values() for word in words}
    for song in songs:
        minor = song.keyscale.endswith("minor")
        for text in captions_of(song, register, held_out):
            words = set(re.findall(r"[a-z]+", text.lower()))
            assert words & moods <= set(MOODS[minor, pace_of(song)]), text
            assert words & tempi <= set(TEMPOS[pace_of(song)]), text
            said = {name for name in LANGUAGE_NAMES.values() if name in text.replace("French horn", "")}
            assert said <= {LANGUAGE_NAMES.get(song.language)}, text


@pytest.mark.parametrize("held_out", [False, True])
def test_instrumental_means_that_no_voice_is_heard(songs: list[Score], held_out: bool) -> None:
    for song, register in product(songs, REGISTERS):
        for text in captions_of(song, register, held_out):
            if re.search(r"instrumental|nobody sings|no singer", text, re.IGNORECASE):
                assert not {"vocals", "backing_vocals"} & set(song.tracks), text
            if re.search(r"fade|disappears", text):
                assert song.fade_out_s > 0, text
            if re.search(r"(held|long|final|sustained) chord", text):
                assert song.fade_out_s == 0, text


@pytest.mark.parametrize("held_out", [False, True])
def test_registers_have_their_shape(songs: list[Score], held_out: bool) -> None:
    for song in songs:
        for text in captions_of(song, "sentence", held_out):
            sentences = re.split(r"(?<=\.) ", text)
            assert 1 <= len(sentences) <= 4
            assert all(sentence[0].isupper() or sentence[0].isdigit() for sentence in sentences), text
            assert text.endswith(".")
        for text in captions_of(song, "tags", held_out):
            tags = text.split(", ")
            assert 2 <= len(tags) == len(set(tags)), text
        for text in captions_of(song, "vague", held_out):
            assert 1 <= len(text.split()) <= 20, text
            assert not text.endswith(".")


@pytest.mark.parametrize(("register", "held_out"), WRITTEN)
def test_captions_are_clean_english(songs: list[Score], register: str, held_out: bool) -> None:
    for song in songs:
        for text in captions_of(song, register, held_out):
            assert len(text) <= CAPTION_CHARS_ADVISED
            assert not re.search(r"[{}]|  |,,| ,|\.\.", text), text
            assert not re.search(r"\ban? (?:an?|the)\b|\ba [aeio]|\ban [^aeiou8]", text, re.IGNORECASE), text
            assert not re.search(r"\b(\w+) \1\b", text, re.IGNORECASE), text


def test_a_caption_repeats_with_its_random_numbers(songs: list[Score]) -> None:
    for song in songs[:20]:
        assert captions_of(song, "sentence", held_out=False) == captions_of(song, "sentence", held_out=False)


def test_an_unknown_register_is_refused(songs: list[Score]) -> None:
    with pytest.raises(InputError, match="register 'haiku' is unknown; choose one of: tags, sentence, vague"):
        caption(songs[0], "haiku", random.Random(0))


# --- Wording kept for evaluation --------------------------------------------------------------------------------
def phrasings(wording: Wording) -> set[str]:
    """Every template, its slots without names."""
    texts = [text for field in fields(wording) if field.name != "occasions" for text in getattr(wording, field.name)]
    texts += [text for occasions in wording.occasions.values() for text in occasions]
    return {re.sub(r"\{\w+\}", "{}", text).strip().lower() for text in texts if field_has_words(text)}


def field_has_words(text: str) -> bool:
    return bool(re.sub(r"\{\w+\}|\W", "", text))


def test_no_held_out_wording_is_ever_trained_on() -> None:
    assert not phrasings(HELD_OUT) & phrasings(TRAINING)
    assert not set(HELD_OUT.tags) & set(TRAINING.tags)


def test_no_held_out_sentence_shares_a_long_phrase_with_training() -> None:
    trained = " | ".join(phrasings(TRAINING))
    for text in HELD_OUT.sentences:
        for fragment in re.split(r"\{\w+\}", text.lower()):
            if len(fragment.split()) >= 3:
                assert fragment.strip() not in trained, fragment


@pytest.mark.parametrize("register", ["sentence", "vague"])
def test_no_caption_is_both_trained_on_and_held_out(songs: list[Score], register: str) -> None:
    trained = {text for song in songs for text in captions_of(song, register, held_out=False, count=20)}
    kept = {text for song in songs for text in captions_of(song, register, held_out=True, count=20)}
    assert not trained & kept


def test_genres_are_named_without_instruments() -> None:
    for style in STYLES.values():
        for label in (*style.labels, style.genre):
            assert tracks_named(label) == set()
            assert not set(label.split()) & {word for words in MOODS.values() for word in words}
