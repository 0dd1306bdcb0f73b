"""Small language models, questions to them, and slow independent answers: what the tests of backends share.

The slow way shares no code with ``planner.pick`` and the backends: Python numbers, no batch, no cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from acestep.planner.ask import Ask, Completion, Draws, Sampling
from acestep.planner.grammar import Grammar
from acestep.planner.token_mask import TokenMask
from acestep.planner.vocabulary import Vocabulary

TINY_LM = Path(__file__).parents[1] / "weights" / "tiny" / "lm"
TINY_CODES = 4096
GREEDY = Sampling(temperature=0.0)


@lru_cache(maxsize=1)
def tiny_vocabulary() -> Vocabulary:
    """960 text tokens and 1,000 codes."""
    return Vocabulary.load(TINY_LM)


@lru_cache(maxsize=4)
def small_network(spread: float = 0.2, seed: int = 0) -> Qwen3ForCausalLM:
    """A random network for the tiny vocabulary; do not change it.

    Args:
        spread: standard deviation of its embeddings; logits have about 8 times that. 0: all logits are 0.
    """
    config = Qwen3Config(
        vocab_size=tiny_vocabulary().size,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=24,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    network = Qwen3ForCausalLM(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if parameter.dim() == 2:
            scale = spread if "embed_tokens" in name else 2.0 / math.sqrt(parameter.shape[1])
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return network


def question(words: str = "a slow song about rain", *, grammar: Grammar | None = None, **changes: object) -> Ask:
    """An ask with the text's tokens as its prompt; ``negative`` may be text, too."""
    text = tiny_vocabulary().text
    negative = changes.pop("negative", None)
    values = {"sampling": Sampling(), "seed": (0, 1), "most": 400, **changes}
    return Ask(
        prompt=tuple(text(words)),
        negative=tuple(text(negative)) if isinstance(negative, str) else negative,  # type: ignore[arg-type]
        start=grammar.start if grammar is not None else None,
        **values,  # type: ignore[arg-type]
    )


def slow_logits(network: Qwen3ForCausalLM, tokens: Sequence[int]) -> np.ndarray:
    """What the network says behind each token of a text, ``[L, V]`` fp32."""
    with torch.inference_mode():
        return network(torch.tensor([list(tokens)]), use_cache=False).logits[0].float().numpy()


def slow_guided(prompt: np.ndarray, negative: np.ndarray, scale: float) -> np.ndarray:
    """Guidance in float32."""
    return negative + np.float32(scale) * (prompt - negative)


def slow_penalised(logits: np.ndarray, written: Sequence[int], penalty: float) -> np.ndarray:
    """Repetition penalty in float32."""
    after = logits.copy()
    for token in set(written):
        after[token] = (
            logits[token] / np.float32(penalty) if logits[token] > 0 else logits[token] * np.float32(penalty)
        )
    return after


def slow_probabilities(logits: Sequence[float], sampling: Sampling) -> list[float]:
    """Steps 4 to 6 with a sorted list: the likeliest first, of equal ones the lowest index."""
    order = sorted((index for index, value in enumerate(logits) if value > -math.inf), key=lambda i: (-logits[i], i))
    if sampling.temperature == 0:
        order = order[:1]
    elif sampling.top_k:
        order = [index for index in order if logits[index] >= logits[order[min(sampling.top_k, len(order)) - 1]]]
    largest, temperature = float(logits[order[0]]), sampling.temperature or 1.0
    weights = {index: math.exp((float(logits[index]) - largest) / temperature) for index in order}
    if sampling.top_p < 1:
        weights = _slow_nucleus(weights, sampling.top_p)
    total = math.fsum(weights.values())
    return [weights.get(index, 0.0) / total for index in range(len(logits))]


def _slow_nucleus(weights: dict[int, float], top_p: float) -> dict[int, float]:
    """The first of the weights, in the order they have, that reach the share."""
    goal, reached, kept = top_p * math.fsum(weights.values()), 0.0, {}
    for index, weight in weights.items():
        if reached >= goal:
            break
        kept[index] = weight
        reached += weight
    return kept


def slow_draw(probabilities: Sequence[float], number: float) -> int:
    """Step 7: the first index at which the sum exceeds the number; the last possible one if none does."""
    reached, last = 0.0, 0
    for index, probability in enumerate(probabilities):
        if probability > 0:
            reached, last = reached + probability, index
            if reached > number:
                break
    return last


def slow_answer(network: Qwen3ForCausalLM, ask: Ask) -> Completion:
    """An ask answered token by token, each from a fresh look at the whole text."""
    vocabulary, draws, state, written = tiny_vocabulary(), Draws(ask.seed), ask.start, []
    mask = TokenMask(vocabulary.pieces, vocabulary.text)
    finished = state is not None and state.is_finished
    while not finished and len(written) < ask.most:
        allowed = sorted(mask.allowed(state)) if state is not None else list(range(vocabulary.size))
        if len(allowed) == 1:
            token = allowed[0]
        else:
            logits = slow_next(network, ask, written)[allowed].tolist()
            token = allowed[slow_draw(slow_probabilities(logits, ask.sampling), draws.next())]
        written.append(token)
        state = None if state is None else state.advance(vocabulary.pieces[token])
        finished = token in ask.stops if state is None else state.is_finished
    return Completion(tuple(written), finished)


def slow_next(network: Qwen3ForCausalLM, ask: Ask, written: Sequence[int]) -> np.ndarray:
    """Logits behind a prompt and part of its answer, guided and penalised, ``[V]``."""
    logits = slow_logits(network, [*ask.prompt, *written])[-1]
    if ask.negative is not None:
        logits = slow_guided(logits, slow_logits(network, [*ask.negative, *written])[-1], ask.sampling.guidance)
    return slow_penalised(logits, written, ask.sampling.repetition_penalty)
