"""What a person might write to get a song: true words about a ``Score``, in three registers.

In: a score, a register, random numbers. Out: a caption. It says that there are drums exactly when there are, and
names no instrument that does not play. Refuses to know notes beyond that, and audio.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from acestep.errors import InputError
from acestep.training.compose.instruments import names_of
from acestep.training.compose.styles import STYLES
from acestep.training.compose.theory import parse_key
from acestep.training.compose.wording import (
    HELD_OUT,
    LANGUAGE_NAMES,
    METER_NAMES,
    MOODS,
    TEMPOS,
    TRAINING,
    Wording,
)
from acestep.training.score import Part, Score

Register = Literal["tags", "sentence", "vague"]
REGISTERS: tuple[Register, ...] = get_args(Register)

SLOW_BELOW, FAST_FROM = 85, 120  # quarter notes per minute
_ALWAYS_SAID = frozenset({"drums", "vocals"})
_OTHERS_MAX = 4  # instruments named besides those
_EXTRAS_MAX = 2  # sentences after the first
_DRUMLESS_SAID = 0.4  # chance that the absence of drums is mentioned
_EXTRA_CHANCE = 0.2  # of any other further sentence
_RATTLING = frozenset({"drums", "percussion"})
_SINGING = frozenset({"vocals", "backing_vocals"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true of a song, in words.

    Attributes:
        genre, mood, second_mood, tempo, bpm, key, meter, language: phrases.
        pace: ``slow``, ``moderate`` or ``fast``.
        band: instruments to name, in order; ``plain_band`` their shortest names.
        drums: drums play.
        drumless: neither drums nor hand percussion play.
        sung: somebody sings words; ``instrumental`` no voice is heard at all.
        fades: the song fades out.
    """

    genre: str
    mood: str
    second_mood: str
    tempo: str
    bpm: str
    key: str
    meter: str
    language: str
    pace: str
    band: tuple[str, ...]
    plain_band: tuple[str, ...]
    drums: bool
    drumless: bool
    sung: bool
    instrumental: bool
    fades: bool


def caption(score: Score, register: Register, rng: random.Random, *, held_out: bool = False) -> str:
    """A caption of a song.

    Args:
        register: ``tags`` a comma list, ``sentence`` one to three sentences, ``vague`` a short query.
        held_out: use the wording kept for evaluation, none of which training captions ever use.

    Raises:
        InputError: no such register.
    """
    if register not in _WRITERS:
        raise InputError.unknown("register", register, REGISTERS)
    return _WRITERS[register](facts_of(score, rng), HELD_OUT if held_out else TRAINING, rng)


def pace_of(score: Score) -> str:
    """How fast a song feels; a dotted quarter counts as one and a half."""
    quarters = score.bpm * (1.5 if score.timesignature == "6" else 1.0)
    return "slow" if quarters < SLOW_BELOW else "moderate" if quarters < FAST_FROM else "fast"


def facts_of(score: Score, rng: random.Random) -> Facts:
    """The facts of a song, each in one of its possible words."""
    style, pace, tracks = STYLES[score.style], pace_of(score), set(score.tracks)
    mood, second_mood = rng.sample(MOODS[parse_key(score.keyscale).minor, pace], 2)
    named = _named_parts(score.parts, rng)
    return Facts(
        genre=rng.choice(style.labels) if score.timesignature in style.meters else style.genre,
        mood=mood,
        second_mood=second_mood,
        tempo=rng.choice(TEMPOS[pace]),
        bpm=str(score.bpm),
        key=score.keyscale,
        meter=METER_NAMES[score.timesignature],
        language=LANGUAGE_NAMES.get(score.language, ""),
        pace=pace,
        band=_distinct(rng.choice(names_of(part)) for part in named),
        plain_band=_distinct(names_of(part)[0] for part in named),
        drums="drums" in tracks,
        drumless=not tracks & _RATTLING,
        sung="vocals" in tracks,
        instrumental=not tracks & _SINGING,
        fades=score.fade_out_s > 0,
    )


def _named_parts(parts: Sequence[Part], rng: random.Random) -> list[Part]:
    """Drums and vocals always, some of the others, in the order they play."""
    others = [part for part in parts if part.track not in _ALWAYS_SAID]
    kept = rng.sample(others, min(len(others), rng.randint(1, _OTHERS_MAX)))
    return [part for part in parts if part.track in _ALWAYS_SAID or part in kept]


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _tags(facts: Facts, wording: Wording, rng: random.Random) -> str:
    order = rng.choice(wording.tags).split()
    words: list[str] = []
    for slot in order:
        words += _tag(facts, slot, words)
    if facts.drumless and rng.random() < _DRUMLESS_SAID:
        words.append(rng.choice(("no drums", "drumless")))
    if facts.instrumental and rng.random() < _DRUMLESS_SAID:
        words.append("instrumental")
    return ", ".join(words)


def _tag(facts: Facts, slot: str, before: Sequence[str]) -> tuple[str, ...]:
    """What a slot of a comma list adds to the words before it."""
    if slot == "band":
        return facts.plain_band
    if slot == "mood":
        return (facts.second_mood if facts.mood in before else facts.mood,)
    return (
        {"genre": facts.genre, "tempo": f"{facts.tempo} tempo", "bpm": f"{facts.bpm} bpm", "key": facts.key}[slot],
    )


def _sentence(facts: Facts, wording: Wording, rng: random.Random) -> str:
    sentences = [rng.choice(wording.sentences), *_extras(facts, wording, rng)[:_EXTRAS_MAX]]
    return " ".join(_filled(sentence, facts) for sentence in sentences)


def _extras(facts: Facts, wording: Wording, rng: random.Random) -> list[str]:
    """Further sentences that are true, what is missing first."""
    offered = (
        (wording.drumless, facts.drumless, _DRUMLESS_SAID),
        (wording.instrumental, facts.instrumental, _EXTRA_CHANCE),
        (wording.sung, facts.sung, _EXTRA_CHANCE),
        (wording.fades, facts.fades, _EXTRA_CHANCE),
        (wording.holds, not facts.fades, _EXTRA_CHANCE),
        (wording.metre, True, _EXTRA_CHANCE),
        (wording.number, True, _EXTRA_CHANCE),
    )
    return [rng.choice(sentences) for sentences, true, chance in offered if true and rng.random() < chance]


def _vague(facts: Facts, wording: Wording, rng: random.Random) -> str:
    drums = ""
    if facts.drums:
        drums = rng.choice(wording.drum_clauses)
    elif facts.drumless and rng.random() < _DRUMLESS_SAID:
        drums = rng.choice(wording.drumless_clauses)
    return _filled(rng.choice(wording.vague), facts, drums=drums, occasion=rng.choice(wording.occasions[facts.pace]))


def _filled(template: str, facts: Facts, **more: str) -> str:
    """A template with every slot said; slots with a capital start a sentence."""
    slots = {name: getattr(facts, name) for name in ("genre", "mood", "tempo", "bpm", "key", "meter", "language")}
    slots["band"] = _listed(facts.band)
    slots |= {f"a_{name}": _with_article(slots[name]) for name in ("genre", "mood", "tempo")}
    slots |= {name[0].upper() + name[1:]: text[:1].upper() + text[1:] for name, text in slots.items()}
    return template.format(**slots, **more)


def _listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _with_article(phrase: str) -> str:
    return f"{'an' if phrase[0].lower() in 'aeiou' else 'a'} {phrase}"


_WRITERS = {"tags": _tags, "sentence": _sentence, "vague": _vague}
