"""The language of a line as the published program decides it, faults included, for its exact token ids.

In: one line. Out: a supported language. It knows no other line of the song: a sign or number at the start counts as
Chinese, and a short line is what langid takes it for. `detect` does better; this is for comparisons with upstream.

The line is cut by patterns tried one after the other over all of it. What one takes is held back behind a placeholder
that the following patterns read as one word; each kind of text has its own way to a language. The languages are
weighed by length, and English yields to any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from acestep.v1.lyrics.langid import identify
from acestep.v1.lyrics.languages import FALLBACK, SUPPORTED
from acestep.v1.lyrics.tags import begins_with_tag

QUOTE_SHORT = 5  # characters of a quotation, or of a piece with Han, that langid is not trusted with
PIECE_SHORT = 2  # characters of a piece that is joined to the next
SURE, LEADS = 0.90, 0.89  # probabilities: kept as it is; named first of two
ACCENTED = "àáâãäåæçèéêëìíîïðñòóôõöùúûüýþÿ"
VIETNAMESE = "đơưăáàảãạắằẳẵặấầẩẫậéèẻẽẹếềểễệíìỉĩịóòỏõọốồổỗộớờởỡợúùủũụứừửữựôâêơưỷỹ"

_HELD = "⑥{:06d}⑥"  # a word to the patterns: the sign counts as a letter
_HELD_AT = re.compile(r"⑥(\d{6})⑥")
_AFTER_SENTENCE = re.compile(r"(?<=[。.?？!！])(?![。.?？!！])")
_SIGNS = re.compile(r"([^\w\s]+)")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_KANA = re.compile(r"[\u3040-\u30ff]")


def upstream_languages(rows: Sequence[str]) -> tuple[str, ...]:
    """The language of each stripped line; of empty lines and of structure tags, that of tags.

    Raises:
        UnsupportedError: py3langid is not installed.
    """
    return tuple(upstream_language(row) if row and not begins_with_tag(row) else FALLBACK for row in rows)


def upstream_language(line: str) -> str:
    """The language upstream reads a stripped, non-empty line in.

    Raises:
        UnsupportedError: py3langid is not installed.
    """
    ranked = sorted(upstream_counts(line).items(), key=lambda item: -item[1])
    best = ranked[1][0] if len(ranked) > 1 and ranked[0][0] == "en" else ranked[0][0]
    return best if best in SUPPORTED else FALLBACK


def upstream_counts(line: str) -> dict[str, int]:
    """Characters of the line by langid's code, a Chinese one counted twice; ``{"zh": 0}`` where nothing is found."""
    heard = _Heard()
    held: list[tuple[_Reader, str]] = []
    for pattern, reader in _READERS:
        line = _hold(line, pattern, reader, held)
    for text, claimed in _parts(line, held):
        (claimed or _read_rest)(text, heard)
    return heard.counts()


@dataclass(slots=True)
class _Segment:
    """A run of one language; of ``zh|ja`` it is the second beside a run of that language, else the first."""

    language: str
    text: str

    @property
    def has_letters(self) -> bool:
        return any(sign.isalpha() for sign in self.text)


@dataclass(slots=True)
class _Heard:
    """The segments of a line so far."""

    segments: list[_Segment] = field(default_factory=list)

    @property
    def first_language(self) -> str:
        """Of the first words; Chinese before any."""
        spoken = [segment for segment in self.segments if segment.has_letters] or self.segments
        return spoken[0].language if spoken else "zh"

    def add(self, language: str, text: str) -> None:
        """One more piece. Signs and numbers go with the piece before; alone at the start they are counted twice."""
        if language == "en":
            text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text) + " "
        segment = _Segment(language, text)
        if self.segments:
            last = self.segments[-1]
            if not segment.has_letters:
                segment.language = last.language
            if segment.language == last.language:
                last.text += segment.text
                return
            if not last.has_letters:
                segment.text = last.text + segment.text
        self.segments.append(segment)

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = {} if self.segments else {"zh": 0}
        for i, segment in enumerate(self.segments):
            around = {near.language for near in self.segments[max(i - 1, 0) : i + 2] if near is not segment}
            first, *others = segment.language.split("|")
            code = next((other for other in others if other in around), first)
            found[code] = found.get(code, 0) + len(segment.text) * (2 if code == "zh" else 1)
        return found


_Reader = Callable[[str, _Heard], None]


def _hold(line: str, pattern: re.Pattern[str], reader: _Reader, held: list[tuple[_Reader, str]]) -> str:
    """The line with what the pattern finds held back; left as it is where that, groups joined, is all of the line."""
    found = list(pattern.finditer(line))
    if len(found) == 1 and "".join(found[0].groups()) == line:
        return line

    def keep(match: re.Match[str]) -> str:
        held.append((reader, match[0]))
        return _HELD.format(len(held) - 1)

    return pattern.sub(keep, line)


