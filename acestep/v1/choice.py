"""How the denoising of one request runs on ACE-Step v1: every sampling field of the request, judged.

In: ``GenerationParams`` and the model's row. Out: a frozen ``V1Choice`` plus the warnings. Imports no torch.

Steps and guidance of None are the model's own, 60 and 15. The 8 and 7 that ``GenerationParams`` types as its defaults
are played as they are, the first with a warning: nobody can tell whether they were meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from acestep.checkpoints.registry import ModelSpec
from acestep.errors import UnsupportedError
from acestep.fields import SECOND_FAMILY, check_number
from acestep.params import GenerationParams
from acestep.sampling.choice import (
    CFG_TYPES,
    GUIDANCE_MAX,
    INFER_METHODS,
    NO_CORRECTION,
    SHIFT_MAX,
    SHIFT_MIN,
    SOLVER_NAMES,
    one_of,
    steps_of,
)
from acestep.sampling.correction import CORRECTION_MODES
from acestep.sampling.schedule import custom_schedule
from acestep.v1.schedule import (
    checked_picks,
    decayed_scale,
    first_step,
    grid,
    guidance_window,
    omega_factor,
    picked_grid,
    reference_steps,
)

UNGUIDED, PROJECTED, DOUBLE = "none", "apg", "double"
SOLVERS = {"euler": "euler", "heun": "heun", "pingpong": "sde"}  # a scheduler_type as ``sampling.solvers`` calls it
_STOCHASTIC = SOLVERS["pingpong"]
_PLAIN = 0.0  # the omega that changes nothing
_GUIDING = (
    "cfg_type",
    "guidance_interval",
    "guidance_interval_decay",
    "min_guidance_scale",
    "guidance_scale_text",
    "guidance_scale_lyric",
    "use_erg_tag",
    "use_erg_lyric",
    "use_erg_diffusion",
)
COMPARED_WITHOUT = (*_GUIDING, "omega_scale")  # fields of what ``V1Choice.comparing`` takes away
_DOUBLE_SCALES = ("guidance_scale_text", "guidance_scale_lyric")
_SECOND_FAMILY_ONLY = (
    "shift",
    "infer_method",
    "timesteps",
    "use_adg",
    "cfg_interval_start",
    "cfg_interval_end",
    "dcw_mode",
)
_DEFAULTS = GenerationParams()


@dataclass(frozen=True, slots=True)
class V1Choice:
    """Everything the sampler needs to know, decided.

    Attributes:
        schedule: noise levels, falling to 0; 0 alone where no step is left.
        solver: a row of ``sampling.solvers.SOLVERS``.
        guidance: a row of ``v1.guidance.GUIDANCE``; ``none`` runs one forward a step.
        guidance_scale: 1 when there is no guidance; ``double`` has two scales of its own.
        interval: share of the steps that are guided, those in the middle.
        decay: share of the way to ``min_guidance_scale`` that the scale goes within the guided steps.
        min_guidance_scale: where a full decay ends.
        omega: "granularity", 0 is none.
        weaken_tags, weaken_lyrics, weaken_diffusion: which attention is blurred in what guidance leads away from
            (entropy-rectifying guidance); the first acts with the second alone.
        scale_text, scale_lyric: of ``double``.
        picks: steps picked from a longer grid, () for a grid as it is.
        shift: none; the grid has its own.
        correction: none.
    """

    schedule: tuple[float, ...]
    solver: str
    guidance: str
    guidance_scale: float
    interval: float
    decay: float
    min_guidance_scale: float
    omega: float
    weaken_tags: bool
    weaken_lyrics: bool
    weaken_diffusion: bool
    scale_text: float
    scale_lyric: float
    picks: tuple[int, ...] = ()
    shift: None = None
    correction: None = None

    @property
    def steps(self) -> int:
        """Number of denoising steps."""
        return len(self.schedule) - 1

    @property
    def window(self) -> tuple[int, int]:
        """(first, end) of the guided steps."""
        return guidance_window(self.steps, self.interval)

    @property
    def omega_factor(self) -> float:
        """What the deviations of a velocity from its mean are multiplied by."""
        return omega_factor(self.omega)

    @property
    def guided(self) -> bool:
        """Whether any step is guided."""
        return any(self.guides(step) for step in range(self.steps))

    def guides(self, step: int) -> bool:
        """Whether a step, counted from 0, is guided."""
        start, end = self.window
        return self.guidance != UNGUIDED and start <= step < end

    def scale_at(self, step: int) -> float:
        """The guidance scale of a guided step."""
        return decayed_scale(self.guidance_scale, self.min_guidance_scale, self.decay, step, self.window)

    def from_reference(self, strength: float) -> V1Choice:
        """The same choice for music that starts from a reference: fewer steps on a grid of their own.

        Picked steps stay as many as they are, on a grid with another beginning.

        Args:
            strength: nearness to the reference, 0 to 1; 1 leaves no step.
        """
        left = reference_steps(self.steps, strength)
        if not left:
            return replace(self, schedule=(0.0,))
        ceiling = 1.0 - strength
        return replace(self, schedule=picked_grid(self.picks, ceiling) if self.picks else grid(left, ceiling))

    def last(self, share: float) -> V1Choice:
        """The same choice with the last ``share`` of its steps alone; they have a guided middle of their own."""
        return replace(self, schedule=self.schedule[first_step(self.steps, share) :])

    def comparing(self) -> V1Choice:
        """The same choice for a flow edit: plain projected guidance of every step, or none at all, by Euler's method.

        Upstream's edit reads neither the kind of guidance nor its interval, decay, granularity and blurring.
        """
        kind = UNGUIDED if self.guidance == UNGUIDED else PROJECTED
        return replace(
            self,
            solver=SOLVERS["euler"],
            guidance=kind,
            interval=1.0,
            decay=0.0,
            omega=_PLAIN,
            weaken_tags=False,
            weaken_lyrics=False,
            weaken_diffusion=False,
        )


def choose_v1(params: GenerationParams, spec: ModelSpec) -> tuple[V1Choice, tuple[str, ...]]:
    """Decide schedule, solver and guidance.

    The ranges of fields that only v1 reads are those of ``fields.FIELDS``, which are judged before.

    Returns:
        The choice, and one sentence for every field that has no effect.

    Raises:
        InputError: a value out of range.
        UnsupportedError: fields that contradict one another, or a solver that v1 does not have.
    """
    _check_unread(params)
    warnings: list[str] = []
    solver = _solver(params)
    schedule, picks = _schedule(params, spec, warnings)
    kind, scale = _guidance(params, spec)
    choice = V1Choice(
        schedule=schedule,
        solver=solver,
        guidance=kind,
        guidance_scale=scale,
        interval=params.guidance_interval,
        decay=params.guidance_interval_decay,
        min_guidance_scale=params.min_guidance_scale,
        omega=_PLAIN if solver == _STOCHASTIC else params.omega_scale,
        weaken_tags=params.use_erg_tag,
        weaken_lyrics=params.use_erg_lyric,
        weaken_diffusion=params.use_erg_diffusion,
        scale_text=params.guidance_scale_text,
        scale_lyric=params.guidance_scale_lyric,
        picks=picks,
    )
    idle = (f"{field} has no effect: {why}." for field, why in _idle(params, choice) if _changed(params, field))
    return choice, (*warnings, *idle, *_unasked(choice))


def _check_unread(params: GenerationParams) -> None:
    """Judge what v1 does not read: a value that cannot be is an error even where it would not act."""
    one_of("infer_method", params.infer_method, INFER_METHODS)
    one_of("dcw_mode", params.dcw_mode, (NO_CORRECTION, *CORRECTION_MODES))
    check_number("cfg_interval_start", params.cfg_interval_start, 0.0, 1.0)
    check_number("cfg_interval_end", params.cfg_interval_end, 0.0, 1.0)
    if params.shift is not None:
        check_number("shift", params.shift, SHIFT_MIN, SHIFT_MAX)
    if params.timesteps is not None:
        custom_schedule(params.timesteps)


def _solver(params: GenerationParams) -> str:
    name = one_of("scheduler_type", params.scheduler_type, SOLVER_NAMES)
    if name not in SOLVERS:
        raise UnsupportedError(
            f"scheduler_type {name!r} belongs to {SECOND_FAMILY}; choose one of: {', '.join(SOLVERS)}.",
            field="scheduler_type",
            value=name,
        )
    if params.oss_steps and name == "heun":
        raise UnsupportedError(
            "oss_steps does not go with scheduler_type 'heun'; use 'euler' or 'pingpong'.",
            field="oss_steps",
            value=params.oss_steps,
        )
    return SOLVERS[name]


def _schedule(
    params: GenerationParams, spec: ModelSpec, warnings: list[str]
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Noise levels, and the picks they come from."""
    asked = params.inference_steps
    if not params.oss_steps:
        return grid(steps_of(asked, spec, warnings)), ()
    picks = checked_picks(params.oss_steps)
    if asked not in (None, _DEFAULTS.inference_steps):
        warnings.append("inference_steps has no effect: oss_steps picks the steps.")
    return picked_grid(picks), picks


