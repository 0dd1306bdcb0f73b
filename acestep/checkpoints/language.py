"""The planner's language model out of its folder: a causal network whose head is its embedding table, a vocabulary.

In: a folder, a type. Out: ``(network, vocabulary)``, checked against each other. Refuses to know prompts, sampling.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Qwen3ForCausalLM

from acestep.checkpoints.qwen3 import fill_qwen3, read_qwen3_config
from acestep.errors import WeightsError
from acestep.planner.vocabulary import Vocabulary


def load_language_model(folder: Path, dtype: torch.dtype) -> tuple[Qwen3ForCausalLM, Vocabulary]:
    """Load a planner's language model.

    Its tensors are spelled without ``model.`` in the published files; both spellings load. The head has no tensor of
    its own: it *is* the embedding table, in memory too.

    Returns:
        The network in eval mode on the CPU, and its vocabulary, which is no larger than the embedding table.

    Raises:
        WeightsError: files are missing or broken, the head is not tied, or vocabulary and network do not fit.
    """
    network = _load_network(folder, dtype)
    return network, load_vocabulary(folder, network.config.vocab_size)


def load_vocabulary(folder: Path, rows: int) -> Vocabulary:
    """The vocabulary of a planner, for a network with an embedding table of ``rows``.

    Raises:
        WeightsError: the file is missing or broken, or has more tokens than that.
    """
    vocabulary = Vocabulary.load(folder)
    if vocabulary.size > rows:
        raise WeightsError(
            f"Model not loaded: {folder / 'tokenizer.json'} has {vocabulary.size} tokens, "
            f"the network only {rows} embeddings."
        )
    return vocabulary


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
