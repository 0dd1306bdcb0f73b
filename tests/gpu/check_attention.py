"""The attention paths on the GPU's own kernels, at head sizes of the published models and lengths that divide badly.

The reference is plain attention over all pairs of tokens in fp64 on the host, with the sight written out as a matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from gpu_support import DEVICE, HOST, assert_near, draw, half_formats, randomise
from torch import Tensor

from acestep.devices import DTYPES
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import FULL, WINDOWED, AceStepConfig
from acestep.models.layers import Layout, attend, padding_bias

LENGTHS = (1, 2, 129, 257, 1500)
SHARES = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 4e-3}  # of the largest value: a few roundings of each format
FORMATS = ["float32", *half_formats()]
CONFIG = AceStepConfig(
    hidden_size=256,
    intermediate_size=384,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=128,
    layer_types=(WINDOWED, FULL) * 2,
    text_hidden_dim=40,
    num_lyric_encoder_hidden_layers=1,
    num_timbre_encoder_hidden_layers=1,
    num_attention_pooler_hidden_layers=1,
    fsq_dim=256,
)
HEADS, GROUPS, WIDTH = CONFIG.num_attention_heads, CONFIG.num_key_value_heads, CONFIG.head_dim
ENCODER_ROWS = 37


@pytest.fixture(scope="module")
def model() -> AceStepModel:
    """Moved to whichever device it is wanted on."""
    return randomise(AceStepModel(CONFIG))


def heads(tokens: int, groups: int, seed: int, dtype: str) -> Tensor:
    """Two items ``[2, tokens, groups, WIDTH]``, in numbers that ``dtype`` can hold."""
    return draw(2, tokens, groups, WIDTH, seed=seed).to(DTYPES[dtype])


def plain_attention(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """``[B, S, H * d]`` in fp64; ``seen`` ``[B or 1, S, L]`` is True where a query may look."""
    q, k, v = (part.double().transpose(1, 2) for part in (q, k, v))  # [B, heads, tokens, d]
    k, v = (part.repeat_interleave(HEADS // GROUPS, 1) for part in (k, v))
    scores = (q @ k.mT / WIDTH**0.5).masked_fill(~seen[:, None], -torch.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def near(length: int, window: int) -> Tensor:
    """Which of ``length`` tokens see which: those at most ``window`` away."""
    position = torch.arange(length)
    return ((position[:, None] - position).abs() <= window)[None]


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("windowed", [True, False], ids=["windowed", "full"])
@pytest.mark.parametrize("length", LENGTHS)
def test_self_attention_is_plain_attention(length: int, windowed: bool, dtype: str) -> None:
    q, k, v = heads(length, HEADS, 1, dtype), heads(length, GROUPS, 2, dtype), heads(length, GROUPS, 3, dtype)
    tokens = torch.empty(2, length, CONFIG.hidden_size, dtype=DTYPES[dtype], device=DEVICE)
    ours = Layout.of(CONFIG, tokens).attend(q.to(DEVICE), k.to(DEVICE), v.to(DEVICE), windowed)
    window = CONFIG.sliding_window if windowed else length
    assert_near(ours, plain_attention(q, k, v, near(length, window)), SHARES[dtype])


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("length", LENGTHS)
def test_masked_cross_attention_is_plain_attention(length: int, dtype: str) -> None:
    q, k, v = (
        heads(size, count, seed, dtype)
        for seed, (size, count) in enumerate([(length, HEADS), (ENCODER_ROWS, GROUPS), (ENCODER_ROWS, GROUPS)])
    )
    mask = torch.arange(ENCODER_ROWS) < torch.tensor([[ENCODER_ROWS], [5]])  # [2, L]
    bias = padding_bias(mask.to(DEVICE), q.to(DEVICE))
    ours = attend(q.to(DEVICE), k.to(DEVICE), v.to(DEVICE), bias)
    assert_near(ours, plain_attention(q, k, v, mask[:, None].expand(-1, length, -1)), SHARES[dtype])


def velocity(model: AceStepModel, device: torch.device, frames: int, lengths: Sequence[int] | None) -> Tensor:
    """Of two items, the second with fewer conditions."""
    decoder = model.to(device).decoder
    states = draw(2, ENCODER_ROWS, CONFIG.encoder_width, seed=4).to(device)
    mask = (torch.arange(ENCODER_ROWS) < torch.tensor([[ENCODER_ROWS], [5]])).to(device)
    with torch.inference_mode():
        return decoder(
            draw(2, frames, 64, seed=5).to(device),
            torch.tensor([0.7, 0.7], device=device),
            draw(2, frames, 128, seed=6).to(device),
            decoder.cross_attention_cache(states),
            encoder_mask=mask,
            lengths=lengths,
        )


@pytest.mark.parametrize("frames", LENGTHS)
def test_the_transformer_equals_the_cpu(model: AceStepModel, frames: int) -> None:
    assert_near(velocity(model, DEVICE, frames, None), velocity(model, HOST, frames, None), 1e-4)


@pytest.mark.parametrize("frames", [frames for frames in LENGTHS if frames > 1])
def test_a_padded_batch_equals_the_cpu(model: AceStepModel, frames: int) -> None:
    lengths = [frames, frames - frames // 3 - 1] if frames > 2 else [2, 1]
    ours, reference = (velocity(model, device, frames, lengths) for device in (DEVICE, HOST))
    for item, length in enumerate(lengths):
        assert_near(ours[item, :length], reference[item, :length], 1e-4)
