"""The singers: every language can be sung, in tune, in time, voiced, and the words change the sound."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from acestep.audio.levels import rms
from acestep.constants import SAMPLE_RATE
from acestep.training.render.phones import PHONES, pronounce
from acestep.training.render.singers import AAH, LEAD_OF_PROGRAM, OOH, lanes, perform, singer, words_on
from acestep.training.render.tract import VOICE_RATE, glottal_pulses
from acestep.training.render.voice import BREATH_PAUSE_S, VOICES, Sung, phrases, sing
from acestep.training.score import LyricLine, Note, Part, Syllable

# One line for every kind of script and spelling that the lyrics may use.
WORDS = (
    "sing me the night through", "que te so ñé a quí", "mit dem Schlüs sel", "l'a mour ça va", "ми лый мой друг",
    "φως μου ε λα", "さ く ら が 咲 く", "사 랑 해 요", "我 的 愛 人", "मे रा दिल", "שלום", "حبيبي", "รัก เธอ",
    "łódź brzmi", "ağaç ışık", "đường về", "10 000", "...", "hmm", "strengths", "",
)  # fmt: skip
LOWEST = {"female": 60, "male": 45, "child": 64}
NOTE_S, EVERY_S, FIRST_S = 0.7, 0.9, 0.2


def melody_of(syllables: Sequence[str], lowest: int) -> list[Sung]:
    """Separate notes over more than an octave."""
    return [
        Sung(Note(FIRST_S + index * EVERY_S, NOTE_S, lowest + index * 5 % 14, 90), pronounce(text))
        for index, text in enumerate(syllables)
    ]


def performance(voice: str, melody: Sequence[Sung], seed: int = 3) -> np.ndarray:
    seconds = melody[-1].stop_s + 0.3
    return sing(VOICES[voice], melody, round(seconds * VOICE_RATE), np.random.default_rng(seed))


def periodicity(sound: np.ndarray, expected_hz: float) -> tuple[float, float]:
    """(fundamental in Hz within a fourth of ``expected_hz``, strength 0 to 1), by normalised autocorrelation."""
    window = np.hanning(len(sound))
    power = np.abs(np.fft.rfft(np.stack([sound * window, window]), 4 * len(sound))) ** 2
    heard, bias = np.fft.irfft(power)[:, : len(sound)]
    correlation = heard / heard[0] * bias[0] / bias
    low, high = round(VOICE_RATE / expected_hz * 0.75), round(VOICE_RATE / expected_hz * 1.33)
    top = low + int(np.argmax(correlation[low:high]))
    before, at, after = correlation[top - 1 : top + 2]
    return VOICE_RATE / (top + 0.5 * (before - after) / (before - 2 * at + after)), float(at)


def cents_off(sound: np.ndarray, note: Note) -> tuple[float, float]:
    """(median error in cents, median strength) over windows of 60 ms in the sustained half of a note."""
    expected = 440 * 2 ** ((note.pitch - 69) / 12)
    centres = np.arange(note.start_s + 0.25, note.start_s + note.duration_s - 0.1, 0.01)
    found = [
        periodicity(sound[round((c - 0.03) * VOICE_RATE) : round((c + 0.03) * VOICE_RATE)], expected) for c in centres
    ]
    hertz, strength = np.median(found, axis=0)
    return 1200 * np.log2(hertz / expected), strength


def band_level(sound: np.ndarray, low_hz: float, high_hz: float) -> float:
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    frequencies = np.fft.rfftfreq(len(sound), 1 / VOICE_RATE)
    return float(power[(frequencies >= low_hz) & (frequencies < high_hz)].sum())


# --- words ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", WORDS)
def test_every_spelling_has_a_vowel_to_hold(line: str) -> None:
    for text in line.split() or [line]:
        sound = pronounce(text)
        assert 1 <= len(sound.nucleus) <= 2
        assert all(phone.is_vowel and phone.voice > 0 for phone in sound.nucleus)
        assert not any(phone.is_vowel for phone in sound.onset + sound.coda)


@pytest.mark.parametrize(
    ("text", "onset", "nucleus", "coda"),
    [
        ("night", "n", "aI", "t"),
        ("Sing", "s", "i", "N"),
        ("time", "t", "i", "m"),
        ("ño", "nj", "O", ""),
        ("Schön", "S", "2", "n"),
        ("ма", "m", "a", ""),
        ("か", "k", "a", ""),
        ("한", "h", "a", "n"),
        ("hmm", "hmm", "a", ""),
    ],
)
def test_letters_become_sounds(text: str, onset: str, nucleus: str, coda: str) -> None:
    sound = pronounce(text)
    assert (sound.onset, sound.nucleus, sound.coda) == tuple(
        tuple(PHONES[name] for name in names) for names in (onset, nucleus, coda)
    )


def test_ideographs_differ_but_never_change() -> None:
    characters = "我的愛人春風花月"
    assert len({pronounce(character) for character in characters}) > 5
    assert [pronounce(character) for character in characters] == [pronounce(character) for character in characters]


def test_a_note_without_a_syllable_goes_on_with_the_vowel_before() -> None:
    notes = [Note(start, 0.5, 60, 90) for start in (0.0, 0.5, 1.0, 1.5)]
    line = LyricLine("sing oh", (Syllable("sing", notes[1]), Syllable("oh", notes[3])))
    sounds = [sung.sound for sung in words_on(notes, [line], OOH)]
    assert sounds[0] == OOH
    assert sounds[1] == pronounce("sing")
    assert (sounds[2].onset, sounds[2].nucleus, sounds[2].coda) == ((), pronounce("sing").nucleus, ())
    assert sounds[3] == pronounce("oh")


def test_chords_are_dealt_to_several_singers() -> None:
    chord = [Note(start, 1.0, pitch, 90) for start in (0.0, 1.0) for pitch in (60, 64, 67)]
    dealt = lanes(chord)
    assert [[note.pitch for note in melody] for melody in dealt] == [[67, 67], [64, 64], [60, 60]]


def test_phrases_end_where_the_singer_breathes_and_notes_do_not_overlap() -> None:
    notes = [Note(0.0, 1.2, 60, 90), Note(1.0, 0.5, 62, 90), Note(1.5 + 2 * BREATH_PAUSE_S, 0.5, 64, 90)]
    found = list(phrases([Sung(note, AAH) for note in notes]))
    assert [len(phrase) for phrase in found] == [2, 1]
    assert found[0][0].stop_s == 1.0
    assert list(phrases([])) == []


# --- sound ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("line", [line for line in WORDS if line])
def test_sung_notes_are_voiced_in_tune_and_on_time(voice: str, line: str) -> None:
    melody = melody_of(line.split(), LOWEST[voice])
    sound = performance(voice, melody)
    for sung in melody:
        error, strength = cents_off(sound, sung.note)
        assert abs(error) < 20
        assert strength > 0.9
        around = sound[round((sung.note.start_s - 0.15) * VOICE_RATE) : round(sung.stop_s * VOICE_RATE)]
        envelope = np.sqrt(np.convolve(np.square(around), np.ones(120) / 120, "same"))
        onset_s = np.argmax(envelope > 0.1 * np.percentile(envelope, 90)) / VOICE_RATE - 0.15
        assert abs(onset_s) < 0.03


def test_tied_notes_glide_and_arrive() -> None:
    notes = [Note(0.1, 0.6, 57, 90), Note(0.7, 0.6, 64, 90), Note(1.3, 0.6, 60, 90)]
    sound = performance("male", [Sung(note, AAH) for note in notes])
    assert all(abs(cents_off(sound, note)[0]) < 20 for note in notes)
    joins = [
        rms(sound[None, round((note.start_s - 0.02) * VOICE_RATE) : round((note.start_s + 0.02) * VOICE_RATE)])
        for note in notes[1:]
    ]
    assert min(joins) > 0.3 * rms(sound[None, round(0.3 * VOICE_RATE) : round(1.8 * VOICE_RATE)])


def test_it_is_silent_before_and_after() -> None:
    sound = performance("female", [Sung(Note(0.5, 0.5, 69, 90), pronounce("la"))])
    assert not sound[: round(0.45 * VOICE_RATE)].any()
    assert rms(sound[None, round(1.06 * VOICE_RATE) :]) < 1e-2 * rms(sound[None])
    release = np.square(sound[round(0.98 * VOICE_RATE) : round(1.06 * VOICE_RATE)]).reshape(-1, 240).mean(axis=1)
    assert (np.diff(release) < 0).all()


def test_a_long_note_has_a_vibrato() -> None:
    sound = performance("female", [Sung(Note(0.1, 3.0, 69, 90), AAH)])
    found = [
        periodicity(sound[start : start + 1200], 440.0)[0]
        for start in range(round(0.8 * VOICE_RATE), round(2.9 * VOICE_RATE), 240)
    ]
    cents = 1200 * np.log2(np.array(found) / 440)
    rate_hz = np.argmax(np.abs(np.fft.rfft(cents - cents.mean(), 4096))) * 100 / 4096
    assert 4.5 < rate_hz < 7
    assert 8 < cents.std() < 30


def test_vowels_have_their_formants() -> None:
    sounds = {
        text: performance("male", [Sung(Note(0.1, 1.0, 45, 90), pronounce(text))])[4800:24_000] for text in "aiu"
    }
    bands = {"F1 of a": (600, 900), "F2 of i": (2100, 2500), "F2 of u": (750, 950)}
    share = {
        (text, name): band_level(sound, *band) / band_level(sound, 0, 5000)
        for text, sound in sounds.items()
        for name, band in bands.items()
    }
    assert share["a", "F1 of a"] > 4 * max(share["i", "F1 of a"], share["u", "F1 of a"])
    assert share["i", "F2 of i"] > 4 * max(share["a", "F2 of i"], share["u", "F2 of i"])


def test_a_hiss_is_high_and_without_pitch() -> None:
    sound = performance("female", [Sung(Note(0.1, 1.0, 62, 90), pronounce("sa"))])
    hiss, vowel = (sound[round(start * VOICE_RATE) :][:1440] for start in (0.115, 0.5))
    assert band_level(hiss, 4000, 12_000) > 10 * band_level(hiss, 0, 4000)
    assert band_level(vowel, 4000, 12_000) < 0.1 * band_level(vowel, 0, 4000)


@pytest.mark.parametrize("pitch_hz", [100.0, 440.0, 1300.0])
def test_the_source_has_harmonics_and_no_aliases(pitch_hz: float) -> None:
    pulses = glottal_pulses(np.full(VOICE_RATE, pitch_hz), 1.1)
    spectrum = np.abs(np.fft.rfft(pulses)) ** 2  # bins of 1 Hz: harmonics fall on bins
    harmonics = np.arange(1, int(10_000 / pitch_hz) + 1) * int(pitch_hz)
    assert spectrum[harmonics].sum() > 0.9999 * spectrum.sum()
    assert rms(pulses[None]) == pytest.approx(1, rel=1e-3)


def test_children_sound_smaller_than_men() -> None:
    centroid = {}
    for voice in VOICES:
        sound = performance(voice, [Sung(Note(0.1, 1.0, 60, 90), AAH)])[4800:24_000]
        power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
        frequencies = np.fft.rfftfreq(len(sound), 1 / VOICE_RATE)
        formant = (frequencies > 500) & (frequencies < 2000)
        centroid[voice] = (frequencies * power)[formant].sum() / power[formant].sum()
    assert centroid["male"] < centroid["female"] < centroid["child"]


# --- parts ------------------------------------------------------------------------------------------------------


def test_singers_of_a_kind_are_alike_but_not_the_same() -> None:
    choir = [singer(["female"], np.random.default_rng(seed)) for seed in range(30)]
    assert len({voice.size for voice in choir}) == len({voice.tilt for voice in choir}) == 30
    assert all(VOICES["male"].size < voice.size < VOICES["child"].size for voice in choir)


def test_the_program_chooses_the_voice() -> None:
    def brightness(program: int) -> float:
        part = Part("vocals", program, (Note(0.0, 1.0, 60, 90),))
        sound = perform(part, (), SAMPLE_RATE, np.random.default_rng(1))[0]
        power = np.abs(np.fft.rfft(sound)) ** 2  # bins of 1 Hz
        return float((np.arange(700, 1800) * power[700:1800]).sum() / power[700:1800].sum())

    assert LEAD_OF_PROGRAM == {52: ("male",), 53: ("female",)}
    assert brightness(53) > brightness(52)


def test_a_lead_is_in_the_middle_and_backing_vocals_are_wide() -> None:
    notes = tuple(Note(start, 0.9, pitch, 90) for start in (0.0, 1.0) for pitch in (60, 64))
    lead = perform(Part("vocals", 53, notes[::2]), (), 2 * SAMPLE_RATE, np.random.default_rng(1))
    backing = perform(Part("backing_vocals", 52, notes), (), 2 * SAMPLE_RATE, np.random.default_rng(1))
    assert lead.shape == backing.shape == (2, 2 * SAMPLE_RATE)
    assert np.array_equal(lead[0], lead[1])
    assert np.corrcoef(backing)[0, 1] < 0.9
    assert rms(backing[:1]) == pytest.approx(rms(backing[1:]), rel=0.3)


def test_the_same_seed_sings_the_same() -> None:
    part = Part("vocals", 0, tuple(Note(index * 0.5, 0.5, 60 + index, 90) for index in range(4)))
    takes = [perform(part, (), 2 * SAMPLE_RATE + 1, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert takes[0].shape == (2, 2 * SAMPLE_RATE + 1)
    assert np.array_equal(takes[0], takes[1])
    assert not np.array_equal(takes[0], takes[2])


def test_singing_is_thirty_times_faster_than_listening() -> None:
    melody = melody_of(["la", "shi", "mo", "ten"] * 5, 60)
    performance("female", melody)
    started = time.process_time()
    sound = performance("female", melody)
    assert len(sound) / VOICE_RATE > 30 * (time.process_time() - started)
