"""The two text prompts of the diffusion transformer, character for character as the models were trained.

In: a ``Plan`` and the task's instruction line. Out: strings. Refuses to know tokenizers and networks.
The templates are facts of the published checkpoints (text: caption and metadata block; lyrics: language and words).
Both end with the end-of-text marker and a newline or nothing; the marker itself is added by ``text.TextEncoder`` so
that a caption that spells it stays text.
"""

from __future__ import annotations

from acestep.planner.plan import Metadata, Plan

NOT_GIVEN = "N/A"


def metadata_block(metadata: Metadata, seconds: float) -> str:
    """Four lines, each ending in a newline; a value nobody fixed reads ``N/A``."""
    rows = {
        "bpm": metadata.bpm,
        "timesignature": metadata.timesignature,
        "keyscale": metadata.keyscale,
        "duration": f"{int(seconds)} seconds",
    }
    return "".join(f"- {name}: {value or NOT_GIVEN}\n" for name, value in rows.items())


def text_prompt(plan: Plan, instruction: str) -> str:
    """The prompt of the text branch, without its end marker."""
    if not instruction.endswith(":"):
        instruction += ":"
    metas = metadata_block(plan.metadata, plan.duration_s)
    return f"# Instruction\n{instruction}\n\n# Caption\n{plan.caption}\n\n# Metas\n{metas}"


def lyric_prompt(plan: Plan) -> str:
    """The prompt of the lyric branch, without its end marker."""
    return f"# Languages\n{plan.metadata.language}\n\n# Lyric\n{plan.lyrics}"
