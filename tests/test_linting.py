"""What is said of captions, lyrics and metadata: every rule where it applies and where it must not."""

from __future__ import annotations

import argparse
import inspect
import json
import re
import subprocess
import sys
import time
from typing import Any

import pytest

from acestep.cogrun.schema import PROJECT
from acestep.commands.help_with_words import add_lint
from acestep.constants import LANGUAGES
from acestep.errors import InputError
from acestep.linting import HINT, REMARKS_AT_MOST, RULES, WARNING, Finding, lint, remarks
from acestep.linting.findings import QUOTED_AT_MOST, clipped
from acestep.linting.script import read_script
from acestep.linting.settings import signature
from acestep.linting.syllables import count_syllables

FOLK = "warm indie folk with acoustic guitar"
PIECE = "[Intro - ambient]\n[Main Theme - piano]\n[Climax - powerful]\n[Outro - fade out]"
RAPPED = "[Verse]\nI count up every dollar that I never got to hold in my hand\n"
VERSE = "[Verse]\nwalking through the empty streets\ncounting every broken light\n"
ENSEMBLE = "violin solo, classical, intimate chamber music"
ROMANISED = "[Verse]\nsora ni ukabu kumo no kirema ni\n"
SOPRANO = {"caption": "folk with acoustic guitar and female vocal"}

