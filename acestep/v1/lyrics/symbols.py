"""Signs that are spoken as words, by language. Pure data, and how to apply it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SIGNS = "&@%#$£°"
WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        language: tuple(words.split("|"))
        for language, words in {
            "en": "and|at|percent|hash|dollar|pound|degree",
            "es": "y|arroba|por ciento|numeral|dolar|libra|grados",
            "fr": "et|arobase|pour cent|dièse|dollar|livre|degrés",
            "de": "und|at|prozent|raute|dollar|pfund|grad",
            "pt": "e|arroba|por cento|cardinal|dólar|libra|graus",
            "it": "e|chiocciola|per cento|cancelletto|dollaro|sterlina|gradi",
            "pl": "i|małpa|procent|krzyżyk|dolar|funt|stopnie",
            "ar": "و|على|في المئة|رقم|دولار|جنيه|درجة",
            "zh": "和|在|百分之|号|美元|英镑|度",
            "cs": "a|na|procento|křížek|dolar|libra|stupně",
            "ru": "и|собака|процентов|номер|доллар|фунт|градус",
            "nl": "en|bij|procent|hekje|dollar|pond|graden",
            "tr": "ve|at|yüzde|diyez|dolar|sterlin|derece",
            "hu": "és|kukac|százalék|kettőskereszt|dollár|font|fok",
            "ko": "그리고|에|퍼센트|번호|달러|파운드|도",
        }.items()
    }
)


def expand_symbols(text: str, language: str) -> str:
    """Every sign of `SIGNS` as its word between spaces."""
    for sign, word in zip(SIGNS, WORDS[language], strict=True):
        text = text.replace(sign, f" {word} ")
    return text
