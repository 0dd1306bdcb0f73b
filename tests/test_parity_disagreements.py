"""Where we differ from diffusers' ``AceStepPipeline`` on purpose, a test per row: what ours does, what theirs does.

Wherever it can be arranged the test takes the difference away and shows that nothing else separates the two. Cover
strength, lego, repaint and their splices have no rows: this version has no such tasks.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AceStepPipeline
from torch import Tensor

from acestep.audio.codec import Codec
from acestep.checkpoints.family import find_weights, load_family
from acestep.conditioning.reference import timbre_excerpt
from acestep.constants import LATENT_CHANNELS, SAMPLE_RATE
from acestep.devices import choose_placement
from acestep.errors import InputError
from acestep.handler import AceStepHandler
from acestep.models.acestep_model import AceStepModel
from acestep.pieces import latent_frames
from acestep.render import Renderer

from models_support import assert_close
from parity_support import (
    SEED,
    WORDS,
    diffusers_pipeline,
    far,
    latents_of,
    mean_encoding,
    ours,
    recording,
    request_for,
    song,
    spelled,
    their_ids,
    theirs,
)

CPU = torch.device("cpu")
CODES = [7 * index % 1000 for index in range(25)]


# --- Batches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [7.0, 1.0], ids=["guided", "unguided"])
def test_padded_prompts(twin_base: AceStepHandler, base_pipe: AceStepPipeline, scale: float) -> None:
    """Ours are masked. Theirs are attended, as upstream, so that a song changes with its neighbours."""
    fields = {"inference_steps": 12, "guidance_scale": scale}
    arguments = {"num_inference_steps": 12, "shift": 1.0, "guidance_scale": scale}
    plans, seeds = (song(caption="calm"), song(lyrics=WORDS * 4)), (8, 9)
    together = ours(twin_base, *plans, seeds=seeds, **fields)
    assert not together.conditions.encoder_mask.all()
    for item, (plan, seed) in enumerate(zip(plans, seeds, strict=True)):
        alone = ours(twin_base, plan, seeds=[seed], **fields)
        assert together.tokens[item] == alone.tokens[0]
        assert_close(together.songs[item].latents, alone.songs[0].latents)
        assert_close(together.songs[item].latents, theirs(base_pipe, plan, seeds=[seed], **arguments).latents[0])
    padded = theirs(base_pipe, *plans, seeds=seeds, **arguments).latents[0]
    assert far(padded, together.songs[0].latents)


def test_fewer_codes_than_a_neighbour(twin: AceStepHandler, turbo_pipe: AceStepPipeline) -> None:
    """Ours is a shorter song. Theirs goes on with code 0 (upstream: silence), and is as long as the longest."""
    plans, seeds = (song(codes=CODES[:20]), song(codes=CODES)), (8, 9)
    together = ours(twin, *plans, seeds=seeds)
    assert [item.latents.shape[0] for item in together.songs] == [100, 125]
    for item, (plan, seed) in enumerate(zip(plans, seeds, strict=True)):
        assert_close(together.songs[item].latents, theirs(turbo_pipe, plan, seeds=[seed]).latents[0])
    seen = theirs(turbo_pipe, *plans, seeds=seeds)
    zeros = twin.renderer.family.model.codes_to_latents(torch.zeros(1, 5, dtype=torch.long))
    assert_close(seen.context[0][:1, 100:, :LATENT_CHANNELS], zeros)
    assert seen.latents.shape[1] == 125
    assert far(seen.latents[0, :100], together.songs[0].latents)


# --- Networks ---------------------------------------------------------------------------------------------------


def test_the_timbre_token_of_xl(twin: AceStepHandler, turbo_pipe: AceStepPipeline) -> None:
    """Ours puts it in front of the audio when the checkpoint is an XL one, as upstream. Theirs never does."""
    family = twin.renderer.family
    config = replace(family.model.config, encoder_hidden_size=family.model.config.hidden_size)
    xl = AceStepModel(config).requires_grad_(False)
    xl.load_state_dict(family.model.state_dict())
    request = request_for(twin, [SEED])
    rendering = Renderer(replace(family, model=xl)).render(request, [song()])
    seen = theirs(turbo_pipe, song())
    timbre = len(rendering.tokens[0].lyric)
    differs = (rendering.conditions.encoder_states - seen.conditions[0]).abs().amax(-1)[0] > 1e-3
    assert differs.nonzero().flatten().tolist() == [timbre]
    assert far(
        latents_of(rendering), seen.latents, times=2
    )  # one token without a reference, at the other end of all of them


def test_encoding_a_recording(twin: AceStepHandler, turbo_pipe: AceStepPipeline) -> None:
    """Ours is the mean. Theirs is a draw from torch's global generator, as upstream: another one every time."""
    heard = recording(2)

    def their_latents() -> Tensor:
        return turbo_pipe.prepare_src_latents(CPU, torch.float32, src_audio=heard)[0]

    mean = Codec(twin.renderer.family.vae).encode(heard[None])
    assert far(their_latents(), mean)
    assert far(their_latents(), their_latents())
    with mean_encoding():
        assert_close(mean, their_latents())


