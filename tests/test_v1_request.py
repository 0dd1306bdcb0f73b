"""A call to a v1 model is judged before any model moves: what is refused, drawn, or told to have no effect."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest

from acestep.checkpoints.registry import MODELS
from acestep.constants import INSTRUMENTAL_LYRICS
from acestep.editing.canvas import lay_out
from acestep.errors import AceStepError, InputError, UnsupportedError
from acestep.fields import FIELDS, FIRST_FAMILY, PLANNER, SECOND_FAMILY
from acestep.params import GenerationConfig, GenerationParams
from acestep.request import Request
from acestep.tasks import FIRST_TASKS, TASKS, Region
from acestep.v1.adapter_source import HubSource
from acestep.v1.choice import choose_v1

BELONGS = "it belongs to the ACE-Step 1.5 models"
NO_CORRECTION = "it belongs to wavelet correction, which is off"
NOT_ASKED = "it belongs to the planner, which is not asked"
FOR_OTHERS = {  # what v1 does not read: another value than the default, and why it does nothing
    "instruction": ("Do it.", BELONGS),
    "bpm": (120, BELONGS),
    "keyscale": ("Am", BELONGS),
    "timesignature": ("3", BELONGS),
    "reference_audio": ("voice.wav", BELONGS),
    "shift": (2.0, BELONGS),
    "infer_method": ("sde", BELONGS),
    "timesteps": ([0.9, 0.5], BELONGS),
    "use_adg": (True, BELONGS),
    "cfg_interval_start": (0.1, BELONGS),
    "cfg_interval_end": (0.9, BELONGS),
    "dcw_mode": ("low", BELONGS),
    "dcw_scaler": (0.1, NO_CORRECTION),
    "dcw_high_scaler": (0.1, NO_CORRECTION),
    "lm_temperature": (0.5, NOT_ASKED),
    "lm_cfg_scale": (3.0, NOT_ASKED),
    "lm_top_k": (3, NOT_ASKED),
    "lm_top_p": (0.5, NOT_ASKED),
    "lm_negative_prompt": ("noise", NOT_ASKED),
    "lm_repetition_penalty": (1.1, NOT_ASKED),
    "use_cot_metas": (False, NOT_ASKED),
    "use_cot_caption": (False, NOT_ASKED),
    "use_cot_lyrics": (True, NOT_ASKED),
    "use_cot_language": (False, NOT_ASKED),
    "use_constrained_decoding": (False, NOT_ASKED),
}
COMPARED_WITHOUT = {  # what v1 reads, but not where a recording is carried from words to words
    "cfg_type": "cfg",
    "omega_scale": 3.0,
    "use_erg_tag": False,
    "use_erg_lyric": False,
    "use_erg_diffusion": False,
    "guidance_scale_text": 5.0,
    "guidance_scale_lyric": 1.5,
    "guidance_interval": 0.9,
    "guidance_interval_decay": 0.5,
    "min_guidance_scale": 1.0,
}
RECORDED = {"src_audio": "song.wav"}
FLOW = {"task_type": "edit", "style_prompt": "jazz", **RECORDED}


def judged(model: str = "tiny-v1", *, batch_size: int = 1, **said: Any) -> Request:
    usual = {"caption": "pop, piano", "seed": 1, "inference_steps": None, "guidance_scale": None}
    params = GenerationParams(**{**usual, **said})
    return Request.from_params(params, GenerationConfig(batch_size=batch_size), MODELS[model])


def told(**said: Any) -> tuple[str, ...]:
    return judged(**said).warnings


def refused(error: type[AceStepError] = InputError, **said: Any) -> str:
    with pytest.raises(error) as caught:
        judged(**said)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- Length ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["tiny-v1", "v1-3.5B"])
@pytest.mark.parametrize("seconds", [5, 9.9, 240.1, 241, 600, math.nan, math.inf])
def test_a_song_has_10_to_240_seconds(model: str, seconds: float) -> None:
    sentence = f"Invalid audio duration: duration must be 10 to 240 seconds, not {seconds:g}."
    assert refused(model=model, duration=seconds) == sentence


@pytest.mark.parametrize("seconds", [10, 10.0, 77.7, 240])
def test_what_is_allowed_is_taken(seconds: float) -> None:
    request = judged(duration=seconds)
    assert (request.metadata.duration, request.warnings) == (seconds, ())


@pytest.mark.parametrize("nothing", [0, -1, None, -0.5])
def test_a_length_nobody_said_is_drawn_from_the_seed(nothing: float | None) -> None:
    drawn = [judged(duration=nothing, seed=seed).metadata.duration for seed in range(40)]
    assert drawn == [judged(duration=-1, seed=seed).metadata.duration for seed in range(40)]
    assert all(30 <= seconds <= 240 for seconds in drawn)
    assert len(set(drawn)) > 35
    assert min(drawn) < 60 < 200 < max(drawn)


def test_songs_made_at_once_are_as_long_as_the_first_would_be_alone() -> None:
    request = judged(batch_size=3, seed=5)
    assert request.seeds == (5, 6, 7)
    assert request.metadata.duration == judged(seed=5).metadata.duration != judged(seed=6).metadata.duration


@pytest.mark.parametrize("task", [row for row in FIRST_TASKS.values() if row.needs_source], ids=lambda row: row.name)
def test_a_recording_decides_the_length_of_what_is_made_of_it(task: Any) -> None:
    words = {"style_prompt": "jazz"} if task.target_words else {}
    place = {"repainting_start": 1.0, "repainting_end": 2.0} if task.region is Region.GIVEN else {}
    request = judged(task_type=task.name, duration=500, **RECORDED, **words, **place)
    assert request.metadata.duration is None
    assert request.warnings == ("duration has no effect: src_audio decides the length.",)
    assert request.edit is not None
    assert request.edit.song_max_s == 240


@pytest.mark.parametrize(
    "task", [row for row in FIRST_TASKS.values() if row.needs_source and not row.keeps_outside], ids=lambda t: t.name
)
def test_a_whole_song_is_made_of_a_recording_of_240_seconds_at_most(task: Any) -> None:
    order = judged(task_type=task.name, **RECORDED, style_prompt="jazz").edit
    assert lay_out(order, 240 * 48_000).seconds == 240
    with pytest.raises(InputError, match="src_audio: the result would be 241 s long; at most 240 s") as caught:
        lay_out(order, 241 * 48_000)
    assert caught.value.field == "src_audio"


# --- Tasks and models -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", sorted(TASKS.keys() - FIRST_TASKS.keys()))
def test_a_task_that_v1_lacks_names_the_models_that_have_it(task: str) -> None:
    sentence = refused(UnsupportedError, task_type=task, track_name="drums", **RECORDED)
    assert sentence.startswith(f"task_type {task!r} needs a model that was trained for it, and tiny-v1 was not; ")
    able = sentence.removesuffix(".").partition("choose one of: ")[2].split(", ")
    assert able == [spec.name for spec in MODELS.values() if spec.released and task in spec.variant.tasks]
    assert {"acestep-v15-base", "tiny-base"} <= set(able)
    assert not {"v1-3.5B", "tiny-v1"} & set(able)


def test_a_voice_to_accompany_is_meant_by_either_name() -> None:
    named = judged(task_type="vocal_accompaniment", **RECORDED)
    meant = judged(generate_accompaniment=True, **RECORDED)
    assert named.task is meant.task is FIRST_TASKS["vocal_accompaniment"]
    assert refused(generate_accompaniment=True) == "src_audio is needed for task_type 'vocal_accompaniment'."


def test_a_style_of_the_accompaniment_is_said_in_the_tags() -> None:
    request = judged(task_type="vocal_accompaniment", accompaniment_style="jazz", **RECORDED)
    assert (request.caption, request.warnings) == ("jazz accompaniment, pop, piano", ())


def test_an_adapter_does_not_go_with_the_second_generation() -> None:
    adapter = {"lora_name_or_path": "somebody/some-lora", "thinking": False}
    sentence = refused(UnsupportedError, model="acestep-v15-turbo", **adapter)
    assert sentence == (
        "lora_name_or_path 'somebody/some-lora' does not go with model 'acestep-v15-turbo', which takes no adapters "
        "yet; choose one of: v1-3.5B, tiny-v1."
    )
    order = judged(**adapter, lora_weight=0.5).adapter
    assert order is not None
    assert (order.source, order.weight) == (HubSource("somebody/some-lora"), 0.5)


@pytest.mark.parametrize("nothing", ["none", "None", "", "  "])
def test_no_adapter_is_spelled_in_several_ways(nothing: str) -> None:
    request = judged(lora_name_or_path=nothing)
    assert (request.adapter, request.warnings) == (None, ())
    told_of_weight = ("lora_weight has no effect: lora_name_or_path is none.",)
    assert told(lora_name_or_path=nothing, lora_weight=0.5) == told_of_weight


def test_half_an_adapter_is_none_and_is_told() -> None:
    request = judged(lora_name_or_path="somebody/some-lora", lora_weight=0)
    assert (request.adapter, request.warnings) == (None, ("lora_name_or_path has no effect: lora_weight is 0.",))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"lora_weight": 2.1}, "lora_weight must be a number from 0 to 2, not 2.1."),
        ({"lora_name_or_path": "no such thing"}, "lora_name_or_path must be a hub id such as ACE-Step/"),
        ({"lora_name_or_path": "somebody/lora.ckpt"}, "'somebody/lora.ckpt' is a pickle, which may run code"),
        ({"lora_name_or_path": "http://huggingface.co/a.safetensors"}, "the URL must begin with https://"),
    ],
)
def test_an_adapter_that_cannot_be_one_is_refused(said: dict[str, Any], sentence: str) -> None:
    assert sentence in refused(**said)


# --- Words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [{}, {"lyrics": " \n"}, {"instrumental": True, "lyrics": "la la"}])
def test_a_song_without_words_is_an_instrumental(said: dict[str, Any]) -> None:
    request = judged(**said)
    assert (request.lyrics, request.warnings) == (INSTRUMENTAL_LYRICS, ())


def test_a_song_needs_words_of_either_kind() -> None:
    assert refused(caption=" ") == "caption and lyrics are both empty; text2music needs at least one."
    assert judged(caption="", lyrics="[verse]\nla la").caption == ""


@pytest.mark.parametrize("said", [{}, {"task_type": "repaint", "repainting_end": 1.0, "repainting_start": 0.5}])
def test_a_tag_that_v1_does_not_know_is_told_with_what_to_write_instead(said: dict[str, Any]) -> None:
    lyrics = "[Verse 1]\nla la\n[chorus]\nla"
    source = RECORDED if said else {}
    advice = "'[Verse 1]' is no structure tag of v1 and is read as words; write [verse]."
    assert told(lyrics=lyrics, **said, **source) == (advice,)
    assert judged(lyrics=lyrics, **said, **source).lyrics == lyrics


def test_of_a_flow_edit_the_new_words_are_looked_at() -> None:
    assert told(**FLOW, lyrics="[Verse 1]\nla", style_lyrics="[verse]\nlo") == ()
    assert "[Verse 1]" in told(**FLOW, lyrics="[verse]\nla", style_lyrics="[Verse 1]\nlo")[0]


@pytest.mark.parametrize(("language", "known"), [("unknown", True), ("en", True), ("zh", True), ("sv", False)])
def test_a_language_that_v1_does_not_sing_is_told(language: str, known: bool) -> None:
    sentence = f"vocal_language {language!r} is none of v1's; the language of each line is found instead."
    request = judged(vocal_language=language, lyrics="[verse]\nla la")
    assert (request.warnings, request.metadata.language) == (() if known else (sentence,), language)


def test_the_words_of_an_accompaniment_are_not_sung_and_that_is_told() -> None:
    sentence = "lyrics has no effect on task_type 'vocal_accompaniment': nobody sings in the accompaniment."
    assert told(task_type="vocal_accompaniment", lyrics="[Verse 1]\nla", **RECORDED) == (sentence,)


def test_what_needs_a_planner_is_refused_and_what_only_allows_one_is_not() -> None:
    sentence = "simple_query needs a planner, and tiny-v1 has none; give caption and lyrics."
    assert refused(UnsupportedError, caption="", simple_query="a song") == sentence
    for thinking in (True, False):
        request = judged(thinking=thinking)
        assert (request.order, request.listens, request.warnings) == (None, None, ())
    assert judged(task_type="audio2audio", thinking=True, **RECORDED).listens is None


def test_how_lines_are_read_is_one_of_two_ways() -> None:
    assert [judged(lyric_detection=how).lyric_detection for how in ("script", "upstream")] == ["script", "upstream"]
    assert refused(lyric_detection="guess") == "lyric_detection 'guess' is unknown; choose one of: script, upstream."


# --- Sampling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["ab3", "stork4"])
def test_a_solver_of_the_other_generation_is_refused(solver: str) -> None:
    sentence = f"scheduler_type {solver!r} belongs to {SECOND_FAMILY}; choose one of: euler, heun, pingpong."
    assert refused(UnsupportedError, scheduler_type=solver) == sentence


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"scheduler_type": "dpm"}, "scheduler_type 'dpm' is unknown; choose one of: euler, heun, pingpong, ab3,"),
        ({"oss_steps": [3, 2]}, "oss_steps must rise from step to step, but 3 is followed by 2."),
        ({"oss_steps": [0, 2]}, "oss_steps holds 0; every step must be a whole number from 1 to 200."),
        ({"oss_steps": [201]}, "oss_steps holds 201"),
        ({"oss_steps": "1,2"}, "oss_steps must be a list of numbers, not '1,2'."),
        ({"oss_steps": [1, 2], "scheduler_type": "heun"}, "oss_steps does not go with scheduler_type 'heun'"),
        ({"inference_steps": 201}, "inference_steps must be from 1 to 200 for tiny-v1, not 201."),
        ({"omega_scale": 100.5}, "omega_scale must be a number from -100 to 100, not 100.5."),
        ({"guidance_interval": 1.1}, "guidance_interval must be a number from 0 to 1, not 1.1."),
        ({"bpm": 29}, "bpm must be from 30 to 300, not 29."),
        ({"keyscale": "H minor"}, "keyscale 'H minor' is not a key"),
        ({"shift": 0.0}, "shift must be a number from 0.1 to 10, not 0"),
        ({"extend_start_duration": 0.5}, "extend_start_duration must be a number from 1 to 600, not 0.5."),
        ({**FLOW, "scheduler_type": "pingpong"}, "task_type 'edit' runs with scheduler_type 'euler' alone"),
        ({**FLOW, "style_prompt": " "}, "style_prompt and style_lyrics are both empty; edit needs the new words."),
        ({"task_type": "audio2audio"}, "src_audio is needed for task_type 'audio2audio'."),
        ({"src_audio": "song.wav"}, "src_audio does not go with task_type 'text2music'."),
        ({"task_type": "repaint", "repainting_end": 0, **RECORDED}, "give no region"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(said: dict[str, Any], sentence: str) -> None:
    assert sentence in refused(**said)


def test_what_nobody_said_is_the_models_and_what_was_said_is_taken() -> None:
    usual = judged()
    assert (usual.sampling.steps, usual.sampling.guidance_scale, usual.warnings) == (60, 15.0, ())
    said = judged(inference_steps=8, guidance_scale=7.0)  # the defaults of Python, made for other models
    assert (said.sampling.steps, said.sampling.guidance_scale) == (8, 7.0)
    assert said.warnings == ("inference_steps 8 is rough for tiny-v1; 20 to 100 are recommended.",)


def test_picked_steps_are_the_steps() -> None:
    request = judged(oss_steps=[1, 10, 20])
    assert (request.sampling.steps, request.sampling.picks, request.warnings) == (3, (1, 10, 20), ())


# --- What has no effect ---------------------------------------------------------------------------------------------


def test_the_list_of_what_v1_does_not_read_is_whole() -> None:
    by_table = {field.name for field in FIELDS if field.owner in {SECOND_FAMILY, PLANNER}}
    assert by_table <= FOR_OTHERS.keys()
    by_sampling = {"shift", "infer_method", "timesteps", "use_adg", "cfg_interval_start", "cfg_interval_end"}
    assert FOR_OTHERS.keys() - by_table == by_sampling | {"dcw_mode", "dcw_scaler", "dcw_high_scaler"}
    assert not {field.name for field in FIELDS if field.owner == FIRST_FAMILY} & FOR_OTHERS.keys()


@pytest.mark.parametrize("name", FOR_OTHERS)
def test_what_belongs_to_others_is_told_once_and_only_when_it_was_changed(name: str) -> None:
    value, why = FOR_OTHERS[name]
    assert told(**{name: value}) == (f"{name} has no effect: {why}.",)
    (default,) = (field.default for field in fields(GenerationParams) if field.name == name)
    assert told(**{name: default}) == ()


def test_everything_at_once_is_told_once_each() -> None:
    warnings = told(**{name: value for name, (value, _) in FOR_OTHERS.items()})
    assert sorted(warnings) == sorted(f"{name} has no effect: {why}." for name, (_, why) in FOR_OTHERS.items())


def test_an_empty_instruction_is_none_as_other_doors_send_it() -> None:
    assert told(instruction="") == ()


@pytest.mark.parametrize("name", COMPARED_WITHOUT)
def test_a_flow_edit_tells_what_it_samples_without(name: str) -> None:
    sentence = f"{name} has no effect on task_type 'edit'."
    usual, changed = judged(**FLOW), judged(**FLOW, **{name: COMPARED_WITHOUT[name]})
    assert (usual.warnings, changed.warnings) == ((), (sentence,))
    assert changed.sampling.comparing().schedule == usual.sampling.comparing().schedule
    everything = told(**FLOW, **COMPARED_WITHOUT, guidance_scale=1.0)
    assert sorted(everything) == sorted(f"{name} has no effect on task_type 'edit'." for name in COMPARED_WITHOUT)


def test_a_flow_edit_is_the_same_whatever_it_does_not_read() -> None:
    """The list is that of ``V1Choice.comparing``: nothing on it changes how a flow edit is sampled."""
    spec = MODELS["tiny-v1"]
    compared = [
        choose_v1(GenerationParams(**said), spec)[0].comparing()
        for said in ({}, *({name: value} for name, value in COMPARED_WITHOUT.items()))
    ]
    ignored = {"min_guidance_scale", "scale_text", "scale_lyric"}  # kept in the value, read by no kind of guidance
    seen = {tuple(getattr(one, field.name) for field in fields(one) if field.name not in ignored) for one in compared}
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("said", "sentences"),
    [
        (
            {"task_type": "extend", "variation_strength": 0.5},
            ["variation_strength has no effect on task_type 'extend'"],
        ),
        ({"variation_seed": 4}, ["variation_seed has no effect: variation_strength is 0"]),
        ({"variation_seed": 4, "variation_strength": 0.5}, []),
        (
            {"task_type": "repaint", "repainting_start": 1.0, "variation_seed": 4, "variation_strength": 0.5},
            ["variation_seed has no effect on task_type 'repaint'"],
        ),
        (
            {"task_type": "extend", "extend_start_duration": 5.0},
            ["extend_start_duration has no effect: continuation_mode is extend_end"],
        ),
        ({"task_type": "extend", "extend_start_duration": 5.0, "continuation_mode": "extend_both"}, []),
        (
            {"extend_start_duration": 5.0, "continuation_mode": "extend_both"},
            [
                "continuation_mode has no effect on task_type 'text2music'",
                "extend_start_duration has no effect on task_type 'text2music'",
            ],
        ),
        (
            {"task_type": "style_transfer", "style_prompt": "jazz", "edit_n_min": 0.2},
            ["edit_n_min has no effect on task_type 'style_transfer'"],
        ),
        ({"preserve_vocals": True}, ["preserve_vocals has no effect on task_type 'text2music'"]),
        (
            {"task_type": "audio2audio", "preserve_vocals": True, "audio_cover_strength": 0.4},
            [
                "audio_cover_strength has no effect on task_type 'audio2audio'",
                "preserve_vocals has no effect on task_type 'audio2audio'",
            ],
        ),
        ({"audio_codes": "<|audio_code_3|>"}, ["audio_codes has no effect on task_type 'text2music'"]),
    ],
)
def test_what_a_task_does_not_read_is_told(said: dict[str, Any], sentences: list[str]) -> None:
    source = {} if said.get("task_type", "text2music") == "text2music" else RECORDED
    assert sorted(told(**said, **source)) == [f"{sentence}." for sentence in sentences]


def test_both_sides_of_a_recording_may_grow_by_different_lengths() -> None:
    both = {"task_type": "extend", "continuation_mode": "extend_both", "extend_duration": 4.0, **RECORDED}
    assert judged(**both).edit.grow_s == (4.0, 4.0)
    assert judged(**both, extend_start_duration=2.5).edit.grow_s == (2.5, 4.0)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_how_far_from_the_recording_is_said_by_two_tasks(strength: float) -> None:
    near = pytest.approx(1 - strength)
    assert judged(task_type="audio2audio", audio2audio_strength=strength, **RECORDED).edit.start_from == near
    flow = judged(task_type="style_transfer", style_prompt="jazz", style_strength=strength, **RECORDED).edit.flow
    assert (flow.start, flow.stop) == (near, 1.0)
