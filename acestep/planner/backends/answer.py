"""An answer while it is written: the ask, the tokens so far, where its grammar stands.

In: tokens, one after the other. Out: whether it is over. Refuses to know networks, tensors and how tokens are picked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from acestep.errors import InputError
from acestep.planner.ask import Ask, Completion, Draws
from acestep.planner.chain import END_OF_TURN
from acestep.planner.grammar import State
from acestep.planner.pick import log_pick
from acestep.planner.segments import Codes
from acestep.planner.token_mask import TokenMask
from acestep.planner.vocabulary import Vocabulary


@dataclass(slots=True, eq=False)
class Answer:
    """An ask, and its answer so far.

    Attributes:
        index: of the ask.
        told: how many of the tokens the listener has heard of.
    """

    index: int
    ask: Ask
    draws: Draws
    state: State | None
    tokens: list[int] = field(default_factory=list)
    told: int = 0

    @classmethod
    def of(cls, index: int, ask: Ask, **more: int) -> Self:
        """Nothing written yet."""
        return cls(index, ask, Draws(ask.seed), ask.start, **more)

    @property
    def prompts(self) -> tuple[tuple[int, ...], ...]:
        """The prompt and, with guidance, the negative one; the answer is written behind both."""
        return (self.ask.prompt,) if self.ask.negative is None else (self.ask.prompt, self.ask.negative)

    @property
    def is_finished(self) -> bool:
        """Whether it came to its own end."""
        if self.state is not None:
            return self.state.is_finished
        return bool(self.tokens) and self.tokens[-1] in self.ask.stops

    @property
    def is_over(self) -> bool:
        """Whether nothing is written any more."""
        return self.is_finished or len(self.tokens) >= self.ask.most

    @property
    def codes(self) -> Codes | None:
        """The stretch of codes in which the next token is drawn from codes and, it may be, the end of the turn."""
        segment = None if self.state is None or self.state.is_finished else self.state.segment
        if not isinstance(segment, Codes) or segment.codebook_size < 2 or self.state.place >= segment.most:
            return None
        return segment if self.state.grammar.enter(self.state.index + 1).control() == END_OF_TURN.encode() else None

    @property
    def room(self) -> int:
        """How many tokens may still be drawn before something else is decided than which of them it is."""
        room = self.ask.most - len(self.tokens)
        return room if self.codes is None else min(room, self.codes.most - self.state.place)

    def write(self, token: int, vocabulary: Vocabulary, mask: TokenMask) -> None:
        """One more token, allowed by the grammar."""
        piece = vocabulary.pieces[token]
        if self.ask.debug:
            allowed = vocabulary.size if self.state is None else len(mask.allowed(self.state))
            log_pick(self.index, self.state, allowed, piece)
        self.tokens.append(token)
        self.state = None if self.state is None else self.state.advance(piece)

    def completed(self) -> Completion:
        """The answer as the caller sees it."""
        return Completion(tuple(self.tokens), self.is_finished)


def refuse_too_long(asks: Iterable[Ask], context: int) -> None:
    """Whether every ask fits into so many tokens.

    Raises:
        InputError: prompt and answer are longer than the context.
    """
    for ask in asks:
        check_length(max(len(ask.prompt), len(ask.negative or ())), ask.most, context)


def check_length(prompt: int, answer: int, context: int) -> None:
    """Whether a prompt and an answer of so many tokens fit.

    Raises:
        InputError: they do not; says the counts and the limit.
    """
    if prompt + answer > context:
        raise InputError(
            f"The prompt has {prompt} tokens and its answer up to {answer}, {prompt + answer} together, but the "
            f"language model's context holds {context}; shorten caption, lyrics or duration.",
            field="prompt",
            value=prompt,
        )
