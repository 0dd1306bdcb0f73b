"""The planner's language model as a network of transformers, for the backend that is compared with all others.

In: a folder, a type. Out: ``(network, vocabulary)``, checked against each other. Refuses to know prompts, sampling.
Apart from ``language``, for the import of transformers takes longer than all others together.
"""

from __future__ import annotations

from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import Qwen3Config, Qwen3ForCausalLM

from acestep.checkpoints.language import load_vocabulary
from acestep.checkpoints.load import load_strict
from acestep.checkpoints.qwen3 import CONFIG, checked_config, without_prefix
from acestep.checkpoints.tensors import weight_files
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


def _load_network(folder: Path, dtype: torch.dtype) -> Qwen3ForCausalLM:
    config = _read_config(folder)
    if not config.tie_word_embeddings:
        raise WeightsError(
            f"Model not loaded: {folder / CONFIG} has tie_word_embeddings=false; only true is supported."
        )
    with torch.device("meta"):
        network = Qwen3ForCausalLM(config)
    rotary = network.model.rotary_emb
    load_strict(network.model, weight_files(folder, "model"), dtype, rename=without_prefix)
    network.model.rotary_emb = type(rotary)(config=config)  # its tables are not weights, so they were left on meta
    network.lm_head.weight = network.model.embed_tokens.weight
    return network.eval().requires_grad_(False)


def _read_config(folder: Path) -> Qwen3Config:
    try:
        config = Qwen3Config(**checked_config(folder))
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise WeightsError(f"Model not loaded: {folder / CONFIG} does not describe a Qwen3 network.") from error
    config._attn_implementation = "sdpa"
    return config
