"""The parts of the Cog stand-in that need no runtime: typed inputs, the file exchange, the client's errors."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from acestep.cogrun.client import HOST, CogClient
from acestep.cogrun.errors import CogServerError
from acestep.cogrun.exchange import FileExchange
from acestep.cogrun.inputs import parse_inputs
from acestep.cogrun.parameter import Parameter
from acestep.errors import InputError, OutputError

PARAMETERS = (
    Parameter(name="prompt", type="str", default="", max_length=5),
    Parameter(name="steps", type="int", default=8, ge=1, le=200),
    Parameter(name="shift", type="float", optional=True, ge=0.1, le=10),
    Parameter(name="loud", type="bool", default=False),
    Parameter(name="solver", type="str", default="euler", choices=("euler", "heun")),
    Parameter(name="audio", type="Path", optional=True),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prompt=a=b", "a=b"),
        ("prompt=", ""),
        ("prompt=@x", "@x"),
        ("steps=200", 200),
        ("shift=1", 1.0),
        ("shift=1e-1", 0.1),
        ("loud=True", True),
        ("loud=0", False),
        ("solver=heun", "heun"),
        ("audio=https://example.org/a.wav", "https://example.org/a.wav"),
        ("audio=data:audio/wav;base64,AA==", "data:audio/wav;base64,AA=="),
    ],
)
def test_values_have_the_type_of_the_input(text: str, expected: object) -> None:
    value = parse_inputs([text], PARAMETERS)[text.partition("=")[0]]
    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps=8.0", "steps=8.0 is not a whole number"),
        ("steps=", "steps= is not a whole number"),
        ("steps=201", "steps=201 is above the maximum of 200"),
        ("shift=fast", "shift=fast is not a number"),
        ("shift=nan", "shift=nan is not a number"),
        ("shift=1e999", "shift=1e999 is not a number"),
        ("shift=0.05", "shift=0.05 is below the minimum of 0.1"),
        ("loud=maybe", "loud=maybe is neither true nor false"),
        ("solver=rk4", "solver=rk4 is not one of euler, heun"),
        ("prompt=abcdef", "prompt=abcdef is above the maximum of 5 characters"),
        ("audio=a.wav", "audio=a.wav must be @FILE or an http, https or data URL"),
        ("audio=file:///a.wav", "must be @FILE or an http"),
        ("audio=@", "there is no file ''"),
        ("step=8", "there is no input 'step'; closest: steps"),
        ("zzzzzz=8", "there is no input 'zzzzzz'; closest: prompt, steps"),
        ("=8", "there is no input ''"),
    ],
)
def test_a_wrong_value_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_inputs([text], PARAMETERS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_long_value_is_not_repeated_whole() -> None:
    with pytest.raises(InputError) as caught:
        parse_inputs([f"prompt={'x' * 10_000}"], PARAMETERS)
    assert len(str(caught.value)) < 100


def test_an_input_is_given_once() -> None:
    with pytest.raises(InputError, match="'steps' is given twice"):
        parse_inputs(["steps=1", "steps=2"], PARAMETERS)


def test_a_local_file_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").touch()
    monkeypatch.chdir(tmp_path)
    assert parse_inputs(["audio=@a.wav"], PARAMETERS) == {"audio": tmp_path / "a.wav"}


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[FileExchange]:
    with FileExchange(tmp_path) as running:
        yield running


def send(method: str, url: str, body: bytes | None = None, **headers: str) -> tuple[int, str, bytes]:
    """Status, `Location` and body of one request."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)) as connection:
        connection.request(method, parts.path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location", ""), answer.read()


def test_an_offered_file_can_be_downloaded(exchange: FileExchange, tmp_path: Path) -> None:
    file = tmp_path / "My söng #1?.wav"
    file.write_bytes(b"RIFF")
    assert send("GET", exchange.offer(file)) == (200, "", b"RIFF")


def test_nothing_but_offered_files_can_be_downloaded(exchange: FileExchange, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s")
    url = exchange.offer(tmp_path / "gone.wav")
    assert send("GET", url)[0] == 404
    assert send("GET", url.replace("gone.wav", "secret"))[0] == 404
    assert send("GET", url.replace("gone.wav", "../../../etc/hostname"))[0] == 404


def test_an_upload_is_kept_in_one_step(exchange: FileExchange, tmp_path: Path) -> None:
    status, location, _ = send("PUT", f"{exchange.upload_url}/s%C3%B6ng.flac", b"fLaC" * 1000)
    assert status == 201
    received = exchange.received(location)
    assert received.name == "söng.flac"
    assert not (tmp_path / "final.flac").exists()
    assert exchange.keep(received, tmp_path / "final.flac").read_bytes() == b"fLaC" * 1000
    assert [path.name for path in tmp_path.iterdir()] == ["final.flac"]


def test_an_upload_needs_the_token_and_a_length(exchange: FileExchange, tmp_path: Path) -> None:
    token = urlsplit(exchange.upload_url).path.split("/")[1]
    assert send("PUT", exchange.upload_url.replace(token, "guess") + "/a.wav", b"x")[0] == 400
    assert send("PUT", f"{exchange.upload_url}/a.wav", b"x", **{"Content-Length": "many"})[0] == 400
    assert exchange.received(f"{exchange.upload_url}/a.wav") is None
    assert list(tmp_path.iterdir()) == []


def test_another_url_is_no_upload_of_ours(exchange: FileExchange) -> None:
    assert exchange.received("https://example.org/out/a.wav") is None
    assert exchange.received("plain text") is None


def test_a_disk_that_cannot_hold_the_upload_fails_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with FileExchange(tmp_path / "file") as exchange:
        assert send("PUT", f"{exchange.upload_url}/a.wav", b"x")[0] == 507


def test_parts_nobody_kept_are_deleted(tmp_path: Path) -> None:
    with FileExchange(tmp_path) as exchange:
        send("PUT", f"{exchange.upload_url}/a.wav", b"x")
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_upload_leaves_nothing(tmp_path: Path) -> None:
    with FileExchange(tmp_path) as exchange:
        parts = urlsplit(exchange.upload_url)
        with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
            head = f"PUT {parts.path}/a.wav HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
            connection.sendall(head.encode() + b"only this")
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100).startswith(b"HTTP/1.0 400")
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_replaced_is_an_output_error(exchange: FileExchange, tmp_path: Path) -> None:
    _, location, _ = send("PUT", f"{exchange.upload_url}/a.wav", b"x")
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot write .*taken"):
        exchange.keep(exchange.received(location), tmp_path / "taken")


def test_no_server_is_a_server_error() -> None:
    with closing(socket.socket()) as unused:
        unused.bind((HOST, 0))
        client = CogClient(unused.getsockname()[1])
        with pytest.raises(CogServerError, match="does not answer GET /health-check"):
            client.health()


def accept_and_close(listener: socket.socket) -> None:
    listener.accept()[0].close()


def test_a_server_that_hangs_up_is_a_server_error() -> None:
    with closing(socket.create_server((HOST, 0))) as listener:
        hang_up = threading.Thread(target=accept_and_close, args=(listener,))
        hang_up.start()
        with pytest.raises(CogServerError, match="does not answer POST /predictions"):
            CogClient(listener.getsockname()[1]).predict({}, identifier="x", timeout=5.0)
        hang_up.join()
