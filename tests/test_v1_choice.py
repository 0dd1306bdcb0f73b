"""Every sampling field of a request judged for v1: what is chosen, what is refused, what is said to do nothing."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from acestep.checkpoints.registry import MODELS
from acestep.checkpoints.rows import FIRST
from acestep.errors import InputError, UnsupportedError
from acestep.params import GenerationParams
from acestep.sampling.solvers import SOLVERS
from acestep.v1.choice import V1Choice, choose_v1
from acestep.v1.guidance import GUIDANCE
from acestep.v1.schedule import grid, picked_grid

SPEC = next(spec for spec in MODELS.values() if spec.variant.generation is FIRST)
SECOND_FAMILY = "it belongs to the ACE-Step 1.5 models"


def _choose(**fields: object) -> tuple[V1Choice, tuple[str, ...]]:
    return choose_v1(GenerationParams(**{"inference_steps": None, "guidance_scale": None} | fields), SPEC)


def _warnings(**fields: object) -> tuple[str, ...]:
    return _choose(**fields)[1]


# --- What is chosen -------------------------------------------------------------------------------------------------


def test_the_defaults_are_the_models_own() -> None:
    choice, warnings = _choose()
    assert warnings == ()
    assert choice == V1Choice(
        schedule=grid(60),
        solver="euler",
        guidance="apg",
        guidance_scale=15.0,
        interval=0.5,
        decay=0.0,
        min_guidance_scale=3.0,
        omega=10.0,
        weaken_tags=True,
        weaken_lyrics=True,
        weaken_diffusion=True,
        scale_text=0.0,
        scale_lyric=0.0,
    )
    assert (choice.steps, choice.window, choice.shift, choice.correction) == (60, (15, 45), None, None)


@pytest.mark.parametrize("fields", [{"inference_steps": None, "guidance_scale": None}, {}])
def test_nothing_and_the_typed_defaults_of_the_other_family_are_the_same(fields: dict[str, None]) -> None:
    assert _choose(**fields)[0] == _choose(inference_steps=60, guidance_scale=15.0)[0]


def test_what_is_asked_for_is_taken() -> None:
    choice, warnings = _choose(
        inference_steps=27,
        guidance_scale=9.0,
        cfg_type="cfg",
        omega_scale=5.0,
        guidance_interval=0.7,
        guidance_interval_decay=0.5,
        min_guidance_scale=2.0,
        use_erg_tag=False,
        use_erg_diffusion=False,
    )
    assert warnings == ()
    assert (choice.schedule, choice.window) == (grid(27), (4, 22))
    assert (choice.guidance, choice.guidance_scale, choice.omega) == ("cfg", 9.0, 5.0)
    assert (choice.interval, choice.decay, choice.min_guidance_scale) == (0.7, 0.5, 2.0)
    assert (choice.weaken_tags, choice.weaken_lyrics, choice.weaken_diffusion) == (False, True, False)


@pytest.mark.parametrize(("name", "solver"), [("euler", "euler"), ("heun", "heun"), ("pingpong", "sde")])
def test_the_three_solvers_are_rows_of_the_table(name: str, solver: str) -> None:
    assert _choose(scheduler_type=name)[0].solver == solver
    assert solver in SOLVERS


@pytest.mark.parametrize("kind", ["apg", "cfg", "cfg_star"])
def test_the_kinds_of_guidance_are_rows_of_the_table(kind: str) -> None:
    assert _choose(cfg_type=kind)[0].guidance == kind
    assert kind in GUIDANCE


@pytest.mark.parametrize("scale", [0, 0.0, 1, 1.0])
def test_a_scale_of_0_or_1_is_no_guidance(scale: float) -> None:
    choice, warnings = _choose(guidance_scale=scale)
    assert warnings == ()
    assert (choice.guidance, choice.guidance_scale, choice.guided) == ("none", 1.0, False)
    assert choice.guidance in GUIDANCE


def test_two_scales_above_1_rule_together() -> None:
    choice, warnings = _choose(guidance_scale_text=5.0, guidance_scale_lyric=1.5)
    assert warnings == ()
    assert (choice.guidance, choice.scale_text, choice.scale_lyric) == ("double", 5.0, 1.5)
    assert choice.guidance in GUIDANCE
    assert _choose(guidance_scale_text=5.0, guidance_scale_lyric=1.5, guidance_scale=1.0)[0].guidance == "none"


@pytest.mark.parametrize("solver", ["euler", "pingpong"])
def test_picked_steps_decide_the_steps(solver: str) -> None:
    choice, warnings = _choose(oss_steps=[16, 29, 52, 96], scheduler_type=solver)
    assert warnings == ()
    assert (choice.schedule, choice.picks) == (picked_grid((16, 29, 52, 96)), (16, 29, 52, 96))
    assert (choice.steps, choice.window) == (4, (1, 3))


def test_no_picks_are_none() -> None:
    assert _choose(oss_steps=[])[0] == _choose(oss_steps=None)[0] == _choose()[0]


# --- What becomes of a choice ---------------------------------------------------------------------------------------


def test_a_step_is_guided_within_the_window_with_a_falling_scale() -> None:
    choice = _choose(inference_steps=20, guidance_interval_decay=1.0)[0]
    assert [step for step in range(20) if choice.guides(step)] == list(range(5, 15))
    assert choice.scale_at(5) == 15.0
    assert choice.scale_at(14) == pytest.approx(3.0)


def test_from_a_reference_there_is_a_grid_and_a_window_of_its_own() -> None:
    choice = _choose()[0].from_reference(0.5)
    assert choice == dataclasses.replace(_choose()[0], schedule=grid(30, 0.5))
    assert choice.window == (7, 22)
    assert _choose()[0].from_reference(0.0) == _choose()[0]


def test_picked_steps_stay_as_many_from_a_reference() -> None:
    choice = _choose(oss_steps=[1, 10, 20])[0].from_reference(0.5)
    assert choice.schedule == picked_grid((1, 10, 20), 0.5)


@pytest.mark.parametrize("fields", [{}, {"oss_steps": [1, 10, 20]}])
def test_a_reference_kept_whole_leaves_no_step(fields: dict[str, object]) -> None:
    choice = _choose(**fields)[0].from_reference(1.0)
    assert (choice.schedule, choice.steps, choice.guided) == ((0.0,), 0, False)


def test_the_last_steps_have_a_window_of_their_own() -> None:
    choice = _choose()[0].last(0.2)
    assert choice.schedule == grid(60)[48:]
    assert (choice.steps, choice.window, choice.guided) == (12, (3, 9), True)
    assert _choose()[0].last(1.0) == _choose()[0]
    assert _choose()[0].last(0.0).schedule == (0.0,)


@pytest.mark.parametrize("kind", ["apg", "cfg", "cfg_star"])
def test_a_flow_edit_is_guided_by_projection_in_every_step_and_by_nothing_else(kind: str) -> None:
    choice = _choose(cfg_type=kind, guidance_interval=0.2, guidance_interval_decay=1.0)[0].comparing()
    assert all(choice.guides(step) for step in range(60))
    assert {choice.scale_at(step) for step in range(60)} == {15.0}
    assert (choice.guidance, choice.omega_factor) == ("apg", 1.0)
    assert not choice.weaken_tags | choice.weaken_lyrics | choice.weaken_diffusion
    assert _choose(guidance_scale_text=2.0, guidance_scale_lyric=2.0)[0].comparing().guidance == "apg"


def test_an_unguided_flow_edit_stays_unguided() -> None:
    assert not _choose(guidance_scale=1.0)[0].comparing().guided


# --- What has no effect ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shift", 2.0),
        ("infer_method", "sde"),
        ("timesteps", [1.0, 0.5]),
        ("use_adg", True),
        ("cfg_interval_start", 0.2),
        ("cfg_interval_end", 0.8),
        ("dcw_mode", "low"),
    ],
)
def test_fields_of_the_other_family_change_nothing_and_are_named(field: str, value: object) -> None:
    choice, warnings = _choose(**{field: value})
    assert choice == _choose()[0]
    assert warnings == (f"{field} has no effect: {SECOND_FAMILY}.",)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"oss_steps": [1, 2, 3], "inference_steps": 30},
            "inference_steps has no effect: oss_steps picks the steps.",
        ),
        ({"use_erg_lyric": False}, "use_erg_tag has no effect: use_erg_lyric is off."),
        (
            {"scheduler_type": "pingpong", "omega_scale": 5.0},
            "omega_scale has no effect: scheduler_type is 'pingpong'.",
        ),
        ({"min_guidance_scale": 5.0}, "min_guidance_scale has no effect: guidance_interval_decay is 0."),
        (
            {"guidance_scale_text": 5.0},
            "guidance_scale_text has no effect: guidance_scale_text and guidance_scale_lyric act together, each "
            "above 1.",
        ),
        (
            {"guidance_scale_lyric": 5.0},
            "guidance_scale_lyric has no effect: guidance_scale_text and guidance_scale_lyric act together, each "
            "above 1.",
        ),
        (
            {"guidance_scale_text": 5.0, "guidance_scale_lyric": 1.5, "cfg_type": "cfg"},
            "cfg_type has no effect: guidance_scale_text and guidance_scale_lyric are used.",
        ),
        (
            {"guidance_interval": 0.0},
            "guidance_scale has no effect: none of 60 steps lies in guidance_interval 0.",
        ),
        ({"guidance_scale": 1.0, "use_erg_diffusion": False}, "use_erg_diffusion has no effect: guidance is off."),
        ({"guidance_scale": 0.0, "guidance_interval": 0.3}, "guidance_interval has no effect: guidance is off."),
        ({"inference_steps": 10}, f"inference_steps 10 is rough for {SPEC.name}; 20 to 100 are recommended."),
    ],
)
def test_what_has_no_effect_is_said(fields: dict[str, object], sentence: str) -> None:
    assert _warnings(**fields) == (sentence,)


@pytest.mark.parametrize("fields", [{"use_erg_tag": False, "use_erg_lyric": False}, {"omega_scale": 5.0}])
def test_what_acts_is_not_mentioned(fields: dict[str, object]) -> None:
    assert _warnings(**fields) == ()


def test_the_stochastic_solver_has_no_granularity() -> None:
    assert _choose(scheduler_type="pingpong")[0].omega_factor == 1.0
    assert _choose(scheduler_type="heun")[0].omega_factor == pytest.approx(1.046212, abs=1e-6)


# --- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"inference_steps": 0}, f"inference_steps must be from 1 to 200 for {SPEC.name}, not 0."),
        ({"inference_steps": 201}, f"inference_steps must be from 1 to 200 for {SPEC.name}, not 201."),
        ({"guidance_scale": -1.0}, "guidance_scale must be a number from 0 to 30, not -1.0."),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a number from 0 to 30, not nan."),
        ({"scheduler_type": "ddim"}, "scheduler_type 'ddim' is unknown"),
        ({"cfg_type": "adg"}, "cfg_type 'adg' is unknown; choose one of: apg, cfg, cfg_star."),
        ({"oss_steps": [3, 2]}, "oss_steps must rise from step to step, but 3 is followed by 2."),
        ({"oss_steps": [3, 201]}, "oss_steps holds 201; every step must be a whole number from 1 to 200."),
        ({"infer_method": "pndm"}, "infer_method 'pndm' is unknown"),
        ({"dcw_mode": "middle"}, "dcw_mode 'middle' is unknown"),
        ({"shift": 11.0}, "shift must be a number from 0.1 to 10, not 11.0."),
        ({"timesteps": [0.5, 0.7]}, "timesteps must fall from level to level"),
        ({"cfg_interval_end": 2.0}, "cfg_interval_end must be a number from 0 to 1, not 2.0."),
    ],
)
def test_values_that_cannot_be_are_refused(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        _choose(**fields)
    assert sentence in str(caught.value)
    assert caught.value.field in fields


@pytest.mark.parametrize("solver", ["ab3", "stork4"])
def test_solvers_of_the_other_family_are_refused(solver: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        _choose(scheduler_type=solver)
    assert str(caught.value) == (
        f"scheduler_type {solver!r} belongs to the ACE-Step 1.5 models; choose one of: euler, heun, pingpong."
    )


def test_picked_steps_do_not_go_with_heun() -> None:
    with pytest.raises(UnsupportedError, match=r"^oss_steps does not go with scheduler_type 'heun'; use 'euler'"):
        _choose(scheduler_type="heun", oss_steps=[1, 2])


# --- Imports --------------------------------------------------------------------------------------------------------


def test_choosing_imports_no_torch() -> None:
    code = "import sys; import acestep.v1.choice; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
