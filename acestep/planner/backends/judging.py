"""How likely a network finds answers that it did not write: log-probabilities and ranks of their tokens.

In: prompts, the answers behind them. Out: a `Scored` for each answer. A prompt is read once however many answers
stand behind it: each of them is read on from there and then forgotten. All prompts are read together, and so are
their first answers, their second ones, and so on. Of the prompts no logits are found, of the answers those of a few
tokens at a time. Refuses to know what prompts and answers say.

Letters: R distinct prompts, n tokens of an answer, N of several, D width, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest

import torch
from torch import Tensor

from acestep.models.qwen3 import Cache, Qwen3Decoder
from acestep.planner.ask import Scored
from acestep.planner.backends.contexts import Text, one_or_more, read

Head = Callable[[Tensor], Tensor]  # hidden states [n, D] -> logits over the whole vocabulary [n, V]

NOTHING_SCORED = Scored(torch.empty(0), torch.empty(0, dtype=torch.int64))
_AT_ONCE = 64  # tokens of which logits are found together; over the published vocabulary they take 56 MB
_READ_AT_ONCE = 512  # tokens of each answer


def behind_each(prompts: Sequence[Sequence[int]], numbers: Iterable[int]) -> dict[Text, list[int]]:
    """The distinct prompts of some answers, and the numbers of those that stand behind each."""
    groups: dict[Text, list[int]] = defaultdict(list)
    for number in numbers:
        groups[tuple(prompts[number])].append(number)
    return groups


def judged(head: Head, hidden: Tensor, tokens: Sequence[int]) -> Scored:
    """How likely tokens are, each behind its hidden state ``[n, D]``."""
    wanted = torch.tensor(list(tokens), device=hidden.device)[:, None]  # [n, 1]
    parts = [
        _of_logits(head(states).float(), those)
        for states, those in zip(hidden.split(_AT_ONCE), wanted.split(_AT_ONCE), strict=True)
    ]
    log_probs, ranks = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
    return Scored(log_probs, ranks)


def score_answers(
    network: Qwen3Decoder, head: Head, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> list[Scored]:
    """All answers, each behind its prompt; see ``ask.Backend.score``."""
    scored = dict.fromkeys(range(len(answers)), NOTHING_SCORED)
    groups = behind_each(prompts, [number for number, answer in enumerate(answers) if answer])
    if groups:
        cache = _read_prompts(network, groups, answers)
        lengths = list(cache.lengths)
        for turn in zip_longest(*groups.values()):  # of each prompt the number of an answer, or None
            texts = [
                () if number is None else (prompt[-1], *answers[number][:-1])
                for prompt, number in zip(groups, turn, strict=True)
            ]
            hidden = _read_on(network, cache, texts)  # [N, D]
            cache.lengths = list(lengths)
            numbers = [number for number in turn if number is not None]
            scored |= zip(numbers, _judged_together(head, hidden, [answers[n] for n in numbers]), strict=True)
    return list(scored.values())


def _read_prompts(
    network: Qwen3Decoder, groups: Mapping[Text, Sequence[int]], answers: Sequence[Sequence[int]]
) -> Cache:
    """A row for each prompt, all but its last token read, with room for any answer behind it."""
    room = max(len(prompt) + len(answers[number]) for prompt, numbers in groups.items() for number in numbers)
    cache = network.new_cache(len(groups), room)
    read(network, cache, [prompt[:-1] for prompt in groups])
    return cache


def _read_on(network: Qwen3Decoder, cache: Cache, texts: Sequence[Text]) -> Tensor:
    """Read a text behind each row: hidden states behind all tokens of the first, then of the second ... [N, D]."""
    found: list[list[Tensor]] = [[] for _ in texts]
    for first in range(0, max(map(len, texts)), _READ_AT_ONCE):
        parts = {row: text[first : first + _READ_AT_ONCE] for row, text in enumerate(texts) if len(text) > first}
        counts = [len(part) for part in parts.values()]
        layout = one_or_more(cache, list(parts), counts, network.norm)
        tokens = torch.tensor([token for part in parts.values() for token in part], device=network.norm.device)
        hidden = network(tokens, layout, cache)
        for row, states in zip(parts, hidden.split(counts), strict=True):
            found[row].append(states)
            cache.lengths[row] += len(states)
    return torch.cat([states for row in found for states in row])


def _judged_together(head: Head, hidden: Tensor, answers: Sequence[Sequence[int]]) -> list[Scored]:
    """Several answers whose hidden states follow one another [N, D]."""
    together = judged(head, hidden, [token for answer in answers for token in answer])
    counts = [len(answer) for answer in answers]
    return list(map(Scored, together.log_probs.split(counts), together.ranks.split(counts)))


def _of_logits(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities and ranks ``[n]`` of tokens [n, 1] among logits [n, V] in fp32."""
    own = logits.gather(-1, wanted)  # [n, 1]
    return own[:, 0] - logits.logsumexp(-1), (logits >= own).sum(-1)
