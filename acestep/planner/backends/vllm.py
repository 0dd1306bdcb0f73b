"""vLLM's offline engine as a backend: paged memory and kernels of its own, sampling of ours.

In: asks. Out: the answers of ``pt``. An ask with guidance becomes two requests, one behind the prompt and one behind
the negative prompt; ``vllm_processor`` sees the logits of both and picks one token for both. Two requests stay in
step only if vLLM takes both into the same steps, so it gets no more at once than it can begin in a single step and
hold to the end. What it does out of step is an error, never an answer without guidance.
Refuses to know prompts, what answers mean, and how the engine is started (``vllm_engine``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from acestep.errors import GenerationError, NotLoadedError
from acestep.planner.ask import Ask, Completion, Heard, Scored
from acestep.planner.backends.answer import check_length, refuse_too_long
from acestep.planner.backends.vllm_engine import SCORING_TOKENS, start_engine
from acestep.planner.backends.vllm_processor import Desk, Writing
from acestep.planner.vocabulary import Vocabulary

if TYPE_CHECKING:
    from vllm.v1.engine.llm_engine import LLMEngine

_SCORED_AT_ONCE = 256  # tokens; their logits over the published vocabulary take 220 MB


def load_vllm(
    folder: Path, device: torch.device | str, dtype: torch.dtype, context: int = 8192, memory_share: float = 0.4
) -> VllmBackend:
    """vLLM with the planner in ``folder``.

    Args:
        device: on which the installed vLLM computes; it is built for one kind.
        context: as in `VllmBackend`; never more than the network has positions for.
        memory_share: of the device's memory, above 0 and below 1: for weights, caches and what vLLM computes.

    Raises:
        WeightsError: files are missing or broken, or vocabulary and network do not fit.
        UnsupportedError: vLLM is not installed, is for another device, or already has a model in this process.
        DeviceMemoryError: the share does not hold the weights and one guided answer.
    """
    engine, vocabulary, desk = start_engine(folder, torch.device(device), dtype, context, memory_share)
    return VllmBackend(engine, vocabulary, desk)


class VllmBackend:
    """A language model that answers, see ``ask.Backend``; there is one in a process at a time.

    Args:
        engine: of vLLM, in this process; its logits go through ``desk``.
        vocabulary: of the model.
        desk: where tokens are picked.
        limits: how much the engine is given at once; by default what it can hold.

    Attributes:
        context: tokens of prompt and answer at most.
        mask: which tokens a state of a grammar allows.
    """

    name = "vllm"

    def __init__(
        self, engine: LLMEngine, vocabulary: Vocabulary, desk: Desk, *, limits: Limits | None = None
    ) -> None:
        self.vocabulary, self.mask = vocabulary, desk.mask
        self.context = engine.model_config.max_model_len - SCORING_TOKENS
        self.engine, self.desk = engine, desk
        self.limits = limits or Limits.of(engine)
        self._numbers = count()
        self._is_closed = False

    def close(self) -> None:
        """Give the memory back; nothing is answered any more, and another engine may start."""
        self._is_closed = True
        self.engine.engine_core.shutdown()

    def complete(self, asks: Sequence[Ask], heard: Heard | None = None) -> list[Completion]:
        """Answer all asks; see ``ask.Backend.complete``.

        Raises:
            InputError: prompt and answer are longer than the context.
            GenerationError: the network gave NaN or infinity, or vLLM ran the halves of a guided answer out of step.
            NotLoadedError: it was closed.
        """
        self._refuse_closed()
        refuse_too_long(asks, self.context)
        answers = [Writing.of(index, ask, number=next(self._numbers)) for index, ask in enumerate(asks)]
        for group in self.limits.groups(answer for answer in answers if not answer.is_over):
            self._write(group, heard)
        return [answer.completed() for answer in answers]

    def score(self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> list[Scored]:
        """Log-probabilities and ranks of the tokens of answers; see ``ask.Backend.score``.

        vLLM reads a prompt again for every answer behind it, and finds the logits of its tokens, too.

        Raises:
            InputError: prompt and answer are longer than the context.
            NotLoadedError: it was closed.
        """
        self._refuse_closed()
        for prompt, answer in zip(prompts, answers, strict=True):
            check_length(len(prompt), len(answer), self.context)
        scheduling = self.engine.vllm_config.scheduler_config
        scheduling.long_prefill_token_threshold = _SCORED_AT_ONCE  # all logits of a step are in memory, twice
        try:
            return self._score(prompts, answers)
        finally:
            scheduling.long_prefill_token_threshold = 0  # prompts that are answered must not be split

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise NotLoadedError("Model not loaded: this vLLM backend was closed.")

    def _write(self, group: Sequence[Writing], heard: Heard | None) -> None:
        """Write answers that fit the engine together, to the end."""
        self.desk.open(group)
        try:
            for answer in group:
                for half, (name, prompt) in enumerate(zip(_names(answer), answer.prompts, strict=True)):
                    self._request(name, prompt, answer.ask.most, answer=answer.number, half=half)
            while writing := self.desk.writing:
                self._step(writing, heard)
        finally:
            self._abort(name for answer in self.desk.writing for name in _names(answer))
            self.desk.open(())

    def _step(self, writing: Sequence[Writing], heard: Heard | None) -> None:
        """One more token for each answer."""
        before = [len(answer.tokens) for answer in writing]
        self.engine.step()
        if self.desk.problem is not None:
            raise self.desk.problem
        if before == [len(answer.tokens) for answer in writing]:
            raise GenerationError(f"vLLM made a step without a token for any of {len(writing)} answers.")
        for answer, seen in zip(writing, before, strict=True):
            if heard is not None and len(answer.tokens) > seen:
                heard(answer.index, answer.tokens[seen:])
            if answer.is_over:
                self._abort(_names(answer))
                self.desk.close(answer)

    def _score(self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> list[Scored]:
        names = [f"score {next(self._numbers)}" for _ in prompts]
        scored: dict[str, Any] = {}
        try:
            for name, prompt, answer in zip(names, prompts, answers, strict=True):
                self._request(name, (*prompt, *answer), 1, prompt_logprobs=0)
            while self.engine.has_unfinished_requests():
                scored.update((output.request_id, output.prompt_logprobs) for output in self.engine.step())
        finally:
            self._abort(names)
        return [
            _scored(scored[name][len(prompt) :], answer)
            for name, prompt, answer in zip(names, prompts, answers, strict=True)
        ]

    def _request(
        self, name: str, prompt: Sequence[int], most: int, *, prompt_logprobs: int | None = None, **extra: int
    ) -> None:
        """Give vLLM a text to go on with; what is ``extra`` is what the desk is told of it."""
        from vllm import SamplingParams

        parameters = SamplingParams(
            temperature=0.0,
            max_tokens=most,
            ignore_eos=True,
            detokenize=False,
            prompt_logprobs=prompt_logprobs,
            extra_args=extra,
        )
        self.engine.add_request(name, {"prompt_token_ids": list(prompt)}, parameters)

    def _abort(self, names: Iterable[str]) -> None:
        """vLLM forgets these requests; those it has finished itself it does not know any more."""
        self.engine.abort_request(list(names))


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an engine can begin in one step and hold to the end.

    Attributes:
        rows: requests.
        prompts: tokens of all prompts together.
        blocks: of its cache, in which every request has its own.
        block: tokens in one of them.
    """

    rows: int
    prompts: int
    blocks: int
    block: int

    @classmethod
    def of(cls, engine: LLMEngine) -> Limits:
        """Those an engine was started with; one of its blocks is never given away."""
        scheduling, cache = engine.vllm_config.scheduler_config, engine.vllm_config.cache_config
        return cls(
            scheduling.max_num_seqs,
            scheduling.max_num_batched_tokens,
            cache.num_gpu_blocks - 1,
            cache.block_size,
        )

    def groups(self, answers: Iterable[Writing]) -> Iterator[list[Writing]]:
        """Answers in their order, as many at a time as fit; one alone always does."""
        group: list[Writing] = []
        for answer in answers:
            if group and not self._fits([*group, answer]):
                yield group
                group = []
            group.append(answer)
        if group:
            yield group

    def _fits(self, group: Sequence[Writing]) -> bool:
        lengths = [len(prompt) for answer in group for prompt in answer.prompts]
        whole = [len(prompt) + answer.ask.most for answer in group for prompt in answer.prompts]
        blocks = sum(-(-length // self.block) for length in whole)
        return len(lengths) <= self.rows and sum(lengths) <= self.prompts and blocks <= self.blocks


def _names(answer: Writing) -> list[str]:
    """What vLLM calls the requests of an answer."""
    return [f"{answer.number}.{half}" for half in range(len(answer.prompts))]


def _scored(found: Sequence[Any], answer: Sequence[int]) -> Scored:
    """What vLLM found of each token of an answer; its ranks count tokens that are as likely, as ours do."""
    tokens = [by_token[token] for by_token, token in zip(found, answer, strict=True)]
    return Scored(
        torch.tensor([token.logprob for token in tokens], dtype=torch.float32),
        torch.tensor([token.rank for token in tokens], dtype=torch.int64),
    )
