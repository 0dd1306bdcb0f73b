"""What the card says of itself, and the number formats it is given."""

from __future__ import annotations

import pytest
import torch
from gpu_support import DEVICE, Note, difference, half_formats, load, play

from acestep.devices import DeviceFacts, device_facts, place
from acestep.errors import DeviceError

HAS_BFLOAT16 = (8, 0)
BOUNDS = {"bfloat16": 0.1, "float16": 0.02}  # of the largest latent, against fp32; a CPU measured 3e-3 and 4e-4


@pytest.fixture
def facts() -> DeviceFacts:
    return device_facts(DEVICE.type)


def test_the_facts_are_those_of_the_card(facts: DeviceFacts) -> None:
    assert facts.kind == DEVICE.type
    assert facts.why == torch.cuda.get_device_name()
    assert facts.capability == torch.cuda.get_device_capability()
    assert facts.memory == torch.cuda.mem_get_info()[1]
    assert 0 < facts.free <= facts.memory


def test_auto_is_the_card() -> None:
    assert device_facts("auto").kind == DEVICE.type


def test_free_memory_shrinks_by_what_is_taken() -> None:
    before = device_facts().free
    taken = torch.empty(1 << 30, dtype=torch.uint8, device=DEVICE)
    assert before - device_facts().free >= taken.nbytes


def test_the_natural_dtype_follows_the_capability(facts: DeviceFacts) -> None:
    expected = torch.bfloat16 if facts.capability >= HAS_BFLOAT16 else torch.float32
    assert place(facts).dtype is expected
    assert place(facts).device == DEVICE


def test_bfloat16_is_given_or_refused_by_capability(facts: DeviceFacts) -> None:
    if facts.capability >= HAS_BFLOAT16:
        assert place(facts, "bfloat16").dtype is torch.bfloat16
        return
    with pytest.raises(DeviceError, match="needs a GPU of compute capability 8.0"):
        place(facts, "bfloat16")


@pytest.mark.parametrize("dtype", half_formats())
def test_a_song_in_half_the_bits_is_nearly_the_song(dtype: str, note: Note) -> None:
    half, whole = (play(load("tiny", dtype=format_)).songs[0].latents for format_ in (dtype, "float32"))
    found = difference(half, whole)
    note(f"tiny in {dtype}", f"latents differ by {found:.1e} of the largest from those in float32")
    assert found <= BOUNDS[dtype]
