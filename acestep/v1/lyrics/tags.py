"""Structure tags of v1: which lines begin with one, and what to write in place of one the model has no token for.

In: lyrics as typed. Out: sentences. Pure text; refuses to change anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from acestep.errors import shown

ADVICE_AT_MOST = 3
_AT_START = re.compile(r"\[.*?\]")
_TAG = re.compile(r"\[(.*?)\]")
# The tags the vocabulary has a token for, each with the words that mean it.
_MEANT: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        tag: re.compile(rf"\b(?:{words})\b")
        for tag, words in {
            "[start]": "start|begin(?:ning)?",
            "[intro]": "intro(?:duction)?|opening|prelude",
            "[verse]": "verse|rap|couplet|strophe|stanza",
            "[pre-chorus]": "pre[- ]?(?:chorus|hook)|build(?:[- ]?up)?|lift",
            "[chorus]": "(?:post[- ]?)?chorus|refrain|drop",
            "[bridge]": "bridge|middle (?:8|eight)",
            "[outro]": "outro|coda|ending|finale|fade[- ]?out",
            "[end]": "end",
            "[inst]": "inst(?:rumental)?|interlude|music",
            "[solo]": "solo|riff|improvisation",
            "[hook]": "hook",
            "[break]": "break(?:[- ]?down)?|pause",
        }.items()
    }
)
KNOWN = tuple(_MEANT)


def begins_with_tag(row: str) -> bool:
    """True for a stripped line that is read as a structure tag, whatever follows the tag on it."""
    return _AT_START.match(row) is not None


def advice(lyrics: str) -> tuple[str, ...]:
    """One sentence for each tag the vocabulary has no token for, three at most; the last counts those left out."""
    rows = (row.strip() for row in lyrics.split("\n"))
    names = dict.fromkeys(name.strip() for row in rows if begins_with_tag(row) for name in _TAG.findall(row))
    sentences = tuple(_sentences(names))
    if len(sentences) <= ADVICE_AT_MOST:
        return sentences
    kept = sentences[: ADVICE_AT_MOST - 1]
    return (*kept, f"{len(sentences) - len(kept)} more structure tags are unknown to v1 and are read as words.")


def nearest(name: str) -> str | None:
    """The known tag a name without brackets means by its first telling word; None where no word tells."""
    found = {tag: pattern.search(name.lower()) for tag, pattern in _MEANT.items()}
    starts = {tag: match.start() for tag, match in found.items() if match}
    return min(starts, key=starts.__getitem__, default=None)


def _sentences(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if f"[{name.lower()}]" in KNOWN:
            continue
        meant = nearest(name)
        remedy = f"write {meant}" if meant else f"use one of {', '.join(KNOWN)}"
        yield f"{shown(f'[{name}]')} is no structure tag of v1 and is read as words; {remedy}."
