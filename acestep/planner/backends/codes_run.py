"""Semantic codes, one after the other, for all songs of a batch: the planner's hot loop.

In: rows of which one token each is unread. Out: so many more tokens for each song. Everything a step needs is in
tensors that stay where they are, and no step waits for the device: a run of steps can be recorded and played back.
What the grammar says of codes is two comparisons. Refuses to know grammars beyond that, and who listens.

Letters: A answers, R rows of their prompts and negative prompts, K tokens of the head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from acestep.errors import GenerationError
from acestep.models.qwen3 import Layout, Pieces, Step
from acestep.planner.ask import Sampling
from acestep.planner.backends.answer import Answer
from acestep.planner.backends.contexts import Contexts
from acestep.planner.pick import candidates, draw, guided

LONGEST = 25  # tokens: five seconds of a song
_WINDOW = 256  # positions by which what a step looks at grows


class CodesRun:
    """Runs of codes for the answers of ``contexts``, all of them within a stretch of codes.

    Args:
        contexts: of each row one token is unread.
        head: tokens from the end of the turn, or earlier, to the last of the codes.
        ends: the token that ends a turn.
        first_code: the token of code 0.
        play: takes the steps of a run.
    """

    def __init__(self, contexts: Contexts, head: range, ends: int, first_code: int, play: Play) -> None:
        self._contexts, self._network, self._head, self._play = contexts, contexts.network, head, play
        self._answers = contexts.answers
        device = self._network.norm.device
        self._guided = torch.tensor(contexts.guided, dtype=torch.int64, device=device)
        self._owners = torch.tensor([*range(len(self._answers)), *contexts.guided], device=device)  # [R]
        self._rules = _Rules(self._answers, head, ends, first_code, device)
        self._tokens, self._positions = torch.zeros_like(self._owners), torch.zeros_like(self._owners)
        self._at = torch.zeros(1, dtype=torch.int64, device=device)  # which step of the run
        self._numbers = torch.zeros(LONGEST, len(self._answers), dtype=torch.float64, device=device)
        self._written = torch.zeros(LONGEST, len(self._answers), dtype=torch.int64, device=device)
        self._sound = torch.ones((), dtype=torch.bool, device=device)
        self.window = 0

    def write(self) -> list[list[int]]:
        """The next tokens of each answer, as many for all; behind the end of a turn they mean nothing.

        Raises:
            GenerationError: the network gave NaN or infinity.
        """
        count = min(LONGEST, *(answer.room for answer in self._answers))
        cache = self._contexts.cache
        self._tokens.copy_(torch.tensor([text[0] for text in self._contexts.unread()]))
        self._positions.copy_(torch.tensor(cache.lengths))
        self._at.zero_()
        numbers = np.stack([answer.draws.many(count) for answer in self._answers], 1)  # [count, A]
        self._numbers[:count] = torch.from_numpy(numbers)
        self.window = min(-(-(max(cache.lengths) + count) // _WINDOW) * _WINDOW, cache.room)
        self._play(self, count)
        cache.lengths = [length + count for length in cache.lengths]
        if not bool(self._sound):
            raise GenerationError("The language model gave NaN or infinite numbers; its weights or dtype are unfit.")
        return self._written[:count].T.tolist()

    def step(self, layout: Layout | None = None) -> None:
        """Read a token of each row and pick the next; without a layout by nothing but tensors and the window."""
        layout = layout or Step(self._positions, self.window, self._network.norm)
        hidden = self._network(self._tokens, layout, self._contexts.cache)  # [R, D]
        logits = self._network.table.logits(hidden, self._head)  # [R, K]
        self._sound.logical_and_(logits.isfinite().all())
        picked = self._rules.pick(self._both(logits), self._numbers.index_select(0, self._at)[0])
        self._written.index_copy_(0, self._at, picked[None])
        self._tokens.copy_(picked[self._owners])
        self._positions.add_(1)
        self._at.add_(1)

    def row_by_row(self, done: int) -> Layout:
        """Where the tokens of a step stand, so many steps after the beginning of the run."""
        starts = [length + done for length in self._contexts.cache.lengths]
        return Pieces(range(len(starts)), starts, [1] * len(starts), self._network.norm)

    def _both(self, logits: Tensor) -> Tensor:
        """Logits of the answers [A, K] in fp32 from those of the rows [R, K]."""
        prompts, negatives = logits[: len(self._answers)].float(), logits[len(self._answers) :]
        if not len(self._guided):
            return prompts
        mixed = guided(prompts[self._guided], negatives, self._rules.guidance[self._guided])
        return prompts.index_copy_(0, self._guided, mixed)


Play = Callable[[CodesRun, int], None]


def walk(run: CodesRun, count: int) -> None:
    """Take steps one by one, each looking at no more than there is: for a CPU."""
    for done in range(count):
        run.step(run.row_by_row(done))


def repeat(run: CodesRun, count: int) -> None:
    """Take the same step over and over: for a GPU."""
    for _ in range(count):
        run.step()


class _Rules:
    """How the next tokens of A answers are picked among the K of the head, in tensors."""

    def __init__(
        self, answers: Sequence[Answer], head: range, ends: int, first_code: int, device: torch.device
    ) -> None:
        def column(values: Sequence[float], dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)[:, None]  # [A, 1]

        samplings = [answer.ask.sampling for answer in answers]
        self._samplings, self._head, self._end = _alike(samplings, device), head, ends - head.start
        self.guidance = column([sampling.guidance for sampling in samplings], torch.float32)
        self._penalty = column([sampling.repetition_penalty for sampling in samplings], torch.float32)
        self._penalises = any(sampling.repetition_penalty != 1 for sampling in samplings)
        self._count = column([answer.state.place for answer in answers], torch.int64)
        self._fewest = column([answer.codes.fewest for answer in answers], torch.int64)
        tokens = torch.arange(head.start, head.stop, device=device)
        codes = column([answer.codes.codebook_size for answer in answers], torch.int64)
        self._closed = (tokens < first_code) | (tokens >= first_code + codes)  # [A, K]
        self._seen = torch.zeros_like(self._closed)
        for seen, answer in zip(self._seen, answers, strict=True):
            seen[[token - head.start for token in answer.tokens if token in head]] = True

    def pick(self, logits: Tensor, numbers: Tensor) -> Tensor:
        """The next token of each answer [A], out of guided logits [A, K], which are changed, and numbers [A]."""
        if self._penalises:
            lowered = torch.where(logits > 0, logits / self._penalty, logits * self._penalty)
            logits = torch.where(self._seen, lowered, logits)
        end = logits[:, self._end].masked_fill((self._count < self._fewest)[:, 0], -torch.inf)
        logits.masked_fill_(self._closed, -torch.inf)[:, self._end] = end
        picked = torch.empty(len(logits), dtype=torch.int64, device=logits.device)
        for sampling, rows in self._samplings:
            picked[rows] = draw(candidates(logits[rows], sampling), numbers[rows])
        self._count.add_(1)
        self._seen.scatter_(1, picked[:, None], True)
        return picked + self._head.start


def _alike(samplings: Sequence[Sampling], device: torch.device) -> list[tuple[Sampling, Tensor | slice]]:
    """Every way of sampling, and the answers that share it."""
    ways = [(sampling.temperature, sampling.top_k, sampling.top_p) for sampling in samplings]
    if len(set(ways)) == 1:
        return [(samplings[0], slice(None))]
    members = {way: [number for number, other in enumerate(ways) if other == way] for way in ways}
    return [(samplings[those[0]], torch.tensor(those, device=device)) for those in members.values()]
