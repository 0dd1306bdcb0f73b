"""The planner: a song's sheet (words and metadata) becomes a chain of thought, the chain becomes semantic codes.

    Sheet --think--> chain of thought --compose--> codes = Plan

In: a sheet, an order, seeds. Out: plans, one per song, and the chains they came from. What a user fixed is forced
into the chain and into the plan. Refuses to know tensors, networks and how tokens are picked (``backends``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from acestep.constants import CODE_RATE, DURATION_MAX_S, DURATION_MIN_S, INSTRUMENTAL_LYRICS
from acestep.errors import GenerationError
from acestep.planner import prompts
from acestep.planner.answers import CAPTION_PIECES_MAX, OPEN, codes_grammar, planning_grammar
from acestep.planner.ask import Ask, Backend
from acestep.planner.chain import END_THINK, FIELDS, ChainOfThought, read_chain
from acestep.planner.likelihood import likelihoods
from acestep.planner.order import PlanOrder
from acestep.planner.plan import Metadata, Plan, Sheet, code_count
from acestep.planner.progress import Watch
from acestep.planner.vocabulary import Vocabulary
from acestep.planner.writer import (
    COMPOSING,
    FIELD_PIECES_MAX,
    LISTENING_TEMPERATURE,
    THINKING,
    UNDERSTANDING,
    Asker,
    Writer,
    decided,
)
from acestep.scoring.likelihood import PMI_SCALE, Likelihood

THINKING_PIECES_MAX = CAPTION_PIECES_MAX + FIELD_PIECES_MAX


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and the chain of thought it was composed from."""

    plan: Plan
    chain: ChainOfThought


