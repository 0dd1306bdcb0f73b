"""When a song sings which word: cross-attention and token texts become timed tokens and lines.

In: attention probabilities ``[H, L, N]`` of chosen heads H over lyric tokens L and frames N, a vocabulary or the
tokens' texts, the song's length. Out: ``TimedLine`` values. Refuses to know networks, prompts and subtitle formats.
Pure numpy. How attention is sharpened and the path found is upstream's; where on the path a token begins and ends,
and how sure that is, is not: theirs begin in the pause before them, and their confidence is always 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tokenizers import Tokenizer

from acestep.scoring.alignment import check_rows, dtw, judgeable, scaled, tag_rows

BACKGROUND = 2.0  # times its median: what a row, then a column, must exceed to count
STD_MIN = 1e-9
HEARD = 0.5  # share of its highest attention on the path at which a token begins and ends
BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # what ends a line: all that ``str.splitlines`` knows
_BEHIND_BREAKS = re.compile(f"(?<=[{BREAKS}])(?=[^{BREAKS}])")
_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"  # how a vocabulary spells the beginning of a character


@dataclass(frozen=True, slots=True)
class TimedToken:
    """One token of the lyrics.

    Attributes:
        text: what it spells; "" where it is only the beginning of a character, which the next token then spells.
        start_s, end_s: seconds to the millisecond, within the song and never before those of the token in front.
        confidence: mean attention on the path from start to end; 0 is the lowest of the song, 1 the highest.
    """

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class TimedLine:
    """One line of the lyrics; fields as those of ``TimedToken``, ``text`` with single spaces and none around it.

    A line is either sung, then nothing of it is a structure tag, or holds nothing but tags.
    """

    text: str
    start_s: float
    end_s: float
    confidence: float
    tokens: tuple[TimedToken, ...]

    @property
    def is_tag(self) -> bool:
        """Whether it is structure tags alone, such as ``[Chorus]``, which nobody sings."""
        return bool(self.text) and not without_tags(self.text).strip()


def without_tags(text: str) -> str:
    """What of a line is outside of brackets."""
    return "".join(character for character, tag in zip(text, tag_rows(text), strict=True) if not tag)


def token_texts(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[str, ...]:
    """What each token adds to the text before it; together they are the text.

    Args:
        tokenizer: a byte-level vocabulary, whose tokens may end within a character.
        ids: tokens of a text.
    """
    texts, pending = [], []
    for number, token in enumerate(ids, start=1):
        pending.append(token)
        text = tokenizer.decode(pending, skip_special_tokens=False)
        if text.endswith(_INCOMPLETE) and number < len(ids):
            texts.append("")
        else:
            texts.append(text)
            pending = []
    return tuple(texts)


def timed_lines(
    attention: np.ndarray, texts: Sequence[str], duration_s: float, frame_s: float
) -> tuple[TimedLine, ...] | None:
    """Find every token, and from them every line, in a song.

    A line ends with its break, of whatever kind; a token with a break within it is shared by two lines. Lines without
    text are left out, those of structure tags are not: see ``TimedLine.is_tag``. Tags in a sung line are.

    Args:
        attention: probabilities ``[H, L, N]``.
        texts: what each of the L tokens spells, from ``token_texts``.
        duration_s: length of the song; no time lies behind it.
        frame_s: seconds of one of the N frames.

    Returns:
        Lines in the order of the lyrics; None where no token is sung or the attention is not finite.

    Raises:
        ValueError: there is not one text for every row.
    """
    check_rows(attention, texts)
    if not judgeable(attention, texts):
        return None
    end_s = math.floor(duration_s * 1000) / 1000
    frames, confidences = _stretches(attention)
    times = np.minimum((frames * frame_s).round(3), end_s).tolist()
    tokens = [TimedToken(*values) for values in zip(texts, *times, confidences.tolist(), strict=True)]
    return tuple(_line(part) for part in _lines(tokens) if _text(part))


def _stretches(attention: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last frame of every token ``[2, L]`` and the mean scaled attention ``[L]`` between them.

    The path through the song gives every frame to some token, also those of a pause, and its ties give a pause to the
    word behind it. So a token is only what lies between half of the height of its attention and the same again;
    upstream takes the whole stretch of the path. Where attention is spread so thin that nothing stands out of it, the
    path is that of the score.
    """
    energy, sharp = scaled(attention), evidence(attention)
    rows, frames = dtw(-sharp if sharp.any() else -np.square(energy))
    firsts = np.flatnonzero(np.diff(rows, prepend=-1))  # the path passes every row: where each begins, [L]
    energy = energy[rows, frames]
    heard = np.flatnonzero(energy >= HEARD * np.maximum.reduceat(energy, firsts)[rows])
    edges = np.searchsorted(heard, firsts), np.searchsorted(heard, np.append(firsts[1:], len(rows))) - 1
    low, high = (heard[edge] for edge in edges)
    sums = np.append(0.0, energy.cumsum(dtype=np.float64))
    return frames[np.stack((low, high))], ((sums[high + 1] - sums[low]) / (high + 1 - low)).round(4)


