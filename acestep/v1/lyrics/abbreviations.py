"""Abbreviations that lyrics hold, by language, and the words they are sung as. Pure data, and how to apply it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

# Pairs "abbreviation=word" in the order they are tried; "_" is a space. A dot ends the abbreviation, in Russian none.
ABBREVIATIONS: Mapping[str, str] = MappingProxyType(
    {
        "en": "mrs=misess mr=mister dr=doctor st=saint co=company jr=junior maj=major gen=general drs=doctors "
        "rev=reverend lt=lieutenant hon=honorable sgt=sergeant capt=captain esq=esquire ltd=limited col=colonel "
        "ft=fort",
        "es": "sra=señora sr=señor dr=doctor dra=doctora st=santo co=compañía jr=junior ltd=limitada",
        "fr": "mme=madame mr=monsieur dr=docteur st=saint co=compagnie jr=junior ltd=limitée",
        "de": "fr=frau dr=doktor st=sankt co=firma jr=junior",
        "pt": "sra=senhora sr=senhor dr=doutor dra=doutora st=santo co=companhia jr=júnior ltd=limitada",
        "it": "sig=signore dr=dottore st=santo co=compagnia jr=junior ltd=limitata",
        "pl": "p=pani m=pan dr=doktor sw=święty jr=junior",
        "cs": "dr=doktor ing=inženýr p=pan",
        "ru": "г-жа=госпожа г-н=господин д-р=доктор",
        "nl": "dhr=de_heer mevr=mevrouw dr=dokter jhr=jonkheer",
        "tr": "b=bay byk=büyük dr=doktor",
        "hu": "dr=doktor b=bácsi nőv=nővér",
    }
)
_NO_DOT = frozenset({"ru"})


def expand_abbreviations(text: str, language: str) -> str:
    """``mr. smith`` as ``mister smith``; text of a language without a row stays as it is."""
    for pattern, word in _patterns(language):
        text = pattern.sub(word, text)
    return text


@cache
def _patterns(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    end = r"\b" if language in _NO_DOT else r"\."
    pairs = (pair.split("=") for pair in ABBREVIATIONS.get(language, "").split())
    return tuple((re.compile(rf"\b{short}{end}", re.IGNORECASE), word.replace("_", " ")) for short, word in pairs)
