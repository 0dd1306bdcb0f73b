"""Writes the embedded family with random weights from a fixed seed: real networks, small sizes, no music in them.

``python -m acestep.training.random_tiny --out weights --seed 0`` makes ``tiny`` (few steps), ``tiny-base`` (all
tasks, guidance) and what they share: VAE, text encoder, language model, tokenizers. They try the road, not the ear.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3Model

from acestep.checkpoints.registry import EMBEDDED_BASE_MODEL, EMBEDDED_MODEL, ModelSpec
from acestep.constants import SAMPLE_RATE, TIMBRE_SECONDS
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import AceStepConfig
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig
from acestep.planner.vocabulary import AUDIO_CODE
from acestep.training.vocabulary import learn_vocabulary

VOCABULARY = 960
WIDTH = 128
STORED = torch.float16
TRANSFORMER = {
    "hidden_size": WIDTH,
    "intermediate_size": 3 * WIDTH,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "text_hidden_dim": WIDTH,
    "num_lyric_encoder_hidden_layers": 2,
    "num_timbre_encoder_hidden_layers": 1,
    "num_attention_pooler_hidden_layers": 1,
    "fsq_dim": WIDTH,
    "fsq_input_levels": [8, 5, 5, 5],
}
PUBLISHED_FORM = {"encoder_hidden_size": 8, "decoder_channels": 8}  # of autoencoders: the published strides
AUTOENCODER = {  # the form of the trained one, which takes a fifth of the time
    "encoder_hidden_size": 16,
    "decoder_channels": 16,
    "channel_multiples": [2, 5],
    "downsampling_ratios": [8, 6],
    "outer_stride": 40,
}
_OURS = ("outer_stride", "envelope_channels")  # keys of an autoencoder's configuration that were never published
LANGUAGE_MODEL = {
    "hidden_size": WIDTH,
    "intermediate_size": 3 * WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
    "rope_theta": 1_000_000.0,
}


def main(argv: list[str] | None = None) -> None:
    """Write the whole family below ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("weights"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    torch.manual_seed(arguments.seed)
    write_family(arguments.out, learn_vocabulary(VOCABULARY, arguments.seed))


def write_family(out: Path, vocabulary: Tokenizer) -> None:
    """All folders of the embedded family; random numbers come from torch's global generator."""
    random_vae(PUBLISHED_FORM)  # the first one shipped; the numbers of the other networks follow on its own
    with torch.random.fork_rng(devices=[]):
        vae = write_vae(out / EMBEDDED_MODEL.vae, AUTOENCODER)
    silence = _silence(vae)
    for spec in (EMBEDDED_MODEL, EMBEDDED_BASE_MODEL):
        write_transformer(out / spec.folder, spec, silence)
    write_text_encoder(out / EMBEDDED_MODEL.text_encoder, vocabulary)
    write_language_model(out / EMBEDDED_MODEL.folder / "lm", vocabulary)


def write_vae(folder: Path, sizes: Mapping[str, object]) -> Oobleck:
    """An autoencoder of these sizes; what is not published stands in its file only where it is used."""
    vae = random_vae(sizes)
    told = {key: value for key, value in asdict(vae.config).items() if key in sizes or key not in _OURS}
    _write(folder, "diffusion_pytorch_model", told, vae.state_dict())
    return vae


def random_vae(sizes: Mapping[str, object]) -> Oobleck:
    """An autoencoder whose decoder is scaled so that latents of unit variance come out at a moderate level."""
    vae = Oobleck(OobleckConfig.from_dict(sizes)).requires_grad_(False).eval()
    _randomise(vae)
    latents = torch.randn(1, 50, vae.config.latent_channels)
    vae.decoder.conv2.weight_g.mul_(0.1 / vae.decode(latents).std())
    return vae


def write_transformer(folder: Path, spec: ModelSpec, silence: Tensor) -> None:
    """The diffusion transformer with condition encoder, semantic tokenizer and silence latents."""
    distilled = spec.variant.guidance is None
    config = AceStepConfig.from_dict(
        {**TRANSFORMER, "is_turbo": distilled, "model_version": "turbo" if distilled else "base"}
    )
    model = AceStepModel(config).requires_grad_(False)
    _randomise(model)
    _write(
        folder,
        "model",
        {**TRANSFORMER, "is_turbo": distilled, "model_version": config.model_version},
        model.state_dict(),
    )
    save_file({"silence_latent": silence.to(STORED)}, folder / "silence_latent.safetensors")


def write_text_encoder(folder: Path, vocabulary: Tokenizer) -> None:
    """The prompt encoder and its vocabulary."""
    _write_qwen(folder, vocabulary)


def write_language_model(folder: Path, vocabulary: Tokenizer) -> None:
    """The 5 Hz planner: the same vocabulary followed by one token per semantic code."""
    codes = AceStepConfig.from_dict(TRANSFORMER).codebook_size
    extended = Tokenizer.from_str(vocabulary.to_str())
    extended.add_special_tokens([AddedToken(AUDIO_CODE.format(code), normalized=False) for code in range(codes)])
    _write_qwen(folder, extended)


def _write_qwen(folder: Path, vocabulary: Tokenizer) -> None:
    config = Qwen3Config(**LANGUAGE_MODEL, vocab_size=vocabulary.get_vocab_size())
    network = Qwen3Model(config).requires_grad_(False)
    kept = {"architectures": ["Qwen3Model"], "model_type": "qwen3", **LANGUAGE_MODEL, "vocab_size": config.vocab_size}
    _write(folder, "model", kept, network.state_dict())
    vocabulary.save(str(folder / "tokenizer.json"))


def _silence(vae: Oobleck) -> Tensor:
    """Latents of 30 s of digital silence, ``[1, 750, C]``."""
    return vae.encode(torch.zeros(1, vae.config.audio_channels, SAMPLE_RATE * TIMBRE_SECONDS))


def _randomise(network: nn.Module) -> None:
    """Weights of a usual size where construction leaves zeros or nothing, so that every tensor takes part."""
    for name, parameter in network.named_parameters():
        if parameter.dim() == 1 and name.endswith("norm.weight"):
            parameter.copy_(1.0 + 0.05 * torch.randn_like(parameter))
        elif not torch.isfinite(parameter).all() or not parameter.any():
            parameter.copy_(0.02 * torch.randn_like(parameter))


def _write(folder: Path, stem: str, config: Mapping[str, object], state: Mapping[str, Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(
        {name: tensor.to(STORED).contiguous() for name, tensor in state.items()}, folder / f"{stem}.safetensors"
    )


if __name__ == "__main__":
    main()
