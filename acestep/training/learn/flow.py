"""Learning a rectified flow: noise is added, the network says which way the noise lies. LoRA training uses it too.

In: latents, what the network is told. Out: the loss. Convention of the checkpoints: x_t = t noise + (1 - t) data, the
target is noise - data; t is drawn from a logit-normal distribution (Esser et al., 2024), a share of the conditions is
replaced by the null condition so that guidance can be used. Refuses to know tasks and prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from acestep.models.acestep_model import AceStepModel

CONDITION_DROPOUT = 0.15


@dataclass(frozen=True, slots=True)
class Levels:
    """A logit-normal distribution of noise levels: mean and deviation of logit(t)."""

    mean: float
    deviation: float

    def draw(self, count: int, device: torch.device) -> Tensor:
        """Noise levels ``[count]`` in (0, 1)."""
        return torch.sigmoid(self.mean + self.deviation * torch.randn(count, device=device))


PUBLISHED_LEVELS = Levels(-0.4, 1.0)  # as the published models were trained


@dataclass(frozen=True, slots=True)
class FlowBatch:
    """What one step learns from.

    Attributes:
        target: latents ``[B, T, C]``, zeros behind shorter songs.
        context: source and mask ``[B, T, 2 C]``.
        states: encoder states ``[B, L, E]``.
        state_mask: ``[B, L]``, True at real rows.
        frames: real frames of each song.
    """

    target: Tensor
    context: Tensor
    states: Tensor
    state_mask: Tensor
    frames: Sequence[int]


@torch.no_grad()
def begin_as_identity(model: AceStepModel) -> None:
    """Initialise a fresh transformer so that every layer passes its tokens on and the velocity is zero (adaLN-Zero of
    Peebles and Xie, 2023): nothing has to be unlearnt."""
    decoder = model.decoder
    silent = [decoder.proj_out[1], decoder.time_embed.time_proj, decoder.time_embed_r.time_proj]
    for layer in decoder.layers:
        layer.scale_shift_table.zero_()
        silent.append(layer.cross_attn.o_proj)
    for parameter in (parameter for module in silent for parameter in module.parameters()):
        parameter.zero_()


def recompute_layers(model: AceStepModel) -> None:
    """Keep no activation within a layer of the transformer: the way back computes them again (gradient
    checkpointing, Chen et al., 2016), a third more work for a fraction of the memory."""
    for layer in model.decoder.layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


def noisy(target: Tensor, level: Tensor, noise: Tensor) -> Tensor:
    """``target`` ``[B, T, C]`` at noise ``level`` ``[B]``."""
    level = level[:, None, None]
    return level * noise + (1 - level) * target


def draw_forgotten(count: int, device: torch.device) -> Tensor:
    """Which of ``count`` items are told nothing, so that the network can do without, ``[count]``."""
    return torch.rand(count, device=device) < CONDITION_DROPOUT


def velocity(model: AceStepModel, x: Tensor, level: Tensor, batch: FlowBatch, states: Tensor) -> Tensor:
    """The network's velocity ``[B, T, C]`` at ``x`` and ``level`` ``[B]``, told ``states``."""
    cross = model.decoder.cross_attention_cache(states)
    return model.decoder(x, level, batch.context, cross, batch.state_mask, batch.frames)


def frame_mask(batch: FlowBatch) -> Tensor:
    """``[B, T, 1]``, 1 at real frames."""
    frames = torch.tensor(batch.frames, device=batch.target.device)
    return (torch.arange(batch.target.shape[1], device=frames.device) < frames[:, None])[..., None].float()


def masked_error(made: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of ``[B, T, C]``, weighted by ``mask`` ``[B, T, 1 or C]``, 0 where no frame is real."""
    mask = mask.expand_as(made)
    return ((made.float() - wanted.float()).square() * mask).sum() / mask.sum()


def flow_loss(
    model: AceStepModel,
    batch: FlowBatch,
    forgotten: Tensor,
    weights: Tensor | None = None,
    levels: Levels = PUBLISHED_LEVELS,
) -> Tensor:
    """The flow-matching loss of a batch; noise and levels come from torch's generators.

    Args:
        forgotten: items whose conditions are replaced by the null condition, ``[B]``; see ``draw_forgotten``.
        weights: how much the error of each latent channel counts, ``[C]``, mean 1; None is all alike.
        levels: where noise levels come from.
    """
    level = levels.draw(len(batch.target), batch.target.device)
    noise = torch.randn_like(batch.target)
    told = torch.where(forgotten[:, None, None], model.null_conditions(batch.states), batch.states)
    made = velocity(model, noisy(batch.target, level, noise), level, batch, told)
    mask = frame_mask(batch) if weights is None else frame_mask(batch) * weights
    return masked_error(made, noise - batch.target, mask)
