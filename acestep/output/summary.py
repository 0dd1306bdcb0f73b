"""A song file in words: what its recipe and its tags say, one fact a line, for a person at a terminal.

In: a valid recipe, tags. Out: text without anything that a terminal would obey. Refuses to know files.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from acestep.output.tags import SongTags

LYRICS_LINES = 6
TEXT_CHARS = 400  # of a caption
_WIDTH = 12
_DIGITS = 12  # of a hash
_JOINERS = "\u200c\u200d"  # which some scripts cannot be written without


def summary(recipe: Mapping[str, Any], tags: SongTags, signature: str = "") -> str:
    """The text, its lines ended by newlines.

    Args:
        signature: what is known of it; "" if there is none.
    """
    lines = [printable(tags.title) or "Untitled"]
    for name, value in (*_facts(recipe), *([("signature", signature)] if signature else ())):
        first, *more = [printable(line) for line in value.split("\n")]
        lines += [f"  {name:<{_WIDTH}}{first}".rstrip(), *(f"  {'':<{_WIDTH}}{line}".rstrip() for line in more)]
    lines.append(f"  {printable(tags.comment) or 'not marked as AI-generated'}")
    return "".join(f"{line}\n" for line in lines)


def printable(text: str) -> str:
    """``text`` in one line, with a "?" for every character that controls a terminal or turns a line around."""
    return "".join(
        character
        if character in _JOINERS or unicodedata.category(character)[0] not in "CZ" or character == " "
        else "?"
        for character in text.replace("\u00a0", " ").replace("\u3000", " ")
    )


def _facts(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is known, by name; what is not is left out."""
    facts = {
        "made": _made(recipe),
        "task": " ".join(filter(None, (recipe["task"], recipe["output"].get("track", "")))),
        "model": _model(recipe),
        "lora": _adapter(recipe),
        "seed": _seed(recipe),
        "length": _length(recipe["output"]),
        **_music(recipe),
        **_words(recipe),
        **{role: _recording(used) for role, used in recipe["sources"].items() if used},
        "scores": "\n".join(_scores(recipe["scores"] or {})),
        "warnings": "\n".join(recipe["warnings"]),
    }
    return ((name, value) for name, value in facts.items() if value)


def _made(recipe: Mapping[str, Any]) -> str:
    generator, machine = recipe["generator"], recipe["machine"]
    place = "" if machine is None else f" on {machine['processor']}, {machine['dtype']}"
    return f"{_moment(recipe['created'])} by {generator['name']} {generator['version']}{place}"


def _moment(created: str) -> str:
    try:
        return datetime.fromisoformat(created).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return created


def _model(recipe: Mapping[str, Any]) -> str:
    played, planned = recipe["models"]["dit"], recipe["models"].get("lm")
    commit = f" at {played['revision'][:_DIGITS]}" if played["revision"] else ""
    return f"{played['name']}{commit}" + (f", planned by {planned['name']}" if planned else "")


def _adapter(recipe: Mapping[str, Any]) -> str:
    used = recipe["models"].get("lora")
    return f"{used['name']} at {recipe['parameters'].get('lora_weight', 1.0):g}" if used else ""


def _seed(recipe: Mapping[str, Any]) -> str:
    batch = recipe["batch"]
    which = f" (song {batch['number']} of {batch['songs']})" if batch and batch["songs"] > 1 else ""
    return f"{', '.join(map(str, recipe['seeds']))}{which}"


def _length(output: Mapping[str, Any]) -> str:
    minutes, seconds = divmod(output["samples"] / output["sample_rate"], 60)
    return f"{minutes:.0f}:{seconds:04.1f}, {output['format']}, {output['sample_rate']} Hz"


def _music(recipe: Mapping[str, Any]) -> dict[str, str]:
    """What the plan says of the music, else the parameters."""
    said = recipe["parameters"]
    plan = (recipe["plan"] or {}).get("metadata", {})
    language = plan.get("language") or said.get("vocal_language") or ""
    return {
        "bpm": str(plan.get("bpm") or said.get("bpm") or ""),
        "key": plan.get("keyscale") or said.get("keyscale") or "",
        "meter": plan.get("timesignature") or said.get("timesignature") or "",
        "language": "" if language == "unknown" else language,
    }


def _words(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Caption and the beginning of the lyrics; what a person wrote, where a planner wrote it anew."""
    said, plan = recipe["parameters"], recipe["plan"] or {}
    asked = said.get("simple_query") or said.get("caption", "")
    played = plan.get("caption") or asked
    return {
        "asked": _cut(asked) if asked != played else "",
        "caption": _cut(played),
        "lyrics": _beginning(plan.get("lyrics") or said.get("lyrics", "")),
    }


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= TEXT_CHARS else f"{text[:TEXT_CHARS]} ..."


def _beginning(lyrics: str) -> str:
    lines = [_cut(line) for line in lyrics.strip().split("\n")]
    left = len(lines) - LYRICS_LINES
    return "\n".join(lines if left <= 1 else [*lines[:LYRICS_LINES], f"... {left} more lines"])


def _recording(used: Mapping[str, Any]) -> str:
    return f"{used['duration_s']:.1f} s, SHA-256 {used['sha256'][:_DIGITS]}..."


def _scores(scores: Mapping[str, Any]) -> Iterator[str]:
    """The numbers among the scores in a line, then those of each group in a line of its own."""
    if numbers := _numbers(scores):
        yield numbers
    for name, group in scores.items():
        if isinstance(group, Mapping) and (numbers := _numbers(group)):
            yield f"{name}: {numbers}"


def _numbers(scores: Mapping[str, Any]) -> str:
    found = ((name.replace("_", " "), value) for name, value in scores.items())
    return ", ".join(f"{name} {value:.3g}" for name, value in found if type(value) in (int, float))
