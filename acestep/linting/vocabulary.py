"""Words of music in English, by what they tell: instruments by family, styles by family, the dimensions of a caption.

Pure data, and how to look it up. Captions are mostly English; words of other languages are not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType


def any_of(words: str, before: str = r"\b", after: str = r"\b") -> re.Pattern[str]:
    """Matches any of the words of a list separated by spaces; ``_`` is a space or hyphen, words may be patterns."""
    return re.compile(rf"{before}(?:{'|'.join(words.split()).replace('_', '[- ]?')}){after}", re.IGNORECASE)


INSTRUMENTS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "guitar": any_of("guitars? guitarra riffs? strum(?:s|med|ming)? fingerpick(?:ed|ing)? power_chords? ukulele"),
        "bass": any_of("bass(?:line|lines|es)? sub_bass 808s? contrabass"),
        "piano": any_of("pianos? pianist keyboards? keys rhodes wurlitzer clavinet harpsichord celesta toy_piano"),
        "organ": any_of("organs? hammond harmonium"),
        "accordion": any_of("accordions? bandone[oó]n concertina melodica"),
        "synth": any_of("synth(?:s|esi[sz]ers?|esi[sz]ed)? arpeggiators? pads? moog chiptune 8_bit theremin vocoder"),
        "strings": any_of("strings? violins? fiddles? violas? cellos? cellist string_quartet erhu kemenche"),
        "brass": any_of("brass(?:y)? trumpets? trombones? horns? tubas? flugelhorn cornet fanfares?"),
        "saxophone": any_of("sax(?:es)? saxophones?"),
        "woodwinds": any_of(
            "wood_?winds? flutes? clarinets? oboes? bassoons? piccolo recorders? (?:tin|penny)_whistle pan_?pipes? "
            "shakuhachi dizi xiao ney bansuri duduk pan_flute"
        ),
        "harmonica": any_of("harmonicas? blues_harp"),
        "bagpipes": any_of("bag_?pipes? uilleann_pipes"),
        "drums": any_of(
            "drums? drum_kit drum_machine drumming drummer percussion percussive snares? kicks? hi_hats? cymbals? "
            "breakbeats? beats? tablas? congas? bongos? djembe cajon taiko timpani tambourine shakers? handclaps? "
            "finger_snaps? dhol darbuka castanets claves cowbell surdo"
        ),
        "plucked": any_of(
            "harps? lutes? banjos? mandolins? bouzouki balalaika sitar sarod oud kora koto shamisen guzheng guqin "
            "pipa zithers? dulcimer kalimba mbira saz tanbur setar santoor"
        ),
        "mallets": any_of(
            "vibraphone marimba xylophone glockenspiel bells? chimes music_box steel_?pans? steel_drums? handpan "
            "gamelan balafon"
        ),
    }
)
ENSEMBLES = any_of(
    "orchestras? orchestral orchestration symphon(?:y|ic) philharmonic big_band full_band ensemble cinematic band"
)
# What plays in a style without being named.
IMPLIED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        r"rock|metal\w*|punk|grunge|shoegaze|emo|blues|country|americana|surf|indie|folk|bluegrass|flamenco"
        r"|bossa nova|rockabilly|djent": ("guitar", "bass", "drums"),
        r"jazz|swing|bebop|ska|big band": ("saxophone", "brass", "piano", "drums", "bass", "guitar"),
        r"funk|soul|motown|disco|afrobeat|latin|salsa|r&b|reggae": (
            "guitar",
            "bass",
            "drums",
            "brass",
            "saxophone",
            "organ",
        ),
        r"edm|techno|house|trance|synthwave|electro\w*|synth-?pop|hyperpop|dubstep|trap|hip-?hop|drum and bass": (
            "synth",
            "drums",
            "bass",
        ),
    }
)
STYLES: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "classical": any_of(
            "classical(?!_guitar) baroque chamber_music string_quartet opera sonata fugue waltz romantic_era"
        ),
        "metal": any_of("(?:\\w+_)?metal metalcore deathcore djent grindcore thrash hardcore screamo"),
        "punk": any_of("(?:\\w+_)?punk"),
        "rock": any_of("rock rockabilly grunge shoegaze britpop indie emo"),
        "jazz": any_of("jazz(?:y)? swing bebop bossa_nova big_band dixieland"),
        "blues": any_of("blues(?:y)?"),
        "country": any_of("country bluegrass americana honky_tonk"),
        "folk": any_of("folk singer_songwriter celtic klezmer fado flamenco schlager chanson acoustic_ballad"),
        "hip hop": any_of("hip_?hop rap trap drill boom_bap grime lo_fi_beats"),
        "r&b": any_of("r&b rnb soul neo_soul motown funk disco gospel rhythm_and_blues"),
        "electronic": any_of(
            "electronic(?:a)? edm techno house trance dubstep drum_and_bass dnb synthwave vaporwave hardstyle gabber "
            "electro(?:_\\w+)? hyperpop chillwave downtempo idm glitch ambient synth_pop future_bass hip_house"
        ),
        "pop": any_of("(?:[cjk]_)?pop(?!_of) mandopop cantopop city_pop power_ballad ballads? enka"),
        "reggae": any_of("reggae ska dub dancehall reggaeton soca"),
        "latin": any_of("latin salsa samba bachata cumbia tango merengue mariachi bolero forr[oó] sertanejo mpb"),
        "world": any_of(
            "afrobeats? highlife amapiano qawwali ghazal bollywood bhangra filmi raga? gamelan gu_?feng arabesque "
            "ra[iï] fado taarab kizomba zouk kompa dangdut luk_thung opm carnatic"
        ),
        "score": any_of(
            "cinematic soundtrack score trailer orchestral new_age lullab(?:y|ies) anthem hymn march musical"
        ),
    }
)
DIMENSIONS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "mood": any_of(
            "sad(?:ness)? happy joy(?:ful|ous)? melanchol(?:y|ic) uplifting energetic energy dream(?:y|like) dark "
            "nostalgi(?:c|a) euphoric intimate romantic love lov(?:ing|ely) tender hopeful bittersweet angry "
            "aggressive rebellious "
            "calm peaceful serene relax(?:ed|ing) playful quirky cheerful triumphant epic heartfelt emotional moody "
            "mysterious haunting tense ominous lonely longing wistful mellow chill cozy sensual festive celebratory "
            "contemplative reflective introspective meditative sentimental soulful passionate confident defiant "
            "summer(?:y)? night(?:time)? rainy sunset gentle quiet solemn sacred majestic heroic somber mournful warm"
        ),
        "timbre": any_of(
            "warm bright crisp muddy airy punchy lush raw polished gritty smooth soft dry wet fuzzy distorted clean "
            "shimmering glassy mellow thick deep hazy dusty velvety silky sparse dense spacious reverb(?:_\\w+)? "
            "saturated crunchy ethereal hypnotic brushed muted overdriven"
        ),
        "era": any_of(
            "(?:19|20)?[2-9]0s vintage retro modern contemporary classic old_school medieval renaissance futuristic"
        ),
        "production": any_of(
            "lo_fi hi_fi high_fidelity live_recording live studio(?:_\\w+)? bedroom home_recorded tape vinyl "
            "analog(?:ue)? auto_tune(?:d)? sidechain(?:ed)? layered stripped_(?:back|down) unplugged acoustic "
            "minimal(?:ist)? mono"
        ),
        "voice": any_of(
            "vocals? vocalists? singers? sings singing sung voices? falsetto choir choral rapper raps? rapping duet "
            "whisper(?:s|ed)? breathy raspy belt(?:ed|ing) soprano tenor baritone alto crooner spoken_word harmonies "
            "humming a_cappella instrumental"
        ),
        "rhythm": any_of(
            "slow fast mid_tempo up_?tempo down_?tempo groov(?:e|y) driving laid_back swung shuffle "
            "four_on_the_floor syncopated danceable upbeat steady half_time double_time waltz pulsing offbeat "
            "bouncy relentless"
        ),
        "structure": any_of(
            "intro verses? chorus(?:es)? bridge outro drops? build(?:s|ing)?(?:_up)? breakdown fades? fade_out "
            "hooks? riff solos? crescendo(?:s)? ending opens climax"
        ),
    }
)
EVOLUTION = any_of(  # words that put things one after the other
    "start(?:s|ing)? begin(?:s|ning)? open(?:s|ing)? then before after middle end(?:s|ing)? final(?:ly|e)? later "
    "builds? building becom(?:es|ing) turn(?:s|ing)? transition(?:s|ing)? shift(?:s|ing)? switch(?:es|ing)? "
    "evolv(?:es|ing) "
    "morph(?:s|ing)? into first intro outro verses? chorus(?:es)? bridge drops? sections? alternat(?:es|ing) until "
    "erupt(?:s|ing)? giv(?:es|ing)_way contrast(?:s|ing|ed)? next"
)


def families(text: str) -> frozenset[str]:
    """Families of the instruments that a text names."""
    return frozenset(family for family, words in INSTRUMENTS.items() if words.search(text))


def implied_families(text: str) -> frozenset[str]:
    """Families that the styles and ensembles of a text bring along; an ensemble brings all."""
    if ENSEMBLES.search(text):
        return frozenset(INSTRUMENTS)
    rows = (brought for styles, brought in IMPLIED.items() if re.search(rf"\b(?:{styles})\b", text, re.IGNORECASE))
    return frozenset(family for brought in rows for family in brought)


def styles(text: str) -> tuple[str, ...]:
    """Families of the styles that a text names, in the order of the table."""
    return tuple(family for family, words in STYLES.items() if words.search(text))


def dimensions(text: str) -> tuple[str, ...]:
    """Which sides of music a text speaks of: style, instruments, and the rows of ``DIMENSIONS``."""
    named = (("style", bool(styles(text))), ("instruments", bool(families(text))))
    return tuple(name for name, is_named in named if is_named) + tuple(
        name for name, words in DIMENSIONS.items() if words.search(text)
    )
