"""The texts a decoder has before it: a row of its cache for every prompt of every answer, negative ones included.

In: answers. Out: hidden states behind the last token of each row. A prompt is read once however often it occurs, and
so is what the prompts of one kind have in common: songs of one request differ in little. Refuses to know the head,
grammars and how tokens are picked.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acestep.models.qwen3 import Cache, Layout, Pieces, Qwen3Decoder, Step
from acestep.planner.backends.answer import Answer

Text = tuple[int, ...]
_READ_AT_ONCE = 512  # tokens of each row


class Contexts:
    """Rows that grow: first those of the prompts, one for each answer, then those of the negative prompts.

    Args:
        network: that reads.
        answers: none of them over.

    Attributes:
        answers: that are still being written.
        cache: of the rows.
    """

    def __init__(self, network: Qwen3Decoder, answers: Sequence[Answer]) -> None:
        self.network, self.answers = network, list(answers)
        families = [[answer.ask.prompt for answer in answers]]
        families += [[answer.ask.negative for answer in answers if answer.ask.negative is not None]]
        room = max(len(prompt) for family in families for prompt in family) + max(a.ask.most for a in answers)
        self.cache = read_prompts(network, [family for family in families if family], room)

    @property
    def rows(self) -> list[tuple[Answer, Text]]:
        """Of each row the answer and the prompt it is written behind."""
        prompts = [(answer, answer.ask.prompt) for answer in self.answers]
        return prompts + [(answer, answer.ask.negative) for answer in self.answers if answer.ask.negative is not None]

    @property
    def guided(self) -> list[int]:
        """Of each row behind those of the prompts the number of its answer."""
        return [number for number, answer in enumerate(self.answers) if answer.ask.negative is not None]

    def unread(self) -> list[list[int]]:
        """What the network has not yet read of each row: at least one token."""
        return [
            [*prompt[read:], *answer.tokens[max(0, read - len(prompt)) :]]
            for (answer, prompt), read in zip(self.rows, self.cache.lengths, strict=True)
        ]

    def read(self) -> Tensor:
        """Read all that is unread: hidden states behind the last token of each row ``[R, D]``."""
        return read(self.network, self.cache, self.unread())

    def read_all_but_last(self) -> None:
        """Leave one token of each row unread."""
        texts = [text[:-1] for text in self.unread()]
        if any(texts):
            read(self.network, self.cache, texts)

    def take_back(self, counts: Sequence[int]) -> None:
        """Forget so many of the last tokens read behind each answer's prompts."""
        lost = {answer.index: count for answer, count in zip(self.answers, counts, strict=True)}
        owners = [answer.index for answer, _ in self.rows]
        self.cache.lengths = [length - lost[owner] for owner, length in zip(owners, self.cache.lengths, strict=True)]

    def keep(self, answers: Sequence[Answer]) -> None:
        """Let go of the rows of all other answers."""
        if len(answers) < len(self.answers):
            wanted = {answer.index for answer in answers}
            self.cache = self.cache.take([row for row, (a, _) in enumerate(self.rows) if a.index in wanted])
            self.answers = list(answers)


def read_prompts(network: Qwen3Decoder, families: Sequence[Sequence[Text]], room: int) -> Cache:
    """A cache with a row for each text, family after family, all but its last token read.

    Args:
        families: texts that begin alike.
        room: tokens of a row.
    """
    families = [[text[:-1] for text in family] for family in families]
    distinct = [list(dict.fromkeys(family)) for family in families]
    stems = [_common_start(texts) for texts in distinct]
    texts = [(family, text) for family, texts in enumerate(distinct) for text in texts]
    longest = max(len(text) for _, text in texts)
    cache = network.new_cache(len(stems), longest)
    read(network, cache, stems)
    cache = cache.take([family for family, _ in texts], longest)
    read(network, cache, [text[len(stems[family]) :] for family, text in texts])
    row_of = {named: row for row, named in enumerate(texts)}
    return cache.take([row_of[family, text] for family, texts in enumerate(families) for text in texts], room)


def read(network: Qwen3Decoder, cache: Cache, texts: Sequence[Sequence[int]]) -> Tensor:
    """Read a text behind each row; hidden states behind the last token [R, D], zero where there was no text."""
    device = network.norm.device
    last = torch.zeros(len(texts), network.sizes.hidden_size, dtype=network.norm.dtype, device=device)
    for first in range(0, max(map(len, texts)), _READ_AT_ONCE):
        parts = {row: text[first : first + _READ_AT_ONCE] for row, text in enumerate(texts) if len(text) > first}
        rows, counts = list(parts), [len(part) for part in parts.values()]
        layout = one_or_more(cache, rows, counts, network.norm)
        tokens = torch.tensor([token for part in parts.values() for token in part], device=device)
        hidden = network(tokens, layout, cache)  # [N, D]
        last[rows] = hidden[torch.tensor(counts, device=device).cumsum(0) - 1]
        for row, count in zip(rows, counts, strict=True):
            cache.lengths[row] += count
    return last


def one_or_more(cache: Cache, rows: Sequence[int], counts: Sequence[int], like: Tensor) -> Layout:
    """Where the next tokens of some rows stand. A GPU would rather do all rows at once than less work row by row."""
    starts = [cache.lengths[row] for row in rows]
    if like.is_cuda and list(counts) == [1] * len(cache.lengths):
        return Step(torch.tensor(starts, device=like.device), max(starts) + 1, like)
    return Pieces(rows, starts, counts, like)


def _common_start(texts: Sequence[Text]) -> Text:
    same = 0
    for column in zip(*texts, strict=False):
        if len(set(column)) > 1:
            break
        same += 1
    return texts[0][:same]
