"""Seconds the embedded model takes for 20 s of audio on this machine, warm.

``python -m benchmarks.tiny`` prints one JSON line; stages are those of ``extra_outputs["time_costs"]``. With
``--plan`` the planner writes the song first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace

import torch

from acestep.checkpoints.registry import EMBEDDED_LANGUAGE_MODEL
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music, warm_up
from acestep.llm_inference import LLMHandler


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--plan", action="store_true", help="with the planner")
    arguments = parser.parse_args()
    handler = AceStepHandler()
    start = time.perf_counter()
    handler.initialize_service(".", arguments.model, "cpu")
    planner = LLMHandler()
    if arguments.plan:
        planner.initialize("weights", EMBEDDED_LANGUAGE_MODEL.name, device="cpu")
    loaded = time.perf_counter() - start
    figures = {
        "benchmark": "tiny",
        "model": arguments.model,
        "audio_s": arguments.seconds,
        "planned": arguments.plan,
        "threads": torch.get_num_threads(),
        "load_s": round(loaded, 3),
        "warm_up_s": round(warm_up(handler), 3),
    }
    print(json.dumps(figures | measure(handler, planner, arguments.seconds, arguments.repeats)))


def measure(handler: AceStepHandler, planner: LLMHandler, seconds: float, repeats: int) -> dict[str, float]:
    """Median seconds from request to file, and of the stages; every song is another one."""
    params = GenerationParams(
        caption="calm piano", duration=seconds, inference_steps=None, thinking=planner.initialized
    )
    config = GenerationConfig(batch_size=1, use_random_seed=False, audio_format="wav")
    totals, stages = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(repeats):
            start = time.perf_counter()
            result = generate_music(handler, planner, replace(params, seed=seed), config, folder)
            totals.append(time.perf_counter() - start)
            result.check()
            stages.append(result.extra_outputs["time_costs"])
    names = ("dit_encoder_time_cost", "dit_diffusion_time_cost", "dit_vae_decode_time_cost")
    medians = {name: round(statistics.median(stage[name] for stage in stages), 3) for name in names}
    return {"request_to_file_s": round(statistics.median(totals), 3), **medians}


if __name__ == "__main__":
    main()
