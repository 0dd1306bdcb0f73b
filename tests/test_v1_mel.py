"""The v1 spectrogram: window and filterbank against librosa, log-mel frames against the definition."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
from scipy.signal import get_window

from acestep.v1.mel import LogMel, periodic_hann, slaney_filterbank
from acestep.v1.vocoder_config import VocoderConfig

from v1_codec_support import slow_log_mel

PUBLISHED = VocoderConfig()
SIZES = {"published": PUBLISHED, "coarse": VocoderConfig(f_min=0, f_max=8000.5, n_mels=20, input_channels=20)}


@pytest.fixture
def waveform() -> torch.Tensor:
    """Two rows: noise, and noise that fades into digital silence."""
    torch.manual_seed(0)
    fade = torch.linspace(1, 0, 4096).pow(3).mul(torch.arange(4096) < 3000)
    return 0.3 * torch.randn(2, 4096) * torch.stack([torch.ones(4096), fade])


def test_the_window_is_periodic() -> None:
    np.testing.assert_allclose(periodic_hann(2048).numpy(), get_window("hann", 2048, fftbins=True), atol=1e-7)


@pytest.mark.parametrize("config", SIZES.values(), ids=SIZES)
def test_the_filterbank_is_librosas(config: VocoderConfig) -> None:
    expected = librosa.filters.mel(
        sr=config.sampling_rate,
        n_fft=config.n_fft,
        n_mels=config.n_mels,
        fmin=config.f_min,
        fmax=config.f_max,
        htk=False,
        norm="slaney",
        dtype=np.float64,
    )
    found = slaney_filterbank(config)
    assert found.shape == (config.n_fft // 2 + 1, config.n_mels)
    np.testing.assert_allclose(found.numpy(), expected.T, atol=1e-6)


def test_frames_follow_the_definition(waveform: torch.Tensor) -> None:
    log_mel = LogMel(PUBLISHED)
    found = log_mel(waveform)
    assert found.shape == (2, 128, 8)
    window, filterbank = periodic_hann(2048).double().numpy(), slaney_filterbank(PUBLISHED).double().numpy()
    for row, samples in zip(found, waveform.double().numpy(), strict=True):
        np.testing.assert_allclose(row.numpy(), slow_log_mel(samples, window, filterbank, 512), atol=2e-5)


def test_stored_buffers_count_not_computed_ones(waveform: torch.Tensor) -> None:
    exact, rounded = LogMel(PUBLISHED), LogMel(PUBLISHED)
    rounded.load_state_dict({name: buffer.bfloat16().float() for name, buffer in exact.state_dict().items()})
    window, filterbank = (buffer.double().numpy() for buffer in rounded.state_dict().values())
    found = rounded(waveform)
    expected = slow_log_mel(waveform[0].double().numpy(), window, filterbank, 512)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=2e-5)
    assert (found - exact(waveform)).abs().max() > 1e-3


def test_bf16_rounds_magnitudes_but_not_the_transform(waveform: torch.Tensor) -> None:
    spectrogram = LogMel(PUBLISHED).bfloat16()
    found = spectrogram(waveform.bfloat16())
    assert found.dtype == torch.bfloat16
    exact = LogMel(PUBLISHED)(waveform)
    assert (found.float() - exact).abs().max() < 0.1


def test_silence_is_the_floor() -> None:
    areas = slaney_filterbank(PUBLISHED).double().sum(0)
    found = LogMel(PUBLISHED)(torch.zeros(1, 2048)).double()
    expected = (1e-3 * areas).clamp_min(1e-5).log()[None, :, None].expand(1, 128, 4)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("frequency", [100.0, 1000.0, 9000.0])
def test_a_tone_is_loudest_in_its_band(frequency: float) -> None:
    time = torch.arange(44_100) / 44_100
    found = LogMel(PUBLISHED)(torch.sin(2 * torch.pi * frequency * time)[None, : 512 * 40])
    centres = librosa.mel_frequencies(130, fmin=40, fmax=16_000)[1:-1]
    nearest = int(np.abs(centres - frequency).argmin())
    assert (found[0, :, 3:-3].argmax(dim=0) - nearest).abs().max() <= 1


def test_it_can_be_built_without_memory() -> None:
    with torch.device("meta"):
        names = {name: tuple(buffer.shape) for name, buffer in LogMel(PUBLISHED).state_dict().items()}
    assert names == {"spectrogram.window": (2048,), "mel_scale.fb": (1025, 128)}