@dataclass(slots=True)
class Planning:
    """One planned song per seed, what was noticed on the way, and seconds per phase (``words`` and ``codes``)."""

    songs: list[Planned] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"words": 0.0, "codes": 0.0})

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the seconds of the block to ``phase``."""
        start = time.perf_counter()
        yield
        self.seconds[phase] += time.perf_counter() - start


class Planner:
    """Plans songs with one language model.

    Args:
        backend: that answers.
        vocabulary: its tokens.
        longest_s: seconds up to which the planner may choose a song's length; what a user asks for may be longer.

    Attributes:
        writer: writes sheets with the same model.
    """

    def __init__(self, backend: Backend, vocabulary: Vocabulary, *, longest_s: float = DURATION_MAX_S) -> None:
        self._asker, self._longest_s = Asker(backend, vocabulary), longest_s
        self._vocabulary = vocabulary
        self.writer = Writer(self._asker, longest_s)

    def plan(
        self,
        sheet: Sheet,
        order: PlanOrder,
        seeds: Sequence[int],
        codebook_size: int,
        codes: tuple[int, ...] = (),
        watch: Watch | None = None,
    ) -> Planning:
        """Plan one song per seed. Others that are planned at once touch a song's plan by rounding alone.

        Args:
            sheet: what the user gave.
            codebook_size: codes of the transformer that will play are 0 to this - 1.
            codes: given by the user; then the planner only thinks.
            watch: is told what is written, as it is written.

        Raises:
            InputError: sheet and answer are longer than the model's context.
            GenerationError: an answer outside the grammar has not enough codes.
        """
        planning, watch = Planning(), watch or Watch()
        for first in range(0, len(seeds), order.songs_at_once):
            chunk = seeds[first : first + order.songs_at_once]
            watch.begin(first, len(seeds))
            with planning.timed("words"):
                sheets = self._prepared(sheet, order, chunk, watch)
                chains = self._think(sheets, order, chunk, planning, watch)
            planned = [
                Planned(_plan(words, chain, order, codes), chain) for words, chain in zip(sheets, chains, strict=True)
            ]
            if not codes:
                with planning.timed("codes"):
                    planned = self._compose(sheets, planned, order, chunk, codebook_size, watch)
            planning.songs += planned
        return planning

    def listen(
        self, codes: Sequence[int], given: Metadata, order: PlanOrder, seed: int, watch: Watch
    ) -> ChainOfThought:
        """Tempo, key and meter of a recording, as far as they are open and may be decided.

        Its language is not asked for: the words that will be sung may be others.

        Args:
            codes: semantic codes of the recording.
            given: what is fixed; ``duration`` is that of the recording, 10 to 600 seconds.
        """
        fixed = ChainOfThought.of(given)
        left_out = tuple(dict.fromkeys(("caption", "language", *order.leaves_out)))
        ask = self._asker.ask(
            prompts.understanding_prompt(self._vocabulary, codes),
            replace(order, sampling=replace(order.sampling, temperature=LISTENING_TEMPERATURE)),
            planning_grammar(fixed, left_out, longest_s=DURATION_MAX_S),
            seed=(seed, UNDERSTANDING),
            most=THINKING_PIECES_MAX,
            stops=(self._vocabulary.control(END_THINK),),
        )
        chain = read_chain(self._asker.answers([ask], watch)[0]).chain
        return replace(chain, caption="", genres="", language="", **fixed.decided())

    def likelihoods(
        self, codes: Sequence[Sequence[int]], sheets: Sequence[Sheet], scale: float = PMI_SCALE
    ) -> list[Likelihood]:
        """How well each song says what its sheet asked for, to a planner that hears its codes; see `likelihood`."""
        return likelihoods(self._asker.backend, self._vocabulary, codes, sheets, scale)

    def _prepared(self, sheet: Sheet, order: PlanOrder, seeds: Sequence[int], watch: Watch) -> list[Sheet]:
        """The sheets to plan from, after what the planner was asked to write is written."""
        if order.query:
            made = self.writer.write(order.query, order.instrumental, sheet.metadata, order, seeds, watch)
            return [replace(song, lyrics=song.lyrics or INSTRUMENTAL_LYRICS) for song in made]
        if not order.writes_lyrics or sheet.lyrics == INSTRUMENTAL_LYRICS:
            return [sheet] * len(seeds)
        if sheet.lyrics:
            made = self.writer.format(sheet, order, seeds, watch)
        else:
            made = self.writer.write(sheet.caption, order.instrumental, sheet.metadata, order, seeds, watch)
        return [_with_lyrics(sheet, song, order) for song in made]

    def _think(
        self, sheets: Sequence[Sheet], order: PlanOrder, seeds: Sequence[int], planning: Planning, watch: Watch
    ) -> list[ChainOfThought]:
        """Phase 1: a chain per sheet; where nothing is open it is what was given, and no model runs."""
        given = [ChainOfThought.of(sheet.metadata, sheet.caption if order.query else "") for sheet in sheets]
        grammars = [planning_grammar(fixed, order.leaves_out, longest_s=self._longest_s) for fixed in given]
        if not any(_is_open(fixed, order) for fixed in given):
            return given
        asks = [
            self._asker.ask(
                prompts.planning_prompt(self._vocabulary, sheet.caption, sheet.lyrics),
                order,
                grammar,
                seed=(seed, THINKING),
                most=THINKING_PIECES_MAX,
                stops=(self._vocabulary.control(END_THINK),),
            )
            for sheet, grammar, seed in zip(sheets, grammars, seeds, strict=True)
        ]
        read = [read_chain(answer) for answer in self._asker.answers(asks, watch)]
        planning.warnings += [f"the planner's answer: {problem}" for one in read for problem in one.problems]
        nothing = {name: getattr(OPEN, name) for name in order.leaves_out}  # an answer outside the grammar has them
        return [replace(one.chain, **{**nothing, **fixed.decided()}) for one, fixed in zip(read, given, strict=True)]

    def _compose(
        self,
        sheets: Sequence[Sheet],
        planned: Sequence[Planned],
        order: PlanOrder,
        seeds: Sequence[int],
        codebook_size: int,
        watch: Watch,
    ) -> list[Planned]:
        """Phase 2: the plans with their codes, as many as each song is long."""
        asks = [
            self._codes_ask(sheet, song, order, seed, codebook_size)
            for sheet, song, seed in zip(sheets, planned, seeds, strict=True)
        ]
        return [
            replace(song, plan=_with_codes(song.plan, [code for code in codes if code < codebook_size]))
            for song, codes in zip(planned, self._asker.codes(asks, watch), strict=True)
        ]

    def _codes_ask(self, sheet: Sheet, song: Planned, order: PlanOrder, seed: int, codebook_size: int) -> Ask:
        seconds = song.plan.metadata.duration
        ask = self._asker.ask(
            prompts.codes_prompt(self._vocabulary, sheet.caption, sheet.lyrics, song.chain),
            order,
            codes_grammar(seconds, codebook_size, longest_s=self._longest_s),
            seed=(seed, COMPOSING),
            most=code_count(self._longest_s if seconds is None else seconds) + 1,
        )
        if order.sampling.guidance == 1:
            return ask
        negative = prompts.codes_negative(self._vocabulary, order.negative)
        return replace(ask, negative=negative, sampling=order.sampling)


def _is_open(given: ChainOfThought, order: PlanOrder) -> bool:
    """Whether there is anything left to decide."""
    return not set(FIELDS) <= {*given.decided(), *order.leaves_out, "genres"}


def _with_lyrics(sheet: Sheet, written: Sheet, order: PlanOrder) -> Sheet:
    """A sheet with lyrics that were written for it, and their language where it is open."""
    metadata = sheet.metadata
    if order.decides_language:
        metadata = replace(metadata, language=written.metadata.language)
    return replace(sheet, lyrics=written.lyrics or INSTRUMENTAL_LYRICS, metadata=metadata)


def _plan(sheet: Sheet, chain: ChainOfThought, order: PlanOrder, codes: tuple[int, ...]) -> Plan:
    """What will be played: what was given, else what the chain decided."""
    caption = chain.caption if order.rewrites_caption and chain.caption else sheet.caption
    return Plan(caption, sheet.lyrics, decided(chain, sheet.metadata), codes)


def _with_codes(plan: Plan, codes: Sequence[int]) -> Plan:
    """A plan with as many codes as its song is long, or a song as long as its codes."""
    seconds = plan.metadata.duration
    wanted = max(len(codes), code_count(DURATION_MIN_S)) if seconds is None else code_count(seconds)
    if len(codes) < wanted:
        raise GenerationError(
            f"The planner wrote {len(codes)} of the {wanted} codes this song takes; with "
            "use_constrained_decoding=True it always writes all of them."
        )
    if seconds is None:
        plan = replace(plan, metadata=replace(plan.metadata, duration=wanted / CODE_RATE))
    return replace(plan, audio_codes=tuple(codes[:wanted]))
