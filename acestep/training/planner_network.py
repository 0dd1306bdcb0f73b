"""The embedded planner as it is trained: codes spelled in digits, and ears that only training has.

In: token ids, examples. Out: states, logits, how well the states know what is true of the songs; the weights of a run
as inference has them. Refuses to know how examples are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3Model

from acestep.constants import FRAMES_PER_CODE, LATENT_RATE
from acestep.models.config import AceStepConfig
from acestep.training.claims import digest_of_sizes
from acestep.training.learn.trainer import averaged_weights
from acestep.training.lm_examples import CodedSong, LmExample, song_text
from acestep.training.sizes import PLANNER, TRANSFORMER
from acestep.training.songs import LONGEST_S
from acestep.training.train_fsq import hearing_shares
from acestep.training.truth import FRAME_FACTS, SONG_FACTS, TEMPO, frame_facts, song_facts

EMBEDDINGS = "embed_tokens.weight"
TEMPO_SHARE = 5.0  # of the tempo's angles among the facts of a song
GRID_SHARE = 4.0  # of the place in beat and bar among the facts of a frame
LONGEST_FRAMES = math.ceil(LONGEST_S * LATENT_RATE) + FRAMES_PER_CODE


class PlannerNetwork(nn.Module):
    """The planner, and what only training has.

    Codes are spelled in digits: the vector of a code is a part of its own plus one for each of its digits, so what is
    learnt of a code is learnt of all codes that are like it.

    Attributes:
        model: the planner; of codes, its embeddings are those parts of their own.
        spelling: vectors of the digits ``[dims, D]``.
        song_ear: hears in the state before the first code what is true of the song that will be played.
        next_ear: hears in the state before every code what is true of the frames that this code will stand for: what
            to play next, and where in the bar that is.

    Args:
        rows: embeddings; the last of them are the codes.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.model = Qwen3Model(Qwen3Config(**PLANNER, vocab_size=rows, attn_implementation="sdpa"))
        width, deviation = self.model.config.hidden_size, self.model.config.initializer_range
        digits = embedded_digits()
        self.register_buffer("digits", digits, persistent=False)
        self.spelling = nn.Parameter(torch.randn(digits.shape[1], width) * deviation / digits.shape[1] ** 0.5)
        self.song_ear = nn.Linear(width, SONG_FACTS)
        self.next_ear = nn.Linear(width, FRAMES_PER_CODE * FRAME_FACTS)

    def states(self, tokens: Tensor) -> Tensor:
        """``[B, L, D]`` behind tokens ``[B, L]``. Attention is causal, so nothing sees the padding."""
        return self.model(inputs_embeds=F.embedding(tokens, self.table()), use_cache=False).last_hidden_state

    def logits(self, states: Tensor) -> Tensor:
        """``[..., vocabulary]`` of the next token; the head is the embedding table."""
        return F.linear(states, self.table())

    def table(self) -> Tensor:
        """Embeddings ``[vocabulary, D]``."""
        return spelled_out(self.model.embed_tokens.weight, self.digits, self.spelling)

    @torch.no_grad()
    def read_spelling(self) -> None:
        """Take spelled-out embeddings in ``model`` apart again: what all codes with a digit have in common is its
        vector, by least squares; the rest is the codes' own."""
        codes = self.model.embed_tokens.weight[-len(self.digits) :]
        self.spelling.copy_(torch.linalg.lstsq(self.digits, codes).solution)
        codes -= self.digits @ self.spelling

    def ears_error(self, states: Tensor, examples: Sequence[LmExample]) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the facts heard in ``states`` ``[B, L, D]``: of songs, and of what comes next."""
        played = [(row, one) for row, one in zip(states, examples, strict=True) if one.song is not None]
        befores = [row[(end := len(one) - 2) - one.codes : end] for row, one in played]  # [K, D] before every code
        songs = torch.stack([before[0] for before in befores])
        facts = torch.stack([torch.from_numpy(song_facts(song_text(one.song.seed).record)) for _, one in played])
        nexts = torch.cat([_next_facts(one.song, one.codes) for _, one in played]).to(states)
        told = self.next_ear(torch.cat(befores)).view_as(nexts)
        return (
            F.binary_cross_entropy_with_logits(self.song_ear(songs), facts.to(states), _song_shares().to(states)),
            F.binary_cross_entropy_with_logits(told, nexts, _frame_shares().to(states)),
        )


def spelled_out(own: Tensor, digits: Tensor, spelling: Tensor) -> Tensor:
    """``own`` ``[vocabulary, D]`` with what ``spelling`` makes of the ``digits`` added to its last rows."""
    words, codes = own.tensor_split([len(own) - len(digits)])
    return torch.cat([words, codes + digits @ spelling])


def code_digits(levels: Sequence[int]) -> Tensor:
    """The digits of every code as values in [-1, 1], ``[codes, dims]``, the first digit changing fastest."""
    spans = [torch.linspace(-1, 1, level) for level in reversed(levels)]
    return torch.cartesian_prod(*spans).view(-1, len(levels)).flip(1)


def embedded_digits() -> Tensor:
    """The digits of every code of the embedded family, ``[codes, dims]``."""
    return code_digits(AceStepConfig.from_dict(TRANSFORMER).encoder.fsq_input_levels)


def _next_facts(song: CodedSong, codes: int) -> Tensor:
    """Facts ``[codes, FRAMES_PER_CODE, FRAME_FACTS]`` of what the first codes of a song stand for."""
    frames = frame_facts(song.seed, LONGEST_FRAMES)[song.late :][: codes * FRAMES_PER_CODE]
    return torch.from_numpy(frames).unflatten(0, (codes, FRAMES_PER_CODE))


def _song_shares() -> Tensor:
    """How much every fact counts, ``[SONG_FACTS]``, mean 1."""
    shares = torch.ones(SONG_FACTS)
    shares[TEMPO] = TEMPO_SHARE
    return shares / shares.mean()


def _frame_shares() -> Tensor:
    """How much every fact counts, ``[FRAME_FACTS]``."""
    heard = hearing_shares()
    return torch.cat([heard, torch.full((FRAME_FACTS - len(heard),), GRID_SHARE)])


def digest_of_planner() -> str:
    """Of everything that decides what a planner's weights mean."""
    return digest_of_sizes(PLANNER)


def planner_weights(folder: Path) -> dict[str, Tensor]:
    """The averaged weights of a run's planner as inference has them.

    Raises:
        WeightsError: the folder holds no checkpoint.
    """
    prefix, trained = "model.", averaged_weights(folder)
    weights = {name.removeprefix(prefix): one for name, one in trained.items() if name.startswith(prefix)}
    return {**weights, EMBEDDINGS: spelled_out(weights[EMBEDDINGS], embedded_digits(), trained["spelling"])}
