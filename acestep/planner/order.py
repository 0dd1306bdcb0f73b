"""What one call wants of the planner: which parts it may decide, how it samples, how many songs at once.

In: ``GenerationParams`` and ``GenerationConfig``. Out: a frozen ``PlanOrder``. Ranges of single values are judged by
``fields``; here is what does not go together. Refuses to know language models. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from acestep.constants import BATCH_MAX
from acestep.errors import InputError, UnsupportedError, shown
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.ask import Sampling

TEXT_CHARS_MAX = 2048  # of a wish, and of a negative prompt
_DECISIONS = ("use_cot_metas", "use_cot_caption", "use_cot_language", "use_cot_lyrics")
_DEFAULTS = GenerationParams()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOrder:
    """What the planner shall do for a call.

    Attributes:
        sampling: of its tokens; ``guidance`` acts on the codes alone, in words it only distorts.
        negative: prompt that guidance leads away from.
        decides_metas: it may decide tempo, key, meter and length where they are open.
        rewrites_caption: its own caption conditions the transformer.
        decides_language: it may decide the language where it is open.
        writes_lyrics: it lays out, or writes, the lyrics first.
        constrained: its answers stay inside the grammar.
        debug: every token is logged.
        songs_at_once: songs per pass.
        query: one line from which it writes caption, lyrics and metadata; "" when they are given.
        instrumental: nobody sings.
    """

    sampling: Sampling
    negative: str
    decides_metas: bool
    rewrites_caption: bool
    decides_language: bool
    writes_lyrics: bool
    constrained: bool
    debug: bool
    songs_at_once: int
    query: str
    instrumental: bool

    @property
    def leaves_out(self) -> tuple[str, ...]:
        """Fields of the chain of thought that are not written unless they are given."""
        closed = () if self.decides_metas else ("bpm", "duration", "keyscale", "timesignature")
        caption = () if self.rewrites_caption else ("caption",)
        language = () if self.decides_language else ("language",)
        return (*closed, *caption, *language)


def order_plan(params: GenerationParams, config: GenerationConfig) -> PlanOrder | None:
    """The order of a call, or None when the planner is not asked.

    Raises:
        InputError: ``lm_batch_chunk_size`` out of range, a blank query, or too long a query or negative prompt.
        UnsupportedError: ``simple_query`` beside the words it shall write, or without the planner.
    """
    if not 1 <= config.lm_batch_chunk_size <= BATCH_MAX:
        raise InputError.must("lm_batch_chunk_size", f"be from 1 to {BATCH_MAX}", config.lm_batch_chunk_size)
    for field in ("simple_query", "lm_negative_prompt"):
        if len(getattr(params, field)) > TEXT_CHARS_MAX:
            raise InputError.must(field, f"have at most {TEXT_CHARS_MAX} characters", getattr(params, field))
    _check_query(params)
    if not params.thinking:
        return None
    return PlanOrder(
        sampling=Sampling(
            temperature=params.lm_temperature,
            top_k=params.lm_top_k,
            top_p=params.lm_top_p,
            repetition_penalty=params.lm_repetition_penalty,
            guidance=params.lm_cfg_scale,
        ),
        negative=params.lm_negative_prompt,
        decides_metas=params.use_cot_metas,
        rewrites_caption=params.use_cot_caption,
        decides_language=params.use_cot_language,
        writes_lyrics=params.use_cot_lyrics,
        constrained=params.use_constrained_decoding,
        debug=config.constrained_decoding_debug,
        songs_at_once=config.lm_batch_chunk_size if config.allow_lm_batch else 1,
        query=params.simple_query.strip(),
        instrumental=params.instrumental,
    )


def idle(params: GenerationParams, config: GenerationConfig) -> Iterator[str]:
    """One sentence for every value that was changed although the planner, which is asked, does not read it."""
    ways = (
        (bool(params.simple_query), "simple_query lets the planner decide everything", _DECISIONS),
        (params.lm_cfg_scale == 1, "lm_cfg_scale is 1", ("lm_negative_prompt",)),
        (bool(params.audio_codes), "audio_codes are given", ("lm_cfg_scale", "lm_negative_prompt")),
        (params.instrumental, "nobody sings", ("use_cot_lyrics",)),
    )
    told = set()
    for is_so, reason, names in ways:
        for name in names:
            if is_so and name not in told and getattr(params, name) != getattr(_DEFAULTS, name):
                told.add(name)
                yield f"{name} has no effect: {reason}."
    if not config.allow_lm_batch and config.lm_batch_chunk_size != GenerationConfig().lm_batch_chunk_size:
        yield "lm_batch_chunk_size has no effect: allow_lm_batch is off."


def _check_query(params: GenerationParams) -> None:
    if not params.simple_query:
        return
    if not params.simple_query.strip():
        raise InputError("simple_query is blank; describe the song in one line.", field="simple_query")
    for field in ("caption", "lyrics", "audio_codes"):
        if getattr(params, field).strip():
            raise UnsupportedError(
                f"{field} does not go with simple_query {shown(params.simple_query)}, which writes it; "
                "leave one of the two empty.",
                field=field,
            )
    if not params.thinking:
        raise UnsupportedError(
            "simple_query needs the planner: pass thinking=True with a language model.", field="simple_query"
        )
