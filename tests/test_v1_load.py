"""The published v1 checkpoint loads, at full size, without what inference never reads; what is broken is refused."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from acestep.checkpoints.files import PACKAGED
from acestep.checkpoints.load import load_strict
from acestep.checkpoints.registry import COMPONENTS
from acestep.checkpoints.rows import HubFolder
from acestep.checkpoints.tensors import weight_files
from acestep.cogrun.schema import PROJECT
from acestep.errors import UnsupportedError, WeightsError
from acestep.v1.load import (
    load_autoencoder,
    load_codec,
    load_tag_encoder,
    load_transformer,
    load_vocoder,
    read_tag_tokenizer,
    read_umt5_config,
)
from acestep.v1.transformer import DEAD

from published_shapes import Shapes
from published_support import bytes_on_disk, folder_to_map
from v1_load_support import (
    AUTOENCODER,
    PUBLISHED,
    TINY,
    TRANSFORMER,
    UMT5,
    UMT5_PARAMETERS,
    UMT5_TENSORS,
    VOCODER,
    as_published,
    folders_of,
    publish,
    umt5_shapes,
)
from v1_published_codec_shapes import AUTOENCODER_PARAMETERS, VOCODER_VALUES, autoencoder_shapes, vocoder_shapes
from v1_published_shapes import LIVE_PARAMETERS, PARAMETERS, dead_shapes, live_shapes, transformer_shapes

BF16, FP32 = torch.bfloat16, torch.float32
DISK_MAX = 1_000_000  # of the sparse files
READ_MAX = 5_000_000  # of the transformer: its vectors
WEIGHTS = "diffusion_pytorch_model.safetensors"
DEAD_NAMES = ("projectors.0.4.weight", "transformer_blocks.0.cross_attn.add_q_proj.bias")
Config = dict[str, object]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """The published folders; their giant files take no room, and are gone after the test.

    Those of the transformer are in memory if that can be; what is read of them takes room.
    """
    transformer = tmp_path / PUBLISHED.folder
    with folder_to_map(tmp_path) as mapped:
        transformer.parent.mkdir(exist_ok=True)
        transformer.symlink_to(mapped)
        yield publish(tmp_path)
        assert bytes_on_disk(mapped) < READ_MAX
        assert bytes_on_disk(tmp_path) < DISK_MAX
    shutil.rmtree(tmp_path)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A copy of the embedded model to spoil: ``ace_step_transformer`` and the folders beside it."""
    source = (PACKAGED / TINY.folder).parent
    return Path(shutil.copytree(source, tmp_path / source.name))


def row_of(folder: str) -> HubFolder:
    return PUBLISHED if folder == PUBLISHED.folder else COMPONENTS[folder]


def shapes_of(network: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def assert_loaded(network: nn.Module, dtype: torch.dtype) -> None:
    """In eval mode, frozen, in one type, and nothing on the meta device, not even what is no weight."""
    assert not any(module.training for module in network.modules())
    assert {tensor.dtype for tensor in (*network.parameters(), *network.buffers())} == {dtype}
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert {tensor.device.type for tensor in (*network.parameters(), *network.buffers())} == {"cpu"}


def change_config(folder: Path, **change: object) -> None:
    """Set keys of ``config.json``; None takes one out."""
    path = folder / "config.json"
    raw = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({key: value for key, value in raw.items() if value is not None}))


def change_weights(path: Path, **change: Tensor) -> None:
    """Add or replace tensors; ``__`` in their names is a dot."""
    save_file({**load_file(path), **{name.replace("__", "."): tensor for name, tensor in change.items()}}, path)


# The published files, as far as they are known.


@pytest.mark.parametrize(
    ("folder", "config"),
    [*zip(folders_of(PUBLISHED), (TRANSFORMER, AUTOENCODER, UMT5, VOCODER), strict=False)],
    ids=["transformer", "autoencoder", "tags", "vocoder"],
)
def test_the_configurations_are_the_published_ones_to_the_byte(folder: str, config: Config) -> None:
    digest = dict(row_of(folder).digests)["config.json"]
    assert hashlib.sha256(as_published(config).encode()).hexdigest().startswith(digest)