def _parts(line: str, held: list[tuple[_Reader, str]]) -> Iterator[tuple[str, _Reader | None]]:
    """The line in order: what no pattern took, and what was held back with its reader."""
    for i, text in enumerate(_HELD_AT.split(line)):
        if i % 2 and int(text) < len(held):
            reader, taken = held[int(text)]
            yield _restored(taken, held), reader
        elif text:
            yield text, None


def _restored(text: str, held: list[tuple[_Reader, str]]) -> str:
    """Text as typed: placeholders inside it, of patterns tried earlier, filled in."""
    return _HELD_AT.sub(
        lambda match: _restored(held[int(match[1])][1], held) if int(match[1]) < len(held) else match[0], text
    )


def _cleaned(text: str) -> str:
    """What langid is shown: words with one space between, a repeated character once."""
    return re.sub(r"(.)\1+", r"\1", re.sub(r"\W+", " ", text)).strip()


def _identify(text: str) -> tuple[str, float]:
    code, probability = identify(_cleaned(text))
    return code, round(probability, 3)


def _read_as(language: str) -> _Reader:
    """A script that is one language."""
    return lambda text, heard: heard.add(language, text)


def _read_number(text: str, heard: _Heard) -> None:
    heard.add(heard.first_language, text)


def _read_latin(text: str, heard: _Heard) -> None:
    for sentence in _AFTER_SENTENCE.split(text):
        if sentence.strip():
            heard.add(_identify(sentence)[0], sentence)


def _read_quoted(text: str, heard: _Heard) -> None:
    if len(text) <= QUOTE_SHORT:
        _read_rest(text, heard)
    else:
        heard.add(_identify(text)[0], text)


def _read_marked(text: str, heard: _Heard) -> None:
    """``<ja>...</ja>``: a language the writer names."""
    match = _MARKED.fullmatch(text)
    named, words = (match[2].partition("|")[0].lower(), match[3]) if match else ("", text)
    heard.add(named or _identify(words)[0], words)


def _read_rest(text: str, heard: _Heard) -> None:
    """Han, kana, signs, digits, and every script without a pattern."""
    pieces = list(_joined([piece for piece in _SIGNS.split(text) if piece]))
    for i, piece in enumerate(pieces):
        heard.add(_language_of(piece, is_last=i == len(pieces) - 1), piece)


def _joined(pieces: list[str]) -> Iterator[str]:
    """Pieces long enough to be judged, each with the signs after it."""
    run = ""
    for i, piece in enumerate(pieces):
        run += piece
        following = pieces[i + 1 : i + 2]
        if not following or not (_is_signs(run) or _is_signs(following[0]) or len(_cleaned(run)) <= PIECE_SHORT):
            yield run
            run = ""


def _is_signs(text: str) -> bool:
    return not _cleaned(text)


def _language_of(piece: str, *, is_last: bool) -> str:
    """A piece without digits by langid; Han alone, or nothing, is Chinese; short pieces with Han may be Japanese."""
    words = re.sub(r"[\d\s]+", "", _cleaned(piece))
    code, probability = _identify(re.sub(r"\d+", "", piece))
    if len(_HAN.findall(words)) == len(words):
        code = "zh"
    if not words or len(words) > QUOTE_SHORT or not _HAN.search(words):
        return code
    if _KANA.search(words):
        return "ja"
    if probability > SURE and len(words) > PIECE_SHORT:
        return code
    if is_last and len(words) == 1:
        return "zh"
    return "ja|zh" if code == "ja" and probability >= LEADS else "zh|ja"


def _script(letters: str) -> re.Pattern[str]:
    """Words of one script with the opening signs before each and all signs after it."""
    return re.compile(rf"(([【《（(“‘\"']*+[{letters}]++[\W\s]*+)+)")


_MARKED = re.compile(r"(<([a-zA-Z|-]*)>(.*?)</*[a-zA-Z|-]*>)")
_READERS: tuple[tuple[re.Pattern[str], _Reader], ...] = (
    (_MARKED, _read_marked),
    (_script("가-힣"), _read_as("ko")),
    (_script("\u0e00-\u0e7f"), _read_as("th")),
    (_script("А-Яа-яЁё"), _read_as("ru")),
    (re.compile(r"(\W*+\d++\W+\d*\W*\d*)"), _read_number),
    (_script("a-zA-Z" + ACCENTED + VIETNAMESE), _read_latin),
    (re.compile(r"([\"'])(.*?)(\1)"), _read_quoted),
    (re.compile(r"(\n*[【《（(“‘])([^【《（(“‘’”)）》】]{3,})([’”)）》】][\W\s]*\n?)"), _read_quoted),
)
