"""The renderer: what it plays is the score, to the sample; a real engine plays a soundfont the tests write."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from acestep.audio.levels import integrated_loudness, peak, rms
from acestep.constants import SAMPLE_RATE
from acestep.errors import InputError, WeightsError
from acestep.training.render import Renderer
from acestep.training.render.bank import PACKAGE, SETTING, find_bank
from acestep.training.render.mix import PEAK_MAX, TARGET_LUFS, fade_envelope, level_of, placed
from acestep.training.render.room import make_room
from acestep.training.render.stems import play
from acestep.training.score import LyricLine, Note, Part, Score, Section, Syllable

import soundfont_support

DURATION_S = 6.00001  # an odd number of samples when rounded up
BEAT_S = 0.5


def part(track: str, pitches: tuple[int, ...], **fields: object) -> Part:
    notes = tuple(Note(index * BEAT_S, 0.4, pitch, 90) for index, pitch in enumerate(pitches))
    return Part(track, fields.pop("program", 0), notes, **fields)


def score(
    *parts: Part, lines: tuple[LyricLine, ...] = (), duration_s: float = DURATION_S, fade: float = 0.0
) -> Score:
    section = Section("Verse 1", 0.0, duration_s, lines)
    return Score(7, "pop", 120, "C major", "4", "en", duration_s, (), (), (section,), (), parts, fade)


def sung(words: str, pitches: tuple[int, ...]) -> tuple[Part, LyricLine]:
    vocals = part("vocals", pitches, program=53)
    syllables = tuple(Syllable(word, note) for word, note in zip(words.split(), vocals.notes, strict=True))
    return vocals, LyricLine(words, syllables)


DRUMS = part("drums", (36, 42, 38, 42, 36, 42, 38, 42), drums=True)
PIANO = part("keyboard", (60, 64, 67, 72, 67, 64, 60, 55), gain_db=-3.0, pan=-0.5)
PAD = part("keyboard", (48, 48, 48, 48), program=48, gain_db=-6.0)
VOCALS, LINE = sung("sing me a song of love", (69, 71, 72, 71, 69, 67))
BACKING = part("backing_vocals", (60, 62, 64, 62), program=52, gain_db=-9.0)
SONG = score(PIANO, DRUMS, PAD, BACKING, VOCALS, lines=(LINE,))


@pytest.fixture(scope="module")
def bank_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return soundfont_support.write_soundfont(tmp_path_factory.mktemp("bank") / "tiny.sf2")


@pytest.fixture(scope="module")
def renderer(bank_path: Path) -> Renderer:
    return Renderer(bank_path)


def first_above(samples: np.ndarray, share: float) -> int:
    """First sample whose magnitude exceeds a share of the peak."""
    magnitude = np.abs(samples).max(axis=0)
    return int(np.argmax(magnitude > share * magnitude.max()))


# --- what comes out ---------------------------------------------------------------------------------------------


def test_stems_add_up_to_the_mix(renderer: Renderer) -> None:
    song = renderer.render(SONG)
    assert np.abs(sum(stem.astype(np.float64) for stem in song.stems.values()) - song.mix).max() < 1e-6


def test_every_track_is_a_stem_in_the_order_of_the_parts(renderer: Renderer) -> None:
    song = renderer.render(SONG)
    assert tuple(song.stems) == SONG.tracks == ("keyboard", "drums", "backing_vocals", "vocals")
    for sound in (*song.stems.values(), song.mix):
        assert sound.dtype == np.float32
        assert sound.shape == (2, round(DURATION_S * SAMPLE_RATE))
        assert rms(sound) > 1e-3


@pytest.mark.parametrize("samples", [48_000, 48_001, 100_003])
def test_the_song_is_as_long_as_the_score_to_the_sample(renderer: Renderer, samples: int) -> None:
    song = renderer.render(dataclasses.replace(SONG, duration_s=samples / SAMPLE_RATE))
    assert song.mix.shape == (2, samples)


def test_the_same_seed_makes_the_same_samples(renderer: Renderer, bank_path: Path) -> None:
    first, again, new = renderer.render(SONG), renderer.render(SONG, rng_seed=SONG.seed), Renderer(bank_path)
    renderer.render(score(part("guitar", (50,) * 12)))  # leaves nothing behind
    for other in (again, renderer.render(SONG), new.render(SONG)):
        assert np.array_equal(first.mix, other.mix)
        assert all(np.array_equal(first.stems[track], other.stems[track]) for track in first.stems)


def test_another_seed_is_another_rendition_of_the_same_song(renderer: Renderer) -> None:
    first, other = renderer.render(SONG, 1), renderer.render(SONG, 2)
    assert not any(np.array_equal(first.stems[track], other.stems[track]) for track in first.stems)


def test_parts_of_one_track_share_a_stem(renderer: Renderer) -> None:
    both = renderer.render(score(PIANO, PAD)).stems["keyboard"]
    alone = renderer.render(score(PIANO)).stems["keyboard"]
    spectrum = [np.abs(np.fft.rfft(stem.mean(axis=0)[: 2 * SAMPLE_RATE])) for stem in (both, alone)]
    low_c = slice(256, 268)  # 128 to 134 Hz; the piano part stays above
    assert spectrum[0][low_c].max() > 10 * spectrum[1][low_c].max()


# --- notes ------------------------------------------------------------------------------------------------------


def test_drums_hit_on_time(renderer: Renderer) -> None:
    stem = renderer.render(score(DRUMS)).stems["drums"]
    for note in DRUMS.notes:
        start = round((note.start_s - 0.02) * SAMPLE_RATE) if note.start_s else 0
        onset = start + first_above(stem[:, start : start + 9600], 0.3)
        assert abs(onset / SAMPLE_RATE - note.start_s) < 0.005


@pytest.mark.parametrize("pitch", [36, 57, 60, 69, 81, 90])
def test_notes_are_in_tune(renderer: Renderer, pitch: int) -> None:
    sound = play(renderer.bank, Part("synth", 80, (Note(0.1, 2.0, pitch, 100),)), 2 * SAMPLE_RATE)
    steady = sound[0, SAMPLE_RATE // 2 : -SAMPLE_RATE // 4]
    spectrum = np.abs(np.fft.rfft(steady * np.hanning(len(steady)), 1 << 20))
    heard = np.argmax(spectrum) * SAMPLE_RATE / (1 << 20)
    assert abs(1200 * np.log2(heard / (440 * 2 ** ((pitch - 69) / 12)))) < 10


def test_a_note_ends_when_the_score_says_so(renderer: Renderer) -> None:
    sound = play(
        renderer.bank, Part("synth", 80, (Note(0.5, 0.5, 60, 100), Note(1.5, 0.0, 60, 100))), 2 * SAMPLE_RATE
    )
    level = [
        rms(sound[:, round(a * SAMPLE_RATE) : round(b * SAMPLE_RATE)]) for a, b in ((0.6, 1.0), (1.2, 1.5), (1.7, 2))
    ]
    assert level[0] > 0.01
    assert max(level[1:]) < 1e-3 * level[0]


def test_a_repeated_note_is_struck_again(renderer: Renderer) -> None:
    notes = tuple(Note(start, 0.5, 60, 100) for start in (0.0, 0.5))
    sound = play(renderer.bank, Part("synth", 80, notes), SAMPLE_RATE + 4800)
    assert rms(sound[:, 30_000:40_000]) == pytest.approx(rms(sound[:, 6_000:16_000]), rel=0.05)


def test_a_full_chord_sounds(renderer: Renderer) -> None:
    pitches = range(40, 72, 2)
    notes = tuple(Note(0.0, 1.0, pitch, 90) for pitch in pitches)
    together = play(renderer.bank, Part("keyboard", 0, notes), SAMPLE_RATE)
    apart = sum(play(renderer.bank, Part("keyboard", 0, (note,)), SAMPLE_RATE) for note in notes)
    assert np.abs(together - apart).max() < 1e-5


def test_louder_keys_sound_louder(renderer: Renderer) -> None:
    levels = [
        rms(play(renderer.bank, Part("synth", 0, (Note(0, 1, 60, v),)), SAMPLE_RATE)) for v in (30, 60, 90, 127)
    ]
    assert levels == sorted(levels)
    assert levels[-1] > 2 * levels[0]


# --- mix --------------------------------------------------------------------------------------------------------


def test_the_mix_has_the_target_loudness(renderer: Renderer) -> None:
    mix = renderer.render(score(PIANO, PAD, BACKING, VOCALS, lines=(LINE,))).mix
    assert integrated_loudness(mix) == pytest.approx(TARGET_LUFS, abs=0.5)
    assert peak(mix) < 1


def test_peaks_stay_below_full_scale_where_loudness_would_clip(renderer: Renderer) -> None:
    mix = renderer.render(score(part("drums", (36,), drums=True))).mix
    assert peak(mix) == pytest.approx(PEAK_MAX, abs=1e-4)


def test_a_song_without_notes_is_silent(renderer: Renderer) -> None:
    song = renderer.render(score(Part("synth", 80, ())))
    assert peak(song.mix) == 0


def test_gain_is_relative_to_the_other_parts(renderer: Renderer) -> None:
    stems = renderer.render(score(PIANO, dataclasses.replace(PIANO, track="guitar", program=25, gain_db=-15.0))).stems
    assert 20 * np.log10(level_of(stems["keyboard"]) / level_of(stems["guitar"])) == pytest.approx(12, abs=3.5)


@pytest.mark.parametrize(("pan", "left", "right"), [(-1, 1, 0), (0, 0.5, 0.5), (1, 0, 1)])
def test_pan_keeps_the_power(pan: float, left: float, right: float) -> None:
    tone = np.tile(np.sin(np.arange(48_000) * 0.1, dtype=np.float32), (2, 1))
    powers = np.square(placed(tone, 0.0, pan)).mean(axis=1) / 2
    assert powers == pytest.approx([left, right], abs=1e-3)


def test_a_part_is_levelled_by_what_sounds() -> None:
    tone = np.tile(np.sin(np.arange(480_000) * 0.1, dtype=np.float32), (2, 1))
    tone[:, 96_000:] = 0
    assert level_of(tone) == pytest.approx(2**-0.5, rel=1e-3)
    assert level_of(np.zeros_like(tone)) == 0


def test_the_song_does_not_end_in_a_click(renderer: Renderer) -> None:
    mix = renderer.render(score(part("synth", (60,) * 12), duration_s=5.25)).mix
    assert np.abs(mix[:, -1]).max() < 1e-3
    assert np.abs(mix[:, -2400:-1200]).max() > 0.05


def test_a_fade_out_falls_to_nothing(renderer: Renderer) -> None:
    faded = fade_envelope(5 * SAMPLE_RATE, 2.0)
    assert (faded[: 3 * SAMPLE_RATE] == 1).all()
    assert (np.diff(faded) <= 0).all()
    assert faded[-1] < 1e-6
    mix = renderer.render(score(part("synth", (60,) * 12), fade=3.0)).mix
    assert rms(mix[:, -SAMPLE_RATE // 2 :]) < 0.2 * rms(mix[:, SAMPLE_RATE : 2 * SAMPLE_RATE])


# --- room -------------------------------------------------------------------------------------------------------


def test_a_room_is_the_convolution_with_its_response() -> None:
    rng = np.random.default_rng(3)
    room, dry = make_room(rng), rng.standard_normal((2, 90_001), dtype=np.float32)
    wet = np.stack([np.convolve(dry.mean(axis=0)[-30_000:], side) for side in room.response])[:, :30_000]
    reference = dry[:, -1000:] + wet[:, -1000:]  # complete: no response is longer than 29 000 samples
    assert room.response.shape[1] < 29_000
    assert np.abs(room.place(dry)[:, -1000:] - reference).max() < 1e-4


def test_a_room_decays_and_is_quieter_than_the_direct_sound() -> None:
    for seed in range(8):
        response = make_room(np.random.default_rng(seed)).response
        assert 0.03 < np.sqrt(np.square(response).sum(axis=1)).max() < 0.2
        quarter = response.shape[1] // 4
        assert rms(response[:, -quarter:]) < 0.1 * rms(response[:, quarter : 2 * quarter])


# --- what is refused --------------------------------------------------------------------------------------------


def test_a_missing_soundfont_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=PACKAGE):
        find_bank(folders=[tmp_path])
    with pytest.raises(WeightsError, match=PACKAGE):
        Renderer(tmp_path / "none.sf2")


def test_an_installed_bank_is_found_and_the_environment_overrides_it(
    tmp_path: Path, bank_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stereo, mono = tmp_path / "FluidR3_GM.sf2", tmp_path / "FluidR3Mono_GM.sf3"
    stereo.touch()
    assert find_bank(folders=[tmp_path]) == stereo
    mono.touch()
    assert find_bank(folders=[tmp_path]) == mono
    monkeypatch.setenv(SETTING, str(bank_path))
    assert find_bank(folders=[tmp_path]) == bank_path
    assert find_bank(stereo) == stereo


def test_a_file_that_is_no_soundfont_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sf2"
    broken.write_bytes(b"RIFF" + bytes(100))
    with pytest.raises(WeightsError, match=r"broken\.sf2 is not a soundfont"):
        Renderer(broken)


def test_a_missing_engine_says_how_to_install_it(
    bank_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tinysoundfont._tinysoundfont", None)
    with pytest.raises(WeightsError, match="pip install --no-deps tinysoundfont"):
        Renderer(soundfont_support.write_soundfont(tmp_path / "other.sf2"))


def test_lyrics_need_somebody_to_sing_them(renderer: Renderer) -> None:
    with pytest.raises(InputError, match="vocals"):
        renderer.render(score(PIANO, lines=(LINE,)))
