"""Numbers in words, for every language with letters: amounts of money, decimals, ordinals, whole numbers.

In: a lower-case text and its language. Out: the text with its numbers written out by num2words. What that library has
no words for stays in digits. Chinese is in `numerals_zh`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from acestep.v1.lyrics.extras import required

DIGITS_MOST = 12  # of a whole number; larger ones num2words cannot say in every language, and nobody sings them
# What stands between whole units and hundredths of money: with it, "and no cents" is found and left unsaid.
JOINERS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys("en pl cs ru nl ar tr hu ko".split(), ", ")
    | dict.fromkeys(("pt", "it"), " e ")
    | {"es": " con ", "fr": " et ", "de": " und "}
)
# Currencies num2words knows in a language, where not all three.
_CURRENCIES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "cs": frozenset({"EUR"}),
        "ko": frozenset({"USD"}),
        "pl": frozenset({"USD", "EUR"}),
        "ru": frozenset({"USD", "EUR"}),
        "tr": frozenset(),
    }
)
_MONEY: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (currency, re.compile(rf"{sign}[0-9.,]*[0-9]|(?<![0-9.,])[0-9.,]*+(?<=[0-9]){sign}"))
    for currency, sign in (("GBP", "£"), ("USD", r"\$"), ("EUR", "€"))
)
_ORDINALS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        language: re.compile(rf"(?<![0-9])([0-9]++)(?:{endings})")
        for language, endings in {
            "en": "st|nd|rd|th",
            "es": "º|ª|er|o|a|os|as",
            "fr": "º|ª|er|re|e|ème",
            "de": r"st|nd|rd|th|º|ª|\.(?=\s|$)",
            "pt": "º|ª|o|a|os|as",
            "it": "º|°|ª|o|a|i|e",
            "pl": "º|ª|st|nd|rd|th",
            "ar": "ون|ين|ث|ر|ى",
            "ru": "-й|-я|-е|-ое|-ье|-го",
            "nl": "de|ste|e",
            "tr": r"\.|inci|nci|uncu|üncü",
            "hu": r"\.|adik|edik|odik|ödik|ödike|ik",
            "ko": "번째|번|차|째",
        }.items()  # num2words has no Czech ordinals
    }
)
_COMMA_GROUPS = re.compile(r"\b\d{1,3}(?:,\d{3})*(?:\.\d+)?\b")
_DOT_GROUPS = re.compile(r"\b\d{1,3}(?:.\d{3})*(?:,\d+)?\b")
_POINT_IS_DOT = frozenset({"en", "ru"})
_DECIMAL = re.compile(r"(?<![0-9])[0-9]++[.,][0-9]+")
_NO_DECIMALS = frozenset({"tr"})
_WHOLE = re.compile(r"[0-9]+")
# How num2words fails on what it has no word for: Polish 0th, Korean hundredth, Hungarian ten thousandths, decimals so
# small that Python writes them with an exponent.
_GAPS = (LookupError, ValueError, RecursionError)
_AMOUNT = re.compile(r"\d*(?:\.\d+)?")


def spell_numbers(text: str, language: str) -> str:
    """The text with its numbers in words of ``language``, any supported one but Chinese, Japanese and Hindi.

    Raises:
        UnsupportedError: there is a number and num2words is not installed.
    """
    if not _WHOLE.search(text):
        return text
    text = _ungrouped(text, language)
    for currency, pattern in _MONEY:
        if currency in _CURRENCIES.get(language, {currency}):
            text = pattern.sub(lambda match, of=currency: _money(match[0], of, language), text)
    if language not in _NO_DECIMALS:
        text = _DECIMAL.sub(lambda match: _decimal(match[0], language), text)
    if language in _ORDINALS:
        text = _ORDINALS[language].sub(lambda match: _ordinal(match, language), text)
    return _WHOLE.sub(lambda match: _whole(match[0], language), text)


def _ungrouped(text: str, language: str) -> str:
    """Without the signs between thousands."""
    groups, sign = (_COMMA_GROUPS, ",") if language in _POINT_IS_DOT else (_DOT_GROUPS, ".")
    return groups.sub(lambda match: match[0].replace(sign, ""), text)


def _whole(digits: str, language: str) -> str:
    return _in_words(digits, digits, int, lang=language)


def _decimal(text: str, language: str) -> str:
    """``2.5`` or ``2,5`` in words."""
    return _in_words(text.replace(",", "."), text, float, lang=language)


def _money(text: str, currency: str, language: str) -> str:
    """An amount with its sign in words; of a round one the hundredths stay unsaid."""
    number = re.sub(r"[^\d.]", "", text.replace(",", "."))
    if not _AMOUNT.fullmatch(number):
        return text
    words = _in_words(number, text, float, to="currency", currency=currency, lang=language)
    units, joiner, rest = words.rpartition(JOINERS[language])
    is_round = float(number).is_integer() and joiner and rest.startswith(_whole("0", language))
    return units if is_round else words


def _ordinal(match: re.Match[str], language: str) -> str:
    """``1st`` in words."""
    return _in_words(match[1], match[0], int, ordinal=True, lang=language)


def _in_words(number: str, typed: str, kind: Callable[[str], float], **how: Any) -> str:
    """A number as num2words says it; as typed where it is too large, or falls into a gap of the library's tables."""
    if len(number.partition(".")[0]) > DIGITS_MOST:
        return typed
    try:
        return required("num2words").num2words(kind(number), **how)
    except _GAPS:
        return typed
