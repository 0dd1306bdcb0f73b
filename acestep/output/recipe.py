"""The recipe of a song: a JSON value with everything needed to make it again, safe to publish inside the file.

In: what the stages decided (parameters, seeds, models, plan, hashes of the sources, warnings). Out: a plain dict, and
its text; and back, whoever wrote the text. Its shape is that of ``schema.recipe_schema``. Refuses to know audio, tag
systems and where anything lies on a disk: what must not be published is cut out before a recipe exists (``scrub``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from acestep.errors import InputError, shown
from acestep.output.conform import first_problem
from acestep.output.schema import SCHEMA_VERSION, SOURCE_FIELDS, recipe_schema
from acestep.output.scrub import scrubbed, writable_text

__all__ = [
    "GENERATOR",
    "SCHEMA_VERSION",
    "SECTIONS",
    "BatchMade",
    "MachineUsed",
    "ModelUsed",
    "OutputMade",
    "SourceUsed",
    "assert_shareable",
    "build_recipe",
    "from_json",
    "scrubbed",
    "title_from_caption",
    "to_json",
    "validate",
    "writable_text",
]
GENERATOR = "acestep-cog"
SECTIONS: tuple[str, ...] = tuple(recipe_schema()["properties"])  # in the order they are written
TITLE_WORDS = 6
TITLE_CHARS = 60

_PHRASE_END = re.compile(r"[,.;:!?](?=\s|$)|[\n\u3001\u3002\uff0c\uff1b\uff1a\uff01\uff1f]")


@dataclass(frozen=True, slots=True)
class ModelUsed:
    """Which weights ran: name in the registry, resolved revision and hash where known, and why this model."""

    name: str
    revision: str | None = None
    sha256: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MachineUsed:
    """What a song was made on; on the same the same bits come out.

    Attributes:
        python, torch: versions.
        system: operating system and architecture.
        device: ``cpu`` or ``cuda``.
        processor: name of the GPU, or of the CPU with its vector instructions.
        dtype: number format of the networks, such as ``float32``.
        threads: of PyTorch on the CPU.
    """

    python: str
    torch: str
    system: str
    device: str
    processor: str
    dtype: str
    threads: int


@dataclass(frozen=True, slots=True)
class BatchMade:
    """What was made together with a song, as far as it decides how sums are rounded.

    Attributes:
        songs: made at once.
        number: which of them this is, from 1.
        tracks: taken apart at once, where each is a file of its own.
    """

    songs: int
    number: int = 1
    tracks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceUsed:
    """An audio file that went in: SHA-256 of its bytes and its length in seconds, never its path."""

    sha256: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class OutputMade:
    """What came out: format name, rate in Hz, samples per channel; the one track that it is, or ""."""

    format: str
    sample_rate: int
    samples: int
    track: str = ""


def build_recipe(
    *,
    version: str,
    task: str,
    parameters: Mapping[str, Any],
    seeds: Sequence[int],
    models: Mapping[str, ModelUsed | None],
    output: OutputMade,
    machine: MachineUsed | None = None,
    batch: BatchMade | None = None,
    plan: Mapping[str, Any] | None = None,
    source: SourceUsed | None = None,
    reference: SourceUsed | None = None,
    scores: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
    timing: Mapping[str, float] | None = None,
    created: datetime | None = None,
) -> dict[str, Any]:
    """Assemble the recipe of one song.

    Args:
        version: of this program.
        task: effective task name.
        parameters: every effective parameter; audio files among them are left out, ``source`` and ``reference``
            name them.
        seeds: effective seeds of this song.
        models: role ("dit", "lm") to what ran; None for a role that was not used.
        output: format, rate and length of the file.
        machine: what it ran on.
        batch: what was made together with it.
        plan: the planner's JSON value.
        source: the source audio.
        reference: the reference audio.
        scores: quality scores.
        warnings: sentences about inputs without effect and the like.
        timing: seconds per stage.
        created: moment of creation; now when None.

    Returns:
        A dict of JSON types only, sections in the order of ``SECTIONS``, that passes ``assert_shareable``.

    Raises:
        TypeError: a value has no JSON form (a bug of the caller).
    """
    recipe = {
        "schema": SCHEMA_VERSION,
        "generator": {"name": GENERATOR, "version": version},
        "created": (created or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
        "machine": _values(machine),
        "task": task,
        "parameters": {name: value for name, value in parameters.items() if name not in SOURCE_FIELDS},
        "seeds": seeds,
        "batch": _values(batch),
        "models": {role: _values(model) for role, model in models.items()},
        "plan": plan,
        "sources": {"source": _values(source), "reference": _values(reference)},
        "output": _values(output),
        "scores": scores,
        "warnings": list(warnings),
        "timing": timing,
    }
    return scrubbed(recipe)


def validate(recipe: object) -> dict[str, Any]:
    """Check that a value read from a file is a recipe that this program understands.

    Returns:
        It, in the shape of ``SCHEMA_VERSION``, without anything that must not be published.

    Raises:
        InputError: no recipe, one of a newer version, or one that breaks the schema; names the first thing that does.
    """
    if not isinstance(recipe, dict):
        raise InputError("the recipe is not a JSON object.", field="recipe")
    current = _of_this_version(recipe)
    problem = first_problem(current, recipe_schema())
    if problem is not None:
        raise InputError(f"the recipe is not valid: {problem}.", field="recipe")
    return scrubbed(current)


def to_json(recipe: Mapping[str, Any]) -> str:
    """The recipe as one line of JSON: sections in their order, keys inside them sorted, non-ASCII kept.

    Raises:
        ValueError: a number is NaN or infinite (a bug of the caller).
    """
    ordered = {name: recipe[name] for name in SECTIONS if name in recipe}
    ordered |= {name: value for name, value in sorted(recipe.items()) if name not in SECTIONS}
    parts = (f"{_dumps(name)}:{_dumps(value)}" for name, value in ordered.items())
    return "{" + ",".join(parts) + "}"


def from_json(text: str) -> dict[str, Any]:
    """Parse and validate the text of a recipe.

    Raises:
        InputError: not JSON, or not a recipe; as ``validate``.
    """
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the recipe is not valid JSON ({error}).", field="recipe") from error
    return validate(value)


def assert_shareable(recipe: Mapping[str, Any]) -> None:
    """Check the promise of ``build_recipe`` on a finished recipe.

    Raises:
        ValueError: a section holds a local folder, a token or URL credentials; names the sections, not their content.
    """
    leaking = [name for name, value in recipe.items() if _dumps(scrubbed(value, name)) != _dumps(value)]
    if leaking:
        raise ValueError(f"the recipe must not be published; local paths or credentials in: {', '.join(leaking)}")


def title_from_caption(caption: str, fallback: str = "Untitled") -> str:
    """A song title: the first words of the caption's first phrase, capitalised."""
    phrase = _PHRASE_END.split(caption.strip(" \n,.;:!?"), maxsplit=1)[0]
    title = " ".join(phrase.split()[:TITLE_WORDS])[:TITLE_CHARS].strip()
    return title[:1].upper() + title[1:] if title else fallback


def _of_this_version(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe of any version that can be read, in the shape of ``SCHEMA_VERSION``."""
    version = recipe.get("schema")
    if type(version) is not int or version < 1:
        raise InputError(f"the recipe says no version; its schema is {shown(version)}.", field="recipe")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"this file's recipe has version {shown(version)}; this program reads up to {SCHEMA_VERSION}: update it.",
            field="recipe",
            value=version,
        )
    if version == 1:  # which did not say what else was made, and on what
        return {"machine": None, "batch": None, **recipe, "schema": SCHEMA_VERSION}
    return recipe


def _values(row: Any) -> dict[str, Any] | None:
    return None if row is None else asdict(row)


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{shown(digits)} is too large a number")
    return value


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