Words = dict[str, Any]
# rule: what it must find, and what looks alike and is fine
CASES: dict[str, tuple[tuple[Words, ...], tuple[Words, ...]]] = {
    "vague-caption": (
        (*({"caption": said} for said in ("a sad song", "pop", "古风", "a happy song for you", "jazz trio")),),
        (
            {"caption": "sad piano ballad with female breathy vocal"},
            {"caption": "in the style of 80s synthwave"},
            {"caption": "温柔的民谣小调，适合午后阳光"},
            {"caption": "скрипка и рояль при свечах"},
            {"caption": ""},
        ),
    ),
    "no-lead": (
        ({"caption": "calm and dreamy music for the night", "instrumental": True},),
        ({"caption": "calm piano for the night", "instrumental": True}, {"caption": "calm and dreamy pop music"}),
    ),
    "conflicting-styles": (
        (
            {"caption": "classical strings and hardcore metal"},
            {"caption": "peaceful and brutal techno"},
            {"caption": "a cappella group with drums"},
            {"caption": "lo-fi beats, high-fidelity sound"},
        ),
        (
            {"caption": "Start with soft strings, middle becomes noisy metal rock, end turns to hip-hop"},
            {"caption": "classical chamber music that turns into hardcore metal"},
            {"caption": "symphonic metal with a classical guitar"},
            {"caption": "a cappella choir, warm and wide"},
        ),
    ),
    "many-styles": (
        ({"caption": "pop, jazz, metal, reggae, techno with saxophone"},),
        (
            {"caption": "country rock, folk rock, southern rock, bluegrass"},
            {"caption": "jazz, then pop, metal, reggae, edm"},
        ),
    ),
    "metadata-in-caption": tuple(
        tuple({"caption": f"funk with slap bass, {said}"} for said in group)
        for group in (
            (
                "120 BPM",
                "at 98 beats per minute",
                "bpm: 110",
                "in A minor",
                "key of F# major",
                "C major",
                "Am",
                "3/4",
                "6/8 feel",
                "three verses, 90 seconds long",
                "A小调",
            ),
            (
                "80s",
                "808 bass",
                "major label sound",
                "a minor mood",
                "8-bit",
                "four-on-the-floor",
                "slow tempo",
                "24/7 party",
            ),
        )
    ),
    "long-caption": (({"caption": "warm " * 120},), ({"caption": "warm " * 90},)),
    "stacked-tags": (
        (
            {"lyrics": "[Chorus - anthemic - stacked harmonies - high energy - powerful - epic]\nwe are here"},
            {"lyrics": "[Chorus - loud - fast - bright]\nwe are here"},
            {"lyrics": "[Verse, soft, slow, sad]\nwe are here"},
            {"lyrics": "[Chorus][loud][fast][bright]\nwe are here"},
            {"lyrics": "[Chorus]\n[loud]\n[fast]\n[bright]\nwe are here"},
            {"lyrics": "[Chorus]\n[loud]\n[fast]\n[bright]\n\nwe are here"},
        ),
        (
            {"lyrics": PIECE},
            {"lyrics": f"{PIECE}\n[Verse]\nwe are here"},
            {"lyrics": f"{VERSE}\n[Outro]\n[soft]\n[slow]\n[fade out]"},
            {"lyrics": "[Chorus]\n[loud]\n[fast]\n[bright]\nwe are here", "instrumental": True},
            {"lyrics": "[Chorus]\n[loud]\n\n[fast]\n[bright]\nwe are here"},
            {"lyrics": "[Chorus - anthemic]\nDreams are burning"},
            {"lyrics": "[Guitar Solo - electric - distorted]"},
            {"lyrics": "[Intro]\n\n[Build]\n\n[Drop]\n\n[Break]\n\n[Outro]"},
            {"lyrics": "[Pre-Chorus]\nwe are here"},
        ),
    ),
    "too-many-tags": (
        ({"lyrics": "\n".join("[Verse]\nla\n[soft]\n[loud]\n" for _ in range(4))},),
        ({"lyrics": VERSE}, {"lyrics": "[Intro]\n\n[Build]\n\n[Drop]\n\n[Break]\n\n[Solo]\n\n[Outro]"}),
    ),
    "brackets": (
        (
            {"lyrics": "[Chorus\nwe are here"},
            {"lyrics": "Chorus]\nwe are here"},
            {"lyrics": "[[Chorus]]\nwe are here"},
            {"lyrics": "[Verse]\nwe are here (together"},
            {"lyrics": "Verse 1:\nwe are here"},
            {"lyrics": "(Chorus)\nwe are here"},
            {"lyrics": "**Bridge**\nwe are here"},
            {"lyrics": "【副歌】\n我们在这里"},
        ),
        (
            {"lyrics": VERSE},
            {"lyrics": "[Chorus]\nWe rise together (together)"},
            {"lyrics": "[Verse]\ncross that bridge with me"},
        ),
    ),
    "tag-beside-words": (
        ({"lyrics": "[Chorus] we are here"},),
        ({"lyrics": VERSE}, {"lyrics": "[zh] ye4 wan3 de5 feng1"}, {"lyrics": "[Chorus][loud]\nwe are here"}),
    ),
    "unknown-tags": (
        ({"lyrics": "[Wibble]\nwe are here"}, {"lyrics": "[]\nwe are here"}, {"lyrics": "[副歌]\n我们在这里"}),
        tuple(
            {"lyrics": f"[{tag}]\nwe are here"}
            for tag in (
                *"Intro,Verse 2,Pre-Chorus,Final Chorus,Bridge,Outro,Build,Drop,Breakdown,Instrumental".split(","),
                *"Guitar Solo,Piano Interlude,Fade Out,Silence,raspy vocal,whispered,falsetto".split(","),
                *"powerful belting,spoken word,harmonies,call and response,ad-lib,high energy,low energy".split(","),
                *"building energy,explosive,melancholic,euphoric,dreamy,aggressive,Main Theme - piano".split(","),
            )
        ),
    ),
    "section-gaps": (
        ({"lyrics": "[Verse 1]\nFirst verse lyrics\n[Chorus]\nChorus lyrics"},),
        (
            {"lyrics": "[Verse 1]\nFirst verse lyrics\n\n[Chorus]\nChorus lyrics"},
            {"lyrics": "[Chorus]\n[anthemic]\nwe are here\n[Synth fades out]"},
            {"lyrics": "[Verse]\nwe are here\n[whispered]\nstill here"},
        ),
    ),
    "no-tags": (
        ({"lyrics": "one line here\ntwo lines here\nthree lines here\nfour lines here"},),
        ({"lyrics": "one line here\ntwo lines here"}, {"lyrics": VERSE}),
    ),
    "syllables": (
        ({"lyrics": "[Verse]\nevery morning I remember the unforgettable melody"}, {"lyrics": "[Verse]\n你好"}),
        ({"lyrics": VERSE}, {"lyrics": "[Verse]\n我站在窗前\n看着外面世界"}, {"lyrics": "[Verse]\nyeah, yeah\nOoh"}),
    ),
    "long-lines": (
        (
            {"lyrics": "[Verse]\n我站在窗前看着外面的世界一切都在改变"},
            {"lyrics": RAPPED},
            {"lyrics": f"[Verse - rap]\nwe are here\n\n{RAPPED}"},
            {"lyrics": RAPPED * 2, "caption": "trapped in a rapid dream"},
            {"lyrics": RAPPED.replace("\nI", "\nunforgettable melody I"), "caption": "hip hop beat"},
        ),
        (
            {"lyrics": VERSE},
            {"lyrics": "[Verse]\nどんな日もが物語るから"},
            *({"lyrics": RAPPED, "caption": f"gritty {said}"} for said in ("rap", "Hip-Hop", "trap", "rapper")),
            *({"lyrics": RAPPED.replace("Verse", tag)} for tag in ("Verse - rap", "Verse]\n[spoken word")),
        ),
    ),
    "uneven-lines": (
        (
            {"lyrics": "[Verse]\n我站在窗前看着外面的世界一切都在改变\n你好"},
            {"lyrics": "[Verse]\nshow me the way tonight\nI have been waiting for someone to carry me over there"},
        ),
        (
            {"lyrics": "[Verse]\n我站在窗前\n看着外面世界\n一切都在改变"},
            {"lyrics": "[Verse]\nhey, hey\nI have been waiting for someone to carry me"},
            {"lyrics": "[Verse]\nI have been waiting for someone to carry me\n\n[Chorus]\nhold on"},
        ),
    ),
    "uneven-sections": (
        ({"lyrics": f"{VERSE}\n[Verse 2]\ngone away\ncounting every broken light"},),
        (
            {"lyrics": f"{VERSE}\n[Verse 2]\nrunning down the narrow roads\ncounting all the falling stars"},
            {"lyrics": f"{VERSE}\n[Chorus]\ngone away"},
        ),
    ),
    "stretched-vowels": (
        ({"lyrics": "[Verse]\nFeeeling so aliiive"},),
        ({"lyrics": "[Verse]\nFeeling too alive"}, {"lyrics": "[Verse]\nOoooh"}),
    ),
    "shouting": (
        ({"lyrics": "[Verse]\nGO AWAY NOW\nGO AND STAY OUT\nCLOSE THE GREEN DOOR\nLEAVE ME THE KEY"},),
        ({"lyrics": f"{VERSE}\n[Chorus]\nWE ARE THE CHAMPIONS!"}, {"lyrics": "[Verse]\n" + "我听见你的呼吸\n" * 4}),
    ),
    "extra-spaces": (
        (
            {"lyrics": "[Verse  1]\nla la"},
            {"lyrics": "[Verse]\nwe  are here"},
            {"lyrics": "[Verse]\n we are here"},
            {"lyrics": "[Verse]\nwe\tare here"},
        ),
        (
            {"lyrics": VERSE},
            {"lyrics": "[Verse] \nwe are here \t\n"},
            {"lyrics": "[Verse]\n月光洒在　窗台上"},
            {"lyrics": "\n \n"},
        ),
    ),
    "worn-images": (
        ({"lyrics": "[Verse]\nneon skies, electric hearts, endless dreams"},),
        ({"lyrics": "[Verse]\nred wine, cold bread, warm hands"}, {"lyrics": "[Verse]\nneon skies above the river"}),
    ),
    "instrument-conflict": (
        ({"caption": ENSEMBLE, "lyrics": "[Guitar Solo - electric - distorted]"},),
        (
            {"caption": ENSEMBLE, "lyrics": "[Violin Solo - expressive]"},
            {"caption": "blues rock with drums and organ", "lyrics": "[Guitar Solo]"},
            {"caption": "violin and full orchestra", "lyrics": "[Flute Solo]"},
            {"caption": "dreamy and slow", "lyrics": "[Guitar Solo]"},
            {"caption": ENSEMBLE, "lyrics": "[Instrumental Solo]"},
        ),
    ),
    "voice-conflict": (
        (
            {"caption": "folk with guitar and female vocal", "lyrics": "[Instrumental]"},
            {"caption": "folk with guitar and female vocal", "instrumental": True},
            {"caption": "folk with guitar and female vocal"},
            {"caption": "lo-fi, dusty drums, instrumental", "lyrics": VERSE},
            {"caption": "piano music without any vocals", "lyrics": VERSE},
            {"caption": FOLK, "lyrics": VERSE, "instrumental": True},
        ),
        (
            {"caption": "folk with guitar and female vocal", "lyrics": VERSE},
            {"caption": "synth-pop with vocal chops and an instrumental break", "lyrics": "[Instrumental]"},
            {"caption": "rock with a long instrumental break", "lyrics": VERSE},
            {"caption": "singer-songwriter guitar without vocals", "lyrics": "[Instrumental]"},
        ),
    ),
    "singer-conflict": (
        ({**SOPRANO, "lyrics": "[Verse 2 - male vocal]\nla la"},),
        (
            {**SOPRANO, "lyrics": "[Verse 2 - female vocal]\nla la"},
            {"caption": "duet of female and male vocals", "lyrics": "[Verse 2 - male vocal]\nla la"},
            {"caption": FOLK, "lyrics": "[Verse 2 - male vocal]\nla la"},
        ),
    ),
    "manner-conflict": (
        (
            {"caption": "folk with guitar and whispered female vocal", "lyrics": "[Chorus - screamed]\nla la"},
            {"caption": "calm piano lullaby", "lyrics": "[Climax - explosive]"},
        ),
        (
            {"caption": "calm piano, building to a storm", "lyrics": "[Climax - explosive]"},
            {"caption": "folk with guitar and female vocal", "lyrics": "[Chorus - powerful belting]\nla la"},
            {"caption": "metal with screamed vocals", "lyrics": "[Bridge - whispered]\nla la"},
        ),
    ),
    "tempo-conflict": (
        ({"caption": "slow ballad with piano", "bpm": 160}, {"caption": "fast-paced punk with guitars", "bpm": 70}),
        (
            {"caption": "slow ballad with piano", "bpm": 70},
            {"caption": "slow ballad with piano"},
            {"caption": "techno with a slow build", "bpm": 160},
            {"caption": "slow half-time groove", "bpm": 160},
        ),
    ),
    "language-and-letters": (
        (
            {"lyrics": "[Verse]\n我站在窗前", "vocal_language": "en"},
            {"lyrics": "[Verse]\nうたう きみと", "vocal_language": "zh"},
            {"lyrics": "[Verse]\nЯ помню тебя", "vocal_language": "he"},
            {"lyrics": ROMANISED, "vocal_language": "ja"},
        ),
        (
            {"lyrics": "[Verse]\n空に浮かぶ", "vocal_language": "ja"},
            {"lyrics": "[Verse]\n我站在窗前"},
            {"lyrics": "[Verse]\nљубав моја", "vocal_language": "sr"},
            {"lyrics": "[Verse]\nljubav moja", "vocal_language": "sr"},
            {"lyrics": "[Verse]\nÉbred a természet", "vocal_language": "hu"},
            {"lyrics": "[Verse]\n硅谷 那个 coder 调试 network", "vocal_language": "zh"},
        ),
    ),
    "length-and-lyrics": (
        (
            {"lyrics": "[Verse]\n" + "counting every broken light\n" * 30, "duration": 60},
            {"lyrics": VERSE, "duration": 200},
        ),
        (
            {"lyrics": VERSE, "duration": 20},
            {"lyrics": VERSE},
            {"lyrics": "[Instrumental]", "duration": 200},
            {"lyrics": VERSE, "duration": -1},
        ),
    ),
    "rare-tempo": (({"bpm": 30}, {"bpm": 59}, {"bpm": 280}), ({"bpm": 60}, {"bpm": 180}, {"bpm": None})),
    "rare-key": (
        tuple({"keyscale": key} for key in ("G# minor", "Eb minor", "F# major", "A♯ major")),
        tuple({"keyscale": key} for key in ("C", "G", "D", "Am", "Em", "E♭ major", "")),
    ),
    "rare-meter": (
        ({"timesignature": "5/4"}, {"timesignature": "7/8"}),
        ({"timesignature": "4/4"}, {"timesignature": "6"}),
    ),
    "long-song": (({"duration": 400},), ({"duration": 240}, {"duration": None})),
}
GOOD = """[Intro - piano]

[Verse 1]
月光洒在窗台上
我听见你的呼吸
城市在远处沉睡
只有我们还醒着

[Pre-Chorus]
这一刻如此安静
却藏着汹涌的心

[Chorus - powerful]
让我们燃烧吧
像夜空中的烟火
短暂却绚烂
这就是我们的时刻

[Bridge - whispered]
如果明天一切消散
至少我们曾经闪耀

[Final Chorus]
让我们燃烧吧
像夜空中的烟火
短暂却绚烂
THIS IS OUR MOMENT!

[Outro - fade out]"""
GOOD_CAPTION = "female vocal, piano ballad, emotional, intimate atmosphere, strings, building to powerful chorus"


