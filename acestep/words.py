"""The Python door to songs in words: write one from a line, lay out rough words, describe what codes sound like.

In: a planner, words or codes. Out: a ``SongInWords``; errors of the project become its ``error``, all else is a bug
and is raised. ``inference`` offers the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from acestep.audio.io import read_audio
from acestep.clauses import check_duration, fixed_metadata
from acestep.constants import CODE_RATE
from acestep.errors import AceStepError, InputError
from acestep.fields import check_fields
from acestep.handler import AceStepHandler
from acestep.judge import plain
from acestep.llm_inference import LLMHandler
from acestep.lyrics import is_instrumental
from acestep.memory import out_of_memory_explained
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.order import PlanOrder, order_plan
from acestep.planner.plan import Sheet, codes_text, parse_codes
from acestep.planner.progress import Line, Share, Watch
from acestep.planner.writer import LISTENING_TEMPERATURE, Writer
from acestep.progress import part
from acestep.seeds import resolve_seeds

SUCCESS = "✅ Song described successfully!"
NAMES = {  # in ``GenerationParams`` -> here, for messages
    "simple_query": "query",
    "lm_temperature": "temperature",
    "lm_top_k": "top_k",
    "lm_top_p": "top_p",
    "lm_repetition_penalty": "repetition_penalty",
}


@dataclass
class SongInWords:
    """A song as a planner wrote or understood it.

    Attributes:
        caption, lyrics, genres: in words.
        bpm: beats per minute, or None where it stayed open.
        duration: seconds, or None.
        keyscale, timesignature, language: as in ``GenerationParams``.
        instrumental: True when nobody sings.
        seed: that makes it again.
        status_message: a line for a person.
        success: False when ``error`` says why not.
        error: one sentence, or None.
        cause: the exception behind ``error``.
    """

    caption: str = ""
    lyrics: str = ""
    genres: str = ""
    bpm: int | None = None
    duration: float | None = None
    keyscale: str = ""
    language: str = ""
    timesignature: str = ""
    instrumental: bool = False
    seed: int = -1
    status_message: str = SUCCESS
    success: bool = True
    error: str | None = None
    cause: AceStepError | None = field(default=None, repr=False)

    @classmethod
    def of(cls, sheet: Sheet, seed: int) -> SongInWords:
        """What a sheet says."""
        metadata = sheet.metadata
        return cls(
            sheet.caption,
            sheet.lyrics,
            sheet.genres,
            metadata.bpm,
            metadata.duration,
            metadata.keyscale,
            metadata.language,
            metadata.timesignature,
            is_instrumental(sheet.lyrics),
            seed,
        )

    @classmethod
    def failed(cls, error: AceStepError) -> SongInWords:
        """Nothing but the reason."""
        return cls(status_message=f"Error: {error}", success=False, error=str(error), cause=error)

    def check(self) -> None:
        """Raise what made the call fail; nothing when it succeeded.

        Raises:
            AceStepError: the original error.
        """
        if self.cause is not None:
            raise self.cause

    def to_dict(self) -> dict[str, Any]:
        """What the planner said, as plain values."""
        names = ("caption", "lyrics", "genres", "bpm", "duration", "keyscale", "language", "timesignature")
        return {name: getattr(self, name) for name in (*names, "instrumental", "seed")}


def create_sample(
    llm_handler: LLMHandler | None,
    query: str,
    instrumental: bool = False,
    vocal_language: str | None = None,
    temperature: float = 0.85,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    use_constrained_decoding: bool = True,
    constrained_decoding_debug: bool = False,
    seed: int = -1,
    progress: Share | None = None,
    line: Line | None = None,
) -> SongInWords:
    """Write caption, lyrics and metadata of the song that one line describes.

    Args:
        llm_handler: initialised.
        query: the line, in any language.
        instrumental: nobody sings.
        vocal_language: of the lyrics; None or ``unknown`` leaves it to the planner.
        temperature, top_k, top_p, repetition_penalty: of the sampling; None is off.
        use_constrained_decoding, constrained_decoding_debug: as in ``GenerationParams`` and ``GenerationConfig``.
        seed: -1 is random.
        progress: called with (share done, stage); what it raises ends the run.
        line: called with (0, line) for every line of the answer as soon as it is complete.
    """
    params = _params(temperature, top_k, top_p, repetition_penalty, use_constrained_decoding, seed)
    params.simple_query, params.instrumental, params.vocal_language = query, instrumental, vocal_language or ""

    def write(writer: Writer, params: GenerationParams, order: PlanOrder, drawn: int, watch: Watch) -> Sheet:
        if not order.query:
            raise InputError("query is blank; describe the song in one line.", field="query", value=query)
        given = fixed_metadata(params)
        return writer.write(order.query, params.instrumental, given, order, [drawn], watch)[0]

    return _answer(llm_handler, params, constrained_decoding_debug, write, Watch(line, progress))


def format_sample(
    llm_handler: LLMHandler | None,
    caption: str,
    lyrics: str,
    user_metadata: Mapping[str, Any] | None = None,
    temperature: float = 0.85,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    use_constrained_decoding: bool = True,
    constrained_decoding_debug: bool = False,
    seed: int = -1,
    progress: Share | None = None,
    line: Line | None = None,
) -> SongInWords:
    """Describe a song in more detail and lay its lyrics out in sections.

    Args:
        caption, lyrics: rough; one of the two at least.
        user_metadata: any of ``bpm``, ``duration``, ``keyscale``, ``timesignature``, ``language``; they are kept.
        temperature, top_k, top_p, repetition_penalty, seed, progress, line: as in ``create_sample``.
    """
    params = _params(temperature, top_k, top_p, repetition_penalty, use_constrained_decoding, seed)
    params.caption, params.lyrics = caption, lyrics

    def lay_out(writer: Writer, params: GenerationParams, order: PlanOrder, drawn: int, watch: Watch) -> Sheet:
        if not (params.caption.strip() or params.lyrics.strip()):
            raise InputError("caption and lyrics are both empty; give at least one.", field="caption")
        try:
            given = fixed_metadata(plain(_with_metadata(params, user_metadata or {})))
        except InputError as error:
            raise error.renamed({"vocal_language": "language"}) from error
        return writer.format(Sheet(params.caption, params.lyrics, given), order, [drawn], watch)[0]

    return _answer(llm_handler, params, constrained_decoding_debug, lay_out, Watch(line, progress))


def audio_codes_of(dit_handler: AceStepHandler, audio: str | Path, progress: Share | None = None) -> str:
    """The semantic codes of a recording, as ``GenerationParams.audio_codes`` and ``understand_music`` take them.

    Args:
        dit_handler: with a loaded model; the codes are those of its family.
        audio: a file of 10 to 600 seconds.
        progress: called with (share done, stage).

    Raises:
        AudioError: it cannot be read, or holds no sound.
        InputError: it is too short or too long.
        DeviceMemoryError: it does not fit.
    """
    recording = read_audio(str(audio), field="audio", require_sound=True)
    check_duration("audio", recording.duration_s)
    with out_of_memory_explained("listening", lambda: ["a shorter recording"]):
        return codes_text(dit_handler.renderer.codes_of(torch.from_numpy(recording.samples), progress))


def understand_music(
    llm_handler: LLMHandler | None,
    audio_codes: str = "",
    temperature: float = LISTENING_TEMPERATURE,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    use_constrained_decoding: bool = True,
    constrained_decoding_debug: bool = False,
    seed: int = -1,
    progress: Share | None = None,
    line: Line | None = None,
    audio: str | Path | None = None,
    dit_handler: AceStepHandler | None = None,
) -> SongInWords:
    """Describe a song: one that semantic codes spell, or a recording.

    Args:
        audio_codes: ``<|audio_code_17|><|audio_code_4|>...``; 10 to 600 seconds of them.
        temperature, top_k, top_p, repetition_penalty, seed, progress, line: as in ``create_sample``.
        audio: a recording instead of its codes.
        dit_handler: with a loaded model, which makes codes of ``audio``.
    """
    params = _params(temperature, top_k, top_p, repetition_penalty, use_constrained_decoding, seed)
    params.audio_codes = audio_codes

    def listen(writer: Writer, params: GenerationParams, order: PlanOrder, drawn: int, watch: Watch) -> Sheet:
        hears = part(progress, 0.0, 0.5)
        heard = "" if audio is None else audio_codes_of(dit_handler or AceStepHandler(), audio, hears)
        codes = parse_codes(heard or params.audio_codes, writer.codes)
        if not codes:
            raise InputError(
                "audio_codes is empty; give the codes of a song, or audio.", field="audio_codes", value=""
            )
        check_duration("audio_codes", len(codes) / CODE_RATE)
        return writer.understand(codes, order, drawn, watch)

    share = progress if audio is None else part(progress, 0.5, 1.0)
    return _answer(llm_handler, params, constrained_decoding_debug, listen, Watch(line, share))


def _params(
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    repetition_penalty: float,
    use_constrained_decoding: bool,
    seed: int,
) -> GenerationParams:
    return GenerationParams(
        lm_temperature=temperature,
        lm_top_k=0 if top_k is None else top_k,
        lm_top_p=1.0 if top_p is None else top_p,
        lm_repetition_penalty=repetition_penalty,
        use_constrained_decoding=use_constrained_decoding,
        seed=seed,
    )


def _with_metadata(params: GenerationParams, metadata: Mapping[str, Any]) -> GenerationParams:
    names = {"bpm": "bpm", "duration": "duration", "keyscale": "keyscale", "timesignature": "timesignature"}
    names["language"] = "vocal_language"
    if unknown := sorted(set(metadata) - set(names)):
        raise InputError.unknown("user_metadata", unknown[0], names)
    return replace(params, **{names[name]: value for name, value in metadata.items()})


def _answer(
    llm_handler: LLMHandler | None,
    params: GenerationParams,
    debug: bool,
    say: Callable[[Writer, GenerationParams, PlanOrder, int, Watch], Sheet],
    watch: Watch,
) -> SongInWords:
    """Judge the call, then let ``say`` answer it."""
    try:
        params = plain(params)
        config = plain(GenerationConfig(batch_size=1, constrained_decoding_debug=debug))
        check_fields(params)
        order = order_plan(params, config)
        seed = resolve_seeds(params.seed, None, 1)[0]
        handler = llm_handler or LLMHandler()
        with handler.planner() as planner, out_of_memory_explained("writing", lambda: ["a smaller lm_model"]):
            song = SongInWords.of(say(planner.writer, params, order, seed, watch), seed)
        watch.finish()
        return song
    except InputError as error:
        return SongInWords.failed(error.renamed(NAMES))
    except AceStepError as error:
        return SongInWords.failed(error)
