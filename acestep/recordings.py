"""The recordings a request comes with: what it works on, and what it shall sound like.

In: a ``Request``. Out: decoded ``Recordings``, and the request completed with what only they tell: how long the music
is. Bad files and impossible regions are refused here, before any model is asked. Refuses to know latents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from acestep.audio.io import DEFAULT_LIMITS, Audio, AudioLimits, read_audio
from acestep.constants import AUDIO_CHANNELS
from acestep.editing.canvas import CANVAS_MAX_S, lay_out, region_advice
from acestep.request import Request

LONG = replace(DEFAULT_LIMITS, max_duration_s=CANVAS_MAX_S)  # of what is worked on in passes


@dataclass(frozen=True, slots=True)
class Recordings:
    """Decoded files, or None where there are none.

    Attributes:
        source: what is worked on.
        reference: what the timbre is taken from.
    """

    source: Audio | None
    reference: Audio | None

    @property
    def samples(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """``[2, S]`` at 48 kHz of both."""
        source, reference = (None if audio is None else audio.samples for audio in (self.source, self.reference))
        return source, reference

    def judged(self, request: Request) -> Request:
        """The request as long as its timeline, and with what there is to say about the recordings.

        Raises:
            InputError: its region lies outside the recording.
        """
        warnings = [*_channels("src_audio", self.source), *_channels("reference_audio", self.reference)]
        if self.source is not None:
            canvas = lay_out(request.edit, self.source.samples.shape[1])
            request = request.lasting(canvas.seconds)
            warnings += region_advice(canvas) if request.task.trained else ()
            if request.task.keeps_outside and self.source.source_peak > 1.0:
                peak = f"{self.source.source_peak:.3f}"
                warnings.append(f"src_audio exceeds full scale (its peak is {peak}); what is beyond is cut.")
        return replace(request, warnings=(*request.warnings, *warnings))


def listen(request: Request) -> Recordings:
    """Decode the files of a request.

    Raises:
        AudioError: a file is missing, damaged, silent, or beyond a limit.
    """
    source = None if request.edit is None else request.edit.source_audio
    limits = LONG if request.task.keeps_outside else DEFAULT_LIMITS
    return Recordings(
        None if source is None else _read(source, "src_audio", limits),
        None
        if request.reference_audio is None
        else _read(request.reference_audio, "reference_audio", DEFAULT_LIMITS),
    )


def _read(path: str, field: str, limits: AudioLimits) -> Audio:
    return read_audio(path, field=field, limits=limits, require_sound=True)


def _channels(field: str, audio: Audio | None) -> list[str]:
    """A sentence about channels that are not heard."""
    if audio is None or audio.source_channels <= AUDIO_CHANNELS:
        return []
    return [f"{field} has {audio.source_channels} channels; the first {AUDIO_CHANNELS} are heard."]
