"""The native backend: our own decoder and loop, the fastest way to a plan for a few songs at once.

In: asks. Out: answers, the tokens that ``pt`` gives. What a grammar forces is read together with the next token that
is not forced, and costs no head; where few tokens are allowed, only their rows of the head are multiplied; codes are
written by ``codes_run``. Refuses to know prompts, and what answers mean.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from acestep.checkpoints.language import load_vocabulary
from acestep.checkpoints.qwen3 import load_decoder
from acestep.models.qwen3 import Qwen3Decoder, Table
from acestep.planner.ask import Ask, Completion, Heard, Scored
from acestep.planner.backends.answer import Answer, check_length, refuse_too_long
from acestep.planner.backends.codes_run import CodesRun, Play, repeat, walk
from acestep.planner.backends.contexts import Contexts
from acestep.planner.backends.cuda_graph import Recording
from acestep.planner.backends.judging import score_answers
from acestep.planner.backends.threads import threads_that_pay
from acestep.planner.grammar import Key, State
from acestep.planner.pick import guided, penalised, pick, refuse_broken
from acestep.planner.token_mask import TokenMask
from acestep.planner.vocabulary import Vocabulary

_FEW = 8  # of a stretch of the head no more than one in so many rows are taken out; else all are multiplied
_REMEMBERED = 32  # sets of allowed tokens, of up to 1.2 MB each


def load_native(folder: Path, device: torch.device | str, dtype: torch.dtype, context: int = 8192) -> NativeBackend:
    """The native backend with the planner in ``folder``.

    Args:
        context: as in `NativeBackend`.

    Raises:
        WeightsError: files are missing or broken, or vocabulary and network do not fit.
    """
    network = load_decoder(folder, dtype, torch.device(device))
    vocabulary = load_vocabulary(folder, network.sizes.vocab_size)
    return NativeBackend(network, vocabulary, context=context)


class NativeBackend:
    """A language model that answers, see ``ask.Backend``.

    Args:
        network: where it computes.
        vocabulary: of the network.
        context: tokens of prompt and answer at most; never more than the network has positions for.
        cuda_graphs: record a step of codes and play it back; only where a GPU computes.

    Attributes:
        mask: which tokens a state of a grammar allows.
    """

    name = "native"

    def __init__(
        self, network: Qwen3Decoder, vocabulary: Vocabulary, *, context: int = 8192, cuda_graphs: bool = False
    ) -> None:
        self.network, self.vocabulary = network, vocabulary
        self.mask = TokenMask(vocabulary.pieces, vocabulary.text)
        self.context = min(context, network.sizes.max_position_embeddings)
        cut = min(vocabulary.end_of_turn, vocabulary.first_code)
        self._text, self._codes = range(cut), range(cut, vocabulary.size)
        self._choices: OrderedDict[Key | None, _Choices] = OrderedDict()
        self._cuda_graphs = cuda_graphs

    @torch.inference_mode()
    def complete(self, asks: Sequence[Ask], heard: Heard | None = None) -> list[Completion]:
        """Answer all asks; see ``ask.Backend.complete``.

        Raises:
            InputError: prompt and answer are longer than the context.
            GenerationError: the network gave NaN or infinity.
        """
        refuse_too_long(asks, self.context)
        self._settle()
        with threads_that_pay(self.network):
            return self._complete(asks, heard)

    def _complete(self, asks: Sequence[Ask], heard: Heard | None) -> list[Completion]:
        answers = [Answer.of(index, ask) for index, ask in enumerate(asks)]
        for answer in answers:
            self._write(answer, [])
        writing = self._told(answers, heard)
        if writing:
            contexts = Contexts(self.network, writing)
            while contexts.answers:
                self._write_on(contexts, heard)
                contexts.keep(self._told(contexts.answers, heard))
        return [answer.completed() for answer in answers]

    @torch.inference_mode()
    def score(self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> list[Scored]:
        """Log-probabilities and ranks of the tokens of answers; see ``ask.Backend.score``.

        Raises:
            InputError: prompt and answer are longer than the context.
        """
        for prompt, answer in zip(prompts, answers, strict=True):
            check_length(len(prompt), len(answer), self.context)
        self._settle()
        return score_answers(self.network, self._logits, prompts, answers)

    def _settle(self) -> None:
        """Prepare the weights. The head of texts is packed in 16 bits only: there the table itself stays mapped."""
        halves = self.network.norm.dtype.itemsize == 2
        stretches = [self._codes, *([self._text] if halves else [])]
        self.network.settle([stretch for stretch in stretches if stretch])

    def _player(self) -> Play:
        """What takes the steps of a run of codes."""
        if not self.network.norm.is_cuda:
            return walk
        return Recording() if self._cuda_graphs else repeat

    def _told(self, answers: Sequence[Answer], heard: Heard | None) -> list[Answer]:
        """Tell the listener what is new; the answers that go on."""
        for answer in answers:
            if heard is not None and answer.told < len(answer.tokens):
                heard(answer.index, answer.tokens[answer.told :])
            answer.told = len(answer.tokens)
        return [answer for answer in answers if not answer.is_over]

    def _write(self, answer: Answer, tokens: Sequence[int]) -> None:
        """Add tokens up to the end of the answer, and what has to follow them."""
        for token in tokens:
            if not answer.is_over:
                answer.write(token, self.vocabulary, self.mask)
        while not answer.is_over and answer.state is not None and answer.codes is None:
            allowed = self.mask.allowed(answer.state)
            if len(allowed) > 1:
                break
            answer.write(allowed[0], self.vocabulary, self.mask)

    def _write_on(self, contexts: Contexts, heard: Heard | None) -> None:
        """A token for each answer, and what has to follow it; or codes, where all answers are at that."""
        if all(answer.codes for answer in contexts.answers):
            self._write_codes(contexts, heard)
            return
        hidden = contexts.read()  # [R, D]
        negatives = iter(hidden[len(contexts.answers) :])
        for answer, row in zip(contexts.answers, hidden, strict=False):
            rows = [row] if answer.ask.negative is None else [row, next(negatives)]
            self._write(answer, [self._pick(answer, torch.stack(rows))])

    def _write_codes(self, contexts: Contexts, heard: Heard | None) -> None:
        """Codes, run after run, for as long as every answer goes on in the stretch it is in."""
        contexts.read_all_but_last()
        ends, first = self.vocabulary.end_of_turn, self.vocabulary.first_code
        run = CodesRun(contexts, self._codes, ends, first, self._player())
        stretches = [answer.state.index for answer in contexts.answers]
        while [answer.state.index for answer in contexts.answers if answer.codes] == stretches:
            written = run.write()
            meant = [tokens[: tokens.index(ends) + 1] if ends in tokens else tokens for tokens in written]
            spare = [len(tokens) - len(kept) for tokens, kept in zip(written, meant, strict=True)]
            contexts.take_back(spare)
            for answer, tokens, count in zip(contexts.answers, meant, spare, strict=True):
                answer.draws.take_back(count)
                self._write(answer, tokens)
            if len(self._told(contexts.answers, heard)) < len(stretches):
                return

    def _pick(self, answer: Answer, hidden: Tensor) -> int:
        """The next token of an answer behind hidden states [1, D], or with guidance [2, D]."""
        choices, sampling = self._choices_of(answer.state), answer.ask.sampling
        logits = choices.logits(self.network.table, hidden)  # [1 or 2, K]
        refuse_broken(logits)
        row = logits[0].float() if len(logits) == 1 else guided(*logits, sampling.guidance)  # [K]
        if sampling.repetition_penalty != 1:
            row = penalised(row, choices.places(answer.tokens), sampling.repetition_penalty)
        return int(choices.tokens[pick(row, sampling, answer.draws.next())])

    def _choices_of(self, state: State | None) -> _Choices:
        key = None if state is None else state.key
        choices = self._choices.pop(key, None)
        if choices is None:
            allowed = range(self.vocabulary.size) if state is None else self.mask.allowed(state)
            choices = _Choices.of(allowed, (self._text, self._codes), self.network.norm.device)
        self._choices[key] = choices
        if len(self._choices) > _REMEMBERED:
            self._choices.popitem(last=False)
        return choices

    def _logits(self, hidden: Tensor) -> Tensor:
        """Over the whole vocabulary behind hidden states [n, D]: ``[n, V]``."""
        stretches = [self.network.table.logits(hidden, stretch) for stretch in (self._text, self._codes) if stretch]
        return torch.cat(stretches, -1)


@dataclass(frozen=True, slots=True)
class _Choices:
    """The tokens one is picked from, and how their logits are found.

    Attributes:
        tokens: in order ``[K]``.
        parts: stretches of the head with the places in them that are wanted; a few tokens without their stretch.
    """

    tokens: Tensor
    parts: tuple[tuple[range | None, Tensor], ...]

    @classmethod
    def of(cls, allowed: Sequence[int], stretches: Sequence[range], device: torch.device) -> _Choices:
        """Of tokens in any order."""
        tokens = np.sort(np.asarray(allowed, dtype=np.int64))
        parts = []
        for stretch in stretches:
            low, high = np.searchsorted(tokens, (stretch.start, stretch.stop))
            few = (high - low) * _FEW < len(stretch)
            if low < high:
                inside = torch.from_numpy(tokens[low:high] - (0 if few else stretch.start)).to(device)
                parts.append((None if few else stretch, inside))
        return cls(torch.from_numpy(tokens).to(device), tuple(parts))

    def logits(self, table: Table, hidden: Tensor) -> Tensor:
        """Behind hidden states [r, D]: ``[r, K]``."""
        found = [
            table.logits_of(hidden, inside) if stretch is None else table.logits(hidden, stretch)[:, inside]
            for stretch, inside in self.parts
        ]
        return found[0] if len(found) == 1 else torch.cat(found, -1)

    def places(self, written: Sequence[int]) -> Tensor:
        """Where those of some tokens stand that are among these."""
        wanted = torch.tensor(sorted(set(written)), dtype=torch.int64, device=self.tokens.device)
        places = torch.searchsorted(self.tokens, wanted).clamp(max=len(self.tokens) - 1)
        return places[self.tokens[places] == wanted]