def found(rule: str, words: Words) -> list[Finding]:
    """What one rule says of some words."""
    return [finding for finding in lint(**{"caption": "", "lyrics": "", **words}) if finding.rule == rule]


def test_every_rule_has_cases_and_says_why() -> None:
    names = [rule.__name__.replace("_", "-") for rule in RULES]
    assert sorted(names) == sorted(CASES)
    assert all(len(inspect.getdoc(rule) or "") > 30 for rule in RULES)


@pytest.mark.parametrize(("rule", "words"), [(rule, words) for rule, (hits, _) in CASES.items() for words in hits])
def test_a_rule_finds_what_it_is_for(rule: str, words: Words) -> None:
    findings = found(rule, words)
    assert findings
    for finding in findings:
        assert finding.severity in {WARNING, HINT}
        assert finding.message.endswith(".") and "\n" not in finding.message
        field, _, line = finding.where.partition(":")
        assert field in {"caption", "lyrics", "bpm", "keyscale", "timesignature", "duration"}
        assert not line or 1 <= int(line) <= len(words["lyrics"].splitlines())


@pytest.mark.parametrize(
    ("rule", "words"), [(rule, words) for rule, (_, misses) in CASES.items() for words in misses]
)
def test_a_rule_leaves_alone_what_is_fine(rule: str, words: Words) -> None:
    assert found(rule, words) == []


