"""The guarded download: what it refuses before it connects, what it bounds, what it leaves behind."""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from acestep.errors import CancelledError, InputError
from acestep.net.fetch import FetchLimits, fetch
from acestep.net.url import Destination, Refused, is_public

from hardening_support import CERTIFICATE, PUBLIC, FileHost, PlayedInternet, answering, dripping, hosting, redirecting

SMALL = FetchLimits(max_bytes=1000, total_s=0.6, silence_s=0.3, redirects=2)
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = {"Transfer_Encoding": "chunked"}
ANSWERS = {
    "/song.wav": answering(body=b"song"),
    "/moved": redirecting("/song.wav"),
    "/round": redirecting("/round"),
    "/nowhere": answering(302),
    "/file": redirecting("file:///etc/hostname"),
    "/missing": answering(404),
    "/empty": answering(),
    "/zipped": answering(body=b"xx", Content_Encoding="gzip"),
    "/announced": answering(body=b"x", Content_Length="1001"),
    "/short": answering(body=b"x" * 10, Content_Length="20"),
    "/big": dripping(OK + b"\r\n", b"x" * 500, 0.0),
    "/slow-body": dripping(OK + b"\r\n", b"x"),
    "/slow-head": dripping(OK, b"X-A: b\r\n"),
    "/slow-line": dripping(OK + b"X-A: ", b"b"),
    "/silent": dripping(b"", b"", 0.5),
    "/nonsense": dripping(b"hello\r\n\r\n", b"", 0.0),
}


@pytest.fixture(scope="module")
def host() -> Iterator[FileHost]:
    with hosting(ANSWERS) as running:
        yield running


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> PlayedInternet:
    return PlayedInternet(monkeypatch)


PRIVATE = """
    127.0.0.1 127.8.9.1 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1
    100.100.100.200 168.63.129.16 192.0.0.192 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1
    240.0.0.1 255.255.255.255
    :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:8.8.8.8 fe80::1 fe80::1%eth0 fec0::1 fc00::1
    fd00:ec2::254 ff02::1 2001:db8::1 2001::1 2002:7f00:1:: 2002:a00:1:: 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe
    64:ff9b:1::808:808 100::1
""".split()


@pytest.mark.parametrize("address", PRIVATE)
def test_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    "8.8.8.8 1.1.1.1 172.32.0.1 100.128.0.1 2606:4700::1111 2a00:1450::1 64:ff9b::808:808 2002:808:808::".split(),
)
def test_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://example.com/a", "must begin with https:// or http://"),
        ("file:///etc/hostname", "must begin with https:// or http://"),
        ("HTTP://example.com/", "must begin with https:// or http://"),
        ("https:example.com", "must begin with"),
        ("//example.com/a", "must begin with"),
        ("https://user:word@example.com/", "must not carry a user name or password"),
        ("https://example.com@127.0.0.1/", "must not carry a user name or password"),
        ("https://exa\tmple.com/", "has a space, a backslash or a control character"),
        ("https://example.com\\@127.0.0.1/", "has a space, a backslash"),
        ("https://example.com/\r\nHost: a", "has a space"),
        ("https://example.com/" + "a" * 8192, "or over 8192 characters"),
        ("https:///a", "names no host"),
        ("https://example.com:99999/", "is not a valid URL"),
        ("https://example.com:x/", "is not a valid URL"),
        ("https://[::1/", "is not a valid URL"),
        ("https://a..b/", "is not a valid URL"),
        (f"https://{'a' * 64}.com/", "is not a valid URL"),
    ],
)
def test_urls_that_are_not_followed(url: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        Destination.parse(url)


def test_a_url_is_taken_apart() -> None:
    assert Destination.parse("https://Example.com/aü?q=1#part") == Destination(
        "https", "example.com", 443, "/a%C3%BC?q=1"
    )
    assert Destination.parse("http://[2606:4700::1]:81") == Destination("http", "2606:4700::1", 81, "/")


@pytest.mark.parametrize(
    "spelling",
    [
        "127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "2130706433",
        "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "127.1", "１２７.0.0.1", "LOCALHOST", "localhost.",
    ],
)  # fmt: skip
def test_no_spelling_of_this_machine_gets_a_connection(host: FileHost, tmp_path: Path, spelling: str) -> None:
    before = host.connections
    with pytest.raises(InputError, match="input_audio: the URL (leads to|names the host) '") as caught:
        fetch(f"http://{spelling}:{host.server_port}/song.wav", tmp_path / "song", field="input_audio")
    assert caught.value.field == "input_audio"
    assert host.connections == before
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_resolved_once_and_its_address_is_used(
    host: FileHost, internet: PlayedInternet, tmp_path: Path
) -> None:
    internet.names["songs.example"] = [PUBLIC]
    url = f"http://songs.example:{host.server_port}/song.wav"
    assert fetch(url, tmp_path / "song", field="x").read_bytes() == b"song"
    assert internet.asked == ["songs.example"]
    assert internet.reached == [PUBLIC]


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["10.1.2.3"], [PUBLIC, "192.168.0.1"]])
def test_a_name_with_a_private_address_is_refused(
    host: FileHost, internet: PlayedInternet, tmp_path: Path, addresses: list[str]
) -> None:
    internet.names["inside.example"] = addresses
    with pytest.raises(InputError, match="leads to 'inside.example', which is not an address on the public internet"):
        fetch(f"http://inside.example:{host.server_port}/song.wav", tmp_path / "song", field="x")
    assert internet.reached == []


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("http://127.0.0.1:{port}/song.wav", "leads to '127.0.0.1'"),
        ("//localhost:{port}/song.wav", "leads to 'localhost'"),
        ("http://me:word@songs.example:{port}/song.wav", "must not carry a user name"),
        ("file:///etc/hostname", "must begin with https"),
        ("http://[::1", "is redirected to something that is not a URL"),
        ("http://[x]/", "is redirected to something that is not a URL"),
    ],
)
def test_a_redirect_is_judged_like_the_first_url(
    internet: PlayedInternet, tmp_path: Path, location: str, sentence: str
) -> None:
    internet.names |= {"songs.example": [PUBLIC], "127.0.0.1": ["127.0.0.1"], "localhost": ["127.0.0.1"]}
    with hosting({}) as host:
        host.answers["/moved"] = redirecting(location.format(port=host.server_port))
        with pytest.raises(InputError, match=sentence):
            fetch(f"http://songs.example:{host.server_port}/moved", tmp_path / "song", field="x")
        assert host.paths == ["/moved"]
    assert internet.reached == [PUBLIC]


