"""What clients cannot do to one another: fill memory, threads, the queue, the disk, or stop what tidies up."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from acestep.errors import InputError, OutputError
from acestep.net.data_uri import MIB
from acestep.server import app
from acestep.server.faults import BusyError, TooLargeError, TooSlowError
from acestep.server.jobs import Job, JobQueue, State
from acestep.server.outputs import OutputFolder
from acestep.server.room import BodyRoom, Slots, arriving_within
from acestep.server.sending import OpenFile
from acestep.server.uploads import FETCHES_AT_ONCE, Uploads
from acestep.server.work import take_all

from hardening_support import answering, dripping, hosting, tone, wait_until
from server_support import LONG_SONG, Live, detail, serving, song

DRIP = dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x")


def raw(server: Live, path: str, stated: int, body: bytes = b"", kind: str = "application/json") -> socket.socket:
    """A connection that has sent the head of a request, and of its body as much as is given."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {stated}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def status_of(connection: socket.socket) -> int:
    return int(connection.recv(4096).split()[1])


def order(server: Live, **fields: Any) -> socket.socket:
    body = json.dumps(song(**fields)).encode()
    return raw(server, "/generate", len(body), body)


# --- recordings from slow places -----------------------------------------------------------------------------------
def test_slow_recordings_stop_nobody_else_and_end_with_their_clients(tmp_path: Path) -> None:
    answers = {"/drip.wav": DRIP, "/song.wav": answering(body=tone(12.0))}
    with serving(tmp_path, allow_private=True) as server, hosting(answers) as host:
        slow = {"task": "cover", "src_audio_path": host.url("/drip.wav")}
        assert server.post("/generate", json=song()).status_code == 200  # the model is loaded
        quick = song(task="cover", src_audio_path=host.url("/song.wav"))
        with ExitStack() as clients:
            for _ in range(FETCHES_AT_ONCE):
                clients.enter_context(order(server, **slow))
            wait_until(lambda: host.paths.count("/drip.wav") == FETCHES_AT_ONCE, 10)
            refused = server.post("/generate", json=quick)
            assert "busy with the recordings of others; come again in" in detail(refused, 429)
            assert int(refused.headers["Retry-After"]) >= 1
            assert server.post("/generate", json=song()).status_code == 200
        wait_until(lambda: not list(server.station.counter.scratch.iterdir()), 3)  # they would drip for 10 s
        assert server.post("/generate", json=quick).status_code == 200


# --- bodies --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(tmp_path_factory.mktemp("room"), queue=0, max_body_mib=1) as live:
        yield live


def test_a_full_queue_reads_no_body(server: Live) -> None:
    job = server.start(**LONG_SONG)
    with closing(raw(server, "/generate", MIB)) as unread:
        assert status_of(unread) == 429
    server.delete(f"/jobs/{job}")
    server.wait_for(job, "cancelled")


def test_bodies_in_memory_are_bounded_together(server: Live) -> None:
    with ExitStack() as clients:
        for _ in range(app.BODIES):
            clients.enter_context(raw(server, "/generate", MIB, b" " * (MIB - 1)))
        wait_until(lambda: refused_at_once(server), 10)
        assert server.post("/generate", json=song(lyrics="la " * 100)).status_code == 200
    wait_until(lambda: not refused_at_once(server), 10)


def refused_at_once(server: Live) -> bool:
    """Whether a large body is refused before it is sent."""
    with closing(raw(server, "/generate", MIB)) as unread:
        unread.settimeout(0.5)
        try:
            return status_of(unread) == 429
        except TimeoutError:
            return False


def test_uploads_are_bounded_before_they_are_read(server: Live) -> None:
    kind = "multipart/form-data; boundary=b"
    with ExitStack() as clients:
        for _ in range(app.UPLOADS_AT_ONCE):
            clients.enter_context(raw(server, "/files", MIB, b"--b\r\n", kind))
        time.sleep(0.3)
        with closing(raw(server, "/files", MIB, kind=kind)) as unread:
            assert status_of(unread) == 429
    wait_until(lambda: server.post("/files", files={"file": b"x"}).status_code == 200, 10)


def test_a_full_shelf_takes_no_upload(tmp_path: Path) -> None:
    shelf = Uploads(tmp_path, max_bytes=1, expire_s=0)
    for _ in range(8):
        shelf.check_room()
        shelf.add(io.BytesIO(b"x"))
    with pytest.raises(TooLargeError, match="no room for more uploads"):
        shelf.check_room()


def test_a_body_has_only_so_long() -> None:
    async def late() -> None:
        async with arriving_within(0.01):
            await asyncio.sleep(5)

    with pytest.raises(TooSlowError, match=r"longer than 0\.01 s"):
        asyncio.run(late())


def test_bodies_count_until_they_are_let_go() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"12345", "more_body": False}

    def arriving() -> AbstractAsyncContextManager[bytes]:
        return room.body(Request({"type": "http", "headers": []}, receive))

    async def two() -> None:
        async with arriving() as body:
            assert body == b"12345"
            with pytest.raises(BusyError):
                async with arriving():
                    pass
        async with arriving() as body:
            assert body == b"12345"

    room = BodyRoom(8, 1.0, small=0)
    asyncio.run(two())


def test_slots_are_given_back() -> None:
    slots = Slots(1, "here")
    for _ in range(2):
        with slots.taken(), pytest.raises(BusyError, match="busy here; come again in 10 s"), slots.taken():
            pass