def test_which_seconds_of_a_reference_are_heard(twin: AceStepHandler, turbo_pipe: AceStepPipeline) -> None:
    """Ours come from the song's seed, a window per third. Theirs are always the front, from one third on, the end."""
    heard = recording(45)
    excerpt = timbre_excerpt(heard, SEED)
    assert not torch.equal(excerpt, timbre_excerpt(heard, SEED + 1))
    fixed = [heard[:, start * SAMPLE_RATE : (start + 10) * SAMPLE_RATE] for start in (0, 15, 35)]
    assert torch.equal(seconds_they_hear(turbo_pipe, heard), torch.cat(fixed, dim=-1))
    assert torch.equal(seconds_they_hear(turbo_pipe, excerpt), excerpt)
    rendering = ours(twin, song(1.0), reference=heard)
    with mean_encoding():
        assert_close(latents_of(rendering), theirs(turbo_pipe, song(1.0), reference_audio=excerpt).latents)


def seconds_they_hear(pipe: AceStepPipeline, reference: Tensor) -> Tensor:
    """What diffusers gives its VAE of ``reference`` ``[2, S]``; the VAE itself does not run."""

    def stop(_module: torch.nn.Module, args: tuple[Tensor, ...]) -> None:
        raise _Heard(args[0][0])

    hook = pipe.vae.encoder.register_forward_pre_hook(stop)
    with pytest.raises(_Heard) as caught, hook:
        pipe.prepare_reference_audio_latents(reference, 1, CPU, torch.float32)
    return caught.value.samples


class _Heard(Exception):  # noqa: N818
    def __init__(self, samples: Tensor) -> None:
        super().__init__()
        self.samples = samples


def test_numbers_between_bf16_networks(twin: AceStepHandler, published_form: Path) -> None:
    """Ours keep noise levels and latents in fp32. Theirs round the levels the transformer hears, and the latents."""
    spec = twin.renderer.family.spec
    family = load_family(spec, find_weights(spec, published_form), choose_placement("cpu", "bfloat16"))
    levels: list[float] = []
    family.model.decoder.register_forward_pre_hook(lambda _module, args: levels.append(args[1].item()))
    rendering = Renderer(family).render(request_for(twin, [SEED], shift=3.0), [song(1.0)])
    seen = theirs(diffusers_pipeline(family, published_form).to(torch.bfloat16), song(1.0), shift=3.0)
    assert levels[1] == pytest.approx(21 / 22, abs=1e-7)
    assert seen.times[1][0] == 0.953125
    assert latents_of(rendering).dtype == torch.float32
    assert seen.latents.dtype == torch.bfloat16


# --- The loop ---------------------------------------------------------------------------------------------------


def test_the_guidance_interval(twin_base: AceStepHandler, base_pipe: AceStepPipeline) -> None:
    """Ours is in noise level t, as upstream: (0, 0.45) is the late part. Theirs is in 1 - t: the early part."""
    rendering = ours(twin_base, song(), inference_steps=12, cfg_interval_end=0.45)
    arguments = {"num_inference_steps": 12, "shift": 1.0, "guidance_scale": 7.0}
    turned = theirs(base_pipe, song(), cfg_interval_start=0.55, **arguments)
    assert turned.rows == [1] * 7 + [2] * 5
    assert_close(latents_of(rendering), turned.latents)
    same_numbers = theirs(base_pipe, song(), cfg_interval_end=0.45, **arguments)
    assert same_numbers.rows == [2] * 6 + [1] * 6
    assert far(latents_of(rendering), same_numbers.latents)


def test_more_steps_than_turbo_was_made_for(twin: AceStepHandler, turbo_pipe: AceStepPipeline) -> None:
    """Ours are cut to 8 with a warning. Theirs all run."""
    request = request_for(twin, [SEED], inference_steps=12)
    assert request.sampling.steps == 8
    assert any("runs as 8" in warning for warning in request.warnings)
    assert len(theirs(turbo_pipe, song(1.0), num_inference_steps=12).times) == 12


# --- Lengths and levels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "ours_frames", "their_frames"), [(10.000001, 250, 251), (16.44, 411, 412)])
def test_the_length_of_a_song(
    turbo_pipe: AceStepPipeline, seconds: float, ours_frames: int, their_frames: int
) -> None:
    """Ours covers the whole samples of the duration. Theirs rounds 25 x seconds up, floating-point dust included."""
    assert latent_frames(seconds) == ours_frames
    assert turbo_pipe.prepare_latents(1, seconds, torch.float32, CPU).shape[1] == their_frames


