"""How many threads a step of a language model is worth.

A step of one token is a row of small products, one after the other: handing a part of each to a second thread and
waiting for it takes longer than a narrow network takes alone. In: a network. Out: a block in which PyTorch computes
with as many threads as pay. Refuses to choose for a GPU, or to change the number outside the block.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from acestep.models.qwen3 import Qwen3Decoder

_SHARED_FROM = 512  # hidden size; the embedded planner (128) runs 3 times faster alone, the published ones slower


@contextmanager
def threads_that_pay(network: Qwen3Decoder) -> Iterator[None]:
    """Within the block a narrow network on the CPU computes with one thread, any other as before."""
    before = torch.get_num_threads()
    if network.norm.device.type != "cpu" or network.sizes.hidden_size >= _SHARED_FROM or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