@pytest.mark.parametrize(
    ("shapes", "tensors", "parameters"),
    [
        (transformer_shapes(), 874, PARAMETERS),
        (live_shapes(), 670, LIVE_PARAMETERS),
        (autoencoder_shapes(), 192, AUTOENCODER_PARAMETERS),
        (vocoder_shapes(), 713, VOCODER_VALUES),
        (umt5_shapes(), UMT5_TENSORS, UMT5_PARAMETERS),
    ],
    ids=["transformer", "live", "autoencoder", "vocoder", "tags"],
)
def test_the_tables_have_the_published_totals(shapes: Shapes, tensors: int, parameters: int) -> None:
    assert (len(shapes), sum(map(math.prod, shapes.values()))) == (tensors, parameters)


def test_the_published_transformer_loads_without_its_dead_fifth(root: Path) -> None:
    network = load_transformer(root / PUBLISHED.folder, BF16)
    assert shapes_of(network) == live_shapes()
    assert sum(parameter.numel() for parameter in network.parameters()) == LIVE_PARAMETERS
    assert_loaded(network, BF16)


def test_the_published_codec_loads(root: Path) -> None:
    _, autoencoder, _, vocoder, _ = (root / folder for folder in folders_of(PUBLISHED))
    assert shapes_of(load_autoencoder(autoencoder, BF16)) == autoencoder_shapes()
    assert shapes_of(load_vocoder(vocoder, BF16)) == vocoder_shapes()
    codec = load_codec(autoencoder, vocoder, BF16)
    assert_loaded(codec, BF16)
    assert not any(name.endswith(("weight_g", "weight_v")) for name in codec.state_dict())


def test_the_published_tag_encoder_loads(root: Path) -> None:
    encoder = load_tag_encoder(root / PUBLISHED.text_encoder, FP32, root / PUBLISHED.folder)
    network = encoder.network
    tied = {"encoder.embed_tokens.weight": (256_384, 768)}
    assert shapes_of(network) == umt5_shapes() | tied
    assert network.shared.weight is network.encoder.embed_tokens.weight
    assert sum(parameter.numel() for parameter in encoder.parameters()) == UMT5_PARAMETERS
    assert_loaded(encoder, FP32)
    assert network.config._attn_implementation == "eager"


MEASURE = """
import re, sys, torch
from pathlib import Path
from acestep.checkpoints.registry import MODELS
from acestep.devices import Placement
import diffusers
from acestep.v1.family import load_v1_family
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
diffusers.AutoencoderDC
before = peak()
spec, placement = MODELS[sys.argv[2]], Placement(torch.device("cpu"), torch.bfloat16, "test")
family = load_v1_family(spec, Path(sys.argv[1]), placement)
print(peak() - before)
"""


def test_the_whole_published_model_takes_little_more_memory_than_what_is_not_mapped(root: Path) -> None:
    """The transformer stays in its file. Codec (bf16 to fp32) and tag encoder (fp32 to bf16) are copied, one of their
    tensors at a time is there twice; the largest, the table of the tag encoder, while little else is there."""
    command = [sys.executable, "-c", MEASURE, str(root), PUBLISHED.name]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    copied = 4 * (AUTOENCODER_PARAMETERS + VOCODER_VALUES) + 2 * UMT5_PARAMETERS
    assert copied < int(run.stdout) < 1.2 * copied


# Dead weights.


def test_dead_tensors_may_be_there_or_not_and_are_never_read(tiny: Path) -> None:
    """They hold NaN, or are of a type that nothing reads; copying into fp32 would find either."""
    folder = tiny / "ace_step_transformer"
    before = load_transformer(folder, FP32).state_dict()
    change_weights(
        folder / WEIGHTS,
        **{DEAD_NAMES[0].replace(".", "__"): torch.full((4, 4), math.nan)},
        **{DEAD_NAMES[1].replace(".", "__"): torch.zeros(3, dtype=torch.int8)},
    )
    after = load_transformer(folder, FP32).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_every_dead_tensor_is_ignored_and_no_live_one(tmp_path: Path) -> None:
    network = nn.ParameterDict({"live": torch.zeros(1)})
    dead = {name: torch.zeros(1) for name in dead_shapes()}
    save_file({"live": torch.ones(1), **dead}, tmp_path / "model.safetensors")
    files = weight_files(tmp_path, "model")
    assert load_strict(network, files, FP32, ignore=DEAD)["live"] == 1
    with pytest.raises(WeightsError, match=f"{len(dead)} tensors unexpected: "):
        load_strict(network, files, FP32)
    alive = {name: torch.zeros(1) for name in live_shapes()}
    save_file({"live": torch.ones(1), **alive}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=f"{len(alive)} tensors unexpected: "):
        load_strict(network, files, FP32, ignore=DEAD)


