"""Two recordings become one: a passage is made between them, and both stay as they are, sample for sample.

In: two audio files, the length of the passage, what the passage should be. Out: the parameters of a repaint of its
silent gap, for as long as the file that holds the timeline exists; or the finished ``GenerationResult``. Refuses to
know how a region is filled and how its joins are made.

In a recipe the source is that timeline, whose hash is the same whenever both recordings and the length are; the
parameters also hold the hashes of the two files. (The timeline is no WAV, for libsndfile writes the time of day into
one of floats.)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile as sf

from acestep.audio.io import Audio, read_audio
from acestep.audio.resample import pieces
from acestep.constants import AUDIO_CHANNELS, SAMPLE_RATE
from acestep.editing.canvas import TRAINED_REGION_S
from acestep.errors import AceStepError, InputError, OutputError, UnsupportedError
from acestep.fields import check_number
from acestep.judge import plain
from acestep.params import GenerationConfig, GenerationParams
from acestep.progress import Progress
from acestep.result import GenerationResult
from acestep.tasks import REPAINT

if TYPE_CHECKING:
    from acestep.handler import AceStepHandler

BRIDGE_MIN_S, BRIDGE_MAX_S = 1.0, TRAINED_REGION_S[1]
_TIMELINE = {"format": "AU", "subtype": "FLOAT"}
_BLOCK_SAMPLES = 65_536
_DECIDED = ("task_type", "src_audio", "repainting_start", "repainting_end")
_DEFAULTS = GenerationParams()


@dataclass
class StitchParams(GenerationParams):
    """What a passage between two recordings should be.

    Attributes:
        bridge_s: its length in seconds, 1 to 90.
        first_sha256, second_sha256: of the files, for the recipe.
    """

    bridge_s: float = BRIDGE_MIN_S
    first_sha256: str = ""
    second_sha256: str = ""


def stitch(
    dit_handler: AceStepHandler,
    params: GenerationParams,
    config: GenerationConfig,
    first: str | Path,
    second: str | Path,
    bridge_s: float,
    save_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> GenerationResult:
    """Join two recordings by a generated passage.

    Args:
        dit_handler: with a loaded model.
        params: what the passage should be; says nothing about task, source and region. No planner is asked.
        config: how many versions, from which seeds, into which format.
        first, second: audio files of at most 600 s each.
        bridge_s: seconds between them, 1 to 90; the models were trained on 3 to 90.
        save_dir: folder for the files, made if absent; None saves nothing.
        progress: called with (share done from 0 to 1, stage); what it raises ends the run.

    Returns:
        The songs, each ``first``, the passage, ``second``; or ``success=False`` with one sentence in ``error``.
    """
    from acestep.inference import generate_music  # which offers this function in turn

    try:
        with bridged(replace(params, thinking=False), first, second, bridge_s) as laid:
            result = generate_music(dit_handler, None, laid, config, save_dir, progress)
    except AceStepError as error:
        return GenerationResult.failed(error)
    for audio in result.audios:
        audio["params"]["src_audio"] = None  # the timeline is gone
    return result


@contextmanager
def bridged(
    params: GenerationParams, first: str | Path, second: str | Path, bridge_s: float
) -> Iterator[StitchParams]:
    """The repaint of a silent gap between two recordings; its source exists inside the block only.

    Args:
        params: what the passage should be; not changed.
        first, second: audio files of at most 600 s each.
        bridge_s: seconds between them, 1 to 90.

    Raises:
        AudioError: a file is missing, damaged, silent or too long; names ``first`` or ``second``.
        InputError: the passage is too short or too long, or a value is of a wrong type.
        UnsupportedError: the parameters speak of a task, a source or a region.
        OutputError: the disk does not take the timeline.
    """
    wanted = _judged(params, bridge_s)
    with ExitStack() as stack:
        timeline = _new_folder(stack) / "timeline.au"
        yield _laid(wanted, _read(first, "first"), _read(second, "second"), timeline)


def _judged(params: GenerationParams, bridge_s: float) -> StitchParams:
    for name in _DECIDED:
        if getattr(params, name) != getattr(_DEFAULTS, name):
            raise UnsupportedError(
                f"{name} does not go with stitching: the two recordings and bridge_s decide it.", field=name
            )
    wanted = plain(StitchParams(**vars(params), bridge_s=bridge_s))
    check_number("bridge_s", wanted.bridge_s, BRIDGE_MIN_S, BRIDGE_MAX_S)
    return wanted


def _read(path: str | Path, field: str) -> Audio:
    if not isinstance(path, (str, os.PathLike)):
        raise InputError.must(field, "be the path of a file", path)
    return read_audio(path, field=field, require_sound=True)


def _laid(wanted: StitchParams, first: Audio, second: Audio, timeline: Path) -> StitchParams:
    """Both recordings go to the file, with silence between them; the parameters say where that is."""
    start = first.samples.shape[1]
    gap = np.zeros((AUDIO_CHANNELS, round(wanted.bridge_s * SAMPLE_RATE)), dtype=np.float32)
    _write((first.samples, gap, second.samples), timeline)
    return replace(
        wanted,
        task_type=REPAINT.name,
        src_audio=str(timeline),
        repainting_start=start / SAMPLE_RATE,
        repainting_end=(start + gap.shape[1]) / SAMPLE_RATE,
        first_sha256=first.sha256,
        second_sha256=second.sha256,
    )


def _new_folder(stack: ExitStack) -> Path:
    """A private folder that goes with the stack."""
    try:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="acestep-stitch-")))
    except OSError as error:
        raise OutputError(f"cannot make a folder for the two recordings: {error.strerror}.") from error


def _write(parts: tuple[np.ndarray, ...], path: Path) -> None:
    """Float samples ``[2, S]``, one part after the other."""
    try:
        with sf.SoundFile(path, "w", SAMPLE_RATE, AUDIO_CHANNELS, **_TIMELINE) as sound:
            for part in parts:
                for block in pieces(part, _BLOCK_SAMPLES):
                    sound.write(block.T)  # [n, 2]
    except (OSError, sf.SoundFileError) as error:
        raise OutputError("cannot lay out the two recordings: the disk does not take them.") from error
