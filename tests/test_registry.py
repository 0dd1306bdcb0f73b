"""The tables of models: complete, consistent with the networks, and what counts as a whole folder."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest
import torch

from acestep.checkpoints.files import folder_of, missing, search_roots, select, weights_root
from acestep.checkpoints.integrity import State, inspect
from acestep.checkpoints.registry import (
    AUTOENCODER,
    COMPONENTS,
    DEFAULT_LANGUAGE_MODEL,
    DEFAULT_MODEL,
    EMBEDDED_BASE_MODEL,
    EMBEDDED_LANGUAGE_MODEL,
    EMBEDDED_MODEL,
    LANGUAGE_MODELS,
    MODELS,
    QWEN3,
    SCALE_2B,
    SCALE_XL,
    TRANSFORMER,
    language_model_named,
    model_named,
    parts_of,
    published,
    row_named,
)
from acestep.checkpoints.registry_v1 import DCAE, LYRIC_VOCABULARY, UMT5, VOCODER
from acestep.checkpoints.rows import FIRST, SECOND, HubFolder, Layout
from acestep.errors import InputError
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import AceStepConfig
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig

ROWS = [*MODELS.values(), *LANGUAGE_MODELS.values(), *COMPONENTS.values()]
LAYOUTS = [TRANSFORMER, AUTOENCODER, QWEN3]


def test_the_published_family() -> None:
    turbo = [f"acestep-v15-turbo{kind}" for kind in ("", "-shift1", "-shift3", "-continuous")]
    others = ["acestep-v15-sft", "acestep-v15-base", *(f"acestep-v15-xl-{kind}" for kind in ("turbo", "sft", "base"))]
    planners = [f"acestep-5Hz-lm-{size}" for size in ("0.6B", "1.7B", "4B")]
    first = [f"ACE-Step-v1-3.5B/{part}" for part in ("music_dcae_f8c8", "umt5-base", "music_vocoder", "lyrics")]
    shared = ["vae", "Qwen3-Embedding-0.6B", *first]
    assert [row.name for row in published()] == [*turbo, *others, "v1-3.5B", *planners, *shared]


def test_pins_are_the_known_ones() -> None:
    pins = {row.name: row.revision for row in ROWS if row.revision}
    bundle = "19671f406d603126926c1b7e2adc169acbcade22"
    assert pins == {
        "acestep-v15-turbo": bundle,
        "vae": bundle,
        "Qwen3-Embedding-0.6B": bundle,
        "acestep-5Hz-lm-1.7B": bundle,
        "acestep-5Hz-lm-0.6B": "148d8ea0225bdab342ee1ae3a354275ccd60ca80",
        "ACE-Step-v1-3.5B/lyrics": "d612523f50e252c0e138e68ae75b06223f96e934",
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.folder)
def test_a_row_says_where_it_comes_from(row: HubFolder) -> None:
    assert bool(row.repository or row.url) != row.embedded
    assert not (row.repository and row.url)
    bundled = row.repository == "ACE-Step/Ace-Step1.5"
    first = row.repository == "ACE-Step/ACE-Step-v1-3.5B"
    assert row.subfolder == (row.folder.removeprefix("ACE-Step-v1-3.5B/") if bundled or first else "")
    assert bundled or first or row.embedded or row.url or row.repository == f"ACE-Step/{row.folder}"
    names = {name for alternatives in row.layout.required for name in alternatives} | set(row.layout.optional)
    assert {name for name, _ in row.digests} <= names | {f"{row.layout.weights}.safetensors"}
    assert all(re.fullmatch(r"[0-9a-f]{64}" if row.url else r"[0-9a-f]{8}", head) for _, head in row.digests)
    assert bool(row.scale.size) == bool(row.repository)


@pytest.mark.parametrize("row", MODELS.values(), ids=lambda row: row.name)
def test_a_model_finds_what_it_shares(row: HubFolder) -> None:
    own, *shared = parts_of(row)
    assert own is row
    layouts = {
        FIRST: [DCAE, UMT5, VOCODER, LYRIC_VOCABULARY],
        SECOND: [AUTOENCODER, QWEN3],
    }
    assert [part.layout for part in shared] == layouts[row.variant.generation]
    assert {part.embedded for part in shared} == {row.embedded}


def test_defaults() -> None:
    assert (DEFAULT_MODEL.name, DEFAULT_LANGUAGE_MODEL.name) == ("acestep-v15-turbo", "acestep-5Hz-lm-1.7B")
    assert EMBEDDED_MODEL.name == EMBEDDED_LANGUAGE_MODEL.name == "tiny"


@pytest.mark.parametrize("row", [row for row in ROWS if row.embedded], ids=lambda row: row.folder)
def test_embedded_rows_ship_whole(row: HubFolder, tmp_path: Path) -> None:
    found = inspect(row, tmp_path)
    assert found.state is State.SHIPPED
    assert {alternatives[0] for alternatives in row.layout.required} & {path.name for path in found.files}


def test_figures_are_those_of_the_networks() -> None:
    two_b = AceStepConfig()
    encoder = {"hidden_size": 2048, "intermediate_size": 6144, "num_attention_heads": 16, "num_key_value_heads": 8}
    xl = AceStepConfig(
        hidden_size=2560,
        intermediate_size=9728,
        num_hidden_layers=32,
        num_attention_heads=32,
        layer_types=two_b.layer_types[:2] * 16,
        **{f"encoder_{name}": size for name, size in encoder.items()},
    )
    with torch.device("meta"):
        networks = {
            SCALE_2B: AceStepModel(two_b),
            SCALE_XL: AceStepModel(xl),
            COMPONENTS["vae"].scale: Oobleck(OobleckConfig()),
        }
    for scale, network in networks.items():
        assert scale.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_alignment_heads_exist() -> None:
    config = AceStepConfig()
    for layer, head in DEFAULT_MODEL.alignment_heads:
        assert 0 <= layer < config.num_hidden_layers
        assert 0 <= head < config.num_attention_heads


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.config_class)
def test_layouts_name_real_readers_and_no_code(layout: Layout) -> None:
    homes = ("acestep.models.config", "acestep.models.vae_config", "transformers")
    assert any(hasattr(importlib.import_module(home), layout.config_class) for home in homes)
    names = [name for alternatives in layout.required for name in alternatives] + list(layout.optional)
    assert {Path(name).suffix for name in names} <= {".json", ".txt", ".jinja", ".safetensors", ".pt"}


@pytest.mark.parametrize(
    ("find", "field"), [(model_named, "model"), (language_model_named, "lm_model"), (row_named, "model")]
)
def test_unknown_and_unpublished_names(find: object, field: str) -> None:
    assert callable(find)
    with pytest.raises(InputError, match=f"^{field} 'nothing' is unknown; choose one of: .*tiny"):
        find("nothing")
    announced = "acestep-5Hz-lm-0.6B-v3" if find is language_model_named else "acestep-v15-turbo-rl"
    with pytest.raises(InputError, match="was never published") as caught:
        find(announced)
    assert caught.value.field == field
    assert announced not in str(caught.value).partition(";")[2]


def test_a_name_finds_a_row_of_any_table() -> None:
    assert row_named("vae") is COMPONENTS["vae"]
    assert row_named("acestep-5Hz-lm-4B") is LANGUAGE_MODELS["acestep-5Hz-lm-4B"]
    assert row_named("tiny") is EMBEDDED_MODEL
    assert row_named("tiny-base") is EMBEDDED_BASE_MODEL


SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("names", "taken", "lacking"),
    [
        (["config.json", "silence_latent.pt", "model.safetensors", "modeling.py", "x.bin"], 3, []),
        (["config.json", "silence_latent.pt", INDEX, *SHARDS, "optimizer-00001-of-00001.safetensors"], 5, []),
        (["config.json", "silence_latent.pt", "silence_latent.safetensors", "model.safetensors", INDEX], 3, []),
        (["model.safetensors"], 1, ["config.json", "silence_latent.pt"]),
        (["config.json", "silence_latent.pt", *SHARDS], 2, ["model.safetensors"]),
        ([], 0, ["config.json", "silence_latent.pt", "model.safetensors"]),
    ],
)
def test_what_is_taken_from_a_repository(names: list[str], taken: int, lacking: list[str]) -> None:
    found, lacks = select(TRANSFORMER, names)
    assert lacks == lacking
    assert len(found) == len(set(found)) == taken
    assert set(found) <= set(names)
    assert not any(name.endswith((".py", ".bin")) for name in found)


@pytest.mark.parametrize(
    ("index", "lacking"),
    [
        ({"weight_map": dict(enumerate(SHARDS))}, [SHARDS[1]]),
        ({"weight_map": {"a": SHARDS[0]}}, []),
        ({"weights": {}}, [INDEX]),
        ([], [INDEX]),
        (None, ["model.safetensors"]),
    ],
)
def test_what_a_folder_lacks(tmp_path: Path, index: object, lacking: list[str]) -> None:
    for name in ("config.json", "silence_latent.pt", SHARDS[0]):
        (tmp_path / name).write_bytes(b"x")
    if index is not None:
        (tmp_path / INDEX).write_text(json.dumps(index))
    assert missing(TRANSFORMER, tmp_path) == lacking


def test_an_absent_folder_lacks_everything(tmp_path: Path) -> None:
    assert missing(AUTOENCODER, tmp_path / "vae") == ["config.json", "diffusion_pytorch_model.safetensors"]


def test_where_weights_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert weights_root() == Path("weights")
    assert search_roots(tmp_path)[:2] == (tmp_path / "weights", tmp_path / "checkpoints")
    assert search_roots(tmp_path)[2] / "tiny" == folder_of(EMBEDDED_MODEL, tmp_path)
    monkeypatch.setenv("ACESTEP_WEIGHTS", str(tmp_path / "mine"))
    assert weights_root() == tmp_path / "mine"
    assert search_roots(tmp_path) == (tmp_path / "mine",)
