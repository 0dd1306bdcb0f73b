"""What a language model is asked, and what it answers: the one small interface that every backend serves.

    Ask(prompt, negative, start, sampling, seed) --backend.complete--> Completion(tokens, finished)

In: prompts as token ids, a state of a grammar, how to sample, whose random numbers. Out: token ids. Backends differ
in speed, never in what they answer: the order of the sampling steps is fixed here, and so is the random number of
every draw. Refuses to know what prompts say (``prompts``) and what answers mean (``planner``). Imports no torch.

Order of the steps for each token, in float32:

    1  guidance      l = negative + guidance * (prompt - negative)
    2  penalty       l / penalty where l > 0, else l * penalty, for tokens of this answer so far (Keskar, 2019)
    3  grammar       only what the state allows
    4  temperature   l / temperature; 0 takes the largest, of several the one with the lowest id
    5  top-k         what is smaller than the k-th largest goes
    6  top-p         the smallest set of most likely tokens whose probabilities reach top_p stays (Holtzman, 2020)
    7  draw          the first token, in order of ids, at which the sum of the probabilities exceeds the next number
                     of ``Draws``; where the grammar leaves one token it is taken and no number is used
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from acestep.planner.grammar import State

if TYPE_CHECKING:
    from torch import Tensor

Heard = Callable[[int, Sequence[int]], None]  # (number of the ask, its new tokens); what it raises ends the run


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is picked.

    Attributes:
        temperature: 0 (the most likely token) to 2.
        top_k: 0 is off.
        top_p: above 0 up to 1; 1 is off.
        repetition_penalty: 1 is off.
        guidance: classifier-free guidance, from 1; 1 is off and needs no negative prompt.
    """

    temperature: float = 0.85
    top_k: int = 0
    top_p: float = 0.9
    repetition_penalty: float = 1.0
    guidance: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One answer that is wanted.

    Attributes:
        prompt: token ids, at least one.
        negative: token ids of the prompt that guidance leads away from; None exactly when ``sampling.guidance`` is 1.
        start: where the grammar begins; None lets the model write whatever it likes.
        sampling: how tokens are picked.
        seed: of the answer's random numbers: the song's seed and the number of the phase.
        most: tokens at most. A grammar that wants more is cut there and the answer is not finished.
        stops: tokens that end a free answer; they are part of it. A grammar ends by itself.
        debug: log what was allowed and picked at each token.
    """

    prompt: tuple[int, ...]
    negative: tuple[int, ...] | None
    start: State | None
    sampling: Sampling
    seed: tuple[int, ...]
    most: int
    stops: frozenset[int] = frozenset()
    debug: bool = False

    def __post_init__(self) -> None:
        if not self.prompt or (self.negative is None) != (self.sampling.guidance == 1):
            raise ValueError("an ask has a prompt, and a negative one exactly when it is guided")


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer.

    Attributes:
        tokens: what was written after the prompt, the token that ended it included.
        finished: False where ``Ask.most`` cut it.
    """

    tokens: tuple[int, ...]
    finished: bool


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """How a language model finds an answer it did not write, token by token over the whole vocabulary.

    Attributes:
        log_probs: natural logarithm of each token's probability, ``[L]`` fp32 on the CPU. Where the network gave NaN
            or infinity there is one of them.
        ranks: how many tokens are at least as likely, the token itself included, ``[L]`` int64 on the CPU: 1 is the
            likeliest of all. Without meaning where the log-probability is not finite.
    """

    log_probs: Tensor
    ranks: Tensor


class Backend(Protocol):
    """A language model that answers.

    Attributes:
        name: as in ``LLMHandler.initialize(backend=...)``.
        context: tokens of prompt and answer at most.
    """

    name: str
    context: int

    def complete(self, asks: Sequence[Ask], heard: Heard | None = None) -> list[Completion]:
        """Answer all asks, in one batch. An ask's answer depends on the others by the rounding of numbers alone.

        Args:
            asks: at least one.
            heard: told of new tokens as they are written, one or several at a time.

        Raises:
            InputError: prompt and answer are longer than the model's context; says the count and the limit.
        """
        ...

    def score(self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> list[Scored]:
        """Log-probability and rank of every token of each answer after its prompt.

        Nothing is masked: they are over the whole vocabulary. An answer's numbers depend on the other answers by
        rounding alone. A prompt that several answers share is named with each of them; a backend that can reads it
        once, and finds no logits of it. Logits are found of a few tokens at a time, however long the texts are.

        Args:
            prompts: at least one token each.
            answers: as many; one may be empty.

        Raises:
            InputError: prompt and answer are longer than the context.
        """
        ...


class Draws:
    """Numbers in [0, 1) for the draws of one answer, in order: the same in every batch and on every device."""

    def __init__(self, seed: Sequence[int]) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(tuple(seed))))

    def next(self) -> float:
        """The next number."""
        return float(self._generator.random())

    def many(self, count: int) -> np.ndarray:
        """The next numbers ``[count]``, float64; equal to as many calls of ``next``."""
        return self._generator.random(count)

    def take_back(self, count: int) -> None:
        """The last numbers were not used: they come again."""
        self._generator.bit_generator.advance(-count)
