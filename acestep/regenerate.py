"""A recipe becomes the order to make its song again; and two recipes with two sounds become what differs.

In: a valid recipe (``output.recipe``). Out: a ``Remake``: parameters, model, needed recordings; later a ``Verdict``.
The planner is not asked again: the plan is played as it is written, codes and all. Refuses to know files, networks
and where the recordings lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

from acestep.checkpoints.registry import MODELS
from acestep.errors import AudioError, InputError, shown
from acestep.fields import FIELDS, PLANNER
from acestep.judge import plain
from acestep.output.compare import Likeness
from acestep.output.formats import AudioFormat, format_named
from acestep.output.recipe import MachineUsed
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.plan_file import judged, parameters
from acestep.tasks import DEFAULT_TASK, Task, task_named, with_tracks

DIGITS = 12  # of a hash, in messages
_DEFAULTS = GenerationParams()
_NAMES = frozenset(field.name for field in fields(GenerationParams))
_OF_A_PLANNER = {row.name for row in FIELDS if row.owner == PLANNER}
_PLAYED = ("dit", "lora")  # roles of models that are used whenever a song is made again
_LABELS = {"python": "Python", "torch": "PyTorch"}  # of facts about a machine; others are called what they are
_AS_PROMISED = "nothing that a recipe tells: version, machine and model are the same"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remake:
    """What makes a song again.

    Attributes:
        params: everything but the recordings.
        config: how many songs at once, into which format.
        model: name of the transformer.
        audio_format: of the file.
        track: the one track it is, or what it lacks, or "".
        sources: SHA-256 of what was worked on: of one recording, or of two that were joined; () for none.
        reference: SHA-256 of what the timbre was taken from, or None.
        bridge_s: seconds between two recordings that were joined, else None.
    """

    params: GenerationParams
    config: GenerationConfig
    model: str
    audio_format: AudioFormat
    track: str
    sources: tuple[str, ...]
    reference: str | None
    bridge_s: float | None

    @property
    def seed(self) -> int:
        """Of the song; others that are made with it have those that follow."""
        return self.params.seed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a song that was made again.

    Attributes:
        identical: every sample is what it was.
        differences: one clause each; () when it is identical.
        peak_db: largest difference between two samples in dB of full scale; None when there is none, or when they
            could not be compared.
    """

    identical: bool
    differences: tuple[str, ...] = ()
    peak_db: float | None = None

    def __str__(self) -> str:
        if self.identical:
            return "identical"
        told = [*self.differences, *([] if self.peak_db is None else [f"peak difference {self.peak_db:.0f} dB"])]
        return f"differs: {'; '.join(told)}"


def remake_of(recipe: Mapping[str, Any], *, together: bool) -> Remake:
    """The order that a recipe gives.

    Args:
        recipe: from ``recipe.from_json``.
        together: make everything again that was made at once with the song. Sums are rounded as they were only if
            as many are made; without it the song is made alone.

    Raises:
        InputError: the recipe names a model, a task, a format or a value that this version does not know.
    """
    with blaming_the_recipe():
        task, output = task_named(recipe["task"]), recipe["output"]
        batch = recipe["batch"] if together else None
        joined = _joined(recipe["parameters"])
        params = _params(recipe, task, output.get("track", ""), (batch or {}).get("tracks", []))
        if joined:
            params = _undecided(params)
        return Remake(
            params=params,
            config=GenerationConfig(
                batch_size=int(batch["songs"]) if batch else 1,
                use_random_seed=False,
                audio_format=output["format"],
            ),
            model=_model(recipe),
            audio_format=format_named(output["format"]),
            track=output.get("track", ""),
            sources=joined or _hashes(recipe, "source"),
            reference=next(iter(_hashes(recipe, "reference")), None),
            bridge_s=float(recipe["parameters"]["bridge_s"]) if joined else None,
        )


@contextmanager
def blaming_the_recipe() -> Iterator[None]:
    """Errors about values leave the block as errors of the recipe that they come from.

    Raises:
        InputError: one did. What is wrong with a recording is passed on as it is.
    """
    try:
        yield
    except AudioError:
        raise
    except InputError as error:
        raise type(error)(f"the recipe cannot be played: {error}", field="recipe", value=error.value) from error


def check_recordings(remake: Remake, sources: tuple[str, ...], reference: str | None) -> None:
    """Whether the recordings at hand are those that the song was made from.

    Args:
        sources, reference: SHA-256 of the files that were given.

    Raises:
        InputError: one is missing, not needed, or another one; names ``source`` or ``reference``.
    """
    _check_number("source", len(remake.sources), len(sources), remake.sources)
    for wanted, found in zip(remake.sources, sources, strict=True):
        _check_hash("source", wanted, found)
    needed = () if remake.reference is None else (remake.reference,)
    _check_number("reference", len(needed), 0 if reference is None else 1, needed)
    if remake.reference is not None and reference is not None:
        _check_hash("reference", remake.reference, reference)


def same_machine(recipe: Mapping[str, Any], machine: Mapping[str, Any]) -> bool:
    """Whether sums are rounded on ``machine`` as they were when the recipe was written."""
    then = recipe["machine"]
    return then is not None and all(then[name] == machine[name] for name in machine if name != "python")


