"""A line of lyrics as the model was trained to read it: lower case, numbers and signs in words, Latin letters.

In: one line and its language. Out: text for the vocabulary. Refuses to know tokens and other lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from acestep.v1.lyrics.abbreviations import expand_abbreviations
from acestep.v1.lyrics.numerals import spell_numbers
from acestep.v1.lyrics.numerals_zh import spell_numbers_zh
from acestep.v1.lyrics.romanise import pinyin, romaji, romanised_korean
from acestep.v1.lyrics.symbols import expand_symbols

_CAPITALS: Mapping[str, Mapping[int, str]] = MappingProxyType({"tr": str.maketrans("İÖÜ", "iöü")})
_SPACES = re.compile(r"\s+")


def clean(text: str, language: str) -> str:
    """The line in the spelling of ``language``.

    Args:
        text: one line without line break.
        language: one of ``languages.SUPPORTED``.

    Raises:
        UnsupportedError: a package of the extra ``v1`` that this line needs is not installed.
    """
    return _CLEANERS.get(language, _in_words)(text, language)


def _in_words(text: str, language: str) -> str:
    """The common way: no quotes, lower case, then everything that is not a letter in words."""
    text = text.replace('"', "").translate(_CAPITALS.get(language, {})).lower()
    text = spell_numbers_zh(text) if language == "zh" else spell_numbers(text, language)
    text = expand_symbols(expand_abbreviations(text, language), language)
    return _SPACES.sub(" ", text.strip())


def _chinese(text: str, language: str) -> str:
    return pinyin(_in_words(text, language))


def _korean(text: str, language: str) -> str:
    return romanised_korean(_in_words(text, language))


def _japanese(text: str, _language: str) -> str:
    return romaji(text).lower()


def _hindi(text: str, _language: str) -> str:
    return _SPACES.sub(" ", text.lower())


_CLEANERS: Mapping[str, Callable[[str, str], str]] = MappingProxyType(
    {"zh": _chinese, "ko": _korean, "ja": _japanese, "hi": _hindi}
)
