"""The reference backend: a plain batched loop over a transformers network, one token at a time, without a trick.

In: asks. Out: answers; they are what every other backend has to give. All contexts of all asks, with guidance two an
ask, go through the network together, padded on the left; its logits are over the whole vocabulary in every step, also
where the grammar leaves one token. Refuses to know prompts, and what answers mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import DynamicCache, Qwen3ForCausalLM

from acestep.checkpoints.language_transformers import load_language_model
from acestep.planner.ask import Ask, Completion, Heard, Scored
from acestep.planner.backends.answer import Answer, check_length, refuse_too_long
from acestep.planner.backends.judging import NOTHING_SCORED, behind_each, judged
from acestep.planner.pick import guided, penalised, pick, refuse_broken
from acestep.planner.token_mask import TokenMask
from acestep.planner.vocabulary import Vocabulary


def load_pt(folder: Path, device: torch.device | str, dtype: torch.dtype, context: int = 8192) -> PtBackend:
    """The reference backend with the planner in ``folder``.

    Args:
        context: as in `PtBackend`.

    Raises:
        WeightsError: files are missing or broken, or vocabulary and network do not fit.
    """
    network, vocabulary = load_language_model(folder, dtype)
    return PtBackend(network.to(device), vocabulary, context=context)


class PtBackend:
    """A language model that answers, see ``ask.Backend``.

    Args:
        network: in eval mode, on its device.
        vocabulary: of the network.
        context: tokens of prompt and answer at most; never more than the network has positions for.

    Attributes:
        mask: which tokens a state of a grammar allows.
    """

    def __init__(
        self, network: Qwen3ForCausalLM, vocabulary: Vocabulary, *, context: int = 8192, name: str = "pt"
    ) -> None:
        self.name = name
        self.network, self.vocabulary = network, vocabulary
        self.mask = TokenMask(vocabulary.pieces, vocabulary.text)
        self.context = min(context, network.config.max_position_embeddings)

    @torch.inference_mode()
    def complete(self, asks: Sequence[Ask], heard: Heard | None = None) -> list[Completion]:
        """Answer all asks; see ``ask.Backend.complete``.

        Raises:
            InputError: prompt and answer are longer than the context.
            GenerationError: the network gave NaN or infinity.
        """
        refuse_too_long(asks, self.context)
        answers = [Answer.of(index, ask) for index, ask in enumerate(asks)]
        writing = [answer for answer in answers if not answer.is_over]
        contexts = _Contexts(self.network, [text for answer in writing for text in answer.prompts])
        while writing:
            logits = contexts.logits()[:, : self.vocabulary.size]  # [R, V]
            refuse_broken(logits)
            for answer, rows in zip(writing, logits.split([len(answer.prompts) for answer in writing]), strict=True):
                self._write(answer, rows)
                if heard is not None:
                    heard(answer.index, answer.tokens[-1:])
            contexts.append([answer.tokens[-1] for answer in writing for _ in answer.prompts])
            contexts.keep([not answer.is_over for answer in writing for _ in answer.prompts])
            writing = [answer for answer in writing if not answer.is_over]
        return [answer.completed() for answer in answers]

    @torch.inference_mode()
    def score(self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> list[Scored]:
        """Log-probabilities and ranks of the tokens of answers; see ``ask.Backend.score``.

        Raises:
            InputError: prompt and answer are longer than the context.
        """
        for prompt, answer in zip(prompts, answers, strict=True):
            check_length(len(prompt), len(answer), self.context)
        scored = dict.fromkeys(range(len(answers)), NOTHING_SCORED)
        for prompt, numbers in behind_each(prompts, [n for n, answer in enumerate(answers) if answer]).items():
            scored |= zip(numbers, self._score(prompt, [answers[number] for number in numbers]), strict=True)
        return list(scored.values())

    def _write(self, answer: Answer, logits: Tensor) -> None:
        """Pick the next token of one answer from logits ``[1, V]``, or with guidance ``[2, V]``."""
        ask, state = answer.ask, answer.state
        row = logits[0].float() if ask.negative is None else guided(*logits, ask.sampling.guidance)  # [V]
        written = torch.tensor(answer.tokens, dtype=torch.int64, device=row.device)
        row = penalised(row, written, ask.sampling.repetition_penalty)
        allowed = range(self.vocabulary.size) if state is None else self.mask.allowed(state)
        if len(allowed) == 1:
            token = allowed[0]
        else:
            token = pick(row if state is None else _only(row, allowed), ask.sampling, answer.draws.next())
        answer.write(token, self.vocabulary, self.mask)

    def _score(self, prompt: Sequence[int], answers: Sequence[Sequence[int]]) -> Iterator[Scored]:
        """Read a prompt but for its last token; read on with each answer, and forget it again."""
        cache = DynamicCache(config=self.network.config)
        if len(prompt) > 1:
            self._read(prompt[:-1], cache)
        for answer in answers:
            hidden = self._read([prompt[-1], *answer[:-1]], cache)  # [L, D]
            cache.crop(-len(answer))
            yield judged(self._logits, hidden, answer)

    def _read(self, text: Sequence[int], cache: DynamicCache) -> Tensor:
        """Hidden states ``[L, D]`` behind the tokens of a text, which the cache has then."""
        tokens = torch.tensor([list(text)], device=self.network.device)
        return self.network.model(tokens, past_key_values=cache, use_cache=True).last_hidden_state[0]

    def _logits(self, hidden: Tensor) -> Tensor:
        return self.network.lm_head(hidden)[:, : self.vocabulary.size]  # [n, V]


class _Contexts:
    """R texts that grow together by a token each, padded on the left to L tokens; the network's cache of them."""

    def __init__(self, network: Qwen3ForCausalLM, texts: Sequence[Sequence[int]]) -> None:
        width = max(map(len, texts), default=0)
        self._network = network
        self._tokens = torch.tensor([[0] * (width - len(text)) + list(text) for text in texts], device=network.device)
        self._real = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts])
        self._real = self._real.to(network.device)  # [R, L]
        self._cache = DynamicCache(config=network.config)

    def logits(self) -> Tensor:
        """Of the token that comes next, ``[R, V]``; the network sees only what is new to it."""
        seen = self._cache.get_seq_length()
        positions = (self._real.cumsum(-1) - 1).clamp(min=0)
        return self._network(
            self._tokens[:, seen:],
            attention_mask=self._real,
            position_ids=positions[:, seen:],
            past_key_values=self._cache,
            logits_to_keep=1,
        ).logits[:, -1]

    def append(self, tokens: Sequence[int]) -> None:
        """One more token for each text."""
        new = torch.tensor(tokens, device=self._tokens.device)[:, None]  # [R, 1]
        self._tokens = torch.cat((self._tokens, new), 1)
        self._real = torch.cat((self._real, torch.ones_like(new)), 1)

    def keep(self, wanted: Sequence[bool]) -> None:
        """Leave out the texts that are not wanted any more."""
        if all(wanted):
            return
        rows = torch.tensor(wanted, device=self._tokens.device).nonzero()[:, 0]
        self._tokens, self._real = self._tokens[rows], self._real[rows]
        self._cache.batch_select_indices(rows)


def _only(logits: Tensor, allowed: Sequence[int]) -> Tensor:
    """Logits ``[V]`` with -inf for every token that is not allowed."""
    tokens = torch.tensor(allowed, dtype=torch.int64, device=logits.device)
    return torch.full_like(logits, -torch.inf).scatter_(0, tokens, logits[tokens])
