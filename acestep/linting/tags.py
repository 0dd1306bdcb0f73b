"""Rules about structure tags: how they are written, how many there are, how they divide the song.

In: a ``Song``. Out: findings. The rules are those of the published guide to the model, chapter "lyrics", in our
words.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from acestep.linting.findings import LYRICS, Finding, at, clipped, hint, numbered, warning
from acestep.linting.script import SECTION_NAMES, TAG, Tag, tag_of
from acestep.linting.song import Song
from acestep.linting.vocabulary import DIMENSIONS, any_of, families, styles

MODIFIERS_AT_MOST = 2  # [Guitar Solo - electric - distorted]
TAG_WORDS_AT_MOST = 10
TAG_CHARACTERS_AT_MOST = 60  # a longer line is no tag that lost its brackets
TAGS_IN_A_ROW_AT_MOST = 3
TAGS_AT_LEAST, TAGS_PER_LINE = 6, 1.0  # too many: this many tags, and more than one for every line to sing
LINES_WITHOUT_TAGS = 4

_SECTION_LINE = re.compile(
    rf"[\"'(（【〔*#_<{{]*\s*((?:final |last |first |second )?(?:{SECTION_NAMES})(?: \d+| one| two| three)?)"
    r"\s*[\"')）】〕*#_>}]*\s*[:：]?[\"')）】〕*#_>}]*\s*",
    re.IGNORECASE,
)
_OTHER_BRACKETS = re.compile(r"\s*[【〔〖［{<]\s*([^】〕〗］}>]*)[】〕〗］}>]\s*")
_TRANSLATED = {
    "Chorus": "refrán refrão refrain estribillo coro ritornello kehrvers refräng kertosäe omkvæd nakarat refren "
    "припев приспів 副歌 サビ 후렴 điệp_khúc ท่อนฮุก कोरस",
    "Verse": "couplet estrofa strofa strophe vers verso куплет 主歌 aメロ 절 kıta zwrotka säkeistö",
    "Pre-Chorus": "pré-refrain pre-estribillo bメロ 导歌 預副歌",
    "Bridge": "puente ponte pont brücke мост 桥段 間奏 köprü most",
    "Intro": "introducción introdução einleitung вступление 前奏 イントロ 전주 giriş",
    "Outro": "final_section schluss концовка 尾奏 アウトロ 후주 кода",
    "Instrumental": "instrumentale инструментал 间奏 伴奏 インスト",
}
_ENGLISH_NAME = {name: tag for tag, names in _TRANSLATED.items() for name in names.replace("_", " ").split()}
_KNOWN = any_of(
    f"(?:{SECTION_NAMES})s? silence energy vocals? ad_?libs? call_and_response powerful explosive building anthemic "
    "abrupt(?:ly)? scat(?:ting)? melody harmoni(?:es|zed) scream(?:s|ed|ing)? growl(?:s|ed)? shout(?:s|ed)? "
    "laugh(?:s|ter)? applause crowd end rap male female duet both all tempo quiet loud soft acoustic sfx "
    "sounds? effects? rain "
    "thunder wind noise filtered pitched reverb(?:ed)? echo(?:ed)? repeat instrumental tag part section pause stop"
)


def stacked_tags(song: Song) -> Iterator[Finding]:
    """One or two words after the name are enough: what a tag says beyond may be sung, and confuses the rest."""
    for tag in song.script.tags:
        extra = len(tag.parts) - 1
        if extra > MODIFIERS_AT_MOST or len(tag.text.split()) > TAG_WORDS_AT_MOST:
            kept = clipped(" - ".join(tag.parts[:2]))
            yield warning(
                "stacked-tags",
                at(tag.line),
                f"[{clipped(tag.text)}] says too much for a tag; keep [{kept}] and put the rest in the caption.",
            )
    for run in _tags_over_words(song):
        manners = sum(not tag.is_section for tag in run)
        if len(run) > TAGS_IN_A_ROW_AT_MOST and manners > MODIFIERS_AT_MOST:
            advice = "keep one or two and put the rest in the caption"
            yield warning("stacked-tags", at(run[0].line), f"{len(run)} tags stand over the same words; {advice}.")


def too_many_tags(song: Song) -> Iterator[Finding]:
    """Tags that outnumber the lines leave little to sing and may be sung themselves."""
    tags, lines = len(song.script.tags), len(song.script.lines)
    if song.is_sung and tags >= TAGS_AT_LEAST and tags > TAGS_PER_LINE * lines:
        yield warning(
            "too-many-tags",
            LYRICS,
            f"There are {tags} tags for {lines} lines to sing; keep those that begin sections.",
        )


def brackets(song: Song) -> Iterator[Finding]:
    """An unclosed bracket makes lyrics of a tag; only square brackets make a tag."""
    for number, row in enumerate(song.script.rows, 1):
        for opening, closing, name in (
            ("[", "]", "square bracket"),
            ("(", ")", "parenthesis"),
            ("（", "）", "parenthesis"),
        ):
            if not _is_balanced(row, opening, closing):
                yield warning(
                    "brackets",
                    at(number),
                    f"A {name} is not closed, or not opened, on its line; write the missing one.",
                )
        words = row.strip()
        if tag_of(row) is not None or len(words) > TAG_CHARACTERS_AT_MOST:
            continue
        named = _SECTION_LINE.fullmatch(words)
        if named:
            tag = named[1].strip().title()
            message = f"'{clipped(words)}' would be sung; write [{clipped(tag)}] to begin a section."
            yield warning("brackets", at(number), message)
        elif other := _OTHER_BRACKETS.fullmatch(words):
            tag = _ENGLISH_NAME.get(other[1].strip().lower(), other[1].strip())
            message = f"'{clipped(words)}' would be sung; tags have square brackets: [{clipped(tag)}]."
            yield warning("brackets", at(number), message)


def tag_beside_words(song: Song) -> Iterator[Finding]:
    """A tag has a line of its own, apart from the words."""
    tagged = {tag.line for tag in song.script.tags}
    rows = tuple(
        number
        for number, row in enumerate(song.script.rows, 1)
        if number in tagged and tag_of(row) is None and TAG.sub("", row).strip()
    )
    if rows:
        others = f", here and in {numbered(rows[1:])}" if rows[1:] else ""
        yield hint("tag-beside-words", at(rows[0]), f"A tag shares its line with words{others}; give it its own.")


def unknown_tags(song: Song) -> Iterator[Finding]:
    """Tags are English words for sections, voices, instruments and energy; others may be sung."""
    for tag in song.script.tags:
        if not tag.parts:
            yield warning("unknown-tags", at(tag.line), "[] is an empty tag; name the section or remove it.")
        elif not _is_known(tag):
            english = _ENGLISH_NAME.get(re.sub(r"\s*\d+$", "", tag.parts[0].lower()))
            advice = f"write [{english}]" if english else "use a section's name such as [Verse] or [Chorus]"
            yield hint(
                "unknown-tags", at(tag.line), f"[{clipped(tag.text)}] is no usual tag and may be sung; {advice}."
            )


def section_gaps(song: Song) -> Iterator[Finding]:
    """A blank line before each section keeps one from flowing into the next."""
    rows = song.script.rows
    joined = tuple(
        tag.line
        for tag in song.script.tags
        if tag.is_section and tag.line > 1 and rows[tag.line - 2].strip() and tag_of(rows[tag.line - 2]) is None
        if tag_of(rows[tag.line - 1]) is not None
    )
    if joined:
        advice = "; leave one"
        if joined[1:]:
            others = f"the one at {numbered(joined[1:])}" if len(joined) == 2 else f"those at {numbered(joined[1:])}"
            advice = f", nor before {others}; leave one before each"
        yield warning("section-gaps", at(joined[0]), f"No blank line stands before the section{advice}.")


def no_tags(song: Song) -> Iterator[Finding]:
    """Section tags are the strongest means to shape a song over time."""
    if song.is_sung and len(song.script.lines) >= LINES_WITHOUT_TAGS and not song.script.tags:
        advice = "write [Verse] or [Chorus] above each section"
        yield warning("no-tags", LYRICS, f"{len(song.script.lines)} lines have no section tag; {advice}.")


def _tags_over_words(song: Song) -> Iterator[tuple[Tag, ...]]:
    """Every run of tag lines without a blank line between, where the next that is not blank are words to sing."""
    tagged: dict[int, list[Tag]] = defaultdict(list)
    for tag in song.script.tags if song.is_sung else ():
        tagged[tag.line].append(tag)
    run: list[Tag] = []
    ended = False  # by a blank line
    for number, row in enumerate(song.script.rows, 1):
        if TAG.sub("", row).strip():
            if run:
                yield tuple(run)
            run = []
        elif tagged[number]:
            run = [*([] if ended else run), *tagged[number]]
        ended = not row.strip()


def _is_balanced(row: str, opening: str, closing: str) -> bool:
    depth = 0
    for sign in row:
        depth += (sign == opening) - (sign == closing)
        if depth not in (0, 1):
            return False
    return depth == 0


def _is_known(tag: Tag) -> bool:
    text = tag.text
    return bool(
        tag.kind
        or families(text)
        or styles(text)
        or _KNOWN.search(text)
        or any(words.search(text) for words in DIMENSIONS.values())
    )


RULES = (stacked_tags, too_many_tags, brackets, tag_beside_words, unknown_tags, section_gaps, no_tags)
