"""What was played becomes a result: finished, judged, saved.

In: a performance and what it was made from. Out: a ``GenerationResult``; files, if anywhere. Refuses to know how
takes are finished, judged and saved.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acestep.finish import finish, heard_takes
from acestep.handler import AceStepHandler
from acestep.llm_inference import LLMHandler
from acestep.machine import this_machine
from acestep.output.content_credentials import Credentials
from acestep.params import GenerationParams
from acestep.planner.plan import codes_text
from acestep.planning import PlannedBatch
from acestep.playing import Rendering
from acestep.progress import Progress
from acestep.recordings import Recordings
from acestep.request import Request
from acestep.result import (
    SUCCESS,
    GenerationResult,
    effective_params,
    extra_outputs,
    params_key,
    rank_songs,
    score_rows,
)
from acestep.save import Provenance, save_song
from acestep.scoring.rank import table
from acestep.scoring.score import Judgement, judge
from acestep.takes import Performance, Take
from acestep.v1.adapter_source import AdapterFile

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where files go.

    Attributes:
        folder: for them.
        credentials: they are signed with these; None signs nothing.
    """

    folder: Path
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One call of ``generate_music``, with everything that is decided before music is made.

    Attributes:
        dit_handler, llm_handler: the models.
        params: as they were given.
        request: as it was judged.
        batch: the plans.
        recordings: that went in.
        target: where files go; None saves nothing.
    """

    dit_handler: AceStepHandler
    llm_handler: LLMHandler | None
    params: GenerationParams
    request: Request
    batch: PlannedBatch
    recordings: Recordings
    target: Target | None

    def told(self, adapter: AdapterFile | None, notes: Sequence[str]) -> Run:
        """The run with what only playing tells: which bytes its LoRA was, and sentences about its takes."""
        params = self.params if adapter is None else replace(self.params, lora_name_or_path=adapter.source)
        return replace(self, params=params, request=replace(self.request, warnings=(*self.request.warnings, *notes)))

    def provenance(self, timings: Mapping[str, float], adapter: AdapterFile | None) -> Provenance:
        """What made the songs, for their recipes."""
        return Provenance(
            model=self.dit_handler.model,
            reason=self.dit_handler.reason,
            timings=timings,
            source=self.recordings.source,
            reference=self.recordings.reference,
            commit=self.dit_handler.renderer.family.commit,
            batch=self.batch,
            machine=this_machine(self.dit_handler.placement),
            adapter=adapter,
        )


def finished_result(run: Run, performance: Performance, progress: Progress | None) -> GenerationResult:
    """Finish, judge and save what was played.

    Raises:
        GenerationError: a take is silent, or not finite.
        OutputError: a file cannot be written.
    """
    takes, silent = heard_takes(performance.takes)
    notes = (*performance.notes, *silent)
    finished = finish(takes, run.request)
    timings = dict(performance.rendering.timings)
    judgements: Sequence[Judgement | None] = [None] * len(takes)
    if run.request.scored:
        start = time.perf_counter()
        renderer = run.dit_handler.renderer
        judgements = judge(takes, finished, run.request, performance, renderer, run.llm_handler, progress)
        timings["scoring"] = time.perf_counter() - start
        notes = (*notes, *dict.fromkeys(warning for one in judgements for warning in one.warnings))
    for note in notes:
        logger.warning("%s", note)
    run = run.told(performance.adapter, notes)
    provenance = run.provenance(timings, performance.adapter)
    audios = [
        _audio(run, take, samples, judgement, provenance)
        for take, samples, judgement in zip(takes, finished, judgements, strict=True)
    ]
    return _result(run, audios, performance.rendering, timings)


def _result(
    run: Run, audios: list[dict[str, Any]], rendering: Rendering, timings: Mapping[str, float]
) -> GenerationResult:
    outputs = extra_outputs(run.request, rendering, run.batch, timings) | {"peak_memory": rendering.peak.to_dict()}
    result = GenerationResult(audios, extra_outputs=outputs, ranking=rank_songs(audios))
    lines = [SUCCESS, f"Seeds: {', '.join(map(str, run.request.seeds))}"]
    if run.request.scored:
        lines.append(table(score_rows(result)))
    result.status_message = "\n".join(lines)
    return result


def _audio(
    run: Run, take: Take, samples: np.ndarray, judgement: Judgement | None, provenance: Provenance
) -> dict[str, Any]:
    """One take as the result has it; saved, if anywhere."""
    effective = effective_params(run.params, run.request, take, run.batch, provenance.model.name)
    played, audio_format = codes_text(take.plan.audio_codes), run.request.audio_format
    key = params_key({**effective, "track": take.track, "audio_codes": played, "audio_format": audio_format.name})
    path = ""
    if run.target is not None:
        file = run.target.folder / f"{key}{audio_format.extension}"
        credentials = run.target.credentials
        path = str(save_song(samples, file, take, run.request, effective, provenance, judgement, credentials))
    return {
        "path": path,
        "tensor": torch.from_numpy(samples),
        "key": key,
        "sample_rate": run.request.sample_rate,
        "params": {**effective, "audio_codes": played},
        "track": take.track,
        "silent": False,
        "scores": None if judgement is None else judgement.scores.to_dict(),
        "timed_lyrics": () if judgement is None else judgement.lines,
    }
