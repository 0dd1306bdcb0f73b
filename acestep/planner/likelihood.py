"""What a planner, hearing a song, thinks of the words it was asked for: how likely it would have written them.

    codes, Sheet --targets--> texts behind the codes, and behind "NO USER INPUT" --backend.score--> Likelihood

In: semantic codes of songs, and the sheet that each was asked for. Out: a `Likelihood` for each. The prompt is that
of understanding; behind it stand, one at a time,

    caption     <think>\\n{caption: ...}\\n</think>\\n
    lyrics      <think>\\n</think>\\n# Lyric\\n{lyrics}\\n
    metadata    <think>\\n{bpm, duration, genres, keyscale, language, timesignature as far as fixed}\\n</think>\\n

and of the first two all tokens count, of the last those of the values. All texts of all songs are scored in one
batch; one that several songs share without codes is scored once. Refuses to know tensors, and how tokens are
computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from acestep.errors import InputError
from acestep.lyrics import is_instrumental
from acestep.planner.ask import Backend, Scored
from acestep.planner.chain import END_THINK, THINK, ChainOfThought, write_field, write_fields
from acestep.planner.plan import Sheet
from acestep.planner.prompts import understanding_prompt
from acestep.planner.vocabulary import Vocabulary
from acestep.scoring.likelihood import PMI_SCALE, Likelihood, information_score, recall_score

Text = tuple[int, ...]
Question = tuple[Text, Text]  # a prompt, and a text behind it


@dataclass(frozen=True, slots=True)
class Target:
    """A text that a planner would have written, had it understood the song as it was meant.

    Attributes:
        part: of the likelihood.
        tokens: of the text.
        values: places among the tokens of every fixed field's value; () where all tokens are judged together.
    """

    part: str
    tokens: Text
    values: tuple[tuple[int, ...], ...] = ()

    def questions(self, heard: Text, silent: Text) -> list[Question]:
        """What has to be scored: the text behind the song's prompt and, for all tokens, the one without a song."""
        return [(prompt, self.tokens) for prompt in ((heard,) if self.values else (heard, silent))]

    def score(self, answers: Sequence[Scored], scale: float) -> float | None:
        """0 to 1 from the answers to the questions; None where one has numbers that are not finite."""
        if not all(bool(answer.log_probs.isfinite().all()) for answer in answers):
            return None
        if self.values:
            ranks = answers[0].ranks.tolist()
            return recall_score([[ranks[place] for place in places] for places in self.values])
        after, before = (answer.log_probs.double().mean().item() for answer in answers)
        return information_score(after - before, scale)


@dataclass(frozen=True, slots=True)
class _Song:
    """What has to be found out about one song.

    Attributes:
        heard: prompt with its codes.
        silent: prompt without any.
        targets: behind them.
        context: tokens of prompt and target that the language model can hold.
    """

    heard: Text
    silent: Text
    targets: tuple[Target, ...]
    context: int

    def fits(self, target: Target) -> bool:
        """Whether the language model can hold it."""
        return len(self.heard) + len(target.tokens) <= self.context

    def questions(self) -> Iterator[Question]:
        """All that has to be scored for this song."""
        for target in filter(self.fits, self.targets):
            yield from target.questions(self.heard, self.silent)

    def likelihood(self, answers: Mapping[Question, Scored], scale: float) -> Likelihood:
        """The parts of the song, and why some are not known."""
        parts, warnings = {}, []
        for target in self.targets:
            if not self.fits(target):
                warnings.append(
                    f"The planner does not judge the {target.part}: its context holds {self.context} tokens, the "
                    f"song's codes take {len(self.heard)} and the text {len(target.tokens)}."
                )
                continue
            found = [answers[question] for question in target.questions(self.heard, self.silent)]
            parts[target.part] = target.score(found, scale)
            if parts[target.part] is None:
                warnings.append(f"The planner does not judge the {target.part}: it gave NaN or infinite numbers.")
        return Likelihood(**parts, warnings=tuple(warnings))


def likelihoods(
    backend: Backend,
    vocabulary: Vocabulary,
    codes: Sequence[Sequence[int]],
    sheets: Sequence[Sheet],
    scale: float = PMI_SCALE,
) -> list[Likelihood]:
    """How well each song says what its sheet asked for. Other songs of a call touch it by rounding alone.

    A part is None where the sheet has nothing of it: a blank caption, lyrics with nothing to sing, no metadata. It is
    None with a sentence among the warnings where codes and text are longer than the model's context, and where the
    network gave NaN or infinity.

    Args:
        codes: semantic codes of every song, at least one each.
        sheets: as many; only metadata that are fixed count, and an unknown language is not.
        scale: of the pointwise mutual information, above 0; see `information_score`.

    Raises:
        InputError: a song without codes, a code that the vocabulary does not have, or a scale that is not above 0.
    """
    information_score(0.0, scale)  # refuses a wrong scale before anything is read
    silent = understanding_prompt(vocabulary, ())
    songs = [
        _Song(_heard(vocabulary, heard), silent, tuple(targets(vocabulary, sheet)), backend.context)
        for heard, sheet in zip(codes, sheets, strict=True)
    ]
    questions = list(dict.fromkeys(question for song in songs for question in song.questions()))
    scored = backend.score([prompt for prompt, _ in questions], [text for _, text in questions])
    answers = dict(zip(questions, scored, strict=True))
    return [song.likelihood(answers, scale) for song in songs]


def targets(vocabulary: Vocabulary, sheet: Sheet) -> Iterator[Target]:
    """The texts that a sheet asks for: none, or one for each part."""
    think, end, line = vocabulary.control(THINK), vocabulary.control(END_THINK), vocabulary.text("\n")
    caption, lyrics = sheet.caption.strip(), sheet.lyrics.strip()
    if caption:
        yield Target("caption", (think, *vocabulary.text("\n" + write_field("caption", caption)), end, *line))
    if not is_instrumental(lyrics):
        yield Target("lyrics", (think, *line, end, *vocabulary.text(f"\n# Lyric\n{lyrics}\n")))
    fixed = ChainOfThought.of(sheet.metadata, genres=sheet.genres.strip())
    if names := tuple(fixed.decided()):
        tokens = (think, *vocabulary.text("\n" + write_fields(fixed)), end, *line)
        yield Target("metadata", tokens, tuple(_values(vocabulary, tokens, names)))


def _heard(vocabulary: Vocabulary, codes: Sequence[int]) -> Text:
    if not codes:
        raise InputError("audio_codes of a song are empty; give at least one to hear.", field="audio_codes", value=())
    return understanding_prompt(vocabulary, codes)


def _values(vocabulary: Vocabulary, tokens: Text, names: Sequence[str]) -> Iterator[tuple[int, ...]]:
    """Of each field of a chain, in its order, which of the chain's tokens spell some of the value."""
    pieces = [vocabulary.pieces[token] for token in tokens]
    spelled, ends = b"".join(pieces), list(accumulate(map(len, pieces)))
    heads = [f"\n{name}: ".encode() for name in names]
    begins = [spelled.index(head) for head in heads]
    lasts = [*begins[1:], spelled.rindex(f"\n{END_THINK}".encode())]
    for head, begin, last in zip(heads, begins, lasts, strict=True):
        first = begin + len(head)
        yield tuple(n for n, end in enumerate(ends) if end > first and end - len(pieces[n]) < last)
