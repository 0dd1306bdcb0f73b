"""The answers a planner can be asked for, each as a grammar: a song planned, a song written out, semantic codes.

In: what the user fixed, which fields the planner shall leave out, how long songs may be. Out: a `Grammar` in which
what was given is the only continuation in its place. What a planner finishes under it is a chain of thought that
reads back with every value in range, or codes that a codebook has, as many as the song is long.
Refuses to know prompts and tokens.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from acestep.constants import (
    BPM_MAX,
    BPM_MIN,
    DURATION_MAX_S,
    DURATION_MIN_S,
    KEYSCALES,
    LANGUAGES,
    TIME_SIGNATURES,
)
from acestep.errors import InputError
from acestep.planner.chain import (
    END_OF_TURN,
    END_THINK,
    FIELDS,
    FREE_FIELDS,
    THINK,
    ChainOfThought,
    read_chain,
    write_field,
)
from acestep.planner.grammar import Grammar
from acestep.planner.plan import code_count
from acestep.planner.segments import Choice, Codes, Control, FoldedText, OpenText, Segment

CAPTION_PIECES_MAX = 512  # tokens, the planners' own limit
LYRICS_PIECES_MAX = 2048  # tokens
OPEN = ChainOfThought()


def planning_grammar(
    given: ChainOfThought = OPEN,
    leave_out: Collection[str] = (),
    *,
    longest_s: float = DURATION_MAX_S,
    caption_pieces: int = CAPTION_PIECES_MAX,
) -> Grammar:
    """The chain of thought of a song to be played: from ``<think>`` to ``</think>``, without genres.

    Args:
        given: values that are written as they are.
        leave_out: fields not to be written unless given, as ``caption`` and ``language`` when ``use_cot_*`` is off.
        longest_s: seconds up to which the planner may choose.
        caption_pieces: tokens of a caption.

    Raises:
        InputError: a given value that would not read back.
    """
    omitted = {*leave_out, "genres"}
    return Grammar(tuple(_thinking(given, omitted, longest_s, caption_pieces)))


def writing_grammar(
    given: ChainOfThought = OPEN,
    leave_out: Collection[str] = (),
    *,
    longest_s: float = DURATION_MAX_S,
    caption_pieces: int = CAPTION_PIECES_MAX,
    lyrics_pieces: int = LYRICS_PIECES_MAX,
) -> Grammar:
    """A chain of thought with genres, then lyrics, then the end of the turn: to write, format or understand a song.

    Args:
        given: values that are written as they are.
        leave_out: fields not to be written unless given.
        longest_s: seconds up to which the planner may choose.
        caption_pieces: tokens of a caption, and of genres.
        lyrics_pieces: tokens of what follows the chain.

    Raises:
        InputError: a given value that would not read back.
    """
    chain = _thinking(given, leave_out, longest_s, caption_pieces)
    return Grammar((*chain, OpenText("lyrics", lyrics_pieces), Control("end of turn", END_OF_TURN.encode())))


def codes_grammar(duration_s: float | None, codebook_size: int, *, longest_s: float = DURATION_MAX_S) -> Grammar:
    """Semantic codes and the end of the turn, behind a prompt that ends with the chain of thought.

    Args:
        duration_s: seconds; the codes are exactly as many as they take. None: the planner ends the song itself.
        codebook_size: codes are 0 to this - 1.
        longest_s: seconds up to which the planner may go on.

    Raises:
        InputError: a duration without a code, or too long.
    """
    if duration_s is None:
        fewest, most = code_count(DURATION_MIN_S), code_count(longest_s)
    elif 0 < duration_s <= DURATION_MAX_S:
        fewest = most = code_count(duration_s)
    else:
        raise InputError.must("duration", f"be above 0 and up to {DURATION_MAX_S:g} seconds", duration_s)
    return Grammar((Codes("codes", fewest, most, codebook_size), Control("end of turn", END_OF_TURN.encode())))


def _thinking(
    given: ChainOfThought, leave_out: Collection[str], longest_s: float, caption_pieces: int
) -> tuple[Segment, ...]:
    """Tags, fields in their order, forced values."""
    decided = given.decided()
    _refuse_lost(given)
    if unknown := sorted(set(leave_out) - set(FIELDS)):
        raise InputError.unknown("leave_out", unknown[0], FIELDS)
    names = [name for name in FIELDS if name in decided or name not in leave_out]
    lines: list[Segment] = [_literal("line", "\n" if names else "\n\n")]
    for name in names:
        if name in decided:
            lines.append(_literal(name, write_field(name, decided[name])))
        elif name in FREE_FIELDS:
            lines += [_literal(name, f"{name}: "), FoldedText(name, caption_pieces)]
        else:
            lines.append(_closed_field(name, longest_s))
    return Control("think", THINK.encode()), *lines, Control("end of thinking", END_THINK.encode())


@lru_cache(maxsize=256)
def _literal(name: str, text: str) -> Choice:
    """A text without a choice."""
    return Choice(name, (text.encode(),))


@lru_cache(maxsize=64)
def _closed_field(name: str, longest_s: float) -> Choice:
    """All lines a field with a fixed vocabulary can have."""
    values = {
        "bpm": range(BPM_MIN, BPM_MAX + 1),
        "duration": range(int(DURATION_MIN_S), max(int(longest_s), int(DURATION_MIN_S)) + 1),
        "keyscale": KEYSCALES,
        "language": LANGUAGES,
        "timesignature": TIME_SIGNATURES,
    }[name]
    lines = {write_field(name, value) for value in values}
    if name == "language":  # Norwegian is 'no' in YAML, which not every model writes with its quotes
        lines |= {f"{name}: {value}\n" for value in values}
    return Choice(name, tuple(sorted(line.encode() for line in lines)))


def _refuse_lost(given: ChainOfThought) -> None:
    """Forced values survive: each has to read back as it was given."""
    for name, value in given.decided().items():
        if getattr(read_chain(write_field(name, value)).chain, name) != value:
            raise InputError.must(name, "be a value that a chain of thought can hold", value)
