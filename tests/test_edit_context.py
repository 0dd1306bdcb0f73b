"""What the transformer hears in every task, value by value: against the published table, and against diffusers.

The expected context is worked out here from the rules of the published models and from diffusers' VAE, tokenizer and
detokenizer on the same weights: nothing of ``prepare``, ``conditioning.context`` and ``editing.canvas`` is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from diffusers import AceStepPipeline
from torch import Tensor

from acestep.constants import LATENT_CHANNELS, SAMPLE_RATE
from acestep.handler import AceStepHandler
from acestep.sampling.noise import item_noise
from acestep.takes import Performance

from edit_support import judged, played, tune, watched_steps
from models_support import assert_close
from parity_support import far, mean_encoding, song, their_ids, theirs

CPU = torch.device("cpu")
FRAME = 1920
FILL = "Fill the audio semantic mask based on the given conditions:"
COVER = "Generate audio semantic tokens based on the given conditions:"
REPAINT = "Repaint the mask area based on the given conditions:"
LEGO = "Generate the BACKING_VOCALS track based on the audio context:"


def encoded(base_pipe: AceStepPipeline, recording: np.ndarray) -> Tensor:
    """Latents ``[1, T, C]`` of all of a recording, the last frame filled with digital silence, by diffusers."""
    whole = np.pad(recording, ((0, 0), (0, -recording.shape[1] % FRAME)))
    with mean_encoding(), torch.no_grad():
        return base_pipe.prepare_src_latents(CPU, torch.float32, src_audio=torch.from_numpy(whole))[0]


def through_codes(base_pipe: AceStepPipeline, latents: Tensor) -> Tensor:
    """What the semantic codes keep of latents ``[1, T, C]``, by diffusers; silence fills up the last code."""
    missing = -latents.shape[1] % 5
    filled = torch.cat([latents, base_pipe.condition_encoder.silence_latent[:, :missing]], dim=1)
    with torch.no_grad():
        quantized, _ = base_pipe.audio_tokenizer.tokenize(filled)
        return base_pipe.audio_token_detokenizer(quantized)[:, : latents.shape[1]]


# --- The table --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """One row.

    Attributes:
        task: its name.
        instruction: first line of the text prompt, character for character.
        source: "silence", "latents" or "codes".
        fields: of the call.
        seconds: length of the recording.
        before, behind: samples of silence around the recording on the timeline.
        mask: frames (first, end) where the mask is 1; None is all.
        erased: there the source is silence.
    """

    task: str
    instruction: str
    source: str
    fields: dict[str, object] = field(default_factory=dict)
    seconds: float = 4.0
    before: int = 0
    behind: int = 0
    mask: tuple[int, int] | None = None
    erased: bool = False


def region(start: float, end: float) -> dict[str, object]:
    return {"repainting_start": start, "repainting_end": end}


ODD = 3.999  # 99.975 frames: the last one is cut, and 100 are 20 codes
CASES = {
    "text2music": Case("text2music", FILL, "silence", {"src_audio": None, "duration": 10}, seconds=10.0),
    "cover": Case("cover", COVER, "codes"),
    "cover of a cut frame": Case("cover", COVER, "codes", seconds=ODD),
    "cover of a cut code": Case("cover", COVER, "codes", seconds=3.9),
    "cover-nofsq": Case("cover-nofsq", COVER, "latents", seconds=ODD),
    "style_transfer": Case("style_transfer", COVER, "codes", {"style_prompt": "rock"}),
    "audio2audio": Case("audio2audio", COVER, "codes"),
    "repaint": Case("repaint", REPAINT, "latents", region(1.0, 2.0), mask=(25, 50), erased=True),
    "repaint between frames": Case(
        "repaint", REPAINT, "latents", region(1.039, 2.0399), mask=(25, 50), erased=True, seconds=ODD
    ),
    "repaint to the end": Case("inpainting", REPAINT, "latents", region(1.0, -1), mask=(25, 100), erased=True),
    "repaint of less than a frame": Case(
        "inpainting", REPAINT, "latents", region(1.01, 1.02), mask=(25, 26), erased=True
    ),
    "repaint before the beginning": Case(
        "repaint", REPAINT, "latents", region(-0.5, 1.0), before=24_000, mask=(0, 37), erased=True
    ),
    "repaint beyond the end": Case(
        "repaint", REPAINT, "latents", region(3.0, 5.0), behind=48_000, mask=(75, 125), erased=True
    ),
    "extend": Case(
        "extend", REPAINT, "latents", {"extend_duration": 2.0}, behind=96_000, mask=(100, 150), erased=True
    ),
    "extend from between frames": Case(
        "continuation", REPAINT, "latents", {"extend_duration": 2.0}, seconds=3.99, behind=96_000, mask=(99, 150),
        erased=True,
    ),
    "extend to the front": Case(
        "extend", REPAINT, "latents", {"extend_duration": 2.0, "continuation_mode": "extend_start"}, before=96_000,
        mask=(0, 50), erased=True,
    ),
    "extend in the middle": Case(
        "extend", REPAINT, "latents", {**region(1.0, 2.0), "continuation_mode": "inpaint_middle"}, mask=(25, 50),
        erased=True,
    ),
    "lego": Case("lego", LEGO, "latents", {"track_name": "backing vocals"}, seconds=ODD),
    "lego in a region": Case(
        "lego", LEGO, "latents", {"track_name": "backing_vocals", **region(1.0, 2.0)}, mask=(25, 50)
    ),
    "lego beyond the end": Case(
        "lego", LEGO, "latents", {"track_name": "backing_vocals", **region(3.0, 5.0)}, behind=48_000, mask=(75, 125)
    ),
    "lego as somebody says": Case(
        "lego", "Generate the guitar track based on the audio context:", "latents",
        {"instruction": "Generate the guitar track based on the audio context:"},
    ),
    "extract": Case("extract", "Extract the DRUMS track from the audio:", "latents", {"track_name": "Drums"}),
    "extract as somebody says": Case("extract", "Take it apart", "latents", {"instruction": "Take it apart"}),
    "complete": Case(
        "complete", "Complete the input track with DRUMS | BACKING_VOCALS:", "latents",
        {"track_name": "drums, backing vocals"},
    ),
    "complete with anything": Case("complete", "Complete the input track:", "latents"),
    "vocal_accompaniment": Case(
        "vocal_accompaniment", "Complete the input track with GUITAR:", "latents", {"track_name": "guitar"}
    ),
    "edit": Case("edit", FILL, "silence", {"style_prompt": "rock"}),
}  # fmt: skip


def expected_context(handler: AceStepHandler, base_pipe: AceStepPipeline, case: Case) -> Tensor:
    """Source latents and mask side by side, ``[1, T, 2 * C]``."""
    around = ((0, 0), (case.before, case.behind))
    latents = encoded(base_pipe, np.pad(tune(case.seconds), around))
    silence = handler.renderer.family.silence[:, : latents.shape[1]]
    if case.source == "silence":
        source = silence
    else:
        source = through_codes(base_pipe, latents) if case.source == "codes" else latents.clone()
    first, end = case.mask or (0, latents.shape[1])
    if case.erased:
        source[:, first:end] = silence[:, first:end]
    mask = torch.zeros_like(source)
    mask[:, first:end] = 1
    return torch.cat([source, mask], dim=-1)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_task_hears_what_the_table_says(
    twin_base: AceStepHandler, base_pipe: AceStepPipeline, case: Case
) -> None:
    recording = None if "src_audio" in case.fields else tune(case.seconds)
    performance = played(twin_base, recording, task_type=case.task, **{"inference_steps": 1, **case.fields})
    rendering = performance.rendering
    [piece] = [made.piece for made in rendering.songs]
    assert piece.instruction == case.instruction
    text, _ = their_ids(base_pipe, piece.plan, case.instruction)
    assert [list(tokens.text) for tokens in rendering.tokens] == text
    expected = expected_context(twin_base, base_pipe, case)
    assert torch.equal(rendering.conditions.context[..., LATENT_CHANNELS:], expected[..., LATENT_CHANNELS:])
    assert_close(rendering.conditions.context, expected)


def test_the_kinds_of_source_differ(twin_base: AceStepHandler, base_pipe: AceStepPipeline) -> None:
    """Else the table above could not tell them apart."""
    latents = encoded(base_pipe, tune(4.0))
    silence = twin_base.renderer.family.silence[:, :100]
    assert far(latents, silence)
    assert far(latents, through_codes(base_pipe, latents))
    assert far(silence[:, :25], silence[:, 25:50]), "erasing with other places of silence would not be seen"


def test_codes_are_heard_instead_of_a_recording(twin_base: AceStepHandler, base_pipe: AceStepPipeline) -> None:
    codes = [7 * index % 1000 for index in range(55)]
    spelled = "".join(f"<|audio_code_{code}|>" for code in codes)
    rendering = played(twin_base, None, task_type="cover", audio_codes=spelled).rendering
    seen = theirs(base_pipe, song(codes=codes), num_inference_steps=1)
    assert rendering.songs[0].piece.instruction == COVER
    assert_close(rendering.conditions.context, seen.context[0])


# --- The whole road beside diffusers' ---------------------------------------------------------------------------

SHARED = {
    "cover": ({}, {}),
    "repaint": (region(1.0, 2.5), {"repainting_start": 1.0, "repainting_end": 2.5}),
    "lego": ({"track_name": "guitar"}, {"track_name": "GUITAR"}),
    "extract": ({"track_name": "vocals"}, {"track_name": "VOCALS"}),
    "complete": ({"track_name": "drums,bass"}, {"complete_track_classes": ["DRUMS", "BASS"]}),
}


@pytest.mark.parametrize("task", SHARED)
def test_diffusers_prepares_the_same(twin_base: AceStepHandler, base_pipe: AceStepPipeline, task: str) -> None:
    """Prompts, conditions and context of every task that it knows; and its latents, where it keeps nothing."""
    fields, arguments = SHARED[task]
    recording, guided = tune(4.0), {"inference_steps": 3, "guidance_scale": 5.0}
    rendering = played(twin_base, recording, task_type=task, **guided, **fields).rendering
    [made] = rendering.songs
    with mean_encoding():
        seen = theirs(
            base_pipe, made.plan, seeds=[made.seed], src_audio=torch.from_numpy(recording), task_type=task,
            num_inference_steps=3, guidance_scale=5.0, shift=1.0, **arguments,
        )  # fmt: skip
    assert [list(tokens.text) for tokens in rendering.tokens] == seen.ids[0].tolist()
    assert_close(rendering.conditions.encoder_states, seen.conditions[0][:1])
    assert_close(rendering.conditions.context, seen.context[0][:1])
    if task == "repaint":  # theirs keeps nothing outside: it is what the first step makes of equal noise
        assert far(made.latents[None], seen.latents)
    else:
        assert_close(made.latents[None], seen.latents)


# --- The switch of covers ---------------------------------------------------------------------------------------


def steps_with_the_recording(handler: AceStepHandler, **fields: object) -> tuple[list[bool], Performance]:
    """Of every step, whether the recording was heard in it."""
    with watched_steps(handler) as seen:
        performance = played(handler, tune(2.0), **fields)
    first = performance.rendering.conditions.context
    return [torch.equal(context, first) for context in seen.contexts], performance


@pytest.mark.parametrize(
    ("fields", "heard"),
    [
        ({"task_type": "cover", "audio_cover_strength": 1.0}, 50),
        ({"task_type": "cover", "audio_cover_strength": 0.58}, 29),  # 0.58 * 50 is 28.999... in binary
        ({"task_type": "cover", "audio_cover_strength": 0.579}, 28),
        ({"task_type": "cover", "audio_cover_strength": 0.99}, 49),
        ({"task_type": "cover", "audio_cover_strength": 0.02}, 1),
        ({"task_type": "cover", "audio_cover_strength": 0.01}, 0),
        ({"task_type": "cover-nofsq", "audio_cover_strength": 0.5}, 25),
        ({"task_type": "cover", "audio_cover_strength": 0.0}, 0),
        ({"task_type": "style_transfer", "style_strength": 0.42}, 29),
        ({"task_type": "style_transfer", "style_strength": 1.0}, 0),
        ({"task_type": "audio2audio", "audio2audio_strength": 0.0}, 50),
        ({"task_type": "audio2audio", "audio2audio_strength": 0.9}, 5),
        ({"task_type": "lego", "track_name": "bass", "audio_cover_strength": 0.2}, 50),
        ({"task_type": "cover", "audio_cover_strength": 0.5, "cover_noise_strength": 0.2}, 20),  # of 40 that remain
    ],
)
def test_the_recording_is_heard_for_a_share_of_the_steps(
    twin_base: AceStepHandler, fields: dict[str, object], heard: int
) -> None:
    flags, _ = steps_with_the_recording(twin_base, inference_steps=50, **fields)
    assert flags == [True] * heard + [False] * (len(flags) - heard)
    assert len(flags) == (40 if "cover_noise_strength" in fields else 50)


def test_after_the_switch_it_is_a_new_song(twin_base: AceStepHandler) -> None:
    """Silence as the source, the instruction of a new song, the same words, the same mask."""
    with watched_steps(twin_base) as seen:
        performance = played(twin_base, tune(2.0), task_type="cover", audio_cover_strength=0.5, inference_steps=4)
    [made] = performance.rendering.songs
    silence = twin_base.renderer.family.silence[:, :50]
    first, last = seen.contexts[0], seen.contexts[-1]
    assert torch.equal(last[..., :LATENT_CHANNELS], silence)
    assert torch.equal(last[..., LATENT_CHANNELS:], first[..., LATENT_CHANNELS:])
    request = judged(twin_base, src_audio=None, task_type="text2music")
    alone = twin_base.renderer.render(request, [made.plan])
    assert [len(seen.encoder), seen.encoder[0].shape[0]] == [2, 1]
    assert torch.equal(seen.encoder[0], performance.rendering.conditions.encoder_states)
    assert torch.equal(seen.encoder[1], alone.conditions.encoder_states)
    assert far(seen.encoder[1][:, -1], seen.encoder[0][:, -1])


def test_a_cover_that_hears_nothing_is_a_new_song(twin_base: AceStepHandler) -> None:
    [made] = played(twin_base, tune(2.0), task_type="cover", audio_cover_strength=0.0).rendering.songs
    alone = twin_base.renderer.render(judged(twin_base, src_audio=None, task_type="text2music"), [made.plan])
    assert torch.equal(made.latents, alone.songs[0].latents)


# --- Where a cover starts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strength", "steps", "start"),
    [(0.0, 10, 1.0), (0.2, 10, 0.8), (0.27, 10, 0.7), (0.04, 10, 1.0), (1.0, 10, 0.1), (0.97, 4, 0.25)],
)
def test_the_noise_starts_from_the_recording(
    twin_base: AceStepHandler, base_pipe: AceStepPipeline, strength: float, steps: int, start: float
) -> None:
    """At the schedule's level nearest to 1 - strength; clean latents, whatever the codes keep of them."""
    recording = tune(2.0)
    fields = {"task_type": "cover", "cover_noise_strength": strength, "inference_steps": steps}
    with watched_steps(twin_base) as seen:
        performance = played(twin_base, recording, **fields)
    noise = item_noise([performance.takes[0].seed], [50], LATENT_CHANNELS)
    assert seen.levels[0] == pytest.approx(start, abs=1e-6)
    assert len(seen.levels) == round(start * steps)
    assert_close(seen.states[0], start * noise + (1 - start) * encoded(base_pipe, recording))


