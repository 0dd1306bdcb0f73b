"""The way from pieces to waveforms on the networks of v1: words, conditions, denoising, decoding.

In: a ``Request`` and one ``Piece`` per song. Out: a ``Rendering``, whose waveforms are at 44.1 kHz. It speaks the
language of ``acestep.render.Renderer``; what several pieces have to do with one another is the business of ``stage``.
Refuses to know files, formats and doors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from acestep.checkpoints.files import weights_root
from acestep.devices import Residency
from acestep.errors import GenerationError, UnsupportedError
from acestep.meters import Meters
from acestep.pieces import Piece
from acestep.planner.plan import Plan
from acestep.playing import CONDITIONED, DECODED, DENOISED, STARTED, Player, Rendering, Song, between, new_songs
from acestep.progress import Progress, by_chunk, unwatched
from acestep.request import Request
from acestep.v1.adapter_files import Fetching, provide_adapter
from acestep.v1.adapter_source import AdapterOrder
from acestep.v1.adapters import Adapters
from acestep.v1.choice import V1Choice
from acestep.v1.codec import LATENT_CHANNELS
from acestep.v1.conditions import Contexts, edit_contexts, read_tags, song_contexts
from acestep.v1.config import LATENT_HEIGHT
from acestep.v1.family import V1Family
from acestep.v1.flow import Canvas, Described, Ground, NoiseOrder, Reference, v1_flow
from acestep.v1.length import frames_covering
from acestep.v1.lora import Merged
from acestep.v1.reader import V1Reader, V1Words
from acestep.v1.transformer import DEAD

FRAME_WIDTH = LATENT_CHANNELS * LATENT_HEIGHT


class V1Player(Player):
    """Plays pieces on one family of networks.

    Args:
        family: loaded networks.
        residency: which of them are on the device; None is all of them, all the time.

    Attributes:
        reader: what it can be told.
    """

    def __init__(self, family: V1Family, residency: Residency | None = None) -> None:
        device = family.placement.device
        super().__init__(device, residency or Residency(family.networks, device))
        self.family = family
        self.reader = V1Reader(family.spec, family.tag_tokenizer, family.lyric_tokenizer)
        self._adapters = Adapters(family.transformer, dead=DEAD)

    def adapt(self, order: AdapterOrder | None, progress: Progress | None = None) -> Merged | None:
        """Play with this adapter from now on, or with none; fetched if it is not here and ``fetches`` is true.

        Args:
            progress: called with (0, "fetching the adapter") while that is done; what it raises ends it.

        Raises:
            InputError, UnsupportedError: there is no such adapter, or it is of another model.
            WeightsError: it cannot be fetched.
        """
        if order is None:
            return self._adapters.use(None)
        watch = None if progress is None else partial(progress, 0.0, "fetching the adapter")
        file = provide_adapter(order.source, weights_root(), Fetching(allowed=self.fetches, watch=watch))
        return self._adapters.use(file, order.weight)

    def render(
        self,
        request: Request,
        plans: Sequence[Plan],
        reference: Tensor | None = None,  # noqa: ARG002 - as ``Renderer.render``; this generation hears none
        progress: Progress | None = None,
    ) -> Rendering:
        """Make one new song per plan; see ``play``."""
        return self.play(request, new_songs(request, plans), progress)

    def play(
        self,
        request: Request,
        pieces: Sequence[Piece],
        progress: Progress | None = None,
        meters: Meters | None = None,
    ) -> Rendering:
        """Play a batch of pieces of the same words, all of them at once where they are equally long.

        Args:
            request: how they are sampled.
            pieces: what to play; a ``Ground`` of theirs holds ``[1, F, 128]``, see ``frames_of``.
            progress: called with (share done, stage); what it raises ends the run.
            meters: of a run that this batch is a part of.

        Raises:
            InputError: the words are too many.
            GenerationError: the latents are not finite, or all zero.
        """
        with self._at_work():
            return self._play(request, tuple(pieces), progress or unwatched, meters or self.meters())

    @torch.inference_mode()
    def latents_of(self, waveform: Tensor) -> Tensor:
        """Latents ``[1, F, 128]`` of a recording ``[2, S]`` at 44.1 kHz; silence fills up the last frame."""
        with self._at_work(), self._residency.resident("vae") as codec:
            return frames_of(codec.encode(waveform[None].to(self._device)))

    def codes_of(self, waveform: Tensor, progress: Progress | None = None) -> tuple[int, ...]:  # noqa: ARG002
        """This generation has no semantic codes.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError(
            f"{self.family.spec.name} has no semantic codes; choose a model of ACE-Step 1.5.", field="model"
        )

    def lyric_attention(self, request: Request, rendering: Rendering, songs: Sequence[int]) -> Iterator[None]:  # noqa: ARG002
        """Nothing per song: which heads of this generation follow the lyrics was never published."""
        return iter([None] * len(songs))

    @torch.inference_mode()
    def _play(self, request: Request, pieces: tuple[Piece, ...], report: Progress, meters: Meters) -> Rendering:
        words = [self.reader.read(piece.plan, request.lyric_detection) for piece in pieces]
        report(STARTED, "conditioning")
        groups: dict[tuple[V1Words, int], list[int]] = {}
        for number, (piece, said) in enumerate(zip(pieces, words, strict=True)):
            groups.setdefault((said, v1_frames(piece)), []).append(number)
        songs: dict[int, Song] = {}
        for index, ((said, _), numbers) in enumerate(groups.items()):
            share = _share_of(report, index, len(groups))
            batch = [pieces[number] for number in numbers]
            songs |= zip(numbers, self._batch(request, said, batch, share, meters), strict=True)
        played = tuple(songs[number] for number in range(len(pieces)))
        return Rendering(played, None, (), meters.seconds, meters.memory.peak)

    def _batch(
        self, request: Request, words: V1Words, pieces: Sequence[Piece], report: Progress, meters: Meters
    ) -> list[Song]:
        """Songs of the same words and the same length."""
        choice, flow = request.sampling, None if request.edit is None else request.edit.flow
        choice = choice if flow is None else choice.comparing()
        with meters.measure("encoder"):
            contexts = self._contexts(choice, words, is_edit=flow is not None)
            ground = self._ground(request, choice, pieces)
        with meters.measure("diffusion"):
            latents = self._denoise(choice, contexts, request, pieces, ground, report)
        with meters.measure("vae_decode"):
            waveforms = self._decode(latents, report)
        return [
            Song(piece, frames_of(latent[None])[0].cpu(), waveform)
            for piece, latent, waveform in zip(pieces, latents, waveforms, strict=True)
        ]

    def _contexts(self, choice: V1Choice, words: V1Words, *, is_edit: bool) -> Contexts:
        with self._residency.resident("text_encoder") as encoder:
            tags = read_tags(encoder, words.tags, choice, self._device)
        read = edit_contexts if is_edit else song_contexts
        with self._residency.resident("dit") as transformer:
            return read(transformer, tags, words.lyrics, choice)

    def _ground(self, request: Request, choice: V1Choice, pieces: Sequence[Piece]) -> Ground | None:
        """What the pieces are made over."""
        edit = request.edit
        if edit is None or any(piece.ground is None for piece in pieces):
            return None
        latents = torch.cat([latents_in(piece.ground.latents) for piece in pieces]).to(self._device)
        if edit.flow is not None:
            own = edit.flow.in_own_words(pieces[0].plan)
            contexts = self._contexts(choice, self.reader.read(own, request.lyric_detection), is_edit=True)
            return Described(latents, contexts, edit.flow.start, edit.flow.stop, edit.flow.averages)
        if not request.task.keeps_outside:
            return Reference(latents, edit.start_from)
        inside = torch.zeros(len(pieces), latents.shape[-1], dtype=torch.bool, device=self._device)
        for row, piece in zip(inside, pieces, strict=True):
            row[slice(*piece.ground.region)] = True
        return Canvas(latents, inside, 1.0 if request.variation is None else request.variation.strength)

    def _denoise(
        self,
        choice: V1Choice,
        contexts: Contexts,
        request: Request,
        pieces: Sequence[Piece],
        ground: Ground | None,
        report: Progress,
    ) -> Tensor:
        def on_step(done: int, total: int) -> None:
            report(between(CONDITIONED, DENOISED, done / total), f"denoising step {done}/{total}")

        noise = NoiseOrder(tuple(piece.noise_seed for piece in pieces), v1_frames(pieces[0]))
        if request.variation is not None and ground is None:
            second = tuple(piece.variation_seed for piece in pieces)
            noise = replace(noise, variation_seeds=second, variation_strength=request.variation.strength)
        with self._residency.resident("dit") as transformer:
            latents = v1_flow(transformer, choice, contexts, noise, ground, device=self._device, on_step=on_step)
        if not latents.any():
            raise GenerationError("The networks produced all-zero latents.")
        return latents

    def _decode(self, latents: Tensor, report: Progress) -> list[Tensor]:
        waveforms = []
        with self._residency.resident("vae") as codec:
            for number, song in enumerate(latents):
                share = _share_of(report, number, len(latents), DENOISED, DECODED)
                on_chunk = by_chunk(share, f"decoding {number + 1}/{len(latents)}")
                waveforms.append(codec.decode(song[None], on_chunk=on_chunk)[0].float().cpu())
        return waveforms


def v1_frames(piece: Piece) -> int:
    """Latent frames of a piece."""
    return frames_covering(piece.plan.duration_s) if piece.ground is None else piece.ground.latents.shape[1]


def frames_of(latents: Tensor) -> Tensor:
    """Latents ``[B, 8, 16, F]`` as frames ``[B, F, 128]``, which is how pieces and songs carry them."""
    return latents.flatten(1, 2).transpose(1, 2)


def latents_in(frames: Tensor) -> Tensor:
    """Frames ``[B, F, 128]`` as latents ``[B, 8, 16, F]``; the inverse of ``frames_of``."""
    return frames.transpose(1, 2).unflatten(1, (LATENT_CHANNELS, LATENT_HEIGHT))


def _share_of(report: Progress, index: int, count: int, low: float = 0.0, high: float = 1.0) -> Progress:
    """Progress of one of ``count`` equal parts of the stretch from ``low`` to ``high``."""
    width = (high - low) / count
    return lambda share, stage: report(between(low + index * width, low + (index + 1) * width, share), stage)
