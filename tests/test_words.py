"""Songs in words: written from a line, laid out from rough words, heard in codes. Values, seeds, errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from acestep.constants import KEYSCALES, LANGUAGES, TIME_SIGNATURES
from acestep.errors import AudioError, CancelledError, InputError, NotLoadedError
from acestep.handler import AceStepHandler
from acestep.inference import SongInWords, audio_codes_of, create_sample, format_sample, understand_music
from acestep.llm_inference import LLMHandler
from acestep.planner.plan import codes_text, parse_codes

CODES = codes_text(range(60))
LYRICS = "la la rain"
WAYS = {
    "create_sample": partial(create_sample, query="a soft love song"),
    "format_sample": partial(format_sample, caption="piano", lyrics=LYRICS),
    "understand_music": partial(understand_music, audio_codes=CODES),
}
Way = Callable[..., SongInWords]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    """One of the three functions, with what it needs besides the planner."""
    return WAYS[request.param]


def good(song: SongInWords) -> SongInWords:
    """A song that succeeded."""
    song.check()
    assert (song.success, song.error, song.cause) == (True, None, None)
    return song


def sentence(song: SongInWords, kind: type[Exception] = InputError) -> str:
    """The error of one that did not, which says nothing else."""
    assert (song.success, song.caption, song.lyrics, song.duration) == (False, "", "", None)
    assert song.status_message == f"Error: {song.error}"
    with pytest.raises(kind) as caught:
        song.check()
    assert str(caught.value) == song.error
    return song.error or ""


def test_every_way_gives_a_whole_song(terse: LLMHandler, way: Way) -> None:
    song = good(way(terse, seed=3))
    assert song.caption
    assert song.genres
    assert 30 <= song.bpm <= 300
    assert 10 <= song.duration <= 180
    assert song.keyscale in KEYSCALES
    assert song.timesignature in TIME_SIGNATURES
    assert song.language in LANGUAGES
    assert song.seed == 3
    assert song.to_dict().keys() == {
        *("caption", "lyrics", "genres", "bpm", "duration", "keyscale", "language"),
        *("timesignature", "instrumental", "seed"),
    }
    assert song.to_dict()["caption"] == song.caption


def test_the_same_seed_is_the_same_song(terse: LLMHandler, way: Way) -> None:
    first, again, other = (good(way(terse, seed=seed, temperature=1.0)) for seed in (5, 5, 6))
    assert first == again
    assert (first.caption, first.lyrics) != (other.caption, other.lyrics)


def test_a_random_seed_makes_the_song_again(terse: LLMHandler, way: Way) -> None:
    drawn = good(way(terse))
    assert drawn.seed >= 0
    assert good(way(terse, seed=drawn.seed)) == drawn


def test_sampling_acts(terse: LLMHandler) -> None:
    listen = WAYS["understand_music"]
    plain = good(listen(terse, seed=1, temperature=1.0))
    for change in ({"temperature": 0.4}, {"top_k": 20}, {"top_p": 0.1}, {"repetition_penalty": 1.1}):
        assert good(listen(terse, seed=1, **{"temperature": 1.0, **change})) != plain, change


def test_lines_are_told_as_they_are_completed(terse: LLMHandler, way: Way) -> None:
    lines: list[str] = []
    song = good(way(terse, seed=7, line=lambda number, line: lines.append(f"{number}{line}")))
    assert lines[0] == f"0bpm: {song.bpm}"
    place = lines.index(f"0timesignature: {song.timesignature}")
    told = [line[1:].strip() for line in lines[place + 1 :]]
    assert told == [line.strip() for line in song.lyrics.split("\n") if line]
    assert not any("<|" in line or "think>" in line for line in lines)


def test_stopping_leaves_the_planner_as_it_was(terse: LLMHandler, way: Way) -> None:
    before = good(way(terse, seed=2))

    def stop(_: float, stage: str) -> None:
        raise CancelledError(f"stopped while {stage}")

    assert sentence(way(terse, seed=2, progress=stop), CancelledError) == "stopped while thinking"
    assert good(way(terse, seed=2)) == before


def test_outside_the_grammar_something_is_read(terse: LLMHandler, way: Way) -> None:
    song = good(way(terse, seed=4, use_constrained_decoding=False))
    assert song.bpm is None or 30 <= song.bpm <= 300
    assert song.language in LANGUAGES


def test_a_query_leads_the_writing(terse: LLMHandler) -> None:
    soft, loud = (good(create_sample(terse, query, seed=1)) for query in ("a soft love song", "ein lautes Lied"))
    assert soft.caption != loud.caption
    assert not soft.instrumental
    assert soft.lyrics


def test_the_language_of_the_lyrics_is_kept(terse: LLMHandler) -> None:
    assert good(create_sample(terse, "a love song", vocal_language="bn", seed=1)).language == "bn"
    left_open = [good(create_sample(terse, "a love song", vocal_language=code, seed=1)) for code in (None, "unknown")]
    assert left_open[0] == left_open[1]


def test_nobody_sings_an_instrumental(terse: LLMHandler) -> None:
    song = good(create_sample(terse, "a dance", instrumental=True, seed=1))
    assert (song.lyrics, song.instrumental) == ("[Instrumental]", True)
    assert song.caption != good(create_sample(terse, "a dance", seed=1)).caption  # the planner is told


def test_given_metadata_are_kept(terse: LLMHandler) -> None:
    metadata = {"bpm": 77, "duration": 33.5, "keyscale": "am", "timesignature": "3/4", "language": "no"}
    song = good(format_sample(terse, "piano", LYRICS, metadata, seed=1))
    kept = (song.bpm, song.duration, song.keyscale, song.timesignature, song.language)
    assert kept == (77, 33.5, "A minor", "3", "no")


@pytest.mark.parametrize(("caption", "lyrics"), [("piano", ""), ("", LYRICS)])
def test_one_half_of_the_words_is_enough(terse: LLMHandler, caption: str, lyrics: str) -> None:
    song = good(format_sample(terse, caption, lyrics, seed=1))
    assert song.caption
    assert song.lyrics or not lyrics


def test_codes_say_how_long_the_song_is(terse: LLMHandler) -> None:
    assert good(understand_music(terse, CODES, seed=1)).duration == 12.0
    assert good(understand_music(terse, codes_text(range(53)), seed=1)).duration == 10.6


def test_codes_lead_the_understanding(terse: LLMHandler) -> None:
    songs = [good(understand_music(terse, codes_text(codes), seed=1)) for codes in (range(60), range(900, 960))]
    assert songs[0].caption != songs[1].caption


def test_codes_of_a_recording(tiny: AceStepHandler, terse: LLMHandler, tmp_path: Path) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(round(10.1 * 48_000)) / 48_000)
    sf.write(tmp_path / "tone.wav", tone, 48_000)
    codes = audio_codes_of(tiny, tmp_path / "tone.wav")
    assert len(parse_codes(codes, tiny.renderer.reader.codebook_size)) == 51
    assert audio_codes_of(tiny, str(tmp_path / "tone.wav")) == codes
    assert good(understand_music(terse, codes, seed=1)).duration == 10.2


def test_recordings_that_have_no_codes(tiny: AceStepHandler, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 48_000 * 10)
    sf.write(tmp_path / "long.wav", noise, 48_000)
    sf.write(tmp_path / "short.wav", noise[: 48_000 * 9], 48_000)
    sf.write(tmp_path / "silent.wav", np.zeros(48_000 * 12), 48_000)
    with pytest.raises(InputError, match="Invalid audio duration: audio must be 10 to 600 seconds, not 9."):
        audio_codes_of(tiny, tmp_path / "short.wav")
    for name in ("silent.wav", "absent.wav"):
        with pytest.raises(AudioError, match="audio"):
            audio_codes_of(tiny, tmp_path / name)
    with pytest.raises(NotLoadedError, match="Model not loaded"):
        audio_codes_of(AceStepHandler(), tmp_path / "long.wav")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": -1}, "temperature must be a number from 0 to 2, not -1"),
        ({"temperature": float("nan")}, "temperature must be a number from 0 to 2, not nan."),
        ({"top_p": 0}, "top_p must be a number from 0.01 to 1, not 0"),
        ({"top_k": -3}, "top_k must be a whole number from 0 to 64000, not -3."),
        ({"repetition_penalty": 3}, "repetition_penalty must be a number from 1 to 2, not 3"),
        ({"seed": -2}, "seed must be -1 (random) or a whole number"),
    ],
)
def test_values_out_of_range_go_by_the_names_they_have_here(
    terse: LLMHandler, way: Way, change: dict[str, float], words: str
) -> None:
    assert sentence(way(terse, **change)).startswith(words)


@pytest.mark.parametrize("handler", [None, LLMHandler()])
def test_nobody_answers_before_initialize(handler: LLMHandler | None, way: Way) -> None:
    assert sentence(way(handler), NotLoadedError) == "Model not loaded: call LLMHandler.initialize first."


@pytest.mark.parametrize("query", ["", " \n"])
def test_a_blank_query_is_refused(terse: LLMHandler, query: str) -> None:
    assert sentence(create_sample(terse, query)) == "query is blank; describe the song in one line."


def test_an_unknown_language_is_refused(terse: LLMHandler) -> None:
    assert sentence(create_sample(terse, "a song", vocal_language="xx")).startswith("vocal_language 'xx' is unknown")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (
            {"tempo": 3},
            "user_metadata 'tempo' is unknown; choose one of: bpm, duration, keyscale, timesignature, lan",
        ),
        ({"bpm": 10}, "bpm must be"),
        ({"duration": 5}, "Invalid audio duration: duration must be 10 to 600"),
        ({"keyscale": "H minor"}, "keyscale 'H minor' is not a key"),
        ({"language": "xx"}, "language 'xx' is unknown"),
    ],
)
def test_metadata_that_cannot_be_are_refused(terse: LLMHandler, metadata: dict[str, object], words: str) -> None:
    assert sentence(format_sample(terse, "piano", LYRICS, metadata)).startswith(words)


def test_nothing_cannot_be_laid_out(terse: LLMHandler) -> None:
    assert sentence(format_sample(terse, " ", "\n")) == "caption and lyrics are both empty; give at least one."


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        ("", "audio_codes is empty; give the codes of a song, or audio."),
        ("<|audio_code_1|>x", "audio_codes holds 'x'; write only <|audio_code_N|> tokens."),
        (CODES + "<|audio_code_4096|>", "audio_codes holds code 4096, but this model's codes are 0 to 4095."),
        (codes_text(range(49)), "Invalid audio duration: audio_codes must be 10 to 600 seconds, not 9.8."),
        (codes_text([1] * 3001), "Invalid audio duration: audio_codes must be 10 to 600 seconds, not 600.2."),
    ],
)
def test_codes_that_are_no_song_are_refused(terse: LLMHandler, codes: str, words: str) -> None:
    assert sentence(understand_music(terse, codes)) == words


@pytest.mark.parametrize("typed", ["<|im_end|>", "</think>\n<think>", "a\0b"])
def test_what_a_user_types_is_text(terse: LLMHandler, typed: str) -> None:
    for song in (create_sample(terse, f"song {typed}", seed=1), format_sample(terse, typed, typed, seed=1)):
        assert good(song).keyscale in KEYSCALES


def test_a_recording_is_understood_as_its_codes_are(tiny: AceStepHandler, terse: LLMHandler, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    sf.write(song, 0.3 * np.sin(np.arange(48_000 * 11) / 30.0), 48_000)
    heard = understand_music(terse, audio=song, dit_handler=tiny, seed=4)
    heard.check()
    assert heard == understand_music(terse, audio_codes_of(tiny, song), seed=4)
    assert heard.duration == 11.0
    assert "audio" in understand_music(terse, audio=tmp_path / "none.wav", dit_handler=tiny).error
    assert "Model not loaded" in understand_music(terse, audio=song).error
