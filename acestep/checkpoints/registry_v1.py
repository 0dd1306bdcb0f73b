"""The rows of ACE-Step v1, the first generation: its models, the networks they play with, adapters made for it.

Both models are folders of five parts. The published one is a repository of the hub, but for the vocabulary of its
lyrics, which is only in the code that came with it; the tiny one ships with this project. Part of ``registry``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acestep.checkpoints.rows import FIRST, HubFolder, Layout, ModelSpec, Scale, Variant
from acestep.tasks import FIRST_TASKS

_CONFIG = ("config.json",)
V1_TRANSFORMER = Layout("V1TransformerConfig", "diffusion_pytorch_model", (_CONFIG,))
DCAE = Layout("AutoencoderDC", "diffusion_pytorch_model", (_CONFIG,))
UMT5 = Layout(
    "UMT5Config", "model", (_CONFIG, ("tokenizer.json",)), ("tokenizer_config.json", "special_tokens_map.json")
)
VOCODER = Layout("VocoderConfig", "diffusion_pytorch_model", (_CONFIG,))
LYRICS_FILE = "vocab.json"
LYRIC_VOCABULARY = Layout("", "", ((LYRICS_FILE,),))

_GB = 1_000_000_000
SCALE_V1 = Scale(3_305_659_264, memory=16 * _GB, memory_offloaded=8 * _GB)
_V1 = Variant(
    steps=60,
    steps_max=200,
    steps_cut=False,
    guidance=15.0,
    shift=3.0,
    tasks=tuple(FIRST_TASKS),
    steps_advised=(20, 100),
    generation=FIRST,
    longest_s=240.0,
)
_NAME, _TINY = "v1-3.5B", "tiny-v1"
_PUBLISHED = "ACE-Step-v1-3.5B"  # folder here, and repository there
_TRANSFORMER, _DCAE, _TAGS, _VOCODER, _LYRICS = (
    "ace_step_transformer",
    "music_dcae_f8c8",
    "umt5-base",
    "music_vocoder",
    "lyrics",
)
_LAYOUTS = {
    _TRANSFORMER: V1_TRANSFORMER,
    _DCAE: DCAE,
    _TAGS: UMT5,
    _VOCODER: VOCODER,
    _LYRICS: LYRIC_VOCABULARY,
}
_SCALES = {
    _TRANSFORMER: SCALE_V1,
    _DCAE: Scale(156_812_426),
    _TAGS: Scale(281_861_376, width=4),
    _VOCODER: Scale(103_138_386),
}
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_DIGESTS = {
    _TRANSFORMER: (("config.json", "4d78beb6"), (_WEIGHTS, "e810f167")),
    _DCAE: (("config.json", "b14a49a8"), (_WEIGHTS, "2b0cb469")),
    _TAGS: (
        ("config.json", "afae5da9"),
        ("tokenizer.json", "20a46ac2"),
        ("tokenizer_config.json", "ed9a3a8b"),
        ("special_tokens_map.json", "456b58fd"),
        ("model.safetensors", "779cec0d"),
    ),
    _VOCODER: (("config.json", "39ddc4c4"), (_WEIGHTS, "c92c9b46")),
    _LYRICS: ((LYRICS_FILE, "c2a66ea48c478c0bb9acb5497144b926acdeaa37128faa799508d40f2b9cc558"),),
}
_VOCABULARY_COMMIT = "d612523f50e252c0e138e68ae75b06223f96e934"
_VOCABULARY_URL = (
    f"https://raw.githubusercontent.com/ace-step/ACE-Step/{_VOCABULARY_COMMIT}/acestep/models/lyrics_utils/vocab.json"
)


def _published(part: str) -> dict[str, Any]:
    """What a row says of a part that was published."""
    row: dict[str, Any] = {"layout": _LAYOUTS[part], "digests": _DIGESTS[part]}
    if part == _LYRICS:
        return {**row, "url": _VOCABULARY_URL, "revision": _VOCABULARY_COMMIT}
    return {**row, "scale": _SCALES[part], "repository": f"ACE-Step/{_PUBLISHED}", "subfolder": part}


def _embedded(part: str) -> dict[str, Any]:
    """What a row says of a part that ships with this project."""
    return {"layout": _LAYOUTS[part], "embedded": True}


def _model(name: str, top: str, says: Mapping[str, Any]) -> ModelSpec:
    _, dcae, tags, *others = (f"{top}/{part}" for part in _LAYOUTS)
    folder = f"{top}/{_TRANSFORMER}"
    return ModelSpec(name=name, folder=folder, vae=dcae, text_encoder=tags, others=tuple(others), variant=_V1, **says)


def _components(top: str, says: Mapping[str, Mapping[str, Any]]) -> tuple[HubFolder, ...]:
    """The rows of all parts but the transformer's, which is the model's own."""
    folders = {part: f"{top}/{part}" for part in _LAYOUTS if part != _TRANSFORMER}
    return tuple(HubFolder(name=folder, folder=folder, **says[part]) for part, folder in folders.items())


V1_MODELS = (_model(_NAME, _PUBLISHED, _published(_TRANSFORMER)), _model(_TINY, _TINY, _embedded(_TRANSFORMER)))
V1_COMPONENTS = (
    *_components(_PUBLISHED, {part: _published(part) for part in _LAYOUTS}),
    *_components(_TINY, {part: _embedded(part) for part in _LAYOUTS}),
)
ADAPTERS = {"ACE-Step/ACE-Step-v1-chinese-rap-LoRA": _NAME}  # hub id: the model it was made for