@pytest.mark.parametrize("language", ["unknown", "zh"])
def test_a_whole_good_song_gets_no_warning(language: str) -> None:
    findings = lint(
        GOOD_CAPTION, GOOD, bpm=70, keyscale="Am", timesignature="4/4", duration=100, vocal_language=language
    )
    assert [finding for finding in findings if finding.severity == WARNING] == []
    assert remarks(GOOD_CAPTION, GOOD, duration=100) == ()


def test_findings_name_the_line_and_come_in_the_order_of_the_text() -> None:
    lyrics = "[Verse]\nwe are here (tonight\n\n[Chorus\n你好"
    findings = lint("a sad song", lyrics, bpm=30)
    assert [finding.where for finding in findings if finding.severity == WARNING] == [
        "caption",
        "lyrics:2",
        "lyrics:4",
        "bpm",
    ]
    assert str(findings[0]).startswith("warning caption vague-caption: Nothing but mood is told, in 3 words; ")


def test_a_finding_says_the_count() -> None:
    (long,) = found("long-lines", {"lyrics": "[Verse]\n我站在窗前看着外面的世界一切都在改变"})
    assert (long.where, "18 syllables" in long.message) == ("lyrics:2", True)
    (short,) = found("length-and-lyrics", {"lyrics": VERSE, "duration": 200})
    assert "about 10 s" in short.message and "200 s" in short.message


