"""The whole road from a plan to latents and sound against diffusers' ``AceStepPipeline``, same weights, same noise.

Token ids, encoder states, context, times, and the latents after the last step agree in fp32 to 1e-5 of the largest
value. What we do otherwise on purpose is in ``test_parity_disagreements``.
"""

from __future__ import annotations

import inspect

import pytest
import torch
from diffusers import AceStepPipeline, AceStepTransformer1DModel

from acestep.audio.codec import Codec
from acestep.denoise import Denoiser
from acestep.handler import AceStepHandler
from acestep.models.config import FULL, WINDOWED
from acestep.planner.plan import Metadata, Plan
from acestep.playing import Rendering
from acestep.sampling.noise import item_noise

from models_support import assert_close
from parity_support import (
    SEED,
    WORDS,
    Seen,
    far,
    latents_of,
    mean_encoding,
    ours,
    recording,
    request_for,
    song,
    their_ids,
    theirs,
)

GUIDED = {"inference_steps": 12, "shift": 1.0, "guidance_scale": 7.0}
CODES = [7 * index % 1000 for index in range(61)]


def assert_agrees(rendering: Rendering, seen: Seen) -> None:
    """Everything the networks were given, and the latents, for songs of equal lengths."""
    songs = len(rendering.songs)
    assert seen.ids[0].tolist() == [list(tokens.text) for tokens in rendering.tokens]
    assert seen.ids[1].tolist() == [list(tokens.lyric) for tokens in rendering.tokens]
    conditions = rendering.conditions
    assert conditions.encoder_mask.all()
    assert_close(conditions.encoder_states, seen.conditions[0][:songs])
    assert_close(conditions.context, seen.context[0][:songs])
    assert_close(latents_of(rendering), seen.latents)


def test_sizes_that_the_embedded_files_leave_open(turbo_pipe: AceStepPipeline) -> None:
    """Both sides get these from our configuration, so no comparison below could tell that they are wrong."""
    published = inspect.signature(AceStepTransformer1DModel.__init__).parameters
    names = "rope_theta rms_norm_eps sliding_window patch_size in_channels audio_acoustic_hidden_dim".split()
    ours_open = {name: turbo_pipe.transformer.config[name] for name in names}
    assert ours_open == {name: published[name].default for name in names}
    layers = [WINDOWED, FULL] * 2
    assert turbo_pipe.transformer.config["layer_types"][: len(layers)] == layers


# --- The loop and the conditions --------------------------------------------------------------------------------

SONGS = {
    "lyrics": song(4.0),
    "no lyrics": song(lyrics=""),
    "instrumental": song(lyrics="[Instrumental]"),
    "lyrics beyond the attention window": song(lyrics=WORDS * 8),
    "one frame": song(0.04),
    "odd frames": song(5.0),
    "odd frames beyond the attention window": song(14.52),
    "open metadata": Plan("drums", "la", Metadata(duration=10.0)),
    "35 frames of codes": song(codes=CODES[:7]),
    "305 frames of codes": song(codes=CODES),
}
SONG_CASES = pytest.mark.parametrize("plan", SONGS.values(), ids=SONGS.keys())


@SONG_CASES
def test_turbo_songs(twin: AceStepHandler, turbo_pipe: AceStepPipeline, plan: Plan) -> None:
    assert_agrees(ours(twin, plan), theirs(turbo_pipe, plan, shift=3.0))


@SONG_CASES
def test_base_songs_guided_by_apg(twin_base: AceStepHandler, base_pipe: AceStepPipeline, plan: Plan) -> None:
    rendering = ours(twin_base, plan, **GUIDED)
    seen = theirs(base_pipe, plan, num_inference_steps=12, shift=1.0, guidance_scale=7.0)
    assert_agrees(rendering, seen)
    assert seen.rows == [2] * 12
    model = twin_base.renderer.family.model
    assert torch.equal(seen.conditions[0][1:], model.null_conditions(rendering.conditions.encoder_states))


@pytest.mark.parametrize(
    "sampling", [{"shift": 1.0}, {"shift": 2.0}, {"shift": 2.5}, {"timesteps": [0.9, 0.55, 0.2]}, {"steps": 3}]
)
def test_turbo_schedules(twin: AceStepHandler, turbo_pipe: AceStepPipeline, sampling: dict[str, object]) -> None:
    steps = sampling.get("steps", 8)
    given = {name: value for name, value in sampling.items() if name != "steps"}
    rendering = ours(twin, song(), inference_steps=steps, **given)
    seen = theirs(turbo_pipe, song(), num_inference_steps=steps, **given)
    assert_agrees(rendering, seen)
    schedule = request_for(twin, [SEED], inference_steps=steps, **given).sampling.schedule
    assert [t for t, _ in seen.times] == pytest.approx(schedule[:-1], abs=1e-6)
    assert all(t == r for t, r in seen.times)


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_base_without_guidance(twin_base: AceStepHandler, base_pipe: AceStepPipeline, scale: float) -> None:
    rendering = ours(twin_base, song(5.0), inference_steps=12, guidance_scale=scale)
    seen = theirs(base_pipe, song(5.0), num_inference_steps=12, shift=1.0, guidance_scale=scale)
    assert_agrees(rendering, seen)
    assert seen.rows == [1] * 12


def test_base_with_a_shift_and_weaker_guidance(twin_base: AceStepHandler, base_pipe: AceStepPipeline) -> None:
    rendering = ours(twin_base, song(), inference_steps=20, shift=3.0, guidance_scale=2.5)
    assert_agrees(rendering, theirs(base_pipe, song(), num_inference_steps=20, shift=3.0, guidance_scale=2.5))


