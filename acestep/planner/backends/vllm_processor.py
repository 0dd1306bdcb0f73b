"""Every token that vLLM writes is picked here: its own sampler is left without a choice.

In: answers to be written, then, step by step, which row of vLLM's batch belongs to which answer, and the rows' logits
``[R, V]``. Out: the same tensor with one finite logit in every row of ours. A guided answer has two rows, which run
through vLLM as two requests that know nothing of each other; they are mixed here, get the same token, and have to
stay in step: where one is missing, or was written further than the other, nothing is picked and the answer fails.

An error does not leave a step, which would take vLLM's engine down with it: it is kept until the step is over.
Refuses to know vLLM's classes, and how its requests come and go (``vllm``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acestep.errors import AceStepError, GenerationError
from acestep.planner.backends.answer import Answer
from acestep.planner.pick import candidates, draw, guided, penalised, refuse_broken
from acestep.planner.token_mask import TokenMask
from acestep.planner.vocabulary import Vocabulary

_PROMPT, _NEGATIVE = 0, 1  # the halves of a guided answer
_NAMES = ("prompt", "negative prompt")
_TABLES = 16  # tensors of ids that are kept; a codebook's takes 0.5 MB


@dataclass(slots=True, eq=False)
class Writing(Answer):
    """An answer while it is written; ``number`` is its own among all a desk ever had."""

    number: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A row of vLLM's batch that writes an answer.

    Attributes:
        answer: its number.
        half: 0 behind the prompt, 1 behind the negative one.
        written: vLLM's own list of what it has written there; it grows.
    """

    answer: int
    half: int
    written: Sequence[int]


