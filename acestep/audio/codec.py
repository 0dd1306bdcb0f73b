"""Songs of any length through the autoencoder: latents ``[B, T, C]`` to waveforms ``[B, 2, S]`` and back, fp32 out.

Long signals go through in chunks that overlap by the receptive field, so a chunked result equals the whole one (to
1e-4; the order of additions differs). Refuses to know files, loudness, models by name and who asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

import torch
from torch import Tensor

from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import Window, windows

CPU_BUDGET_BYTES = 512 << 20  # about 20 s of the published network in fp32; the overlap then costs 3 %
CUDA_BUDGET_SHARE = 8
SHORTEST_CHUNK_FRAMES = 64  # the overlap then costs 28 %
TILED_ACTIVATIONS, WHOLE_ACTIVATIONS = 1, 4  # alive at once, in units of the widest one: CPU tiles hold less than one

OnChunk = Callable[[int, int], None]


def automatic_chunk(total_frames: int, bytes_per_frame: int, budget_bytes: int) -> int:
    """Latent frames per chunk: as many as the budget holds, never under 64, evened out over the chunks.

    Example: 1,000 frames of 1 MB in 400 MB are three chunks of 334 frames.
    """
    most = max(budget_bytes // bytes_per_frame, SHORTEST_CHUNK_FRAMES)
    chunks = -(-total_frames // most)
    return -(-total_frames // chunks)


class Codec:
    """An autoencoder with chunks.

    Args:
        autoencoder: loaded and preferably folded; input is moved to its device and number format.
        budget_bytes: for the activations of an automatic chunk; None is 512 MiB on the CPU and an eighth of a GPU's
            memory (of all of it: what happens to be free would make results differ from run to run).
    """

    def __init__(self, autoencoder: Oobleck, *, budget_bytes: int | None = None) -> None:
        self._autoencoder = autoencoder
        self._config = autoencoder.config
        self._given_budget_bytes = budget_bytes

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self._config.sample_rate

    @property
    def hop(self) -> int:
        """Samples per latent frame."""
        return self._config.hop

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""
        return self._config.frame_rate

    @torch.no_grad()
    def decode(self, latents: Tensor, *, chunk_frames: int | None = None, on_chunk: OnChunk | None = None) -> Tensor:
        """Waveforms of ``latents``.

        Args:
            latents: ``[B, T, C]``, T at least 1.
            chunk_frames: frames per chunk, overlap not counted; None chooses by memory (``automatic_chunk``).
            on_chunk: called with (chunks done, chunks in all); what it raises ends the work.

        Returns:
            ``[B, 2, T x hop]``, fp32, on the autoencoder's device.

        Raises:
            ValueError: latents or ``chunk_frames`` have an impossible shape or size.
        """
        batch, frames, _ = self._checked_latents(latents)
        chunks = self._windows(batch, frames, chunk_frames, self._config.decoder_context_frames)
        return self._decode(latents, chunks, on_chunk)

    @torch.no_grad()
    def decode_each(
        self,
        latents: Tensor,
        lengths: Sequence[int],
        *,
        chunk_frames: int | None = None,
        on_chunk: OnChunk | None = None,
    ) -> list[Tensor]:
        """Waveforms of a padded batch, each decoded by itself: neighbours and padding cannot change a song.

        Args:
            latents: ``[B, T, C]``.
            lengths: the true frames of each item, 1 to T.
            chunk_frames: as in ``decode``.
            on_chunk: as in ``decode``, counted over the whole batch.

        Returns:
            One ``[2, frames x hop]`` per item.

        Raises:
            ValueError: as ``decode``, or a length that is not there.
        """
        batch, most, _ = self._checked_latents(latents)
        if len(lengths) != batch or not all(1 <= length <= most for length in lengths):
            raise ValueError(f"lengths={list(lengths)}; expected {batch} numbers of frames, each from 1 to {most}.")
        context = self._config.decoder_context_frames
        plans = [self._windows(1, length, chunk_frames, context) for length in lengths]
        report = None if on_chunk is None else partial(_report_next, on_chunk, count(1), sum(map(len, plans)))
        items = zip(latents.split(1), lengths, plans, strict=True)
        return [self._decode(item[:, :length], plan, report)[0] for item, length, plan in items]

    @torch.no_grad()
    def encode(self, audio: Tensor, *, chunk_frames: int | None = None, on_chunk: OnChunk | None = None) -> Tensor:
        """Latents of ``audio``: the means of their distributions, without random numbers.

        Args:
            audio: ``[B, 2, S]`` at ``sample_rate``; samples after the last whole hop only colour the last frame.
            chunk_frames: as in ``decode``.
            on_chunk: as in ``decode``.

        Returns:
            ``[B, S // hop, C]``, fp32, on the autoencoder's device.

        Raises:
            ValueError: the audio is shorter than one hop, or a shape or ``chunk_frames`` is impossible.
        """
        batch, frames = self._checked_audio(audio)
        chunks = self._windows(batch, frames, chunk_frames, self._config.encoder_context_frames)
        parts = []
        for done, chunk in enumerate(chunks, 1):
            end = None if chunk.high == frames else chunk.high * self.hop  # the last chunk hears the whole remainder
            latents = self._autoencoder.encode(self._placed(audio[..., chunk.low * self.hop : end]))  # [B, t, C]
            parts.append(latents[:, chunk.start - chunk.low : chunk.stop - chunk.low].float())
            if on_chunk is not None:
                on_chunk(done, len(chunks))
        return torch.cat(parts, dim=1)  # [B, T, C]

    def _decode(self, latents: Tensor, chunks: Sequence[Window], on_chunk: OnChunk | None) -> Tensor:
        samples = chunks[-1].stop * self.hop
        shape = (latents.shape[0], self._config.audio_channels, samples)
        waveform = torch.empty(shape, dtype=torch.float32, device=self._device)
        for done, chunk in enumerate(chunks, 1):
            piece = self._autoencoder.decode(self._placed(latents[:, chunk.low : chunk.high]))  # [B, 2, s]
            first, last = ((bound - chunk.low) * self.hop for bound in (chunk.start, chunk.stop))
            waveform[..., chunk.start * self.hop : chunk.stop * self.hop] = piece[..., first:last]
            if on_chunk is not None:
                on_chunk(done, len(chunks))
        return waveform

    def _windows(self, batch: int, frames: int, chunk_frames: int | None, context: int) -> list[Window]:
        if chunk_frames is None:
            needed = batch * self._bytes_per_frame
            chunk_frames = automatic_chunk(frames, needed, self._budget_bytes - 2 * context * needed)
        if chunk_frames < 1:
            raise ValueError(f"chunk_frames={chunk_frames}; expected at least 1.")
        return windows(frames, chunk_frames, context)

    @property
    def _bytes_per_frame(self) -> int:
        alive = TILED_ACTIVATIONS if self._device.type == "cpu" else WHOLE_ACTIVATIONS
        return alive * self._config.widest_activation * self._weight.element_size()

    @property
    def _budget_bytes(self) -> int:
        if self._given_budget_bytes is not None:
            return self._given_budget_bytes
        if self._device.type == "cuda":
            return torch.cuda.get_device_properties(self._device).total_memory // CUDA_BUDGET_SHARE
        return CPU_BUDGET_BYTES

    @property
    def _weight(self) -> Tensor:
        return next(self._autoencoder.parameters())

    @property
    def _device(self) -> torch.device:
        return self._weight.device

    def _placed(self, signal: Tensor) -> Tensor:
        return signal.to(self._device, self._weight.dtype)

    def _checked_latents(self, latents: Tensor) -> torch.Size:
        channels = self._config.latent_channels
        if latents.dim() != 3 or latents.shape[2] != channels or not latents.shape[1]:
            raise ValueError(f"latents have shape {list(latents.shape)}; expected [B, T, {channels}] with T >= 1.")
        return latents.shape

    def _checked_audio(self, audio: Tensor) -> tuple[int, int]:
        """Batch size and whole latent frames."""
        channels = self._config.audio_channels
        if audio.dim() != 3 or audio.shape[1] != channels or audio.shape[2] < self.hop:
            raise ValueError(
                f"audio has shape {list(audio.shape)}; expected [B, {channels}, S] with S >= {self.hop} samples."
            )
        return audio.shape[0], audio.shape[2] // self.hop


def _report_next(on_chunk: OnChunk, counter: count[int], total: int, _done: int, _of: int) -> None:
    """Report one more chunk of the batch, whatever its number within its own item."""
    on_chunk(next(counter), total)
