"""What it costs to ask the planner how well songs say what was asked for, as a share of planning them.

``python -m benchmarks.scoring_lm --songs 4 --seconds 30`` plans and judges songs with the embedded planner;
``--published --dtype bfloat16`` takes random weights of the 0.6B planner's shape, the published vocabulary and texts
of usual lengths instead. Planning is codes alone, all else is given. Prints one JSON line: medians of ``--repeats``
after a run to warm up, taken in turns. ``share`` is judging as a share of planning, ``alone_s`` is judging the same
songs one by one.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from acestep.checkpoints.registry import EMBEDDED_MODEL
from acestep.constants import CODE_RATE
from acestep.devices import CPU, CUDA, DTYPES
from acestep.llm_inference import LLMHandler
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.answers import codes_grammar
from acestep.planner.backends.native import NativeBackend
from acestep.planner.plan import Metadata, Sheet
from acestep.request import Request
from benchmarks.grammar import BASE, CODEBOOK
from benchmarks.planner import LAYERS, ask, decoder_of, random_network, random_vocabulary, wait_for

PROJECT = Path(__file__).resolve().parents[1]
SHEET = Sheet(
    "a slow song with warm pads and soft drums, a voice that never hurries, brushes and a double bass",
    "[Verse]\nRain on the window\nAll day long\n\n[Chorus]\nStay until the morning\nStay with me\n" * 4,
    Metadata(bpm=97, keyscale="C# minor", timesignature="4", language="en"),
)
INSTRUCTION = 30  # tokens around the codes of a prompt
CAPTION, LYRICS, METADATA = 80, 300, 40  # tokens of usual texts in the published vocabulary
Job = Callable[[], object]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--songs", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the published shape")
    parser.add_argument("--device", choices=(CPU, CUDA), default=CPU)
    parser.add_argument("--layers", type=int, default=LAYERS, help="fewer for a quick look")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        measure = published if arguments.published else embedded
        print(json.dumps({"benchmark": "scoring_lm"} | vars(arguments) | measure(arguments)))


def embedded(arguments: argparse.Namespace) -> dict[str, float]:
    """The embedded planner from sheets to likelihoods; it only writes codes."""
    handler = LLMHandler()
    handler.initialize(PROJECT / "weights", "tiny", device=arguments.device)
    params = GenerationParams(caption=SHEET.caption, lyrics=SHEET.lyrics, duration=arguments.seconds)
    params.bpm, params.keyscale, params.timesignature = 97, "C# minor", "4"
    params.use_cot_caption = params.use_cot_language = False
    config = GenerationConfig(batch_size=arguments.songs, allow_lm_batch=True)
    request = Request.from_params(params, config, EMBEDDED_MODEL)
    with handler.planner() as planner:
        order = request.sheet, request.order, request.seeds, planner.writer.codes
        codes = [song.plan.audio_codes for song in planner.plan(*order).songs]
        return timed(
            arguments,
            lambda: planner.plan(*order),
            lambda: planner.likelihoods(codes, [SHEET] * len(codes)),
            lambda: [planner.likelihoods([song], [SHEET]) for song in codes],
        )


def published(arguments: argparse.Namespace) -> dict[str, float]:
    """Codes of some songs with guidance, then texts behind them, by a network of published shape."""
    device, count = torch.device(arguments.device), round(arguments.seconds * CODE_RATE)
    network = random_network(arguments.layers, DTYPES[arguments.dtype], device)
    backend = NativeBackend(decoder_of(network), random_vocabulary())
    start = codes_grammar(arguments.seconds, CODEBOOK).start
    asks = [ask(start, song, count + 1) for song in range(arguments.songs)]
    first = backend.vocabulary.first_code
    heard = [_random(song, INSTRUCTION) + _random(song, count, first) for song in range(arguments.songs)]
    return timed(
        arguments,
        lambda: backend.complete(asks),
        lambda: backend.score(*_texts(heard)),
        lambda: [backend.score(*_texts([prompt])) for prompt in heard],
    )


def _texts(heard: Sequence[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts and the texts behind them, as ``planner.likelihood`` asks for them."""
    caption, lyrics, metadata = (_random(-length, length) for length in (CAPTION, LYRICS, METADATA))
    silent = _random(-1, INSTRUCTION)
    pairs = [(prompt, text) for prompt in heard for text in (caption, lyrics, metadata)]
    pairs += [(silent, caption), (silent, lyrics)]
    return [prompt for prompt, _ in pairs], [text for _, text in pairs]


def _random(seed: int, count: int, first: int = 0) -> list[int]:
    return [first + token for token in random.Random(seed).choices(range(CODEBOOK if first else BASE), k=count)]


def timed(arguments: argparse.Namespace, plan: Job, judge: Job, one_by_one: Job) -> dict[str, float]:
    """Median seconds of each in turns, and their ratio."""
    seconds: dict[str, list[float]] = {"planning_s": [], "judging_s": [], "alone_s": []}
    for _ in range(1 + arguments.repeats):
        for taken, job in zip(seconds.values(), (plan, judge, one_by_one), strict=True):
            begun = time.perf_counter()
            job()
            wait_for(torch.device(arguments.device))
            taken.append(time.perf_counter() - begun)
    medians = {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
    figures = {name: round(median, 3) for name, median in medians.items()}
    return figures | {"share": round(medians["judging_s"] / medians["planning_s"], 3)}


if __name__ == "__main__":
    main()
