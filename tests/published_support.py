"""The published checkpoints as sparse files: every name, shape and type, full size to a reader, nothing on the disk.

In: a folder, a size. Out: the folder as the hub has it, all weights zero. Refuses to know how weights are read.
"""

from __future__ import annotations

import json
import math
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from published_shapes import (
    TEXT_ENCODER,
    Qwen,
    Shapes,
    Transformer,
    qwen_shapes,
    transformer_shapes,
    vae_shapes,
)

PROJECT = Path(__file__).resolve().parents[1]
BYTES = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "I8": 1, "F8_E4M3": 1}
SILENCE_FRAMES = 15_000
MEMORY = Path("/dev/shm")  # where Linux has a file system without a disk


@contextmanager
def folder_to_map(beside: Path) -> Iterator[Path]:
    """A folder for files that are mapped and hardly read, gone afterwards: in memory where that can be, else in
    ``beside``. A disk's file system would read gigabytes of zeros ahead. What is read of them takes room there."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else beside) as folder:
        yield Path(folder)


def publish_family(root: Path, size: Transformer, name: str) -> None:
    """Everything that ``name`` needs, below ``root``."""
    publish_transformer(root / name, size)
    publish_vae(root / "vae")
    publish_text_encoder(root / "Qwen3-Embedding-0.6B")


def publish_transformer(folder: Path, size: Transformer) -> Path:
    """A folder as the hub has it; about 4 MB of silence are real."""
    _write_json(folder / "config.json", _transformer_config(size))
    write_sharded(folder, transformer_shapes(size), size.kind, size.shards)
    torch.save(torch.zeros(1, 64, SILENCE_FRAMES), folder / "silence_latent.pt")
    return folder


def publish_vae(folder: Path) -> Path:
    """The autoencoder's folder."""
    config = {
        "_class_name": "AutoencoderOobleck",
        "_diffusers_version": "0.35.1",
        "audio_channels": 2,
        "channel_multiples": [1, 2, 4, 8, 16],
        "decoder_channels": 128,
        "decoder_input_channels": 64,
        "downsampling_ratios": [2, 4, 4, 6, 10],
        "encoder_hidden_size": 128,
        "sampling_rate": 48000,
    }
    _write_json(folder / "config.json", config)
    write_sparse(folder / "diffusion_pytorch_model.safetensors", vae_shapes(), "BF16")
    return folder


def publish_text_encoder(folder: Path) -> Path:
    """The prompt encoder's folder; its vocabulary is the embedded family's, which is smaller."""
    publish_qwen(folder, TEXT_ENCODER)
    shutil.copy(PROJECT / "weights" / "tiny" / "text_encoder" / "tokenizer.json", folder)
    return folder


def publish_qwen(folder: Path, size: Qwen, prefix: str = "", shards: int = 1) -> Path:
    """Configuration and weights of a Qwen3 network; no vocabulary."""
    _write_json(folder / "config.json", _qwen_config(size))
    write_sharded(folder, qwen_shapes(size, prefix), "BF16", shards)
    return folder


def write_sparse(path: Path, shapes: Mapping[str, tuple[int, ...]], kind: str) -> None:
    """A safetensors file of zeros that takes no room: its header, then nothing up to its size."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape) * BYTES[kind]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(file.tell() + end)


def write_sharded(folder: Path, shapes: Shapes, kind: str, shards: int) -> None:
    """``model.safetensors``, or that many shards of about one size and their index."""
    if shards == 1:
        write_sparse(folder / "model.safetensors", shapes, kind)
        return
    total, filled = sum(map(math.prod, shapes.values())), 0
    parts: list[Shapes] = [{} for _ in range(shards)]
    for name, shape in shapes.items():
        parts[filled * shards // total][name] = shape
        filled += math.prod(shape)
    names = [f"model-{shard:05}-of-{shards:05}.safetensors" for shard in range(1, shards + 1)]
    for name, part in zip(names, parts, strict=True):
        write_sparse(folder / name, part, kind)
    where = {tensor: name for name, part in zip(names, parts, strict=True) for tensor in part}
    _write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total * BYTES[kind]}, "weight_map": where},
    )


def bytes_on_disk(folder: Path) -> int:
    """What the files below ``folder`` really take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _transformer_config(size: Transformer) -> dict[str, object]:
    encoder = {"hidden_size": 2048, "intermediate_size": 6144, "num_attention_heads": 16, "num_key_value_heads": 8}
    named = {f"encoder_{key}": value for key, value in encoder.items()} if size.width != 2048 else {}
    return {
        **_TRANSFORMER_CONFIG,
        "hidden_size": size.width,
        "intermediate_size": size.mlp,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "layer_types": ["sliding_attention", "full_attention"] * (max(size.layers, 8) // 2),
        "is_turbo": size.turbo,
        "model_version": "turbo" if size.turbo else "base",
        **named,
    }


def _qwen_config(size: Qwen) -> dict[str, object]:
    return {
        **_QWEN_CONFIG,
        "hidden_size": size.width,
        "intermediate_size": size.mlp,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "vocab_size": size.vocabulary,
        "layer_types": ["full_attention"] * size.layers,
    }


_TRANSFORMER_CONFIG: dict[str, object] = {
    "architectures": ["AceStepConditionGenerationModel"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "audio_acoustic_hidden_dim": 64,
    "auto_map": {"AutoModel": "modeling_acestep_v15_turbo.AceStepConditionGenerationModel"},
    "data_proportion": 0.5,
    "dtype": "bfloat16",
    "fsq_dim": 2048,
    "fsq_input_levels": [8, 8, 8, 5, 5, 5],
    "fsq_input_num_quantizers": 1,
    "head_dim": 128,
    "hidden_act": "silu",
    "in_channels": 192,
    "initializer_range": 0.02,
    "max_position_embeddings": 32768,
    "model_type": "acestep",
    "num_attention_pooler_hidden_layers": 2,
    "num_audio_decoder_hidden_layers": 24,
    "num_key_value_heads": 8,
    "num_lyric_encoder_hidden_layers": 8,
    "num_timbre_encoder_hidden_layers": 4,
    "patch_size": 2,
    "pool_window_size": 5,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": 128,
    "text_hidden_dim": 1024,
    "tie_word_embeddings": True,
    "timbre_fix_frame": 750,
    "timbre_hidden_dim": 64,
    "timestep_mu": -0.4,
    "timestep_sigma": 1.0,
    "transformers_version": "4.57.1",
    "use_cache": True,
    "use_sliding_window": True,
    "vocab_size": 64003,
}
_QWEN_CONFIG: dict[str, object] = {
    "architectures": ["Qwen3Model"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "dtype": "bfloat16",
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 40960,
    "model_type": "qwen3",
    "num_key_value_heads": 8,
    "pad_token_id": 151643,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "transformers_version": "4.57.1",
    "use_cache": True,
    "use_sliding_window": False,
}