def verdict(then: Mapping[str, Any], now: Mapping[str, Any], sound: Likeness) -> Verdict:
    """What is to be said about a song that was made again.

    Args:
        then: its recipe.
        now: the recipe of what was made.
        sound: of both files, the old one first.
    """
    if sound.identical:
        return Verdict(identical=True)
    reasons = list(_reasons(then, now))
    if sound.problem:
        reasons.append(f"the file it was made from {sound.problem}")
    return Verdict(False, tuple(reasons) or (_AS_PROMISED,), sound.peak_db)


def remade(then: Mapping[str, Any], now: Mapping[str, Any], *, alike: bool) -> dict[str, Any]:
    """The recipe of a song that was made again: what it is and who planned it, and how it was made this time.

    Scores are of a sound: they are kept only where nobody hears another one (``alike``).
    """
    made = {name: now[name] for name in ("schema", "generator", "created", "machine", "output", "timing", "sources")}
    together = (
        then["batch"] is not None and now["batch"] is not None and then["batch"]["songs"] == now["batch"]["songs"]
    )
    return {
        **then,
        **made,
        "models": {**then["models"], **{role: now["models"][role] for role in _PLAYED if role in now["models"]}},
        "batch": then["batch"] if together else now["batch"],
        "scores": then["scores"] if alike else None,
    }


def _model(recipe: Mapping[str, Any]) -> str:
    name = recipe["models"]["dit"]["name"]
    if name not in MODELS:
        raise InputError(f"this version does not know its model {shown(name)}.", field="model", value=name)
    return name


def _params(recipe: Mapping[str, Any], task: Task, track: str, tracks: list[str]) -> GenerationParams:
    """Parameters that make the song without asking the planner."""
    unread = _OF_A_PLANNER | ({"duration"} if recipe["sources"]["source"] else set())
    said = {name: value for name, value in recipe["parameters"].items() if name in _NAMES - unread}
    if recipe["plan"] is not None and not task.needs_source:
        said |= parameters(judged(recipe["plan"]))
    if tracks:
        said["track_name"] = ",".join(tracks)
    if track and said.get("instruction") == with_tracks(task.instruction, (track,)):
        said["instruction"] = _DEFAULTS.instruction  # the task's own; with several tracks another would be refused
    fixed = {"task_type": task.name, "thinking": False, "simple_query": "", "seed": recipe["seeds"][0]}
    return plain(GenerationParams(**said | fixed))


def _joined(said: Mapping[str, Any]) -> tuple[str, ...]:
    """SHA-256 of two recordings that were joined, or ()."""
    return (said["first_sha256"], said["second_sha256"]) if said.get("first_sha256") else ()


def _undecided(params: GenerationParams) -> GenerationParams:
    """Parameters without what the lengths of two recordings decide."""
    region = {name: getattr(_DEFAULTS, name) for name in ("repainting_start", "repainting_end")}
    return replace(params, task_type=DEFAULT_TASK, **region)


def _hashes(recipe: Mapping[str, Any], role: str) -> tuple[str, ...]:
    used = recipe["sources"][role]
    return () if used is None else (used["sha256"],)


def _check_number(field: str, needed: int, given: int, hashes: tuple[str, ...]) -> None:
    if given == needed:
        return
    if not needed:
        raise InputError(f"{field} is not needed: the song was made without one.", field=field)
    what = "the recording whose SHA-256 begins with" if needed == 1 else "two recordings whose SHA-256 begin with"
    named = ", then ".join(digest[:DIGITS] for digest in hashes)
    raise InputError(f"{field} is given {given} times; the song was made with {what} {named}.", field=field)


def _check_hash(field: str, wanted: str, found: str) -> None:
    if found != wanted:
        raise InputError(
            f"{field} is another recording: its SHA-256 begins with {found[:DIGITS]}, that of the song's with "
            f"{wanted[:DIGITS]}.",
            field=field,
            value=found,
        )


def _reasons(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Clauses about what was not as it is now, and can be heard or at least measured."""
    version, this = then["generator"]["version"], now["generator"]["version"]
    if version != this:
        yield f"made by version {version}, this is {this}"
    yield from _of_machines(then["machine"], now["machine"])
    for role in _PLAYED:
        yield from _of_models(*(recipe["models"].get(role) for recipe in (then, now)))
    yield from _of_batches(then["batch"], now["batch"])
    if then["sources"] != now["sources"]:
        yield "its recordings are decoded to something else here"


def _of_machines(then: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> Iterator[str]:
    if then is None or now is None:
        yield "its recipe does not say on what machine it was made"
        return
    for name in (field.name for field in fields(MachineUsed)):
        if then[name] != now[name]:
            yield f"{_LABELS.get(name, name)} {then[name]} then, {now[name]} now"


def _of_models(then: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> Iterator[str]:
    if then is None or now is None:
        return
    for what in ("revision", "sha256"):
        if then[what] != now[what]:
            yield f"{what} of {now['name']} {_short(then[what])} then, {_short(now[what])} now"


def _of_batches(then: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> Iterator[str]:
    if then is None or now is None:
        return
    for what in ("songs", "tracks"):
        old, new = (batch[what] if what == "songs" else max(1, len(batch[what])) for batch in (then, now))
        if old != new:
            yield f"made at once with other {what}, {old} then, {new} now"
        elif what == "songs" and old > 1:
            yield f"it was one of {old} songs made at once, whose own plans are not kept"


def _short(digest: str | None) -> str:
    return "unknown" if digest is None else digest[:DIGITS]