def test_a_redirect_is_followed(host: FileHost, tmp_path: Path) -> None:
    assert fetch(host.url("/moved"), tmp_path / "s", field="x", allow_private=True).read_bytes() == b"song"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/round", "is redirected more than 2 times"),
        ("/nowhere", "is redirected more than 2 times"),
        ("/file", "must begin with https:// or http://"),
        ("/missing", "was answered with 404 instead of a file"),
        ("/empty", "was answered with an empty file"),
        ("/zipped", "was answered with compressed data"),
        ("/announced", "leads to more than 0.000953674 MiB"),
        ("/big", "leads to more than"),
        ("/short", "ended before the whole file had arrived"),
        ("/slow-body", "took longer than 0.6 s to download"),
        ("/slow-head", "took longer than 0.6 s to download"),
        ("/slow-line", "took longer than 0.6 s to download"),
        ("/silent", r"cannot be downloaded \(no byte came for too long\)"),
        ("/nonsense", r"cannot be downloaded \(BadStatusLine\)"),
    ],
)
def test_every_end_is_one_sentence_and_no_file(host: FileHost, tmp_path: Path, path: str, sentence: str) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match=f"^input_audio: the URL {sentence}") as caught:
        fetch(
            host.url(path) + "?token=marker",
            tmp_path / "song",
            field="input_audio",
            allow_private=True,
            limits=SMALL,
        )
    assert time.monotonic() - started < 5  # the other side would go on for 10 s
    assert "marker" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(InputError, match=r"cannot be downloaded \(Connection refused\)"):
            fetch(f"http://127.0.0.1:{port}/", tmp_path / "song", field="x", allow_private=True)


def test_https_is_not_spoken_with_a_server_that_cannot(host: FileHost, tmp_path: Path) -> None:
    url = host.url("/song.wav").replace("http:", "https:")
    with pytest.raises(InputError, match="cannot be downloaded"):
        fetch(url, tmp_path / "song", field="x", allow_private=True)
    assert list(tmp_path.iterdir()) == []


def test_https_needs_a_certificate_that_somebody_trusted_has_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hosting(ANSWERS) as host:
        host.speak_tls()
        url = host.url("/song.wav").replace("http:", "https:")
        with pytest.raises(InputError, match=r"cannot be downloaded \(self-signed certificate\)"):
            fetch(url, tmp_path / "song", field="x", allow_private=True)
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert fetch(url, tmp_path / "song", field="x", allow_private=True).read_bytes() == b"song"
        with pytest.raises(InputError, match=r"cannot be downloaded \(Hostname mismatch"):
            fetch(url.replace("127.0.0.1", "localhost"), tmp_path / "other", field="x", allow_private=True)


def test_who_is_cancelled_leaves_at_once_and_hangs_up(host: FileHost, tmp_path: Path) -> None:
    ended: list[type[BaseException]] = []

    def wait_for_the_file() -> None:
        try:
            fetch(host.url("/slow-body"), tmp_path / "song", field="x", allow_private=True)
        except KeyboardInterrupt as error:
            ended.append(type(error))

    waiting = threading.Thread(target=wait_for_the_file)
    waiting.start()
    while not (tmp_path / "song").exists():
        time.sleep(0.01)
    cancelled = time.monotonic()
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(waiting.ident), ctypes.py_object(KeyboardInterrupt))
    waiting.join()
    assert time.monotonic() - cancelled < 3
    assert ended == [KeyboardInterrupt]
    assert list(tmp_path.iterdir()) == []
    assert not any(thread.name.startswith("fetch") for thread in threading.enumerate())


def test_who_watches_can_end_a_transfer(host: FileHost, tmp_path: Path) -> None:
    calls = 0

    def watch() -> None:
        nonlocal calls
        calls += 1
        if (tmp_path / "song").exists():
            raise CancelledError("enough")

    started = time.monotonic()
    with pytest.raises(CancelledError, match="enough"):
        fetch(host.url("/slow-body"), tmp_path / "song", field="x", allow_private=True, watch=watch)
    assert time.monotonic() - started < 3
    assert calls > 0
    assert list(tmp_path.iterdir()) == []
    assert not any(thread.name.startswith("fetch") for thread in threading.enumerate())
