"""A song that grows takes as much memory and work per pass, however long it becomes.

The frames that each network is given are counted, and resident memory is watched pass by pass in a fresh process.
Whole calls, up to the file and at the size of a published model: ``benchmarks/extend.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import torch
from torch import Tensor, nn

from acestep.cogrun.schema import PROJECT
from acestep.constants import LATENT_RATE, SAMPLE_RATE
from acestep.editing.canvas import CONTEXT_S, PASS_S
from acestep.handler import AceStepHandler
from acestep.painting import MARGIN_FRAMES
from acestep.studio import perform
from benchmarks.load import memory

from edit_support import judged, played, tune

SOURCE_S = 5.0
PASSES = 4
GROWTH = 500e6 / (600 - 120)  # bytes per second of song: what ten minutes may take more than two

Frames = dict[str, int]


@contextmanager
def watched_passes(handler: AceStepHandler) -> Iterator[list[Frames]]:
    """Note, pass by pass, how many latent frames the networks are given inside the block; with one denoising step."""
    seen, vae = [_none()], handler.renderer.family.vae

    def note(role: str, frames: int) -> None:
        if seen[-1]["decoder"] and role != "decoder":  # the pass before is over
            seen.append(_none())
        seen[-1][role] += frames

    def heard(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        note("encoder", args[0].shape[-1] // vae.config.hop)  # [B, 2, 1, S]

    def denoised(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        note("transformer", args[0].shape[1])  # [B, T, C]

    def decoded(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        note("decoder", args[0].shape[-1])  # [B, C, 1, T]

    watchers = {vae.encoder: heard, handler.renderer.family.model.decoder: denoised, vae.decoder: decoded}
    hooks = [network.register_forward_pre_hook(watcher) for network, watcher in watchers.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _none() -> Frames:
    return {"encoder": 0, "transformer": 0, "decoder": 0}


def test_a_pass_has_as_much_to_do_however_long_the_song_is(tiny: AceStepHandler) -> None:
    wish = {"task_type": "extend", "extend_duration": 2 * PASS_S + 2}
    with watched_passes(tiny) as passes:
        (take,) = played(tiny, tune(SOURCE_S), inference_steps=1, **wish).takes
    context = tiny.renderer.family.vae.config.decoder_context_frames
    new = (take.samples.shape[1] / SAMPLE_RATE - SOURCE_S) / len(passes)
    assert len(passes) == 3
    assert passes[-1]["transformer"] <= round((CONTEXT_S + new) * LATENT_RATE) + 2
    for one in passes:
        assert one["decoder"] <= round(new * LATENT_RATE) + 2 * (MARGIN_FRAMES + context) + 2
    assert passes[0]["encoder"] > 0
    assert passes[-1]["encoder"] == 0  # the recording is out of its hearing; what was made is not encoded again


def resident_per_pass(seconds: float) -> list[int]:
    """Most resident memory during every pass of an extension, as far as reports of progress see it."""
    torch.set_num_threads(1)
    handler, seen = AceStepHandler(), [0] * PASSES
    handler.initialize_service(str(PROJECT), "tiny", "cpu")
    request = judged(handler, task_type="extend", extend_duration=seconds, inference_steps=1)

    def report(share: float, _stage: str) -> None:
        number = min(int(share * PASSES), PASSES - 1)  # passes have equal shares
        seen[number] = max(memory("VmRSS"), seen[number])

    plan = request.plan(handler.renderer.reader.codebook_size)
    perform(handler.renderer, request, [plan], tune(SOURCE_S), progress=report)
    return seen


def test_a_longer_song_takes_little_more_memory() -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        held = fresh.submit(resident_per_pass, PASSES * PASS_S).result()
    assert held[-1] - held[1] <= GROWTH * (PASSES - 2) * PASS_S  # the second hears as much as all that follow
