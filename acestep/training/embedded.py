"""The embedded family as one module to train: transformer, condition encoder and text encoder together.

In: ``Example``s. Out: a ``FlowBatch``: prompts embedded, conditions packed, songs padded. Refuses to know files.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import Qwen3Config, Qwen3Model

from acestep.conditioning.context import SilenceLatents
from acestep.constants import TIMBRE_FRAMES
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import AceStepConfig
from acestep.models.encoders import mask_if_padded, pack
from acestep.training.examples import Example, region_mask
from acestep.training.learn.flow import FlowBatch
from acestep.training.sizes import LANGUAGE_MODEL, TRANSFORMER


class EmbeddedModel(nn.Module):
    """What the DiT trainer trains. Tokenizer and detokenizer of the semantic codes are part of it, and frozen.

    Args:
        vocabulary: tokens of the text encoder.
        distilled: True for the few-step model.
    """

    def __init__(self, vocabulary: int, *, distilled: bool = False) -> None:
        super().__init__()
        self.model = AceStepModel(AceStepConfig.from_dict({**TRANSFORMER, **variant(distilled)}))
        self.text = Qwen3Model(Qwen3Config(**LANGUAGE_MODEL, vocab_size=vocabulary, attn_implementation="sdpa"))
        for part in (self.model.tokenizer, self.model.detokenizer):
            part.requires_grad_(False)

    def batch(self, examples: Sequence[Example], silence: Tensor) -> FlowBatch:
        """Examples as one batch on this module's device.

        Args:
            silence: latents of silence ``[1, frames, C]``.
        """
        device = self.model.null_condition_emb.device
        quiet = SilenceLatents(silence.to(device))
        contexts = [self._context(example, quiet) for example in examples]
        target = pad_sequence([example.target.to(device) for example in examples], batch_first=True)
        states, mask = self._conditions(examples, quiet)
        frames = [len(example.target) for example in examples]
        return FlowBatch(target, pad_sequence(contexts, batch_first=True), states, mask, frames)

    @torch.no_grad()
    def _context(self, example: Example, quiet: SilenceLatents) -> Tensor:
        """Source beside mask, ``[T, 2 C]``; what is to be made is silent in a source that is given."""
        frames = len(example.target)
        silent = quiet.first(frames)[0]
        source = silent if example.source is None else example.source.to(silent)
        if example.semantic:
            source = self.model.semantic_round_trip(source[None], quiet.first(TIMBRE_FRAMES))[0]
        mask = region_mask(frames, example.region).to(silent)[:, None]
        if example.region is not None:
            source = torch.where(mask > 0, silent, source)
        return torch.cat([source, mask.expand_as(source)], dim=-1)

    def _conditions(self, examples: Sequence[Example], quiet: SilenceLatents) -> tuple[Tensor, Tensor]:
        encoder = self.model.encoder
        text, text_mask = self._ids([example.tokens.text for example in examples])
        lyric, lyric_mask = self._ids([example.tokens.lyric for example in examples])
        caption = self.text(input_ids=text, use_cache=False).last_hidden_state  # causal: no padding is seen
        lyrics = encoder.lyric_encoder(self.text.get_input_embeddings()(lyric), lyric_mask)
        timbre = self._timbres(examples, quiet)[:, None]  # [B, 1, E]
        sequence = torch.cat([lyrics, timbre, encoder.text_projector(caption)], dim=1)
        mask = torch.cat([lyric_mask, lyric_mask.new_ones(len(examples), 1), text_mask], dim=1)
        states, mask = pack(sequence, mask)
        most = int(mask.sum(1).max())
        return states[:, :most], mask_if_padded(mask[:, :most])

    def _timbres(self, examples: Sequence[Example], quiet: SilenceLatents) -> Tensor:
        """``[B, E]``; silence is heard once for all who have no reference."""
        heard = [example.reference for example in examples if example.reference is not None]
        recordings = torch.stack([quiet.first(TIMBRE_FRAMES)[0], *[one.to(quiet.first(1)) for one in heard]])
        vectors = self.model.encoder.timbre_encoder(recordings)
        order = iter(range(1, len(recordings)))
        rows = [0 if example.reference is None else next(order) for example in examples]
        return vectors[torch.tensor(rows, device=vectors.device)]

    def _ids(self, sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Ids ``[B, L]`` padded on the right, and their mask."""
        device = self.model.null_condition_emb.device
        rows = [torch.tensor(ids, device=device) for ids in sequences]
        lengths = torch.tensor([len(row) for row in rows], device=device)
        ids = pad_sequence(rows, batch_first=True)
        return ids, torch.arange(ids.shape[1], device=device) < lengths[:, None]


def variant(distilled: bool) -> dict[str, object]:
    """The keys of ``config.json`` that say how a model is run."""
    return {"is_turbo": distilled, "model_version": "turbo" if distilled else "base"}