def evidence(attention: np.ndarray) -> np.ndarray:
    """How much speaks for a token being sung in a frame, standardised over the song: ``[H, L, N]`` -> ``[L, N]``.

    Heads are taken one by one: those of a long song together take more memory than the song.
    """
    total = np.zeros(attention.shape[1:])
    squares = 0.0
    for head in attention:
        sharp = _sharpened(head.astype(np.float32, copy=False))
        squares += float(np.square(sharp, dtype=np.float64).sum())
        total += sharp
    total /= len(attention)
    mean = total.mean()
    std = max(squares / attention.size - mean**2, 0.0) ** 0.5
    return (total - mean) / (std + STD_MIN)


def _sharpened(head: np.ndarray) -> np.ndarray:
    """What stands out of ``[L, N]``, among the frames of its token and among the tokens of its frame, squared."""
    shares = np.exp(head)  # of numbers from 0 to 1: nothing overflows
    shares = np.square(shares) / (shares.sum(1, keepdims=True) * shares.sum(0, keepdims=True))
    for axis in (1, 0):
        shares = np.maximum(shares - np.float32(BACKGROUND) * _median(shares, axis), 0)
    return np.square(shares)


def _median(values: np.ndarray, axis: int) -> np.ndarray:
    """Median of numbers from 0 on, the axis kept at length 1; where more than half are 0 nothing is sorted."""
    size = values.shape[axis]
    known = 2 * np.count_nonzero(values, axis) < size
    result = np.zeros(known.shape, values.dtype)
    if not known.all():
        result[~known] = np.median(values.compress(~known, axis=1 - axis), axis)
    return np.expand_dims(result, axis)


def _lines(tokens: Sequence[TimedToken]) -> Iterator[list[TimedToken]]:
    """Tokens up to and with each break, and those behind the last."""
    line: list[TimedToken] = []
    for token in tokens:
        for text in _BEHIND_BREAKS.split(token.text):
            line.append(replace(token, text=text))
            if text.endswith(tuple(BREAKS)):
                yield line
                line = []
    yield line


def _line(tokens: Sequence[TimedToken]) -> TimedLine:
    """A line lasts as long as what is seen of it: nobody looks at its newline, and a pause would belong to that."""
    words = list(_words(tokens))
    kept = words if _text(words) else tokens
    seen = [token for token in kept if not token.text.isspace()]
    confidence = round(sum(token.confidence for token in seen) / len(seen), 4)
    return TimedLine(_text(kept), seen[0].start_s, seen[-1].end_s, confidence, tuple(kept))


def _words(tokens: Sequence[TimedToken]) -> Iterator[TimedToken]:
    """What of the tokens of a line is outside of its tags."""
    tags = tag_rows("".join(token.text for token in tokens))  # by character
    start = 0
    for token in tokens:
        mine = tags[start : start + max(len(token.text), 1)]  # of a character's beginning, that character
        if not (mine.size and mine.all()):
            yield replace(token, text="".join(one for one, tag in zip(token.text, mine, strict=False) if not tag))
        start += len(token.text)


def _text(tokens: Sequence[TimedToken]) -> str:
    return " ".join("".join(token.text for token in tokens).split())
