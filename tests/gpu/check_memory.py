"""Memory of the card: who holds how much, who gives it back, and what happens when there is none."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
import torch
from gpu_support import DEVICE, SONG, allocated, draw, load, play, reserved
from torch import Tensor, nn

from acestep.constants import SAMPLE_RATE
from acestep.devices import Residency, free_cache, weight_bytes
from acestep.errors import DeviceMemoryError
from acestep.handler import AceStepHandler
from acestep.memory import ALLOCATED, PeakMeter, out_of_memory_explained
from acestep.playing import Rendering

MB = 1 << 20
GRAIN = 512  # bytes the allocator rounds a tensor up to
LEFT_FREE = 1 << 30
WORKSPACES = 64 * MB  # that the libraries may keep after kernels of another kind
HUGE = {"seeds": range(8), "duration": 600, "inference_steps": 1}  # 1.8 GB of finished samples alone
STAGES = ["encoder", "diffusion", "vae_decode"]


def networks(handler: AceStepHandler) -> dict[str, nn.Module]:
    return handler.renderer.family.networks


def room(network: nn.Module) -> int:
    """Bytes beyond its weights that the allocator's rounding may add."""
    return GRAIN * len([*network.parameters(), *network.buffers()])


def song_with_reference(handler: AceStepHandler) -> Rendering:
    """All networks have their turns."""
    return play(handler, reference=0.1 * draw(2, 2 * SAMPLE_RATE))


# --- One network at a time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["dit", "vae", "text_encoder"])
def test_a_network_is_there_for_the_length_of_the_block(role: str) -> None:
    family = load("tiny").renderer.family
    away = {name: network.to("cpu") for name, network in family.networks.items()}
    residency = Residency(away, DEVICE, offload=True)
    gc.collect()
    before = allocated()
    with residency.resident(role) as network:
        size = weight_bytes(network)
        assert size <= allocated() - before <= size + room(network)
        assert {tensor.device.type for tensor in network.parameters()} == {DEVICE.type}
    assert allocated() == before


class Observer:
    """Notes, whenever any part of a network computes, of which networks any weight is on the device."""

    def __init__(self, watched: dict[str, nn.Module]) -> None:
        self._watched = watched
        self.computed: list[tuple[str, set[str]]] = []
        for role, network in watched.items():
            for part in network.modules():
                part.register_forward_pre_hook(lambda *_, role=role: self.computed.append((role, self.there())))

    def there(self) -> set[str]:
        """Roles of the networks on the device."""
        return {
            role
            for role, network in self._watched.items()
            if any(weight.device.type == DEVICE.type for weight in network.parameters())
        }


def test_an_offloaded_song_is_the_resident_song_with_one_network_there_at_a_time(tiny: AceStepHandler) -> None:
    offloaded = load("tiny", offload_to_cpu=True)
    assert offloaded.offloads
    observer = Observer(networks(offloaded))
    song = song_with_reference(offloaded).songs[0]
    assert {role for role, _ in observer.computed} == {"dit", "vae", "text_encoder"}
    assert all(there == {role} for role, there in observer.computed)
    assert observer.there() == set()
    resident = song_with_reference(tiny).songs[0]
    assert torch.equal(song.latents, resident.latents)
    assert torch.equal(song.waveform, resident.waveform)


def test_an_offloading_handler_leaves_no_weights_on_the_card(tiny: AceStepHandler) -> None:
    song_with_reference(tiny)  # now the libraries hold what they need
    gc.collect()
    before = allocated()
    handler = load("tiny", offload_to_cpu=True)
    song_with_reference(handler)
    weights = sum(map(weight_bytes, networks(handler).values()))
    silence = handler.renderer.family.silence.nbytes
    assert allocated() - before <= silence + weights // 10


# --- Several models -----------------------------------------------------------------------------------------------


def held_by(model: str) -> int:
    """Bytes on the card that a handler with ``model`` alone holds."""
    gc.collect()
    before = allocated()
    handler = load(model)
    size = allocated() - before
    assert size >= sum(map(weight_bytes, networks(handler).values()))
    return size


def test_an_evicted_model_gives_its_memory_back() -> None:
    alone = held_by("tiny-base")
    gc.collect()
    before = allocated()
    handler = load("tiny", weights_bytes=1)
    gone = weakref.ref(handler.renderer.family.model)
    handler.use(handler.choose("tiny-base", "text2music")[0], "asked for")
    assert handler.loaded == ["tiny-base"]
    gc.collect()
    assert gone() is None
    assert abs(allocated() - before - alone) <= MB


