"""Scores on the GPU: the transformer looks where it looks on the CPU, and the planner hears what it hears there."""

from __future__ import annotations

import pytest
import torch
from gpu_support import DEVICE, HOST, PROJECT, Note, assert_near, load, request

from acestep.constants import CODE_RATE
from acestep.llm_inference import LLMHandler
from acestep.planner.plan import Metadata, Sheet
from acestep.scoring.alignment import align
from acestep.scoring.attention import LyricAttention

CPU_SHARE, BATCH_SHARE = 1e-3, 1e-4
SUNG = "[Verse]\nOver the hills and far away\nthe river sings to me"
SECONDS = 12.0


def looked(device: torch.device, seeds: tuple[int, ...]) -> tuple[LyricAttention | None, ...]:
    """The attention of songs to their lyrics."""
    handler = load("tiny", device)
    wish = request(handler, seeds, lyrics=SUNG, duration=SECONDS)
    plans = [wish.plan(handler.renderer.reader.codebook_size)] * len(seeds)
    return tuple(handler.renderer.lyric_attention(wish, handler.renderer.render(wish, plans), range(len(seeds))))


def test_the_gpu_looks_where_the_cpu_looks(note: Note) -> None:
    [there], [here] = looked(DEVICE, (1,)), looked(HOST, (1,))
    assert there is not None
    assert here is not None
    assert there.ids == here.ids
    assert_near(there.probabilities, here.probabilities, CPU_SHARE)
    texts = ["a"] * len(here.ids)
    scores = [align(one.probabilities.numpy(), texts) for one in (there, here)]
    note("alignment on the GPU and on the CPU", ", ".join(f"{score.score:.4f}" for score in scores))


def test_a_song_of_a_batch_is_looked_at_as_alone() -> None:
    batch, [alone] = looked(DEVICE, (1, 2, 3)), looked(DEVICE, (2,))
    assert_near(batch[1].probabilities, alone.probabilities, BATCH_SHARE)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_planner_hears_what_it_hears_on_the_cpu(dtype: str, note: Note) -> None:
    codes = [list(range(100, 100 + int(CODE_RATE * SECONDS)))]
    sheets = [Sheet("calm piano with strings", SUNG, Metadata(bpm=90, keyscale="D minor", duration=SECONDS))]
    found = []
    for device, kind in ((DEVICE, dtype), (HOST, "float32")):
        handler = LLMHandler()
        handler.initialize(PROJECT / "weights", "tiny", device=device.type, dtype=kind)
        with handler.planner() as planner:
            [likelihood] = planner.likelihoods(codes, sheets)
        found.append([likelihood.caption, likelihood.lyrics])
    there, here = (torch.tensor(values) for values in found)
    note(f"likelihood of caption and lyrics, {dtype} on the GPU, float32 on the CPU", f"{there}, {here}")
    assert (there - here).abs().max() <= (1e-3 if dtype == "float32" else 5e-2)
