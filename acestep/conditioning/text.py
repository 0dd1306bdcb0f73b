"""Prompts become embeddings: a causal Qwen3 embedding model reads the caption, its embedding table the lyrics.

In: prompt strings. Out: token ids and ``[1, L, D]`` states. Refuses to know what prompts say and where weights lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from acestep.constants import CAPTION_TOKENS_MAX, LYRICS_TOKENS_MAX
from acestep.errors import InputError, WeightsError
from acestep.models.qwen3 import Pieces, Qwen3Decoder
from acestep.scoring.timestamps import token_texts

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """Token ids of one song's two prompts."""

    text: tuple[int, ...]
    lyric: tuple[int, ...]


def made_plain(tokenizer: Tokenizer, end: str, reader: str) -> int:
    """Id of the token ``end``; from now on the tokenizer neither cuts nor pads, for too long a prompt is an error.

    Raises:
        WeightsError: the tokenizer of ``reader`` has no such token.
    """
    number = tokenizer.token_to_id(end)
    if number is None:
        raise WeightsError(f"The tokenizer of the {reader} has no {end} token.")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return number


class PromptTokenizer:
    """Turns prompts into ids as the published tokenizer does, but never reads a control token out of user text.

    Args:
        tokenizer: a byte-level BPE whose vocabulary holds ``<|endoftext|>``.

    Raises:
        WeightsError: the vocabulary lacks the end marker.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._end = made_plain(tokenizer, END_OF_TEXT, "text encoder")
        tokenizer.encode_special_tokens = True  # "<|...|>" typed by a user is plain text
        self._tokenizer = tokenizer

    @property
    def size(self) -> int:
        """Number of tokens, added ones included."""
        return self._tokenizer.get_vocab_size()

    def __call__(self, text_prompt: str, lyric_prompt: str) -> PromptTokens:
        """Ids of both prompts, each with its end markers.

        Raises:
            InputError: a prompt is longer than the networks read (256 and 2,048 tokens); says both counts.
        """
        newline = self._ids("\n")
        text = (*self._ids(text_prompt), self._end, *newline, self._end)
        lyric = (*self._ids(lyric_prompt), self._end, self._end)
        _check_length("caption", text, CAPTION_TOKENS_MAX)
        _check_length("lyrics", lyric, LYRICS_TOKENS_MAX)
        return PromptTokens(text, lyric)

    def texts(self, ids: Sequence[int]) -> tuple[str, ...]:
        """What each token of a text adds to those before it."""
        return token_texts(self._tokenizer, ids)

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids


def _check_length(field: str, ids: Sequence[int], most: int) -> None:
    if len(ids) > most:
        raise InputError(
            f"Tokenization error: {field} makes a prompt of {len(ids)} tokens, the model reads at most {most}; "
            f"shorten it by about {len(ids) - most} tokens.",
            field=field,
            value=len(ids),
        )


class TextEncoder(nn.Module):
    """The two uses of the text network."""

    def __init__(self, network: Qwen3Decoder) -> None:
        super().__init__()
        self.network = network

    def caption_states(self, ids: Sequence[int]) -> Tensor:
        """Last hidden states of the text prompt, ``[1, L, D]``."""
        cache = self.network.new_cache(1, len(ids))
        return self.network(self._tensor(ids), Pieces([0], [0], [len(ids)], cache.keys), cache)[None]

    def lyric_states(self, ids: Sequence[int]) -> Tensor:
        """Rows of the embedding table, no context, ``[1, L, D]``."""
        return self.network.table(self._tensor(ids))[None]

    def _tensor(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor(ids, dtype=torch.long, device=self.network.norm.device)  # [L]