# --- What stays while a region is sampled -----------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"scheduler_type": "heun"}, {"infer_method": "sde"}, {"shift": 3.0}])
def test_outside_a_region_every_state_lies_between_the_noise_and_the_recording(
    twin_base: AceStepHandler, base_pipe: AceStepPipeline, fields: dict[str, object]
) -> None:
    recording = tune(4.0)
    with watched_steps(twin_base) as seen:
        performance = played(
            twin_base, recording, task_type="repaint", inference_steps=5, **region(1.0, 2.0), **fields
        )
    [made] = performance.rendering.songs
    noise, clean = item_noise([made.seed], [100], LATENT_CHANNELS), encoded(base_pipe, recording)
    kept = torch.ones(100, dtype=torch.bool)
    kept[25:50] = False
    opened = dict(reversed([*zip(seen.levels, seen.states, strict=True)]))
    assert len(opened) == 5
    for level, state in opened.items():  # of Heun's two looks at a level, the first
        line = level * noise + (1 - level) * clean
        if level == seen.levels[0] or "scheduler_type" not in fields:
            assert_close(state[:, kept], line[:, kept])
    assert_close(made.latents[None, kept], clean[:, kept])
    assert far(made.latents[None, ~kept], clean[:, ~kept])


def test_what_was_in_a_region_leaves_no_trace_in_it(twin_base: AceStepHandler) -> None:
    """Two recordings that differ in the region alone, far from its borders: what is made there is the same."""
    one, other = tune(8.0), tune(8.0)
    hearing = twin_base.renderer.hearing_frames
    first, end = (25 + hearing) * FRAME, (175 - hearing) * FRAME
    assert first < end
    other[:, first:end] = tune(8.0, seed=9)[:, first:end]
    for fields in ({}, {"timesteps": [0.8, 0.4]}):
        made = [
            played(twin_base, recording, task_type="repaint", **region(1.0, 7.0), **fields).rendering.songs[0]
            for recording in (one, other)
        ]
        assert_close(made[0].latents, made[1].latents)


def test_seconds_and_frames_agree_with_the_rates() -> None:
    assert FRAME * 25 == SAMPLE_RATE


def test_levels_of_ones_own_begin_with_noise_where_music_is_made(
    twin_base: AceStepHandler, base_pipe: AceStepPipeline
) -> None:
    """Only ``cover_noise_strength`` starts from the recording."""
    recording, levels = tune(4.0), {"timesteps": [0.5, 0.25]}
    noise, clean = item_noise([3], [100], LATENT_CHANNELS), encoded(base_pipe, recording)
    for task, fields in (("extract", {"track_name": "drums"}), ("cover", {}), ("repaint", region(1.0, 2.0))):
        with watched_steps(twin_base) as seen:
            played(twin_base, recording, task_type=task, **levels, **fields)
        made = slice(25, 50) if task == "repaint" else slice(None)
        assert torch.equal(seen.states[0][:, made], noise[:, made])
        if task == "repaint":
            assert_close(seen.states[0][:, :25], (0.5 * noise + 0.5 * clean)[:, :25])
