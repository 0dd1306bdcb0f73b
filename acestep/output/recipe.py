"""The recipe of a song: a JSON value with everything needed to make it again, safe to publish inside the file.

In: what the stages decided (parameters, seeds, models, plan, hashes of the sources, warnings). Out: a plain dict, and
its text. Refuses to know audio, tag systems and where anything lies on a disk: local paths shrink to the last name,
and user names, passwords and tokens are cut out of URLs before a recipe exists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from numbers import Integral, Real
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

from acestep.errors import InputError

SCHEMA_VERSION = 1
GENERATOR = "acestep-cog"
SOURCE_FIELDS = ("src_audio", "reference_audio")  # parameters that are files here: named by hash under "sources"
FREE_TEXT = ("caption", "lyrics", "prompt", "instruction", "query")  # a person's words: a slash in them is no path
TITLE_WORDS = 6
TITLE_CHARS = 60

SECTIONS: Mapping[str, type | tuple[type, ...]] = {  # in the order they are written
    "schema": int,
    "generator": dict,
    "created": str,
    "task": str,
    "parameters": dict,
    "seeds": (list, dict),
    "models": dict,
    "plan": (dict, type(None)),
    "sources": dict,
    "output": dict,
    "scores": (dict, type(None)),
    "warnings": list,
    "timing": (dict, type(None)),
}

_PHRASE_END = re.compile(r"[,.;:!?](?=\s|$)|[\n\u3001\u3002\uff0c\uff1b\uff1a\uff01\uff1f]")
_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://)[^/\s?#]*@", re.IGNORECASE)
_WEB_URL = re.compile(r"\bhttps?://\S+", re.IGNORECASE)
_FILE_URL = re.compile(r"\bfile://(?:[^/\s]*/)+", re.IGNORECASE)
_POSIX_FOLDERS = re.compile(r"(?<![\w.:/~])~?/(?:[^/\s'\"]+/)+")
_WINDOWS_FOLDERS = re.compile(r"(?<!\w)[a-z]:[\\/](?:[^\\/\s'\"]+[\\/])*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelUsed:
    """Which weights ran: name in the registry, resolved revision and hash where known, and why this model."""

    name: str
    revision: str | None = None
    sha256: str | None = None
    reason: str = ""


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
    seeds: Sequence[int] | Mapping[str, Any],
    models: Mapping[str, ModelUsed | None],
    output: OutputMade,
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
    kept = {name: value for name, value in parameters.items() if name not in SOURCE_FIELDS}
    recipe = {
        "schema": SCHEMA_VERSION,
        "generator": {"name": GENERATOR, "version": version},
        "created": (created or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
        "task": task,
        "parameters": kept,
        "seeds": seeds,
        "models": {role: asdict(model) if model else None for role, model in models.items()},
        "plan": plan,
        "sources": {
            "source": asdict(source) if source else None,
            "reference": asdict(reference) if reference else None,
        },
        "output": asdict(output),
        "scores": scores,
        "warnings": list(warnings),
        "timing": timing,
    }
    return scrubbed(recipe)


def validate(recipe: object) -> dict[str, Any]:
    """Check that a value read from a file is a recipe that this program understands.

    Raises:
        InputError: not an object, a section is missing or of the wrong type, or the schema is another one.
    """
    if not isinstance(recipe, dict):
        raise InputError("the recipe is not a JSON object", field="recipe")
    if recipe.get("schema") != SCHEMA_VERSION:
        message = f"the recipe has schema {recipe.get('schema')!r}; this program reads schema {SCHEMA_VERSION}"
        raise InputError(message, field="recipe", value=recipe.get("schema"))
    wrong = [name for name, kind in SECTIONS.items() if not isinstance(recipe.get(name, ...), kind)]
    if wrong:
        raise InputError(f"the recipe lacks or misstates: {', '.join(wrong)}", field="recipe", value=wrong)
    return recipe


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
        InputError: not JSON, or not a recipe.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the recipe is not valid JSON ({error})", field="recipe") from error
    return validate(value)


def scrubbed(value: Any, key: str = "") -> Any:
    """A copy in plain JSON types without local folders, and without credentials or queries in URLs.

    Strings under a key that is a person's own text (``FREE_TEXT``) keep everything but URL credentials.
    """
    if isinstance(value, Mapping):
        return {str(name): scrubbed(item, str(name)) for name, item in value.items()}
    if isinstance(value, PurePath):
        return value.name
    if isinstance(value, str):
        return _settled(_without_credentials if _is_free_text(key) else _without_folders, writable_text(value))
    if isinstance(value, (list, tuple)):
        return [scrubbed(item, key) for item in value]
    return _plain_number(value)


def assert_shareable(recipe: Mapping[str, Any]) -> None:
    """Check the promise of ``build_recipe`` on a finished recipe.

    Raises:
        ValueError: a section holds a local folder or URL credentials; names the sections, not their content.
    """
    leaking = [name for name, value in recipe.items() if _dumps(scrubbed(value, name)) != _dumps(value)]
    if leaking:
        raise ValueError(f"the recipe must not be published; local paths or credentials in: {', '.join(leaking)}")


def writable_text(text: str) -> str:
    """Text that every tag system can hold: no NUL, no lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def title_from_caption(caption: str, fallback: str = "Untitled") -> str:
    """A song title: the first words of the caption's first phrase, capitalised."""
    phrase = _PHRASE_END.split(caption.strip(" \n,.;:!?"), maxsplit=1)[0]
    title = " ".join(phrase.split()[:TITLE_WORDS])[:TITLE_CHARS].strip()
    return title[:1].upper() + title[1:] if title else fallback


def _is_free_text(key: str) -> bool:
    return any(word in key for word in FREE_TEXT)


def _settled(clean: Callable[[str], str], text: str) -> str:
    """``clean`` repeated until it finds nothing: what it cut out may have held two finds together."""
    while (cleaner := clean(text)) != text:
        text = cleaner
    return text


def _without_credentials(text: str) -> str:
    return _CREDENTIALS.sub(r"\1", text)


def _without_folders(text: str) -> str:
    text = _WEB_URL.sub(lambda url: re.split("[?#]", url[0], maxsplit=1)[0], _without_credentials(text))
    text = _FILE_URL.sub("", text)
    if text.startswith(("/", "~/")):
        return PurePosixPath(text).name
    if re.match(r"[A-Za-z]:[\\/]|\\\\", text):
        return PureWindowsPath(text).name
    return _WINDOWS_FOLDERS.sub("", _POSIX_FOLDERS.sub("", text))


def _plain_number(value: Any) -> bool | int | float | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"a recipe cannot hold a {type(value).__name__}")


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
