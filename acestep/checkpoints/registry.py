"""Every model this project knows, one row each. The only module that knows model names.

In: a name. Out: where its files come from and live, which files they are, what the model can do, how it likes to be
run. The rows of ACE-Step v1 are written in ``registry_v1``. Refuses to know torch, devices and how files are fetched
or read.

Three tables: ``MODELS`` (diffusion transformers), ``LANGUAGE_MODELS`` (planners), ``COMPONENTS`` (networks that
several transformers share, by the folder they live in).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from acestep.checkpoints.registry_v1 import V1_COMPONENTS, V1_MODELS
from acestep.checkpoints.rows import HubFolder, Layout, ModelSpec, Scale, Variant
from acestep.errors import InputError, shown
from acestep.tasks import MIX_TASKS, TASKS

_TOKENIZER = ("tokenizer.json",)
_TOKENIZER_EXTRAS = (
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
_CONFIG = ("config.json",)
_SILENCE = ("silence_latent.safetensors", "silence_latent.pt")
TRANSFORMER = Layout("AceStepConfig", "model", (_CONFIG, _SILENCE))
AUTOENCODER = Layout("OobleckConfig", "diffusion_pytorch_model", (_CONFIG,))
QWEN3 = Layout("Qwen3Config", "model", (_CONFIG, _TOKENIZER), _TOKENIZER_EXTRAS)

_GB = 1_000_000_000
SCALE_2B = Scale(2_393_872_518, memory=8 * _GB, memory_offloaded=4 * _GB)
SCALE_XL = Scale(4_987_310_726, width=4, memory=20 * _GB, memory_offloaded=12 * _GB)
SCALE_LM_06B = Scale(662_900_000, memory=3 * _GB, memory_offloaded=3 * _GB)
SCALE_LM_17B = Scale(1_854_200_000, memory=8 * _GB, memory_offloaded=8 * _GB)
SCALE_LM_4B = Scale(4_189_600_000, memory=12 * _GB, memory_offloaded=12 * _GB)

TURBO = Variant(8, 8, True, None, 3.0, MIX_TASKS)
TURBO_SHIFT1 = Variant(8, 8, True, None, 1.0, MIX_TASKS)
XL_TURBO = Variant(8, 20, True, None, 3.0, MIX_TASKS)
SFT = Variant(50, 100, False, 7.0, 1.0, MIX_TASKS, steps_advised=(32, 64))
BASE = Variant(50, 100, False, 7.0, 1.0, tuple(TASKS), steps_advised=(32, 64))
ALIGNMENT_HEADS = ((2, 6), (3, 10), (3, 11), (4, 3), (5, 8), (5, 9), (6, 8))

_HUB = "ACE-Step"
_BUNDLE = f"{_HUB}/Ace-Step1.5"
_BUNDLE_REVISION = "19671f406d603126926c1b7e2adc169acbcade22"


def _alone(name: str) -> dict[str, str]:
    """A folder that is a repository of its own."""
    return {"name": name, "folder": name, "repository": f"{_HUB}/{name}"}


def _bundled(name: str) -> dict[str, str]:
    """A folder of the bundle."""
    return {
        "name": name,
        "folder": name,
        "repository": _BUNDLE,
        "subfolder": name,
        "revision": _BUNDLE_REVISION,
    }


def _transformer(place: dict[str, str], variant: Variant, scale: Scale, *, released: bool = True) -> ModelSpec:
    return ModelSpec(
        **place,
        layout=TRANSFORMER,
        scale=scale,
        variant=variant,
        alignment_heads=ALIGNMENT_HEADS,
        released=released,
    )


def _planner(place: dict[str, str], scale: Scale, **differs: object) -> HubFolder:
    return HubFolder(**place, layout=QWEN3, scale=scale, **differs)


_TINY = "tiny"


def _embedded(name: str, variant: Variant) -> ModelSpec:
    return ModelSpec(
        name=name,
        folder=name,
        layout=TRANSFORMER,
        variant=variant,
        vae=f"{_TINY}/vae",
        text_encoder=f"{_TINY}/text_encoder",
        embedded=True,
    )


def _embedded_part(part: str, layout: Layout, name: str | None = None) -> HubFolder:
    folder = f"{_TINY}/{part}"
    return HubFolder(name=name or folder, folder=folder, layout=layout, embedded=True)


_DEFAULT, _DEFAULT_BASE = "acestep-v15-turbo", "acestep-v15-base"
_DEFAULT_LM, _SMALL_LM = "acestep-5Hz-lm-1.7B", "acestep-5Hz-lm-0.6B"

MODELS: dict[str, ModelSpec] = {
    row.name: row
    for row in (
        _transformer(_bundled(_DEFAULT), TURBO, SCALE_2B),
        _transformer(_alone("acestep-v15-turbo-shift1"), TURBO_SHIFT1, SCALE_2B),
        _transformer(_alone("acestep-v15-turbo-shift3"), TURBO, SCALE_2B),
        _transformer(_alone("acestep-v15-turbo-continuous"), TURBO, SCALE_2B),
        _transformer(_alone("acestep-v15-turbo-rl"), TURBO, SCALE_2B, released=False),
        _transformer(_alone("acestep-v15-sft"), SFT, SCALE_2B),
        _transformer(_alone(_DEFAULT_BASE), BASE, SCALE_2B),
        _transformer(_alone("acestep-v15-xl-turbo"), XL_TURBO, SCALE_XL),
        _transformer(_alone("acestep-v15-xl-sft"), SFT, SCALE_XL),
        _transformer(_alone("acestep-v15-xl-base"), BASE, SCALE_XL),
        _embedded(_TINY, TURBO),
        _embedded("tiny-base", BASE),
        *V1_MODELS,
    )
}

LANGUAGE_MODELS: dict[str, HubFolder] = {
    row.name: row
    for row in (
        _planner(
            _alone(_SMALL_LM),
            SCALE_LM_06B,
            revision="148d8ea0225bdab342ee1ae3a354275ccd60ca80",
            digests=(
                ("config.json", "6cd70cdd"),
                ("tokenizer.json", "35af56c3"),
                ("chat_template.jinja", "a55ee1b1"),
            ),
        ),
        _planner(_alone("acestep-5Hz-lm-0.6B-v3"), SCALE_LM_06B, released=False),
        _planner(_bundled(_DEFAULT_LM), SCALE_LM_17B),
        _planner(_alone("acestep-5Hz-lm-4B"), SCALE_LM_4B),
        _embedded_part("lm", QWEN3, _TINY),
    )
}

COMPONENTS: dict[str, HubFolder] = {
    row.folder: row
    for row in (
        HubFolder(**_bundled("vae"), layout=AUTOENCODER, scale=Scale(168_695_426)),
        HubFolder(**_bundled("Qwen3-Embedding-0.6B"), layout=QWEN3, scale=Scale(595_776_512)),
        _embedded_part("vae", AUTOENCODER),
        _embedded_part("text_encoder", QWEN3),
        *V1_COMPONENTS,
    )
}

DEFAULT_MODEL = MODELS[_DEFAULT]
DEFAULT_BASE_MODEL = MODELS[_DEFAULT_BASE]
DEFAULT_LANGUAGE_MODEL = LANGUAGE_MODELS[_DEFAULT_LM]
SMALL_LANGUAGE_MODEL = LANGUAGE_MODELS[_SMALL_LM]
EMBEDDED_MODEL = MODELS[_TINY]
EMBEDDED_BASE_MODEL = MODELS["tiny-base"]
EMBEDDED_LANGUAGE_MODEL = LANGUAGE_MODELS[_TINY]

_Row = TypeVar("_Row", bound=HubFolder)


def model_named(name: str) -> ModelSpec:
    """The transformer row of ``name``.

    Raises:
        InputError: no such model, or one that was announced but never published.
    """
    return _named(MODELS, "model", name)


def language_model_named(name: str) -> HubFolder:
    """The language model row of ``name``.

    Raises:
        InputError: no such model, or one that was announced but never published.
    """
    return _named(LANGUAGE_MODELS, "lm_model", name)


def row_named(name: str) -> HubFolder:
    """The row of ``name`` in any of the three tables; a transformer wins over a language model of the same name.

    Raises:
        InputError: no such model, or one that was announced but never published.
    """
    return _named({**COMPONENTS, **LANGUAGE_MODELS, **MODELS}, "model", name)


def parts_of(row: HubFolder) -> tuple[HubFolder, ...]:
    """The folders that ``row`` needs to play: its own, then those it shares with others."""
    if isinstance(row, ModelSpec):
        return row, *(COMPONENTS[folder] for folder in (row.vae, row.text_encoder, *row.others))
    return (row,)


def smaller_than(spec: ModelSpec) -> ModelSpec | None:
    """A published model that needs less memory than ``spec`` and was trained in the same way, or None.

    Of several the first of the table; embedded models are none, for they are no substitute.
    """
    rows = (row for row in MODELS.values() if row.released and not row.embedded)
    return next(
        (row for row in rows if row.scale.memory < spec.scale.memory and _alike(row.variant, spec.variant)), None
    )


def published() -> tuple[HubFolder, ...]:
    """Every row that can be downloaded."""
    rows = (*MODELS.values(), *LANGUAGE_MODELS.values(), *COMPONENTS.values())
    return tuple(row for row in rows if row.released and not row.embedded)


def _alike(one: Variant, other: Variant) -> bool:
    """The same tasks, and guidance in both or in neither."""
    return one.tasks == other.tasks and (one.guidance is None) == (other.guidance is None)


def _named(table: Mapping[str, _Row], field: str, name: str) -> _Row:
    row = table.get(name)
    if row is None or not row.released:
        state = "was never published" if row else "is unknown"
        offered = ", ".join(known for known, spec in table.items() if spec.released)
        raise InputError(f"{field} {shown(name)} {state}; choose one of: {offered}.", field=field, value=name)
    return row
