"""A small v1 transformer with random weights, and a slow second opinion on everything it computes.

The reference is plain numpy in fp64, one song at a time, positions and heads in Python loops, written from the
description of the network: no cache, no batch, no matrix form of anything that has an elementwise one. Angles are
products of fp32 numbers, as the description says. Refuses to know our modules; it reads their weights by name.

Letters: F latent frames, T tag tokens, L lyric tokens, S any tokens, d width of a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acestep.v1.config import TransformerConfig
from acestep.v1.transformer import Transformer

from models_support import assert_close

Array = NDArray[np.float64]

TINY = TransformerConfig(
    attention_head_dim=16,
    in_channels=8,
    inner_dim=32,
    lyric_encoder_vocab_size=50,
    lyric_hidden_size=24,
    max_height=16,
    max_position=64,
    max_width=64,
    mlp_ratio=2.5,
    num_attention_heads=2,
    num_layers=3,
    out_channels=8,
    patch_size=(16, 1),
    rope_theta=1_000.0,
    speaker_embedding_dim=12,
    text_embedding_dim=20,
    lyric_layers=3,
    lyric_heads=3,
    lyric_intermediate=40,
    patch_channels=12,
    patch_groups=3,
    erg_diffusion_layers=(1, 2),
    erg_lyric_layers=(1,),
    erg_tag_layers=(0,),
)


def random_transformer(seed: int = 0, dtype: torch.dtype = torch.float32, **sizes: object) -> Transformer:
    """A `TINY` network (with other ``sizes`` if told) in which every tensor is random and not small."""
    generator = torch.Generator().manual_seed(seed)
    network = Transformer(replace(TINY, **sizes))  # type: ignore[arg-type]
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:  # a bias or the weight of a norm, whose default says which
            parameter.data = float(bool((parameter == 1).all())) + 0.3 * noise
        elif "scale_shift" in name or "pos_bias" in name:
            parameter.data = 0.5 * noise
        else:
            parameter.data = noise * parameter[0].numel() ** -0.5
    return network.to(dtype).eval().requires_grad_(False)


def as_array(tensor: Tensor) -> Array:
    return tensor.double().numpy()


def assert_close_to(ours: Tensor, slow: Array) -> None:
    """The house tolerance against the reference."""
    assert_close(ours, torch.from_numpy(slow).float())


def fp32_angle(position: float, frequency: float) -> float:
    return float(np.float32(position) * np.float32(frequency))


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def root_mean_square_norm(x: Array) -> Array:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)


def softmax(scores: list[float]) -> list[float]:
    """Zeros, not NaN, where nothing may be seen."""
    top = max(scores)
    if top == -math.inf:
        return [0.0] * len(scores)
    powers = [math.exp(score - top) for score in scores]
    return [power / sum(powers) for power in powers]


def turned(x: Array, theta: float) -> Array:
    """Positions into one head [S, d], channel by channel."""
    width = x.shape[1]
    frequencies = [theta ** (-2 * (k % (width // 2)) / width) for k in range(width)]
    y = np.empty_like(x)
    for p in range(len(x)):
        for m in range(width // 2):
            even, odd = 2 * m, 2 * m + 1
            at_even, at_odd = fp32_angle(p, frequencies[even]), fp32_angle(p, frequencies[odd])
            y[p, even] = x[p, even] * math.cos(at_even) - x[p, odd] * math.sin(at_even)
            y[p, odd] = x[p, odd] * math.cos(at_odd) + x[p, even] * math.sin(at_odd)
    return y


def relu_kernel_attention(q: Array, k: Array, v: Array) -> Array:
    """Every pair of frames of one head [F, d]: weights are products of ReLU features over their sum."""
    mixed = np.zeros_like(v)
    for i in range(len(q)):
        weights = [sum(max(a, 0.0) * max(b, 0.0) for a, b in zip(q[i], key, strict=True)) for key in k]
        for weight, value in zip(weights, v, strict=True):
            mixed[i] += weight * value / (sum(weights) + 1e-15)
    return mixed


def softmax_attention(q: Array, k: Array, v: Array, mask: list[bool]) -> Array:
    """Every query of one head [F, d] over the unmasked keys [S, d]."""
    mixed = np.zeros((len(q), v.shape[1]))
    for i in range(len(q)):
        scores = [float(q[i] @ key) / math.sqrt(len(key)) for key in k]
        scores = [score if seen else -math.inf for score, seen in zip(scores, mask, strict=True)]
        for probability, value in zip(softmax(scores), v, strict=True):
            mixed[i] += probability * value
    return mixed


def distance_vector(distance: int, width: int) -> Array:
    """The sinusoid of how far a key is before its query; negative after it."""
    angles = [fp32_angle(distance, 10_000 ** (-2 * (k // 2) / width)) for k in range(width)]
    return np.array([math.cos(angle) if k % 2 else math.sin(angle) for k, angle in enumerate(angles)])


@dataclass(frozen=True, slots=True)
class SlowTransformer:
    """The description of the network, word for word, over the weights of ``state``."""

    config: TransformerConfig
    state: dict[str, Array]

    @classmethod
    def of(cls, network: Transformer) -> SlowTransformer:
        return cls(network.config, {name: as_array(tensor) for name, tensor in network.state_dict().items()})

    def linear(self, x: Array, name: str) -> Array:
        weight = self.state[f"{name}.weight"]
        return x @ weight.reshape(len(weight), -1).T + self.state.get(f"{name}.bias", 0.0)

    def layer_norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return normal * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    # --- Context

    def context(self, text: Array, lyric_ids: list[int], lyric_mask: list[bool], weaken: bool = False) -> Array:
        """[1 + T + L, D]"""
        speaker = self.linear(np.zeros((1, self.config.speaker_embedding_dim)), "speaker_embedder")
        lyrics = self.linear(self.lyrics(lyric_ids, lyric_mask, weaken), "lyric_proj")
        return np.concatenate((speaker, self.linear(text, "genre_embedder"), lyrics))

    def lyrics(self, ids: list[int], mask: list[bool], weaken: bool = False) -> Array:
        """[L, lyric width]"""
        embedded = self.state["lyric_embs.weight"][ids]
        x = self.layer_norm(self.linear(embedded, "lyric_encoder.embed.out.0"), "lyric_encoder.embed.out.1")
        x = x * math.sqrt(self.config.lyric_hidden_size)
        for index in range(self.config.lyric_layers):
            name = f"lyric_encoder.encoders.{index}"
            blurred = 0.01 if weaken and index in self.config.erg_lyric_layers else 1.0
            x = x + self.relative_attention(self.layer_norm(x, f"{name}.norm_mha"), mask, name, blurred)
            hidden = silu(self.linear(self.layer_norm(x, f"{name}.norm_ff"), f"{name}.feed_forward.w_1"))
            x = x + self.linear(hidden, f"{name}.feed_forward.w_2")
        return self.layer_norm(x, "lyric_encoder.after_norm")

    def relative_attention(self, x: Array, mask: list[bool], layer: str, strength: float = 1.0) -> Array:
        """Self-attention of a lyric layer, pair by pair."""
        name, heads, length = f"{layer}.self_attn", self.config.lyric_heads, len(x)
        q, k, v = (self.linear(x, f"{name}.linear_{part}") for part in "qkv")
        q, size = q * strength, x.shape[1] // heads
        mixed = np.zeros_like(x)
        for head in range(heads):
            mine = slice(head * size, (head + 1) * size)
            u, w = (self.state[f"{name}.pos_bias_{letter}"][head] for letter in "uv")
            for i in range(length):
                scores = []
                for j in range(length):
                    p = self.linear(distance_vector(i - j, x.shape[1]), f"{name}.linear_pos")[mine]
                    score = ((q[i, mine] + u) @ k[j, mine] + (q[i, mine] + w) @ p) / math.sqrt(size)
                    scores.append(float(score) if mask[j] else -math.inf)
                for probability, value in zip(softmax(scores), v[:, mine], strict=True):
                    mixed[i, mine] += probability * value
        return self.linear(mixed, f"{name}.linear_out")

    # --- Velocity

    def velocity(self, latents: Array, level: float, context: Array, mask: list[bool], weaken: bool = False) -> Array:
        """[8, 16, F] -> [8, 16, F]"""
        embedded = self.embedded_level(level)
        time = self.linear(silu(embedded), "t_block.1").reshape(6, -1)
        x = self.patches(latents)
        for index in range(self.config.num_layers):
            name = f"transformer_blocks.{index}"
            blurred = 0.01 if weaken and index in self.config.erg_diffusion_layers else 1.0
            shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.state[f"{name}.scale_shift_table"] + time
            moved = root_mean_square_norm(x) * (1 + scale_a) + shift_a
            x = x + gate_a * self.self_attention(moved, f"{name}.attn", blurred)
            x = x + self.cross_attention(x, context, mask, f"{name}.cross_attn", blurred)
            x = x + gate_m * self.feed_forward(root_mean_square_norm(x) * (1 + scale_m) + shift_m, f"{name}.ff")
        return self.head(x, embedded)

    def embedded_level(self, level: float) -> Array:
        angles = [fp32_angle(1000 * np.float32(level), 10_000 ** (-j / 128)) for j in range(128)]
        sinusoid = np.array([math.cos(angle) for angle in angles] + [math.sin(angle) for angle in angles])
        return self.linear(silu(self.linear(sinusoid, "timestep_embedder.linear_1")), "timestep_embedder.linear_2")

    def patches(self, latents: Array) -> Array:
        """Convolution over whole frames, norm over a group's channels and all frames, projection: [F, D]"""
        name, groups = "proj_in.early_conv_layers", self.config.patch_groups
        weight, bias = self.state[f"{name}.0.weight"][..., 0], self.state[f"{name}.0.bias"]
        x = np.array([[(kernel * frame).sum() for kernel in weight] for frame in latents.transpose(2, 0, 1)]) + bias
        size = x.shape[1] // groups
        for group in range(groups):
            part = x[:, group * size : (group + 1) * size]
            part[:] = (part - part.mean()) / math.sqrt(part.var() + 1e-6)
        return self.linear(x * self.state[f"{name}.1.weight"] + self.state[f"{name}.1.bias"], f"{name}.2")

    def self_attention(self, x: Array, name: str, strength: float = 1.0) -> Array:
        """The weakened factor is applied here, as its authors do, though it cancels."""
        q, k, v = (self.linear(x, f"{name}.to_{part}") for part in "qkv")
        heads = [
            relu_kernel_attention(self.turn(strength * q[:, mine]), self.turn(k[:, mine]), v[:, mine])
            for mine in self.heads
        ]
        return np.clip(self.linear(np.concatenate(heads, 1), f"{name}.to_out.0"), -65504, 65504)

    def cross_attention(self, x: Array, context: Array, mask: list[bool], name: str, strength: float = 1.0) -> Array:
        q = self.linear(x, f"{name}.to_q") * strength
        k, v = (self.linear(context, f"{name}.to_{part}") for part in "kv")
        heads = [
            softmax_attention(self.turn(q[:, mine]), self.turn(k[:, mine]), v[:, mine], mask) for mine in self.heads
        ]
        return self.linear(np.concatenate(heads, 1), f"{name}.to_out.0")

    def feed_forward(self, x: Array, name: str) -> Array:
        """The middle convolution frame by frame, three taps, nothing beyond the ends."""
        wide = silu(self.linear(x, f"{name}.inverted_conv.conv"))
        taps = self.state[f"{name}.depth_conv.conv.weight"][:, 0]
        mixed = np.tile(self.state[f"{name}.depth_conv.conv.bias"], (len(x), 1))
        for frame in range(len(x)):
            for tap, neighbour in enumerate((frame - 1, frame, frame + 1)):
                if 0 <= neighbour < len(x):
                    mixed[frame] += taps[:, tap] * wide[neighbour]
        value, gate = mixed[:, : mixed.shape[1] // 2], mixed[:, mixed.shape[1] // 2 :]
        return self.linear(value * silu(gate), f"{name}.point_conv.conv")

    def head(self, x: Array, embedded_level: Array) -> Array:
        shift, scale = self.state["final_layer.scale_shift_table"] + embedded_level
        numbers = self.linear(root_mean_square_norm(x) * (1 + scale) + shift, "final_layer.linear")
        velocity = np.empty((8, 16, len(x)))
        for frame in range(len(x)):
            for height in range(16):
                for channel in range(8):
                    velocity[channel, height, frame] = numbers[frame, 8 * height + channel]
        return velocity

    @property
    def heads(self) -> list[slice]:
        size = self.config.attention_head_dim
        return [slice(head * size, (head + 1) * size) for head in range(self.config.num_attention_heads)]

    def turn(self, x: Array) -> Array:
        return turned(x, self.config.rope_theta)
