"""Scripts the vocabulary has no letters for, written in Latin ones: pinyin, romanised Korean and Japanese.

In: a cleaned text. Out: the text as the model was trained to read it. The packages are imported at the first use.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from acestep.v1.lyrics.extras import required


def pinyin(text: str) -> str:
    """Han characters as pinyin with tone digits, the neutral tone 5, nothing between: 我爱你 is ``wo3ai4ni3``.

    Raises:
        UnsupportedError: pypinyin is not installed.
    """
    package = required("pypinyin")
    readings = package.pinyin(text, style=package.Style.TONE3, heteronym=False, neutral_tone_with_five=True)
    return "".join(reading[0] for reading in readings)


def romanised_korean(text: str) -> str:
    """Hangul in the academic transliteration: 사랑해요 is ``salanghae-yo``.

    Raises:
        UnsupportedError: hangul-romanize is not installed.
    """
    return _transliterator().translit(text)


def romaji(text: str) -> str:
    """Kana and kanji as read aloud, in Hepburn; loan words in their foreign spelling.

    Raises:
        UnsupportedError: cutlet or its dictionary is not installed.
    """
    return _cutlet().romaji(text)


@cache
def _transliterator() -> Any:
    return required("hangul_romanize").Transliter(required("hangul_romanize.rule").academic)


@cache
def _cutlet() -> Any:
    required("unidic_lite")
    return required("cutlet").Cutlet()
