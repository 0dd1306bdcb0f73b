"""The language of each line of a song: by its script, in Latin letters by the words of the whole song.

In: the stripped lines of lyrics. Out: one supported language for each. Refuses to clean or encode.

A short line says little, so a song is read from the large to the small: its Latin text settles one language, a stanza
or a line leaves it only with enough letters and strong evidence. Other scripts decide for themselves, because their
letters are read in their own language only, Latin ones in any. Signs and digits decide nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType

from acestep.v1.lyrics.langid import latin_scores
from acestep.v1.lyrics.languages import FALLBACK
from acestep.v1.lyrics.tags import begins_with_tag

# Of 826 lines of published songs in seven of these languages, one leaves its song wrongly with these two numbers; put
# into a song of another language, 86 % of them leave it.
MARGIN = 7.0  # nats by which another language must be likelier than the one around the text
LETTERS = 16  # of different words, in a stanza or line that leaves its song
LETTERS_OF_SONG = 8  # in a song that is not English
KANA_SHARE_OF_SONG = 0.1  # of kana and Han; a Japanese song has half kana, a Chinese one the odd "no"
KANA_SHARE_OF_LINE, KANA_OF_LINE = 0.25, 2
HAN_WEIGHT = 2  # letters a Han character counts for

_SCRIPTS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "latin": re.compile(r"[a-z\u00df-\u00f6\u00f8-\u024f\u1e00-\u1eff]"),
        "kana": re.compile(r"[\u3041-\u3096\u30a1-\u30fa]"),
        "han": re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af々]"),
        "ko": re.compile(r"[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]"),
        "ru": re.compile(r"[\u0400-\u052f]"),
        "ar": re.compile(r"[\u0620-\u064a\u066e-\u06d3\u0750-\u077f]"),
        "hi": re.compile(r"[\u0904-\u0939\u0958-\u0961\u0971-\u097f]"),
    }
)
_ALONE = ("ko", "ru", "ar", "hi")  # scripts that are one language here
_NO_LETTERS = re.compile(r"[\W\d_]+")
_REPEATED = re.compile(r"\b(\w++)(?: \1\b)+")


def song_languages(rows: Sequence[str]) -> tuple[str, ...]:
    """The language of each line; of empty lines and of structure tags, that of tags.

    Raises:
        UnsupportedError: a line is in Latin letters and py3langid is not installed.
    """
    read = [_plain(row) for row in rows]
    counts = [_count(text) for text in read]
    japanese = _kana_share(sum(counts, Counter())) >= KANA_SHARE_OF_SONG
    found = [_by_script(count, japanese=japanese) for count in counts]
    latin = {i: text for i, text in enumerate(read) if found[i] is None and counts[i]["latin"]}
    for i, language in _by_words(latin, rows).items():
        found[i] = language
    main = _main(found, counts)
    return tuple(FALLBACK if _is_unsung(row) else code or main for row, code in zip(rows, found, strict=True))


def _is_unsung(row: str) -> bool:
    return not row or begins_with_tag(row)


def _plain(row: str) -> str:
    """What of a line says something about its language, in lower case."""
    return "" if _is_unsung(row) else unicodedata.normalize("NFKC", row).lower()


def _count(text: str) -> Counter[str]:
    """Letters by script."""
    return Counter({name: len(pattern.findall(text)) for name, pattern in _SCRIPTS.items()})


def _kana_share(count: Counter[str]) -> float:
    return count["kana"] / max(count["kana"] + count["han"], 1)


def _by_script(count: Counter[str], *, japanese: bool) -> str | None:
    """The language of the line's largest script that is not Latin, None without one."""
    own = {name: count[name] for name in _ALONE} | {"han": count["han"] + count["kana"]}
    largest = max(own, key=own.__getitem__)
    if not own[largest]:
        return None
    if largest != "han":
        return largest
    reads_kana = count["kana"] >= KANA_OF_LINE and _kana_share(count) >= KANA_SHARE_OF_LINE
    return "ja" if japanese or reads_kana else "zh"


def _by_words(latin: Mapping[int, str], rows: Sequence[str]) -> dict[int, str]:
    """The language of every line in Latin letters, by its index."""
    song = _settled(latin.values(), FALLBACK, LETTERS_OF_SONG)
    found: dict[int, str] = {}
    for _, numbers in groupby(range(len(rows)), key=lambda i: _is_unsung(rows[i])):
        if stanza := [i for i in numbers if i in latin]:
            around = _settled((latin[i] for i in stanza), song, LETTERS)
            found |= {i: _settled((latin[i],), around, LETTERS) for i in stanza}
    leaving = [i for i in found if found[i] != song]
    second = _settled((latin[i] for i in leaving), song, LETTERS)  # songs in three languages are rare
    return found | {i: _settled((latin[i],), second, LETTERS) for i in leaving}


def _settled(lines: Iterable[str], around: str, letters: int) -> str:
    """The language of a text: that around it, unless its words tell clearly of another. Repeats add no evidence."""
    words = " ".join(dict.fromkeys(_NO_LETTERS.sub(" ", line).strip() for line in lines))
    words = _REPEATED.sub(r"\1", words)
    if sum(map(len, set(words.split()))) < letters:
        return around
    scores = latin_scores(words)
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] - scores[around] >= MARGIN else around


def _main(found: Sequence[str | None], counts: Sequence[Counter[str]]) -> str:
    """The language most of the song is in: lines without letters are read in it."""
    letters: Counter[str] = Counter()
    for code, count in zip(found, counts, strict=True):
        if code is not None:
            letters[code] += count.total() + (HAN_WEIGHT - 1) * count["han"]
    return max(letters, key=letters.__getitem__, default=FALLBACK)
