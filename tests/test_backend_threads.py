"""A narrow planner computes with one thread, a wide one with all, and nobody else is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from acestep.models.qwen3 import Qwen3Decoder, Qwen3Sizes
from acestep.planner.backends.threads import threads_that_pay

SIZES = Qwen3Sizes(
    vocab_size=64, hidden_size=128, num_hidden_layers=0, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
    intermediate_size=32, max_position_embeddings=64,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def planner(width: int) -> Qwen3Decoder:
    sizes = replace(SIZES, hidden_size=width)
    shapes = dict(sizes.shapes())
    return Qwen3Decoder(sizes, lambda name: torch.zeros(shapes[name]))


@pytest.mark.parametrize(("width", "threads"), [(128, 1), (1024, 2)])
def test_threads_that_do_not_pay_are_not_used(width: int, threads: int) -> None:
    with threads_that_pay(planner(width)):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_the_number_is_given_back_whatever_happens() -> None:
    with pytest.raises(KeyError), threads_that_pay(planner(128)):
        raise KeyError
    assert torch.get_num_threads() == 2
