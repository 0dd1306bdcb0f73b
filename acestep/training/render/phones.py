"""Speech sounds: a table of phones with what the vocal tract does for each, and rules from letters to phones.

In: the letters of one sung syllable, in any script. Out: its ``Phone`` rows. Refuses to know time, pitch and audio.

The rules make a plausible sound of any spelling, not a correct one of any language. Vowel formants: Peterson and
Barney, "Control methods used in a study of the vowels" (JASA 24, 1952), averages of men; consonant loci are rounded.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phone:
    """What the voice does during a sound.

    Attributes:
        formants_hz: first three resonances of a man's vocal tract.
        voice, breath, noise: amplitudes, 0 to 1, of the vocal cords, of breath through the same resonances, and of
            friction at the lips and teeth.
        noise_hz, noise_octaves: centre and width of that friction.
        seconds: how long it lasts; 0, a vowel, lasts as long as the note lets it.
    """

    formants_hz: tuple[float, float, float]
    voice: float = 1.0
    breath: float = 0.0
    noise: float = 0.0
    noise_hz: float = 2000.0
    noise_octaves: float = 1.0
    seconds: float = 0.0

    @property
    def is_vowel(self) -> bool:
        """True for the sounds a note can be held on."""
        return self.seconds == 0.0


_LIPS, _TEETH, _PALATE, _THROAT = (300, 900, 2300), (300, 1750, 2600), (280, 2150, 2900), (350, 1500, 2400)

PHONES: dict[str, Phone] = {
    "i": Phone((270, 2290, 3010)),
    "I": Phone((390, 1990, 2550)),
    "e": Phone((420, 2060, 2560)),
    "E": Phone((530, 1840, 2480)),
    "A": Phone((660, 1720, 2410)),
    "a": Phone((730, 1090, 2440)),
    "V": Phone((640, 1190, 2390)),
    "O": Phone((570, 840, 2410)),
    "o": Phone((450, 830, 2380)),
    "U": Phone((440, 1020, 2240)),
    "u": Phone((300, 870, 2240)),
    "R": Phone((490, 1350, 1690)),
    "y": Phone((280, 1850, 2200)),
    "2": Phone((410, 1550, 2250)),
    "p": Phone(_LIPS, voice=0.0, breath=0.25, noise=0.4, noise_hz=900, noise_octaves=1.2, seconds=0.05),
    "b": Phone(_LIPS, voice=0.4, noise=0.15, noise_hz=800, noise_octaves=1.2, seconds=0.045),
    "t": Phone(_TEETH, voice=0.0, breath=0.15, noise=0.5, noise_hz=4500, noise_octaves=0.8, seconds=0.05),
    "d": Phone(_TEETH, voice=0.4, noise=0.2, noise_hz=4000, noise_octaves=0.8, seconds=0.045),
    "k": Phone(_PALATE, voice=0.0, breath=0.25, noise=0.45, noise_hz=1900, noise_octaves=0.6, seconds=0.055),
    "g": Phone(_PALATE, voice=0.4, noise=0.2, noise_hz=1800, noise_octaves=0.6, seconds=0.045),
    "f": Phone(_LIPS, voice=0.0, noise=0.3, noise_hz=6000, noise_octaves=1.6, seconds=0.08),
    "v": Phone(_LIPS, voice=0.45, noise=0.12, noise_hz=5500, noise_octaves=1.6, seconds=0.06),
    "s": Phone(_TEETH, voice=0.0, noise=0.55, noise_hz=7200, noise_octaves=0.45, seconds=0.09),
    "z": Phone(_TEETH, voice=0.4, noise=0.3, noise_hz=7000, noise_octaves=0.45, seconds=0.07),
    "S": Phone(_PALATE, voice=0.0, noise=0.6, noise_hz=3300, noise_octaves=0.6, seconds=0.09),
    "Z": Phone(_PALATE, voice=0.4, noise=0.35, noise_hz=3100, noise_octaves=0.6, seconds=0.07),
    "T": Phone(_TEETH, voice=0.3, noise=0.3, noise_hz=6000, noise_octaves=1.2, seconds=0.06),
    "C": Phone(_PALATE, voice=0.0, breath=0.1, noise=0.6, noise_hz=3600, noise_octaves=0.7, seconds=0.075),
    "J": Phone(_PALATE, voice=0.35, noise=0.35, noise_hz=3300, noise_octaves=0.7, seconds=0.065),
    "h": Phone(_THROAT, voice=0.0, breath=0.5, seconds=0.06),
    "x": Phone(_PALATE, voice=0.0, breath=0.2, noise=0.35, noise_hz=1600, noise_octaves=0.8, seconds=0.07),
    "m": Phone((250, 1000, 2200), voice=0.5, seconds=0.07),
    "n": Phone((250, 1500, 2500), voice=0.5, seconds=0.06),
    "N": Phone((250, 1900, 2600), voice=0.5, seconds=0.07),
    "l": Phone((340, 1150, 2700), voice=0.7, seconds=0.06),
    "r": Phone((400, 1250, 1650), voice=0.7, seconds=0.06),
    "w": Phone((290, 700, 2300), voice=0.7, seconds=0.06),
    "j": Phone((270, 2200, 3000), voice=0.7, seconds=0.06),
}

# letters -> phones, each a name of the table above; the longest entry that fits is taken.
SPELLINGS: dict[str, str] = {
    "tion": "Sun", "ough": "o", "eigh": "eI", "igh": "aI", "tch": "C", "sch": "S", "dge": "J",
    "ch": "C", "sh": "S", "th": "T", "ph": "f", "wh": "w", "gh": "g", "ck": "k", "qu": "kw", "ng": "N", "nk": "Nk",
    "zh": "Z", "kh": "x", "ts": "ts", "ee": "i", "ea": "i", "ie": "i", "oo": "u", "ou": "u", "ow": "aU", "au": "aU",
    "aw": "O", "ai": "aI", "ay": "eI", "ei": "eI", "ey": "eI", "oa": "oU", "oi": "OI", "oy": "OI", "ew": "ju",
    "er": "R", "ir": "R", "ur": "R", "ce": "sE", "ci": "si", "cy": "si", "ya": "ja", "ye": "jE", "yo": "jo",
    "yu": "ju", "yi": "ji",
    "a": "a", "b": "b", "c": "k", "d": "d", "e": "E", "f": "f", "g": "g", "h": "h", "i": "i", "j": "J", "k": "k",
    "l": "l", "m": "m", "n": "n", "o": "O", "p": "p", "q": "k", "r": "r", "s": "s", "t": "t", "u": "u", "v": "v",
    "w": "w", "x": "ks", "y": "i", "z": "z",
    "ä": "E", "ö": "2", "ü": "y", "ñ": "nj", "ç": "s", "å": "o", "ø": "2", "æ": "A", "œ": "2", "ß": "s", "ş": "S",
    "š": "S", "ž": "Z", "č": "C", "ć": "C", "ğ": "", "ı": "U", "ł": "w", "đ": "d", "ð": "T", "þ": "T",
}  # fmt: skip
_CYRILLIC = "a b v g d E Z z i j k l m n O p r s t u f x ts C S SC  U  E ju ja".split(" ")
SPELLINGS |= dict(zip("абвгдежзийклмнопрстуфхцчшщъыьэюя", _CYRILLIC, strict=True))
SPELLINGS |= {"ё": "jo", "і": "i", "ї": "ji", "є": "jE", "ґ": "g", "ј": "j", "љ": "l", "њ": "n", "ћ": "C", "ђ": "J"}
SPELLINGS |= dict(
    zip("αβγδεζηθικλμνξοπρσςτυφχψω", "a v g T E z i T i k l m n ks O p r s s t i f x ps O".split(), strict=True)
)
LONGEST_SPELLING = max(map(len, SPELLINGS))
OPEN_VOWEL = PHONES["a"]
SILENT_FINAL = "e"
_STARTS, _VOWELS = "ptkbdgmnlrsfhjwz", "aeiou"  # what an ideograph is given


@dataclass(frozen=True, slots=True)
class SyllableSound:
    """The phones of a syllable: consonants before the vowels, one vowel or a glide between two, consonants after."""

    onset: tuple[Phone, ...]
    nucleus: tuple[Phone, ...]
    coda: tuple[Phone, ...]


def pronounce(text: str) -> SyllableSound:
    """How the syllable is sung. Consonants alone get an open vowel; so does a text without any letter."""
    phones = _phones(_letters(text))
    vowels = [index for index, phone in enumerate(phones) if phone.is_vowel]
    if not vowels:
        return SyllableSound(phones, (OPEN_VOWEL,), ())
    first, last = vowels[0], vowels[-1]
    nucleus = tuple(phones[index] for index in dict.fromkeys((first, last)))
    return SyllableSound(phones[:first], nucleus, phones[last + 1 :])


def _letters(text: str) -> str:
    """Lower-case letters that ``SPELLINGS`` has, accents it does not have taken off, other scripts written in it."""
    spelled = "".join(_romanised(letter) for letter in unicodedata.normalize("NFC", text.lower()))
    silent = len(spelled) > 2 and spelled.endswith(SILENT_FINAL) and any(vowel in spelled[:-2] for vowel in "aeiouy")
    return spelled[:-1] if silent else spelled


def _romanised(letter: str) -> str:
    """The letter itself, or without its accent, or its Unicode name (the name of KA in kana ends with ``KA``)."""
    if letter in SPELLINGS:
        return letter
    plain = unicodedata.normalize("NFKD", letter)[0]
    if plain in SPELLINGS:
        return plain
    if not letter.isalpha():
        return ""
    name = unicodedata.name(letter, "").rpartition(" ")[2].lower()
    if name.isascii() and name.isalpha():
        return name
    row, column = divmod(ord(letter), len(_VOWELS))
    return _STARTS[row % len(_STARTS)] + _VOWELS[column]


def _phones(letters: str) -> tuple[Phone, ...]:
    phones: list[Phone] = []
    position = 0
    while position < len(letters):
        for length in range(LONGEST_SPELLING, 0, -1):
            spelling = letters[position : position + length]
            if spelling in SPELLINGS:
                break
        phones += [PHONES[name] for name in SPELLINGS[spelling]]
        position += len(spelling)
    return tuple(phones)