def test_a_guided_batch_from_its_seeds(twin_base: AceStepHandler, base_pipe: AceStepPipeline) -> None:
    """Two different prompts of equal length; diffusers draws the noise itself, from a generator per song."""
    plans, seeds = (song(caption="calm 1"), song(caption="calm 2")), (5, 2**32 - 1)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    seen = theirs(
        base_pipe, *plans, latents=None, generator=generators, num_inference_steps=12, shift=1.0, guidance_scale=7.0
    )
    assert_agrees(ours(twin_base, *plans, seeds=seeds, **GUIDED), seen)


def test_the_sound(twin: AceStepHandler, turbo_pipe: AceStepPipeline) -> None:
    """Through both decoders, at the level of diffusers' normalisation."""
    [played] = ours(twin, song()).songs
    audio = theirs(turbo_pipe, song(), output_type="pt").latents[0]
    assert_close(played.waveform * (audio.abs().max() / played.waveform.abs().max()), audio)


# --- References and sources -------------------------------------------------------------------------------------


def test_a_reference_of_which_both_hear_all(twin: AceStepHandler, turbo_pipe: AceStepPipeline) -> None:
    """15 s, heard twice; where a longer one is heard is a disagreement."""
    heard = recording(15)
    rendering = ours(twin, song(1.0), reference=heard)
    with mean_encoding():
        assert_agrees(rendering, theirs(turbo_pipe, song(1.0), reference_audio=heard))
    without = ours(twin, song(1.0)).conditions.encoder_states
    assert far(rendering.conditions.encoder_states, without)


def test_the_semantic_round_trip_of_a_source(twin: AceStepHandler, turbo_pipe: AceStepPipeline) -> None:
    """The source of a cover: VAE, codes, detokenizer; 67 frames are no multiple of the 5 of a code."""
    family, source = twin.renderer.family, recording(2.7)[None]
    with mean_encoding():
        theirs_source, frames = turbo_pipe.prepare_src_latents(
            torch.device("cpu"), torch.float32, src_audio=source[0], task_type="cover"
        )
    with torch.inference_mode():
        round_trip = family.model.semantic_round_trip(Codec(family.vae).encode(source), family.silence)
    assert frames == 67
    assert_close(round_trip, theirs_source)


# --- Prompts ----------------------------------------------------------------------------------------------------

TEXTS = {
    "ascii": ("upbeat disco with strings, 128 BPM", "[Chorus]\nDance  all night!\n"),
    "other scripts": ("静かな雨 🎹 — ñandú", "[Verse]\nПривет, мир\n你好世界\nمرحبا"),
    "not normalised": ("cafe\u0301 A\u030a", "e\u0301te\u0301"),
    "whitespace": ("  two  spaces\t and tab\r\n", "\n\n line \n"),
    "headings": ("# Caption\nof a caption\n\n# Metas\n- bpm: 1", "# Lyric\n# Languages"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize("instruction", [None, "Play it backwards", "Generate the VOCALS track:"])
@pytest.mark.parametrize("texts", TEXTS.values(), ids=TEXTS.keys())
def test_prompts_become_the_same_ids(
    twin: AceStepHandler, turbo_pipe: AceStepPipeline, texts: tuple[str, str], instruction: str | None
) -> None:
    caption, lyrics = texts
    plan = song(123.9, lyrics, caption)
    request = request_for(twin, [SEED], **({"instruction": instruction} if instruction else {}))
    [tokens] = twin.renderer.reader.tokenize(request, [plan])
    text, lyric = their_ids(turbo_pipe, plan, instruction)
    assert text == [list(tokens.text)]
    assert lyric == [list(tokens.lyric)]


# --- The velocity of a batch, without its caches ----------------------------------------------------------------


@pytest.mark.parametrize("level", [1.0, 21 / 22, 0.37])
def test_the_denoiser_is_plain_calls_with_r_equal_to_t(
    twin_base: AceStepHandler, base_pipe: AceStepPipeline, level: float
) -> None:
    """Caches, the guided pair and padding against one call per song and condition, diffusers' and our own."""
    plans, seeds = (song(5.0), song(4.0, lyrics="")), (1, 2)
    conditions = ours(twin_base, *plans, seeds=seeds, **GUIDED).conditions
    model, t, x = twin_base.renderer.family.model, torch.tensor([level]), item_noise(seeds, conditions.frames, 64)
    with torch.inference_mode():
        denoiser = Denoiser(model, conditions, guided=True)
        pair = denoiser(x, level, guided=True)
        plain, nothing = denoiser(x, level, guided=False)
        assert nothing is None
        for item, frames in enumerate(conditions.frames):
            row = slice(item, item + 1)
            own = conditions.encoder_states[row, conditions.encoder_mask[item]]
            alone = x[row, :frames], conditions.context[row, :frames]
            for velocity, states in zip((*pair, plain), (own, model.null_conditions(own), own), strict=True):
                fresh = model.decoder.cross_attention_cache(states)
                assert_close(velocity[row, :frames], model.decoder(alone[0], t, alone[1], fresh, r=t))
                reference = base_pipe.transformer(alone[0], t, t, states, alone[1], return_dict=False)[0]
                assert_close(velocity[row, :frames], reference)
            ahead = base_pipe.transformer(alone[0], t, t - 0.3, own, alone[1], return_dict=False)[0]
            assert far(ahead, plain[row, :frames])
