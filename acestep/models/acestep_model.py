"""One ACE-Step 1.5 checkpoint as one module: its state dict has exactly the names and shapes of the published files.

Tensors in, tensors out; it may be built on the meta device and filled with ``load_state_dict(assign=True)``. Refuses
to know the text encoder and the VAE, which are checkpoints of their own, and when which of its parts is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acestep.models.config import AceStepConfig
from acestep.models.dit import DiT
from acestep.models.encoders import ConditionEncoder
from acestep.models.fsq import AudioDetokenizer, AudioTokenizer


class AceStepModel(nn.Module):
    """DiT (``decoder``), condition encoder (``encoder``), audio tokenizer and detokenizer, and the null condition.

    Inputs are cast to the type of the weights. E is the width of the condition sequence, C that of the latents.
    """

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder = DiT(config)
        self.encoder = ConditionEncoder(config.encoder)
        self.tokenizer = AudioTokenizer(config.encoder)
        self.detokenizer = AudioDetokenizer(config.encoder)
        self.null_condition_emb = nn.Parameter(torch.randn(1, 1, config.encoder_width))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, hence of the computation."""
        return self.null_condition_emb.dtype

    def encode_conditions(
        self,
        text_hidden: Tensor,
        text_mask: Tensor,
        lyric_hidden: Tensor,
        lyric_mask: Tensor,
        refer_latents: Tensor,
        refer_index: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Everything a song is asked to be, as the sequence the DiT's cross-attention reads.

        Args:
            text_hidden: last hidden states of the text prompt [B, Lt, text width].
            text_mask: True at its real tokens [B, Lt].
            lyric_hidden: token embeddings of the lyric prompt [B, Ll, text width].
            lyric_mask: True at its real tokens [B, Ll], padded on the right.
            refer_latents: reference recordings (or silence) [N, T, C].
            refer_index: which item each reference belongs to, long [N].

        Returns:
            The sequence [B, L, E] with the valid tokens first (lyrics, timbre, text), and the mask of those [B, L];
            L = Ll + most references of one item + Lt.

        Raises:
            ValueError: the lyric mask has padding in front of a real token.
        """
        return self.encoder(
            text_hidden.to(self.dtype),
            text_mask.bool(),
            lyric_hidden.to(self.dtype),
            lyric_mask.bool(),
            refer_latents.to(self.dtype),
            refer_index,
        )

    def null_conditions(self, like: Tensor) -> Tensor:
        """The sequence that stands for "no condition", as long as ``like`` [B, L, E]: one learned vector repeated.

        All its rows being equal, attention over any of them gives the same result: the mask of ``like`` serves it
        too, and padding cannot change it.
        """
        return self.null_condition_emb.expand_as(like)

    def latents_to_codes(self, latents: Tensor, silence: Tensor) -> Tensor:
        """Audio codes, long [B, ceil(T / 5)], of ``latents`` [B, T, C]; ``silence`` [1, >= 5, C] fills the last."""
        return self.tokenizer(latents.to(self.dtype), silence)

    def codes_to_latents(self, codes: Tensor) -> Tensor:
        """Latents [B, 5K, C] of audio ``codes``, long [B, K], each in 0 .. config.codebook_size - 1."""
        return self.detokenizer(self.tokenizer.quantizer.decode(codes))

    def semantic_round_trip(self, latents: Tensor, silence: Tensor) -> Tensor:
        """What the codes keep of ``latents`` [B, T, C]: the source of a cover. ``silence`` as above."""
        return self.codes_to_latents(self.latents_to_codes(latents, silence))[:, : latents.shape[1]]