@pytest.mark.parametrize(
    ("caption", "severity"),
    [
        *(
            (said, WARNING)
            for said in ("a sad song", "good music", "pop", "古风", "female voice", "a happy song for you")
        ),
        *(
            (said, HINT)
            for said in ("jazz trio", "electronic dance music", "delta blues", "huayno andino", "民谣音乐")
        ),
    ],
)
def test_a_short_caption_that_names_a_style_is_only_hinted_at(caption: str, severity: str) -> None:
    (finding,) = found("vague-caption", {"caption": caption})
    assert finding.severity == severity


def test_the_instrumental_of_the_guide_gets_no_warning() -> None:
    assert remarks("ambient piano, slow, cinematic", PIECE) == remarks("", PIECE) == ()


def test_extra_spaces_are_no_warning() -> None:
    (finding,) = found("extra-spaces", {"lyrics": "[Verse]\n    we are  here\n    we\tare here \n    still "})
    assert (finding.severity, finding.where) == (HINT, "lyrics:2")
    assert finding.message.endswith("remove them, here and in lines 3 and 4.")


LONG = "m" * 4000
ENDLESS: tuple[Words, ...] = (
    {"lyrics": f"[{LONG}]\nla"},
    {"lyrics": f"[Verse - {LONG} - soft - {LONG} - {LONG}]\nla"},
    {"lyrics": f"[Wibble{' wobble' * 600}]\nla"},
    {"lyrics": f"[Guitar Solo {LONG}]", "caption": "violin and piano"},
    {"lyrics": f"[Verse - male vocal {LONG}]\nla", **SOPRANO},
    {"lyrics": f"[Chorus - explosive {LONG}]\nla", "caption": "calm piano lullaby"},
    {"lyrics": f"[Verse]\nF{'e' * 4000}l"},
    {"lyrics": VERSE, "caption": f"piano without any {LONG} vocals"},
    {"caption": f"funk with bass, {'1' * 4000} seconds long"},
    {"lyrics": f"[{LONG}\nla\n" * 3},
    {"lyrics": "[Verse]\n" + "counting every broken light that I remember\nno\n" * 60},
    {"lyrics": "[Verse]\n  la\n" * 60},
)


