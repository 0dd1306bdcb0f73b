"""Sizes of the autoencoder: what config files are accepted, and receptive fields against a network fed with NaN."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch

from acestep.constants import AUDIO_CHANNELS, LATENT_CHANNELS, SAMPLE_RATE, SAMPLES_PER_FRAME, VAE_STRIDES
from acestep.errors import WeightsError
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig, Window, windows

SMALL = OobleckConfig(
    encoder_hidden_size=8, decoder_channels=4, decoder_input_channels=4
)  # real strides and multiples
SHAPES = [
    SMALL,
    OobleckConfig(8, (2, 4), (1, 2), 4, 4),
    OobleckConfig(8, (10, 2, 6), (2, 1, 1), 4, 4),
    OobleckConfig(8, (8, 6), (2, 3), 8, 4, outer_stride=40),
]


@pytest.mark.parametrize("config", SHAPES, ids=lambda config: "x".join(map(str, config.downsampling_ratios)))
def test_decoder_context_is_exactly_how_far_a_frame_is_heard(config: OobleckConfig) -> None:
    context = config.decoder_context_frames
    middle = context + 2
    latents = torch.zeros(1, 2 * middle + 1, config.latent_channels)
    latents[0, middle] = torch.nan
    audio = Oobleck(config).requires_grad_(False).decode(latents)
    touched = audio.isnan().any(dim=1).view(-1, config.hop).any(dim=1).nonzero().flatten() - middle
    assert max(-touched.min(), touched.max()) == context


@pytest.mark.parametrize("config", SHAPES, ids=lambda config: "x".join(map(str, config.downsampling_ratios)))
def test_encoder_context_is_exactly_how_far_a_latent_listens(config: OobleckConfig) -> None:
    context = config.encoder_context_frames
    middle = context + 2
    audio = torch.zeros(1, config.audio_channels, (2 * middle + 1) * config.hop)
    audio[..., middle * config.hop : (middle + 1) * config.hop] = torch.nan
    latents = Oobleck(config).requires_grad_(False).encode(audio)
    touched = latents.isnan().any(dim=2)[0].nonzero().flatten() - middle
    assert max(-touched.min(), touched.max()) == context


def test_published_context() -> None:
    assert (OobleckConfig().decoder_context_frames, OobleckConfig().encoder_context_frames) == (9, 7)


def test_windows_cover_everything_once() -> None:
    assert windows(5, 2, 1) == [Window(0, 2, 0, 3), Window(2, 4, 1, 5), Window(4, 5, 3, 5)]
    for total, size, context in [(1, 1, 3), (10, 3, 0), (10, 20, 5), (257, 64, 9)]:
        pieces = windows(total, size, context)
        assert [position for piece in pieces for position in range(piece.start, piece.stop)] == list(range(total))
        assert all(0 <= piece.low <= piece.start < piece.stop <= piece.high <= total for piece in pieces)


def test_published_config_file() -> None:
    published = {
        "_class_name": "AutoencoderOobleck",
        "_diffusers_version": "0.30.0",
        "audio_channels": 2,
        "channel_multiples": [1, 2, 4, 8, 16],
        "decoder_channels": 128,
        "decoder_input_channels": 64,
        "downsampling_ratios": [2, 4, 4, 6, 10],
        "encoder_hidden_size": 128,
        "sampling_rate": 48000,
    }
    config = OobleckConfig.from_dict(published)
    assert config == OobleckConfig()
    assert (config.sample_rate, config.hop, config.frame_rate) == (SAMPLE_RATE, SAMPLES_PER_FRAME, 25.0)
    assert (config.latent_channels, config.audio_channels) == (LATENT_CHANNELS, AUDIO_CHANNELS)
    assert config.downsampling_ratios == VAE_STRIDES
    assert config.widest_activation == 128 * SAMPLES_PER_FRAME
    assert OobleckConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "group", "act": "elu"}, "does not know: act, norm"),
        ({"decoder_channels": "128"}, "decoder_channels='128'; expected a whole number"),
        ({"decoder_channels": True}, "decoder_channels=True; expected a whole number"),
        ({"downsampling_ratios": 2}, "downsampling_ratios=2; expected a list of whole numbers"),
        ({"channel_multiples": [1, 2.5]}, "expected a list of whole numbers"),
        ({"channel_multiples": [1, 2]}, "5 strides for 2 channel multiples"),
        ({"channel_multiples": [0, 2, 4, 8, 16]}, r"channel_multiples=\[0, 2, 4, 8, 16\] are not all positive"),
        ({"downsampling_ratios": [2, 4, 4, 5, 10]}, "not all even"),
        ({"downsampling_ratios": [0, 4, 4, 6, 10]}, "not all even"),
        ({"audio_channels": 0, "sampling_rate": -1}, "audio_channels=0 is below 1; sampling_rate=-1 is below 1"),
    ],
)
def test_bad_config_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        OobleckConfig.from_dict({**asdict(OobleckConfig()), **changes})
