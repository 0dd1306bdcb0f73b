"""Training examples of the planner: in each direction it is asked in, the prompt and the answer it shall write.

    play        caption, lyrics -> chain of thought, codes          plan    caption, lyrics -> chain of thought
    understand  codes -> chain of thought, lyrics                   write   a few words -> chain of thought, lyrics
                                                                    format  rough words -> chain of thought, lyrics

In: songs as codes, seeds of songs that are only composed, random numbers. Out: ``LmExample``s in token ids. Prompts
are those of inference (``planner.prompts``), chains are written by ``planner.chain``. Songs begin at their start and
end at a whole second: codes, lyrics and the duration in the chain agree. Refuses to know networks and batches.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from tokenizers import AddedToken, Tokenizer, pre_tokenizers, trainers

from acestep.constants import DURATION_MIN_S, INSTRUMENTAL_LYRICS
from acestep.planner.answers import code_count
from acestep.planner.chain import END_THINK, THINK, ChainOfThought, write_fields
from acestep.planner.prompts import (
    codes_negative,
    codes_prompt,
    formatting_prompt,
    planning_prompt,
    understanding_prompt,
    writing_prompt,
)
from acestep.planner.vocabulary import AUDIO_CODE, Vocabulary
from acestep.training.compose.captions import REGISTERS, facts_of
from acestep.training.compose.styles import STYLES
from acestep.training.score import Score
from acestep.training.sizes import VOCABULARY
from acestep.training.songs import CAPTIONS_PER_REGISTER, SongRecord, record_of, training_score
from acestep.training.vocabulary import SPECIAL_TOKENS, learn_vocabulary

COMPOSED_SONGS = 20_000  # seeds from 0 on, in words only; composed when first drawn, then remembered
VOCABULARY_SONGS = 600
WHOLE = 0.5  # chance that a song is told to its end
UNTOLD = 0.15  # of codes without caption, lyrics and chain: what guidance leads away from
BARE = 0.05  # of codes behind an empty chain, as without use_cot_metas
LEFT_OUT = 0.12  # of a field that inference may leave out
NOTHING_SAID = 0.04  # of an empty caption or query
UNTAGGED = 0.5  # of rough lyrics without section tags
OPTIONAL_FIELDS = ("caption", "language")

_VAGUE = REGISTERS.index("vague") * CAPTIONS_PER_REGISTER
_TAG_LINE = re.compile(r"\[[^\]\n]*\]\n*|\n(?=\n)")


@dataclass(frozen=True, slots=True)
class LmExample:
    """One thing to learn, in token ids: what the planner is told, and what it writes then.

    Attributes:
        song: whose codes the answer ends with, before the end of the turn; None where it has none.
        codes: how many there are.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    song: CodedSong | None = None
    codes: int = 0

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, slots=True)
class CodedSong:
    """A rendered song: its seed, and its semantic codes, five a second from latent frame ``late`` on."""

    seed: int
    codes: tuple[int, ...]
    late: int = 0


