"""Every model this project knows, one row each. The only module that knows model names.

In: a name. Out: where its files live below the weights folder, what it can do, how it likes to be run.
Refuses to know torch, devices and how files are fetched or read.
"""

from __future__ import annotations

from dataclasses import dataclass

from acestep.errors import InputError
from acestep.tasks import MIX_TASKS, TASKS


@dataclass(frozen=True, slots=True)
class Variant:
    """How a kind of checkpoint was trained, so how it is run.

    Attributes:
        steps: denoising steps when the caller names none.
        steps_max: more are cut to this with a warning (``steps_cut``) or refused.
        steps_cut: True for distilled models, whose extra steps would only hurt.
        guidance: default guidance scale; None for models with guidance distilled into them.
        shift: default timestep shift.
        steps_advised: (low, high) range below which the result is known to be rough, or None.
        tasks: names of the tasks it was trained for.
    """

    steps: int
    steps_max: int
    steps_cut: bool
    guidance: float | None
    shift: float
    tasks: tuple[str, ...]
    steps_advised: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One diffusion transformer and the networks it plays with.

    Attributes:
        name: as callers spell it.
        variant: how it is run.
        folder: of the transformer, below the weights folder.
        vae, text_encoder: folders of the networks it shares, below the weights folder.
        repository, subfolder: on the model hub; "" for what ships with this project.
        revision: pinned commit on the hub; None is unpinned.
        embedded: ships with this project.
        released: False for names that documents mention but nobody published.
    """

    name: str
    variant: Variant
    folder: str
    vae: str = "vae"
    text_encoder: str = "Qwen3-Embedding-0.6B"
    repository: str = ""
    subfolder: str = ""
    revision: str | None = None
    embedded: bool = False
    released: bool = True


TURBO = Variant(8, 8, True, None, 3.0, MIX_TASKS)
TURBO_SHIFT1 = Variant(8, 8, True, None, 1.0, MIX_TASKS)
XL_TURBO = Variant(8, 20, True, None, 3.0, MIX_TASKS)
SFT = Variant(50, 100, False, 7.0, 1.0, MIX_TASKS, steps_advised=(32, 64))
BASE = Variant(50, 100, False, 7.0, 1.0, tuple(TASKS), steps_advised=(32, 64))

_HUB = "ACE-Step"
_BUNDLE = f"{_HUB}/Ace-Step1.5"
_BUNDLE_REVISION = "19671f406d603126926c1b7e2adc169acbcade22"


def _published(name: str, variant: Variant, *, released: bool = True) -> ModelSpec:
    return ModelSpec(name, variant, folder=name, repository=f"{_HUB}/{name}", released=released)


def _embedded(name: str, variant: Variant) -> ModelSpec:
    shared = "tiny"
    return ModelSpec(name, variant, name, vae=f"{shared}/vae", text_encoder=f"{shared}/text_encoder", embedded=True)


_DEFAULT = "acestep-v15-turbo"
_ROWS = (
    ModelSpec(_DEFAULT, TURBO, _DEFAULT, repository=_BUNDLE, subfolder=_DEFAULT, revision=_BUNDLE_REVISION),
    _published("acestep-v15-turbo-shift1", TURBO_SHIFT1),
    _published("acestep-v15-turbo-shift3", TURBO),
    _published("acestep-v15-turbo-continuous", TURBO),
    _published("acestep-v15-turbo-rl", TURBO, released=False),
    _published("acestep-v15-sft", SFT),
    _published("acestep-v15-base", BASE),
    _published("acestep-v15-xl-turbo", XL_TURBO),
    _published("acestep-v15-xl-sft", SFT),
    _published("acestep-v15-xl-base", BASE),
    _embedded("tiny", TURBO),
    _embedded("tiny-base", BASE),
)

MODELS: dict[str, ModelSpec] = {row.name: row for row in _ROWS}
DEFAULT_MODEL = MODELS[_DEFAULT]
DEFAULT_BASE_MODEL = MODELS["acestep-v15-base"]
EMBEDDED_MODEL = MODELS["tiny"]
EMBEDDED_BASE_MODEL = MODELS["tiny-base"]


def model_named(name: str) -> ModelSpec:
    """The row of ``name``.

    Raises:
        InputError: no such model, or one that was announced but never published.
    """
    row = MODELS.get(name)
    if row is None or not row.released:
        state = "was never published" if row else "is unknown"
        offered = ", ".join(spec.name for spec in _ROWS if spec.released)
        raise InputError(f"model {name!r} {state}; choose one of: {offered}.", field="model", value=name)
    return row