def test_an_unknown_tensor_beside_dead_ones_is_refused(tiny: Path) -> None:
    folder = tiny / "ace_step_transformer"
    change_weights(folder / WEIGHTS, projectors__0__4__weight=torch.zeros(1), projector__weight=torch.zeros(1))
    with pytest.raises(WeightsError, match=r"cannot be used: 1 tensor unexpected: projector\.weight\.$"):
        load_transformer(folder, FP32)


# Broken folders, one by one; ``test_v1_family`` has them together.


@pytest.mark.parametrize(
    ("folder", "change", "words"),
    [
        ("ace_step_transformer", {"_class_name": "Transformer2DModel"}, "_class_name is 'Transformer2DModel', not"),
        ("ace_step_transformer", {"num_experts": 8}, "has keys this version does not know: num_experts."),
        ("ace_step_transformer", {"inner_dim": None}, "lacks keys: inner_dim."),
        ("ace_step_transformer", {"num_layers": 4}, " tensors missing: transformer_blocks.3."),
        ("music_dcae_f8c8", {"_class_name": "AutoencoderKL"}, "_class_name is 'AutoencoderKL', not 'AutoencoderDC'"),
        ("music_dcae_f8c8", {"latents": 1}, "The autoencoder configuration cannot be used: latents is unknown."),
        ("music_dcae_f8c8", {"in_channels": "2"}, "in_channels='2' is not a value like 3."),
        ("music_dcae_f8c8", {"in_channels": True}, "in_channels=True is not a value like 3."),
        ("music_dcae_f8c8", {"scaling_factor": "x"}, "scaling_factor='x' is not a value like 1.0."),
        ("music_dcae_f8c8", {"decoder_act_fns": 3}, "decoder_act_fns=3 is not a value like 'silu'."),
        ("music_dcae_f8c8", {"encoder_layers_per_block": 2}, "encoder_layers_per_block=2 is not a value like ("),
        ("music_dcae_f8c8", {"encoder_layers_per_block": [1]}, "tensors unexpected: encoder.down_blocks.1."),
        ("music_dcae_f8c8", {"encoder_qkv_multiscales": [5, 5, 5, 5]}, "does not fit together"),
        ("music_dcae_f8c8", {"decoder_block_types": "Block"}, "does not fit together"),
        ("music_dcae_f8c8", {"latent_channels": 16}, "tensors of the wrong shape: decoder.conv_in."),
        ("music_vocoder", {"_class_name": "HiFiGAN"}, "_class_name is 'HiFiGAN', not 'ADaMoSHiFiGANV1'"),
        ("music_vocoder", {"n_mels": None}, "missing keys: n_mels."),
        ("music_vocoder", {"template": 1}, "unknown keys: template."),
        ("umt5-base", {"model_type": "t5"}, "model_type is 't5', not 'umt5'"),
        ("umt5-base", {"num_layers": 3}, "10 tensors missing: block.2."),
    ],
)
def test_configurations_of_another_architecture(tiny: Path, folder: str, change: Config, words: str) -> None:
    change_config(tiny / folder, **change)
    text = refusal(tiny, folder)
    assert text.startswith("Model not loaded: ")
    assert str(tiny / folder) in text
    assert words in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"d_model": 0, "num_heads": "2"}, "d_model=0, num_heads='2' should be whole numbers above 0"),
        ({"vocab_size": None}, "vocab_size=None should be whole numbers above 0"),
        ({"relative_attention_num_buckets": 1.5}, "relative_attention_num_buckets=1.5 should be whole"),
        ({"layer_norm_epsilon": 1}, "layer_norm_epsilon=1 should be between 0 and 1"),
        ({"feed_forward_proj": "relu"}, "feed_forward_proj='relu' is not supported, only 'gated-gelu'"),
    ],
)
def test_tag_encoders_that_are_none(tiny: Path, change: Config, words: str) -> None:
    change_config(tiny / "umt5-base", **change)
    with pytest.raises(WeightsError, match="config.json does not describe a UMT5 encoder: ") as caught:
        read_umt5_config(tiny / "umt5-base")
    assert words in str(caught.value)


