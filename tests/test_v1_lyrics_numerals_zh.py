"""Chinese numbers: against a reader that goes the other way, and by what stands around them."""

from __future__ import annotations

import random
import re

import pytest

from acestep.v1.lyrics.numerals_zh import MEASURES, NUMERALS, UNITS, cardinal, spell_numbers_zh

TENS = {"十": 10, "百": 100, "千": 1000}
MYRIADS = {unit: 10**power for power, unit in UNITS.items() if power >= 4}


def heard(words: str) -> int:
    """The number a listener understands: sections of up to four digits, each with a power of ten thousand."""
    total = section = digit = 0
    for sign in words:
        if sign in NUMERALS or sign == "两":
            digit = NUMERALS.find(sign) if sign != "两" else 2
        elif sign in TENS:
            section += (digit or 1) * TENS[sign]
            digit = 0
        else:
            total += (section + digit) * MYRIADS[sign]
            section = digit = 0
    return total + section + digit


def numbers() -> list[int]:
    rng = random.Random(3)
    return [
        *range(1200),
        *(10**i for i in range(20)),
        *(rng.randrange(10 ** rng.randrange(1, 21)) for _ in range(500)),
    ]


def test_every_number_is_understood() -> None:
    for number in numbers():
        words = cardinal(str(number))
        assert heard(words) == number, words


def test_numbers_are_said_as_people_say_them() -> None:
    for number in numbers():
        words = cardinal(str(number))
        assert "零零" not in words
        assert number == 0 or not words.endswith("零")
        assert not words.startswith("一十")
        assert not re.search("二[百千万亿]", words) or re.search("[十零]二", words)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("0", "零"),
        ("2", "二"),
        ("12", "十二"),
        ("110", "一百一十"),
        ("105", "一百零五"),
        ("200", "两百"),
        ("20300", "两万零三百"),
        ("22222", "两万两千两百二十二"),
        ("120000", "十二万"),
        ("10200", "一万零二百"),
        ("100000000", "一亿"),
        ("007", "零七"),
        ("3.14", "三点一四"),
        ("0.50", "零点五零"),
    ],
)
def test_cardinals(number: str, words: str) -> None:
    assert cardinal(number) == words


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("在2024年3月15日相遇", "在二零二四年三月十五日相遇"),
        ("12月的雨", "十二月的雨"),
        ("98年的夏天", "九八年的夏天"),
        ("1000年的等待", "一千年的等待"),
        ("给你20块5毛", "给你二十块五毛"),
        ("3000元", "三千元"),
        ("5百万人", "五百万人"),
        ("打给13812345678吧", "打给一三八一二三四五六七八吧"),
        ("电话010-12345678", "电话零一零,一二三四五六七八"),
        ("我的1/2", "我的二分之一"),
        ("3.5%", "百分之三点五"),
        ("100％爱你", "百分之一百爱你"),
        ("2个人", "两个人"),
        ("12个人", "十二个人"),
        ("20多天", "二十多天"),
        ("4096首歌", "四千零九十六首歌"),
        ("8888", "八八八八"),
        ("第25夜", "第二十五夜"),
        ("b2b和mp3", "b2b和mp三"),
        ("你好，世界！(再见)——“好”…", "你好,世界,,再见,,,,好,,"),
        ("♪ 啦", "♪ 啦"),
        ("", ""),
    ],
)
def test_numbers_in_a_line(text: str, spelled: str) -> None:
    assert spell_numbers_zh(text) == spelled


@pytest.mark.parametrize("measure", MEASURES.split())
def test_two_of_a_thing(measure: str) -> None:
    said = spell_numbers_zh(f"有2{measure}，22{measure}")
    assert said == f"有两{measure},二十二{measure}"


def test_no_digit_and_no_punctuation_is_left() -> None:
    rng = random.Random(5)
    signs = "0123456789" * 3 + ".,/%％年月日元块角个多几天+-（）！？「」"
    for _ in range(500):
        said = spell_numbers_zh("".join(rng.choices(signs, k=rng.randrange(1, 30))))
        assert not re.search(r"[\d./%％+\-（）！？「」]", said)
