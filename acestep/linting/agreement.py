"""Rules about what contradicts: caption and lyrics, words and metadata, language and letters, length and lyrics.

In: a ``Song``. Out: findings. The rules are those of the published guide to the model ("tell the same story"), in our
words; what can be meant well is not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from acestep.constants import LANGUAGES
from acestep.linting.findings import CAPTION, LYRICS, Finding, at, clipped, hint, listed, warning
from acestep.linting.song import Song
from acestep.linting.vocabulary import EVOLUTION, any_of, families, implied_families
from acestep.lyrics import estimate_duration

TOO_LONG, TOO_SHORT = 1.5, 0.4  # estimate over duration; of 60 published songs 57 lie between
SLOW_BELOW, FAST_ABOVE = 80, 140  # beats per minute that slow and fast songs rarely cross
LETTERS_AT_LEAST = 0.8  # share of a script to say that lyrics are written in it
KANA_AT_LEAST = 0.1

_SOLO = any_of("solos?")
_NO_VOICE = re.compile(
    r"\b(?:no|without(?: any)?|zero) (?:\w+ )?(?:vocals?|singing|singers?|voices?|lyrics)\b|\bvocal-free\b"
    r"|\b(?:purely|fully|all|entirely) instrumental\b"
    r"|\binstrumental (?:only|track|piece|music|song|beat|theme|score|ballad)\b"
    r"|(?:^|,\s*)instrumental(?=\s*(?:,|\.?$))",
    re.IGNORECASE,
)
_NOT_WORDS = re.compile(
    r"\b(?:wordless|chopped|sampled|choir) \w*\s?(?:vocals?|voices?|vocalizations?|pads?)\b"
    r"|\bvocal[- ](?:chops?|samples?|pads?)\b|\bvocal-like\b",
    re.IGNORECASE,
)
_SUNG = any_of("vocals? vocalists? singers?(?!_songwriter) sings singing sung rapper raps rapping duet crooner")
_FEMALE = any_of("female woman women girl soprano mezzo")
_MALE = any_of("male man men boy baritone")
_BOTH = any_of("duet both choir mixed")
_HARD_VOICE = any_of("scream(?:s|ed|ing)? growl(?:s|ed|ing)? shout(?:s|ed|ing)? belt(?:ed|ing)")
_SOFT_VOICE = re.compile(
    r"\b(?:whispered|breathy|soft|gentle|hushed|tender|quiet)\b[^,.]{0,24}\b(?:vocals?|voice|singing|vocalist|singer)\b"
    r"|\b(?:vocals?|voice|singing)\b[^,.]{0,12}\b(?:whispered|breathy|soft|hushed)\b",
    re.IGNORECASE,
)
_CALM = any_of("calm peaceful serene soothing tranquil relaxing meditative lullab(?:y|ies)")
_FIERCE = any_of("high_energy explosive aggressive intense screamed brutal furious")
_SLOW = re.compile(
    r"\bslow(?:ly)?\b(?![- ](?:build|burn|motion|fade|release|attack|rise|swell|sweep|evolv))|\bdown-?tempo\b", re.I
)
_FAST = re.compile(
    r"\bfast(?:[- ](?:paced|tempo|beat|song|track|rhythm))|\bfast(?=\s*(?:,|\.|$))|\bup-?tempo\b|\bbreakneck\b",
    re.I,
)
_DOUBLED = any_of("half_time double_time")
SCRIPTS = {
    "zh": {"CJK"},
    "yue": {"CJK"},
    "ja": {"CJK", "HIRAGANA", "KATAKANA"},
    "ko": {"HANGUL", "CJK"},
    "ru": {"CYRILLIC"},
    "uk": {"CYRILLIC"},
    "bg": {"CYRILLIC"},
    "sr": {"CYRILLIC", "LATIN"},
    "el": {"GREEK"},
    "ar": {"ARABIC"},
    "fa": {"ARABIC"},
    "ur": {"ARABIC"},
    "he": {"HEBREW"},
    "hi": {"DEVANAGARI"},
    "ne": {"DEVANAGARI"},
    "sa": {"DEVANAGARI"},
    "bn": {"BENGALI"},
    "pa": {"GURMUKHI", "ARABIC"},
    "ta": {"TAMIL"},
    "te": {"TELUGU"},
    "th": {"THAI"},
}


def instrument_conflict(song: Song) -> Iterator[Finding]:
    """An instrument in a solo tag should be one of the caption's, named or at home in its style."""
    named = families(song.caption)
    if not named:
        return
    expected = named | implied_families(song.caption)
    for tag in song.script.tags:
        played = families(tag.text)
        if _SOLO.search(tag.text) and played and not played & expected:
            yield warning(
                "instrument-conflict",
                at(tag.line),
                f"[{clipped(tag.text)}] asks for {listed(tuple(sorted(played)))}, and the caption for "
                f"{listed(tuple(sorted(named)))}; name the same instrument in both.",
            )