def _guidance(params: GenerationParams, spec: ModelSpec) -> tuple[str, float]:
    kind = one_of("cfg_type", params.cfg_type, CFG_TYPES)
    scale = params.guidance_scale
    scale = spec.variant.guidance if scale is None else check_number("guidance_scale", scale, 0.0, GUIDANCE_MAX)
    if scale in (None, 0.0, 1.0):
        return UNGUIDED, 1.0
    return (DOUBLE if _is_double(params) else kind), scale


def _is_double(params: GenerationParams) -> bool:
    return all(getattr(params, field) > 1.0 for field in _DOUBLE_SCALES)


def _idle(params: GenerationParams, choice: V1Choice) -> Iterator[tuple[str, str]]:
    """(field, why) of fields that this call does not read."""
    for field in _SECOND_FAMILY_ONLY:
        yield field, f"it belongs to {SECOND_FAMILY}"
    if choice.solver == _STOCHASTIC:
        yield "omega_scale", f"scheduler_type is {params.scheduler_type!r}"
    if choice.guidance == UNGUIDED:
        yield from ((field, "guidance is off") for field in _GUIDING)
        return
    if choice.guidance == DOUBLE:
        for field in ("cfg_type", "guidance_interval_decay", "min_guidance_scale"):
            yield field, "guidance_scale_text and guidance_scale_lyric are used"
        return
    for field in _DOUBLE_SCALES:
        yield field, "guidance_scale_text and guidance_scale_lyric act together, each above 1"
    if not choice.decay:
        yield "min_guidance_scale", "guidance_interval_decay is 0"


def _unasked(choice: V1Choice) -> Iterator[str]:
    """Sentences about fields that have no effect although they are on by themselves."""
    if choice.guidance == UNGUIDED:
        return
    if not choice.guided:
        few = f"none of {choice.steps} steps lies in guidance_interval {choice.interval:g}"
        yield f"guidance_scale has no effect: {few}."
    if choice.weaken_tags and not choice.weaken_lyrics:
        yield "use_erg_tag has no effect: use_erg_lyric is off."


def _changed(params: GenerationParams, field: str) -> bool:
    return getattr(params, field) != getattr(_DEFAULTS, field)
