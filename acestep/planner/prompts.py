"""What a planner is told in each mode, as token ids: plan a song, write its codes, describe, invent or polish one.

In: a vocabulary, texts of a user, a chain of thought, codes. Out: token ids, up to where the model goes on. Control
tokens are put in here by name and everything else is encoded as text, so that nothing a user types steers the model.
Text is encoded from one control token to the next, which is how a rendered prompt is encoded in one go. Refuses to
know which answers are legal (``answers``) and how they are sampled.

The layout is Qwen3's: ``<|im_start|>role``, newline, content, ``<|im_end|>``, newline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from acestep.constants import INSTRUMENTAL_LYRICS
from acestep.planner.chain import END_OF_TURN, END_THINK, THINK, ChainOfThought, write_fields
from acestep.planner.vocabulary import START_OF_TURN, Vocabulary

NO_USER_INPUT = "NO USER INPUT"

_GENERATE = "Generate audio semantic tokens based on the given conditions:"
_UNDERSTAND = "Understand the given musical conditions and describe the audio semantics accordingly:"
_WRITE = "Expand the user's input into a more detailed and specific musical description:"
_FORMAT = "Format the user's input into a more detailed and specific musical description:"


def planning_prompt(v: Vocabulary, caption: str, lyrics: str) -> tuple[int, ...]:
    """Phase 1: a caption and lyrics are to become a chain of thought. Both may be empty."""
    return _opening(v, _GENERATE, v.text(_user(_song(caption, lyrics) + "\n")))


def codes_prompt(v: Vocabulary, caption: str, lyrics: str, chain: ChainOfThought) -> tuple[int, ...]:
    """Phase 2: after the chain of thought come codes. The caption is the user's; the planner's is in the chain.

    The turn stays open behind the chain, as in training. Genres are no part of a chain that codes follow.
    """
    return (*planning_prompt(v, caption, lyrics), *_thought(v, write_fields(replace(chain, genres=""))))


def codes_negative(v: Vocabulary, negative: str = NO_USER_INPUT) -> tuple[int, ...]:
    """What guidance leads the codes away from: bare text without headings, and nothing thought.

    Args:
        negative: what the song should not be; blank is `NO_USER_INPUT`.
    """
    return (*_opening(v, _GENERATE, v.text(_user(_or_no_input(negative)))), *_thought(v, ""))


def understanding_prompt(v: Vocabulary, codes: Sequence[int]) -> tuple[int, ...]:
    """Codes are to become a chain of thought and lyrics.

    Raises:
        InputError: a code that the vocabulary does not have.
    """
    heard = [*v.text(_user("")), *map(v.code, codes)] if codes else v.text(_user(NO_USER_INPUT))
    return _opening(v, _UNDERSTAND, heard)


def writing_prompt(v: Vocabulary, query: str, instrumental: bool) -> tuple[int, ...]:
    """A few words are to become a song: caption, metadata, lyrics. Blank words leave all to the planner."""
    wish = f"{_or_no_input(query)}\n\ninstrumental: {str(instrumental).lower()}"
    return _opening(v, _WRITE, v.text(_user(wish)))


def formatting_prompt(v: Vocabulary, caption: str, lyrics: str) -> tuple[int, ...]:
    """A rough caption and lyrics are to become good ones; blank lyrics mean an instrumental song."""
    song = _song(_or_no_input(caption), lyrics if lyrics.strip() else INSTRUMENTAL_LYRICS)
    return _opening(v, _FORMAT, v.text(_user(song)))


def _song(caption: str, lyrics: str) -> str:
    return f"# Caption\n{caption}\n\n# Lyric\n{lyrics}"


def _or_no_input(words: str) -> str:
    return words if words.strip() not in ("", NO_USER_INPUT) else NO_USER_INPUT


def _user(content: str) -> str:
    return f"user\n{content}"


def _opening(v: Vocabulary, instruction: str, user: Sequence[int]) -> tuple[int, ...]:
    """System turn, user turn, the beginning of the assistant's.

    Args:
        user: ids of the role and the content together, because they are one text.
    """
    start, end, newline = v.control(START_OF_TURN), v.control(END_OF_TURN), v.text("\n")
    system = v.text(f"system\n# Instruction\n{instruction}\n\n")
    return (start, *system, end, *newline, start, *user, end, *newline, start, *v.text("assistant\n"))


def _thought(v: Vocabulary, fields: str) -> tuple[int, ...]:
    """A finished chain of thought and what stands between it and the first code; an empty chain is one empty line."""
    return (v.control(THINK), *v.text("\n" + (fields or "\n")), v.control(END_THINK), *v.text("\n\n"))
