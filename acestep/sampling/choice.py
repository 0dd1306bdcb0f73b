"""How the denoising of one request runs: every sampling field of the request, judged against the model that plays it.

In: ``GenerationParams`` and the model's row. Out: a frozen ``SamplingChoice`` plus the warnings. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from acestep.checkpoints.registry import ModelSpec
from acestep.errors import InputError, UnsupportedError
from acestep.fields import check_number
from acestep.params import GenerationParams
from acestep.sampling.correction import CORRECTION_MODES, WaveletCorrection
from acestep.sampling.schedule import STEPS_MAX, custom_schedule, make_schedule

GUIDANCE_MAX, GUIDANCE_ADVISED_MAX = 30.0, 15.0
SHIFT_MIN, SHIFT_MAX = 0.1, 10.0
SOLVER_NAMES = ("euler", "heun", "pingpong", "ab3", "stork4")
CFG_TYPES = ("apg", "cfg", "cfg_star")
FIRST_FAMILY_CFG = "cfg_star"
INFER_METHODS = ("ode", "sde")
NO_CORRECTION = "off"
CORRECTED_SOLVER = "euler"
_DEFAULTS = GenerationParams()


@dataclass(frozen=True, slots=True)
class SamplingChoice:
    """Everything the sampler needs to know, decided.

    Attributes:
        schedule: noise levels from 1 (or the first custom level) down to 0.
        solver: a row of ``sampling.solvers.SOLVERS``.
        guidance: a row of ``sampling.guidance.GUIDANCE``; ``none`` runs one forward a step.
        guidance_scale: 1 when there is no guidance.
        guidance_interval: (low, high) noise levels between which guidance acts.
        shift: the timestep shift, None with custom levels.
        correction: of the state after each step, None when it is off.
    """

    schedule: tuple[float, ...]
    solver: str
    guidance: str
    guidance_scale: float
    guidance_interval: tuple[float, float]
    shift: float | None
    correction: WaveletCorrection | None = None

    @property
    def steps(self) -> int:
        """Number of denoising steps."""
        return len(self.schedule) - 1


def choose_sampling(params: GenerationParams, model: ModelSpec) -> tuple[SamplingChoice, tuple[str, ...]]:
    """Decide schedule, solver, guidance and correction.

    Returns:
        The choice, and one sentence for every field that was changed or has no effect.

    Raises:
        InputError: a value out of range.
        UnsupportedError: fields that contradict one another.
    """
    warnings: list[str] = []
    schedule, shift = _schedule(params, model, warnings)
    solver = _solver(params)
    kind, scale = _guidance(params, model, warnings)
    interval = _interval(params, model, warnings, guided=kind != "none")
    correction = _correction(params, solver, warnings)
    return SamplingChoice(schedule, solver, kind, scale, interval, shift, correction), tuple(warnings)


def one_of(field: str, value: str, allowed: tuple[str, ...]) -> str:
    """``value``, one of ``allowed``.

    Raises:
        InputError: it is none of them.
    """
    if value not in allowed:
        raise InputError.unknown(field, value, allowed)
    return value


def _schedule(
    params: GenerationParams, model: ModelSpec, warnings: list[str]
) -> tuple[tuple[float, ...], float | None]:
    variant = model.variant
    if params.timesteps is not None:
        schedule = custom_schedule(params.timesteps)
        if params.inference_steps not in (None, _DEFAULTS.inference_steps):
            warnings.append("inference_steps has no effect: timesteps gives the noise levels.")
        if variant.steps_cut and len(schedule) - 1 > variant.steps_max:
            warnings.append(
                f"timesteps has {len(schedule) - 1} levels; {model.name} is made for {variant.steps_max}."
            )
        if params.shift is not None:
            warnings.append("shift has no effect: timesteps gives the noise levels.")
        return schedule, None
    shift = variant.shift if params.shift is None else check_number("shift", params.shift, SHIFT_MIN, SHIFT_MAX)
    return make_schedule(steps_of(params.inference_steps, model, warnings), shift), shift


def steps_of(asked: int | None, model: ModelSpec, warnings: list[str]) -> int:
    """How many steps a model takes when ``asked`` are wanted, None for its own number.

    Args:
        warnings: what there is to say about that number is appended.

    Raises:
        InputError: out of range.
    """
    variant = model.variant
    if asked is None:
        return variant.steps
    most = STEPS_MAX if variant.steps_cut else variant.steps_max
    if not 1 <= asked <= most:
        raise InputError.must("inference_steps", f"be from 1 to {most} for {model.name}", asked)
    if asked > variant.steps_max:
        warnings.append(f"inference_steps {asked} runs as {variant.steps_max}, the most {model.name} is made for.")
        return variant.steps_max
    if variant.steps_advised and asked < variant.steps_advised[0]:
        low, high = variant.steps_advised
        warnings.append(f"inference_steps {asked} is rough for {model.name}; {low} to {high} are recommended.")
    return asked


def _solver(params: GenerationParams) -> str:
    solver = one_of("scheduler_type", params.scheduler_type, SOLVER_NAMES)
    method = one_of("infer_method", params.infer_method, INFER_METHODS)
    if solver == "pingpong" or (method == "sde" and solver == _DEFAULTS.scheduler_type):
        return "sde"
    if method == "sde":
        raise UnsupportedError(
            f"infer_method 'sde' does not go with scheduler_type {solver!r}; use scheduler_type 'euler'.",
            field="infer_method",
            value=method,
        )
    return solver


def _guidance(params: GenerationParams, model: ModelSpec, warnings: list[str]) -> tuple[str, float]:
    asked = params.guidance_scale
    scale = model.variant.guidance if asked is None else check_number("guidance_scale", asked, 0.0, GUIDANCE_MAX)
    kind = one_of("cfg_type", params.cfg_type, CFG_TYPES)
    if kind == FIRST_FAMILY_CFG:
        raise UnsupportedError(f"cfg_type {kind!r} belongs to the v1-3.5B models.", field="cfg_type", value=kind)
    if params.use_adg and kind != _DEFAULTS.cfg_type:
        raise UnsupportedError(
            f"use_adg does not go with cfg_type {kind!r}; leave cfg_type at {_DEFAULTS.cfg_type!r}.",
            field="use_adg",
            value=True,
        )
    if model.variant.guidance is None:
        _warn_unguided(params, model, warnings)
        return "none", 1.0
    if scale is None or scale <= 1.0:
        if params.use_adg:
            warnings.append("use_adg has no effect: guidance is off.")
        return "none", 1.0
    if scale > GUIDANCE_ADVISED_MAX:
        warnings.append(f"guidance_scale {scale:g} is high; above {GUIDANCE_ADVISED_MAX:g} songs tend to distort.")
    return ("adg" if params.use_adg else kind), scale


def _warn_unguided(params: GenerationParams, model: ModelSpec, warnings: list[str]) -> None:
    unused = {
        "guidance_scale": params.guidance_scale not in (None, 0, 1, _DEFAULTS.guidance_scale),
        "cfg_type": params.cfg_type != _DEFAULTS.cfg_type,
        "use_adg": params.use_adg,
    }
    warnings += [_unguided(field, model) for field, given in unused.items() if given]


def _unguided(field: str, model: ModelSpec) -> str:
    return f"{field} has no effect: {model.name} runs without guidance."


def _interval(
    params: GenerationParams, model: ModelSpec, warnings: list[str], *, guided: bool
) -> tuple[float, float]:
    low = check_number("cfg_interval_start", params.cfg_interval_start, 0.0, 1.0)
    high = check_number("cfg_interval_end", params.cfg_interval_end, 0.0, 1.0)
    if low > high:
        raise InputError(
            f"cfg_interval_start {low:g} must not exceed cfg_interval_end {high:g}.",
            field="cfg_interval_start",
            value=low,
        )
    if not guided and (low, high) != (_DEFAULTS.cfg_interval_start, _DEFAULTS.cfg_interval_end):
        off = model.variant.guidance is not None
        warnings.append("cfg_interval has no effect: guidance is off." if off else _unguided("cfg_interval", model))
    return low, high


def _correction(params: GenerationParams, solver: str, warnings: list[str]) -> WaveletCorrection | None:
    mode = one_of("dcw_mode", params.dcw_mode, (NO_CORRECTION, *CORRECTION_MODES))
    if mode == NO_CORRECTION:
        return None
    if solver != CORRECTED_SOLVER:
        other = "infer_method" if params.scheduler_type == CORRECTED_SOLVER else "scheduler_type"
        raise UnsupportedError(
            f"dcw_mode {mode!r} does not go with {other} {getattr(params, other)!r}; it corrects scheduler_type "
            f"{CORRECTED_SOLVER!r} with infer_method {_DEFAULTS.infer_method!r}.",
            field="dcw_mode",
            value=mode,
        )
    if mode != "double" and params.dcw_high_scaler != _DEFAULTS.dcw_high_scaler:
        warnings.append("dcw_high_scaler has no effect: only dcw_mode 'double' reads it.")
    scaler = check_number("dcw_scaler", params.dcw_scaler, 0.0, 1.0)
    return WaveletCorrection(mode, scaler, check_number("dcw_high_scaler", params.dcw_high_scaler, 0.0, 1.0))
