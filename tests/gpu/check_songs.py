"""Whole songs of the embedded models: the GPU plays what the CPU plays, every time, in any company.

The bounds were stated before anything ran: 1e-3 of the largest latent against the CPU, 1e-4 between a song in a batch
and the song alone, nothing between two runs of the same song.
"""

from __future__ import annotations

import pytest
import torch
from gpu_support import assert_near, draw, lasting, play
from torch import Tensor

from acestep.constants import SAMPLE_RATE
from acestep.handler import AceStepHandler
from acestep.planner.plan import Metadata, Plan

CPU_SHARE, BATCH_SHARE = 1e-3, 1e-4
CODES = "".join(f"<|audio_code_{7 * index % 1000}|>" for index in range(60))
LYRICS = "[Verse]\nla la la\nlo lo\n[Chorus]\nlu"
WISHES = {
    "words": {"lyrics": LYRICS, "bpm": 120, "inference_steps": 8},
    "codes": {"audio_codes": CODES, "duration": -1},
    "odd length": {"duration": 20.02},
    "sde": {"infer_method": "sde"},
}
GUIDANCES = {
    "none": {"guidance_scale": 1.0},
    "cfg": {"cfg_type": "cfg"},
    "apg": {"cfg_type": "apg"},
    "adg": {"use_adg": True},
    "late half": {"cfg_interval_end": 0.5},
    "heun": {"scheduler_type": "heun"},
}
PLANS = (
    Plan("calm piano", "[Instrumental]", Metadata(duration=10.02)),
    Plan("a much longer caption about loud drums and a choir", LYRICS, Metadata(120, duration=21.5)),
    Plan("codes", "[Instrumental]", Metadata(duration=12.0), tuple(range(60))),
)


@pytest.fixture(scope="module")
def recording() -> Tensor:
    """A reference of five seconds, quiet noise."""
    return 0.1 * draw(2, 5 * SAMPLE_RATE, seed=5)


@pytest.mark.parametrize("wish", WISHES)
def test_the_gpu_plays_what_the_cpu_plays(tiny: AceStepHandler, tiny_on_host: AceStepHandler, wish: str) -> None:
    ours, reference = (play(handler, **WISHES[wish]).songs[0] for handler in (tiny, tiny_on_host))
    assert_near(ours.latents, reference.latents, CPU_SHARE)
    assert_near(ours.waveform, reference.waveform, CPU_SHARE)


def test_the_gpu_hears_what_the_cpu_hears(
    tiny: AceStepHandler, tiny_on_host: AceStepHandler, recording: Tensor
) -> None:
    ours, reference = (play(handler, reference=recording).songs[0] for handler in (tiny, tiny_on_host))
    assert_near(ours.latents, reference.latents, CPU_SHARE)


@pytest.mark.parametrize("kind", GUIDANCES)
def test_every_guidance_equals_the_cpu(
    tiny_base: AceStepHandler, tiny_base_on_host: AceStepHandler, kind: str
) -> None:
    ours, reference = (play(handler, **GUIDANCES[kind]).songs[0] for handler in (tiny_base, tiny_base_on_host))
    assert_near(ours.latents, reference.latents, CPU_SHARE)


def test_the_same_seed_is_the_same_song_to_the_last_bit(tiny: AceStepHandler, recording: Tensor) -> None:
    first, second = (play(tiny, [3, 4], reference=recording, infer_method="sde").songs for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.latents, other.latents)
        assert torch.equal(one.waveform, other.waveform)
    assert not torch.equal(first[0].latents, first[1].latents)


@pytest.mark.parametrize("kind", GUIDANCES)
def test_a_song_in_a_batch_is_the_song_alone(tiny_base: AceStepHandler, kind: str) -> None:
    together = play(tiny_base, [1, 2, 3], PLANS, **GUIDANCES[kind]).songs
    for index, plan in enumerate(PLANS):
        alone = play(tiny_base, [index + 1], [plan], **GUIDANCES[kind]).songs[0]
        assert_near(together[index].latents, alone.latents, BATCH_SHARE)
        assert_near(together[index].waveform, alone.waveform, 10 * BATCH_SHARE)


def test_noise_does_not_depend_on_the_length_of_the_neighbour(tiny: AceStepHandler) -> None:
    short, long = lasting(PLANS[0], 10), lasting(PLANS[1], 60)
    alone = play(tiny, [9], [short]).songs[0]
    assert_near(play(tiny, [9, 10], [short, long]).songs[0].latents, alone.latents, BATCH_SHARE)
