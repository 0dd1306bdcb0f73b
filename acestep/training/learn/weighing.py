"""How much an error in each latent channel counts while networks learn to make latents.

In: an autoencoder that began as a transform coder (``learn.lapped``). Out: weights of its channels. Latents are
whitened, so a squared error says nothing of what will be heard. Refuses to know losses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acestep.models.oobleck import Oobleck


@torch.no_grad()
def channel_weights(vae: Oobleck, power: float, envelope: float) -> Tensor:
    """Weights ``[C]``, mean 1.

    Args:
        vae: with an envelope.
        power: a channel counts by its amplitude (1) or energy (2) before it was whitened.
        envelope: share of all weights that the channels of the envelope have together; the others have the rest.
    """
    there = vae.encoder.conv2
    size = vae.config.latent_channels
    norms = torch.linalg.vector_norm(there.weight_v, dim=(1, 2), keepdim=True)
    rows = (there.weight_v * there.weight_g / norms)[vae.config.envelope_channels : size]
    loud = torch.linalg.vector_norm(vae.envelope.basis, dim=0) ** -power
    rest = torch.linalg.vector_norm(rows, dim=(1, 2)) ** -power
    return size * torch.cat([envelope * loud / loud.sum(), (1 - envelope) * rest / rest.sum()])
