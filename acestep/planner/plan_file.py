"""Plans as files that a person may edit: JSON in, a judged ``Plan`` out; and what a plan says as parameters.

    {"caption": "calm piano", "lyrics": "[Instrumental]",
     "metadata": {"bpm": 72, "keyscale": "D minor", "timesignature": "4", "duration": 30.0, "language": "unknown"},
     "audio_codes": [139, 17, ...]}

Every field may be left out, but not both caption and lyrics; without codes the song is made from its words alone.
Refuses to know who wrote the plan and what plays it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from acestep.constants import DURATION_MAX_S, DURATION_MIN_S
from acestep.errors import InputError
from acestep.metadata import parse_bpm, parse_keyscale, parse_language, parse_timesignature
from acestep.planner.plan import Metadata, Plan, codes_text

BYTES_MAX = 1 << 20  # 3,000 codes are below 40 kB
_KINDS: Mapping[str, tuple[type, ...]] = {
    "bpm": (int,),
    "keyscale": (str,),
    "timesignature": (str, int),
    "duration": (int, float),
    "language": (str,),
}


def read_plan(path: Path) -> Plan:
    """The plan in a file.

    Raises:
        InputError: it cannot be read, is no JSON object, or says something that is not allowed.
    """
    try:
        if path.stat().st_size > BYTES_MAX:
            raise InputError(f"plan {path.name!r} is larger than {BYTES_MAX:,} bytes.", field="plan")
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"plan {path.name!r} cannot be read: {error.strerror}.", field="plan") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"plan {path.name!r} is not a JSON file in UTF-8.", field="plan") from error
    if not isinstance(raw, dict):
        raise InputError.must("plan", "be a JSON object", raw)
    return judged(raw)


def judged(raw: Mapping[str, Any]) -> Plan:
    """A plan from JSON values, every one of them checked and in its canonical spelling.

    Raises:
        InputError: an unknown field, a value that is not allowed, or codes that do not last as long as the song.
    """
    plan = Plan.from_dict(raw)
    try:
        metadata = replace(_metadata(plan.metadata), duration=_duration(plan))
    except InputError as error:
        raise error.renamed({"vocal_language": "language"}) from error
    return replace(plan, metadata=metadata)


def parameters(plan: Plan) -> dict[str, Any]:
    """What a plan says, as fields of ``GenerationParams``."""
    metadata = plan.metadata
    return {
        "caption": plan.caption,
        "lyrics": plan.lyrics,
        "bpm": metadata.bpm,
        "keyscale": metadata.keyscale,
        "timesignature": metadata.timesignature,
        "duration": metadata.duration,
        "vocal_language": metadata.language,
        "audio_codes": codes_text(plan.audio_codes),
    }


def _metadata(metadata: Metadata) -> Metadata:
    for field in fields(metadata):
        value, kinds = getattr(metadata, field.name), _KINDS[field.name]
        open_ = value is None and field.default is None
        if not open_ and (isinstance(value, bool) or not isinstance(value, kinds)):
            raise InputError.must(field.name, f"be {' or '.join(kind.__name__ for kind in kinds)} in a plan", value)
    return Metadata(
        bpm=parse_bpm(metadata.bpm),
        keyscale=parse_keyscale(metadata.keyscale),
        timesignature=parse_timesignature(metadata.timesignature),
        duration=metadata.duration,
        language=parse_language(metadata.language),
    )


def _duration(plan: Plan) -> float | None:
    """Seconds of the song; codes and duration have to say the same."""
    seconds = plan.metadata.duration
    if seconds is None and not plan.audio_codes:
        return None
    if seconds is not None and not DURATION_MIN_S <= seconds <= DURATION_MAX_S:
        raise InputError.must("duration", f"be from {DURATION_MIN_S:g} to {DURATION_MAX_S:g} seconds", seconds)
    return plan.duration_s
