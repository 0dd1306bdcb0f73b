"""Whether a song sings its lyrics in their order: cross-attention becomes a score of 0 to 1.

In: attention probabilities ``[H, L, N]`` of chosen heads H over lyric tokens L and frames N (of the transformer: two
latent frames each), and the text of every token. Out: an ``Alignment``. Refuses to know networks, tokenizers and
seconds. Pure numpy. The score and its constants are upstream's, so that values can be compared with theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SEEN = 0.1  # a row whose attention never rises above this share of the highest is not sung
NOISE = 0.01  # attention up to this share does not move the centre of a row
SLACK_FRAMES = 9.0  # that a token's centre may lie before the one in front of it
RANGE_MIN = 1e-9
DIAGONAL, UP, LEFT = 0, 1, 2  # where a walk comes from


@dataclass(frozen=True, slots=True)
class Alignment:
    """How well a song follows its lyrics; everything from 0 to 1.

    Attributes:
        score: coverage^2 * monotonicity^2 * confidence, to four digits.
        coverage: share of the sung tokens that some frame looks at.
        monotonicity: share of neighbouring sung tokens that are looked at in their order.
        confidence: mean attention along the best path through the song.
    """

    score: float
    coverage: float
    monotonicity: float
    confidence: float


def align(attention: np.ndarray, texts: Sequence[str]) -> Alignment | None:
    """Judge how the attention of one song walks through its lyrics.

    Args:
        attention: probabilities ``[H, L, N]``.
        texts: what each of the L tokens spells; structure tags are not expected to be sung.

    Returns:
        None where there is nothing to judge: no sung token, no frame, or attention that is not finite.

    Raises:
        ValueError: there is not one text for every row.
    """
    check_rows(attention, texts)
    if not judgeable(attention, texts):
        return None
    sung = ~tag_rows(texts)
    energy = scaled(attention)
    rows, frames = dtw(-np.square(energy))
    coverage = _coverage(energy[sung])
    monotonicity = _monotonicity(energy[sung])
    confidence = float(energy[rows, frames].mean(dtype=np.float64))
    score = min(max(coverage**2 * monotonicity**2 * confidence, 0.0), 1.0)
    return Alignment(round(score, 4), coverage, monotonicity, confidence)


def check_rows(attention: np.ndarray, texts: Sequence[str]) -> None:
    """Refuse attention that belongs to other lyrics.

    Raises:
        ValueError: there is not one text for every row.
    """
    if attention.ndim != 3 or attention.shape[1] != len(texts):
        raise ValueError(f"attention of shape {attention.shape} does not have {len(texts)} tokens in its middle.")


def judgeable(attention: np.ndarray, texts: Sequence[str]) -> bool:
    """Whether something is sung, and the attention to it holds finite numbers."""
    sung = any(text.strip() and not tag for text, tag in zip(texts, tag_rows(texts), strict=True))
    return sung and attention.size > 0 and bool(np.isfinite(attention).all())


def scaled(attention: np.ndarray) -> np.ndarray:
    """Mean over heads, stretched to 0 to 1; zeros where all is alike: ``[H, L, N]`` -> ``[L, N]`` fp32."""
    mean = attention.astype(np.float32, copy=False).mean(0)
    low, high = mean.min(), mean.max()
    return (mean - low) / (high - low) if high - low > RANGE_MIN else np.zeros_like(mean)


def tag_rows(texts: Sequence[str]) -> np.ndarray:
    """True ``[L]`` from a token with an opening bracket to one with the closing bracket, both included.

    A bracket that nobody closes opens no tag.
    """
    tags, opened = np.zeros(len(texts), bool), None
    for row, text in enumerate(texts):
        for character in text:
            if character == "[" and opened is None:
                opened = row
            elif character == "]" and opened is not None:
                tags[opened : row + 1], opened = True, None
    return tags


def _coverage(energy: np.ndarray) -> float:
    """Of sung rows ``[L, N]``."""
    return float((energy.max(1) > SEEN).mean())


def _monotonicity(energy: np.ndarray) -> float:
    """Of sung rows ``[L, N]``; those that nobody looks at are passed over."""
    weights = np.where(energy > NOISE, energy, np.float32(0))
    mass = weights.sum(1, dtype=np.float64)
    moment = np.einsum("ln,n->l", weights, np.arange(energy.shape[1]), dtype=np.float64)
    known = mass > RANGE_MIN
    steps = np.diff(moment[known] / mass[known])
    return float((steps >= -SLACK_FRAMES).mean()) if len(steps) else 1.0


def dtw(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest walk through ``cost`` ``[L, N]`` from its first to its last cell, a step right, down or both.

    Costs are summed in fp32. Ties are broken as upstream (and Whisper) breaks them, which is not by the smallest sum:
    a cell is reached diagonally if that is strictly cheaper than both other ways, else from the row above if that is,
    else from the frame before, even where the first two ways are equal and cheaper.

    All cells of an anti-diagonal depend only on the two before it, so each is one vector: L + N - 1 steps instead of
    L * N. A diagonal is kept by row, shifted by one so that index 0 is the border above the first row.

    Args:
        cost: finite.

    Returns:
        Row and frame of every step of the walk, in order.
    """
    height, width = cost.shape
    mirrored = cost[:, ::-1]  # whose diagonals are the anti-diagonals
    choices = np.empty((height + width - 1, height), np.int8)
    before, last, current = (np.full(height + 1, np.inf, np.float32) for _ in range(3))
    before[0] = 0.0
    for number, chosen in enumerate(choices):
        low, high = max(0, number - width + 1), min(height, number + 1)
        diagonal, up, left = before[low:high], last[low:high], last[low + 1 : high + 1]
        cheaper = np.minimum(diagonal, up)
        leaves = (cheaper < left) & (diagonal != up)
        reached = np.where(leaves, cheaper, left)
        np.add(reached, mirrored.diagonal(width - 1 - number), out=current[low + 1 : high + 1], casting="same_kind")
        chosen[low:high] = np.where(leaves, np.where(up < diagonal, UP, DIAGONAL), LEFT)
        before[0] = np.inf
        before, last, current = last, current, before
    return _walk_back(choices, height, width)


def _walk_back(choices: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The walk that ends in the last cell, from the choices ``[anti-diagonal, row]``."""
    row, frame = height - 1, width - 1
    walk = [(row, frame)]
    while row or frame:
        choice = choices[row + frame, row]
        row, frame = row - (choice != LEFT), frame - (choice != UP)
        walk.append((row, frame))
    rows, frames = np.array(walk[::-1]).T
    return rows, frames