def test_what_a_tag_encoder_does_not_say_is_as_published(tiny: Path) -> None:
    """The keys that older writers left out have one value in every published UMT5."""
    before = read_umt5_config(tiny / "umt5-base").to_dict()
    for key in ("relative_attention_num_buckets", "layer_norm_epsilon", "feed_forward_proj"):
        change_config(tiny / "umt5-base", **{key: None})
    assert read_umt5_config(tiny / "umt5-base").to_dict() == before


def test_layers_that_the_tag_encoder_lacks(tiny: Path) -> None:
    change_config(tiny / "ace_step_transformer", erg_tag_layers=[1, 2])
    assert refusal(tiny, "umt5-base") == (
        f"Model not loaded: {tiny}/ace_step_transformer/config.json: "
        "erg_tag_layers [1, 2] are to be weakened, the network has 2."
    )


@pytest.mark.parametrize("folder", ["ace_step_transformer", "music_dcae_f8c8", "music_vocoder", "umt5-base"])
def test_weights_that_cannot_be_used(tiny: Path, folder: str) -> None:
    (path,) = (tiny / folder).glob("*.safetensors")
    whole, (vector, like) = path.read_bytes(), next((n, t) for n, t in load_file(path).items() if t.dim() == 1)
    spoilt = {vector.replace(".", "__"): torch.full_like(like, math.nan)}
    change_weights(path, **spoilt)
    assert "cannot hold (NaN or infinity): " in refusal(tiny, folder)
    path.write_bytes(whole)
    change_weights(path, surplus=torch.zeros(1), **{vector.replace(".", "__"): torch.zeros(len(like) + 1)})
    text = refusal(tiny, folder)
    assert "1 tensor unexpected: surplus; 1 tensor of the wrong shape: " in text
    path.write_bytes(whole[:-100])
    assert f"is cut short: it has {len(whole) - 100} of {len(whole)} bytes" in refusal(tiny, folder)
    path.write_bytes(b"PK\x03\x04" + bytes(60))
    assert f"{path.name} is a pickle, which is never loaded." in refusal(tiny, folder)
    path.unlink()
    assert refusal(tiny, folder) == f"Model not loaded: {path.parent} has no {path.name}."


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"type": "BPE", "vocab": {}, "merges": []}, "holds no unigram vocabulary."),
        ({"type": "Unigram", "vocab": [], "unk_id": 0}, "holds no unigram vocabulary."),
        ({"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 1}, "holds no unigram vocabulary."),
        ({"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": None}, "holds no unigram vocabulary."),
        ({"type": "Unigram", "vocab": [["a", "b"]], "unk_id": 0}, "holds no unigram vocabulary."),
        ({"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 0}, ": The tokenizer of the tags has no </s> token."),
        (None, "holds no unigram vocabulary."),
    ],
)
def test_tag_vocabularies_that_are_none(tmp_path: Path, model: object, words: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    with pytest.raises(WeightsError) as caught:
        read_tag_tokenizer(tmp_path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith(words)


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UnsupportedError) as caught:
        load_autoencoder(PACKAGED / TINY.vae, FP32)
    assert str(caught.value) == (
        "ACE-Step v1 needs the package diffusers; install it with `pip install 'acestep-cog[v1]'`."
    )


def refusal(tiny: Path, folder: str) -> str:
    """What is said of one folder of a broken model."""
    load = {
        "ace_step_transformer": lambda: load_transformer(tiny / folder, FP32),
        "music_dcae_f8c8": lambda: load_autoencoder(tiny / folder, FP32),
        "music_vocoder": lambda: load_vocoder(tiny / folder, FP32),
        "umt5-base": lambda: load_tag_encoder(tiny / folder, FP32, tiny / "ace_step_transformer"),
    }[folder]
    with pytest.raises(WeightsError) as caught:
        load()
    return str(caught.value)
