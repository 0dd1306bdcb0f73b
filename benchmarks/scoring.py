"""What judging a song costs, as a share of making it, with the planner and without.

    python -m benchmarks.scoring [--seconds 30] [--songs 1] [--model tiny] [--device cpu]

In: a model's name. Out: a table; the median of several runs.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace

from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music, warm_up
from acestep.llm_inference import LLMHandler

LYRICS = "[Verse]\nOver the hills and far away\nthe river sings to me\n\n[Chorus]\nHold on to what you know"
PARAMS = GenerationParams(
    caption="calm piano with soft strings and a warm female voice",
    lyrics=LYRICS,
    bpm=90,
    keyscale="D minor",
    inference_steps=None,
    guidance_scale=None,
    use_cot_caption=False,
)


def main(argv: list[str] | None = None) -> None:
    """Measure what judging costs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--songs", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--lm", default="tiny")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args(argv)
    handler, planner = AceStepHandler(), LLMHandler()
    handler.initialize_service(config_path=arguments.model, device=arguments.device)
    planner.initialize(lm_model_path=arguments.lm, device=arguments.device)
    warm_up(handler, planner)
    config = GenerationConfig(batch_size=arguments.songs, score=True)
    print(f"{arguments.songs} x {arguments.seconds:g} s, {arguments.model}, median of {arguments.runs} runs")
    print(f"{'':16} {'all s':>8} {'judging s':>10} {'share':>7}")
    for name, llm in (("with planner", planner), ("without", None)):
        params = replace(PARAMS, duration=arguments.seconds, thinking=llm is not None)
        spent = [_spent(handler, llm, replace(params, seed=seed), config) for seed in range(arguments.runs + 1)][1:]
        whole, judging = (statistics.median(column) for column in zip(*spent, strict=True))
        print(f"{name:16} {whole:8.2f} {judging:10.3f} {judging / whole:7.1%}")


def _spent(
    handler: AceStepHandler, llm: LLMHandler | None, params: GenerationParams, config: GenerationConfig
) -> tuple[float, float]:
    """Seconds of all, and of the judging."""
    result = generate_music(handler, llm, params, config)
    result.check()
    costs = result.extra_outputs["time_costs"]
    return costs["pipeline_total_time"], costs["scoring_time"]


if __name__ == "__main__":
    main()
