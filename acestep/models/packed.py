"""Matrix products with a weight that never changes, in the form in which the machine computes them fastest.

In: a weight ``[out, in]``, rows ``[..., in]``. Out: ``[..., out]``. On the CPU oneDNN lays out a weight anew for each
product unless that was done once before, which is two to four times as fast for the few rows of a decoder's step, and
twice for a long prompt in fp32. Elsewhere the weight stays as it is. Refuses to know what is multiplied.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ROWS = 8  # that oneDNN lays a weight out for; it is as good for one row and for hundreds
_FULL = 128  # rows of which more come in multiples


def can_pack(weight: Tensor) -> bool:
    """Whether this machine gains by packing a weight."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if weight.dtype is torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return weight.dtype is torch.float32


def pack(weight: Tensor) -> Tensor:
    """A copy of ``weight`` [out, in] in oneDNN's own layout, for `multiply_packed` alone."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS)


def multiply_packed(x: Tensor, packed: Tensor) -> Tensor:
    """``x`` [N, in] times a packed weight: [N, out].

    oneDNN compiles a product for every number of rows and keeps it, half a megabyte each: so there are few numbers.
    """
    rows = len(x)
    padded = F.pad(x, (0, 0, 0, usual_rows(rows) - rows))
    return torch.ops.mkldnn._linear_pointwise(padded, packed, None, "none", [], "")[:rows]


def usual_rows(rows: int) -> int:
    """The number of rows that so many are computed as: itself if small, else a power of two, or 128s."""
    if rows <= _ROWS:
        return rows
    return 1 << (rows - 1).bit_length() if rows <= _FULL else -(-rows // _FULL) * _FULL


class Linear(nn.Module):
    """``x @ weight.T``; after `settle` by a packed weight where that is faster, which then is the only copy."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self._packed: Tensor | None = None

    def settle(self) -> None:
        """Pack the weight if that helps where it is now; it cannot leave the CPU after that."""
        if self._packed is None and can_pack(self.weight):
            self._packed, self.weight = pack(self.weight), self.weight.new_empty(0)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight) if self._packed is None else multiply_packed(x, self._packed)
