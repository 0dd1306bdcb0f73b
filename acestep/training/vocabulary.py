"""The embedded family's own small vocabulary: a byte-level BPE for captions and lyrics, learned from text made here.

In: a seed. Out: a ``tokenizers.Tokenizer`` with the end marker and chat markers of the published one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from acestep.conditioning.prompt import lyric_prompt, text_prompt
from acestep.conditioning.text import END_OF_TEXT
from acestep.constants import BPM_MAX, BPM_MIN, KEYSCALES, LANGUAGES, TIME_SIGNATURES, TRACK_NAMES
from acestep.planner.plan import Metadata, Plan
from acestep.tasks import TASKS, instruction_for
from acestep.training.sizes import VOCABULARY

SEED = 0
SPECIAL_TOKENS = (END_OF_TEXT, "<|im_start|>", "<|im_end|>", "<think>", "</think>")
_STYLES = (
    "pop rock jazz blues folk country funk soul disco house techno trance ambient classical orchestral cinematic "
    "reggae latin bossa-nova metal punk indie lo-fi hip-hop trap r&b gospel synthwave electronic dance waltz swing"
).split()
_MOODS = (
    "upbeat calm melancholic energetic dreamy dark bright warm driving gentle epic playful romantic nostalgic "
    "mysterious triumphant relaxed tense hopeful soft powerful emotional intimate spacious heavy catchy"
).split()
_SOUNDS = (
    "piano|acoustic guitar|electric guitar|upright bass|synth bass|brush drums|drum machine|strings|brass fanfare|"
    "saxophone|flute|choir|female vocal|male vocal|synth pads|arpeggios|hand percussion|organ|808 kick|hi-hats"
).split("|")
_WORDS = (
    "love night light dream heart time road home fire rain sun moon stars dance world river wind morning shadow "
    "you me we are the a in on of and to is my your away again never always tonight forever hold run fly feel"
).split()
_SECTIONS = ("Intro", "Verse 1", "Verse 2", "Chorus", "Bridge", "Outro", "Instrumental")


def learn_vocabulary(size: int, seed: int, songs: int = 4000) -> Tokenizer:
    """A byte-level BPE of ``size`` entries; every string can be spelled with it.

    Digits stay single and text is brought to NFC, as in the published vocabulary.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_prompts(random.Random(seed), songs), trainer)
    return tokenizer


def text_vocabulary() -> Tokenizer:
    """That of the embedded text encoder; learnt again it is the same."""
    return learn_vocabulary(VOCABULARY, SEED)


def _prompts(rng: random.Random, songs: int) -> Iterator[str]:
    for _ in range(songs):
        plan = Plan(_caption(rng), _lyrics(rng), _metadata(rng))
        task = rng.choice(list(TASKS.values()))
        yield text_prompt(plan, instruction_for(task, tracks=(rng.choice(TRACK_NAMES),)))
        yield lyric_prompt(plan)


def _caption(rng: random.Random) -> str:
    moods, sounds = rng.sample(_MOODS, 2), rng.sample(_SOUNDS, 2)
    return f"{moods[0]} and {moods[1]} {rng.choice(_STYLES)} music with {sounds[0]} and {sounds[1]}"


def _lyrics(rng: random.Random) -> str:
    lines = [" ".join(rng.choices(_WORDS, k=rng.randint(4, 8))).capitalize() for _ in range(6)]
    return (
        f"[{rng.choice(_SECTIONS)}]\n"
        + "\n".join(lines[:3])
        + f"\n\n[{rng.choice(_SECTIONS)}]\n"
        + "\n".join(lines[3:])
    )


def _metadata(rng: random.Random) -> Metadata:
    return Metadata(
        bpm=rng.randint(BPM_MIN, BPM_MAX),
        keyscale=rng.choice(KEYSCALES),
        timesignature=rng.choice(TIME_SIGNATURES),
        duration=rng.randint(10, 600),
        language=rng.choice(LANGUAGES),
    )