@pytest.mark.parametrize("words", ENDLESS)
def test_messages_repeat_little_of_a_text(words: Words) -> None:
    findings = lint(**{"caption": "", "lyrics": "", **words})
    assert findings
    for finding in findings:
        assert len(finding.message) < 250, finding
        assert all(len(run) <= QUOTED_AT_MOST for run in re.findall(r"[\[']([^\[\]']*…)[\]']", finding.message))


def test_a_quotation_is_cut_at_forty_characters() -> None:
    assert clipped("Verse  1") == "Verse 1"
    assert clipped("m" * 40) == "m" * 40
    assert clipped("m" * 41) == "m" * 39 + "…"
    (unknown,) = found("unknown-tags", {"lyrics": f"[Wi{LONG}]\nla"})
    assert unknown.message.startswith("[Wi" + "m" * 37 + "…] is no usual tag")


@pytest.mark.parametrize(("rule", "words"), [(rule, words) for rule, (hits, _) in CASES.items() for words in hits])
def test_a_message_does_not_repeat_its_place(rule: str, words: Words) -> None:
    for finding in found(rule, words):
        field, _, line = finding.where.partition(":")
        assert not re.search(rf"\blines? {line or '[0-9]+'}\b", finding.message, re.IGNORECASE), finding
        assert field != "caption" or finding.severity == HINT or not finding.message.startswith("The caption")


def test_a_remark_says_the_line_once() -> None:
    told = remarks(FOLK, "[Verse 1]\nwe are here\n[Chorus]\nwe are here\n[Bridge]\nwe are here")
    assert told == (
        "In the lyrics, line 3: No blank line stands before the section, nor before the one at line 5; "
        "leave one before each.",
    )
    (odd,) = found("syllables", {"lyrics": "[Verse]\n你好\n你\n我站在窗前看"})
    assert odd.message == "The line has about 2 syllables, and line 3 has 1; 6 to 10 sing best."


