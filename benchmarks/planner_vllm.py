"""vLLM as the planner's backend, on random weights of real size: the figures that ``benchmarks.planner`` has of ours.

``.venv-vllm/bin/python -m benchmarks.planner_vllm --dtype bfloat16 --songs 1``, in the environment that
``script/test-vllm`` makes, writes a 0.6B planner with as many tokens as the published one to a temporary folder
(1.4 GB), starts vLLM with it and prints one JSON line about the same asks as ``benchmarks.planner``. ``codes_per_s``
are of all songs together, each with guidance, from the first the listener hears to the last, ``step_ms`` is a step of
all songs, ``picking_share`` what ``vllm_processor`` takes of a run: medians of ``--repeats`` after a run to warm up.
``--out FILE`` gets the line, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from acestep.constants import CODE_RATE
from acestep.devices import CPU, CUDA, DTYPES
from acestep.planner.answers import codes_grammar
from acestep.planner.backends.vllm import VllmBackend, load_vllm
from acestep.planner.vocabulary import AUDIO_CODE
from benchmarks.grammar import ADDED, AUDIO_CODES, BASE, CODEBOOK, THINKING
from benchmarks.planner import LAYERS, NEGATIVE, PROMPT, ask, codes_rate, random_network


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--device", choices=(CPU, CUDA), default=CPU)
    parser.add_argument("--songs", type=int, default=1)
    parser.add_argument("--codes", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layers", type=int, default=LAYERS, help="fewer for a quick look")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="file for the line")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    line = json.dumps({"benchmark": "planner_vllm"} | vars(arguments) | measure(arguments), default=str)
    print(line)
    if arguments.out:
        arguments.out.write_text(line + "\n", encoding="utf-8")


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Seconds to start, codes a second, the share of our sampling."""
    context = PROMPT + NEGATIVE + arguments.codes + 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_planner(folder, arguments.layers)
        begun = time.perf_counter()
        backend = load_vllm(folder, arguments.device, DTYPES[arguments.dtype], context)
        start_s = time.perf_counter() - begun
    start = codes_grammar(arguments.codes / CODE_RATE, CODEBOOK).start
    asks = [ask(start, song, arguments.codes + 1) for song in range(arguments.songs)]
    rates, shares, picking = [], [], timed_picking(backend)
    for _ in range(1 + arguments.repeats):
        picking.clear()
        begun = time.perf_counter()
        rates.append(codes_rate(backend, asks))
        shares.append(sum(picking) / (time.perf_counter() - begun))
    backend.close()
    rate = statistics.median(rates[1:])
    return {
        "start_s": round(start_s, 1),
        "codes_per_s": round(rate, 2),
        "step_ms": round(1e3 * arguments.songs / rate, 2),
        "picking_share": round(statistics.median(shares[1:]), 3),
        "rates": [round(each, 2) for each in rates],
    }


def write_planner(folder: Path, layers: int) -> None:
    """A 0.6B planner as it is published: bf16, tensors without ``model.``, no head, 217,204 tokens."""
    network = random_network(layers, torch.bfloat16, torch.device(CPU))
    save_file(dict(network.model.state_dict()), folder / "model.safetensors")
    config = network.config.to_dict() | {"rope_theta": network.config.rope_parameters["rope_theta"]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(made_up_tokenizer()), encoding="utf-8")


def made_up_tokenizer() -> dict[str, object]:
    """Of published size; its words are numbers."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    words = [chr(code) for code in (*printable, *range(0x100, 0x200 - len(printable)))]  # every byte, as in GPT-2
    words += [f"w{number}" for number in range(BASE - len(words))]
    added = [*ADDED, *THINKING, *map(AUDIO_CODE.format, range(AUDIO_CODES))]
    return {
        "added_tokens": [{"id": BASE + rank, "content": name} for rank, name in enumerate(added)],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        "model": {"type": "BPE", "vocab": {word: token for token, word in enumerate(words)}, "merges": []},
    }


def timed_picking(backend: VllmBackend) -> list[float]:
    """A list that gets the seconds of every picking from now on."""
    seconds: list[float] = []
    settle = backend.desk.settle

    def timed(logits: Tensor) -> Tensor:
        begun = time.perf_counter()
        settled = settle(logits)
        seconds.append(time.perf_counter() - begun)
        return settled

    backend.desk.settle = timed  # type: ignore[method-assign]
    return seconds


if __name__ == "__main__":
    main()
