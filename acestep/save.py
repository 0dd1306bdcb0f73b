"""A finished take goes to disk with its tags and its recipe.

In: samples, the take, the request. Out: the path written. Refuses to know encoders and tag systems (``output/``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acestep import __version__
from acestep.audio.io import Audio
from acestep.checkpoints.registry import ModelSpec
from acestep.output.content_credentials import Credentials
from acestep.output.recipe import (
    BatchMade,
    MachineUsed,
    ModelUsed,
    OutputMade,
    SourceUsed,
    build_recipe,
    scrubbed,
    title_from_caption,
)
from acestep.output.tags import SongTags
from acestep.output.timed_lyrics import synced
from acestep.output.writer import write_audio
from acestep.planning import PlannedBatch
from acestep.request import Request
from acestep.scoring.score import Judgement
from acestep.takes import Take
from acestep.v1.adapter_source import AdapterFile


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made the song, for the recipe.

    Attributes:
        model: registry row of the transformer.
        reason: why this model.
        timings: seconds per stage.
        source: the recording that was worked on, or None.
        reference: the timbre reference, or None.
        commit: of the transformer on the hub; None when nobody wrote it down.
        batch: the plans, and which planner they came from.
        machine: on which it was made.
        adapter: the LoRA that it was played with, or None.
    """

    model: ModelSpec
    reason: str
    timings: Mapping[str, float]
    source: Audio | None
    reference: Audio | None
    commit: str | None
    batch: PlannedBatch
    machine: MachineUsed
    adapter: AdapterFile | None = None


def save_song(
    samples: np.ndarray,
    path: Path,
    take: Take,
    request: Request,
    effective: Mapping[str, Any],
    provenance: Provenance,
    judgement: Judgement | None = None,
    credentials: Credentials | None = None,
) -> Path:
    """Write one take.

    Args:
        samples: finished, ``[2, S]`` at ``request.sample_rate``.
        path: target, with the format's suffix.
        effective: parameters the song was really made with.
        judgement: of the take; None where it was not judged.
        credentials: the file is signed with these; None signs nothing.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    name = request.audio_format.name
    recipe = build_recipe(
        version=__version__,
        task=request.task.name,
        parameters=effective,
        seeds=[take.seed],
        models=_models_used(provenance),
        output=OutputMade(name, request.sample_rate, samples.shape[1], take.track),
        plan=take.plan.to_dict(),
        source=_source_used(provenance.source),
        reference=_source_used(provenance.reference),
        scores=None if judgement is None else judgement.to_dict(),
        warnings=request.warnings,
        machine=provenance.machine,
        batch=_batch_made(take, request),
        timing={**provenance.batch.seconds, **provenance.timings},
    )
    return write_audio(samples, request.sample_rate, path, name, _tags(take, judgement), recipe, credentials)


def _batch_made(take: Take, request: Request) -> BatchMade:
    """What was made at once with a take."""
    tracks = request.edit.tracks if request.edit is not None and request.task.tracks_apart else ()
    return BatchMade(request.batch_size, request.seeds.index(take.seed) + 1, tracks)


def _models_used(provenance: Provenance) -> dict[str, ModelUsed | None]:
    adapter = provenance.adapter
    return {
        "dit": ModelUsed(provenance.model.name, provenance.commit, reason=provenance.reason),
        "lm": _planner_used(provenance.batch),
        **({} if adapter is None else {"lora": ModelUsed(adapter.source, sha256=adapter.sha256)}),
    }


def _planner_used(batch: PlannedBatch) -> ModelUsed | None:
    row = batch.language_model
    return None if row is None else ModelUsed(row.name, batch.commit)


def _source_used(audio: Audio | None) -> SourceUsed | None:
    return None if audio is None else SourceUsed(audio.sha256, audio.duration_s)


def _tags(take: Take, judgement: Judgement | None) -> SongTags:
    metadata = take.plan.metadata
    words = scrubbed({"caption": take.plan.caption, "lyrics": take.plan.lyrics})
    return SongTags(
        title=" - ".join(filter(None, (title_from_caption(words["caption"]), take.track.replace("_", " ")))),
        lyrics=words["lyrics"],
        bpm=metadata.bpm,
        key=metadata.keyscale,
        language=metadata.language,
        synced=() if judgement is None else synced(judgement.lines),
    )
