"""ACE-Step v1 on the GPU: transformer, tag encoder, vocoder and a whole sampling run hold against the CPU.

Of the codec only the vocoder is here: its autoencoder is diffusers', which a bare GPU machine does not have.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from gpu_support import DEVICE, HOST, PROJECT, Note, assert_near
from torch import Tensor

from acestep.checkpoints.registry import MODELS
from acestep.devices import Residency
from acestep.params import GenerationParams
from acestep.v1.adapter_source import AdapterFile
from acestep.v1.choice import choose_v1
from acestep.v1.conditions import read_tags, song_contexts
from acestep.v1.flow import NoiseOrder, v1_flow
from acestep.v1.load import load_tag_encoder, load_transformer, load_vocoder
from acestep.v1.lora import Adapter, Pair, merge, restore
from acestep.v1.text import TagEncoder
from acestep.v1.transformer import Transformer
from acestep.v1.vocoder import Vocoder

SPEC = MODELS["tiny-v1"]
WEIGHTS = PROJECT / "weights"
TAGS, LYRICS = (17, 33, 250, 1), tuple(range(3, 120))
FP32_SHARE, BF16_SHARE = 1e-4, 5e-2
FRAMES = 107  # 10 s


@cache
def networks(device: torch.device, dtype: torch.dtype) -> tuple[Transformer, TagEncoder, Vocoder]:
    folder = WEIGHTS / SPEC.folder
    loaded = {
        "dit": load_transformer(folder, dtype),
        "text": load_tag_encoder(WEIGHTS / SPEC.text_encoder, dtype, folder),
        "vocoder": load_vocoder(WEIGHTS / SPEC.others[0], torch.float32).fold(),
    }
    Residency(loaded, device)
    return tuple(loaded.values())


@torch.inference_mode()
def sampled(device: torch.device, dtype: torch.dtype, seeds: tuple[int, ...] = (1,), **fields: object) -> Tensor:
    """Latents ``[B, 8, 16, F]`` of a run, on the CPU."""
    transformer, encoder, _ = networks(device, dtype)
    choice, _ = choose_v1(GenerationParams(inference_steps=4, guidance_interval=1.0, **fields), SPEC)
    tags = read_tags(encoder, TAGS, choice, device)
    contexts = song_contexts(transformer, tags, LYRICS, choice)
    return v1_flow(transformer, choice, contexts, NoiseOrder(seeds, FRAMES), device=device).cpu()


@pytest.mark.parametrize("scheduler_type", ["euler", "heun", "pingpong"])
@pytest.mark.parametrize("cfg_type", ["apg", "cfg", "cfg_star"])
def test_a_run_is_that_of_the_cpu(scheduler_type: str, cfg_type: str) -> None:
    fields = {"scheduler_type": scheduler_type, "cfg_type": cfg_type}
    there, here = (sampled(device, torch.float32, **fields) for device in (DEVICE, HOST))
    assert_near(there, here, FP32_SHARE)


def test_a_run_in_bf16_is_near(note: Note) -> None:
    there, here = sampled(DEVICE, torch.bfloat16), sampled(HOST, torch.float32)
    note("v1 latents, bf16 on the GPU against fp32 on the CPU", f"{(there - here).abs().max():.2e}")
    assert_near(there, here, BF16_SHARE)


def test_a_song_of_a_batch_is_the_song_alone() -> None:
    batch, alone = sampled(DEVICE, torch.float32, (5, 6, 7)), sampled(DEVICE, torch.float32, (6,))
    assert_near(batch[1], alone[0], FP32_SHARE)


@torch.inference_mode()
def test_the_vocoder_is_that_of_the_cpu() -> None:
    mel = torch.randn(2, 128, 300, generator=torch.Generator().manual_seed(0)) - 4.0
    there, here = (networks(device, torch.float32)[2](mel.to(device)).cpu() for device in (DEVICE, HOST))
    assert_near(there, here, FP32_SHARE)


def test_an_adapter_goes_in_and_out_again() -> None:
    transformer, _, _ = networks(DEVICE, torch.bfloat16)
    name = "transformer_blocks.0.attn.to_q"
    weight = transformer.get_submodule(name).weight
    before = weight.clone()
    down, up = torch.randn(4, weight.shape[1]), torch.randn(weight.shape[0], 4)
    adapter = Adapter(AdapterFile("made here", Path("none"), "0" * 64), {name: Pair(down, up, 1.0)})
    merged = merge(transformer, adapter, 0.5)
    changed = transformer.get_submodule(name).weight
    wanted = before.float().cpu() + 0.5 * up @ down
    assert_near(changed.float().cpu(), wanted, BF16_SHARE)
    restore(transformer, merged.originals)
    assert torch.equal(transformer.get_submodule(name).weight.cpu(), before.cpu())
