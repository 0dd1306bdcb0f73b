"""The wording of captions: two disjoint sets of sentences, one to train on and one to evaluate with.

Slots: ``genre mood band tempo bpm key meter language occasion drums`` are filled by ``captions``; ``a_genre`` and
``a_mood`` carry their article. No sentence names an instrument: what plays comes in through ``band`` and ``drums``.
In: nothing. Out: tables. Refuses to know scores.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wording:
    """One way of talking about music.

    Attributes:
        tags: orders of the facts in a comma list.
        sentences: the first sentence of a caption.
        vague: short queries; ``drums`` is a clause or nothing.
        drumless: sentences for music without drums.
        drumless_clauses, drum_clauses: what ``drums`` of a vague query says.
        instrumental, sung, fades, holds, metre, number: further sentences, each for songs it is true of.
        occasions: by pace.
    """

    tags: tuple[str, ...]
    sentences: tuple[str, ...]
    vague: tuple[str, ...]
    drumless: tuple[str, ...]
    drumless_clauses: tuple[str, ...]
    drum_clauses: tuple[str, ...]
    instrumental: tuple[str, ...]
    sung: tuple[str, ...]
    fades: tuple[str, ...]
    holds: tuple[str, ...]
    metre: tuple[str, ...]
    number: tuple[str, ...]
    occasions: dict[str, tuple[str, ...]]


TRAINING = Wording(
    tags=(
        "genre mood band tempo",
        "genre band mood",
        "mood genre band",
        "mood genre tempo band",
        "genre mood band bpm",
        "genre tempo mood band key",
        "genre band bpm key",
        "genre mood mood band tempo",
    ),
    sentences=(
        "{A_mood} {genre} piece with {band}.",
        "{A_genre} track with {band}, {mood} in mood.",
        "This is {a_mood} {genre} tune at {a_tempo} tempo, with {band}.",
        "{Mood} {genre} built on {band}.",
        "{A_tempo} {genre} piece featuring {band}; the mood is {mood}.",
        "{Band} in {a_mood} {genre} piece.",
        "{Genre} at {a_tempo} pace, carried by {band}.",
        "A recording of {mood} {genre}, led by {band}.",
        "{A_mood}, {tempo} {genre} number with {band}.",
        "{Genre} with {a_mood} feeling: {band}.",
        "You hear {band} in {a_mood} {genre} arrangement.",
        "The music is {genre}, {mood} and {tempo}, and uses {band}.",
        "{A_tempo} and {mood} {genre} track made of {band}.",
        "With {band} setting the tone, this is {mood} {genre}.",
        "In the style of {genre}, {a_mood} piece for {band}.",
        "{A_genre} cut at {a_tempo} tempo. It sounds {mood} and brings in {band}.",
    ),
    vague=(
        "{mood} {genre}{drums}",
        "something {mood} for {occasion}{drums}",
        "play me {a_genre} tune{drums}",
        "I want {mood} music{drums}",
        "{genre} for {occasion}{drums}",
        "make {a_tempo} {genre} track{drums}",
        "a bit of {genre}{drums}, please",
        "music that feels {mood}{drums}",
        "{a_mood} piece{drums} for {occasion}",
        "can you do {a_mood} {genre} thing{drums}?",
    ),
    drumless=(
        "There are no drums.",
        "It is drumless.",
        "It goes without drums.",
        "No drums here.",
    ),
    drumless_clauses=(" without drums", " with no drums", ", no drums"),
    drum_clauses=(" with drums", " with some drums", " with a drum groove"),
    instrumental=("Nobody sings.", "It is instrumental.", "Purely instrumental."),
    sung=("The lyrics are in {language}.", "It is sung in {language}.", "Lead singing in {language}."),
    fades=("It fades out at the end.", "The end fades away."),
    holds=("It ends on a held chord.", "A last long chord closes it."),
    metre=("The time signature is {meter}.", "It moves in {meter} time."),
    number=("The key is {key}.", "It runs at {bpm} bpm.", "{bpm} bpm in {key}."),
    occasions={
        "slow": ("a quiet evening", "falling asleep", "a rainy day", "a lazy morning"),
        "moderate": ("a road trip", "working", "a walk in town", "an afternoon with friends"),
        "fast": ("dancing", "a workout", "a party", "getting up"),
    },
)

HELD_OUT = Wording(
    tags=(
        "band genre mood",
        "tempo mood band genre",
        "genre band tempo key",
        "bpm genre band mood",
        "mood band genre tempo",
    ),
    sentences=(
        "Imagine {mood} {genre} where the sound comes from {band}.",
        "{A_tempo} tempo, {a_mood} atmosphere, and {band}: this is {genre}.",
        "A shared effort by {band}: {mood} {genre}.",
        "The arrangement combines {band} into {mood} {genre}.",
        "{A_genre} composition whose atmosphere is {mood}, scored for {band}.",
        "Its sound rests on {band}, its style is {genre}, its atmosphere {mood}.",
        "Think of {genre} taken at {a_tempo} speed, {mood} throughout, using {band}.",
        "With {band}, this {genre} composition stays {mood} from start to finish.",
    ),
    vague=(
        "give me some {mood} {genre}{drums}",
        "looking for {a_genre} song{drums}",
        "anything {mood}{drums} that suits {occasion}",
        "could I hear {a_mood} {genre} idea{drums}?",
        "need {genre}{drums}, kind of {mood}",
        "{mood} soundtrack to {occasion}{drums}",
    ),
    drumless=(
        "No drums take part.",
        "The whole arrangement is drumless.",
        "All of it happens without drums.",
    ),
    drumless_clauses=(", drumless", " but no drums", " without any drums"),
    drum_clauses=(" featuring drums", " including drums", " plus drums"),
    instrumental=("There is no singer.", "An instrumental from start to finish."),
    sung=("Its words are {language}.", "You will hear {language} lyrics."),
    fades=("Towards the end it gradually disappears.", "It closes with a fade."),
    holds=("The final chord rings on.", "It comes to rest on a sustained chord."),
    metre=("Count it in {meter}.", "Written in {meter}."),
    number=("It stands in {key}.", "The speed is {bpm} beats per minute.", "Around {bpm} bpm, in {key}."),
    occasions={
        "slow": ("a late night", "reading by the window", "a long bath"),
        "moderate": ("cooking dinner", "a train ride", "an open window in spring"),
        "fast": ("running", "a chase", "the last day of school"),
    },
)

# Moods by mode and pace.
MOODS = {
    (False, "slow"): ("gentle", "warm", "tender", "peaceful", "calm"),
    (False, "moderate"): ("cheerful", "sunny", "easygoing", "hopeful", "friendly"),
    (False, "fast"): ("upbeat", "bright", "joyful", "lively", "energetic"),
    (True, "slow"): ("melancholic", "sad", "pensive", "sombre", "lonely"),
    (True, "moderate"): ("moody", "wistful", "brooding", "nostalgic", "mysterious"),
    (True, "fast"): ("dark", "tense", "driving", "restless", "urgent"),
}
TEMPOS = {
    "slow": ("slow", "unhurried", "relaxed"),
    "moderate": ("moderate", "medium", "steady"),
    "fast": ("fast", "quick", "brisk"),
}
METER_NAMES = {"2": "2/4", "3": "3/4", "4": "4/4", "6": "6/8"}
LANGUAGE_NAMES = {
    "en": "English",
    "es": "Spanish",
    "de": "German",
    "fr": "French",
    "it": "Italian",
    "pt": "Portuguese",
    "zh": "Chinese",
    "ja": "Japanese",
}