def test_marks_of_language_are_no_tags_and_no_words() -> None:
    script = read_script("[Verse  1]\n[zh] ye4 wan3 de5 feng1\n[en]\n\n[en] [chorus]\n[zh] ni3 de5 xiao4 rong2", "zh")
    assert [(tag.line, tag.kind) for tag in script.tags] == [(1, "verse"), (5, "chorus")]
    assert [(line.number, line.syllables) for line in script.lines] == [(2, 4), (6, 4)]


def test_nothing_is_found_in_nothing() -> None:
    assert lint("", "") == lint("  ", "\n \n") == ()


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"bpm": 400}, "bpm"),
        ({"keyscale": "H"}, "keyscale"),
        ({"timesignature": "9"}, "timesignature"),
        ({"vocal_language": "xx"}, "vocal_language"),
    ],
)
def test_metadata_that_is_not_allowed_is_an_error(words: Words, field: str) -> None:
    with pytest.raises(InputError) as caught:
        lint(FOLK, VERSE, **words)
    assert caught.value.field == field


def test_remarks_are_at_most_five_sentences_of_warnings() -> None:
    bad = "\n".join(f"Verse {number}:\nwe are (here" for number in range(1, 9))
    told = remarks("a sad song", bad, bpm=30)
    warnings = [finding for finding in lint("a sad song", bad, bpm=30) if finding.severity == WARNING]
    assert len(told) == REMARKS_AT_MOST < len(warnings)
    assert told[0].startswith("In the caption: Nothing but mood")
    assert told[1].startswith("In the lyrics: 16 lines have no section tag")
    assert told[2].startswith("In the lyrics, line 1: ")
    assert told[-1].startswith(f"{len(warnings) - REMARKS_AT_MOST + 1} more warnings")
    assert remarks("a sad song", VERSE) == (told[0],)
    assert remarks(FOLK, "[Verse]\nFeeeling so aliiive") == (), "hints stay out of a log"


@pytest.mark.parametrize(
    ("language", "line", "syllables"),
    [
        ("en", "walking through the empty streets", 7),
        ("en", "People wanted every lonely rhythm", 10),
        ("en", "didn't rely on someone's changes", 8),
        ("en", "maybe the quiet piano loved a poem", 11),
        ("zh", "我站在窗前看着外面的世界一切都在改变", 18),
        ("zh", "ye4 wan3 de5 feng1", 4),
        ("ja", "きょうはまっています", 9),
        ("unknown", "コーヒー", 4),
        ("ja", "空に", 3),
        ("ja", "sakura ga kirei", 7),
        ("ko", "사랑을 했다 우리가 만나", 10),
        ("ko", "saelo-un sidaeleul", 6),
        ("ru", "Я помню чудное мгновенье", 9),
        ("uk", "їхній сад цвіте", 5),
        ("bg", "ъгъл и обич", 5),
        ("sr", "љубав моја", 4),
        ("el", "αϋπνία και νεράιδα", 9),
        ("hi", "मेरे दिल का प्यार", 5),
        ("bn", "আমার সোনার বাংলা", 6),
        ("ta", "தமிழ்", 2),
        ("te", "నమస్తే", 3),
        ("pa", "ਪਿਆਰ", 2),
        ("ar", "بِسْمِ", 2),
        ("he", "שלום", 2),
        ("th", "ฉันรักเธอ", 3),
        ("th", "เสียใจ จันทร์ น้ำตา", 5),
        ("vi", "Anh yêu em nhiều lắm", 5),
        ("fr", "La rue est froide", 4),
        ("fr", "qu'il aime la poésie", 6),
        ("es", "quiero el cielo y había", 9),
        ("ca", "cor i nit", 3),
        ("pt", "coração e pão", 5),
        ("it", "più amore", 4),
        ("ro", "lupi și codru", 4),
        ("de", "Die Liebe ist ein Feuer", 7),
        ("nl", "Ik hou van jou", 4),
        ("no", "øyne", 2),
        ("da", "kærlighed", 3),
        ("sv", "kärlek", 2),
        ("is", "ást og þrá", 3),
        ("fi", "suomi hääyö", 4),
        ("hu", "Ébred a természet", 6),
        ("pl", "miłość w białych obłokach", 7),
        ("cs", "vlk a prst", 3),
        ("sk", "srdce", 2),
        ("hr", "srce lijepo", 4),
        ("lt", "meilė", 2),
        ("tr", "seni seviyorum", 6),
        ("az", "sevgi gəl", 3),
        ("id", "Aku cinta pantai", 6),
        ("ms", "pulau", 2),
        ("tl", "mahal kita", 4),
        ("sw", "mtoto nakupenda", 7),
        ("ht", "mwen renmen ou", 4),
        ("la", "amor vincit", 4),
        ("en", "We rise together (together)", 5),
        ("en", "(into the light)", 4),
        ("en", "…!", 0),
    ],
)
def test_syllables_of_many_languages(language: str, line: str, syllables: int) -> None:
    assert count_syllables(line, language) == syllables


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_counts_any_letters(language: str) -> None:
    words = ("love song", "мост", "空に", "사랑", "प्यार", "حب", "אהבה", "รัก", "αγάπη", "ⵜⴰⵢⵔⵉ")
    assert all(count_syllables(word, language) >= 1 for word in words)


