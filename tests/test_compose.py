"""The composer: what it writes is what its truth says, sounds in its key, and differs as its styles promise."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from itertools import pairwise

import pytest

from acestep.constants import DURATION_MAX_S, KEYSCALES, LANGUAGES, TRACK_NAMES
from acestep.errors import InputError, UnsupportedError
from acestep.training.compose import STYLES, compose
from acestep.training.compose.harmony import voice_lead
from acestep.training.compose.lyrics import LANGUAGES_SUNG, write_lines
from acestep.training.compose.sheet import METERS
from acestep.training.compose.styles import TEMPO_MAX, TEMPO_MIN
from acestep.training.compose.theory import KEYS, chord_scale, estimate_key, harmony_of, parse_key
from acestep.training.score import Note, Part, Score

CLOSE = 1e-6  # seconds
BEATS = {"2": 2, "3": 3, "4": 4, "6": 2}


@pytest.fixture(scope="module")
def songs() -> list[Score]:
    return [compose(seed) for seed in range(500)]


@pytest.fixture(scope="module")
def asked() -> list[Score]:
    """Songs that are not in the usual tempo, meter or length of their style."""
    rng = random.Random(0)
    return [
        compose(
            seed,
            bpm=rng.choice((60, 61, 73, 180, rng.randint(60, 180))),
            timesignature=rng.choice((None, *METERS)),
            duration_s=rng.choice((10, 10.5, rng.uniform(10, 90))),
            vocals=rng.choice((None, True)),
        )
        for seed in range(200)
    ]


@pytest.fixture(scope="module")
def every(songs: list[Score], asked: list[Score]) -> list[Score]:
    return songs + asked


@pytest.fixture(scope="module")
def sung(every: list[Score]) -> list[Score]:
    return [song for song in every if "vocals" in song.tracks]


def end_of(note: Note) -> float:
    return note.start_s + note.duration_s


def pitched(song: Score) -> list[Note]:
    return [note for part in song.parts if not part.drums for note in part.notes]


def pitch_weights(song: Score) -> tuple[float, ...]:
    weights = [0.0] * 12
    for note in pitched(song):
        weights[note.pitch % 12] += note.duration_s
    return tuple(weights)


def chord_tones_at(song: Score, seconds: float) -> set[int]:
    chord = next(chord for chord in song.chords if seconds < chord.start_s + chord.duration_s - CLOSE)
    return {(chord.root + interval) % 12 for interval in chord.intervals}


# --- The same again, and as asked -------------------------------------------------------------------------------
def test_the_same_arguments_make_the_same_song() -> None:
    assert compose(11) == compose(11)
    assert compose(11) != compose(12)


def test_asking_for_what_was_drawn_changes_nothing(songs: list[Score]) -> None:
    for song in songs[:40]:
        again = compose(
            song.seed,
            style=song.style,
            bpm=song.bpm,
            keyscale=song.keyscale,
            timesignature=song.timesignature,
            duration_s=song.duration_s,
            vocals="vocals" in song.tracks,
        )
        assert again == song


def test_another_tempo_leaves_key_band_and_words_alone(sung: list[Score]) -> None:
    song = sung[0]
    other = compose(song.seed, style=song.style, bpm=song.bpm + 1)
    assert (other.keyscale, other.tracks, other.language) == (song.keyscale, song.tracks, song.language)


@pytest.mark.parametrize("timesignature", METERS)
@pytest.mark.parametrize("style", STYLES)
def test_any_style_plays_any_meter(style: str, timesignature: str) -> None:
    song = compose(5, style=style, timesignature=timesignature, duration_s=14)
    assert (song.style, song.timesignature, song.duration_s) == (style, timesignature, 14.0)
    assert all(part.notes for part in song.parts)


@pytest.mark.parametrize("keyscale", KEYSCALES)
def test_every_spelling_of_a_key_is_kept(keyscale: str) -> None:
    song = compose(3, keyscale=keyscale, duration_s=10)
    assert song.keyscale == keyscale
    assert song.chords[0].root in parse_key(keyscale).scale


@pytest.mark.parametrize("tracks", [(name,) for name in TRACK_NAMES] + [("drums", "bass"), TRACK_NAMES])
def test_named_tracks_all_play_and_no_others(tracks: tuple[str, ...]) -> None:
    for seed in range(8):
        song = compose(seed, tracks=tracks, duration_s=12)
        assert set(song.tracks) == set(tracks)
        assert all(part.notes for part in song.parts)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"style": "polka"}, "style 'polka' is unknown"),
        ({"bpm": TEMPO_MIN - 1}, "bpm must be 60 to 180, not 59"),
        ({"bpm": TEMPO_MAX + 1}, "bpm must be 60 to 180, not 181"),
        ({"keyscale": "H major"}, "keyscale must be a note and a mode"),
        ({"timesignature": "5"}, "timesignature '5' is unknown"),
        ({"duration_s": 9.9}, "duration_s must be 10 to 600, not 9.9"),
        ({"duration_s": math.nan}, "duration_s must be 10 to 600, not nan"),
        ({"tracks": ()}, "tracks must name each track once"),
        ({"tracks": ("bass", "bass")}, "tracks must name each track once"),
        ({"tracks": ("kazoo",)}, "tracks 'kazoo' is unknown"),
    ],
)
def test_wishes_that_cannot_be_met(wish: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        compose(0, **wish)


def test_vocals_and_tracks_must_agree() -> None:
    with pytest.raises(UnsupportedError, match="vocals=True contradicts tracks"):
        compose(0, vocals=True, tracks=("drums",))


# --- The truth --------------------------------------------------------------------------------------------------
def test_beats_are_even_and_bars_count_them(every: list[Score]) -> None:
    for song in every:
        beat_s = 60.0 / song.bpm
        assert all(beat == pytest.approx(index * beat_s) for index, beat in enumerate(song.beats))
        assert song.duration_s - beat_s - CLOSE <= song.beats[-1] < song.duration_s
        assert song.downbeats == song.beats[:: BEATS[song.timesignature]]


def test_notes_are_inside_the_song_and_in_order(every: list[Score]) -> None:
    for song in every:
        for part in song.parts:
            assert part.track in TRACK_NAMES
            assert part.notes
            assert 0 <= part.program <= 127
            assert -1 <= part.pan <= 1
            assert all(a.start_s <= b.start_s for a, b in pairwise(part.notes))
            for note in part.notes:
                assert 0 <= note.start_s < end_of(note) <= song.duration_s + CLOSE
                assert 21 <= note.pitch <= 108
                assert 1 <= note.velocity <= 127


def test_chords_cover_the_song_without_gaps(every: list[Score]) -> None:
    for song in every:
        assert song.chords[0].start_s == 0.0
        for before, after in pairwise(song.chords):
            assert before.duration_s > 0
            assert before.start_s + before.duration_s == pytest.approx(after.start_s)
            assert min(abs(after.start_s - beat) for beat in song.beats) < CLOSE
        last = song.chords[-1]
        assert last.start_s + last.duration_s == pytest.approx(song.duration_s)


def test_sections_cover_the_song_in_whole_bars(every: list[Score]) -> None:
    for song in every:
        assert song.sections[0].start_s == 0.0
        assert song.sections[-1].end_s == song.duration_s
        for before, after in pairwise(song.sections):
            assert before.end_s == pytest.approx(after.start_s)
            assert min(abs(after.start_s - downbeat) for downbeat in song.downbeats) < CLOSE


def test_what_sounds_are_mostly_tones_of_the_chord(songs: list[Score]) -> None:
    for song in songs[:60]:
        if any(not part.drums for part in song.parts):
            notes = pitched(song)
            fitting = sum(note.duration_s for note in notes if note.pitch % 12 in chord_tones_at(song, note.start_s))
            assert fitting / sum(note.duration_s for note in notes) > 0.5


def test_a_song_ends_on_its_tonic_or_fades(songs: list[Score]) -> None:
    for song in songs:
        last = song.chords[-1]
        if song.fade_out_s:
            assert 0 < song.fade_out_s <= song.duration_s / 4
        else:
            assert last.root == parse_key(song.keyscale).tonic
            assert last.duration_s >= 1.0
            assert min(abs(last.start_s - downbeat) for downbeat in song.downbeats) < CLOSE
    assert 0.1 < sum(song.fade_out_s > 0 for song in songs) / len(songs) < 0.35


@pytest.mark.parametrize("duration_s", [10.0, 11.7, 61.25, 247.3, DURATION_MAX_S])
def test_any_length_ends_musically(duration_s: float) -> None:
    for seed, style in enumerate(STYLES):
        song = compose(seed, style=style, duration_s=duration_s)
        assert song.duration_s == duration_s
        ends = max(end_of(note) for part in song.parts for note in part.notes)
        assert ends > duration_s - 4 * 60.0 / song.bpm  # it does not stop early


# --- Singing ----------------------------------------------------------------------------------------------------
def test_the_vocals_part_sings_the_syllables(sung: list[Score]) -> None:
    for song in sung:
        (part,) = (part for part in song.parts if part.track == "vocals")
        assert part.notes == tuple(syllable.note for line in song.lines for syllable in line.syllables)
        assert song.language in LANGUAGES
        assert song.language != "unknown"


def test_lines_are_sung_inside_their_section_one_syllable_after_another(sung: list[Score]) -> None:
    for song in sung:
        for section in song.sections:
            for line in section.lines:
                assert section.start_s <= line.start_s < line.end_s <= section.end_s + CLOSE
            sounds = [syllable.note for line in section.lines for syllable in line.syllables]
            assert all(end_of(before) <= after.start_s + CLOSE for before, after in pairwise(sounds))


def test_syllables_spell_their_line_and_lines_make_the_lyrics(sung: list[Score]) -> None:
    for song in sung:
        for line in song.lines:
            assert "".join(syllable.text for syllable in line.syllables) == line.text.replace(" ", "")
            assert all(syllable.text for syllable in line.syllables)
            if song.language not in {"zh", "ja"}:
                assert 4 <= len(line.text.split()) <= 8
        assert [row for row in song.lyrics.splitlines() if row and not row.startswith("[")] == [
            line.text for line in song.lines
        ]


def test_nobody_sings_in_an_unknown_language(songs: list[Score]) -> None:
    for song in songs:
        assert (song.language == "unknown") == ("vocals" not in song.tracks) == (not song.lines)


@pytest.mark.parametrize("language", LANGUAGES_SUNG)
def test_every_language_fits_the_shortest_line(language: str) -> None:
    lines = write_lines(language, 300, 9, random.Random(1))
    assert max(len(line.syllables) for line in lines) <= 12
    assert len({line.text for line in lines}) > 40


def test_a_chorus_comes_back_with_its_words_and_tune() -> None:
    song = compose(21, style="pop_ballad", duration_s=150, vocals=True)
    first, *others = [section for section in song.sections if section.tag == "Chorus"]
    assert others
    for other in others:
        for line, again in zip(first.lines, other.lines, strict=False):
            assert line.text == again.text
            assert [s.note.pitch for s in line.syllables][:-1] == [s.note.pitch for s in again.syllables][:-1]
    verses = [section for section in song.sections if section.tag.startswith("Verse")]
    assert verses[0].lines[0].text != verses[1].lines[0].text


def test_melodies_move_by_small_steps_and_rest_on_chord_tones(sung: list[Score]) -> None:
    steps, strong = [], []
    for song in sung:
        downbeats = {round(downbeat, 6) for downbeat in song.downbeats}
        for line in song.lines:
            notes = [syllable.note for syllable in line.syllables]
            steps += [abs(b.pitch - a.pitch) for a, b in pairwise(notes)]
            strong += [
                note.pitch % 12 in chord_tones_at(song, note.start_s)
                for note in notes
                if round(note.start_s, 6) in downbeats
            ]
    assert sum(step <= 2 for step in steps) / len(steps) > 0.55
    assert sum(step > 7 for step in steps) / len(steps) < 0.02
    assert all(strong)


# --- Theory -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("numeral", "keyscale", "tones"),
    [
        ("I", "C major", {0, 4, 7}),
        ("vi", "C major", {9, 0, 4}),
        ("V7", "C minor", {7, 11, 2, 5}),
        ("VI", "C minor", {8, 0, 3}),
        ("bVII", "D major", {0, 4, 7}),
        ("V7/ii", "C major", {9, 1, 4, 7}),
        ("iih7", "A minor", {11, 2, 5, 9}),
        ("Imaj9", "Bb major", {10, 2, 5, 9, 0}),
    ],
)
def test_roman_numerals(numeral: str, keyscale: str, tones: set[int]) -> None:
    assert set(harmony_of(numeral, parse_key(keyscale)).tones) == tones


@pytest.mark.parametrize(
    ("numeral", "keyscale", "scale"),
    [
        ("V", "C minor", {0, 2, 3, 5, 7, 8, 11}),  # harmonic minor
        ("V7/ii", "C major", {1, 2, 4, 5, 7, 9, 11}),
        ("iv", "C major", {0, 2, 4, 5, 7, 8, 11}),
        ("bVII", "C major", {0, 2, 4, 5, 7, 9, 10}),  # mixolydian
        ("IV", "C minor", {0, 2, 3, 5, 7, 9, 10}),  # dorian
    ],
)
def test_scales_bend_to_foreign_chords(numeral: str, keyscale: str, scale: set[int]) -> None:
    key = parse_key(keyscale)
    assert chord_scale(harmony_of(numeral, key), key) == scale


def test_the_ear_knows_every_key_by_its_scale_and_tonic_triad() -> None:
    for key in KEYS:
        triad = harmony_of("i" if key.minor else "I", key).tones
        weights = tuple(float((pitch in key.scale) + 2 * (pitch in triad)) for pitch in range(12))
        assert estimate_key(weights) == key


def test_the_key_of_a_song_can_be_heard(songs: list[Score]) -> None:
    tonal = [song for song in songs if pitched(song)][:100]
    heard = sum(estimate_key(pitch_weights(song)) == parse_key(song.keyscale) for song in tonal)
    assert heard >= 85


@pytest.mark.parametrize("keyscale", ["C major", "F# minor", "Bb major"])
@pytest.mark.parametrize("style", STYLES)
def test_voices_hardly_move_from_chord_to_chord(style: str, keyscale: str) -> None:
    key = parse_key(keyscale)
    low, high, voices = 52, 76, 4
    for progression in STYLES[style].progressions(key.minor):
        numerals = progression.replace("-", " ").split() * 3
        laid = voice_lead([harmony_of(numeral, key) for numeral in numerals], low, high, voices)
        moves = [[abs(b - a) for a, b in zip(before, after, strict=True)] for before, after in pairwise(laid)]
        assert max(max(move) for move in moves) <= 7
        assert sum(map(sum, moves)) / (len(moves) * voices) <= 3.0
        for voicing, numeral in zip(laid, numerals, strict=True):
            assert low <= voicing[0] <= voicing[-1] <= high
            assert list(voicing) == sorted(set(voicing))
            assert {pitch % 12 for pitch in voicing} <= set(harmony_of(numeral, key).tones)


# --- Variety ----------------------------------------------------------------------------------------------------
def test_everything_is_reachable(songs: list[Score]) -> None:
    assert {song.style for song in songs} == set(STYLES)
    assert {track for song in songs for track in song.tracks} == set(TRACK_NAMES)
    assert {song.timesignature for song in songs} == set(METERS)
    assert {song.language for song in songs} == {"unknown", *LANGUAGES_SUNG}
    assert {parse_key(song.keyscale) for song in songs} == set(KEYS)
    assert {len(song.parts) for song in songs} == set(range(1, 9))
    assert len(STYLES) >= 12


def test_tempi_span_the_range_and_each_style_keeps_its_own(songs: list[Score]) -> None:
    assert all(STYLES[song.style].bpm[0] <= song.bpm <= STYLES[song.style].bpm[1] for song in songs)
    assert min(song.bpm for song in songs) <= TEMPO_MIN + 3
    assert max(song.bpm for song in songs) >= TEMPO_MAX - 5
    assert all(TEMPO_MIN <= edge <= TEMPO_MAX for row in STYLES.values() for edge in row.bpm)
    assert all(10 <= song.duration_s <= 60 for song in songs)


def test_a_third_of_the_songs_has_no_drums(songs: list[Score]) -> None:
    drumless = sum("drums" not in song.tracks for song in songs) / len(songs)
    assert 0.30 <= drumless <= 0.40
    for song in songs:
        rattling = {part.track for part in song.parts if part.drums}
        assert rattling <= {"drums", "percussion"}
        assert ("drums" in song.tracks) == ("drums" in rattling)


def drum_portrait(song: Score) -> dict[int | str, float]:
    """How often each drum is hit per beat, and the tempo, on comparable scales."""
    (part,) = (part for part in song.parts if part.track == "drums")
    counts = Counter(note.pitch for note in part.notes)
    return {key: min(2.0, count / len(song.beats)) for key, count in counts.items()} | {"bpm": song.bpm / 60}


def distance(left: dict[int | str, float], right: dict[int | str, float]) -> float:
    return sum((left.get(key, 0.0) - right.get(key, 0.0)) ** 2 for key in left.keys() | right.keys())


def test_styles_can_be_told_apart_by_drums_and_tempo() -> None:
    portraits = {
        style: [
            drum_portrait(compose(seed, style=style, tracks=("drums",), duration_s=40, timesignature=row.meters[0]))
            for seed in range(12)
        ]
        for style, row in STYLES.items()
    }
    centres = {
        style: {key: sum(p.get(key, 0.0) for p in rows[:6]) / 6 for key in set().union(*rows[:6])}
        for style, rows in portraits.items()
    }
    found = [
        min(centres, key=lambda name: distance(centres[name], portrait)) == style
        for style, rows in portraits.items()
        for portrait in rows[6:]
    ]
    assert sum(found) / len(found) >= 0.8  # by chance: 0.06


def test_a_short_song_takes_milliseconds() -> None:
    compose(0, duration_s=30)
    start = time.process_time()
    for seed in range(40):
        compose(seed, duration_s=30)
    assert (time.process_time() - start) / 40 < 0.020


# --- Tables -----------------------------------------------------------------------------------------------------
def test_bars_are_as_long_as_their_meter() -> None:
    from acestep.training.compose.feels import _FEELS, _PLAIN

    feels = _FEELS | {("plain", meter): feel for meter, feel in _PLAIN.items()}
    for (style, meter), feel in feels.items():
        lanes = " ".join((feel.calm, feel.full, feel.peak, feel.fill, feel.percussion)).split()
        bars = [lane.split(":")[1] for lane in lanes] + [*feel.bass, *feel.comp, *feel.arpeggio]
        assert {len(bar) for bar in bars} == {METERS[meter].steps}, (style, meter)
    assert {(style, row.meters[0]) for style, row in STYLES.items()} <= set(feels)


def test_every_seat_has_instruments_with_names() -> None:
    from acestep.training.compose.ensembles import _BANDS, _GUESTS, ROLES
    from acestep.training.compose.instruments import programs_of

    assert set(_BANDS) == set(STYLES)
    for seat in [seat for band in _BANDS.values() for seat in band] + list(_GUESTS.values()):
        assert seat.role in ROLES
        assert set(seat.programs) <= set(programs_of(seat.track)), seat


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("minor", [False, True])
def test_progressions_are_four_bars_of_numerals(style: str, minor: bool) -> None:
    key = parse_key("C minor" if minor else "C major")
    for progression in STYLES[style].progressions(minor):
        bars = progression.split()
        assert len(bars) == 4
        assert all(harmony_of(numeral, key).intervals for bar in bars for numeral in bar.split("-"))


def parts_of(song: Score, track: str) -> list[Part]:
    return [part for part in song.parts if part.track == track]


def test_a_voice_stays_in_its_range_and_breathes(sung: list[Score]) -> None:
    from acestep.training.compose.instruments import VOICE_RANGES

    for song in sung:
        (voice,) = parts_of(song, "vocals")
        low, high = VOICE_RANGES[voice.program]
        assert all(low <= note.pitch <= high for note in voice.notes)
        for line, after in pairwise(song.lines):
            assert after.start_s > line.end_s


def test_something_sounds_all_the_time(songs: list[Score]) -> None:
    for song in songs:
        end_s = longest = 0.0
        for note in sorted((note for part in song.parts for note in part.notes), key=lambda note: note.start_s):
            longest = max(longest, note.start_s - end_s)
            end_s = max(end_s, end_of(note))
        assert longest < 5.0
