"""Real prompts through a planner: how many of the plans are valid, and how long they take.

``python -m benchmarks.prompts DIR [--lm tiny]`` reads ``DIR/text2music/*.json`` (caption, lyrics, metadata of songs)
and ``DIR/simple_mode/*.json`` (one line, whether anybody sings, in which language). It prints one JSON line: counts,
what was wrong with the first few, seconds. Songs are planned at their shortest, for it is the words that are tried.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from acestep.checkpoints.registry import EMBEDDED_MODEL
from acestep.constants import BPM_MAX, BPM_MIN, DURATION_MIN_S, KEYSCALES, LANGUAGES, TIME_SIGNATURES
from acestep.llm_inference import LLMHandler
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.plan import Plan, code_count
from acestep.planner.plan_file import judged
from acestep.request import Request
from acestep.words import SongInWords, create_sample

CODEBOOK = 1000  # of the embedded models


def main() -> None:
    """Plan and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lm", default="tiny")
    arguments = parser.parse_args()
    handler = LLMHandler()
    handler.initialize("weights", arguments.lm, device="cpu")
    songs, wishes = (read(arguments.folder / kind) for kind in ("text2music", "simple_mode"))
    start = time.perf_counter()
    faults = [invalid_plan(plan_of(handler, song, fixed=fixed)) for song in songs for fixed in (False, True)]
    planned = time.perf_counter()
    faults += [invalid_song(song_of(handler, wish), wish) for wish in wishes]
    seconds = {"plans_s": round(planned - start, 1), "wishes_s": round(time.perf_counter() - planned, 1)}
    wrong = [fault for fault in faults if fault]
    counts = {"plans": 2 * len(songs), "wishes": len(wishes), "invalid": len(wrong), "first": wrong[:3]}
    print(json.dumps({"benchmark": "prompts", "lm": arguments.lm} | counts | seconds))


def read(folder: Path) -> list[dict[str, Any]]:
    """Every JSON file of a folder."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def plan_of(handler: LLMHandler, song: dict[str, Any], *, fixed: bool) -> Plan:
    """The plan of a real song, with its metadata open or ``fixed``."""
    names = {"bpm": "bpm", "keyscale": "keyscale", "timesignature": "timesignature", "vocal_language": "language"}
    given = {name: song[key] for name, key in names.items()} if fixed else {}
    params = GenerationParams(
        caption=song["caption"],
        lyrics=song["lyrics"],
        duration=DURATION_MIN_S,
        seed=1,
        use_cot_caption=not fixed,
        **given,
    )
    request = Request.from_params(params, GenerationConfig(batch_size=1), EMBEDDED_MODEL)
    with handler.planner() as planner:
        return planner.plan(request.sheet, request.order, request.seeds, CODEBOOK).songs[0].plan


def song_of(handler: LLMHandler, wish: dict[str, Any]) -> SongInWords:
    """What is written for a real wish."""
    return create_sample(handler, wish["description"], wish["instrumental"], wish["vocal_language"], seed=3)


def invalid_plan(plan: Plan) -> str:
    """What is wrong with a plan, or ""."""
    metadata = plan.metadata
    checks = {
        "bpm": BPM_MIN <= (metadata.bpm or 0) <= BPM_MAX,
        "keyscale": metadata.keyscale in KEYSCALES,
        "timesignature": metadata.timesignature in TIME_SIGNATURES,
        "language": metadata.language in LANGUAGES,
        "number of codes": len(plan.audio_codes) == code_count(plan.duration_s),
        "codebook": max(plan.audio_codes) < CODEBOOK,
        "as a file": judged(plan.to_dict()) == plan,
    }
    return ", ".join(name for name, good in checks.items() if not good)


def invalid_song(song: SongInWords, wish: dict[str, Any]) -> str:
    """What is wrong with what was written for a wish, or ""."""
    checks = {
        song.error or "failed": song.success,
        "language": wish["vocal_language"] in ("unknown", song.language) and song.language in LANGUAGES,
        "instrumental": song.instrumental or not wish["instrumental"],
        "bpm": BPM_MIN <= (song.bpm or 0) <= BPM_MAX,
        "keyscale": song.keyscale in KEYSCALES,
        "caption": bool(song.caption),
    }
    return ", ".join(name for name, good in checks.items() if not good)


if __name__ == "__main__":
    main()
