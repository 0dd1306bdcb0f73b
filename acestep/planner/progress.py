"""Watching a planner at work: lines of the chain as they are completed, codes as they are counted.

In: tokens as a backend writes them. Out: calls of two functions, one for finished lines of text, one for how far it
is. Refuses to know what is done with either (a log, a progress bar, a screen), and what tokens mean.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence

from acestep.planner.chain import END_OF_TURN, END_THINK, THINK, is_heading

Line = Callable[[int, str], None]  # (number of the song, a finished line)
Share = Callable[[float, str], None]  # (share done from 0 to 1, stage); what it raises ends the planning
WORDS_SHARE = 0.2  # of a song's planning; the rest is codes
_LINE_END = re.compile(f"\n|{'|'.join(map(re.escape, (THINK, END_THINK, END_OF_TURN)))}")


class Watch:
    """Hears what a backend writes.

    Args:
        line: called with every line of text that is complete.
        share: called with the share of the whole planning that is done.
    """

    def __init__(self, line: Line | None = None, share: Share | None = None) -> None:
        self._line, self._share = line, share
        self._first, self._songs = 0, 1
        self._spell: Callable[[Sequence[int]], str] = lambda _: ""
        self._written: dict[int, list[int]] = defaultdict(list)
        self._shown: dict[int, int] = defaultdict(int)
        self._wanted: Sequence[int] = ()
        self._done: dict[int, int] = defaultdict(int)

    def begin(self, first: int, songs: int) -> None:
        """Songs from number ``first`` on are planned next, of ``songs`` in all."""
        self._first, self._songs = first, songs

    def thinking(self, spell: Callable[[Sequence[int]], str]) -> None:
        """An answer in words begins; ``spell`` makes text of its tokens."""
        self._spell = spell
        self._written.clear()
        self._shown.clear()
        self._tell(0.0, "thinking")

    def composing(self, wanted: Sequence[int]) -> None:
        """Answers in codes begin, of so many codes each."""
        self._wanted = wanted
        self._done.clear()

    def heard_words(self, index: int, tokens: Sequence[int]) -> None:
        """New tokens of answer ``index`` in words."""
        if self._line is not None:
            self._written[index] += tokens
            lines = _LINE_END.split(self._spell(self._written[index]))
            for text in lines[self._shown[index] : -1]:
                if text and not is_heading(text):
                    self._line(self._first + index, text)
            self._shown[index] = len(lines) - 1
        self._tell(0.0, "thinking")

    def heard_codes(self, index: int, tokens: Sequence[int]) -> None:
        """New tokens of answer ``index`` in codes."""
        self._done[index] += len(tokens)
        done, wanted = sum(self._done.values()), sum(self._wanted)
        share = min(done / wanted, 1.0)
        self._tell(WORDS_SHARE + (1 - WORDS_SHARE) * share, f"planning code {min(done, wanted)}/{wanted}")

    def finish(self) -> None:
        """All is written."""
        if self._share is not None:
            self._share(1.0, "finished")

    def _tell(self, share: float, stage: str) -> None:
        """``share`` of the songs in hand, as a share of all."""
        if self._share is not None:
            at_once = max(len(self._wanted), 1)
            self._share(min((self._first + share * at_once) / self._songs, 1.0), stage)
