"""The v1 networks that play together: loaded in the right types, or refused in one sentence with the remedy."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from acestep.checkpoints.family import find_weights
from acestep.checkpoints.files import PACKAGED
from acestep.checkpoints.integrity import Marker, StoredFile, write_marker
from acestep.checkpoints.registry import MODELS
from acestep.devices import Placement, Residency, weight_bytes
from acestep.errors import WeightsError
from acestep.v1.family import V1Family, load_v1_family

from v1_load_support import PUBLISHED, TINY, fill, folders_of

CPU = Placement(torch.device("cpu"), torch.float32, "test")
HALF = Placement(torch.device("cpu"), torch.bfloat16, "test")
COMMAND = "`acestep-download --model v1-3.5B"
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A weights folder that has what the published model needs, small."""
    return fill(tmp_path / "weights")


@pytest.fixture(scope="module")
def family() -> V1Family:
    return load_v1_family(TINY, PACKAGED, CPU)


def refusal(root: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_v1_family(PUBLISHED, root, CPU)
    return str(caught.value)


def dtypes(family: V1Family) -> dict[str, set[torch.dtype]]:
    return {
        role: {tensor.dtype for tensor in (*network.parameters(), *network.buffers())}
        for role, network in family.networks.items()
    }


def test_every_network_has_a_role_and_is_ready(family: V1Family) -> None:
    assert family.networks == {"dit": family.transformer, "vae": family.codec, "text_encoder": family.text_encoder}
    for network in family.networks.values():
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
    assert (family.spec, family.placement, family.commit) == (TINY, CPU, None)


def test_the_codec_plays_in_float32_unless_it_is_asked_otherwise(root: Path) -> None:
    half, full = {torch.bfloat16}, {torch.float32}
    assert dtypes(load_v1_family(PUBLISHED, root, HALF)) == {"dit": half, "vae": full, "text_encoder": half}
    all_half = load_v1_family(PUBLISHED, root, HALF, codec_dtype=torch.bfloat16)
    assert dtypes(all_half) == {"dit": half, "vae": half, "text_encoder": half}


def test_networks_can_come_and_go(family: V1Family) -> None:
    """Everything that a device needs is a parameter or a buffer of a role, each found once."""
    seen: set[int] = set()
    residency = Residency(family.networks, CPU.device, offload=True, carry=lambda tensor: tensor.clone())
    for role, network in family.networks.items():
        before = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
        with residency.resident(role):
            carried = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
        assert not set(before.values()) & set(carried.values())
        assert {name: tensor.data_ptr() for name, tensor in network.state_dict().items()} == before
        assert not seen & set(before.values())
        seen |= set(before.values())
    tags = family.text_encoder.network
    assert tags.shared.weight is tags.encoder.embed_tokens.weight


def test_weakening_reaches_networks_that_came_and_went(root: Path) -> None:
    family = load_v1_family(PUBLISHED, root, CPU)
    ids = torch.tensor([family.tag_tokenizer("funk, energetic")])
    mask = torch.ones_like(ids, dtype=torch.bool)
    residency = Residency(family.networks, CPU.device, offload=True, carry=lambda tensor: tensor.clone())
    with residency.resident("text_encoder") as encoder:
        weak, plain = encoder(ids, mask, weaken=True), encoder(ids, mask)
    assert torch.equal(weak, family.text_encoder(ids, mask, weaken=True))
    assert torch.equal(plain, family.text_encoder(ids, mask))
    assert not torch.equal(weak, plain)


def test_each_network_is_reported(root: Path) -> None:
    told: list[tuple[str, float, int]] = []
    family = load_v1_family(PUBLISHED, root, CPU, lambda *report: told.append(report))
    assert [role for role, _, _ in told] == ["text encoder", "vae", "transformer"]
    assert all(seconds >= 0 for _, seconds, _ in told)
    sizes = [weight_bytes(network) for network in family.networks.values()]
    assert [size for _, _, size in told] == sizes[::-1]
    assert all(size > 0 for size in sizes)


def test_parts_of_another_family_are_taken_as_they_are(root: Path, family: V1Family) -> None:
    for name in (PUBLISHED.text_encoder, PUBLISHED.vae):
        shutil.rmtree(root / name)
    shared = {"vae": family.codec, "text encoder": family.text_encoder, "tokenizer": family.tag_tokenizer}
    other = load_v1_family(PUBLISHED, root, CPU, shared=shared)
    assert other.codec is family.codec
    assert other.text_encoder is family.text_encoder
    assert other.tag_tokenizer is family.tag_tokenizer
    assert other.transformer is not family.transformer
    assert other.lyric_tokenizer is not family.lyric_tokenizer


def test_the_commit_is_that_of_the_transformers_download(root: Path) -> None:
    assert load_v1_family(PUBLISHED, root, CPU).commit is None
    folder = root / PUBLISHED.folder
    files = tuple(StoredFile(path.name, path.stat().st_size, "") for path in folder.iterdir())
    write_marker(folder, Marker(PUBLISHED.repository, "c" * 40, files))
    assert load_v1_family(PUBLISHED, root, CPU).commit == "c" * 40


def test_folders_that_are_not_ready_are_named_with_the_command(root: Path, tmp_path: Path) -> None:
    """The small vocabulary is refused too: it is not the file that was published."""
    assert find_weights(TINY, tmp_path) == PACKAGED
    (root / PUBLISHED.text_encoder / "tokenizer.json").unlink()
    with pytest.raises(WeightsError) as caught:
        find_weights(PUBLISHED, tmp_path)
    text = str(caught.value)
    assert f"needs the folders {', '.join(folders_of(PUBLISHED))} in one of {root}, " in text
    assert f"; {root}/{PUBLISHED.text_encoder} lacks tokenizer.json" in text
    assert f"; {root}/{PUBLISHED.others[1]} has another vocab.json than was published" in text
    assert f". Fetch it with {COMMAND}`" in text


def test_the_problems_of_all_parts_are_one_error_that_ends_with_the_command(root: Path) -> None:
    transformer, autoencoder, tags, vocoder, lyrics = (root / folder for folder in folders_of(PUBLISHED))
    (transformer / WEIGHTS).write_bytes(b"PK\x03\x04" + bytes(60))
    whole = (autoencoder / WEIGHTS).read_bytes()
    (autoencoder / WEIGHTS).write_bytes(whole[:-1])
    state = load_file(vocoder / WEIGHTS)
    state["backbone.norm.weight"].fill_(math.nan)
    save_file(state, vocoder / WEIGHTS)
    (tags / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tags / "tokenizer.json").unlink()
    (lyrics / "vocab.json").write_text("<html>")
    text = refusal(root)
    for words in (
        f"{transformer}/{WEIGHTS} cannot be used: {WEIGHTS} is a pickle, which is never loaded.",
        f"{WEIGHTS} is cut short: it has {len(whole) - 1} of {len(whole)} bytes.",
        "1 tensor that float32 cannot hold (NaN or infinity): backbone.norm.weight.",
        "config.json is of another architecture: model_type is 'bert', not 'umt5'.",
        f"cannot read {tags}/tokenizer.json (No such file or directory).",
        f"{lyrics}/vocab.json is not JSON",
    ):
        assert words in text
    assert text.endswith(f"{COMMAND} --force`, or point ACESTEP_WEIGHTS at a folder that has it.")


def test_a_broken_configuration_is_told_once(root: Path) -> None:
    """Two parts read that of the transformer."""
    (root / PUBLISHED.folder / "config.json").write_text("[]")
    assert refusal(root).count("config.json is not a JSON object.") == 1


def test_an_embedded_model_is_to_be_restored_from_where_it_ships(tmp_path: Path) -> None:
    for folder in folders_of(TINY):
        shutil.copytree(PACKAGED / folder, tmp_path / folder)
    (tmp_path / TINY.vae / WEIGHTS).unlink()
    with pytest.raises(WeightsError) as caught:
        load_v1_family(TINY, tmp_path, CPU)
    assert str(caught.value) == (
        f"Model not loaded: {tmp_path / TINY.vae} has no {WEIGHTS}. "
        "It ships with this project: restore the folder from there."
    )


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        (PUBLISHED.folder, "text_embedding_dim", "the tag encoder is 64 wide, the transformer reads 32"),
        (PUBLISHED.folder, "lyric_encoder_vocab_size", "the lyric tokenizer has 640 tokens, its encoder only 32"),
        (PUBLISHED.text_encoder, "vocab_size", "the tag tokenizer has 476 tokens, its encoder only 32 embeddings"),
        (PUBLISHED.folder, "in_channels", "the codec has 8 latent channels, the transformer 16"),
    ],
)
def test_parts_of_different_models_are_refused(root: Path, part: str, change: str, words: str) -> None:
    """Each part is whole, but another of its kind was put in its place."""
    resize = {
        "text_embedding_dim": {"genre_embedder.weight": (64, 32)},
        "lyric_encoder_vocab_size": {"lyric_embs.weight": (32, 32)},
        "vocab_size": {"shared.weight": (32, 64)},
        "in_channels": {
            "proj_in.early_conv_layers.0.weight": (64, 16, 16, 1),
            "final_layer.linear.weight": (256, 64),
            "final_layer.linear.bias": (256,),
        },
    }[change]
    (path,) = (root / part).glob("*.safetensors")
    save_file({**load_file(path), **{name: torch.zeros(shape) for name, shape in resize.items()}}, path)
    config = json.loads((root / part / "config.json").read_text())
    size = 16 if change == "in_channels" else 32
    config |= {change: size} | ({"out_channels": size} if change == "in_channels" else {})
    (root / part / "config.json").write_text(json.dumps(config))
    text = refusal(root)
    assert text.startswith(f"Model not loaded: the parts of {PUBLISHED.name} do not fit together: {words}")
    assert COMMAND in text


def test_both_models_of_the_generation_are_of_one_layout() -> None:
    for here, there in zip(folders_of(TINY), folders_of(PUBLISHED), strict=True):
        assert Path(here).name == Path(there).name
    assert MODELS[TINY.name].variant == MODELS[PUBLISHED.name].variant
