"""A call is judged and completed before any model moves."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import pytest

from acestep.checkpoints.registry import MODELS, model_named
from acestep.constants import SEED_MAX
from acestep.errors import InputError, UnsupportedError
from acestep.params import GenerationConfig, GenerationParams
from acestep.request import Request
from acestep.tasks import TASKS, TEXT2MUSIC_INSTRUCTION

TURBO, XL_TURBO, BASE = MODELS["acestep-v15-turbo"], MODELS["acestep-v15-xl-turbo"], MODELS["acestep-v15-base"]


def make(model: str = "acestep-v15-turbo", config: GenerationConfig | None = None, **fields: object) -> Request:
    params = GenerationParams(**{"caption": "calm piano", "thinking": False, **fields})
    return Request.from_params(params, config or GenerationConfig(batch_size=1), model_named(model))


def test_judging_needs_no_torch() -> None:
    code = "import sys, acestep.request, acestep.planner.plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_callers_objects_stay_as_they_are() -> None:
    params = GenerationParams(caption="x", keyscale="am", thinking=False)
    config = GenerationConfig(batch_size=3)
    before = dataclasses.asdict(params), dataclasses.asdict(config)
    Request.from_params(params, config, TURBO)
    assert (dataclasses.asdict(params), dataclasses.asdict(config)) == before


def test_python_defaults_do_not_warn_on_turbo() -> None:
    request = make()
    assert request.warnings == ()
    assert (request.sampling.steps, request.sampling.shift, request.sampling.guidance) == (8, 3.0, "none")


def test_none_means_what_the_model_decides() -> None:
    request = make("acestep-v15-base", inference_steps=None, guidance_scale=None)
    choice = request.sampling
    assert (choice.steps, choice.guidance, choice.guidance_scale, choice.shift) == (50, "apg", 7.0, 1.0)
    assert request.warnings == ()


def test_rough_settings_warn() -> None:
    assert "32 to 64 are recommended" in make("acestep-v15-base").warnings[0]
    assert "no effect" in make(guidance_scale=5.0).warnings[0]
    assert "no effect" in make(use_adg=True).warnings[0]
    assert make(cfg_interval_end=0.5).warnings == (
        "cfg_interval has no effect: acestep-v15-turbo runs without guidance.",
    )
    off = make("acestep-v15-base", inference_steps=50, guidance_scale=1.0, cfg_interval_end=0.5)
    assert off.warnings == ("cfg_interval has no effect: guidance is off.",)
    assert make("acestep-v15-base", inference_steps=50, cfg_interval_end=0.5).warnings == ()
    assert "tend to be lost" in make(caption="a" * 513).warnings[0]
    assert "outside what the models" in make(timesignature="5/4").warnings[0]
    assert "tend to distort" in make("acestep-v15-base", inference_steps=50, guidance_scale=20).warnings[0]


@pytest.mark.parametrize(("model", "runs"), [("acestep-v15-turbo", 8), ("acestep-v15-xl-turbo", 20)])
def test_distilled_models_run_at_most_what_they_were_made_for(model: str, runs: int) -> None:
    request = make(model, inference_steps=60)
    assert request.sampling.steps == runs
    assert f"runs as {runs}" in request.warnings[0]


def test_guidance_kinds() -> None:
    kinds = [
        make("acestep-v15-base", **fields).sampling.guidance
        for fields in ({}, {"cfg_type": "cfg"}, {"use_adg": True}, {"guidance_scale": 1.0}, {"guidance_scale": 0})
    ]
    assert kinds == ["apg", "cfg", "adg", "none", "none"]


def test_solvers() -> None:
    solvers = [
        make(**fields).sampling.solver
        for fields in ({}, {"scheduler_type": "heun"}, {"scheduler_type": "pingpong"}, {"infer_method": "sde"})
    ]
    assert solvers == ["euler", "heun", "sde", "sde"]
    with pytest.raises(UnsupportedError, match="infer_method 'sde' does not go with scheduler_type 'heun'"):
        make(scheduler_type="heun", infer_method="sde")
    with pytest.raises(UnsupportedError, match="use_adg does not go with cfg_type 'cfg'"):
        make("acestep-v15-base", use_adg=True, cfg_type="cfg")


def test_own_noise_levels_replace_steps_and_shift() -> None:
    request = make(timesteps=[0.97, 0.5, 0.1, 0], shift=2.0)
    assert request.sampling.schedule == (0.97, 0.5, 0.1, 0.0)
    assert request.sampling.shift is None
    assert "shift has no effect" in request.warnings[0]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"task_type": "karaoke"}, "task_type 'karaoke' is unknown; choose one of: text2music"),
        (
            {"task_type": "lego"},
            "task_type 'lego' needs a model that was trained for it, and acestep-v15-turbo was not; choose one of: "
            "acestep",
        ),
        ({"caption": " ", "lyrics": "\n"}, "caption and lyrics are both empty"),
        ({"duration": 5}, "Invalid audio duration: duration must be 10 to 600 seconds"),
        ({"duration": 9.9}, "not 9.9"),
        ({"duration": 601}, "not 601"),
        ({"duration": math.nan}, "not nan"),
        ({"duration": "long"}, "duration must be a number, not 'long'"),
        ({"bpm": 29}, "bpm must be from 30 to 300, not 29"),
        ({"keyscale": "H minor"}, "keyscale 'H minor' is not a key"),
        ({"timesignature": "x"}, "timesignature 'x' is unknown"),
        ({"vocal_language": "xx"}, "vocal_language 'xx' is unknown"),
        ({"seed": -2}, "seed must be -1 .random. or a whole number from 0 to 4294967295, not -2"),
        ({"seed": SEED_MAX + 1}, "not 4294967296"),
        ({"inference_steps": 0}, "inference_steps must be from 1 to 200"),
        ({"inference_steps": 201}, "not 201"),
        ({"inference_steps": 8.5}, "inference_steps must be a whole number"),
        ({"guidance_scale": 31}, "guidance_scale must be a number from 0 to 30, not 31"),
        ({"guidance_scale": math.nan}, "guidance_scale must be a number"),
        ({"shift": 0.05}, "shift must be a number from 0.1 to 10"),
        ({"cfg_interval_start": 0.8, "cfg_interval_end": 0.2}, "cfg_interval_start 0.8 must not exceed"),
        ({"cfg_interval_end": 1.1}, "cfg_interval_end must be a number from 0 to 1"),
        ({"scheduler_type": "dpm"}, "scheduler_type 'dpm' is unknown"),
        ({"cfg_type": "zero"}, "cfg_type 'zero' is unknown"),
        ({"infer_method": "pde"}, "infer_method 'pde' is unknown"),
        ({"src_audio": "a.wav"}, "src_audio does not go with task_type 'text2music'"),
        ({"caption": None}, "caption must be text, not None"),
        ({"instrumental": "yes"}, "instrumental must be True or False"),
        ({"sample_rate": 22050}, "sample_rate"),
    ],
)
def test_bad_input_is_one_sentence(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        make(**fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("size", "sentence"), [(0, "from 1 to 8, not 0"), (9, "not 9"), (True, "not True")])
def test_batch_size_range(size: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make(config=GenerationConfig(batch_size=size))


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(InputError, match="audio_format"):
        make(config=GenerationConfig(audio_format="aiff"))


def test_base_models_have_their_own_step_limit() -> None:
    with pytest.raises(InputError, match="from 1 to 100 for acestep-v15-base, not 101"):
        make("acestep-v15-base", inference_steps=101)


def test_seeds_of_a_batch() -> None:
    assert make(config=GenerationConfig(batch_size=3), seed=7).seeds == (7, 8, 9)
    assert make(config=GenerationConfig(batch_size=2), seed=SEED_MAX).seeds == (SEED_MAX, 0)
    given = GenerationConfig(batch_size=4, seeds=[42, 123, 456], use_random_seed=False)
    first, second = make(config=given).seeds, make(config=given).seeds
    assert first[:3] == second[:3] == (42, 123, 456)
    assert first[3] != second[3]
    assert make(config=GenerationConfig(batch_size=2, seeds=5)).seeds == (5, 6)
    with pytest.raises(InputError, match="seeds has 2 entries for a batch_size of 1"):
        make(config=GenerationConfig(batch_size=1, seeds=[1, 2]))


def test_an_explicit_seed_beats_use_random_seed() -> None:
    assert make(config=GenerationConfig(batch_size=1, use_random_seed=True), seed=3).seeds == (3,)


def test_random_seeds_differ() -> None:
    assert len({make().seeds for _ in range(20)}) == 20


def test_open_duration_is_estimated_from_the_lyrics() -> None:
    size = 64_000
    assert make(duration=-1).plan(size).duration_s == 30.0
    assert make(duration=0, instrumental=True, lyrics="la\n" * 90).plan(size).duration_s == 30.0
    song = "[Intro]\n\n[Verse]\n" + "a line to sing\n" * 20 + "[Outro]"
    assert make(duration=None, lyrics=song).plan(size).duration_s == pytest.approx(20 * 4.3 + 2 * 12, abs=0.5)
    assert make(duration=-1, lyrics="la\n" * 1000).plan(size).duration_s == 600.0
    assert make(duration=12.34).plan(size).duration_s == 12.34


def test_codes_decide_the_length_and_are_checked() -> None:
    tokens = "".join(f"<|audio_code_{code}|>" for code in range(60))
    plan = make(audio_codes=tokens).plan(64_000)
    assert plan.audio_codes == tuple(range(60))
    assert plan.duration_s == 12.0
    with pytest.raises(InputError, match="code 59, but this model's codes are 0 to 49"):
        make(audio_codes=tokens).plan(50)
    with pytest.raises(InputError, match=r"write only <\|audio_code_N\|> tokens"):
        make(audio_codes="junk" + tokens).plan(64_000)
    with pytest.raises(InputError, match="audio_codes must be 10 to 600 seconds"):
        make(audio_codes="<|audio_code_1|>").plan(64_000)


def test_instrumental_and_empty_lyrics_sing_nothing() -> None:
    assert make().lyrics == make(instrumental=True, lyrics="words").lyrics == "[Instrumental]"
    assert make(lyrics=" words ").lyrics == " words "


def test_instructions() -> None:
    for request in (make(), make(instruction="")):
        assert request.instruction_for(request.plan(10)) == TEXT2MUSIC_INSTRUCTION
    own = make(instruction="Do as I say:")
    assert own.instruction_for(own.plan(10)) == "Do as I say:"


def test_what_cannot_act_warns_only_when_it_was_changed() -> None:
    assert make(lm_top_k=0, omega_scale=10.0).warnings == ()
    [warning] = make(omega_scale=5.0).warnings
    assert warning == "omega_scale has no effect: it belongs to the v1-3.5B models."
    assert make(lm_top_k=5).warnings == ("lm_top_k has no effect: it belongs to the planner, which is not asked.",)
    assert make(mix=True).warnings == ("mix has no effect on task_type 'text2music'.",)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"lm_top_p": 0}, "lm_top_p must be a number from 0.01 to 1, not 0"),
        ({"lm_top_k": 2.5}, "lm_top_k must be a whole number, not 2.5"),
        ({"style_strength": 1.1}, "style_strength must be a number from 0 to 1, not 1.1"),
        ({"omega_scale": math.nan}, "omega_scale must be a number from -100 to 100, not nan"),
        ({"continuation_mode": "left"}, "continuation_mode 'left' is unknown; choose one of: extend_start"),
        ({"variation_strength": 1.5}, "variation_strength must be a number from 0 to 1, not 1.5"),
        ({"variation_seed": -2}, "variation_seed must be -1 .random. or a whole number"),
        ({"simple_query": "a song"}, "caption does not go with simple_query 'a song', which writes it"),
        ({"simple_query": "a song", "caption": ""}, "simple_query needs the planner: pass thinking=True"),
        ({"simple_query": " ", "caption": "", "thinking": True}, "caption and lyrics are both empty"),
        ({"lora_name_or_path": "x/y"}, "lora_name_or_path 'x/y' does not go with model 'acestep-v15-turbo'"),
        ({"scheduler_type": "ab3", "infer_method": "sde"}, "scheduler_type"),
        ({"cfg_type": "cfg_star"}, "cfg_type 'cfg_star' belongs to the v1-3.5B models"),
    ],
)
def test_parameters_of_others_are_judged_all_the_same(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make(**fields)


def test_every_task_is_in_some_models_row() -> None:
    for name in TASKS:
        assert any(name in spec.variant.tasks for spec in MODELS.values())


def test_unpublished_and_unknown_models_are_refused() -> None:
    with pytest.raises(InputError, match="'acestep-v15-turbo-rl' was never published"):
        model_named("acestep-v15-turbo-rl")
    with pytest.raises(InputError, match="model 'acestep' is unknown; choose one of: acestep-v15-turbo"):
        model_named("acestep")
