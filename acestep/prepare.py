"""Pieces become conditions: prompts are read, timbres and recordings are heard, contexts are laid side by side.

In: pieces, their prompts as tokens, a reference recording. Out: ``Conditions`` on the device. What several pieces
have in common (a prompt, a timbre, a recording) is worked out once. Refuses to know noise and sampling.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from acestep.audio.codec import Codec
from acestep.checkpoints.family import Family
from acestep.conditioning.conditions import Conditions, SongConditions
from acestep.conditioning.context import SilenceLatents, context, erased
from acestep.conditioning.reference import timbre_excerpt
from acestep.conditioning.text import PromptTokens
from acestep.constants import TIMBRE_FRAMES
from acestep.devices import Residency
from acestep.models.acestep_model import AceStepModel
from acestep.pieces import Piece
from acestep.tasks import TEXT2MUSIC_INSTRUCTION, Source


class Preparer:
    """Prepares the conditions of batches on one family of networks.

    Args:
        family: loaded networks.
        residency: which of them are on the device.
    """

    def __init__(self, family: Family, residency: Residency) -> None:
        self._residency = residency
        self._device, self._dtype = family.placement.device, family.placement.dtype
        self.silence = SilenceLatents(family.silence).to(self._device, self._dtype)
        self._last_reference: weakref.ref[Tensor] | None = None
        self._last_timbres: dict[int, Tensor] = {}

    def conditions(
        self, pieces: Sequence[Piece], tokens: Sequence[PromptTokens], reference: Tensor | None
    ) -> Conditions:
        """The conditions of a batch.

        Args:
            pieces: one per song.
            tokens: of the prompts of each.
            reference: ``[2, S]`` at 48 kHz, the timbre to take over; None is silence.
        """
        states = self._prompt_states(tokens)
        timbres = self._timbres([piece.seed for piece in pieces], reference)
        encoded: dict[tuple[PromptTokens, int], Tensor] = {}
        heard: dict[int, Tensor] = {}
        songs = []
        with self._residency.resident("dit") as model:
            for piece, ids in zip(pieces, tokens, strict=True):
                key = (ids, 0 if reference is None else piece.seed)
                if key not in encoded:
                    encoded[key] = _encode(model, *states[ids], timbres[piece.seed])
                source = context(self._source(model, piece, heard), piece.region)
                songs.append(SongConditions(encoded[key], source))
        return Conditions.collate(songs)

    def codes(self, model: AceStepModel, latents: Tensor) -> Tensor:
        """Semantic codes ``[1, K]`` of latents ``[1, T, C]``; silence fills up the last."""
        return model.latents_to_codes(latents, self.silence.first(TIMBRE_FRAMES))

    def _prompt_states(self, tokens: Sequence[PromptTokens]) -> dict[PromptTokens, tuple[Tensor, Tensor]]:
        """Caption and lyric states of each different pair of prompts."""
        with self._residency.resident("text_encoder") as encoder:
            return {ids: (encoder.caption_states(ids.text), encoder.lyric_states(ids.lyric)) for ids in set(tokens)}

    def _timbres(self, seeds: Sequence[int], reference: Tensor | None) -> dict[int, Tensor]:
        """Latents ``[1, 750, C]`` of the seeded excerpt of each different seed, or of silence.

        Those of the last recording are remembered as long as it lives: every pass of a long song hears the same.
        """
        if reference is None:
            return dict.fromkeys(seeds, self.silence.first(TIMBRE_FRAMES))
        if self._last_reference is None or self._last_reference() is not reference:
            self._last_reference, self._last_timbres = weakref.ref(reference), {}
        missing = set(seeds) - self._last_timbres.keys()
        if missing:
            with self._residency.resident("vae") as vae:
                for seed in missing:
                    excerpt = timbre_excerpt(reference, seed)[None].to(self._device)
                    self._last_timbres[seed] = Codec(vae).encode(excerpt).to(self._dtype)
        return self._last_timbres

    def _source(self, model: AceStepModel, piece: Piece, heard: dict[int, Tensor]) -> Tensor:
        """Source latents ``[1, T, C]``: what the plan's codes spell, what is heard of a recording, else silence."""
        ground, codes = piece.ground, piece.plan.audio_codes
        if codes:
            played = model.codes_to_latents(torch.tensor([codes], device=self._device))  # [1, 5K, C]
            return played.to(self._dtype)[:, : piece.frames]
        if ground is None or ground.heard is Source.SILENCE:
            return self.silence.first(piece.frames)
        if id(ground) not in heard:
            heard[id(ground)] = self._heard(model, piece)
        return heard[id(ground)]

    def _heard(self, model: AceStepModel, piece: Piece) -> Tensor:
        latents = piece.ground.latents.to(self._device, self._dtype)
        if piece.ground.heard is Source.CODES:
            return model.semantic_round_trip(latents, self.silence.first(TIMBRE_FRAMES)).to(self._dtype)
        return erased(latents, piece.region, self.silence) if piece.ground.erased else latents


def without_source(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """The same songs as if there were nothing to hear: silence under them, the instruction of a new song."""
    return tuple(
        replace(
            piece,
            plan=replace(piece.plan, audio_codes=()),
            instruction=TEXT2MUSIC_INSTRUCTION,
            ground=None if piece.ground is None else replace(piece.ground, heard=Source.SILENCE),
        )
        for piece in pieces
    )


def _encode(model: AceStepModel, caption: Tensor, lyric: Tensor, timbre: Tensor) -> Tensor:
    """Packed encoder states ``[1, L, E]`` of one song, every row valid."""
    everything = [torch.ones(states.shape[:2], dtype=torch.bool, device=states.device) for states in (caption, lyric)]
    order = torch.zeros(1, dtype=torch.long, device=timbre.device)
    return model.encode_conditions(caption, everything[0], lyric, everything[1], timbre, order)[0]
