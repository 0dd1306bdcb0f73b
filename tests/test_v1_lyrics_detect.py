"""The language of each line: by script and song, and as upstream decides it."""

from __future__ import annotations

import pytest

from acestep.v1.lyrics.detect import song_languages
from acestep.v1.lyrics.languages import SUPPORTED
from acestep.v1.lyrics.upstream_detect import upstream_counts, upstream_language, upstream_languages

from v1_lyrics_support import UPSTREAM

ENGLISH = (
    "Waves on the bass are pulsing in the speakers",
    "Neon lights they flicker bright",
    "City hums in dead of night",
)
SPANISH = ("Te quiero mucho mi amor", "Siempre te recordaré en la noche", "Pero este mundo no me va a borrar")
CHINESE = ("我走过深夜的街道", "冷风吹乱思念的漂亮外套", "你的微笑像星光很炫耀")
JAPANESE = ("君のことが好きだよ", "世界はまだ眠っている")


def languages(*rows: str) -> list[str]:
    return list(song_languages(rows))


@pytest.mark.parametrize(
    ("line", "language"),
    [
        ("- hello world again", "en"),
        ("* I love you so", "en"),
        ("… and then we danced", "en"),
        ("2 hearts beat", "en"),
        ("1st place, 3.5 miles", "en"),
        ("♪ la la la ♪", "en"),
        ("'Cause I love you", "en"),
        ('"Hello" she said', "en"),
        ("Let's go.", "en"),
        ("Oh oh oh", "en"),
        ("Hello world", "en"),
        ("我爱你", "zh"),
        ("我想对你说 I love you", "zh"),
        ("I really want to tell you 我爱你", "zh"),
        ("爱情100%", "zh"),
        ("愛してる", "ja"),
        ("東京タワー", "ja"),
        ("ﾗﾌﾞｿﾝｸﾞ", "ja"),
        ("사랑해요 그대", "ko"),
        ("Oh my love 사랑해요", "ko"),
        ("Я тебя люблю", "ru"),
        ("मैं तुमसे प्यार करता हूँ", "hi"),
        ("أحبك", "ar"),
        ("ผมรักคุณ", "en"),
        ("Te quiero mucho mi amor", "es"),
        ("Ich liebe dich 2 mal", "de"),
        ("Bonjour le monde", "fr"),
        ("Kocham cię", "pl"),
        ("Miluji tě", "cs"),
        ("Quando sei qui con me questa stanza non ha più pareti", "it"),
        ("Não chores mais, menina, que a manhã já vem", "pt"),
        ("Seni çok seviyorum, geceler uzun sensiz", "tr"),
        ("Ik hou zo veel van jou en van de regen", "nl"),
        ("Nem tudom, hogy merre visz az út", "hu"),
    ],
)
def test_a_line_alone(line: str, language: str) -> None:
    assert languages(line) == [language]


def test_short_and_odd_lines_follow_their_song() -> None:
    """Alone, langid takes these for Italian, German and Hungarian."""
    odd = ("Hello, she said", "'Cause I love you", "Yeah!", "Sí", "Eres mi razón")
    assert languages(*ENGLISH, *odd) == ["en"] * 8
    assert languages(*SPANISH, *odd) == ["es"] * 8


def test_a_line_or_stanza_of_another_language_leaves_the_song() -> None:
    assert languages(*ENGLISH, SPANISH[0], ENGLISH[0]) == ["en"] * 3 + ["es", "en"]
    stanza = ("", "[chorus]", "Mi amor", *SPANISH)
    assert languages(*ENGLISH, *stanza) == ["en"] * 5 + ["es"] * 4


def test_lines_that_leave_a_song_share_a_language() -> None:
    """The second of them is French to langid when it is read alone."""
    assert languages(*ENGLISH, SPANISH[1], *ENGLISH)[3] == "fr"
    assert languages(*ENGLISH, SPANISH[1], *ENGLISH, SPANISH[0], SPANISH[2])[3] == "es"


def test_repeating_a_word_is_no_evidence() -> None:
    assert languages(*ENGLISH, "lig na lig na lig na lig na", "la la la la la la la la la") == ["en"] * 5


@pytest.mark.parametrize(
    ("song", "language"),
    [(ENGLISH, "en"), (SPANISH, "es"), (CHINESE, "zh"), (JAPANESE, "ja"), (("Привет, мир",), "ru")],
)
def test_lines_without_letters_take_the_language_of_the_song(song: tuple[str, ...], language: str) -> None:
    assert languages("1999", *song, "...", "♪ ♪", "- 2 -") == [language] * (len(song) + 4)


def test_without_any_letters_a_song_is_english() -> None:
    assert languages("1 2 3", "!!!") == ["en", "en"]


def test_han_is_japanese_in_a_japanese_song_only() -> None:
    assert languages("東京物語", *JAPANESE) == ["ja"] * 3
    assert languages("東京物語", *CHINESE) == ["zh"] * 4
    assert languages("我の愛", *CHINESE) == ["zh"] * 4  # one kana is an ornament
    assert languages("愛してる", *CHINESE * 3) == ["ja"] + ["zh"] * 9


def test_english_lines_in_songs_of_other_scripts_stay_english() -> None:
    assert languages(*CHINESE, "I'm defined, I'm defined", "Like a star") == ["zh"] * 3 + ["en"] * 2
    assert languages(*JAPANESE, "We believe") == ["ja", "ja", "en"]


def test_tags_and_empty_lines_tell_nothing() -> None:
    song = ("[verse] 君のこと", "", *CHINESE)
    assert languages(*song) == ["en", "en", *["zh"] * 3]
    assert list(upstream_languages(song)) == ["en", "en", *["zh"] * 3]


def test_there_is_a_language_for_every_line() -> None:
    rows = tuple(row for row, *_ in UPSTREAM)
    assert len(song_languages(rows)) == len(rows)
    assert set(song_languages(rows)) <= SUPPORTED
    assert song_languages(()) == ()


@pytest.mark.parametrize(("line", "counts", "language", "cleaned"), UPSTREAM)
def test_upstream_counts_and_decides_as_published(
    line: str, counts: dict[str, int], language: str, cleaned: str
) -> None:
    assert upstream_counts(line) == counts
    assert upstream_language(line) == language


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("<ja>東京</ja>我爱你", {"ja": 2, "zh": 6}),  # a language the writer names
        ("我说“我们在一起”", {"zh": 18}),
        ("⑥000000⑥", {"zh": 0}),  # the sign upstream marks its own places with, typed
    ],
)
def test_upstream_reads_marks_and_quotes(line: str, counts: dict[str, int]) -> None:
    found = upstream_counts(line)
    assert found.keys() == counts.keys()
    assert all(found[code] == count or not count for code, count in counts.items())


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("夢幻、愛してるよ", {"ja": 8}),  # Han that langid is not sure of goes with the kana after it
        ("愛してるよ、夢幻恋", {"ja": 9}),  # or before it
        ("夢想家。", {"zh": 8}),  # without kana beside it, it is Chinese
        ("東京都、愛してるよ", {"zh": 8, "ja": 5}),  # as it is where langid is sure
        ("愛してるよ。夢", {"ja": 6, "zh": 2}),  # one character at the end is never sure
    ],
)
def test_upstream_lets_the_neighbour_decide_on_short_han(line: str, counts: dict[str, int]) -> None:
    assert upstream_counts(line) == counts


def test_upstream_gives_english_up_for_any_other() -> None:
    assert upstream_language("I have so very many words to say 我") == "zh"
