"""Numbers in Chinese characters: dates, money, telephone numbers, fractions, percentages, counted things.

In: a Chinese text. Out: the text with digits written out and every punctuation mark made a comma. Pure text.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable

NUMERALS = "零一二三四五六七八九"
# Powers of ten that have a name; a number is read from the largest downwards.
UNITS = {1: "十", 2: "百", 3: "千", 4: "万"} | {8 + 4 * i: unit for i, unit in enumerate("亿兆京垓秭穰沟涧正载")}
MEASURES = (
    "个 位 名 条 只 次 遍 首 曲 支 张 座 场 回 件 本 页 封 朵 颗 粒 滴 片 面 把 杯 瓶 碗 盘 壶 锅 盒 箱 袋 包 "
    "束 串 群 队 双 对 副 套 间 家 户 层 栋 幢 扇 台 辆 架 艘 匹 头 尾 棵 株 枝 根 堆 排 行 句 段 篇 步 口 声 "
    "眼 拳 脚 刀 枪 针 线 重 种 类 样 代 "
    "年 天 夜 周 季 岁 秒 小时 星期 世纪 公里 厘米 毫米 米 里 尺 寸 丈 公斤 毫克 克 斤 两 吨 升"
)
_MONEY_UNIT = r"(?:亿|千万|百万|万|千|百)?[元块]|[角毛分]|亿|千万|百万|万|千|百"
_ABOUT = "[多余几]?"
_NUMBER = r"(?<!\d)\d++(?:\.\d++)?"
_MONTH = r"\d{1,2}月(?:\d{1,2}[日号])?"
_DATE = re.compile(rf"(?<!\d)(?:(?:[089]\d|(?:19|20)\d{{2}})年(?:{_MONTH})?|{_MONTH})")
_YEAR = re.compile(r"\d++(?=年)")
_MONEY = re.compile(rf"{_NUMBER}{_ABOUT}(?:{_MONEY_UNIT})(?:\d(?:{_MONEY_UNIT})?)?")
_MOBILE = re.compile(r"(?<!\d)(?:\+?86 ?)?1(?:[38]\d|5[0-35-9]|7[678]|9[89])\d{8}(?!\d)")
_LAND_LINE = re.compile(r"(?<!\d)(?:0(?:10|2[1-3]|[3-9]\d{2})-?)?[1-9]\d{6,7}(?!\d)")
_FRACTION = re.compile(r"(?<!\d)(\d++)/(\d+)")
_PERCENT = re.compile(rf"({_NUMBER})%")
_COUNTED = re.compile(rf"{_NUMBER}(?={_ABOUT}(?:{'|'.join(MEASURES.split())}))")
_LONG = re.compile(r"\d{4,32}")
_ANY = re.compile(_NUMBER)
_INSIDE_LATIN = re.compile(r"(?<=[a-zA-Z])二(?=[a-zA-Z])")
_TWO = re.compile(rf"(?<![十零])二(?=[{''.join(set(UNITS.values()) - {'十'})}])")
_PUNCTUATION = re.compile(rf"[{re.escape(string.punctuation)}·‐-‧‰-⁞、-〃〈-】〔-〟〰︰-﹫！-／：-＠［-｀｛-･￠-￦]")


def spell_numbers_zh(text: str) -> str:
    """Numbers in characters, as they are read aloud; then a comma for every punctuation mark."""
    for pattern, read in _RULES:
        text = pattern.sub(read, text)
    return _PUNCTUATION.sub(",", _INSIDE_LATIN.sub("2", text))


def cardinal(number: str) -> str:
    """Digits, perhaps with a decimal point, as an amount: ``20300`` is 两万零三百."""
    whole, point, decimals = number.partition(".")
    words = _TWO.sub("两", _amount(whole) or NUMERALS[0])
    words = words.removeprefix("一") if words.startswith("一十") else words
    return words + ("点" + by_digit(decimals) if point else "")


def by_digit(text: str) -> str:
    """Every digit by its name, what is no digit as it is."""
    return re.sub(r"\d", lambda match: NUMERALS[int(match[0])], text)


def _amount(digits: str) -> str:
    """A whole number; zeros before it are said once, as in 一百零五, and alone not at all."""
    rest = digits.lstrip("0")
    if not rest:
        return ""
    zero = NUMERALS[0] if len(rest) < len(digits) else ""
    if len(rest) == 1:
        return zero + by_digit(rest)
    power = max(power for power in UNITS if power < len(rest))
    return zero + _amount(rest[:-power]) + UNITS[power] + _amount(rest[-power:])


def _all_cardinal(match: re.Match[str]) -> str:
    return _ANY.sub(lambda found: cardinal(found[0]), match[0])


def _all_by_digit(match: re.Match[str]) -> str:
    return by_digit(match[0])


def _date(match: re.Match[str]) -> str:
    """The year by its digits, month and day as numbers."""
    return _ANY.sub(lambda found: cardinal(found[0]), _YEAR.sub(_all_by_digit, match[0], count=1))


def _fraction(match: re.Match[str]) -> str:
    return f"{cardinal(match[2])}分之{cardinal(match[1])}"


def _percentage(match: re.Match[str]) -> str:
    return f"百分之{cardinal(match[1])}"


def _counted(match: re.Match[str]) -> str:
    """A number of things: two of them are 两."""
    return "两" if match[0] == "2" else cardinal(match[0])


def _percent_sign(match: re.Match[str]) -> str:
    return "%" * len(match[0])


_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (_DATE, _date),
    (_MONEY, _all_cardinal),
    (_MOBILE, _all_by_digit),
    (_LAND_LINE, _all_by_digit),
    (_FRACTION, _fraction),
    (re.compile("％"), _percent_sign),
    (_PERCENT, _percentage),
    (_COUNTED, _counted),
    (_LONG, _all_by_digit),
    (_ANY, _all_cardinal),
)
