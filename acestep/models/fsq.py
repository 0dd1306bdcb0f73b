"""Audio codes: 25 Hz latents to 5 Hz codes and back, through finite scalar quantization (FSQ).

A code stands for ``pool_window_size`` latent frames. FSQ writes it as one small integer per dimension, the code being
the number those digits spell in a mixed radix. Refuses to know how codes are written as text and what planned them.
"""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep.models.config import AceStepConfig
from acestep.models.layers import EncoderStack, unit_rows


class FiniteScalarQuantizer(nn.Module):
    """Symmetric FSQ with a soft clamp in front (the form vector-quantize-pytorch gives a residual FSQ of one stage).

    Everything runs in fp32 whatever the weights are: a digit decided in bf16 is often a different digit.
    """

    def __init__(self, width: int, levels: tuple[int, ...]) -> None:
        super().__init__()
        self.levels = levels
        self.project_in = nn.Linear(width, len(levels))
        self.project_out = nn.Linear(len(levels), width)

    def encode(self, x: Tensor) -> Tensor:
        """Codes of ``x`` [..., D], integers [...] below the product of the levels."""
        return (self.digits(self.bounded(_linear_fp32(self.project_in, x))) * self._radix(x)).sum(-1)

    def decode(self, codes: Tensor) -> Tensor:
        """What ``codes`` [...] stand for, [..., D] in the type of the weights."""
        steps = self._steps(codes)
        digits = codes[..., None] // self._radix(codes) % (steps + 1)
        values = digits.float() * 2 / steps - 1
        return _linear_fp32(self.project_out, values).to(self.project_out.weight.dtype)

    def bounded(self, z: Tensor) -> Tensor:
        """Squash ``z`` [..., dims] smoothly to a little beyond [-1, 1], then cut there: end levels stay in reach."""
        reach = 1 + 1 / self._steps(z)
        return (torch.tanh(z / reach) * reach).clamp(-1, 1)

    def digits(self, bounded: Tensor) -> Tensor:
        """The nearest level, 0 to levels - 1, of each value in [-1, 1]."""
        return torch.floor(self._steps(bounded) * (bounded + 1) / 2 + 0.5).long()

    def _steps(self, like: Tensor) -> Tensor:
        return torch.tensor(self.levels, device=like.device) - 1

    def _radix(self, like: Tensor) -> Tensor:
        return torch.tensor([prod(self.levels[:place]) for place in range(len(self.levels))], device=like.device)


def _linear_fp32(layer: nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x.float(), layer.weight.float(), layer.bias.float())


class AttentionPooler(EncoderStack):
    """Reads the frames of one code with a learned token in front and keeps what that token has gathered."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__(config, config.hidden_size, config.num_attention_pooler_hidden_layers)
        self.special_token = unit_rows(1, 1, config.hidden_size)

    def forward(self, groups: Tensor) -> Tensor:
        """Pool ``groups`` [B, K, frames, D] to [B, K, D]."""
        items = groups.shape[0]
        frames = self.embed_tokens(groups).flatten(0, 1)  # [B * K, frames, D]
        tokens = torch.cat((self.special_token.expand(len(frames), -1, -1), frames), 1)
        return self.transform(tokens)[:, 0].unflatten(0, (items, -1))


class AudioTokenizer(nn.Module):
    """``tokenizer.`` of a checkpoint: latents to codes."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__()
        self.pool = config.pool_window_size
        self.audio_acoustic_proj = nn.Linear(config.audio_acoustic_hidden_dim, config.hidden_size)
        self.attention_pooler = AttentionPooler(config)
        self.quantizer = FiniteScalarQuantizer(config.fsq_dim, config.fsq_input_levels)

    def forward(self, latents: Tensor, silence: Tensor) -> Tensor:
        """Codes [B, ceil(T / pool)] of ``latents`` [B, T, C]; ``silence`` [1, >= pool, C] fills the last group."""
        missing = -latents.shape[1] % self.pool
        latents = torch.cat((latents, silence[:, :missing].to(latents).expand(len(latents), -1, -1)), 1)
        groups = latents.unflatten(1, (-1, self.pool))  # [B, K, pool, C]
        return self.quantizer.encode(self.attention_pooler(self.audio_acoustic_proj(groups)))


class AudioDetokenizer(EncoderStack):
    """``detokenizer.`` of a checkpoint: a quantized vector per code to the latent frames it stands for."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__(config, config.hidden_size, config.num_attention_pooler_hidden_layers)
        self.special_tokens = unit_rows(1, config.pool_window_size, config.hidden_size)
        self.proj_out = nn.Linear(config.hidden_size, config.audio_acoustic_hidden_dim)

    def forward(self, quantized: Tensor) -> Tensor:
        """Latents [B, K * pool, C] of ``quantized`` [B, K, D]."""
        items = quantized.shape[0]
        tokens = self.embed_tokens(quantized).flatten(0, 1)[:, None] + self.special_tokens  # [B * K, pool, D]
        return self.proj_out(self.transform(tokens)).view(items, -1, self.proj_out.out_features)
