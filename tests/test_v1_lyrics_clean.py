"""A line in the spelling of its language: the published examples, every table of words, and where they have gaps."""

from __future__ import annotations

import pytest

from acestep.v1.lyrics.abbreviations import ABBREVIATIONS
from acestep.v1.lyrics.clean import clean
from acestep.v1.lyrics.languages import SUPPORTED
from acestep.v1.lyrics.symbols import SIGNS, WORDS

from v1_lyrics_support import UPSTREAM


@pytest.mark.parametrize(("line", "counts", "language", "cleaned"), UPSTREAM)
def test_lines_are_spelled_as_published(line: str, counts: dict[str, int], language: str, cleaned: str) -> None:
    assert clean(line, language) == cleaned


@pytest.mark.parametrize(
    ("line", "language", "cleaned"),
    [
        # letters, quotes, spaces
        ('  Say "Hi"\t  to ME ', "en", "say hi to me"),
        ("GİTME Öyle ÜZGÜN", "tr", "gitme öyle üzgün"),
        ("नमस्ते   OK 5 & 6", "hi", "नमस्ते ok 5 & 6"),
        # money, of which round amounts have no hundredths
        (
            "for £3.50, $1,200 or 5€",
            "en",
            "for three pounds sterling, fifty pence, one thousand, two hundred dollars or five euro",
        ),
        ("Cuesta 20€ y $1.000,50", "es", "cuesta veinte euros y mil dólares con cincuenta centavos"),
        ("20€", "fr", "vingt euros"),
        ("$21", "pt", "vinte e um dólares"),
        ("£20", "it", "venti sterline"),
        ("$20", "pl", "dwadzieścia dolarów amerykańskich"),
        ("20€", "nl", "twintig euro"),
        ("$20", "ru", "двадцать долларов"),
        # money in currencies the library does not know: number and sign for themselves
        ("£20", "ru", "фунт двадцать"),
        ("$20", "tr", "dolar yirmi"),
        ("$20", "cs", "dolar dvacet"),
        # thousands, decimals, ordinals
        ("1,000,000 nights", "en", "one million nights"),
        ("1.000 noches y 2,5 más", "es", "mil noches y dos punto cinco más"),
        ("On the 1st and 22nd", "en", "on the first and twenty-second"),
        ("der 3. tag, die 4. nacht", "de", "der dritte tag, die vierte nacht"),
        ("la 2ª vez", "es", "la segundo vez"),
        ("le 1er jour", "fr", "le premier jour"),
        ("2-й день", "ru", "второй день"),
        ("20 let, 5. den", "cs", "dvacet let, pět. den"),
        ("de 3de dag", "nl", "de derde dag"),
        ("3,5 yıl", "tr", "üç,beş yıl"),
        ("5. sor", "hu", "ötödik sor"),
        ("3번째 밤", "ko", "se beon-jjae bam"),
        # what num2words has no words for stays in digits, or is read in parts
        ("1234567890123 stars", "en", "1234567890123 stars"),
        ("0th", "pl", "zeroth"),
        ("100번째", "ko", "baegbeon-jjae"),
        ("1,2345", "hu", "egy,kétezer-háromszáznegyvenöt"),
        ("0,00001", "it", "zero,uno"),
        ("1.2.3$", "en", "one point two.three dollar"),
        # abbreviations and signs
        ("Mrs. and MR. Dr.", "en", "misess and mister doctor"),
        ("Г-н и г-жа", "ru", "господин и госпожа"),
        ("Dhr. Jansen", "nl", "de heer jansen"),
        ("you&me @ 90° #1", "en", "you and me at ninety degree hash one"),
        ("100%", "es", "cien por ciento"),
        ("너&나", "ko", "neo geuligo na"),
        # Japanese is romaji and nothing else
        ("「夢」を見た 2024年", "ja", '"yume" wo mita 2024 nen'),
        ("ラブソング", "ja", "love song"),
    ],
)
def test_spelling(line: str, language: str, cleaned: str) -> None:
    assert clean(line, language) == cleaned


@pytest.mark.parametrize("language", sorted(WORDS))
def test_every_sign_has_a_word_in_every_language(language: str) -> None:
    assert len(WORDS[language]) == len(SIGNS)
    assert WORDS.keys() == SUPPORTED - {"ja", "hi"}
    if language not in {"zh", "ko"}:  # the one takes signs for punctuation, the other is romanised
        said = clean("x".join(SIGNS), language)
        assert said == " x ".join(WORDS[language])


@pytest.mark.parametrize("language", sorted(ABBREVIATIONS))
def test_every_abbreviation_is_a_word_of_its_own(language: str) -> None:
    assert ABBREVIATIONS.keys() <= SUPPORTED
    dot = "" if language == "ru" else "."
    for pair in ABBREVIATIONS[language].split():
        short, word = pair.split("=")
        assert clean(f"x {short.upper()}{dot} y", language) == f"x {word.replace('_', ' ')} y"
        assert clean(f"x z{short}{dot}", language) == f"x z{short}{dot}"


@pytest.mark.parametrize("language", sorted(SUPPORTED))
def test_empty_and_plain_lines_stay(language: str) -> None:
    assert clean("", language) == ""
    assert clean("la", language) == "la"
