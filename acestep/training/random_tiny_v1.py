"""Writes the embedded v1 model with random weights from a fixed seed: real networks, small sizes, no music in them.

``python -m acestep.training.random_tiny_v1 --out weights --seed 0`` makes transformer, autoencoder, vocoder, tag
encoder, both vocabularies and a card. They try the road, not the ear. Every random number is a uniform one and every
measured factor is rounded to two digits, so that the files are the same wherever they are made.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

import torch
from diffusers import AutoencoderDC
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from acestep.checkpoints.registry import MODELS
from acestep.checkpoints.rows import FIRST, ModelSpec
from acestep.checkpoints.tensors import WeightFiles, read_contents
from acestep.constants import AUDIO_CHANNELS
from acestep.models.oobleck_layers import WeightNormConv
from acestep.training.learn.command import run_command
from acestep.training.vocabulary_v1 import LYRIC_TOKENS, lyric_vocabulary, tag_vocabulary
from acestep.v1.codec import HOP, LATENT_CHANNELS, LATENT_SCALE, LATENT_SHIFT, MusicCodec
from acestep.v1.config import LATENT_HEIGHT, TransformerConfig
from acestep.v1.transformer import Transformer
from acestep.v1.vocoder import Vocoder
from acestep.v1.vocoder_config import VocoderConfig

STORED = torch.float16
WIDTH = 64
TRANSFORMER = replace(
    TransformerConfig.published(),
    attention_head_dim=WIDTH // 2,
    inner_dim=WIDTH,
    num_attention_heads=2,
    num_layers=3,
    speaker_embedding_dim=16,
    text_embedding_dim=WIDTH,
    lyric_encoder_vocab_size=LYRIC_TOKENS,
    lyric_hidden_size=WIDTH // 2,
    lyric_layers=2,
    lyric_heads=2,
    lyric_intermediate=WIDTH,
    patch_channels=WIDTH,
    patch_groups=8,
    erg_diffusion_layers=(1, 2),
    erg_lyric_layers=(1,),
    erg_tag_layers=(1,),
)
_LEVELS = {  # of the encoder as of the decoder
    "block_out_channels": [8, 16, 32, WIDTH],
    "block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"],
    "layers_per_block": [1, 1, 1, 1],
    "qkv_multiscales": [[], [], [5], [5]],
}
AUTOENCODER: dict[str, object] = {
    "in_channels": AUDIO_CHANNELS,
    "latent_channels": LATENT_CHANNELS,
    "attention_head_dim": WIDTH // 2,
    "downsample_block_type": "Conv",
    "upsample_block_type": "interpolate",
    "decoder_act_fns": "silu",
    "decoder_norm_types": "rms_norm",
    **{f"{half}_{key}": value for half in ("encoder", "decoder") for key, value in _LEVELS.items()},
}
VOCODER = VocoderConfig(
    depths=(1, 1, 1, 1),
    dims=(16, 24, 32, 48),
    num_mels=48,
    upsample_initial_channel=WIDTH,
    upsample_rates=(8, 8, 8),
    upsample_kernel_sizes=(16, 16, 16),
    resblock_kernel_sizes=(3, 7),
    resblock_dilation_sizes=((1, 3), (1, 3)),
)
TAG_ENCODER: dict[str, object] = {
    "d_model": WIDTH,
    "d_kv": WIDTH // 2,
    "d_ff": 2 * WIDTH,
    "num_layers": 2,
    "num_heads": 2,
    "feed_forward_proj": "gated-gelu",
    "layer_norm_epsilon": 1e-6,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
}

_STEM = "diffusion_pytorch_model"
_SONG_FRAMES = 24  # of the song that levels are measured on
_LEVEL = 0.1  # RMS of what the codec plays: -20 dB of full scale
_PICTURE = 0.5  # standard deviation of the pictures it draws, which range from -1 to 1
_VELOCITY = 0.25  # share of a usual size: latents stay in the range that the codec is measured on
_LINEAR = 1e-3  # of a usual size, where tanh does nothing


def embedded_model() -> ModelSpec:
    """The registry row of what is made here."""
    rows = (row for row in MODELS.values() if row.embedded and row.variant.generation is FIRST)
    return next(rows)


def main(argv: list[str] | None = None) -> None:
    """Write the model below ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("weights"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    write_model(arguments.out, arguments.seed)


def write_model(out: Path, seed: int) -> None:
    """All folders of the embedded model, each with random numbers of its own."""
    spec = embedded_model()
    vocoder, lyrics = (out / folder for folder in spec.others)
    write_transformer(out / spec.folder, _numbers(seed, 0))
    write_codec(out / spec.vae, vocoder, _numbers(seed, 1))
    write_tag_encoder(out / spec.text_encoder, _numbers(seed, 2))
    lyrics.mkdir(parents=True, exist_ok=True)
    lyric_vocabulary().save(str(lyrics / "vocab.json"))
    folder = (out / spec.folder).parent
    (folder / "card.md").write_text(card(folder, seed), encoding="utf-8")


def write_transformer(folder: Path, generator: Generator) -> None:
    """The diffusion transformer with its lyric encoder."""
    network = Transformer(TRANSFORMER).requires_grad_(False)
    _fill(network, generator)
    network.final_layer.linear.weight.mul_(_VELOCITY)
    _write(folder, _STEM, {"_class_name": "ACEStepTransformer2DModel", **asdict(TRANSFORMER)}, network)


def write_codec(autoencoder: Path, vocoder: Path, generator: Generator) -> None:
    """Autoencoder and vocoder, scaled so that latents and sound keep to moderate levels on the way in and out."""
    pictures, sounds = AutoencoderDC(**AUTOENCODER).eval(), Vocoder(VOCODER)
    _fill(pictures, generator)
    _fill(sounds, generator)
    _level(MusicCodec(pictures, sounds), generator)
    _write(autoencoder, _STEM, {"_class_name": AutoencoderDC.__name__, **AUTOENCODER}, pictures)
    _write(vocoder, _STEM, {"_class_name": "ADaMoSHiFiGANV1", **asdict(VOCODER)}, sounds)


def write_tag_encoder(folder: Path, generator: Generator) -> None:
    """The encoder of the tags and its vocabulary."""
    vocabulary = tag_vocabulary()
    sizes = {**TAG_ENCODER, "vocab_size": vocabulary.get_vocab_size()}
    network = UMT5EncoderModel(UMT5Config(**sizes))
    _fill(network, generator)
    _write(folder, "model", {"model_type": UMT5Config.model_type, **sizes}, network)
    vocabulary.save(str(folder / "tokenizer.json"))


def card(folder: Path, seed: int) -> str:
    """What the model in ``folder`` is, for people who find it there."""
    rows, total = [], 0
    for path in sorted(folder.rglob("*.safetensors")):
        tensors = read_contents(WeightFiles((path,)), str).tensors.values()
        total += path.stat().st_size
        count = sum(math.prod(tensor.shape) for tensor in tensors)
        rows.append(f"| {path.relative_to(folder)} | {len(tensors)} | {count:,} | {path.stat().st_size >> 10:,} |")
    table = "\n".join(["| file | tensors | values | KiB |", "| --- | --- | --- | --- |", *rows])
    return _CARD.format(name=embedded_model().name, seed=seed, table=table, total=f"{total / 2**20:.1f}")


def _numbers(seed: int, network: int) -> Generator:
    """A source of random numbers for one network, so that another network of another size changes none of them."""
    return Generator().manual_seed(1_000 * seed + network)


def _uniform(shape: Sequence[int], generator: Generator) -> Tensor:
    """Uniform numbers of unit variance; unlike normal ones they are the same on every processor."""
    return (torch.rand(shape, generator=generator) - 0.5) * math.sqrt(12)


@torch.no_grad()
def _fill(network: nn.Module, generator: Generator) -> None:
    """Random weights of a usual size: norms near 1, biases near 0, the rest so that variances are kept."""
    for name, parameter in network.named_parameters():
        if name.endswith(".weight_g"):
            continue
        noise = _uniform(parameter.shape, generator)
        if parameter.dim() == 1:
            parameter.copy_(float(bool((parameter == 1).all())) + 0.05 * noise)
        else:
            parameter.copy_(noise / math.sqrt(parameter[0].numel()))
    for module in network.modules():
        if isinstance(module, WeightNormConv):
            _renorm(module)


def _renorm(module: WeightNormConv) -> None:
    """Make the weight what ``weight_v`` is."""
    direction = module.weight_v.double().flatten(1)
    module.weight_g.copy_(direction.norm(dim=1).view_as(module.weight_g))


@torch.no_grad()
def _level(codec: MusicCodec, generator: Generator) -> None:
    """Scale the last layer of each part: latents of unit variance both ways, pictures in range, sound at -20 dB."""
    latents = _uniform((1, LATENT_CHANNELS, LATENT_HEIGHT, _SONG_FRAMES), generator)
    sound = _LEVEL * _uniform((1, AUDIO_CHANNELS, _SONG_FRAMES * HOP), generator)
    encoder, decoder = codec.dcae.encoder, codec.dcae.decoder
    encoder.conv_out.weight.mul_(_rounded(1.0 / codec.encode(sound).std()))
    picture = decoder(latents / LATENT_SCALE + LATENT_SHIFT)
    decoder.conv_out.weight.mul_(_rounded(_PICTURE / picture.std()))
    last = codec.vocoder.head.conv_post
    walk = last.weight_v.double().cumsum(-1)  # lower notes are louder than higher ones
    last.weight_v.copy_(walk - walk.mean(-1, keepdim=True))  # and no constant comes through
    last.bias.zero_()
    _renorm(last)
    last.weight_g.mul_(_LINEAR)
    last.weight_g.mul_(_rounded(_LEVEL / codec.decode(latents).std()))


def _rounded(factor: Tensor | float) -> float:
    """Two digits: no machine's last bit shows in the files."""
    return float(f"{float(factor):.1e}")


def _write(folder: Path, stem: str, config: Mapping[str, object], network: nn.Module) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tensors = dict(chain(network.named_parameters(), network.named_buffers()))
    stored = {name: tensor.detach().to(STORED).contiguous() for name, tensor in tensors.items()}
    save_file(stored, folder / f"{stem}.safetensors")


_CARD = """\
# `{name}`: the first ACE-Step, very small and untrained

The network classes of ACE-Step v1-3.5B (diffusion transformer with lyric encoder, spectrogram autoencoder, vocoder,
UMT5 tag encoder) at a very small size, with **random** weights. It tries the road without a download: requests,
sampling, guidance, editing, decoding and saving run as they do with the published model. It makes noise, not music.

## How it was made

`python -m acestep.training.random_tiny_v1 --seed {seed}` makes every file of this folder, to the byte. All weights
are uniform random numbers from that seed, stored as float16; the last layer of each part is scaled so that latents
have about unit variance and sound is at about -20 dB of full scale. Nothing was learnt from any recording, text or
other model. The lyric vocabulary (byte pairs) and the tag vocabulary (unigrams) come from words written for this
project; their control, language and structure tokens have the names of the published ones.

## Sizes

{table}

Together {total} MiB.

## Limits

It is a test subject: no rhythm, no words, no style. Its vocabularies spell out most of what they are given.

## Licence

That of this project.
"""


if __name__ == "__main__":
    run_command("random_tiny_v1", main)