class Desk:
    """Answers that are being written, and the rows of vLLM's batch that write them.

    Attributes:
        mask: which tokens a state of a grammar allows.
        problem: why the last step picked nothing.
    """

    def __init__(self, vocabulary: Vocabulary, mask: TokenMask) -> None:
        self.problem: AceStepError | None = None
        self.mask, self._vocabulary = mask, vocabulary
        self._every = range(vocabulary.size)
        self._tables = _Tables()
        self._open: dict[int, Writing] = {}
        self._rows: dict[int, Row] = {}

    def open(self, answers: Iterable[Writing]) -> None:
        """Begin with these answers, and forget all others."""
        self.problem = None
        self._open = {answer.number: answer for answer in answers}

    def close(self, answer: Writing) -> None:
        """Nothing more is written for this answer."""
        del self._open[answer.number]

    @property
    def writing(self) -> list[Writing]:
        """Answers that are not closed."""
        return list(self._open.values())

    def seat(self, place: int, extra: Mapping[str, int] | None, written: Sequence[int]) -> None:
        """A request takes a row; one without ``answer`` and ``half`` in its extra arguments is not ours."""
        self._rows.pop(place, None)
        if extra:
            self._rows[place] = Row(extra["answer"], extra["half"], written)

    def leave(self, place: int) -> None:
        """The request in this row is gone."""
        self._rows.pop(place, None)

    def move(self, start: int, end: int, swap: bool) -> None:
        """The request of one row goes to another, whose own comes back for it or is gone."""
        moved, there = self._rows.pop(start, None), self._rows.pop(end, None)
        if moved is not None:
            self._rows[end] = moved
        if swap and there is not None:
            self._rows[start] = there

    def settle(self, logits: Tensor) -> Tensor:
        """Pick the next token of every answer that has rows in this step, and leave no other to choose.

        Args:
            logits: ``[R, V]`` fp32, a row for each request, written to.

        Returns:
            The same. In a step with a `problem`, as it was.
        """
        try:
            self._settle(logits)
        except AceStepError as error:
            self.problem = error
        return logits

    def _settle(self, logits: Tensor) -> None:
        places = self._places()
        if not places:
            return
        ours = torch.tensor([place for pair in places.values() for place in pair], device=logits.device)
        refuse_broken(logits[ours])
        tokens = self._pick(logits, places)
        for number in places:
            self._open[number].write(tokens[number], self._vocabulary, self.mask)
        picked = [tokens[number] for number, pair in places.items() for _ in pair]
        logits[ours] = -torch.inf
        logits[ours, torch.tensor(picked, device=logits.device)] = 0.0

    def _places(self) -> dict[int, list[int]]:
        """Rows of the answers in this step: behind the prompt, then behind the negative one."""
        found: dict[int, dict[int, int]] = {}
        for place, row in self._rows.items():
            if row.answer in self._open:
                self._refuse_ahead(row)
                found.setdefault(row.answer, {})[row.half] = place
        for number, halves in found.items():
            self._refuse_alone(number, halves)
        return {number: [halves[half] for half in sorted(halves)] for number, halves in sorted(found.items())}

    def _refuse_ahead(self, row: Row) -> None:
        """Whether vLLM wrote in this row what was picked, no more and no less."""
        answer = self._open[row.answer]
        if len(row.written) != len(answer.tokens) or list(row.written[-1:]) != answer.tokens[-1:]:
            raise GenerationError(
                f"vLLM wrote {len(row.written)} tokens behind the {_NAMES[row.half]} of answer {answer.index} where "
                f"{len(answer.tokens)} were picked; the halves of a guided answer are out of step."
            )

    def _refuse_alone(self, number: int, halves: Mapping[int, int]) -> None:
        answer = self._open[number]
        for half in range(len(answer.prompts)):
            if half not in halves:
                raise GenerationError(
                    f"vLLM left the {_NAMES[half]} of answer {answer.index} out of a step that had its other half; "
                    f"the halves of a guided answer are out of step."
                )

    def _pick(self, logits: Tensor, places: Mapping[int, Sequence[int]]) -> dict[int, int]:
        """The next token of each answer. Those that choose from the same tokens in the same way do so together."""
        tokens: dict[int, int] = {}
        alike: dict[tuple[object, ...], tuple[Sequence[int], list[Writing]]] = {}
        for number, pair in places.items():
            answer = self._open[number]
            allowed = self._allowed(answer)
            if len(allowed) == 1:
                tokens[number] = allowed[0]
            else:
                key = (id(allowed), answer.ask.sampling, len(pair), bool(answer.tokens))
                alike.setdefault(key, (allowed, []))[1].append(answer)
        for allowed, answers in alike.values():
            rows = torch.tensor([places[answer.number] for answer in answers], device=logits.device)  # [B, 1 or 2]
            chosen = self._choose(logits[rows, : self._vocabulary.size], allowed, answers)
            tokens.update(zip((answer.number for answer in answers), chosen, strict=True))
        return tokens

    def _allowed(self, answer: Writing) -> Sequence[int]:
        """Tokens to choose from; where no grammar holds, every one."""
        return self._every if answer.state is None else self.mask.allowed(answer.state)

    def _choose(self, logits: Tensor, allowed: Sequence[int], answers: Sequence[Writing]) -> list[int]:
        """Tokens of B answers that choose alike, from logits ``[B, 1 or 2, V]``."""
        sampling = answers[0].ask.sampling
        mixed = logits[:, _PROMPT]  # [B, V]
        if logits.shape[1] > 1:
            mixed = guided(mixed, logits[:, _NEGATIVE], sampling.guidance)
        if sampling.repetition_penalty != 1 and answers[0].tokens:
            mixed = penalised(mixed, _written(answers, logits.device), sampling.repetition_penalty)
        numbers = torch.tensor([answer.draws.next() for answer in answers], dtype=torch.float64).to(logits.device)
        if allowed is self._every:
            return draw(candidates(mixed, sampling), numbers).tolist()
        table = self._tables.ids(allowed, logits.device)  # [K]
        return table[draw(candidates(mixed[:, table], sampling), numbers)].tolist()


class _Tables:
    """Tokens that a mask allows as tensors, in order of ids; the latest are kept, because codes repeat one."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[Sequence[int], Tensor]] = OrderedDict()

    def ids(self, allowed: Sequence[int], device: torch.device) -> Tensor:
        """``[K]`` int64. What a mask has answered never changes, so it is known by its identity."""
        kept = self._kept.get(id(allowed))
        if kept is None:
            table = torch.tensor(allowed, dtype=torch.int64).sort().values.to(device)
            kept = self._kept[id(allowed)] = (allowed, table)  # with the array itself, so that no other gets its id
            if len(self._kept) > _TABLES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(id(allowed))
        return kept[1]


def _written(answers: Sequence[Writing], device: torch.device) -> Tensor:
    """Tokens of B answers ``[B, M]``; shorter ones repeat their first, which counts once."""
    longest = max(len(answer.tokens) for answer in answers)
    rows = [answer.tokens + answer.tokens[:1] * (longest - len(answer.tokens)) for answer in answers]
    return torch.tensor(rows, device=device)
