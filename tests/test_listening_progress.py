"""Hearing a recording can take minutes: it is told chunk by chunk, can be ended, and keeps its model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from acestep.audio import codec
from acestep.audio.codec import SHORTEST_CHUNK_FRAMES
from acestep.checkpoints.registry import EMBEDDED_BASE_MODEL
from acestep.cogrun.schema import PROJECT
from acestep.constants import LATENT_RATE
from acestep.errors import CancelledError
from acestep.handler import AceStepHandler
from acestep.progress import Progress
from acestep.render import Renderer

from edit_support import tune

SECONDS = 8.0
CHUNKS = -(-round(SECONDS * LATENT_RATE) // SHORTEST_CHUNK_FRAMES)
Listen = Callable[[Renderer, Tensor, Progress | None], object]
WAYS: dict[str, Listen] = {
    "latents": lambda renderer, sound, progress: renderer.latents_of(sound, progress=progress),
    "codes": lambda renderer, sound, progress: renderer.codes_of(sound, progress),
}
each_way = pytest.mark.parametrize("listen", WAYS.values(), ids=WAYS)


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks are as short as they get."""
    monkeypatch.setattr(codec, "CPU_BUDGET_BYTES", 1)


@pytest.fixture(scope="module")
def sound() -> Tensor:
    return torch.from_numpy(tune(SECONDS))


@each_way
def test_every_chunk_is_told_and_changes_nothing(listen: Listen, tiny: AceStepHandler, sound: Tensor) -> None:
    told: list[tuple[float, str]] = []
    watched = listen(tiny.renderer, sound, lambda *what: told.append(what))
    assert CHUNKS == 4
    assert told == [(done / CHUNKS, "listening") for done in range(1, CHUNKS + 1)]
    unwatched = listen(tiny.renderer, sound, None)
    assert torch.equal(torch.as_tensor(watched), torch.as_tensor(unwatched))


def test_a_stretch_is_told_from_nothing_to_all(tiny: AceStepHandler, sound: Tensor) -> None:
    told: list[float] = []
    latents = tiny.renderer.latents_of(sound, 50, 70, lambda share, _: told.append(share))
    assert latents.shape[1] == 70
    assert told == sorted(told)
    assert told[-1] == 1.0


@each_way
@pytest.mark.parametrize("at", range(1, 5))
def test_it_ends_with_the_chunk_at_which_it_is_told_to(
    listen: Listen, at: int, tiny: AceStepHandler, sound: Tensor
) -> None:
    told: list[float] = []

    def cancel(share: float, _: str) -> None:
        told.append(share)
        if len(told) == at:
            raise CancelledError("enough")

    with pytest.raises(CancelledError, match="enough"):
        listen(tiny.renderer, sound, cancel)
    assert len(told) == at
    assert not tiny.renderer.busy


@each_way
def test_a_model_that_is_listening_is_never_evicted(listen: Listen, sound: Tensor) -> None:
    """Not even where there is room for one model alone."""
    handler = AceStepHandler()
    handler.initialize_service(PROJECT, "tiny", "cpu", weights_bytes=0)
    listening, loaded = handler.renderer, []

    def switch(_: float, __: str) -> None:
        handler.use(EMBEDDED_BASE_MODEL, "meanwhile")
        loaded.append(handler.loaded)

    listen(listening, sound, switch)
    assert loaded == [["tiny", "tiny-base"]] * CHUNKS
    assert not listening.busy


def test_it_is_busy_until_there_are_codes(tiny: AceStepHandler, sound: Tensor) -> None:
    """The transformer works after the last chunk was told."""
    renderer, seen = tiny.renderer, []
    networks = renderer.family.networks["dit"].modules()
    hooks = [part.register_forward_pre_hook(lambda *_: seen.append(renderer.busy)) for part in networks]
    try:
        renderer.codes_of(sound)
    finally:
        for hook in hooks:
            hook.remove()
    assert seen
    assert all(seen)
    assert not renderer.busy
