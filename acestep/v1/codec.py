"""Songs through the v1 codec: latents ``[B, 8, 16, F]`` to stereo waveforms at 44.1 kHz and back, fp32 in and out.

Two networks: an image autoencoder (DCAE, ``diffusers.AutoencoderDC``) between latents and the log-mel pictures of the
two channels, and a vocoder between one channel's picture and its samples. A song never meets its batch neighbours.
What does not fit the memory budget goes through in windows. Those of the vocoder equal the whole (to 1e-4). Those of
the autoencoder differ a little, because the attention of its innermost blocks averages over all the time it is shown:
with 128 latents of context to each side by 1 % of the picture's deviation (rms; small random networks, windows of 100
latents; 2 % with the context that its convolutions need). So songs go through whole as far as memory goes.
Refuses to know files, loudness, other sample rates and who asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep.audio.codec import CUDA_BUDGET_SHARE, TILED_ACTIVATIONS, WHOLE_ACTIVATIONS, OnChunk, automatic_chunk
from acestep.constants import AUDIO_CHANNELS
from acestep.errors import WeightsError
from acestep.models.vae_config import Window, windows
from acestep.v1.config import LATENT_HEIGHT
from acestep.v1.length import NATIVE_RATE, SAMPLES_PER_FRAME
from acestep.v1.vocoder import Vocoder

if TYPE_CHECKING:
    from diffusers import AutoencoderDC

HOP = SAMPLES_PER_FRAME
LATENT_CHANNELS = 8
COMPRESSION = 8  # of the autoencoder, over bands as over time
MEL_BANDS = LATENT_HEIGHT * COMPRESSION

LOUDEST_LOG_MEL, QUIETEST_LOG_MEL = 3.0, -11.0  # become 1 and -1 in the autoencoder's pictures
LATENT_SCALE, LATENT_SHIFT = 0.1786, -1.9091  # latents = (code - shift) * scale; ``scaling_factor`` is unused

CONTEXT_FRAMES = 128  # to each side of an autoencoder window; its convolutions see 17
CPU_BUDGET_BYTES = 2 << 30  # about 75 s of the published autoencoder whole, in fp32
PICTURE_ACTIVATIONS = 5  # alive at once in the autoencoder, in units of the widest one
VOCODER_BUDGET_SHARE = 16  # exact windows may be short: they give progress and cancelling more to count


class MusicCodec(nn.Module):
    """The v1 codec.

    Args:
        dcae: the autoencoder; only its ``encoder`` and ``decoder`` are called.
        vocoder: loaded and preferably folded. Each network runs on its own device and in its own number format.
        budget_bytes: for the activations of one window; None is 2 GiB on the CPU and an eighth of a GPU's memory
            (of all of it: what happens to be free would make results differ from run to run).

    Raises:
        WeightsError: the networks are not those of this codec or do not fit together.
    """

    def __init__(self, dcae: AutoencoderDC, vocoder: Vocoder, *, budget_bytes: int | None = None) -> None:
        super().__init__()
        _check_fit(dcae, vocoder)
        self.dcae = dcae
        self.vocoder = vocoder
        self._given_budget_bytes = budget_bytes

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return NATIVE_RATE

    @property
    def hop(self) -> int:
        """Samples per latent frame."""
        return HOP

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""
        return NATIVE_RATE / HOP

    @torch.no_grad()
    def decode(self, latents: Tensor, *, window_frames: int | None = None, on_chunk: OnChunk | None = None) -> Tensor:
        """Waveforms of ``latents``.

        Args:
            latents: ``[B, 8, 16, F]``, F at least 1.
            window_frames: latent frames per window, context not counted; None chooses by memory, songs of up to some
                75 s whole on a CPU.
            on_chunk: called with (windows done, windows in all), over both networks and the whole batch; what it
                raises ends the work.

        Returns:
            ``[B, 2, F x 4096]``, fp32, at 44.1 kHz, from -1 to 1, on the vocoder's device.

        Raises:
            ValueError: latents or ``window_frames`` have an impossible shape or size.
        """
        frames = _frames_of(latents)
        pictured, sounded = self._picture_windows(frames, window_frames), self._vocoder_windows(frames, window_frames)
        report = _Progress(on_chunk, len(latents) * (len(pictured) + len(sounded)))
        songs = (self._log_mel_of(song, pictured, report) for song in latents.split(1))
        return torch.stack([self._waveform_of(log_mel, sounded, report) for log_mel in songs])  # [B, 2, F x hop]

    @torch.no_grad()
    def encode(
        self, waveform: Tensor, *, window_frames: int | None = None, on_chunk: OnChunk | None = None
    ) -> Tensor:
        """Latents of ``waveform``, without random numbers.

        Args:
            waveform: ``[B, 2, S]`` at 44.1 kHz, S at least 1; silence fills the last frame.
            window_frames: as in ``decode``.
            on_chunk: as in ``decode``.

        Returns:
            ``[B, 8, 16, ceil(S / 4096)]``, fp32, on the autoencoder's device.

        Raises:
            ValueError: a shape or ``window_frames`` is impossible.
        """
        if waveform.dim() != 3 or waveform.shape[1] != AUDIO_CHANNELS or not waveform.shape[2]:
            raise ValueError(
                f"waveform has shape {list(waveform.shape)}; expected [B, {AUDIO_CHANNELS}, S] with S >= 1."
            )
        padded = F.pad(waveform, (0, -waveform.shape[2] % HOP))  # [B, 2, F x hop]
        plan = self._picture_windows(padded.shape[2] // HOP, window_frames)
        report = _Progress(on_chunk, len(padded) * len(plan))
        return torch.cat([self._latents_of(song, plan, report) for song in padded])  # [B, 8, 16, F]

    def _log_mel_of(self, song: Tensor, plan: Sequence[Window], report: _Progress) -> Tensor:
        """Latents ``[1, 8, 16, F]`` to log-mel frames ``[2, bands, 8 F]``, one row per channel."""
        codes = _placed(song.to(torch.float32) / LATENT_SCALE + LATENT_SHIFT, self.dcae)
        picture = _in_windows(self.dcae.decoder, codes, plan, (1, COMPRESSION), report)  # [1, 2, bands, 8 F]
        return _log_mel_of_picture(picture[0])

    def _waveform_of(self, log_mel: Tensor, plan: Sequence[Window], report: _Progress) -> Tensor:
        """``[2, F x hop]`` of ``[2, bands, 8 F]``: both channels are rows of one batch."""
        features = self.vocoder.features(_placed(log_mel, self.vocoder))  # [2, D, 8 F]
        samples = _in_windows(self.vocoder.samples, features, plan, (COMPRESSION, HOP), report)  # [2, 1, F x hop]
        return samples[:, 0]

    def _latents_of(self, song: Tensor, plan: Sequence[Window], report: _Progress) -> Tensor:
        """``[1, 8, 16, F]`` of a waveform ``[2, F x hop]``."""
        log_mel = self.vocoder.log_mel(_placed(song, self.vocoder))  # [2, bands, 8 F]
        picture = _placed(_picture_of_log_mel(log_mel.float()), self.dcae)[None]  # [1, 2, bands, 8 F]
        codes = _in_windows(self.dcae.encoder, picture, plan, (COMPRESSION, 1), report)
        return (codes - LATENT_SHIFT) * LATENT_SCALE

    def _picture_windows(self, frames: int, window_frames: int | None) -> list[Window]:
        """In latent frames; automatically one, if the song fits the budget whole."""
        widest = max(self.dcae.config.encoder_block_out_channels[0], self.dcae.config.decoder_block_out_channels[0])
        needed = PICTURE_ACTIVATIONS * widest * MEL_BANDS * COMPRESSION * _dtype(self.dcae).itemsize
        budget = self._budget_bytes(self.dcae)
        if window_frames is None and frames * needed <= budget:
            window_frames = frames
        return _planned(frames, window_frames, needed, budget, CONTEXT_FRAMES)

    def _vocoder_windows(self, frames: int, window_frames: int | None) -> list[Window]:
        """In latent frames too."""
        config = self.vocoder.config
        alive = TILED_ACTIVATIONS if _device(self.vocoder).type == "cpu" else WHOLE_ACTIVATIONS
        per_mel_frame = alive * AUDIO_CHANNELS * config.widest_activation * _dtype(self.vocoder).itemsize
        budget = self._budget_bytes(self.vocoder) // VOCODER_BUDGET_SHARE
        context = -(-config.head_context_frames // COMPRESSION)
        return _planned(frames, window_frames, per_mel_frame * COMPRESSION, budget, context)

    def _budget_bytes(self, network: nn.Module) -> int:
        if self._given_budget_bytes is not None:
            return self._given_budget_bytes
        device = _device(network)
        if device.type == "cuda":
            return torch.cuda.get_device_properties(device).total_memory // CUDA_BUDGET_SHARE
        return CPU_BUDGET_BYTES


class _Progress:
    """Counts finished windows for a listener that may not exist."""

    def __init__(self, on_chunk: OnChunk | None, total: int) -> None:
        self._on_chunk, self._done, self._total = on_chunk, 0, total

    def next(self) -> None:
        """One more window is done."""
        self._done += 1
        if self._on_chunk is not None:
            self._on_chunk(self._done, self._total)


def _in_windows(
    network: Callable[[Tensor], Tensor],
    signal: Tensor,
    plan: Sequence[Window],
    rates: tuple[int, int],
    report: _Progress,
) -> Tensor:
    """``network(signal)``, window by window along the last axis, fp32.

    Args:
        network: whose output is as long as its input times the ratio of ``rates``.
        signal: ``[..., F x rates[0]]``, becomes ``[..., F x rates[1]]``.
        plan: windows in latent frames.
        rates: positions per latent frame before and after.
        report: told of every window.
    """
    before, after = rates
    pieces = []
    for window in plan:
        piece = network(signal[..., window.low * before : window.high * before])
        pieces.append(piece[..., (window.start - window.low) * after : (window.stop - window.low) * after].float())
        report.next()
    return torch.cat(pieces, dim=-1)


def _planned(frames: int, window_frames: int | None, needed: int, budget: int, context: int) -> list[Window]:
    """Windows of ``window_frames``, or of as many as ``budget`` holds at ``needed`` bytes per frame."""
    if window_frames is None:
        window_frames = automatic_chunk(frames, needed, budget - 2 * context * needed)
    if window_frames < 1:
        raise ValueError(f"window_frames={window_frames}; expected at least 1.")
    return windows(frames, window_frames, context)


def _log_mel_of_picture(picture: Tensor) -> Tensor:
    """-1 .. 1 to the range of log-mel values."""
    return (picture * 0.5 + 0.5) * (LOUDEST_LOG_MEL - QUIETEST_LOG_MEL) + QUIETEST_LOG_MEL


def _picture_of_log_mel(log_mel: Tensor) -> Tensor:
    """The range of log-mel values to -1 .. 1."""
    return ((log_mel - QUIETEST_LOG_MEL) / (LOUDEST_LOG_MEL - QUIETEST_LOG_MEL) - 0.5) / 0.5


def _frames_of(latents: Tensor) -> int:
    if latents.dim() != 4 or latents.shape[1:3] != (LATENT_CHANNELS, LATENT_HEIGHT) or not latents.shape[3]:
        raise ValueError(
            f"latents have shape {list(latents.shape)}; "
            f"expected [B, {LATENT_CHANNELS}, {LATENT_HEIGHT}, F] with F >= 1."
        )
    return latents.shape[3]


def _check_fit(dcae: AutoencoderDC, vocoder: Vocoder) -> None:
    outside, inside = dcae.config, vocoder.config
    facts = {
        "channels of the autoencoder": (outside.in_channels, AUDIO_CHANNELS),
        "latent channels of the autoencoder": (outside.latent_channels, LATENT_CHANNELS),
        "compression of the encoder": (2 ** (len(outside.encoder_block_out_channels) - 1), COMPRESSION),
        "compression of the decoder": (2 ** (len(outside.decoder_block_out_channels) - 1), COMPRESSION),
        "sampling_rate of the vocoder": (inside.sampling_rate, NATIVE_RATE),
        "hop_length of the vocoder": (inside.hop_length, HOP // COMPRESSION),
        "n_mels of the vocoder": (inside.n_mels, MEL_BANDS),
    }
    wrong = [f"{name} is {found}, not {wanted}" for name, (found, wanted) in facts.items() if found != wanted]
    if wrong:
        raise WeightsError(f"These networks do not make the v1 codec: {'; '.join(wrong)}.")


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _dtype(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype


def _placed(signal: Tensor, network: nn.Module) -> Tensor:
    return signal.to(_device(network), _dtype(network))
