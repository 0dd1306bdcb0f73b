"""The embedded family as one module to train: transformer, condition encoder and text encoder together.

In: ``Example``s. Out: a ``FlowBatch``: prompts embedded, conditions packed, songs padded; and how much text encoder
and transformer know of what is true of the songs, and where its heads look. Refuses to know files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import Qwen3Config, Qwen3Model

from acestep.conditioning.context import SilenceLatents
from acestep.constants import LATENT_RATE, TIMBRE_FRAMES
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import AceStepConfig
from acestep.models.encoders import mask_if_padded, pack
from acestep.models.layers import rotary_frequencies
from acestep.training.claims import digest_of_sizes
from acestep.training.examples import Example, region_mask
from acestep.training.guided_attention import Look, looks_of
from acestep.training.learn.flow import FlowBatch
from acestep.training.sizes import LANGUAGE_MODEL, TRANSFORMER
from acestep.training.truth import FRAME_FACTS, GRID, SONG_FACTS

PLACE_SHARE = 8.0  # of the place in beat and bar among the facts of a frame: little else shows it in a noisy song


@dataclass(frozen=True, slots=True)
class Overheard:
    """What is heard of a forward.

    Attributes:
        tokens: ``[B, N, D]`` behind the first layer of the transformer, and in its middle.
        looks: of the layers between.
    """

    tokens: list[Tensor]
    looks: list[Look]


class EmbeddedModel(nn.Module):
    """What the DiT trainer trains.

    The tokenizer of the semantic codes is part of it, and frozen; the detokenizer learns to say what the transformer
    needs. The ears are for training alone: ``song_ear`` hears the mean of the caption's states, ``beat_ear`` the
    tokens behind the first layer of the transformer, ``frame_ear`` those in its middle; heads of the layers between
    are shown where to look.

    Args:
        vocabulary: tokens of the text encoder.
        distilled: True for the few-step model.
    """

    def __init__(self, vocabulary: int, *, distilled: bool = False) -> None:
        super().__init__()
        self.model = AceStepModel(AceStepConfig.from_dict({**TRANSFORMER, **variant(distilled)}))
        self.text = Qwen3Model(Qwen3Config(**LANGUAGE_MODEL, vocab_size=vocabulary, attn_implementation="sdpa"))
        self.model.tokenizer.requires_grad_(False)
        config = self.model.config
        self.song_ear = nn.Linear(self.text.config.hidden_size, SONG_FACTS)
        self.frame_ear = nn.Linear(config.hidden_size, config.patch_size * FRAME_FACTS)
        self.beat_ear = nn.Linear(config.hidden_size, config.head_dim)
        shares = torch.ones(FRAME_FACTS)
        shares[GRID] = PLACE_SHARE
        self.register_buffer("shares", shares / shares.mean(), persistent=False)

    @contextmanager
    def overheard(self) -> Iterator[Overheard]:
        """What the ears hear of one forward inside the block."""
        layers = self.model.decoder.layers
        middle, seen = len(layers) // 2, []
        hooks = [
            layers[index].register_forward_hook(lambda _layer, _given, tokens: seen.append(tokens))
            for index in (0, middle)
        ]
        try:
            with looks_of(layers[1:middle], self.model.config.sliding_window) as looks:
                yield Overheard(seen, looks)
        finally:
            for hook in hooks:
                hook.remove()

    def facts_error(self, tokens: Tensor, examples: Sequence[Example]) -> Tensor:
        """Cross-entropy of what tokens ``[B, N, D]`` tell about the frames; 0 if no example is a whole song."""
        told = self.frame_ear(tokens).unflatten(-1, (-1, FRAME_FACTS)).flatten(1, 2)  # [B, T, FRAME_FACTS]
        heard = [
            F.binary_cross_entropy_with_logits(logits[: len(example.facts)], example.facts.to(logits), self.shares)
            for logits, example in zip(told, examples, strict=True)
            if example.facts is not None
        ]
        return torch.stack(heard).mean() if heard else told.new_zeros(())

    def beats_error(self, tokens: Tensor, examples: Sequence[Example]) -> Tensor:
        """Mean squared error of what tokens ``[B, N, D]`` tell about the tempo they are asked for; 0 if all are free.

        It is told as what a query has to know to look a beat back: how far every rotary pair turns in one beat.
        """
        turns = self._beats(examples)[:, None] * rotary_frequencies(self.model.config, tokens.device)  # [B, d / 2]
        wanted = torch.cat([turns.cos(), turns.sin()], dim=-1)
        errors = [
            (told[: self._tokens(example)] - there).square().mean()
            for told, there, example in zip(self.beat_ear(tokens), wanted, examples, strict=True)
            if example.bpm is not None
        ]
        return torch.stack(errors).mean() if errors else tokens.new_zeros(())

    def looks_error(self, looks: Sequence[Look], examples: Sequence[Example]) -> Tensor:
        """How far the guided heads look elsewhere than a beat away, where examples say how far that is; 0 if a
        transformer is so shallow that there are none."""
        beats, lengths = self._beats(examples), [self._tokens(example) for example in examples]
        errors = [look.error(beats, lengths) for look in looks]
        return torch.stack(errors).mean() if errors else beats.new_zeros(())

    def _beats(self, examples: Sequence[Example]) -> Tensor:
        """Tokens in a beat, ``[B]``; NaN where the tempo is open."""
        rate = 60 * LATENT_RATE / self.model.config.patch_size
        beats = [math.nan if example.bpm is None else rate / example.bpm for example in examples]
        return torch.tensor(beats, device=self.model.null_condition_emb.device)

    def _tokens(self, example: Example) -> int:
        """How many tokens an example has."""
        return -(-len(example.target) // self.model.config.patch_size)

    def words_error(self, captions: Sequence[Tensor], examples: Sequence[Example]) -> Tensor:
        """Cross-entropy of what captions, ``[L, D]`` each, tell about the songs."""
        told = self.song_ear(torch.stack([states.mean(0) for states in captions]))
        return F.binary_cross_entropy_with_logits(told, torch.stack([one.words for one in examples]).to(told))

    def captions(self, examples: Sequence[Example]) -> list[Tensor]:
        """The text encoder's states of every caption, ``[L, D]`` each."""
        text, mask = self._ids([example.tokens.text for example in examples])
        states = self.text(input_ids=text, use_cache=False).last_hidden_state  # causal: no padding is seen
        return [row[known] for row, known in zip(states, mask, strict=True)]

    def batch(
        self, examples: Sequence[Example], silence: Tensor, captions: Sequence[Tensor] | None = None
    ) -> FlowBatch:
        """Examples as one batch on this module's device.

        Args:
            silence: latents of silence ``[1, frames, C]``.
            captions: their ``captions``, if they are known.
        """
        device = self.model.null_condition_emb.device
        quiet = SilenceLatents(silence.to(device))
        contexts = [self._context(example, quiet) for example in examples]
        target = pad_sequence([example.target.to(device) for example in examples], batch_first=True)
        states, mask = self._conditions(examples, quiet, captions or self.captions(examples))
        frames = [len(example.target) for example in examples]
        return FlowBatch(target, pad_sequence(contexts, batch_first=True), states, mask, frames)

    def _context(self, example: Example, quiet: SilenceLatents) -> Tensor:
        """Source beside mask, ``[T, 2 C]``; what is to be made is silent in a source that is given."""
        frames = len(example.target)
        silent = quiet.first(frames)[0]
        source = silent if example.source is None else example.source.to(silent)
        if example.semantic:
            with torch.no_grad():
                codes = self.model.latents_to_codes(source[None], quiet.first(TIMBRE_FRAMES))
            source = self.model.codes_to_latents(codes)[0, :frames]
        mask = region_mask(frames, example.region).to(silent)[:, None]
        if example.region is not None:
            source = torch.where(mask > 0, silent, source)
        return torch.cat([source, mask.expand_as(source)], dim=-1)

    def _conditions(
        self, examples: Sequence[Example], quiet: SilenceLatents, captions: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        encoder = self.model.encoder
        caption = pad_sequence(captions, batch_first=True)
        text_mask = _lengths_mask([len(states) for states in captions], caption.device)
        lyric, lyric_mask = self._ids([example.tokens.lyric for example in examples])
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
        return pad_sequence(rows, batch_first=True), _lengths_mask([len(row) for row in rows], device)


def _lengths_mask(lengths: Sequence[int], device: torch.device) -> Tensor:
    """``[B, L]``, True at the first ``lengths``."""
    return torch.arange(max(lengths), device=device) < torch.tensor(lengths, device=device)[:, None]


def digest_of_model() -> str:
    """Of everything that decides what weights of an ``EmbeddedModel`` mean."""
    return digest_of_sizes(TRANSFORMER, LANGUAGE_MODEL)


def variant(distilled: bool) -> dict[str, object]:
    """The keys of ``config.json`` that say how a model is run."""
    return {"is_turbo": distilled, "model_version": "turbo" if distilled else "base"}