# --- the queue -----------------------------------------------------------------------------------------------------
def test_cancelled_jobs_leave_nothing_in_the_queue() -> None:
    class Work:
        def __call__(self, job: Job) -> None:
            held.wait()

    held, queue = threading.Event(), JobQueue(waiting=3)
    first = queue.submit(Work(), lambda: None)
    wait_until(lambda: first.state is State.RUNNING, 5)
    left = []
    for _ in range(50):
        work = Work()
        left.append(weakref.ref(work))
        queue.cancel(queue.submit(work, lambda: None).id)
    del work
    gc.collect()
    assert not [reference for reference in left if reference() is not None]
    held.set()
    assert queue.submit(lambda job: "done", lambda: None).future.result(5) == "done"
    queue.close()


def test_more_that_waits_means_coming_again_later() -> None:
    waits = []
    for waiting in (0, 4):
        held, queue = threading.Event(), JobQueue(waiting=waiting)
        for _ in range(waiting + 1):
            queue.submit(lambda job, held=held: held.wait(), lambda: None)
        with pytest.raises(BusyError) as caught:
            queue.check_room()
        waits.append(caught.value.retry_after_s)
        held.set()
        queue.close()
    assert waits[1] == 5 * waits[0]


# --- files ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def outputs(tmp_path: Path) -> Iterator[OutputFolder]:
    with OutputFolder.opened(tmp_path / "outputs", 100.0) as folder:
        yield folder


def test_an_upload_that_vanishes_is_nobodys_trouble(tmp_path: Path) -> None:
    shelf = Uploads(tmp_path, max_bytes=100, expire_s=10)
    (tmp_path / "upload-gone").symlink_to(tmp_path / "nothing")  # listed, but not there when it is looked at
    old = shelf.add(io.BytesIO(b"old"))
    os.utime(tmp_path / old, (0, 0))
    shelf.expire()
    assert not (tmp_path / old).exists()


def test_the_sweep_goes_on_after_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "SWEEP_S", 0.05)
    with serving(tmp_path, expire_s=3600.0) as server:
        folder = server.station.counter.scratch.parent / "uploads"
        folder.rename(folder.with_name("away"))
        time.sleep(0.3)
        folder.with_name("away").rename(folder)
        sent = server.post("/files", files={"file": b"x"}).json()["file"]
        os.utime(folder / sent, (0, 0))
        wait_until(lambda: not (folder / sent).exists(), 5)


def test_a_name_leads_through_folders_alone(outputs: OutputFolder) -> None:
    (outputs.path / "f.wav").write_bytes(b"a file")
    for name in ("f.wav/x.wav", "f.wav/sub/x.wav"):
        with (
            pytest.raises(InputError, match="leads through 'f.wav', which is no folder"),
            outputs.reserved(name, ".wav"),
        ):
            pass
    with (
        outputs.reserved("later.wav", ".wav"),
        pytest.raises(InputError, match="leads through 'later.wav'"),
        outputs.reserved("later.wav/x.wav", ".wav"),
    ):
        pass
    with pytest.raises(InputError, match="have at most 8 folders"), outputs.reserved("d/" * 9 + "x.wav", ".wav"):
        pass


def test_such_a_name_is_400_before_anything_is_made(server: Live) -> None:
    (server.station.outputs.path / "f.wav").write_bytes(b"a file")
    jobs = len(server.get("/jobs").json())
    assert "is no folder" in detail(server.post("/generate", json=song(output_path="f.wav/x.wav")), 400)
    assert len(server.get("/jobs").json()) == jobs


def test_files_of_a_batch_are_all_named_or_none(outputs: OutputFolder, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    wishes = [(tmp_path / "one", outputs.path / "sub" / "a.wav"), (tmp_path / "missing", outputs.path / "b.wav")]
    with pytest.raises(OutputError, match="cannot write 'b.wav'"):
        take_all(wishes, outputs, overwrite=False)
    assert not list(outputs.path.rglob("*.wav"))
    assert not (outputs.path / "sub").exists()
    assert json.loads((outputs.path / ".acestep-server.json").read_text()) == {}


def test_folders_go_with_their_last_file(tmp_path: Path) -> None:
    now = [0.0]
    with OutputFolder.opened(tmp_path / "outputs", 10.0, lambda: now[0]) as outputs:
        for name in ("a/b/x.wav", "a/y.wav"):
            (tmp_path / "song").write_bytes(b"1")
            outputs.take(tmp_path / "song", outputs.path / name)
        (outputs.path / "a" / "theirs.txt").write_text("stays")
        now[0] = 11.0
        outputs.expire()
        assert not (outputs.path / "a" / "b").exists()
        assert [path.name for path in (outputs.path / "a").iterdir()] == ["theirs.txt"]


@pytest.mark.parametrize(
    ("headers", "status", "wanted"), [({}, 200, b"a song"), ({"Range": "bytes=2-5"}, 206, b"song")]
)
def test_a_song_is_sent_as_it_was_when_it_was_found(
    outputs: OutputFolder, headers: dict[str, str], status: int, wanted: bytes
) -> None:
    path = outputs.path / "a.wav"
    path.write_bytes(b"a song")
    _, file = outputs.opened_song("a.wav")
    path.unlink()
    path.write_bytes(b"another, and longer")
    answer = TestClient(OpenFile(path, file, {})).get("/", headers=headers)
    assert (answer.status_code, answer.content) == (status, wanted)
    assert answer.headers["Content-Type"] == "audio/wav"
    assert file.closed
