"""Twelve tracks of a recording taken out in one call, against a call for each.

``python -m benchmarks.extract`` prints one JSON line: median seconds from request to files of both ways, run in
turns, and how many times faster one call is; 1.5 was wanted. ``stages`` are the seconds of the one call and of the
twelve, by what was computed: prompts and the recording (``encoder``), denoising, decoding; ``files`` is the rest,
which is to read the recording, to finish the tracks and to write them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from acestep.constants import TRACK_NAMES
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music
from benchmarks.extend import write_source

STAGES = {
    "encoder": "dit_encoder_time_cost",
    "diffusion": "dit_diffusion_time_cost",
    "vae_decode": "dit_vae_decode_time_cost",
}
FILES = "files"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--model", default="tiny-base")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    handler = AceStepHandler()
    handler.initialize_service(".", arguments.model, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        source = write_source(Path(folder) / "source.wav", arguments.seconds)
        wish = {"task_type": "extract", "src_audio": str(source), "inference_steps": arguments.steps, "seed": 1}
        figures = measure(handler, wish, folder, arguments.repeats)
    print(json.dumps({"benchmark": "extract", **vars(arguments), "threads": torch.get_num_threads(), **figures}))


def measure(handler: AceStepHandler, wish: dict[str, object], folder: str, repeats: int) -> dict[str, object]:
    """Both ways in turns, after one of each that does not count."""
    ways = {"one_call": (",".join(TRACK_NAMES),), "twelve_calls": TRACK_NAMES}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    stages: dict[str, list[Counter[str]]] = {way: [] for way in ways}
    for run in range(repeats + 1):
        for way, calls in ways.items():
            spent = sum((extract(handler, wish | {"track_name": tracks}, folder) for tracks in calls), Counter())
            if run > 0:
                seconds[way].append(spent.total())
                stages[way].append(spent)
    medians = {way: statistics.median(found) for way, found in seconds.items()}
    ratios = [twelve / one for one, twelve in zip(seconds["one_call"], seconds["twelve_calls"], strict=True)]
    return {
        **{way: round(median, 3) for way, median in medians.items()},
        "times_faster": round(statistics.median(ratios), 2),
        "stages": {
            way: {stage: round(statistics.median(one[stage] for one in found), 3) for stage in (*STAGES, FILES)}
            for way, found in stages.items()
        },
    }


def extract(handler: AceStepHandler, wish: dict[str, object], folder: str) -> Counter[str]:
    """Seconds per stage of one call, which add up to those of the call."""
    start = time.perf_counter()
    config = GenerationConfig(batch_size=1, use_random_seed=False, audio_format="wav")
    result = generate_music(handler, None, GenerationParams(thinking=False, **wish), config, folder)
    result.check()
    whole, costs = time.perf_counter() - start, result.extra_outputs["time_costs"]
    spent = Counter({stage: costs[name] for stage, name in STAGES.items()})
    return spent + Counter({FILES: whole - spent.total()})


if __name__ == "__main__":
    main()
