"""Syllables of a word in Latin letters: what counts as one vowel sound, language by language.

In: a lower-case word, a language code. Out: a count. Rules of spelling only, no word lists; a language without a row
has one syllable per group of vowels.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType

_NUCLEI: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        # Romance: weak vowels glide beside strong ones, an accent on a weak vowel keeps it apart
        "es": re.compile(r"[iuü]{0,2}[aeoáéó](?:[iuy](?![aeoáéó]))?|[íú]|[iuü]+y?|y(?![aeiouáéíóú])"),
        "ca": re.compile(r"[iuü]{0,2}[aeoàèéòó](?:[iu](?![aeo]))?|[íïú]|[iuüy]+"),
        "it": re.compile(r"[iu]{0,2}[aeoàèéòóù](?:[iu](?![aeo]))?|[ìíú]|[iuy]+"),
        "pt": re.compile(r"[iu]?[ãõ][eo]?|[iuü]{0,2}[aeoáàâéêóô](?:[iu](?![aeo]))?|[íú]|[iuüy]+"),
        "ro": re.compile(r"[iu]*[aeoăâî](?:[iu](?![aeoăâ]))?|i*u|i+(?!\b)"),  # a last i is only breathed
        # Germanic and Finnic: pairs that are one sound, every other vowel for itself
        "de": re.compile(r"eu|äu|ei|ai|au|ie|aa|ee|oo|[aeiouyäöü]"),
        "nl": re.compile(r"aai|ooi|oei|eeu|ieu|aa|ee|oo|uu|oe|ie|eu|ui|ij|ei|au|ou|[aeiouyéèëïöü]"),
        "no": re.compile(r"ei|au|øy|[aeiouyæøåéòóô]"),
        "sv": re.compile(r"[aeiouyåäöé]"),
        "da": re.compile(r"[aeiouyæøåéö]"),
        "is": re.compile(r"au|ei|ey|[aáeéiíoóuúyýæö]"),
        "fi": re.compile(r"aa|ee|ii|oo|uu|yy|ää|öö|[aeouyäö]i|[aeio]u|[eiäö]y|ie|uo|yö|[aeiouyäöå]"),
        # Slavic: liquids between consonants are vowels, i before a vowel only softens
        "pl": re.compile(r"i?[aeouóąę]|[iy]"),
        "cs": re.compile(r"ou|au|eu|[aáeéěiíoóuúůyý]|(?<=[^\Waeiouyáéěíóúůý])[rl](?![aáeéěiíoóuúůyý])"),
        "sk": re.compile(r"i[aeu]|[aáäeéiíoóôuúyý]|(?<=[^\Waeiouyáäéíóôúý])[rlŕĺ](?![aáäeéiíoóôuúyý])"),
        "hr": re.compile(r"ije|[aeiou]|(?<=[^\Waeiou])r(?![aeiou])"),
        "lt": re.compile(r"i?[aąoųūu][iu]?|e[iu]|ie|[eęėiįyų]"),
        # vowels that never merge, or nearly never
        "hu": re.compile(r"[aáeéiíoóöőuúüű]"),
        "tr": re.compile(r"[aâeıiîoöuûü]"),
        "az": re.compile(r"[aeəıioöuü]"),
        "ms": re.compile(r"(?:[ao]i|au)\b|[aeiou]"),
        "tl": re.compile(r"[aeiou]"),
        "sw": re.compile(r"[aeiou]|\bm(?=[bcdfgkltvz])"),
        "ht": re.compile(r"ou|[aeiouyàèéò]"),
        # romanised: morae, Hangul
        "ja": re.compile(r"[aeiouāēīōū]|n(?![aeiouyāēīōū])"),
        "ko": re.compile(r"yeo|yae|wae|eo|eu|ae|oe|ui|[yw][aeiou]|[aeiou]"),
    }
)
_SAME_AS = MappingProxyType({"id": "ms", "sr": "hr"})
_LONE_CONSONANTS = frozenset({"pl", "cs", "sk", "hr", "sr"})  # prepositions such as Polish "w" lean on the next word
_GROUP = re.compile(r"[aeiouyœæøı]+")

_ENGLISH_SILENT_E = re.compile(
    r"(?<=[^aeiouy])e$(?<![^aeiouylr]le)(?<!aybe)"  # love, but not little, maybe
    r"|(?<=[^aeioudty])ed$(?<![^aeiouyrl]led)"  # walked, but not wanted
    r"|(?<=[^aeioucgsxyz])es$(?<![cs]hes)(?<![^aeiouylr]les)"  # makes, but not changes
    r"|(?<=[^aeiouy])e(?=(?:ly|less|ful|ness|ment|where|body|thing|day|how|one|times|some|line|foot)s?$)"  # lonely
    r"|(?<=ev)e(?=ry|ning)"  # every
)
_ENGLISH_APART = re.compile(
    r"i(?=[ao](?!us|n[st]?\b))(?<![cgst]i)|i(?=et|er\b|ous)(?<![cgst]i)|[aeouy](?=ing\b)|a(?=o)|e(?=o(?!u))(?<!pe)"
    r"|u(?=[ao]\w)(?<![qg]u)|th(?=ms?\b)"  # piano, quiet, flying, chaos, video, usual, rhythm
)


def count(word: str, language: str) -> int:
    """Syllables of a lower-case word; of a language that is not known, its groups of vowels."""
    if language in _COUNTERS:
        return max(1, _COUNTERS[language](word))
    nuclei = _NUCLEI.get(_SAME_AS.get(language, language))
    found = len(_GROUP.findall(_plain(word)) if nuclei is None else nuclei.findall(word))
    return found if language in _LONE_CONSONANTS else max(1, found)


def _english(word: str) -> int:
    """Groups of vowels, less the silent e, plus those that are two sounds."""
    plain = _plain(re.sub("[’']s?", "", re.sub("(?<=[bdst])n[’']t", "net", word)))
    groups = len(_GROUP.findall(re.sub("^y(?=[aeiou])", "", plain)))
    return groups - len(_ENGLISH_SILENT_E.findall(plain)) + len(_ENGLISH_APART.findall(plain))


def _french(word: str) -> int:
    """Groups of vowels, less a last e; an accent after another vowel begins a syllable."""
    spoken = re.sub("(?<=[^aeiouyéèêëàâîïôûù])es?$", "", re.sub("(?<=[qg])u(?=[eiéèê’'])", "", word))
    apart = re.sub("(?<=[aeou])([éïëü])", r"-\1", spoken)
    return len(_GROUP.findall(_plain(apart)))


def _plain(word: str) -> str:
    """Without accents."""
    return "".join(letter for letter in unicodedata.normalize("NFD", word) if not unicodedata.combining(letter))


_COUNTERS: Mapping[str, Callable[[str], int]] = MappingProxyType({"en": _english, "fr": _french})
