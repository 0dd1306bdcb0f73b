"""What is likely to go wrong with a song in words, told before it is made.

In: caption, lyrics, metadata. Out: findings, each a named rule, a place, one sentence and a severity. Pure text: no
torch, no network, no model. Refuses to change anything.
"""

from __future__ import annotations

from typing import Unpack

from acestep.linting import agreement, captions, lines, settings, tags
from acestep.linting.findings import HINT, WARNING, Finding
from acestep.linting.song import Said, read_song

__all__ = ["HINT", "REMARKS_AT_MOST", "RULES", "WARNING", "Finding", "lint", "remarks"]

RULES = (*captions.RULES, *tags.RULES, *lines.RULES, *agreement.RULES, *settings.RULES)
REMARKS_AT_MOST = 5


def lint(caption: str, lyrics: str, **said: Unpack[Said]) -> tuple[Finding, ...]:
    """What every rule finds, in the order of the text.

    Args:
        caption: the music in words; empty when there is none yet.
        lyrics: words to sing with structure tags; empty when there are none yet.
        said: ``bpm``, ``keyscale``, ``timesignature``, ``duration``, ``vocal_language``, ``instrumental``.

    Raises:
        InputError: metadata that is not allowed.
    """
    song = read_song(caption, lyrics, **said)
    return tuple(sorted((found for rule in RULES for found in rule(song)), key=lambda found: found.place))


def remarks(caption: str, lyrics: str, **said: Unpack[Said]) -> tuple[str, ...]:
    """The warnings of ``lint`` as sentences for a log, five at most; where there are more, the last says how many.

    Raises:
        InputError: metadata that is not allowed.
    """
    found = lint(caption, lyrics, **said)
    sentences = tuple(f"In the {_spoken(one.where)}: {one.message}" for one in found if one.severity == WARNING)
    if len(sentences) <= REMARKS_AT_MOST:
        return sentences
    kept = sentences[: REMARKS_AT_MOST - 1]
    return (*kept, f"{len(sentences) - len(kept)} more warnings of this kind are about the caption and the lyrics.")


def _spoken(where: str) -> str:
    """``lyrics:12`` as people say it."""
    field, _, line = where.partition(":")
    return f"{field}, line {line}" if line else field
