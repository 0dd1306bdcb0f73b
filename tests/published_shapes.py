"""Names and shapes of every tensor in the published checkpoints.

Written down from the description of the published files, not from our networks: a test that compares the two can
fail. Refuses to know files and what tensors are for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Shapes = dict[str, tuple[int, ...]]

AUDIO_CODES, BASE_TOKENS, ADDED_TOKENS = 65_535, 151_643, 26

# Letters in the tables are sizes: H width, I width of the MLP, Q and K width of all query and all key/value heads,
# D of one head, E width of the condition side, V vocabulary.
_DECODER = """
    proj_in.1.weight            H 192 2
    proj_in.1.bias              H
    proj_out.1.weight           H 64 2
    proj_out.1.bias             64
    condition_embedder.weight   H E
    condition_embedder.bias     H
    norm_out.weight             H
    scale_shift_table           1 2 H
"""
_TIME_EMBED = """
    linear_1.weight    H 256
    linear_1.bias      H
    linear_2.weight    H H
    linear_2.bias      H
    time_proj.weight   6H H
    time_proj.bias     6H
"""
_ATTENTION = """
    q_proj.weight   Q H
    k_proj.weight   K H
    v_proj.weight   K H
    o_proj.weight   H Q
    q_norm.weight   D
    k_norm.weight   D
"""
_MLP = """
    mlp.gate_proj.weight   I H
    mlp.up_proj.weight     I H
    mlp.down_proj.weight   H I
"""
_DECODER_LAYER = """
    self_attn_norm.weight    H
    cross_attn_norm.weight   H
    mlp_norm.weight          H
    scale_shift_table        1 6 H
"""
_ENCODER_LAYER = """
    input_layernorm.weight            H
    post_attention_layernorm.weight   H
"""
_CONDITION_SIDE = """
    null_condition_emb                                1 1 H
    encoder.text_projector.weight                     H 1024
    encoder.lyric_encoder.embed_tokens.weight         H 1024
    encoder.lyric_encoder.embed_tokens.bias           H
    encoder.lyric_encoder.norm.weight                 H
    encoder.timbre_encoder.embed_tokens.weight        H 64
    encoder.timbre_encoder.embed_tokens.bias          H
    encoder.timbre_encoder.special_token              1 1 H
    encoder.timbre_encoder.norm.weight                H
    tokenizer.audio_acoustic_proj.weight              H 64
    tokenizer.audio_acoustic_proj.bias                H
    tokenizer.attention_pooler.embed_tokens.weight    H H
    tokenizer.attention_pooler.embed_tokens.bias      H
    tokenizer.attention_pooler.special_token          1 1 H
    tokenizer.attention_pooler.norm.weight            H
    tokenizer.quantizer.project_in.weight             6 H
    tokenizer.quantizer.project_in.bias               6
    tokenizer.quantizer.project_out.weight            H 6
    tokenizer.quantizer.project_out.bias              H
    detokenizer.embed_tokens.weight                   H H
    detokenizer.embed_tokens.bias                     H
    detokenizer.special_tokens                        1 5 H
    detokenizer.norm.weight                           H
    detokenizer.proj_out.weight                       64 H
    detokenizer.proj_out.bias                         64
