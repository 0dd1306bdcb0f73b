"""Files that come in: what a `data:` URI may say and what it costs, and a disk that takes no more."""

from __future__ import annotations

import base64
import random
import resource
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest

from acestep import cog_door
from acestep.cog_door import deliver, fetched
from acestep.cog_output import OutputFolder
from acestep.errors import InputError, OutputError
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music
from acestep.net import data_uri
from acestep.net.fetch import FetchLimits, fetch
from acestep.net.url import Refused

from hardening_support import FileHost, answering, hosting, limited

SMALL = FetchLimits(max_bytes=1000)
MIB = 1 << 20
DISK = 50_000  # bytes that the played disk has left for one file
PIECE = 1 << 12  # characters that are decoded at once


@pytest.fixture(scope="module")
def host() -> Iterator[FileHost]:
    with hosting({"/song.wav": answering(body=bytes(range(256)) * 1000)}) as running:
        yield running


# --- data: URIs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "data"),
    [
        ("data:audio/wav;base64,YWJj", b"abc"),
        ("data:;base64,YWJj", b"abc"),
        ("data:text/html;charset=utf-8;BASE64,YWJj", b"abc"),
        ("data:audio/wav;base64,YW\nJj", b"abc"),
        ("data:audio/wav;base64,YWI%3D", b"ab"),
        ("data:audio/wav,a%00b", b"a\0b"),
        ("data:,a,b", b"a,b"),
    ],
)
def test_data_uris(tmp_path: Path, uri: str, data: bytes) -> None:
    assert fetch(uri, tmp_path / "song", field="x").read_bytes() == data


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("data:audio/wav;base64", "has no comma before the data"),
        ("data:audio/wav;base64,", "is a data: URI without data"),
        ("data:audio/wav;base64,YW*Jj", "is a data: URI that is not valid base64"),
        ("data:audio/wav;base64,YWJ", r"is a data: URI that is not valid base64 \(Incorrect padding\)"),
        ("data:audio/wav;base64,ü", "is a data: URI that is not valid base64"),
        ("data:," + "x" * 1001, "holds more than 0.000953674 MiB"),
    ],
)
def test_bad_data_uris(tmp_path: Path, uri: str, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^x: the URL .*{sentence}"):
        fetch(uri, tmp_path / "song", field="x", limits=SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shift", range(4))
def test_every_spelling_of_long_data_is_read(shift: int) -> None:
    """The text is decoded in pieces: wherever one ends, nothing is lost, doubled or cut in two."""
    for size in (*range(PIECE // 3 - 3, PIECE // 3 + 4), *range(PIECE * 3 // 4 - 3, PIECE * 3 // 4 + 4), 50_000):
        data = random.Random(size).randbytes(size)
        text = base64.b64encode(data).decode()
        lines = "\r\n".join(text[start : start + 76] for start in range(shift, len(text), 76))
        spellings = {
            "base64": "data:;base64," + text,
            "base64 in lines": "data:;base64," + " " * shift + text[:shift] + lines,
            "base64 with escapes": "data:;base64," + "%0A" * shift + quote_from_bytes(text.encode(), safe=""),
            "escapes": "data:," + quote_from_bytes(data),
            "nothing but escapes": "data:," + "a" * shift + "".join(f"%{byte:02x}" for byte in data),
        }
        for spelling, uri in spellings.items():
            expected = b"a" * shift + data if spelling == "nothing but escapes" else data
            assert b"".join(data_uri.decode(uri, MIB)) == expected, (spelling, size)


@pytest.mark.parametrize("length", [PIECE - 4, PIECE, PIECE + 4])
@pytest.mark.parametrize("more", ["YWJj", "=", "===="])
def test_nothing_follows_padding(length: int, more: str) -> None:
    with pytest.raises(Refused, match="is not valid base64"):
        list(data_uri.decode("data:;base64," + "A" * (length - 2) + "==" + more, MIB))


@pytest.mark.parametrize(
    "uri",
    [
        "data:," + "%00" * MIB,
        "data:," + "%" * MIB,
        "data:;base64," + "A A " * (3 * MIB),
        "data:;base64," + " " * (12 * MIB) + "QUJD",
        "data:;base64," + "%41" * MIB,
        "data:;base64," + "AAAA" * (3 * MIB),
    ],
    ids=["escapes", "percent signs", "spaced base64", "spaces", "escaped base64", "base64"],
)
def test_no_spelling_costs_memory(tmp_path: Path, uri: str) -> None:
    """Of 1 to 12 MB of text; undone in one go, an escape costs up to 180 bytes."""
    tracemalloc.start()
    try:
        fetch(uri, tmp_path / "song", field="x")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * MIB


def test_data_over_the_limit_is_not_read_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds more than"):
        fetch("data:;base64," + "A" * (4 * MIB) + "***", tmp_path / "song", field="x", limits=SMALL)
    assert list(tmp_path.iterdir()) == []


# --- a full disk ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("road", ["a data URI", "a download"])
def test_a_full_disk_is_not_the_fault_of_who_asked(host: FileHost, tmp_path: Path, road: str) -> None:
    url = host.url("/song.wav") if road == "a download" else "data:," + "x" * 200_000
    with (
        limited(0, resource.RLIMIT_FSIZE, DISK),
        pytest.raises(OutputError, match=r"^cannot write a received file: File too large\.$"),
    ):
        fetch(url, tmp_path / "song", field="x", allow_private=True)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_does_not_fit(tiny: AceStepHandler) -> None:
    params = GenerationParams(caption="piano", duration=10, thinking=False, inference_steps=1)
    config, outputs = GenerationConfig(batch_size=2, audio_format="wav"), OutputFolder()
    with (
        pytest.raises(OutputError, match=r"^cannot write 'songs\.zip': File too large\.$"),
        outputs.filling() as folder,
    ):
        result = generate_music(tiny, None, params, config, folder)
        with limited(0, resource.RLIMIT_FSIZE, 3 * Path(result.audios[0]["path"]).stat().st_size // 2):
            deliver(result, return_all=True)
    assert not folder.exists()
    with outputs.filling() as folder:
        again = generate_music(tiny, None, params, config, folder)
        assert zipfile.ZipFile(deliver(again, return_all=True)).testzip() is None


def test_a_disk_that_takes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = OutputFolder()
    monkeypatch.setattr(cog_door.tempfile, "tempdir", str(tmp_path / "gone"))
    with (
        pytest.raises(OutputError, match="^cannot make a folder for the received files: No such file or directory"),
        fetched(GenerationParams(reference_audio="data:,x"), allow_private=False),
    ):
        pass
    outputs.fresh().parent.rename(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="^cannot make a folder for the songs: No such file or directory"):
        outputs.fresh()