def test_silence_beyond_what_is_stored(twin: AceStepHandler, turbo_pipe: AceStepPipeline) -> None:
    """Ours holds the last stored frame. Theirs starts again. The published file covers the longest song: no row."""
    stored = twin.renderer.family.silence
    frames = stored.shape[1]
    plan = song((frames + 10) / 25)
    context = ours(twin, plan, inference_steps=1).conditions.context[..., :LATENT_CHANNELS]
    theirs_context = theirs(turbo_pipe, plan, num_inference_steps=1).context[0][..., :LATENT_CHANNELS]
    assert torch.equal(context[:, :frames], theirs_context[:, :frames])
    assert torch.equal(context[:, frames:], stored[:, -1:].expand(-1, 10, -1))
    assert torch.equal(theirs_context[:, frames:], stored[:, :10])
    assert not torch.equal(context, theirs_context)


def test_the_level(twin: AceStepHandler, turbo_pipe: AceStepPipeline) -> None:
    """Ours leaves it to what finishes the file. Theirs is always -1 dBFS."""
    peak = ours(twin, song()).songs[0].waveform.abs().max().item()
    theirs_peak = theirs(turbo_pipe, song(), output_type="pt").latents.abs().max().item()
    assert theirs_peak == pytest.approx(10 ** (-1 / 20), abs=1e-6)
    assert abs(peak - theirs_peak) > 0.01


# --- Requests ---------------------------------------------------------------------------------------------------


def test_too_long_prompts(twin: AceStepHandler, turbo_pipe: AceStepPipeline) -> None:
    """Ours are an error. Theirs are cut, and what follows the caption (metadata, end markers) is lost."""
    plan = song(caption="7" * 300, lyrics="7" * 3000)
    with pytest.raises(InputError, match="at most 256"):
        twin.renderer.reader.tokenize(request_for(twin, [SEED]), [plan])
    text, lyric = their_ids(turbo_pipe, plan)
    assert (len(text[0]), len(lyric[0])) == (256, 2048)


def test_control_tokens_in_a_caption(twin: AceStepHandler, turbo_pipe: AceStepPipeline) -> None:
    """Ours are the characters somebody typed. Theirs end the prompt early."""
    plan = song(caption="calm<|endoftext|>", lyrics="<|im_start|>")
    end = turbo_pipe.tokenizer.pad_token_id
    [tokens] = twin.renderer.reader.tokenize(request_for(twin, [SEED]), [plan])
    text, lyric = their_ids(turbo_pipe, plan)
    assert (tokens.text.count(end), text[0].count(end)) == (2, 3)
    assert len(tokens.lyric) > len(lyric[0])


def test_codes_the_codebook_does_not_have(twin: AceStepHandler, turbo_pipe: AceStepPipeline) -> None:
    """Ours are an error. Theirs become the last code."""
    beyond = spelled([twin.renderer.reader.codebook_size])
    with pytest.raises(InputError, match="holds code 4096, but this model's codes are 0 to 4095"):
        request_for(twin, [SEED], audio_codes=beyond).plan(twin.renderer.reader.codebook_size)
    clamped, _ = turbo_pipe.prepare_src_latents(CPU, torch.float32, audio_codes=beyond)
    last, _ = turbo_pipe.prepare_src_latents(CPU, torch.float32, audio_codes=spelled([4095]))
    assert torch.equal(clamped, last)


def test_what_nobody_said(twin_base: AceStepHandler) -> None:
    """Ours depends on the model and on the lyrics. Theirs is one set of turbo's values, in English, for a minute."""
    request = request_for(twin_base, [SEED], inference_steps=None)
    plan = request.plan(twin_base.renderer.reader.codebook_size)
    ours_unsaid = {
        "audio_duration": plan.duration_s,
        "lyrics": plan.lyrics,
        "vocal_language": plan.metadata.language,
        "num_inference_steps": request.sampling.steps,
        "shift": request.sampling.shift,
    }
    assert ours_unsaid == {
        "audio_duration": 30.0,
        "lyrics": "[Instrumental]",
        "vocal_language": "unknown",
        "num_inference_steps": 50,
        "shift": 1.0,
    }
    signature = inspect.signature(AceStepPipeline.__call__).parameters
    assert {name: signature[name].default for name in ours_unsaid} == {
        "audio_duration": 60.0,
        "lyrics": "",
        "vocal_language": "en",
        "num_inference_steps": 8,
        "shift": 3.0,
    }
    assert request.sampling.guidance_scale == signature["guidance_scale"].default == 7.0