@dataclass(frozen=True, slots=True)
class Passage:
    """A section of a song: its tag, when it begins, and its lines with the second each is over."""

    tag: str
    start_s: float
    lines: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class SongText:
    """A song without its notes."""

    record: SongRecord
    genres: str
    passages: tuple[Passage, ...]

    @property
    def is_sung(self) -> bool:
        """Whether it has lyrics."""
        return self.record.lyrics != INSTRUMENTAL_LYRICS

    @property
    def first_line_s(self) -> float:
        """When the first line is over; 0 in a song without lyrics."""
        return min((end for passage in self.passages for end, _ in passage.lines), default=0.0)

    def lyrics_until(self, seconds: float) -> str:
        """The lyrics of what is heard until then: sections that have begun, lines that are over."""
        if not self.is_sung:
            return INSTRUMENTAL_LYRICS
        begun = [passage for passage in self.passages if passage.start_s < seconds]
        blocks = ([f"[{one.tag}]", *(text for end, text in one.lines if end <= seconds)] for one in begun)
        return "\n\n".join("\n".join(block) for block in blocks)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A song from its start up to a whole second."""

    song: SongText
    seconds: int

    @property
    def lyrics(self) -> str:
        """As a person would type them."""
        return self.song.lyrics_until(self.seconds if self.seconds < self._whole else math.inf)

    @property
    def _whole(self) -> int:
        return int(self.song.record.duration)

    def told(self, rng: random.Random) -> str:
        """What somebody may say who wants this song."""
        return "" if rng.random() < NOTHING_SAID else rng.choice(self.song.record.captions)

    def query(self, rng: random.Random) -> str:
        """A few vague words for this song."""
        return "" if rng.random() < NOTHING_SAID else rng.choice(self.song.record.captions[_VAGUE:])

    def chain(self, told: str, rng: random.Random) -> ChainOfThought:
        """The song's chain of thought, complete; its caption is in other words than what was told."""
        record = self.song.record
        return ChainOfThought(
            bpm=record.bpm,
            caption=rng.choice([caption for caption in record.captions[:_VAGUE] if caption != told]),
            duration=self.seconds,
            genres=self.song.genres,
            keyscale=record.keyscale,
            language=record.language,
            timesignature=record.timesignature,
        )


@lru_cache(maxsize=COMPOSED_SONGS)
def song_text(seed: int) -> SongText:
    """The training song of a seed, in words."""
    score = training_score(seed)
    passages = tuple(
        Passage(section.tag, section.start_s, tuple((line.end_s, line.text) for line in section.lines))
        for section in score.sections
    )
    return SongText(record_of(score), _genres(score), passages)


def _genres(score: Score) -> str:
    """What people call the style, then the broader name where that is another."""
    label = facts_of(score, random.Random(score.seed)).genre
    return ", ".join(dict.fromkeys((label, STYLES[score.style].genre)))


def draw_excerpt(song: SongText, rng: random.Random) -> Excerpt:
    """The whole song, or some of it: at least ten seconds, and of a sung one the first line."""
    whole = int(song.record.duration)
    shortest = math.ceil(max(DURATION_MIN_S, song.first_line_s))
    seconds = whole if rng.random() < WHOLE else rng.randint(min(shortest, whole), whole)
    return Excerpt(song, seconds)


# --- Directions ---------------------------------------------------------------------------------------------------


def draw_played(songs: Sequence[CodedSong], v: Vocabulary, rng: random.Random) -> LmExample:
    """Codes to write, nearly always behind a chain of thought."""
    return play(rng.choice(songs), v, rng)


def draw_worded(songs: Sequence[CodedSong], v: Vocabulary, rng: random.Random) -> LmExample:
    """Words to write: one of the directions that end without codes."""
    direction = rng.choices([row[0] for row in _WORDED], [row[1] for row in _WORDED])[0]
    return direction(songs, v, rng)


def play(song: CodedSong, v: Vocabulary, rng: random.Random) -> LmExample:
    """Caption and lyrics become a chain and the codes of as many seconds as it says."""
    excerpt = draw_excerpt(song_text(song.seed), rng)
    codes = tuple(map(v.code, song.codes[: code_count(excerpt.seconds)]))
    played, count = (*codes, v.end_of_turn), len(codes)
    if rng.random() < UNTOLD:
        return LmExample(codes_negative(v), played, song, count)
    told = excerpt.told(rng)
    chain = ChainOfThought() if rng.random() < BARE else _thinned(excerpt.chain(told, rng), rng)
    prompt = planning_prompt(v, told, excerpt.lyrics)
    thought = codes_prompt(v, told, excerpt.lyrics, chain)[len(prompt) :]
    return LmExample(prompt, thought + played, song, count)


