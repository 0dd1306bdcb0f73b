"""How many syllables a line takes to sing, told from its spelling.

In: one line, its language if known. Out: a count. Where a script writes every vowel it is near exact; English,
French, kanji, Arabic, Hebrew, Thai and numbers are estimates. Refuses to judge counts, and to look words up.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType

from acestep.linting import latin

MORAE_PER_KANJI = 1.6  # readings have one to three morae
LETTERS_PER_SYLLABLE = 2.0  # of Arabic and Hebrew, whose short vowels mostly stay unwritten
_ASIDE = re.compile(r"\([^()]*\)|（[^（）]*）")
_NUMBERED_PINYIN = re.compile(r"[a-zü]+[1-5]", re.IGNORECASE)
_SMALL_KANA = frozenset("ぁぃぅぇぉゃゅょゎァィゥェォャュョヮ")
_CYRILLIC_VOWEL = re.compile("[аеёиоуыэюяіїєѣ]")
_BULGARIAN_VOWEL = re.compile("[аеиоуъюя]")
_GREEK_NUCLEUS = re.compile("ου|αι|ει|οι|υι|αυ|ευ|[αεηιουω]")
_SHORT_VOWELS = re.compile("[\u064b-\u0650\u0670\u05b0-\u05bb]")  # of Arabic and Hebrew
_VIRAMAS = frozenset("\u094d\u09cd\u0a4d\u0acd\u0bcd\u0c4d\u0ccd\u0d4d")
_LAST_VOWEL_SILENT = frozenset({"DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI"})
_INDIC = _LAST_VOWEL_SILENT | {"TAMIL", "TELUGU", "KANNADA", "MALAYALAM"}
_THAI_SYLLABLE = re.compile(
    "(?:[เแโใไ](?:[กขคตปผพ][รล]|[กขค]ว|[ก-ฮ])|[ก-ฮ](?:[รลว](?=[ัาํิีึืุูะ็่-๋]))?)"  # consonants, vowel before them
    "[่-๋]?(?:[ัาิีึืุูะ็ํ][่-๋]?)?(?:ย(?=ะ|[ก-ฮ]?$)|[ะาวอ](?![ัาิีึืุูะ็ํ่-๋]))?"  # vowel after them, with its tone
    "(?:[ก-ฮ](?![ัาิีึืุูะ็ํ่-๋์]))?(?:[ก-ฮ]{1,2}[ิุ]?์)?"  # last consonant; what a thanthakhat silences
)


def count_syllables(line: str, language: str = "unknown") -> int:
    """Syllables of a line; Japanese is counted in morae.

    Words in parentheses are backing vocals and sung beside the line, so they count only when there are no others.

    Args:
        line: words without structure tags.
        language: a code of ``constants.LANGUAGES``; decides how Latin letters and kanji are read.
    """
    words = _words(_ASIDE.sub(" ", line)) or _words(line)
    if language == "vi":
        return len(words)  # its spelling puts a space between syllables
    if language == "unknown" and any(script_of(letter) in {"HIRAGANA", "KATAKANA"} for letter in line):
        language = "ja"
    return round(sum(_of_word(word, language) for word in words))


@lru_cache(maxsize=4096)
def script_of(character: str) -> str:
    """First word of a letter's Unicode name: ``LATIN``, ``CJK``, ``HIRAGANA``, ``HANGUL``...; empty for no letter."""
    if not character.isalpha():
        return ""
    return unicodedata.name(character, "").replace("IDEOGRAPHIC", "CJK").partition(" ")[0].partition("-")[0]


def _words(line: str) -> list[str]:
    """Runs of letters, digits, vowel marks and apostrophes."""
    text = unicodedata.normalize("NFKC", line)
    kept = "".join(
        sign if sign.isalnum() or sign in "'’" or unicodedata.category(sign)[0] == "M" else " " for sign in text
    )
    return [word for word in kept.split() if any(sign.isalnum() for sign in word)]


def _of_word(word: str, language: str) -> float:
    """Syllables of one word, each run of one script by that script's rule."""
    if _NUMBERED_PINYIN.fullmatch(word):
        return 1
    return sum(_of_run(script, run, language) for script, run in _runs(word))


def _runs(word: str) -> Iterator[tuple[str, str]]:
    """Stretches of a word in one script; marks, digits and apostrophes stay with what they follow."""
    script, run = "", ""
    for character in word:
        found = script_of(character)
        if found and script and found != script:
            yield script, run
            run = ""
        script, run = found or script, run + character
    yield script, run


def _of_run(script: str, run: str, language: str) -> float:
    if script == "LATIN":
        return latin.count(run.lower(), language)
    if script in _INDIC:
        return _aksharas(run, last_vowel_silent=script in _LAST_VOWEL_SILENT and language != "sa")
    if script == "CYRILLIC":
        return len((_BULGARIAN_VOWEL if language == "bg" else _CYRILLIC_VOWEL).findall(run.lower()))
    if script == "CJK" and language == "ja":
        return MORAE_PER_KANJI * _characters(run)
    return _COUNTERS.get(script, _characters)(run)


def _characters(run: str) -> int:
    """One for every letter or digit: Chinese, Hangul, numbers, and scripts without a rule."""
    return sum(character.isalnum() for character in run)


def _kana(run: str) -> int:
    """Morae: a small vowel belongs to the kana before it; ん, っ and ー count."""
    return sum(character.isalpha() and character not in _SMALL_KANA for character in run)


def _greek(run: str) -> int:
    """Vowels, digraphs as one; an accent on the first letter or a dialytika on the second keeps them apart."""
    apart = re.sub("([άέόύ])(?=[ιυ])", r"\1-", run.lower())
    apart = re.sub("(?=[ϊϋΐΰ])", "-", apart)
    bare = "".join(sign for sign in unicodedata.normalize("NFD", apart) if not unicodedata.combining(sign))
    return len(_GREEK_NUCLEUS.findall(bare))


def _abjad(run: str) -> float:
    """Short vowels where they are written; an estimate from the letters where they are not."""
    letters, written = _characters(run), len(_SHORT_VOWELS.findall(run))
    return written if 2 * written >= letters else max(1.0, letters / LETTERS_PER_SYLLABLE)


def _aksharas(run: str, *, last_vowel_silent: bool) -> int:
    """Letters of an Indic script that carry a vowel: all but those with a virama, and a bare last consonant."""
    letters = [index for index, character in enumerate(run) if character.isalpha()]
    sung = sum(run[index + 1 : index + 2] not in _VIRAMAS for index in letters)
    bare = run[-1].isalpha() and len(unicodedata.name(run[-1]).rpartition(" ")[2]) > 1 + (run[-1] in "ऐऔঐঔਐਔ")
    return max(1, sung - (last_vowel_silent and bare))


def _thai(run: str) -> int:
    """Syllables by their written shape: onset, vowel, tone, last consonant."""
    return len(_THAI_SYLLABLE.findall(run))


_COUNTERS: Mapping[str, Callable[[str], float]] = MappingProxyType(
    {
        "HIRAGANA": _kana,
        "KATAKANA": _kana,
        "GREEK": _greek,
        "ARABIC": _abjad,
        "HEBREW": _abjad,
        "THAI": _thai,
    }
)
