"""Resampling on the GPU: against the formula of the signal, and against soxr where that is installed.

The signal is a handful of tones that fade in and out, so its value is known at every moment and at every rate.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from gpu_support import DEVICE, assert_near
from torch import Tensor

from acestep.audio.resample import resample, resampled_length
from acestep.audio.resample_gpu import resample_on_device

SECONDS = 0.5
RATES = [(48_000, 44_100), (44_100, 48_000), (96_000, 48_000), (32_000, 48_000)]
TONES = (0.002, 0.05, 0.2, 0.4)  # of the lower rate; half of it is as high as a tone can be
SHARE = 1e-4  # of the largest sample
REFERENCES = ["formula", *(["soxr"] if find_spec("soxr") else [])]


def signal(rate: int, lower_rate: int, tones: tuple[float, ...] = TONES) -> Tensor:
    """The tones, in sine and in cosine, fp32 ``[2, SECONDS * rate]``, sampled at ``rate``."""
    time = torch.arange(round(SECONDS * rate), dtype=torch.float64) / rate
    fade = torch.sin(torch.pi * time / SECONDS) ** 4
    waves = [
        torch.stack([torch.sin(phase), torch.cos(phase)])
        for phase in (2 * torch.pi * tone * lower_rate * time for tone in tones)
    ]
    return (fade * sum(waves) / len(waves)).float()


def reference(kind: str, from_rate: int, to_rate: int) -> Tensor:
    """The signal at ``to_rate``."""
    lower = min(from_rate, to_rate)
    if kind == "formula":
        return signal(to_rate, lower)
    return torch.from_numpy(resample(signal(from_rate, lower).numpy(), from_rate, to_rate))


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_the_gpu_agrees(from_rate: int, to_rate: int, kind: str) -> None:
    source = signal(from_rate, min(from_rate, to_rate)).to(DEVICE)
    ours = resample_on_device(source, from_rate, to_rate)
    assert ours.device.type == DEVICE.type
    assert_near(ours, reference(kind, from_rate, to_rate), SHARE)


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES[::2])
def test_what_the_lower_rate_cannot_hold_is_gone(from_rate: int, to_rate: int) -> None:
    too_high = signal(from_rate, to_rate, tones=(0.53,)).to(DEVICE)
    assert resample_on_device(too_high, from_rate, to_rate).abs().max() <= SHARE


@pytest.mark.parametrize("length", [1, 146, 147, 1000, 47_999])
@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_the_length_is_that_of_the_cpu(from_rate: int, to_rate: int, length: int) -> None:
    ours = resample_on_device(torch.zeros(2, length, device=DEVICE), from_rate, to_rate)
    assert ours.shape == (2, resampled_length(length, from_rate, to_rate))


def test_equal_rates_change_nothing() -> None:
    source = torch.ones(2, 10, device=DEVICE)
    assert resample_on_device(source, 48_000, 48_000) is source
