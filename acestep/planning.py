"""A request becomes one plan per song: the planner's, or the caller's words as they are.

In: a judged ``Request``, the planner, the model that will play. Out: a ``PlannedBatch``. Words that a planner wrote
are cut to what the transformer's prompt holds; those of a caller never are. Refuses to know sounds and files.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from acestep.checkpoints.rows import HubFolder, ModelSpec
from acestep.constants import BPM_MAX, CODE_RATE, DURATION_MAX_S, DURATION_MIN_S, TIME_SIGNATURES
from acestep.errors import InputError, NotLoadedError, UnsupportedError
from acestep.llm_inference import LLMHandler
from acestep.planner.chain import ChainOfThought
from acestep.planner.order import PlanOrder
from acestep.planner.plan import Plan
from acestep.planner.planner import Planner
from acestep.planner.progress import Line, Share, Watch
from acestep.planner.writer import decided
from acestep.reading import Reader
from acestep.request import Request

_NOTHING_TO_HEAR = (
    f"thinking has no effect: the planner listens to recordings of {DURATION_MIN_S:g} to {DURATION_MAX_S:g} s."
)
_LONGEST_KEY = "A\u266d minor"  # no other takes more tokens
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """One plan per song and where they came from.

    Attributes:
        plans: as they will be played.
        chains: what the planner decided for each song; () when it was not asked.
        language_model: row of the planner, or None.
        commit: of the planner on the hub; None when nobody wrote it down.
        seconds: of both phases, ``words`` and ``codes``.
        warnings: one sentence each.
    """

    plans: tuple[Plan, ...]
    chains: tuple[ChainOfThought, ...] = ()
    language_model: HubFolder | None = None
    commit: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def plan_songs(
    request: Request,
    llm_handler: LLMHandler | None,
    reader: Reader,
    progress: Share | None = None,
    line: Line | None = None,
    listen: Callable[[], tuple[int, ...]] | None = None,
) -> PlannedBatch:
    """Plan every song of a request. Of one that works on a recording the planner only hears tempo, key and meter.

    Args:
        reader: of the model that will play.
        progress: called with the share of the planning that is done and what is being done.
        line: called with (number of the song, line) for every line of a chain; None logs them.
        listen: gives the semantic codes of the recording a request works on; None where there is none.

    Raises:
        InputError: words too long for the networks, or ``audio_codes`` the model does not have.
        NotLoadedError: the planner is asked, but there is none.
        UnsupportedError: the planner's codes are not those of the model.
    """
    spoken = request.plan(reader.codebook_size)
    reader.tokenize(
        request, [_with_most_metadata(spoken, request.order or request.listens)]
    )  # too long is refused before all else
    for plan in _own_words(request, spoken):
        reader.tokenize(request, [plan])
    if request.order is None:
        plain = PlannedBatch((spoken,) * request.batch_size)
        if request.listens is None or llm_handler is None or not llm_handler.initialized:
            return plain
        if listen is None:
            return replace(plain, warnings=(_NOTHING_TO_HEAR,))
        check_pair(llm_handler.row, reader.spec)
        with llm_handler.planner() as planner:
            return _heard(request, plain, llm_handler, planner, listen(), Watch(line or _log_line, progress))
    if llm_handler is None or not llm_handler.initialized:
        raise NotLoadedError(
            "thinking=True needs a language model: initialise the LLMHandler, or pass thinking=False."
        )
    check_pair(llm_handler.row, reader.spec)
    with llm_handler.planner() as planner:
        return _plan(request, spoken, llm_handler, planner, reader, Watch(line or _log_line, progress))


def _plan(
    request: Request, spoken: Plan, llm_handler: LLMHandler, planner: Planner, reader: Reader, watch: Watch
) -> PlannedBatch:
    sheet, codes = request.sheet, spoken.audio_codes
    if codes:
        sheet = replace(sheet, metadata=spoken.metadata)  # as long as its codes
    planning = planner.plan(sheet, request.order, request.seeds, reader.codebook_size, codes, watch)
    played = [fitted(song.plan, request, reader) for song in planning.songs]
    notes = [note for _, note in played if note]
    return PlannedBatch(
        plans=tuple(plan for plan, _ in played),
        chains=tuple(song.chain for song in planning.songs),
        language_model=llm_handler.row,
        commit=llm_handler.commit,
        seconds=planning.seconds,
        warnings=tuple(dict.fromkeys([*planning.warnings, *notes])),
    )


def _heard(
    request: Request,
    plain: PlannedBatch,
    llm_handler: LLMHandler,
    planner: Planner,
    codes: tuple[int, ...],
    watch: Watch,
) -> PlannedBatch:
    """The plans with what the planner hears in the recording, where the caller left it open."""
    start = time.perf_counter()
    watch.begin(0, 1)
    spoken = plain.plans[0]
    heard = replace(spoken.metadata, duration=len(codes) / CODE_RATE)
    chain = planner.listen(codes, heard, request.listens, request.seeds[0], watch)
    plan = replace(spoken, metadata=decided(chain, spoken.metadata))
    return replace(
        plain,
        plans=(plan,) * request.batch_size,
        chains=(chain,) * request.batch_size,
        language_model=llm_handler.row,
        commit=llm_handler.commit,
        seconds={"words": time.perf_counter() - start, "codes": 0.0},
    )


def _own_words(request: Request, spoken: Plan) -> list[Plan]:
    """The recording of a flow edit in its own words, which are read beside the new ones."""
    flow = None if request.edit is None else request.edit.flow
    return [] if flow is None else [flow.in_own_words(spoken)]


def check_pair(language_model: HubFolder, model: ModelSpec) -> None:
    """Embedded planners write the codes of embedded models, published ones those of published models of ACE-Step 1.5.

    Raises:
        UnsupportedError: one of each, or a model that has no planner.
    """
    if not model.variant.generation.planned:
        raise UnsupportedError(
            f"lm_model {language_model.name!r} does not go with model {model.name!r}, which has no planner.",
            field="lm_model",
            value=language_model.name,
        )
    if language_model.embedded != model.embedded:
        raise UnsupportedError(
            f"lm_model {language_model.name!r} does not go with model {model.name!r}: their semantic codes differ.",
            field="lm_model",
            value=language_model.name,
        )


def fitted(plan: Plan, request: Request, reader: Reader) -> tuple[Plan, str]:
    """``plan`` with the planner's words cut where they are too long for the transformer, and a sentence about it.

    Raises:
        InputError: what the user wrote leaves no room for any words of the planner.
    """
    note = ""
    for name, ends in (("caption", ("\n", ". ", "\u3002", ", ", " ")), ("lyrics", ("\n", " "))):
        own = getattr(plan, name) == getattr(request, name)
        if not own and not _fits(plan, name, request, reader):
            plan = _cut(plan, name, ends, request, reader)
            note = "the planner wrote more words than the transformer reads; the last of them are not heard."
    reader.tokenize(request, [plan])
    return plan, note


def _fits(plan: Plan, name: str, request: Request, reader: Reader) -> bool:
    try:
        reader.tokenize(request, [plan])
    except InputError as error:
        return error.field != name
    return True


def _cut(plan: Plan, name: str, ends: Sequence[str], request: Request, reader: Reader) -> Plan:
    """``plan`` with as much of the beginning of one of its texts as fits; more of it takes more room."""
    words = getattr(plan, name)
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if _fits(replace(plan, **{name: words[:middle]}), name, request, reader):
            low = middle
        else:
            high = middle - 1
    return replace(plan, **{name: _whole_words(words[:low], ends)})


def _whole_words(words: str, ends: Sequence[str]) -> str:
    """``words`` up to the last of the best of some ends that leaves at least half of them, else as they are."""
    for end in ends:
        place = words.rfind(end)
        if place >= len(words) // 2:
            return words[: place + len(end)].rstrip()
    return words


def _with_most_metadata(plan: Plan, order: PlanOrder | None) -> Plan:
    """``plan`` as long as its prompt can become: the planner fills in what is open."""
    if order is None or not order.decides_metas:
        return plan
    given = plan.metadata
    filled = replace(
        given,
        bpm=given.bpm or BPM_MAX,
        keyscale=given.keyscale or _LONGEST_KEY,
        timesignature=given.timesignature or TIME_SIGNATURES[0],
    )
    return replace(plan, metadata=filled)


def _log_line(song: int, line: str) -> None:
    logger.info("plan %d: %s", song + 1, line)
