"""The way from pieces to waveforms: prompts, conditions, denoising, decoding. One function call per stage.

In: a ``Request`` and one ``Piece`` (or ``Plan``) per song. Out: a ``Rendering``. Refuses to know files, formats and
doors, and what several pieces have to do with one another (``studio``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from acestep.audio.codec import Codec, OnChunk
from acestep.checkpoints.family import Family
from acestep.conditioning.conditions import Conditions
from acestep.constants import SAMPLES_PER_FRAME
from acestep.devices import Residency
from acestep.errors import GenerationError
from acestep.flow import flow
from acestep.meters import Meters
from acestep.models.acestep_model import AceStepModel
from acestep.pieces import Piece
from acestep.planner.plan import Plan
from acestep.playing import CONDITIONED, DECODED, DENOISED, STARTED, Player, Rendering, Song, between, new_songs
from acestep.prepare import Preparer, without_source
from acestep.progress import Progress, by_chunk, unwatched
from acestep.reading import Reader
from acestep.request import Request
from acestep.scoring.attention import LyricAttention, heads_that_follow, noise_level, song_by_song, words_of


class Renderer(Player):
    """Plays pieces on one family of networks.

    Args:
        family: loaded networks.
        residency: which of them are on the device; None is all of them, all the time.

    Attributes:
        reader: what it can be told.
    """

    def __init__(self, family: Family, residency: Residency | None = None) -> None:
        device = family.placement.device
        super().__init__(device, residency or Residency(family.networks, device))
        self.family = family
        self.reader = Reader(family.spec, family.tokenizer, family.model.config.codebook_size)
        self._preparer = Preparer(family, self._residency)

    @property
    def hearing_frames(self) -> int:
        """Latent frames on either side that colour what is heard of a recording."""
        return self.family.vae.config.encoder_context_frames

    def render(
        self,
        request: Request,
        plans: Sequence[Plan],
        reference: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Rendering:
        """Make one new song per plan; see ``play``.

        Args:
            request: with one seed per plan.
            plans: what to play.
        """
        return self.play(request, new_songs(request, plans), reference, progress)

    def play(
        self,
        request: Request,
        pieces: Sequence[Piece],
        reference: Tensor | None = None,
        progress: Progress | None = None,
        meters: Meters | None = None,
    ) -> Rendering:
        """Play a batch of pieces, all of them at once.

        Args:
            request: how they are sampled.
            pieces: what to play.
            reference: ``[2, S]`` at 48 kHz, the timbre to take over.
            progress: called with (share done, stage); what it raises ends the run.
            meters: of a run that this batch is a part of.

        Raises:
            InputError: a prompt is too long.
            GenerationError: the latents are not finite, or all zero.
        """
        with self._at_work():
            return self._play(request, tuple(pieces), reference, progress or unwatched, meters or self.meters())

    @torch.inference_mode()
    def codes_of(self, waveform: Tensor, progress: Progress | None = None) -> tuple[int, ...]:
        """Semantic codes of a recording ``[2, S]`` at 48 kHz, five a second; silence fills up the last.

        Args:
            progress: as in ``latents_of``.
        """
        with self._at_work():
            latents = self.latents_of(waveform, progress=progress)
            with self._residency.resident("dit") as model:
                return tuple(self._preparer.codes(model, latents)[0].tolist())

    @torch.inference_mode()
    def codes_in(self, latents: Tensor) -> tuple[int, ...]:
        """Semantic codes of latents ``[T, C]`` that were played, five a second; silence fills up the last."""
        with self._at_work(), self._residency.resident("dit") as model:
            return tuple(self._preparer.codes(model, latents[None].to(self._device))[0].tolist())

    @torch.inference_mode()
    def latents_of(
        self, waveform: Tensor, low: int = 0, frames: int | None = None, progress: Progress | None = None
    ) -> Tensor:
        """Latents of a stretch of a recording, heard with what is around it.

        Args:
            waveform: ``[2, S]`` at 48 kHz.
            low: first latent frame of the stretch, counted from the first sample.
            frames: how many; None is all that are whole. What lies behind the recording is silence.
            progress: called with (share done, "listening") after every chunk; what it raises ends the work.

        Returns:
            ``[1, frames, C]`` fp32 on the device.
        """
        if frames is None:
            frames = waveform.shape[1] // SAMPLES_PER_FRAME - low
        with self._at_work(), self._residency.resident("vae") as vae:
            margin = vae.config.encoder_context_frames
            first = max(0, low - margin)
            wanted = (low + frames + margin - first) * SAMPLES_PER_FRAME
            stretch = waveform[:, first * SAMPLES_PER_FRAME :][:, :wanted]
            missing = (low + frames - first) * SAMPLES_PER_FRAME - stretch.shape[1]
            if missing > 0:
                stretch = torch.nn.functional.pad(stretch, (0, missing))
            report = by_chunk(progress, "listening")
            latents = Codec(vae).encode(stretch[None].to(self._device), on_chunk=report)  # [1, t, C]
        return latents[:, low - first : low - first + frames]

    def lyric_attention(
        self, request: Request, rendering: Rendering, songs: Sequence[int]
    ) -> Iterator[LyricAttention | None]:
        """Where the transformer looks in the lyrics of what it played: one more forward through a part of its layers.

        Args:
            request: the batch was played with.
            rendering: what ``render`` or ``play`` gave back.
            songs: of the batch, the numbers of those that are asked for, each once.

        Returns:
            One per number, song by song; None for those without a line to sing.
        """
        family, played = self.family, rendering.songs
        words = {song: words_of(family.tokenizer, played[song].plan, rendering.tokens[song]) for song in songs}
        latents = {song: played[song].latents for song in songs}
        config, level = family.model.config, noise_level(request.sampling.steps)
        heads = heads_that_follow(family.spec, config)
        return song_by_song(self._looking, config, heads, rendering.conditions, latents, words, level)

    @contextmanager
    def _looking(self) -> Iterator[AceStepModel]:
        with torch.inference_mode(), self._at_work(), self._residency.resident("dit") as model:
            yield model

    @torch.inference_mode()
    def _play(
        self,
        request: Request,
        pieces: tuple[Piece, ...],
        reference: Tensor | None,
        report: Progress,
        meters: Meters,
    ) -> Rendering:
        tokens = self.reader.read(pieces)
        report(STARTED, "conditioning")
        with meters.measure("encoder"):
            conditions = self._preparer.conditions(pieces, tokens, reference)
            other = self._other_conditions(request, pieces, reference)
        with meters.measure("diffusion"):
            latents = self._denoise(request, pieces, conditions, other, report)
        with meters.measure("vae_decode"):
            waveforms = self._decode(latents, pieces, report)
        songs = tuple(
            Song(piece, latent[: piece.frames].cpu(), waveform)
            for piece, latent, waveform in zip(pieces, latents, waveforms, strict=True)
        )
        return Rendering(songs, conditions, tokens, meters.seconds, meters.memory.peak)

    def _other_conditions(
        self, request: Request, pieces: Sequence[Piece], reference: Tensor | None
    ) -> Conditions | None:
        """Of the recording's own words in a flow edit, or of a song that no longer hears the recording."""
        edit = request.edit
        if edit is None:
            return None
        if edit.flow is not None:
            others = [replace(piece, plan=edit.flow.in_own_words(piece.plan)) for piece in pieces]
        elif edit.nearness < 1:
            others = without_source(pieces)
        else:
            return None
        return self._preparer.conditions(others, self.reader.read(others), reference)

    def _denoise(
        self,
        request: Request,
        pieces: Sequence[Piece],
        conditions: Conditions,
        other: Conditions | None,
        report: Progress,
    ) -> Tensor:
        def on_step(done: int, total: int) -> None:
            report(between(CONDITIONED, DENOISED, done / total), f"denoising step {done}/{total}")

        with self._residency.resident("dit") as model:
            latents = flow(model, request, pieces, conditions, other, self._device, on_step)
        if not latents.any():
            raise GenerationError("The networks produced all-zero latents.")
        return latents

    def _decode(self, latents: Tensor, pieces: Sequence[Piece], report: Progress) -> list[Tensor]:
        def on_chunk(number: int, done: int, total: int) -> None:
            share = (number + done / total) / len(pieces)
            report(between(DENOISED, DECODED, share), f"decoding {number + 1}/{len(pieces)}")

        with self._residency.resident("vae") as vae:
            codec, margin = Codec(vae), vae.config.decoder_context_frames
            return [
                _decoded(codec, song[: piece.frames], piece, margin, partial(on_chunk, number))
                for number, (song, piece) in enumerate(zip(latents, pieces, strict=True))
            ]


def _decoded(codec: Codec, latents: Tensor, piece: Piece, margin: int, on_chunk: OnChunk) -> Tensor:
    """The waveform ``[2, S]`` of the wanted frames of one song's latents ``[T, C]``."""
    low, high = piece.decoded or (0, piece.frames)
    first = max(0, low - margin)
    waveform = codec.decode(latents[None, first : high + margin], on_chunk=on_chunk)[0]
    return waveform[:, (low - first) * codec.hop : (high - first) * codec.hop].float().cpu().clone()