def plan(songs: Sequence[CodedSong], v: Vocabulary, rng: random.Random) -> LmExample:  # noqa: ARG001 - as every row
    """Caption and lyrics become a chain, which has no genres where codes follow."""
    excerpt = _composed(rng)
    told = excerpt.told(rng)
    chain = _thinned(excerpt.chain(told, rng), rng)
    return LmExample(planning_prompt(v, told, excerpt.lyrics), _thought(v, replace(chain, genres="")))


def understand(songs: Sequence[CodedSong], v: Vocabulary, rng: random.Random) -> LmExample:
    """Codes become a chain and lyrics."""
    song = rng.choice(songs)
    excerpt = draw_excerpt(song_text(song.seed), rng)
    codes = song.codes[: code_count(excerpt.seconds)]
    return LmExample(understanding_prompt(v, codes), _written(v, excerpt, "", rng))


def write(songs: Sequence[CodedSong], v: Vocabulary, rng: random.Random) -> LmExample:  # noqa: ARG001 - as every row
    """A few words become a chain and lyrics."""
    excerpt = _composed(rng)
    query = excerpt.query(rng)
    prompt = writing_prompt(v, query, instrumental=not excerpt.song.is_sung)
    return LmExample(prompt, _written(v, excerpt, query, rng))


def polish(songs: Sequence[CodedSong], v: Vocabulary, rng: random.Random) -> LmExample:  # noqa: ARG001 - as every row
    """Rough words, with or without section tags, become a chain and lyrics (``format``)."""
    excerpt = _composed(rng)
    told = excerpt.told(rng)
    rough = _TAG_LINE.sub("", excerpt.lyrics).strip() if rng.random() < UNTAGGED else excerpt.lyrics
    return LmExample(formatting_prompt(v, told, rough), _written(v, excerpt, told, rng))


Direction = Callable[[Sequence[CodedSong], Vocabulary, random.Random], LmExample]
_WORDED: tuple[tuple[Direction, float], ...] = ((plan, 0.4), (understand, 0.25), (write, 0.2), (polish, 0.15))


def _composed(rng: random.Random) -> Excerpt:
    return draw_excerpt(song_text(rng.randrange(COMPOSED_SONGS)), rng)


def _thinned(chain: ChainOfThought, rng: random.Random) -> ChainOfThought:
    """Without some of the fields that a caller may not want."""
    return replace(chain, **{name: "" for name in OPTIONAL_FIELDS if rng.random() < LEFT_OUT})


def _written(v: Vocabulary, excerpt: Excerpt, told: str, rng: random.Random) -> tuple[int, ...]:
    """A chain, lyrics below their heading, the end of the turn."""
    return (*_thought(v, excerpt.chain(told, rng)), *v.text(f"\n# Lyric\n{excerpt.lyrics}\n"), v.end_of_turn)


def _thought(v: Vocabulary, chain: ChainOfThought) -> tuple[int, ...]:
    return (v.control(THINK), *v.text("\n" + write_fields(chain)), v.control(END_THINK))


# --- Vocabulary ---------------------------------------------------------------------------------------------------


def learn_planner_vocabulary(codes: int) -> Tokenizer:
    """The embedded planner's tokens: a byte-level BPE of chains, captions and lyrics, then one per semantic code.

    It is not the text encoder's: in its own words a chain of thought takes a third fewer tokens, and names of fields
    are one token each, so constrained decoding spells them as they were learnt.
    """
    tokenizer = Tokenizer.from_str(learn_vocabulary(VOCABULARY, 0, songs=1).to_str())  # for what it does around BPE
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(VOCABULARY_SONGS), trainer)
    tokenizer.add_special_tokens([AddedToken(AUDIO_CODE.format(code), normalized=False) for code in range(codes)])
    return tokenizer


def _texts(songs: int) -> Iterator[str]:
    for seed in range(songs):
        song = song_text(seed)
        excerpt = Excerpt(song, int(song.record.duration))
        yield "\n" + write_fields(excerpt.chain("", random.Random(seed)))
        yield from (f"# Caption\n{caption}\n\n# Lyric\n{excerpt.lyrics}\n" for caption in song.record.captions[::4])
