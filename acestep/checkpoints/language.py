"""The planner's language model out of its folder: a causal network whose head is its embedding table, a vocabulary.

In: a folder, a type. Out: ``(network, tokenizer)``, checked against each other. Refuses to know prompts and sampling.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM

from acestep.checkpoints.qwen3 import fill_qwen3, read_qwen3_config, read_tokenizer
from acestep.errors import WeightsError

AUDIO_CODE = "<|audio_code_{}|>"
MARKERS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")


def load_language_model(folder: Path, dtype: torch.dtype) -> tuple[Qwen3ForCausalLM, Tokenizer]:
    """Load a planner's language model.

    Its tensors are spelled without ``model.`` in the published files; both spellings load. The head has no tensor of
    its own: it *is* the embedding table, in memory too.

    Returns:
        The network in eval mode on the CPU, and its vocabulary: text tokens, then one token per audio code, without a
        gap, up to the last.

    Raises:
        WeightsError: files are missing or broken, the head is not tied, or vocabulary and network do not fit.
    """
    network = _load_network(folder, dtype)
    tokenizer = read_tokenizer(folder)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    problems = list(_misfits(tokenizer, network.config.vocab_size))
    if problems:
        raise WeightsError(f"Model not loaded: {folder / 'tokenizer.json'} does not fit: {'; '.join(problems)}.")
    return network, tokenizer


def _load_network(folder: Path, dtype: torch.dtype) -> Qwen3ForCausalLM:
    config = read_qwen3_config(folder)
    if not config.tie_word_embeddings:
        raise WeightsError(
            f"Model not loaded: {folder / 'config.json'} has tie_word_embeddings=false; only true is supported."
        )
    with torch.device("meta"):
        network = Qwen3ForCausalLM(config)
    fill_qwen3(network.model, folder, dtype)
    network.lm_head.weight = network.model.embed_tokens.weight
    return network.eval().requires_grad_(False)


def _misfits(tokenizer: Tokenizer, rows: int) -> Iterator[str]:
    """What keeps a vocabulary from driving a network with ``rows`` embeddings."""
    size = tokenizer.get_vocab_size()
    if size > rows:
        yield f"it has {size} tokens, the network only {rows} embeddings"
    lacking = [marker for marker in MARKERS if tokenizer.token_to_id(marker) is None]
    if lacking:
        yield f"it lacks {', '.join(lacking)}"
    first = tokenizer.token_to_id(AUDIO_CODE.format(0))
    if first is None:
        yield "it has no audio codes"
        return
    for code, token in enumerate(range(first, size)):
        if tokenizer.id_to_token(token) != AUDIO_CODE.format(code):
            yield f"token {token} is {tokenizer.id_to_token(token)!r}, not {AUDIO_CODE.format(code)}"
            return