def voice_conflict(song: Song) -> Iterator[Finding]:
    """Whether there is singing must be said once: a caption and lyrics that disagree are resolved by chance."""
    caption = _NOT_WORDS.sub(" ", song.caption)
    forbidden = _NO_VOICE.search(caption)
    sung = _SUNG.search(_NO_VOICE.sub(" ", caption))
    if song.instrumental and song.script.lines:
        yield warning(
            "voice-conflict", LYRICS, "The song is set to be instrumental, so these words are not sung; drop one."
        )
    elif forbidden and song.is_sung:
        said = clipped(forbidden[0].strip(" ,"))
        yield warning("voice-conflict", CAPTION, f"'{said}' contradicts the lyrics; remove it, or the words to sing.")
    elif sung and song.forbids_singing and not forbidden:
        advice = "describe instruments only, or write lyrics"
        yield warning(
            "voice-conflict",
            CAPTION,
            f"'{clipped(sung[0])}' asks for a voice and nothing is there to sing; {advice}.",
        )
    elif sung and not song.script.text.strip() and not forbidden:
        yield hint(
            "voice-conflict",
            CAPTION,
            f"'{clipped(sung[0])}' asks for a voice; without lyrics none is sure to be heard.",
        )


def singer_conflict(song: Song) -> Iterator[Finding]:
    """A tag's singer should be one of the caption's."""
    if _BOTH.search(song.caption) or bool(_FEMALE.search(song.caption)) == bool(_MALE.search(song.caption)):
        return
    asked, other = ("female", _MALE) if _FEMALE.search(song.caption) else ("male", _FEMALE)
    for tag in song.script.tags:
        if other.search(tag.text):
            yield warning(
                "singer-conflict",
                at(tag.line),
                f"[{clipped(tag.text)}] contradicts the caption's {asked} voice; name both singers there, "
                "or change the tag.",
            )


def manner_conflict(song: Song) -> Iterator[Finding]:
    """Energy and way of singing in the tags should be within what the caption describes."""
    if EVOLUTION.search(song.caption):
        return
    for said, denied in ((_SOFT_VOICE, _HARD_VOICE), (_CALM, _FIERCE)):
        asked = said.search(song.caption)
        if asked is None or denied.search(song.caption):
            continue
        for tag in song.script.tags:
            if denied.search(tag.text):
                yield warning(
                    "manner-conflict",
                    at(tag.line),
                    f"[{clipped(tag.text)}] contradicts '{clipped(asked[0])}' in the caption; change one or say "
                    "what it builds to.",
                )


def tempo_conflict(song: Song) -> Iterator[Finding]:
    """A slow ballad at 160 beats per minute leaves the model to choose."""
    if song.bpm is None or _DOUBLED.search(song.caption):
        return
    slow, fast = _SLOW.search(song.caption), _FAST.search(song.caption)
    if slow and not fast and song.bpm >= FAST_ABOVE:
        yield warning("tempo-conflict", CAPTION, f"'{slow[0]}' contradicts {song.bpm} beats per minute; change one.")
    elif fast and not slow and song.bpm <= SLOW_BELOW:
        yield warning("tempo-conflict", CAPTION, f"'{fast[0]}' contradicts {song.bpm} beats per minute; change one.")


def language_and_letters(song: Song) -> Iterator[Finding]:
    """The language that is set should be the one the lyrics are written in."""
    if not song.is_sung or song.language == LANGUAGES[-1] or not song.script.scripts:
        return
    expected = SCRIPTS.get(song.language, {"LATIN"})
    script, share = next(iter(song.script.scripts.items()))
    kana = sum(song.script.scripts.get(name, 0.0) for name in ("HIRAGANA", "KATAKANA"))
    if script == "LATIN" and script not in expected and share >= LETTERS_AT_LEAST:
        message = (
            f"The language is {song.language} and the lyrics are in Latin letters; its own letters are read surer."
        )
        yield hint("language-and-letters", LYRICS, message)
    elif (script not in expected and share >= LETTERS_AT_LEAST) or (expected == {"CJK"} and kana >= KANA_AT_LEAST):
        letters = "Chinese characters" if script == "CJK" else f"{script.title()} letters"
        wrong = "kana" if expected == {"CJK"} and kana >= KANA_AT_LEAST else letters
        advice = "set the language they are in"
        yield warning(
            "language-and-letters", LYRICS, f"The language is {song.language}, the lyrics are in {wrong}; {advice}."
        )


def length_and_lyrics(song: Song) -> Iterator[Finding]:
    """Words that do not fit are rushed, skipped or cut; too few are stretched or repeated."""
    if not song.is_sung or song.duration is None:
        return
    seconds = estimate_duration(song.script.text)
    if seconds > TOO_LONG * song.duration:
        advice = "shorten them or allow more time"
    elif seconds < TOO_SHORT * song.duration:
        advice = "write more, add an instrumental section, or ask for less time"
    else:
        return
    yield warning(
        "length-and-lyrics",
        LYRICS,
        f"These lyrics take about {seconds:.0f} s and the song is to last {song.duration:.0f} s; {advice}.",
    )


RULES = (
    instrument_conflict,
    voice_conflict,
    singer_conflict,
    manner_conflict,
    tempo_conflict,
    language_and_letters,
    length_and_lyrics,
)
