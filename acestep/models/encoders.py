"""The condition side of the DiT: caption states, lyric embeddings, reference latents in; one packed sequence out.

Packing puts the real tokens of an item first (lyrics, then timbre, then caption) and its padding last. Refuses to
know prompts, tokenizers and audio.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acestep.models.config import AceStepConfig
from acestep.models.layers import EncoderStack, unit_rows


class LyricEncoder(EncoderStack):
    """Bidirectional encoder of lyric token embeddings; padding is never attended."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__(config, config.text_hidden_dim, config.num_lyric_encoder_hidden_layers)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Encode ``hidden`` [B, L, text width] whose ``mask`` [B, L] is True at real tokens, which come first."""
        return self.transform(self.embed_tokens(hidden), _prefix_lengths(mask))  # [B, L, E]


class TimbreEncoder(EncoderStack):
    """One vector per reference recording: what the first position has heard.

    XL checkpoints put the learned ``special_token`` at that position; in the others it is in the file but unused, and
    the first audio frame takes its place.
    """

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__(config, config.timbre_hidden_dim, config.num_timbre_encoder_hidden_layers)
        self.special_token = unit_rows(1, 1, config.hidden_size)

    def forward(self, latents: Tensor) -> Tensor:
        """Encode reference ``latents`` [N, T, C] to [N, E]."""
        tokens = self.embed_tokens(latents)
        if self.config.prepends_timbre_token:
            tokens = torch.cat((self.special_token.expand(len(tokens), -1, -1), tokens), 1)
        return self.transform(tokens)[:, 0]


class ConditionEncoder(nn.Module):
    """``encoder.`` of a checkpoint: text projection, lyric encoder, timbre encoder and the packing of the three."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__()
        self.text_projector = nn.Linear(config.text_hidden_dim, config.hidden_size, bias=False)
        self.lyric_encoder = LyricEncoder(config)
        self.timbre_encoder = TimbreEncoder(config)

    def forward(
        self,
        text_hidden: Tensor,
        text_mask: Tensor,
        lyric_hidden: Tensor,
        lyric_mask: Tensor,
        refer_latents: Tensor,
        refer_index: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See ``AceStepModel.encode_conditions``."""
        text = self.text_projector(text_hidden)
        lyrics = self.lyric_encoder(lyric_hidden, lyric_mask)
        timbre, timbre_mask = scatter_references(self.timbre_encoder(refer_latents), refer_index, len(text))
        return pack(torch.cat((lyrics, timbre, text), 1), torch.cat((lyric_mask, timbre_mask, text_mask), 1))


def pack(sequence: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the valid rows of ``sequence`` [B, L, E] to the front, otherwise keeping their order.

    Returns:
        The sequence and the mask [B, L] that now covers a prefix of each row.
    """
    order = mask.int().argsort(dim=1, descending=True, stable=True)
    position = torch.arange(mask.shape[1], device=mask.device)
    return sequence.gather(1, order[..., None].expand_as(sequence)), position < mask.sum(1, keepdim=True)


def scatter_references(vectors: Tensor, index: Tensor, items: int) -> tuple[Tensor, Tensor]:
    """Give each item its own references: ``vectors`` [N, E] belong to the items ``index`` [N] names, in their order.

    Returns:
        [B, most references of one item, E], zero where an item has fewer, and the mask of real ones.
    """
    counts = index.bincount(minlength=items)  # [B]
    order = index.argsort(stable=True)
    owner = index[order]
    slot = torch.arange(len(index), device=index.device) - (counts.cumsum(0) - counts)[owner]
    most = int(counts.max())
    placed = vectors.new_zeros(items, most, vectors.shape[-1]).index_put((owner, slot), vectors[order])
    return placed, torch.arange(most, device=index.device) < counts[:, None]


def mask_if_padded(mask: Tensor) -> Tensor | None:
    """``mask``, or None when it is True everywhere and the faster unmasked path is exact.

    It looks at the values, so on a GPU it waits for them: call it once per song, outside of any captured graph.
    """
    return None if bool(mask.all()) else mask


def _prefix_lengths(mask: Tensor) -> list[int] | None:
    """How many tokens of each row are real; None when all are.

    Raises:
        ValueError: a row has padding in front of a real token.
    """
    counts = mask.sum(1, keepdim=True)
    if not torch.equal(mask, torch.arange(mask.shape[1], device=mask.device) < counts):
        raise ValueError("The lyric mask must be padded on the right.")
    return None if bool(mask.all()) else counts.flatten().tolist()
