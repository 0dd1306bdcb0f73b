"""What the checks of the vLLM backend share: planners on disk, one of them with strong opinions; asks of every kind.

In: folders. Out: folders, asks. The reference is ``pt``, which tests/test_backend_pt.py holds against slow
independent code.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Qwen3Config, Qwen3ForCausalLM

from acestep.planner.answers import code_count, codes_grammar, planning_grammar, writing_grammar
from acestep.planner.ask import Ask, Sampling
from acestep.planner.chain import ChainOfThought

from planner_support import GREEDY, TINY_CODES, TINY_LM, question, tiny_vocabulary

CPU, FP32 = torch.device("cpu"), torch.float32
LONG = "a very long story of the sea, " * 12
GUIDED = Sampling(guidance=2.0)
WIDE = Sampling(temperature=1.0, top_p=1.0)
SIZES = {
    "vocab_size": tiny_vocabulary().size,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}


def write_lively_planner(folder: Path, prefix: str = "") -> Path:
    """A random planner whose logits are far apart, so that equal answers cannot be luck, as in the tiny one.

    Args:
        folder: to be made.
        prefix: of the tensors' names; published ones have none.
    """
    folder.mkdir()
    network = Qwen3ForCausalLM(Qwen3Config(**SIZES))
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for name, parameter in network.model.named_parameters():
        scale = 0.3 if "embed_tokens" in name else 2.0 / math.sqrt(parameter.shape[-1])
        noise = torch.randn(parameter.shape, generator=generator) * scale
        tensors[prefix + name] = noise if parameter.dim() == 2 else 1 + 0.1 * noise
    save_file(tensors, folder / "model.safetensors")
    shutil.copy(TINY_LM / "tokenizer.json", folder)
    config = {"architectures": ["Qwen3Model"], "model_type": "qwen3", "rope_theta": 1e6, **SIZES}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def asks_of_every_kind() -> list[Ask]:
    """Words and codes, free and in a grammar, guided and not, greedy and sampled; no two prompts alike in length."""
    codes, given = codes_grammar(6.1, TINY_CODES), ChainOfThought(bpm=97, caption="Warm pads: and 'rain'")
    return [
        question("rain", sampling=Sampling(top_k=40), most=7),
        question(grammar=planning_grammar(given), seed=(1, 1)),
        question(LONG, grammar=codes, negative="NO", sampling=Sampling(guidance=2.5), seed=(2, 1)),
        question("x", negative=LONG, sampling=Sampling(guidance=1.5, repetition_penalty=1.4), most=25),
        question(LONG[:80], grammar=codes, sampling=GREEDY, seed=(3, 1)),
        question(LONG[:50], grammar=codes, negative="N", sampling=replace(GREEDY, guidance=3.0), seed=(4, 1)),
        question(grammar=planning_grammar(caption_pieces=12), sampling=WIDE, seed=(5, 1)),
        question("a waltz", grammar=writing_grammar(caption_pieces=5, lyrics_pieces=9), sampling=WIDE, seed=(6, 1)),
        question("stop", sampling=WIDE, stops=frozenset(range(600)), most=50, seed=(7, 1)),
        question("the last", sampling=replace(GREEDY, repetition_penalty=1.2), most=30),
        question("nothing", most=0),
    ]


def guided_codes(count: int, seconds: float = 3.0, words: str = LONG[:70]) -> list[Ask]:
    """Songs of one prompt: guided semantic codes, seeds 0, 1, 2..."""
    grammar = codes_grammar(seconds, TINY_CODES)
    common = {"grammar": grammar, "negative": "NO", "sampling": GUIDED, "most": code_count(seconds) + 1}
    return [question(words, **common, seed=(n, 5)) for n in range(count)]
