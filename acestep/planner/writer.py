"""Songs in words, written by a language model: out of one line, out of rough words, out of semantic codes.

    query --write--> Sheet        caption, lyrics --format--> Sheet        codes --understand--> Sheet

In: words or codes, what is fixed, seeds. Out: sheets, with caption, lyrics, genres and metadata. Refuses to know how
sheets become plans (``planner``), and how tokens are picked (``backends``).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from acestep.constants import CODE_RATE, DURATION_MAX_S, DURATION_MIN_S, INSTRUMENTAL_LYRICS
from acestep.errors import GenerationError
from acestep.planner import prompts
from acestep.planner.answers import CAPTION_PIECES_MAX, LYRICS_PIECES_MAX, writing_grammar
from acestep.planner.ask import Ask, Backend, Completion
from acestep.planner.chain import ChainOfThought, read_chain, read_lyrics
from acestep.planner.grammar import Grammar
from acestep.planner.order import PlanOrder
from acestep.planner.plan import NOTHING_FIXED, Metadata, Sheet
from acestep.planner.progress import Watch
from acestep.planner.vocabulary import Vocabulary

logger = logging.getLogger(__name__)
WRITING, FORMATTING, UNDERSTANDING, THINKING, COMPOSING = range(1, 6)  # numbers of the phases: part of every seed
LISTENING_TEMPERATURE = 0.3  # it is no place for invention
FIELD_PIECES_MAX = 128  # tokens of tags, names and closed values of a chain together
WRITING_PIECES_MAX = 2 * CAPTION_PIECES_MAX + LYRICS_PIECES_MAX + FIELD_PIECES_MAX


class Asker:
    """Puts questions to one language model.

    Args:
        backend: that answers.
        vocabulary: its tokens.
    """

    def __init__(self, backend: Backend, vocabulary: Vocabulary) -> None:
        self.backend, self.vocabulary = backend, vocabulary

    def ask(
        self,
        prompt: tuple[int, ...],
        order: PlanOrder,
        grammar: Grammar,
        *,
        seed: tuple[int, int],
        most: int,
        stops: Sequence[int] = (),
    ) -> Ask:
        """A question in words, which is never guided.

        Args:
            seed: of the song, and number of the phase.
            stops: tokens that end an answer outside the grammar, besides the end of the turn.
        """
        return Ask(
            prompt=prompt,
            negative=None,
            start=grammar.start if order.constrained else None,
            sampling=replace(order.sampling, guidance=1.0),
            seed=seed,
            most=most,
            stops=frozenset((*stops, self.vocabulary.end_of_turn, self.vocabulary.end_of_text)),
            debug=order.debug,
        )

    def answers(self, asks: Sequence[Ask], watch: Watch) -> list[str]:
        """Answers in words as text; what the grammar began it has to finish.

        Raises:
            GenerationError: it did not.
        """
        watch.thinking(self.vocabulary.spell)
        answers = self.backend.complete(asks, watch.heard_words)
        if any(ask.start is not None and not answer.finished for ask, answer in zip(asks, answers, strict=True)):
            raise GenerationError("The planner did not come to the end of its answer.")
        return [self.vocabulary.spell(answer.tokens) for answer in answers]

    def codes(self, asks: Sequence[Ask], watch: Watch) -> list[list[int]]:
        """Answers in codes, as their numbers; what else an answer outside the grammar has is lost."""
        watch.composing([ask.most - 1 for ask in asks])
        return [self._numbers(answer) for answer in self.backend.complete(asks, watch.heard_codes)]

    def _numbers(self, answer: Completion) -> list[int]:
        numbers = map(self.vocabulary.code_of, answer.tokens)
        return [number for number in numbers if number is not None]


class Writer:
    """Writes sheets.

    Args:
        asker: of the language model.
        longest_s: seconds up to which it may choose a song's length; what is fixed may be longer.
    """

    def __init__(self, asker: Asker, longest_s: float) -> None:
        self._asker, self._longest_s = asker, longest_s

    @property
    def codes(self) -> int:
        """How many semantic codes the language model knows."""
        return self._asker.vocabulary.codes

    def write(
        self, query: str, instrumental: bool, given: Metadata, order: PlanOrder, seeds: Sequence[int], watch: Watch
    ) -> list[Sheet]:
        """One song per seed out of one line ("" is nothing at all); what is ``given`` is kept."""
        prompt = prompts.writing_prompt(self._asker.vocabulary, query, instrumental)
        if not instrumental:
            return self._sheets(prompt, WRITING, given, order, seeds, watch)
        made = self._sheets(prompt, WRITING, given, order, seeds, watch, lyrics_pieces=0)
        return [replace(sheet, lyrics=INSTRUMENTAL_LYRICS) for sheet in made]

    def format(self, sheet: Sheet, order: PlanOrder, seeds: Sequence[int], watch: Watch) -> list[Sheet]:
        """The song in more detail and its lyrics laid out, once per seed; its metadata are kept."""
        prompt = prompts.formatting_prompt(self._asker.vocabulary, sheet.caption, sheet.lyrics)
        made = self._sheets(prompt, FORMATTING, sheet.metadata, order, seeds, watch)
        return [replace(one, lyrics=one.lyrics or sheet.lyrics) for one in made]

    def understand(self, codes: Sequence[int], order: PlanOrder, seed: int, watch: Watch) -> Sheet:
        """What semantic codes sound like; the duration is the one they have."""
        prompt = prompts.understanding_prompt(self._asker.vocabulary, codes)
        seconds = len(codes) / CODE_RATE
        usual = DURATION_MIN_S <= seconds <= DURATION_MAX_S
        given = Metadata(duration=seconds) if usual else NOTHING_FIXED
        sheet = self._sheets(prompt, UNDERSTANDING, given, order, [seed], watch)[0]
        return replace(sheet, metadata=replace(sheet.metadata, duration=seconds))

    def _sheets(
        self,
        prompt: tuple[int, ...],
        phase: int,
        given: Metadata,
        order: PlanOrder,
        seeds: Sequence[int],
        watch: Watch,
        lyrics_pieces: int = LYRICS_PIECES_MAX,
    ) -> list[Sheet]:
        fixed = ChainOfThought.of(given)
        grammar = writing_grammar(fixed, longest_s=self._longest_s, lyrics_pieces=lyrics_pieces)
        asks = [
            self._asker.ask(prompt, order, grammar, seed=(seed, phase), most=WRITING_PIECES_MAX) for seed in seeds
        ]
        return [_sheet(answer, fixed, given) for answer in self._asker.answers(asks, watch)]


def decided(chain: ChainOfThought, given: Metadata) -> Metadata:
    """The metadata of a chain; its duration counts whole seconds, a given one is exact."""
    metadata = chain.metadata()
    return metadata if given.duration is None else replace(metadata, duration=given.duration)


def _sheet(answer: str, fixed: ChainOfThought, given: Metadata) -> Sheet:
    read = read_chain(answer)
    for problem in read.problems:
        logger.warning("the planner's answer: %s", problem)
    chain = replace(read.chain, **fixed.decided())
    return Sheet(chain.caption, read_lyrics(answer), decided(chain, given), chain.genres)
