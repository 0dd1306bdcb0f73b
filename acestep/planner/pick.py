"""The next token out of a language model's logits: the seven steps of ``ask``, each a function of tensors.

In: logits ``[..., K]``, how to sample, a number in [0, 1). Out: probabilities ``[..., K]``, an index below K. These K
are the whole vocabulary or only the tokens that are allowed, in order of ids: what the grammar forbids is -inf or not
there, and both give the same token. Logits are float32; probabilities and their sums are float64, so that no number
falls between two ways of adding them up. Only `pick` and `refuse_broken` wait for the device.
Refuses to know tokens, grammars and networks.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from acestep.errors import GenerationError
from acestep.planner.ask import Sampling

if TYPE_CHECKING:
    from acestep.planner.grammar import State

logger = logging.getLogger("acestep.planner.grammar")


def guided(prompt_logits: Tensor, negative_logits: Tensor, scale: float | Tensor) -> Tensor:
    """Classifier-free guidance (Ho & Salimans, 2022): away from what the negative prompt would say.

    Args:
        prompt_logits: ``[..., K]``.
        negative_logits: of the same shape.
        scale: from 1, which is the prompt's own logits; or one for each row, ``[..., 1]``.

    Returns:
        ``[..., K]`` fp32.
    """
    away, towards = negative_logits.float(), prompt_logits.float()
    return away + scale * (towards - away)


def penalised(logits: Tensor, written: Tensor, penalty: float | Tensor) -> Tensor:
    """Repetition penalty: tokens that this answer already has become less likely (Keskar et al., 2019).

    Args:
        logits: ``[..., K]``.
        written: indices of such tokens ``[..., M]``, int64, in any order; one that is repeated counts once.
        penalty: 1 is off; or one for each row, ``[..., 1]``.

    Returns:
        ``[..., K]``, new.
    """
    before = logits.gather(-1, written)  # [..., M]
    return logits.scatter(-1, written, torch.where(before > 0, before / penalty, before * penalty))


def candidates(logits: Tensor, sampling: Sampling) -> Tensor:
    """Probabilities after temperature, top-k and top-p.

    Equal logits: top-k keeps all that equal the k-th; top-p, and temperature 0, prefer the lower index.

    Args:
        logits: ``[..., K]``, guided, penalised, -inf where the grammar says no; in each row one at least is finite.
        sampling: its temperature, top_k and top_p, for all rows.

    Returns:
        ``[..., K]`` fp64; each row sums to 1 and is zero where nothing may be drawn.
    """
    logits = logits.float()
    largest = logits.amax(-1, keepdim=True)
    if sampling.temperature == 0:
        certain = torch.zeros_like(logits, dtype=torch.float64)
        return certain.scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
    if 0 < sampling.top_k < logits.shape[-1]:
        edge = logits.topk(sampling.top_k).values[..., -1:]
        logits = logits.masked_fill(logits < edge, -torch.inf)
    weights = logits.double().sub_(largest).div_(sampling.temperature).exp_()  # the largest is 1: none overflows
    if sampling.top_p < 1:
        weights *= _nucleus(weights, sampling.top_p)
    return weights.div_(weights.sum(-1, keepdim=True))


def draw(probabilities: Tensor, number: float | Tensor) -> Tensor:
    """The first entry at which the sum of the probabilities so far exceeds a number: inverse transform sampling.

    Args:
        probabilities: ``[..., K]`` fp64; they need not sum to 1.
        number: in [0, 1), a float or fp64, so that its share of a sum is always less than the sum; or one for each
            row, ``[...]``.

    Returns:
        Indices ``[...]``, never of an entry without probability, however close to 1 the number is.
    """
    # On a GPU the sums of neighbours are added up in different ways, and may differ where nothing was added.
    sums = probabilities.cumsum(-1) * (probabilities > 0)  # [..., K]
    goal = number * sums.amax(-1)
    return (sums > goal.unsqueeze(-1)).to(torch.uint8).argmax(-1)  # the first of the largest


def pick(logits: Tensor, sampling: Sampling, number: float) -> int:
    """The index that is drawn from one row of logits ``[K]``; see `candidates`, `draw`."""
    return int(draw(candidates(logits, sampling), number))


def refuse_broken(logits: Tensor) -> None:
    """Look at what a network gave, before it is masked.

    Raises:
        GenerationError: there is a NaN or an infinity in it.
    """
    if not bool(logits.isfinite().all()):
        raise GenerationError("The language model gave NaN or infinite numbers; its weights or its dtype are unfit.")


def log_pick(index: int, state: State | None, allowed: int, piece: bytes) -> None:
    """One line of ``Ask.debug``.

    Args:
        index: of the ask.
        state: before the token; None where no grammar holds.
        allowed: how many tokens there were to choose from.
        piece: bytes of the one that was picked.
    """
    where = "free" if state is None else state.where
    logger.info("answer %d, %s: %d allowed, picked %r", index, where, allowed, piece.decode(errors="replace"))


def _nucleus(weights: Tensor, top_p: float) -> Tensor:
    """Which entries are the fewest that together have ``top_p`` of the weight: bool ``[..., K]``.

    The weights are sorted, their indices are not: what is above the last one kept stays, and of those equal to it
    the first ones, as many as are missing.
    """
    ordered = _descending(weights)  # [..., K]
    share = ordered.cumsum(-1)
    last = (share < top_p * weights.sum(-1, keepdim=True)).sum(-1, keepdim=True)  # [..., 1]
    last = last.clamp_(max=weights.shape[-1] - 1)
    edge = ordered.gather(-1, last)
    above, level = weights > edge, weights == edge
    return above | (level & (level.cumsum(-1) <= last + 1 - above.sum(-1, keepdim=True)))


def _descending(weights: Tensor) -> Tensor:
    """The weights of each row, the largest first, new.

    On the CPU by NumPy, whose vectorised sort takes a fifteenth of torch's time and less than a torch.topk of 1,024.
    """
    if weights.device.type == "cpu":
        return torch.from_numpy(np.sort(weights.numpy())).flip(-1)
    return weights.sort(descending=True).values