"""
_CONDITION_LAYERS = {
    "encoder.lyric_encoder": 8,
    "encoder.timbre_encoder": 4,
    "tokenizer.attention_pooler": 2,
    "detokenizer": 2,
}
_CONDITION_SIZES = {"H": 2048, "I": 6144, "Q": 2048, "K": 1024, "D": 128}


@dataclass(frozen=True, slots=True)
class Qwen:
    """Sizes of a Qwen3 network; a head is 128 wide."""

    width: int
    mlp: int
    layers: int
    heads: int
    vocabulary: int = BASE_TOKENS + ADDED_TOKENS + AUDIO_CODES


@dataclass(frozen=True, slots=True)
class Transformer:
    """Sizes of a diffusion transformer, and how its weights are stored."""

    width: int
    mlp: int
    layers: int
    heads: int
    kind: str = "BF16"
    shards: int = 1
    turbo: bool = True


TWO_B = Transformer(2048, 6144, 24, 16)
XL = Transformer(2560, 9728, 32, 32, kind="F32", shards=4)
TEXT_ENCODER = Qwen(1024, 3072, 28, 16, vocabulary=BASE_TOKENS + ADDED_TOKENS)
LANGUAGE_MODELS = {
    "acestep-5Hz-lm-0.6B": Qwen(1024, 3072, 28, 16),
    "acestep-5Hz-lm-1.7B": Qwen(2048, 6144, 28, 16),
    "acestep-5Hz-lm-4B": Qwen(2560, 9728, 36, 32),
}


def transformer_shapes(size: Transformer) -> Shapes:
    """Every tensor of a diffusion transformer with its condition side."""
    sizes = {"H": size.width, "I": size.mlp, "Q": size.heads * 128, "K": 1024, "D": 128, "E": 2048}
    found = _shapes(_DECODER, "decoder.", sizes)
    for twin in ("time_embed", "time_embed_r"):
        found |= _shapes(_TIME_EMBED, f"decoder.{twin}.", sizes)
    for layer in range(size.layers):
        here = f"decoder.layers.{layer}."
        found |= _shapes(_DECODER_LAYER + _MLP, here, sizes)
        found |= _shapes(_ATTENTION, f"{here}self_attn.", sizes) | _shapes(_ATTENTION, f"{here}cross_attn.", sizes)
    found |= _shapes(_CONDITION_SIDE, "", _CONDITION_SIZES)
    for stack, layers in _CONDITION_LAYERS.items():
        found |= _encoder_layers(f"{stack}.", layers, _CONDITION_SIZES)
    return found


def qwen_shapes(size: Qwen, prefix: str = "") -> Shapes:
    """Every tensor of a Qwen3 network as it is published: no head; ``prefix`` is the one other tools write."""
    sizes = {"H": size.width, "I": size.mlp, "Q": size.heads * 128, "K": 1024, "D": 128, "V": size.vocabulary}
    ends = _shapes("embed_tokens.weight V H\nnorm.weight H", prefix, sizes)
    return ends | _encoder_layers(prefix, size.layers, sizes)


def vae_shapes() -> Shapes:
    """Every tensor of the autoencoder."""
    found = _convolution("encoder.conv1", 128, 2, 7) | _convolution("decoder.conv1", 2048, 64, 7)
    steps = ((128, 128, 2), (128, 256, 4), (256, 512, 4), (512, 1024, 6), (1024, 2048, 10))
    for block, (before, after, stride) in enumerate(steps):
        here = f"encoder.block.{block}"
        found |= _residual_units(here, before) | _snake(f"{here}.snake1", before)
        found |= _convolution(f"{here}.conv1", after, before, 2 * stride)
    for block, (after, before, stride) in enumerate(steps[::-1]):
        here = f"decoder.block.{block}"
        found |= _residual_units(here, after) | _snake(f"{here}.snake1", before)
        found |= _convolution(f"{here}.conv_t1", before, after, 2 * stride, bias=after)
    found |= _snake("encoder.snake1", 2048) | _convolution("encoder.conv2", 128, 2048, 3)
    return found | _snake("decoder.snake1", 128) | _convolution("decoder.conv2", 2, 128, 7, bias=0)


def _shapes(table: str, prefix: str, sizes: Mapping[str, int]) -> Shapes:
    return {
        prefix + name: tuple(_dimension(word, sizes) for word in words)
        for name, *words in map(str.split, filter(str.strip, table.splitlines()))
    }


def _dimension(word: str, sizes: Mapping[str, int]) -> int:
    """``192``, ``H`` or ``6H``."""
    return int(word) if word.isdigit() else int(word[:-1] or 1) * sizes[word[-1]]


def _encoder_layers(prefix: str, layers: int, sizes: Mapping[str, int]) -> Shapes:
    found: Shapes = {}
    for layer in range(layers):
        here = f"{prefix}layers.{layer}."
        found |= _shapes(_ENCODER_LAYER + _MLP, here, sizes) | _shapes(_ATTENTION, f"{here}self_attn.", sizes)
    return found


def _convolution(name: str, first: int, second: int, kernel: int, bias: int | None = None) -> Shapes:
    """A weight-normed convolution: ``first`` is the output channels, or the input ones of a transposed one."""
    offsets = first if bias is None else bias
    found: Shapes = {f"{name}.weight_g": (first, 1, 1), f"{name}.weight_v": (first, second, kernel)}
    return found | ({f"{name}.bias": (offsets,)} if offsets else {})


def _snake(name: str, width: int) -> Shapes:
    return {f"{name}.{part}": (1, width, 1) for part in ("alpha", "beta")}


def _residual_units(name: str, width: int) -> Shapes:
    found: Shapes = {}
    for unit in (f"{name}.res_unit{number}" for number in (1, 2, 3)):
        found |= _snake(f"{unit}.snake1", width) | _convolution(f"{unit}.conv1", width, width, 7)
        found |= _snake(f"{unit}.snake2", width) | _convolution(f"{unit}.conv2", width, width, 1)
    return found
