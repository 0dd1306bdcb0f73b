"""The native planner on the GPU: codes out of a recorded CUDA graph are those of the same steps taken one by one, bit
for bit; fp32 is what the CPU computes; and how fast a network of real size writes, beside what the card could do.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from gpu_support import DEVICE, HOST, PROJECT, Note, assert_near, half_formats
from torch import Tensor

from acestep.checkpoints.registry import EMBEDDED_MODEL
from acestep.constants import CODE_RATE
from acestep.devices import DTYPES, device_facts, natural_dtype
from acestep.errors import GenerationError
from acestep.llm_inference import LLMHandler
from acestep.models.qwen3 import Pieces
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.answers import codes_grammar, planning_grammar, writing_grammar
from acestep.planner.ask import Ask, Sampling
from acestep.planner.backends.cuda_graph import Recording
from acestep.planner.backends.native import NativeBackend, load_native
from acestep.planner.grammar import Grammar
from acestep.request import Request
from benchmarks.planner import (
    CODEBOOK,
    codes_rate,
    copy_rate,
    decoder_of,
    random_network,
    random_vocabulary,
    step_bytes,
)
from benchmarks.planner import ask as real_ask

TINY_LM, TINY_CODES = PROJECT / "weights" / "tiny" / "lm", 4096
REAL_CODES = 500  # more than one window of a recording
FLOOR = 3800  # codes a second that 4.8 TB/s allow one song of the 0.6B planner, with guidance
GRAMMARS = {
    "planning": planning_grammar(caption_pieces=30),
    "writing": writing_grammar(caption_pieces=10, lyrics_pieces=40),
    "codes": codes_grammar(60.0, TINY_CODES),
    "open end": codes_grammar(None, TINY_CODES, longest_s=60.0),
}
WAYS = (Sampling(), Sampling(temperature=0.0), Sampling(top_k=20, top_p=0.8, repetition_penalty=1.2))
FORMATS = ["float32", *half_formats()]
SHARES = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}  # of the largest logit


def asks(backend: NativeBackend, grammar: Grammar) -> list[Ask]:
    """Songs with prompts of different lengths and every way to sample, half of them with guidance."""
    text = backend.vocabulary.text
    plain = [
        Ask(
            prompt=tuple(text("a song about rain " * (1 + number))),
            negative=None,
            start=grammar.start,
            sampling=way,
            seed=(number, 1),
            most=600,
        )
        for number, way in enumerate(WAYS)
    ]
    negative = tuple(text("NO USER INPUT"))
    return plain + [replace(ask, negative=negative, sampling=replace(ask.sampling, guidance=2.0)) for ask in plain]


def tiny(device: torch.device, dtype: str, *, cuda_graphs: bool = False) -> NativeBackend:
    """The embedded planner."""
    plain = load_native(TINY_LM, device, DTYPES[dtype])
    return NativeBackend(plain.network, plain.vocabulary, cuda_graphs=cuda_graphs)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("grammar", ["codes", "open end"])
def test_recorded_steps_are_the_steps(grammar: str, dtype: str) -> None:
    one_by_one, recorded = (tiny(DEVICE, dtype, cuda_graphs=graphs) for graphs in (False, True))
    some = asks(one_by_one, GRAMMARS[grammar])
    expected = one_by_one.complete(some)
    assert recorded.complete(some) == expected
    assert recorded.complete(some) == expected
    assert all(answer.finished for answer in expected)


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_fp32_answers_are_those_of_the_cpu(grammar: str) -> None:
    ours, reference = (tiny(device, "float32") for device in (DEVICE, HOST))
    some = asks(ours, GRAMMARS[grammar])
    assert ours.complete(some) == reference.complete(some)


@pytest.mark.parametrize("grammar", GRAMMARS)
@pytest.mark.parametrize("dtype", half_formats())
def test_half_precision_stays_inside_the_grammar(dtype: str, grammar: str) -> None:
    backend = tiny(DEVICE, dtype)
    some = asks(backend, GRAMMARS[grammar])
    for ask, answer in zip(some, backend.complete(some), strict=True):
        state = ask.start
        for token in answer.tokens:
            state = state.advance(backend.vocabulary.pieces[token])
        assert state.is_finished and answer.finished


def logits(device: torch.device, dtype: str) -> Tensor:
    """Of a text of 64 tokens, read in two pieces."""
    network = load_native(TINY_LM, device, DTYPES[dtype]).network
    tokens = torch.arange(64, device=device) * 7 % network.sizes.vocab_size
    cache = network.new_cache(1, 64)
    with torch.inference_mode():
        first = network(tokens[:40], Pieces([0], [0], [40], network.norm), cache)
        hidden = torch.cat((first, network(tokens[40:], Pieces([0], [40], [24], network.norm), cache)))
        return network.table.logits(hidden, range(network.sizes.vocab_size))


@pytest.mark.parametrize("dtype", FORMATS)
def test_logits_are_those_of_the_cpu_in_fp32(dtype: str) -> None:
    assert_near(logits(DEVICE, dtype), logits(HOST, "float32"), SHARES[dtype])


class Waits:
    """A run whose step waits for the device, which no graph can."""

    window = 1

    def step(self) -> None:
        torch.ones(1, device=DEVICE).item()


def test_a_step_that_cannot_be_recorded_is_an_error() -> None:
    with pytest.raises(GenerationError, match="CUDA graph"):
        Recording()(Waits(), 3)


@pytest.mark.parametrize("songs", [1, 8])
@torch.inference_mode()
def test_codes_of_a_network_of_real_size(songs: int, note: Note) -> None:
    torch.manual_seed(0)
    network = random_network(28, DTYPES[natural_dtype(device_facts())], DEVICE)
    decoder, vocabulary = decoder_of(network), random_vocabulary()
    some = [
        real_ask(codes_grammar(REAL_CODES / CODE_RATE, CODEBOOK).start, song, REAL_CODES + 1) for song in range(songs)
    ]
    answers, rates = {}, {}
    for graphs in (False, True):
        backend = NativeBackend(decoder, vocabulary, cuda_graphs=graphs)
        answers[graphs] = backend.complete(some)
        rates[graphs] = codes_rate(backend, some)
    share = step_bytes(network, songs, REAL_CODES) * rates[True] / songs / copy_rate(DEVICE)
    note(
        f"0.6B planner, {songs} songs, guided",
        f"{rates[True]:.0f} codes/s recorded, {rates[False]:.0f} one by one; {share:.0%} of a copy's bandwidth; "
        f"the floor on an H200 is {FLOOR} for one song",
    )
    assert answers[True] == answers[False]
    assert all(len(answer.tokens) == REAL_CODES + 1 for answer in answers[True])


def test_an_offloaded_planner_plans_the_same_and_leaves_the_card() -> None:
    params = GenerationParams(caption="x", duration=10, seed=1, use_cot_caption=False)
    request = Request.from_params(params, GenerationConfig(batch_size=1), EMBEDDED_MODEL)
    plans, before = [], torch.cuda.memory_allocated()
    for offload in (False, True):
        handler = LLMHandler()
        handler.initialize(PROJECT / "weights", "tiny", device=DEVICE.type, dtype="float32", offload_to_cpu=offload)
        with handler.planner() as planner:
            plans.append(planner.plan(request.sheet, request.order, request.seeds, TINY_CODES).songs[0].plan)
        if offload:
            assert torch.cuda.memory_allocated() - before < 1 << 20
        handler.unload()
    assert plans[0] == plans[1]
