"""Downloads against a hub on loopback: every way a link, a server or a disk can fail, and what is left afterwards."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from acestep.checkpoints.files import staging_of
from acestep.checkpoints.integrity import MARKER, State, inspect
from acestep.checkpoints.registry import LANGUAGE_MODELS

from download_support import (
    CLOSED,
    HUB_CONFIG,
    HUB_WEIGHTS,
    IMPATIENT,
    VAE,
    WEIGHTS,
    assert_ready,
    changed,
    complaint,
    download,
    environment,
    start,
    wait_until,
)
from fake_hub import BIG, FakeHub, Fault, content, serving


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving() as served:
        served.add(VAE)
        yield served


def test_a_download_and_its_marker(hub: FakeHub, tmp_path: Path) -> None:
    done = download(hub, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}/vae  ready  0.00 GB  {VAE.revision[:8]}\n"
    assert_ready(tmp_path)
    marker = json.loads((tmp_path / "vae" / MARKER).read_text())
    assert (marker["repository"], marker["commit"]) == (VAE.repository, VAE.revision)
    assert marker["files"] == {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in content(VAE).items()
        if name in {"config.json", WEIGHTS}
    }


def test_what_is_ready_needs_no_network(hub: FakeHub, tmp_path: Path) -> None:
    assert download(hub, tmp_path).returncode == 0
    requests = len(hub.seen)
    assert download(hub, tmp_path).returncode == 0
    assert len(hub.seen) == requests
    assert download(CLOSED, tmp_path, HF_HUB_OFFLINE="1").returncode == 0


def test_the_fake_is_a_hub_to_its_own_library(hub: FakeHub, tmp_path: Path) -> None:
    program = (
        "import sys; from huggingface_hub import snapshot_download\n"
        f"snapshot_download({VAE.repository!r}, revision={VAE.revision!r}, local_dir=sys.argv[1])"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env=environment(hub.endpoint, HF_HOME=str(tmp_path / "home")),
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert {path.name: path.read_bytes() for path in (tmp_path / "vae").iterdir()} == content(VAE)


def test_progress_and_the_result(hub: FakeHub, tmp_path: Path) -> None:
    program = f"""
