"""How much memory a song of ten minutes takes that grew out of a short one, against a plain song of two minutes.

``python -m benchmarks.extend`` prints one JSON line: the most resident memory of ``generate_music``, from the request
to the file, for an extension (a source of 20 s and 580 s more: ten passes that hear up to 120 s each) and for a new
song of 120 s, each in a process of its own. ``growth`` is how much more the extension took; 500 MB were allowed. The
networks have the published 2B sizes and random weights (``benchmarks/memory.py``), and denoise in one step.
``--model tiny`` measures an embedded model instead, which takes seconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.load import DTYPES, PROJECT, Highest, memory

RANDOM_2B = "2B"
EXTENSION, SONG = "extension", "song"
ALLOWED_BYTES = 500_000_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=RANDOM_2B, help=f"{RANDOM_2B} (random weights), or an embedded model")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--source", type=float, default=20.0, metavar="S", help="seconds of the source")
    parser.add_argument("--extend", type=float, default=580.0, metavar="S", help="seconds of new music")
    parser.add_argument("--song", type=float, default=120.0, metavar="S", help="seconds of the plain song")
    parser.add_argument("--sample-rate", type=int, default=48_000, help="of the file, in Hz")
    parser.add_argument("--format", default="wav")
    parser.add_argument("--measure", choices=(EXTENSION, SONG), help=argparse.SUPPRESS)  # the fresh process
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments)))
        return
    found = {which: in_fresh_process(which) for which in (SONG, EXTENSION)}
    growth = found[EXTENSION]["peak"] - found[SONG]["peak"]
    asked = {name: value for name, value in vars(arguments).items() if name != "measure"}
    print(json.dumps({"benchmark": "extend", **asked, **found, "growth": growth, "kept": growth <= ALLOWED_BYTES}))


def in_fresh_process(which: str) -> dict[str, object]:
    """The figures of one run."""
    command = [sys.executable, "-m", "benchmarks.extend", *sys.argv[1:], "--measure", which]
    return json.loads(subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE).stdout)


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Peak memory and seconds of one call in this process, which should have done nothing before."""
    from acestep.inference import GenerationConfig, GenerationParams, generate_music

    handler = random_handler(arguments.dtype) if arguments.model == RANDOM_2B else embedded_handler(arguments)
    config = GenerationConfig(batch_size=1, use_random_seed=False, seeds=[1], audio_format=arguments.format)
    wish = {"caption": "calm piano", "thinking": False, "inference_steps": 1, "sample_rate": arguments.sample_rate}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.measure == EXTENSION:
            source = write_source(Path(folder) / "source.wav", arguments.source)
            wish |= {"task_type": "extend", "src_audio": str(source), "extend_duration": arguments.extend}
        else:
            wish |= {"duration": arguments.song}
        before, highest, start = memory("VmRSS"), Highest("VmRSS"), time.perf_counter()
        with highest:
            result = generate_music(handler, None, GenerationParams(**wish), config, folder)
        result.check()
    stages = result.extra_outputs["peak_memory"]["stages"]
    return {
        "audio_s": result.audios[0]["tensor"].shape[1] / result.audios[0]["sample_rate"],
        "seconds": round(time.perf_counter() - start, 1),
        "before": before,
        "stages": stages,
        "peak": max(highest.bytes, *stages.values()),
    }


def embedded_handler(arguments: argparse.Namespace) -> object:
    """A handler of an embedded model."""
    from acestep.handler import AceStepHandler

    handler = AceStepHandler()
    handler.initialize_service(PROJECT, arguments.model, "cpu", dtype=arguments.dtype)
    return handler


def random_handler(dtype: str) -> object:
    """A handler of the default model at its published size with random weights."""
    from acestep.checkpoints.rows import ModelSpec
    from acestep.handler import AceStepHandler
    from acestep.render import Renderer
    from benchmarks.memory import random_family

    renderer = Renderer(random_family(dtype))

    class Handler(AceStepHandler):
        """One model that no folder holds."""

        can_offload = False
        warnings = ()

        @property
        def renderer(self) -> Renderer:
            return renderer

        @property
        def model(self) -> ModelSpec:
            return renderer.family.spec

    return Handler()


def write_source(path: Path, seconds: float) -> Path:
    """Two tones that come and go."""
    import numpy as np
    import soundfile as sf

    from acestep.constants import SAMPLE_RATE

    at = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tones = [0.3 * np.sin(2 * np.pi * pitch * at) * (1 + np.sin(4 * np.pi * at)) / 2 for pitch in (220, 330)]
    sf.write(path, np.stack(tones, axis=1), SAMPLE_RATE)
    return path


if __name__ == "__main__":
    main()
