"""The native planner against the plain reference on the same random weights of real size, in one process.

``python -m benchmarks.planner --dtype bfloat16 --songs 1 --against pt`` prints one JSON line about phase 2: codes of
``--songs`` songs at once, each with guidance, over the published vocabulary. ``codes_per_s`` are of all songs
together, from the first the listener hears to the last, so without reading the prompts; runs are interleaved, figures
are medians of ``--repeats``. ``bandwidth_share`` compares the bytes a step has to read (layers, head of the codes,
cache) with what a plain copy moves in the same time. ``plan`` is phase 1 with its grammar: seconds a token, and what
the grammar takes of it.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from acestep.constants import CODE_RATE
from acestep.devices import CPU, CUDA, DTYPES
from acestep.models.qwen3 import Qwen3Decoder, Qwen3Sizes
from acestep.planner.answers import codes_grammar, planning_grammar
from acestep.planner.ask import Ask, Backend, Sampling
from acestep.planner.backends.native import NativeBackend
from acestep.planner.backends.pt import PtBackend
from acestep.planner.grammar import State
from acestep.planner.token_mask import TokenMask
from acestep.planner.vocabulary import Vocabulary
from benchmarks.grammar import ADDED, AUDIO_CODES, BASE, CODEBOOK, THINKING, random_pieces

PROMPT, NEGATIVE = 300, 40  # tokens of a usual prompt with lyrics, and of the one guidance leads away from
COPIED = 1 << 28  # bytes
LAYERS = 28


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--device", choices=(CPU, CUDA), default=CPU)
    parser.add_argument("--songs", type=int, default=1)
    parser.add_argument("--codes", type=int, default=50)
    parser.add_argument("--against", choices=("pt",), help="compare with another backend")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layers", type=int, default=LAYERS, help="fewer for a quick look")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--plan", action="store_true", help="measure phase 1, too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        print(json.dumps({"benchmark": "planner"} | vars(arguments) | measure(arguments)))


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Codes a second of each backend, their ratio, the share of the bandwidth."""
    vocabulary, device = random_vocabulary(), torch.device(arguments.device)
    network = random_network(arguments.layers, DTYPES[arguments.dtype], device)
    backends: dict[str, Backend] = {"native": NativeBackend(decoder_of(network), vocabulary)}
    if arguments.against:
        backends["pt"] = PtBackend(network, vocabulary)
    seconds = arguments.codes / CODE_RATE
    asks = [ask(codes_grammar(seconds, CODEBOOK).start, song, arguments.codes + 1) for song in range(arguments.songs)]
    rates, copied = interleaved(backends, asks, arguments.repeats, device)
    figures: dict[str, object] = {"codes_per_s": {name: round(rate, 2) for name, rate in rates.items()}}
    if arguments.against:
        figures["ratio"] = round(rates["native"] / rates["pt"], 3)
    moved = step_bytes(network, arguments.songs, arguments.codes) * rates["native"] / arguments.songs
    figures |= {"copy_gb_per_s": round(copied / 1e9, 1), "bandwidth_share": round(moved / copied, 3)}
    return figures | ({"plan": plan(backends["native"], vocabulary)} if arguments.plan else {})


def interleaved(
    backends: dict[str, Backend], asks: Sequence[Ask], repeats: int, device: torch.device
) -> tuple[dict[str, float], float]:
    """Median codes a second of each backend after a run to warm up, taken in turns; and bytes a second of a copy."""
    rates: dict[str, list[float]] = {name: [] for name in backends}
    copies = []
    for _ in range(1 + repeats):
        copies.append(copy_rate(device))
        for name, backend in backends.items():
            rates[name].append(codes_rate(backend, asks))
    return {name: statistics.median(each[1:]) for name, each in rates.items()}, statistics.median(copies)


def codes_rate(backend: Backend, asks: Sequence[Ask]) -> float:
    """Codes of all asks a second, from the first that are heard of to the last."""
    heard: list[tuple[float, int]] = []
    backend.complete(asks, lambda _, tokens: heard.append((time.perf_counter(), len(tokens))))
    begun = heard[len(asks) - 1][0]
    return sum(count for when, count in heard if when > begun) / (heard[-1][0] - begun)