import json
from pathlib import Path
from acestep.checkpoints.download import ensure_all
from acestep.checkpoints.registry import COMPONENTS
calls = []
rows = [COMPONENTS["vae"]] * 2
found, again = ensure_all(rows, Path({str(tmp_path)!r}), progress=lambda *call: calls.append(call))
assert found == again
print(json.dumps([calls, str(found.folder), found.commit, sorted(path.name for path in found.files)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(hub.endpoint),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    calls, folder, commit, files = json.loads(done.stdout)
    assert (folder, commit, files) == (str(tmp_path / "vae"), VAE.revision, ["config.json", WEIGHTS])
    arrived = [done for name, done, size in calls if name == HUB_WEIGHTS and size == BIG]
    assert arrived[0] == 0
    assert arrived[-1] == BIG
    assert arrived == sorted(arrived)
    assert len(arrived) > 2


@pytest.mark.parametrize("fault", [Fault(drop_after=2_000_000), Fault(drop_after=2_000_000, reset=True)])
def test_a_dropped_link_is_taken_up_where_it_broke(hub: FakeHub, tmp_path: Path, fault: Fault) -> None:
    hub.once[HUB_WEIGHTS].append(fault)
    assert download(hub, tmp_path).returncode == 0
    assert_ready(tmp_path)
    first, second = hub.bodies(HUB_WEIGHTS)
    assert first.range is None
    assert second.range is not None
    begun = int(second.range.removeprefix("bytes=").removesuffix("-"))
    assert 1_000_000 <= begun <= 2_000_000
    assert hub.bytes_sent <= 2_000_000 + BIG - begun + 10_000


def test_a_silent_link_is_taken_up_too(hub: FakeHub, tmp_path: Path) -> None:
    hub.once[HUB_WEIGHTS].append(Fault(drop_after=2_000_000, hold=True))
    assert download(hub, tmp_path, HF_HUB_DOWNLOAD_TIMEOUT="1").returncode == 0
    assert_ready(tmp_path)
    assert hub.bodies(HUB_WEIGHTS)[1].range is not None


def test_a_server_that_cannot_resume_sends_it_all_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.once[HUB_WEIGHTS] += [Fault(drop_after=2_000_000), Fault(no_range=True)]
    assert download(hub, tmp_path).returncode == 0
    assert_ready(tmp_path)
    assert len(hub.bodies(HUB_WEIGHTS)) == 2


def test_a_busy_hub_is_asked_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.once[HUB_WEIGHTS].append(Fault(status=503))
    assert download(hub, tmp_path).returncode == 0
    assert_ready(tmp_path)


def test_a_link_that_stays_dead_keeps_what_came(hub: FakeHub, tmp_path: Path) -> None:
    hub.once[HUB_WEIGHTS].append(Fault(drop_after=2_000_000))
    hub.always[HUB_WEIGHTS] = Fault(drop_after=0)
    line = complaint(download(hub, tmp_path, before=IMPATIENT))
    assert "connection to 127.0.0.1 failed" in line
    assert not (tmp_path / "vae").exists()
    del hub.always[HUB_WEIGHTS]
    sent = hub.bytes_sent
    assert download(hub, tmp_path).returncode == 0
    assert_ready(tmp_path)
    assert hub.bytes_sent - sent < BIG - 1_000_000


def test_a_killed_download_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    hub.once[HUB_WEIGHTS].append(Fault(drop_after=2_000_000, hold=True))
    process = start(hub, tmp_path)
    assert hub.reached.wait(30)
    wait_until(lambda: any(path.stat().st_size >= 1 << 20 for path in staging_of(VAE, tmp_path).rglob(WEIGHTS)))
    process.kill()
    process.communicate(timeout=30)
    hub.gate.set()
    assert inspect(VAE, tmp_path).state is State.ABSENT
    sent = hub.bytes_sent
    assert download(hub, tmp_path).returncode == 0
    assert_ready(tmp_path)
    assert hub.bodies(HUB_WEIGHTS)[-1].range is not None
    assert hub.bytes_sent - sent < BIG - 900_000


CANCEL = """
import ctypes, sys, threading, time
from pathlib import Path
from acestep.checkpoints.download import ensure_all
from acestep.checkpoints.registry import COMPONENTS

class Cancelled(BaseException):
    pass

def work():
    try:
        ensure_all([COMPONENTS["vae"]], Path(sys.argv[1]), progress=lambda *_: started.set())
    except Cancelled:
        print(f"{time.monotonic() - asked:.2f}", flush=True)

started, thread = threading.Event(), threading.Thread(target=work)
thread.start()
started.wait(30)
sys.stdin.readline()  # the hub has fallen silent
asked = time.monotonic()
ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Cancelled))
"""


def test_a_cancelled_thread_leaves_a_silent_link_at_once(hub: FakeHub, tmp_path: Path) -> None:
    """As Cog cancels: an exception set from another thread, which no lock is woken by."""
    hub.once[HUB_WEIGHTS].append(Fault(drop_after=2_000_000, hold=True))
    process = subprocess.Popen(
        [sys.executable, "-c", CANCEL, str(tmp_path)],
        env=environment(hub.endpoint),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert hub.reached.wait(30)
    process.stdin.write("\n")
    process.stdin.flush()
    assert float(process.stdout.readline()) < 3  # a second of it for its threads
    hub.gate.set()
    process.communicate(timeout=30)
    assert download(hub, tmp_path).returncode == 0
    assert_ready(tmp_path)


def test_an_interrupt_ends_it_and_keeps_what_came(hub: FakeHub, tmp_path: Path) -> None:
    hub.once[HUB_WEIGHTS].append(Fault(drop_after=2_000_000, hold=True))
    process = start(hub, tmp_path)
    assert hub.reached.wait(30)
    wait_until(lambda: any(path.stat().st_size >= 1 << 20 for path in staging_of(VAE, tmp_path).rglob(WEIGHTS)))
    process.send_signal(signal.SIGINT)
    hub.gate.set()
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert told == "acestep-download: interrupted; the same command goes on from here\n"
    assert not (tmp_path / "vae").exists()


def test_two_processes_at_once_download_once(hub: FakeHub, tmp_path: Path) -> None:
    hub.once[HUB_WEIGHTS].append(Fault(drop_after=1_000_000, hold=True))
    first = start(hub, tmp_path)
    assert hub.reached.wait(30)
    second = start(hub, tmp_path)
    assert second.stderr is not None
    assert second.stderr.readline() == "Another process is downloading vae; waiting for it.\n"
    hub.gate.set()
    assert [process.wait(30) for process in (first, second)] == [0, 0]
    for process in (first, second):
        process.communicate()
    assert_ready(tmp_path)
    assert len(hub.bodies(HUB_WEIGHTS)) == 1
    assert len([seen for seen in hub.seen if seen.path.startswith("/api/models/")]) == 1


def test_a_failure_stops_the_other_files(hub: FakeHub, tmp_path: Path) -> None:
    hub.once[HUB_WEIGHTS].append(Fault(drop_after=500_000, hold=True))
    hub.always[HUB_CONFIG] = Fault(status=400)
    process = start(hub, tmp_path)
    assert hub.reached.wait(30)
    wait_until(lambda: len(hub.bodies(HUB_CONFIG)) == 1)
    time.sleep(0.5)  # for the refusal to arrive
    hub.gate.set()
    _, told = process.communicate(timeout=30)
    assert "HTTP 400" in told
    (staged,) = staging_of(VAE, tmp_path).rglob(WEIGHTS)
    assert staged.stat().st_size < BIG


def test_a_body_without_end_is_cut(hub: FakeHub, tmp_path: Path) -> None:
    hub.always[HUB_WEIGHTS] = Fault(body=content(VAE)[WEIGHTS] + bytes(60_000_000))
    assert "bytes instead of 3000000" in complaint(download(hub, tmp_path))
    assert hub.bytes_sent < 60_000_000


def test_wrong_content_is_fetched_once_more(hub: FakeHub, tmp_path: Path) -> None:
    hub.once[HUB_WEIGHTS].append(Fault(body=changed(content(VAE)[WEIGHTS])))
    assert download(hub, tmp_path).returncode == 0
    assert_ready(tmp_path)
    assert [seen.range for seen in hub.bodies(HUB_WEIGHTS)] == [None, None]


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"], ids=["large file", "small file"])
@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (changed, "instead of"),
        (lambda data: data[:-100], "bytes instead of"),
        (lambda data: data + b"x" * 2_000_000, "bytes instead of"),
    ],
    ids=["wrong hash", "truncated", "too long"],
)
def test_content_that_stays_wrong(
    hub: FakeHub, tmp_path: Path, name: str, broken: Callable[[bytes], bytes], says: str
) -> None:
    hub.always[f"vae/{name}"] = Fault(body=broken(content(VAE)[name]))
    line = complaint(download(hub, tmp_path))
    assert f"vae/{name} has " in line
    assert says in line
    assert len(hub.bodies(f"vae/{name}")) == 2
    assert not (tmp_path / "vae").exists()
    assert not list(staging_of(VAE, tmp_path).rglob(name))


def test_a_file_that_shrank_on_the_server(hub: FakeHub, tmp_path: Path) -> None:
    hub.once[HUB_WEIGHTS].append(Fault(drop_after=2_500_000))
    hub.always[HUB_WEIGHTS] = Fault(body=b"x" * 500_000)
    line = complaint(download(hub, tmp_path, before=IMPATIENT))
    assert "has 500000 bytes instead of 3000000" in line


def test_a_pinned_digest_outranks_the_hub(hub: FakeHub, tmp_path: Path) -> None:
    row = LANGUAGE_MODELS["acestep-5Hz-lm-0.6B"]
    hub.add(row)
    line = complaint(download(hub, tmp_path, "--model", row.name))
    assert "this project expects" in line
    assert not (tmp_path / row.folder).exists()