def test_small_words_tell_english() -> None:
    assert read_script("[Verse]\nI trace your name in the morning rain", "unknown").language == "en"
    assert read_script("[Verse]\nMe dicen ven, pero yo ya no quiero", "unknown").language == "unknown"


@pytest.mark.parametrize(
    ("key", "sharps"),
    [("C major", 0), ("A minor", 0), ("F# minor", 3), ("B♭ major", -2), ("E♭ minor", -6), ("G♯ minor", 5)],
)
def test_signatures(key: str, sharps: int) -> None:
    assert signature(key) == sharps


@pytest.mark.parametrize(
    "text", ["[" * 20_000, " " * 50_000, "m" * 50_000 + "x", "[Verse]\nla la\n\n" * 1500, "[a" + " " * 50_000]
)
def test_nonsense_takes_no_time(text: str) -> None:
    start = time.process_time()
    lint(text[:5000], text, duration=60)
    assert time.process_time() - start < 10


def test_it_loads_no_network_library() -> None:
    code = "import acestep.linting, sys; print({'torch', 'numpy', 'httpx2', 'transformers'} & set(sys.modules))"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout == "set()\n"


def run_lint(*arguments: str) -> None:
    """``acestep lint`` without the process around it."""
    parser = argparse.ArgumentParser()
    add_lint(parser)
    told = parser.parse_args(arguments)
    told.run(told)


def test_the_command_prints_findings_and_the_length(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    words = tmp_path / "words.txt"
    words.write_text(VERSE * 2, encoding="utf-8")
    run_lint("a sad song", "--lyrics", str(words))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("warning caption vague-caption: ")
    assert lines[-2].startswith("warning lyrics:4 section-gaps: ")
    assert lines[-1] == "estimated duration: 17 s"


def test_the_command_answers_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    run_lint("slow ballad with piano", "--bpm", "160", "--key", "G#m", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["warnings"], told["estimated_duration"]) == (1, None)
    assert [row["rule"] for row in told["findings"]] == ["tempo-conflict", "rare-key"]
    assert set(told["findings"][0]) == {"rule", "where", "message", "severity"}


def test_strict_fails_on_warnings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    run_lint(FOLK, "--key", "G#m", "--strict")
    with pytest.raises(SystemExit) as caught:
        run_lint("a sad song", "--strict", "--json")
    assert caught.value.code == 1
    assert "vague-caption" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "field"), [((), "caption"), ((FOLK, "--duration", "5"), "duration"), ((FOLK, "--bpm", "9"), "bpm")]
)
def test_the_command_refuses_bad_values(arguments: tuple[str, ...], field: str) -> None:
    with pytest.raises(InputError) as caught:
        run_lint(*arguments)
    assert caught.value.field == field
