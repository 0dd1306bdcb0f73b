"""How a song is observed: what is asked for it, what comes of it, what the analysers hear in that.

In: a ``Studio`` with a song begun. Out: an ``Observation`` of plain JSON values. Refuses to know scores and tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from acestep.constants import (
    BPM_MAX,
    BPM_MIN,
    DURATION_MAX_S,
    DURATION_MIN_S,
    KEYSCALES,
    SAMPLE_RATE,
    TIME_SIGNATURES,
)
from acestep.errors import GenerationError
from acestep.planner.plan import Plan, code_count
from acestep.tasks import COMPLETION, EXTRACTION, FAITHFUL_COVER, LEGO
from acestep.training.compose.styles import STYLES
from acestep.training.drum_ear import hears_drums
from acestep.training.ears import Heard, longest_silence_s
from acestep.training.evaluation import measures
from acestep.training.evaluation.studio import HeldOutSong, Studio

Facts = dict[str, Any]  # plain JSON values
WEAK, STRONG = 1.0, 5.0  # guidance


EXTRACTED = ("drums", "bass", "vocals")


@dataclass(frozen=True, slots=True)
class Observation:
    """One song of one row.

    Attributes:
        asked: what the request was.
        heard: what the analysers heard in the outcome.
        truth: what they hear in the song as it was composed and rendered; None where that would say nothing.
    """

    asked: Facts
    heard: Facts
    truth: Facts | None = None


def _wishes(song: HeldOutSong) -> Facts:
    return {"bpm": song.score.bpm, "drums": "drums" in song.score.tracks, "key": song.score.keyscale}


def _listen(heard: Heard) -> Facts:
    return {
        "bpm": heard.tempo,
        "second_bpm": measures.second_tempo(heard),
        "drums": hears_drums(heard),
        "key": heard.key,
    }


def observe_music(*, thinking: bool) -> Callable[[Studio, HeldOutSong], Observation]:
    """The few-step model's song beside its request, and the composed song as the same ears hear it."""

    def observe(studio: Studio, song: HeldOutSong) -> Observation:
        made = studio.heard(f"generated {thinking}", lambda: studio.generated(thinking=thinking))
        composed = studio.heard("composed", lambda: studio.rendition().mix)
        return Observation(
            _wishes(song),
            studio.once("listened", f"generated {thinking}", lambda: _listen(made)),
            studio.once("listened", "composed", lambda: _listen(composed)),
        )

    return observe


def observe_sound(studio: Studio, song: HeldOutSong) -> Observation:
    made = studio.generated(thinking=True)
    heard = {
        "samples": made.shape[1],
        "clipped": measures.clipped_samples(made),
        "silence_s": longest_silence_s(made),
    }
    return Observation({"samples": round(song.record.duration * SAMPLE_RATE)}, heard)


def observe_reconstruction(studio: Studio, _song: HeldOutSong) -> Observation:
    return Observation({}, measures.reconstruction(studio.decoded(semantic=False), studio.rendition().mix))


def observe_plan(studio: Studio, song: HeldOutSong) -> Observation:
    style = STYLES[song.score.style]
    told = any(name in song.caption.lower() for name in (*map(str.lower, style.labels), style.genre))
    asked = {"bpm_range": list(style.bpm) if told else None, "language": song.record.language}
    try:
        batch = studio.planned()
    except GenerationError:
        return Observation(asked, {"valid": False, "bpm": None, "language": ""})
    plan, chain = batch.plans[0], batch.chains[0]
    return Observation(asked, {"valid": _is_valid(plan), "bpm": plan.metadata.bpm, "language": chain.language})


def _is_valid(plan: Plan) -> bool:
    """Everything decided, everything in range, as many codes as the length takes."""
    metadata = plan.metadata
    return (
        metadata.bpm is not None
        and BPM_MIN <= metadata.bpm <= BPM_MAX
        and metadata.keyscale in KEYSCALES
        and metadata.timesignature in TIME_SIGNATURES
        and DURATION_MIN_S <= plan.duration_s <= DURATION_MAX_S
        and len(plan.audio_codes) == code_count(plan.duration_s)
    )


def observe_codes(studio: Studio, _song: HeldOutSong) -> Observation:
    """The semantic codes' chroma beside the source's; what the autoencoder alone keeps of it is the truth here."""
    source = measures.chroma_of(studio.heard("composed", lambda: studio.rendition().mix))
    codec = measures.chroma_of(studio.heard("decoded", lambda: studio.decoded(semantic=False)))
    codes = measures.chroma_of(studio.heard("semantic", lambda: studio.decoded(semantic=True)))
    return Observation({"chroma": source}, {"chroma": codes}, {"chroma": codec})


def observe_understanding(studio: Studio, song: HeldOutSong) -> Observation:
    words = studio.understood()
    return Observation(_wishes(song), {"bpm": words.bpm, "key": words.keyscale})


def observe_guidance(studio: Studio, song: HeldOutSong) -> Observation:
    heard = {
        name: _listen(studio.heard(f"guided {scale}", lambda scale=scale: studio.guided(scale)))
        for name, scale in (("weak", WEAK), ("strong", STRONG))
    }
    return Observation(_wishes(song), heard)


def observe_cover(studio: Studio, _song: HeldOutSong) -> Observation:
    made = studio.heard(FAITHFUL_COVER.name, lambda: studio.edited(FAITHFUL_COVER, studio.rendition().mix))
    source = measures.chroma_of(studio.heard("composed", lambda: studio.rendition().mix))
    return Observation({"chroma": source}, {"chroma": measures.chroma_of(made)})


def observe_extraction(studio: Studio, _song: HeldOutSong) -> Observation:
    mix, stems = studio.rendition().mix, studio.rendition().stems
    gains = {
        track: measures.si_sdr_gain(studio.edited(EXTRACTION, mix, track), stems[track], mix)
        for track in EXTRACTED
        if track in stems and len(stems) > 1
    }
    return Observation({}, gains)


def observe_added_drums(studio: Studio, song: HeldOutSong) -> Observation:
    others = [track for track in song.score.tracks if track != "drums"]
    made = studio.heard(
        LEGO.name, lambda: studio.edited(LEGO, studio.source(*(others or song.score.tracks)), "drums")
    )
    return Observation({"grid": _grid(song)}, {"onsets": made.onsets.tolist()})


def observe_completion(studio: Studio, song: HeldOutSong) -> Observation:
    first, *others = song.score.tracks
    wanted = ",".join(others or ("drums",))
    made = studio.heard(COMPLETION.name, lambda: studio.edited(COMPLETION, studio.source(first), wanted))
    return Observation({"grid": _grid(song)}, {"onsets": made.onsets.tolist()})


def _grid(song: HeldOutSong) -> list[float]:
    """Eighth notes of the composed song."""
    return measures.beat_grid(song.score.beats, 3 if song.score.timesignature == "6" else 2)
