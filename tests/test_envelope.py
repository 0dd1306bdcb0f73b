"""What the first latent channels of some autoencoders say: loudness by band and quarter of a frame, whitened."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from acestep.audio.codec import Codec
from acestep.errors import WeightsError
from acestep.models.envelope import BANDS, FLOOR, HIGHEST_HZ, LOWEST_HZ, MEL_BREAK_HZ, PARTS, Envelope
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig

RATE, HOP = 48_000, 1920
SMALL = OobleckConfig(8, (8, 6), (1, 2), 4, 8, outer_stride=40, envelope_channels=3)


def loud_and_quiet(frames: int = 60) -> Tensor:
    """Noise of many loudnesses ``[2, 2, S]``."""
    generator = torch.Generator().manual_seed(0)
    swell = torch.rand(2, 1, frames * PARTS, generator=generator).repeat_interleave(HOP // PARTS, 2)
    return swell * torch.randn(2, 2, frames * HOP, generator=generator) * 0.3


def slowly(audio: Tensor) -> Tensor:
    """``Envelope.energies`` of ``[2, S]`` by a sum per quarter, bin and sample: ``[T, BANDS, PARTS]``."""
    size, hop = 1024, HOP // PARTS
    mid = audio.mean(0).double()
    time = torch.arange(size, dtype=torch.float64)
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * time / size)
    bins = torch.arange(size // 2 + 1, dtype=torch.float64)
    wave = torch.exp(-2j * math.pi * bins[:, None] * time / size)
    low, high = (2595 * math.log10(1 + hertz / MEL_BREAK_HZ) for hertz in (LOWEST_HZ, HIGHEST_HZ))
    edges = [MEL_BREAK_HZ * (10 ** ((low + (high - low) * band / BANDS) / 2595) - 1) for band in range(BANDS + 1)]
    hertz = bins * RATE / size
    rows = []
    for part in range(len(mid) // hop):
        centre = part * hop + hop // 2
        places = range(centre - size // 2, centre + size // 2)
        piece = torch.stack([mid[at] if 0 <= at < len(mid) else mid.new_zeros(()) for at in places])
        power = (wave @ (piece * window).to(wave)).abs().square() / size
        inside = [(hertz >= a) & (hertz < b) for a, b in pairwise(edges)]
        rows.append(torch.stack([(power[band].mean() + FLOOR).log() for band in inside]))
    return torch.stack(rows).unflatten(0, (-1, PARTS)).transpose(1, 2)


def test_energies_are_those_of_bands_and_quarters() -> None:
    audio = loud_and_quiet(3)[0]
    found = Envelope(4, HOP, RATE).energies(audio[None])[0].T.unflatten(1, (BANDS, PARTS))
    torch.testing.assert_close(found.double(), slowly(audio), atol=1e-4, rtol=1e-4)


def test_what_it_was_fitted_to_is_white_and_can_be_read_back() -> None:
    envelope, audio = Envelope(PARTS * BANDS, HOP, RATE), loud_and_quiet()
    envelope.fit(audio)
    said = envelope(audio).transpose(1, 2).flatten(0, 1)
    covariance = said.T @ said / len(said)
    torch.testing.assert_close(said.mean(0), torch.zeros(PARTS * BANDS), atol=1e-3, rtol=0)
    torch.testing.assert_close(covariance, torch.eye(PARTS * BANDS), atol=1e-2, rtol=0)
    energies = envelope.energies(audio).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(said @ torch.linalg.inv(envelope.basis) + envelope.mean, energies, atol=1e-2, rtol=0)


def test_the_first_components_hold_the_most() -> None:
    audio = loud_and_quiet()
    whole, first = Envelope(PARTS * BANDS, HOP, RATE), Envelope(5, HOP, RATE)
    whole.fit(audio)
    first.fit(audio)
    torch.testing.assert_close(first.basis.abs(), whole.basis[:, :5].abs())
    lengths = torch.linalg.vector_norm(whole.basis, dim=0)  # 1 / deviation
    assert (lengths.diff() >= -1e-4).all()


@pytest.mark.parametrize("extra", [0, 1, 479])
def test_the_autoencoder_says_it_in_its_first_channels_whole_or_in_pieces(extra: int) -> None:
    torch.manual_seed(0)
    vae, audio = Oobleck(SMALL).eval().requires_grad_(False), loud_and_quiet()[:1]
    vae.envelope.fit(audio)
    audio = torch.cat([audio, 0.1 * torch.randn(1, 2, extra)], 2)
    latents = vae.encode(audio)
    assert latents.shape == (1, 60, 8)
    torch.testing.assert_close(latents[..., :3].transpose(1, 2), vae.envelope(audio))
    in_pieces = Codec(vae).encode(audio, chunk_frames=20)
    torch.testing.assert_close(in_pieces, latents, atol=1e-5, rtol=1e-5)
    copy = Oobleck(SMALL).eval()
    copy.load_state_dict(vae.state_dict())
    torch.testing.assert_close(copy.encode(audio), latents)


@pytest.mark.parametrize("channels", [-1, 8, 9])
def test_something_must_be_left_for_the_waveform(channels: int) -> None:
    with pytest.raises(WeightsError, match=f"envelope_channels={channels} of 8 latent channels"):
        OobleckConfig(decoder_input_channels=8, envelope_channels=channels)


def test_published_autoencoders_have_none() -> None:
    assert Oobleck(OobleckConfig(8, (2, 4), (1, 2), 4, 4)).envelope is None
