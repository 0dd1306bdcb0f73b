"""Batches whose songs differ, and networks that fail."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from acestep.cogrun.schema import PROJECT
from acestep.errors import GenerationError
from acestep.finish import heard_takes
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music
from acestep.llm_inference import LLMHandler
from acestep.pieces import Piece, latent_frames
from acestep.planner.plan import Metadata, Plan
from acestep.playing import Song
from acestep.request import Request
from acestep.takes import Take

PLANS = (
    Plan("calm piano", "[Instrumental]", Metadata(duration=10.02)),
    Plan(
        "a much longer caption about loud drums and a choir", "[Verse]\nla la la\nlo lo", Metadata(120, duration=21.5)
    ),
    Plan("codes", "[Instrumental]", Metadata(duration=12.0), tuple(range(60))),
)


def request(handler: AceStepHandler, seeds: list[int], **fields: object) -> Request:
    params = GenerationParams(**{"caption": "x", "thinking": False, "inference_steps": 4, **fields})
    return Request.from_params(params, GenerationConfig(batch_size=len(seeds), seeds=seeds), handler.model)


@pytest.mark.parametrize(
    "fields", [{"guidance_scale": 1}, {}, {"cfg_type": "cfg"}, {"use_adg": True}, {"scheduler_type": "heun"}]
)
def test_songs_of_different_lengths_and_prompts_equal_the_songs_alone(
    tiny_base: AceStepHandler, fields: dict[str, object]
) -> None:
    together = tiny_base.renderer.render(request(tiny_base, [1, 2, 3], **fields), PLANS)
    for index, plan in enumerate(PLANS):
        alone = tiny_base.renderer.render(request(tiny_base, [index + 1], **fields), [plan]).songs[0]
        song = together.songs[index]
        assert song.latents.shape == (latent_frames(plan.duration_s), 64)
        torch.testing.assert_close(song.latents, alone.latents, atol=1e-4, rtol=0)
        torch.testing.assert_close(song.waveform, alone.waveform, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("seconds", "frames"), [(10, 250), (10.01, 251), (12.3, 308), (12.32, 308), (600, 15_000)])
def test_latent_frames_cover_the_song(seconds: float, frames: int) -> None:
    assert latent_frames(seconds) == frames


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_silence_and_numbers_that_are_none_are_errors(tiny: AceStepHandler, value: float) -> None:
    samples = torch.full((2, 251 * 1920), value)
    song = Song(Piece(PLANS[0], "", 1), torch.zeros(251, 64), samples)
    with pytest.raises(GenerationError):
        heard_takes([Take(song, song.plan, samples.numpy())])


def test_a_network_that_yields_nan_makes_an_error_and_no_file(tmp_path: Path) -> None:
    handler = AceStepHandler()
    handler.initialize_service(str(PROJECT), "tiny", "cpu")
    handler.renderer.family.model.decoder.proj_out[1].bias.fill_(float("nan"))
    params = GenerationParams(caption="x", duration=10, thinking=False)
    result = generate_music(handler, LLMHandler(), params, GenerationConfig(batch_size=1), tmp_path)
    assert result.error == "The latents became NaN or infinite at step 1 of 8."
    assert list(tmp_path.iterdir()) == []