def copy_rate(device: torch.device) -> float:
    """Bytes read and written in a second of copying."""
    source = torch.ones(COPIED, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    begun = time.perf_counter()
    for _ in range(3):
        target.copy_(source)
    wait_for(device)
    return 3 * 2 * COPIED / (time.perf_counter() - begun)


def wait_for(device: torch.device) -> None:
    """Return when a GPU has finished; a CPU has already."""
    if device.type == CUDA:
        torch.cuda.synchronize(device)


def step_bytes(network: Qwen3ForCausalLM, songs: int, codes: int) -> float:
    """Bytes that one step of all songs has to read: layers, head of the codes, keys and values at half of the way."""
    config = network.config
    layers = sum(parameter.nbytes for parameter in network.model.layers.parameters())
    head = (CODEBOOK + 1) * config.hidden_size * network.dtype.itemsize
    token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * network.dtype.itemsize
    return layers + head + songs * (PROMPT + NEGATIVE + codes) * token


def plan(backend: NativeBackend, vocabulary: Vocabulary) -> dict[str, object]:
    """Phase 1 of a song: seconds a token of the answer, and of the grammar alone for the same answer."""
    grammar = planning_grammar(caption_pieces=60)
    question = ask(grammar.start, 0, 400, guided=False)
    heard: list[float] = []
    tokens = backend.complete([question], lambda _, __: heard.append(time.perf_counter()))[0].tokens
    step_s = (heard[-1] - heard[0]) / (len(heard) - 1)
    mask = TokenMask(vocabulary.pieces, vocabulary.text)
    state, begun = grammar.start, time.perf_counter()
    for token in tokens:
        np.sort(np.asarray(mask.allowed(state)))
        state = state.advance(vocabulary.pieces[token])
    grammar_s = (time.perf_counter() - begun) / len(tokens)
    return {
        "tokens": len(tokens),
        "steps": len(heard),
        "step_ms": round(step_s * 1e3, 2),
        "grammar_ms": round(grammar_s * 1e3, 3),
        "grammar_share": round(grammar_s * len(tokens) / (step_s * len(heard)), 4),
    }


def ask(start: State, song: int, most: int, *, guided: bool = True) -> Ask:
    """One song's question: the beginning of its prompt is that of all songs."""
    generator = random.Random(song)
    shared = random.Random(-1).choices(range(BASE), k=PROMPT - 20)
    return Ask(
        prompt=(*shared, *generator.choices(range(BASE), k=20)),
        negative=tuple(random.Random(-2).choices(range(BASE), k=NEGATIVE)) if guided else None,
        start=start,
        sampling=Sampling(guidance=2.0 if guided else 1.0),
        seed=(song, 2),
        most=most,
    )


def random_vocabulary() -> Vocabulary:
    """Of published size and make-up; it cannot read text."""
    controls = {name: BASE + rank for rank, name in enumerate((*ADDED, *THINKING))}
    first = BASE + len(controls)
    return Vocabulary(tuple(random_pieces(random.Random(0))), first, AUDIO_CODES, controls, Tokenizer(BPE()))


def random_network(layers: int, dtype: torch.dtype, device: torch.device) -> Qwen3ForCausalLM:
    """The 0.6B planner's shape, filled with random numbers of a usual size."""
    config = Qwen3Config(
        vocab_size=BASE + len(ADDED) + len(THINKING) + AUDIO_CODES,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40_960,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    with torch.device("meta"):
        network = Qwen3ForCausalLM(config)
    rotary = type(network.model.rotary_emb)(config=config)
    network = network.to(dtype).to_empty(device=device)
    network.model.rotary_emb = rotary.to(device)
    network.lm_head.weight = network.model.embed_tokens.weight
    for parameter in network.parameters():
        nn.init.ones_(parameter) if parameter.dim() == 1 else nn.init.normal_(parameter, std=0.02)
    return network.eval().requires_grad_(False)


def decoder_of(network: Qwen3ForCausalLM) -> Qwen3Decoder:
    """Our decoder with the same weights; only the embedding table is shared."""
    config, weights = network.config, network.model.state_dict()
    names = [field for field in Qwen3Sizes.__dataclass_fields__ if field != "rope_theta"]
    sizes = Qwen3Sizes(
        **{name: getattr(config, name) for name in names}, rope_theta=config.rope_parameters["rope_theta"]
    )
    named: Callable[[str], torch.Tensor] = weights.__getitem__
    return Qwen3Decoder(sizes, named).eval()


if __name__ == "__main__":
    main()