def test_models_that_share_networks_hold_them_once() -> None:
    gc.collect()
    before = allocated()
    handler = load("tiny")
    handler.use(handler.choose("tiny-base", "text2music")[0], "asked for")
    both = allocated() - before
    shared = sum(weight_bytes(networks(handler)[role]) for role in ("vae", "text_encoder"))
    assert handler.loaded == ["tiny", "tiny-base"]
    del handler
    assert both <= held_by("tiny") + held_by("tiny-base") - shared + MB


# --- Figures ------------------------------------------------------------------------------------------------------


def test_a_peak_is_what_was_held_at_once_and_not_what_is_left() -> None:
    meter, before = PeakMeter(DEVICE), allocated()
    with meter.measure("two at once"):
        pair = [torch.empty(32 * MB, dtype=torch.uint8, device=DEVICE) for _ in range(2)]
        del pair
    with meter.measure("one"):
        torch.empty(32 * MB, dtype=torch.uint8, device=DEVICE)
    assert meter.peak.measure == ALLOCATED
    assert abs(meter.peak.stages["two at once"] - before - 64 * MB) <= MB
    assert abs(meter.peak.stages["one"] - before - 32 * MB) <= MB


def test_a_song_says_what_it_took(tiny: AceStepHandler) -> None:
    before = allocated()
    peak = play(tiny).peak
    assert (peak.measure, list(peak.stages)) == (ALLOCATED, STAGES)
    vae = tiny.renderer.family.vae.config
    activation = 4 * vae.widest_activation * round(SONG["duration"] * vae.frame_rate)  # fp32
    assert all(size > before for size in peak.stages.values())
    assert before + activation <= peak.stages["vae_decode"] <= before + LEFT_FREE


# --- None left ----------------------------------------------------------------------------------------------------


@pytest.fixture
def full_card(tiny: AceStepHandler) -> Iterator[None]:
    """All memory but a little is taken by somebody; kernels and workspaces are there from a first song."""
    play(tiny)
    free_cache()
    free, _ = torch.cuda.mem_get_info(DEVICE)
    ballast = torch.empty(free - LEFT_FREE, dtype=torch.uint8, device=DEVICE)
    yield
    del ballast


def explained(handler: AceStepHandler, **fields: object) -> Rendering:
    """As the doors play a song."""
    with out_of_memory_explained("making songs", lambda: ["a shorter one"]):
        return play(handler, **fields)


@pytest.mark.usefixtures("full_card")
def test_running_out_is_one_sentence_and_the_next_song_plays(tiny: AceStepHandler) -> None:
    before = explained(tiny).songs[0]
    held = allocated()
    with pytest.raises(DeviceMemoryError) as caught:
        explained(tiny, **HUGE)
    assert str(caught.value) == "Memory ran out while making songs; try a shorter one."
    assert allocated() - held <= WORKSPACES  # though the error, and so its traceback, is still here
    assert reserved() - held <= 2 * WORKSPACES
    after = explained(tiny).songs[0]
    assert torch.equal(after.latents, before.latents)
    assert torch.equal(after.waveform, before.waveform)


@pytest.mark.usefixtures("full_card")
def test_a_model_that_does_not_fit_is_refused_and_the_one_before_plays() -> None:
    handler = load("tiny", weights_bytes=LEFT_FREE)  # both may stay, if there were room
    before = explained(handler).songs[0]
    free_cache()
    ballast = _all_that_is_left()
    with pytest.raises(DeviceMemoryError, match="Memory ran out while loading tiny-base"):
        handler.use(handler.choose("tiny-base", "text2music")[0], "asked for")
    assert handler.model.name == "tiny"
    del ballast
    assert torch.equal(explained(handler).songs[0].waveform, before.waveform)


def _all_that_is_left() -> list[Tensor]:
    """Every block the card still has, large and small."""
    blocks: list[Tensor] = []
    size = LEFT_FREE
    while size >= GRAIN:
        try:
            blocks.append(torch.empty(size, dtype=torch.uint8, device=DEVICE))
        except torch.cuda.OutOfMemoryError:
            size //= 2
    return blocks
