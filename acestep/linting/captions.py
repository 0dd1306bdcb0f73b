"""Rules about the caption alone.

In: a ``Song``. Out: findings. The rules are those of the published guide to the model, chapters "caption" and
"metadata", in our words; all but counts and numbers are for English captions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from acestep.constants import CAPTION_CHARS_ADVISED
from acestep.linting.findings import CAPTION, Finding, clipped, hint, listed, warning
from acestep.linting.script import is_english
from acestep.linting.song import Song
from acestep.linting.syllables import script_of
from acestep.linting.vocabulary import DIMENSIONS, EVOLUTION, any_of, dimensions, families, styles

WORDS_AT_LEAST = 4  # "dark trap beat" says something, "a sad song" does not
WORDS_ENOUGH = 8  # of a longer caption, words that are not known here may well be precise
CHARACTERS_PER_WORD = 2  # of Chinese, Japanese, Thai, where no space divides words
STYLES_AT_MOST = 4

_EMPTY = any_of(  # words that any caption could have
    "an? the and or of with in on at for to by from my your our me you i we it is be as some any this that very "
    "really so just please make about like something songs? music(?:al)? tracks? tunes? pieces? melod(?:y|ies) "
    "sounds? sounding styles? genres? vibes? feel(?:s|ing|ings)? moods? good great nice cool best better "
    "beautiful amazing awesome perfect pretty new big catchy fun(?:ny)? interesting hit banger (?:fe)?male"
)

_UNSPACED = frozenset({"CJK", "HIRAGANA", "KATAKANA", "THAI"})
_HARSH = "metal metalcore deathcore djent grindcore thrash hardcore hardstyle gabber screamo punk dubstep"
_CLASHES = (
    (
        any_of("classical(?!_guitar) chamber_music string_quartet baroque lullab(?:y|ies) new_age meditation"),
        any_of(_HARSH),
    ),
    (
        any_of("calm peaceful serene soothing tranquil relaxing meditative"),
        any_of("aggressive brutal furious violent explosive frantic frenetic menacing screamed"),
    ),
    (any_of("lo_fi"), any_of("hi_fi high_fidelity")),
    (any_of("joyful jubilant cheerful ecstatic"), any_of("mournful despairing funereal anguished grief_stricken")),
)
_FUSED = re.compile(r"\b(?:symphonic|neo-?classical|orchestral|classical|chamber|folk)[- ](?:\w+[- ])?metal\b", re.I)
_A_CAPPELLA = re.compile(r"\ba cappella\b|\bunaccompanied\b", re.IGNORECASE)

_NOTE = r"[A-G](?:#|♯|b|♭|[- ]sharp|[- ]flat)?"
_METADATA = {
    "tempo": re.compile(
        r"\b\d{2,3}(?:\.\d+)?\s*-?\s*(?:bpm|beats per minute)\b|\bbpm\s*(?:[:=]|of|is)?\s*\d{2,3}\b", re.IGNORECASE
    ),
    "key": re.compile(
        rf"\b(?i:in|key of|key:|key is)\s+(?i:the key of )?{_NOTE}[- ]?(?:(?i:major|minor|maj|min)\b|m\b)"
        rf"|\b[B-G](?:#|♯|b|♭|[- ]sharp|[- ]flat)?[- ](?i:major|minor)\b"
        r"|\bA(?:#|♯|b|♭|[- ]sharp|[- ]flat)[- ](?i:major|minor)\b"
        r"|(?:^|,\s*)[A-G][#♯b♭]?m?(?:\s(?i:major|minor))?(?=\s*(?:,|$))|[A-G][#♯b♭]?\s*(?:大调|小调|大調|小調|長調|短調)"
    ),
    "meter": re.compile(r"(?<![\d/])(?:[2-7]/4|(?:3|5|6|7|9|12)/8)(?![\d/])"),
    "length": re.compile(r"\b\d+(?:\.\d+)?[- ]?(?:seconds?|secs?|minutes?|mins?)\b(?: long)?", re.IGNORECASE),
}


def vague_caption(song: Song) -> Iterator[Finding]:
    """Specific beats vague: one side of the music leaves the rest to chance.

    A caption is vague with fewer than four words, or in English with fewer than eight, that speak of only one side
    (style, mood, instruments, timbre, era, production, voice, rhythm, structure). A style or an instrument in two
    words or more ("jazz trio") is a short prompt that can be meant; less than that is likely to come out at random.
    """
    words, sides = _word_count(song.caption), dimensions(song.caption)
    if not song.caption or len(sides) > 1:
        return
    if words >= (WORDS_ENOUGH if _reads_as_english(song.caption) else WORDS_AT_LEAST):
        return
    severe = words <= 1 or _says_nothing(song.caption)
    told = f"Nothing but {sides[0]} is told" if sides else "Little is told"
    advice = "add what is missing of style, mood, instruments, timbre and voice"
    yield (warning if severe else hint)("vague-caption", CAPTION, f"{told}, in {_counted(words, 'word')}; {advice}.")


def no_lead(song: Song) -> Iterator[Finding]:
    """Instrumentals without a named leading instrument tend to sound aimless (reported by users of the model)."""
    if song.caption and song.forbids_singing and _reads_as_english(song.caption) and not families(song.caption):
        yield hint("no-lead", CAPTION, "An instrumental without a named instrument tends to wander; name what leads.")


def conflicting_styles(song: Song) -> Iterator[Finding]:
    """Words that pull against each other degrade the result, unless they are said to follow one another."""
    if EVOLUTION.search(song.caption):
        return
    caption = _FUSED.sub(" ", song.caption)
    for one, other in _CLASHES:
        left, right = one.search(caption), other.search(caption)
        if left and right:
            yield warning(
                "conflicting-styles",
                CAPTION,
                f"'{clipped(left[0])}' and '{clipped(right[0])}' pull against each other; drop one, or say "
                "which comes first and what it turns into.",
            )
    alone = _A_CAPPELLA.search(caption)
    if alone and families(caption):
        played = listed(tuple(sorted(families(caption))))
        yield warning(
            "conflicting-styles", CAPTION, f"'{alone[0]}' goes with no instruments, and the caption names {played}."
        )


def many_styles(song: Song) -> Iterator[Finding]:
    """More styles than a song can hold are fused into none of them."""
    named = styles(song.caption)
    if len(named) > STYLES_AT_MOST and not EVOLUTION.search(song.caption):
        advice = "keep the ones that matter and repeat the strongest"
        yield hint(
            "many-styles", CAPTION, f"The caption names {len(named)} families of styles ({listed(named)}); {advice}."
        )


def metadata_in_caption(song: Song) -> Iterator[Finding]:
    """Tempo, key, meter and length have fields of their own; in the caption they compete with them."""
    for field, pattern in _METADATA.items():
        found = pattern.search(song.caption)
        if found:
            said = clipped(found[0].strip(" ,"))
            yield warning(
                "metadata-in-caption",
                CAPTION,
                f"'{said}' is a {field}; take it out and set the field for it instead.",
            )


def long_caption(song: Song) -> Iterator[Finding]:
    """Beyond some length details tend to be lost."""
    if len(song.caption) > CAPTION_CHARS_ADVISED:
        yield hint(
            "long-caption",
            CAPTION,
            f"The caption has {len(song.caption)} characters; beyond {CAPTION_CHARS_ADVISED} details get lost.",
        )


def _word_count(text: str) -> int:
    """Words; of scripts without spaces, two characters each."""
    unspaced = sum(script_of(letter) in _UNSPACED for letter in text)
    spaced = "".join(" " if script_of(letter) in _UNSPACED else letter for letter in text)
    return len(re.findall(r"\w+(?:[-'’&]\w+)*", spaced)) + unspaced // CHARACTERS_PER_WORD


def _says_nothing(text: str) -> bool:
    """True when no style and no instrument is named, and no word is left that could be one unknown here."""
    if styles(text) or families(text):
        return False
    for words in (*DIMENSIONS.values(), _EMPTY):
        text = words.sub(" ", text)
    return re.search(r"\w", text) is None


def _reads_as_english(text: str) -> bool:
    """True when it has English small words, or speaks of music in words that are known here."""
    return text.isascii() and (is_english(text) or bool(dimensions(text)))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


RULES = (vague_caption, no_lead, conflicting_styles, many_styles, metadata_in_caption, long_caption)
