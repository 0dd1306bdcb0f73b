"""A folder with one file that is on no hub: fetched from its address, held to its digest, or brought by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from acestep.checkpoints.files import files_in, missing, origin_of, select, staging_of
from acestep.checkpoints.integrity import MARKER, State, inspect, read_marker
from acestep.checkpoints.registry import COMPONENTS, MODELS, parts_of
from acestep.checkpoints.rows import HubFolder, Layout

from download_support import CLOSED, IMPATIENT, TOKEN, VAE, complaint, download
from fake_hub import FakeHub, Fault, Repository, serving

NAME, PLACE = "words.json", "someone/code"
WORDS = b'{\n  "[UNK]": 1,\n  "[verse]": 6682\n}\n' * 60_000  # several pieces of the downloader
ROW = HubFolder(
    name="words",
    folder="v1/words",
    layout=Layout("", "", ((NAME,),)),
    url=f"{CLOSED}/words.json",
    digests=((NAME, hashlib.sha256(WORDS).hexdigest()),),
)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving() as served:
        served.repositories[PLACE] = Repository({NAME: WORDS})
        yield served


def row_at(hub: FakeHub | None) -> HubFolder:
    """The row with its address on loopback; without a host, where nobody listens."""
    return ROW if hub is None else replace(ROW, url=f"{hub.cdn}/cdn/{PLACE}/{NAME}")


def registering(row: HubFolder) -> str:
    """A statement that puts the row into the registry of a fresh interpreter."""
    return (
        "from acestep.checkpoints.registry import COMPONENTS\n"
        "from acestep.checkpoints.rows import HubFolder, Layout, Scale\n"
        f"COMPONENTS['words'] = {row!r}"
    )


def fetch(hub: FakeHub | None, root: Path, *arguments: str, before: str = "", **differs: str):
    statement = f"{registering(row_at(hub))}\n{before}"
    endpoint = CLOSED if hub is None else hub
    return download(endpoint, root, *(arguments or ("--model", "words")), before=statement, **differs)


def assert_ready(root: Path, row: HubFolder) -> None:
    folder = root / "v1" / "words"
    assert {path.name for path in folder.iterdir()} == {NAME, MARKER}
    assert (folder / NAME).read_bytes() == WORDS
    assert inspect(row, root).state is State.READY
    assert not staging_of(row, root).exists()


def by_hand(root: Path, content: bytes) -> Path:
    path = root / "v1" / "words" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_a_folder_without_networks(tmp_path: Path) -> None:
    layout = ROW.layout
    assert select(layout, [NAME, "other.json", ".safetensors"]) == ([NAME], [])
    assert select(layout, ["other.json"]) == ([], [NAME])
    assert missing(layout, tmp_path) == [NAME]
    (tmp_path / NAME).write_bytes(b"x")
    assert missing(layout, tmp_path) == []
    assert files_in(layout, tmp_path) == (tmp_path / NAME,)


def test_the_file_and_its_marker(hub: FakeHub, tmp_path: Path) -> None:
    done = fetch(hub, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path}/v1/words  ready  0.00 GB  ")
    row = row_at(hub)
    assert_ready(tmp_path, row)
    marker = read_marker(tmp_path / "v1" / "words")
    assert marker is not None
    digest = hashlib.sha256(WORDS).hexdigest()
    assert (marker.repository, marker.commit) == (origin_of(row), digest) == (row.url, digest)
    assert [(file.path, file.size, file.sha256) for file in marker.files] == [(NAME, len(WORDS), digest)]
    assert [(seen.method, seen.range) for seen in hub.seen] == [("HEAD", None), ("GET", None)]


def test_a_row_with_a_commit_is_held_to_it(hub: FakeHub, tmp_path: Path) -> None:
    row = replace(row_at(hub), revision="d" * 40)
    done = download(hub, tmp_path, "--model", "words", before=registering(row))
    assert done.stdout.endswith(f"{'d' * 8}\n"), done.stderr
    assert_ready(tmp_path, row)
    assert inspect(replace(row, revision="e" * 40), tmp_path).state is State.OUTDATED
    moved = inspect(ROW, tmp_path)
    assert moved.state is State.OUTDATED
    assert moved.why == f"is from {row.url} instead of {ROW.url}"


def test_the_token_is_the_hubs_alone(hub: FakeHub, tmp_path: Path) -> None:
    hub.add(VAE)
    done = fetch(hub, tmp_path, "--model", "words", "--model", "vae", HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert_ready(tmp_path, row_at(hub))
    assert inspect(VAE, tmp_path).state is State.READY
    sent = {seen.authorization for seen in hub.seen if seen.path.endswith(NAME)}
    assert sent == {None}
    assert f"Bearer {TOKEN}" in {seen.authorization for seen in hub.seen}


def test_what_is_ready_needs_no_network(hub: FakeHub, tmp_path: Path) -> None:
    assert fetch(hub, tmp_path).returncode == 0
    requests = len(hub.seen)
    assert fetch(hub, tmp_path, HF_HUB_OFFLINE="1").returncode == 0
    assert len(hub.seen) == requests


@pytest.mark.parametrize("content", [WORDS, WORDS.replace(b"\n", b"\r\n")], ids=["as published", "Windows"])
def test_the_file_may_be_brought_by_hand(tmp_path: Path, content: bytes) -> None:
    path = by_hand(tmp_path, content)
    done = fetch(None, tmp_path)
    assert "by hand" in done.stdout, done.stderr
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"{}", WORDS[:-1], WORDS.upper()], ids=["empty", "other", "cut", "changed"])
def test_another_file_brought_by_hand_is_replaced(hub: FakeHub, tmp_path: Path, content: bytes) -> None:
    by_hand(tmp_path, content)
    found = inspect(row_at(hub), tmp_path)
    assert (found.state, found.why) == (State.INCOMPLETE, f"has another {NAME} than was published")
    assert "v1/words (incomplete)" in complaint(fetch(hub, tmp_path, HF_HUB_OFFLINE="1"))
    assert fetch(hub, tmp_path).returncode == 0
    assert_ready(tmp_path, row_at(hub))


def test_a_dropped_link_is_taken_up_where_it_broke(hub: FakeHub, tmp_path: Path) -> None:
    hub.once[NAME].append(Fault(drop_after=1_500_000))
    assert fetch(hub, tmp_path).returncode == 0
    assert_ready(tmp_path, row_at(hub))
    assert [seen.range is not None for seen in hub.bodies(NAME)] == []  # nothing of it is on the hub itself
    assert [bool(seen.range) for seen in hub.seen if seen.method == "GET"] == [False, True]


def test_a_link_that_stays_dead_keeps_what_came(hub: FakeHub, tmp_path: Path) -> None:
    hub.once[NAME].append(Fault(drop_after=1_500_000))
    hub.always[NAME] = Fault(drop_after=0)
    line = complaint(fetch(hub, tmp_path, before=IMPATIENT))
    assert "Cannot download words: the connection to 127.0.0.1 failed" in line
    assert "HF_ENDPOINT" not in line
    assert not (tmp_path / "v1").exists()
    del hub.always[NAME]
    sent = hub.bytes_sent
    assert fetch(hub, tmp_path).returncode == 0
    assert_ready(tmp_path, row_at(hub))
    assert hub.bytes_sent - sent < len(WORDS) - 900_000


@pytest.mark.parametrize(
    ("body", "says"),
    [(WORDS.replace(b"verse", b"Verse"), "has SHA-256"), (b"<html>log in</html>", f"bytes instead of {len(WORDS)}")],
    ids=["changed", "a page"],
)
def test_content_that_is_not_what_was_published(hub: FakeHub, tmp_path: Path, body: bytes, says: str) -> None:
    hub.always[NAME] = Fault(body=body)
    line = complaint(fetch(hub, tmp_path))
    assert f"v1/words/{NAME} {says}" in line or (f"v1/words/{NAME} has " in line and says in line)
    assert line.endswith("twice; nothing of it was kept.\n")
    assert not (tmp_path / "v1").exists()
    assert not list(staging_of(ROW, tmp_path).rglob(NAME))
    hub.always.clear()
    assert fetch(hub, tmp_path).returncode == 0


def test_a_page_in_the_place_of_the_file_is_found_out_by_its_digest(hub: FakeHub, tmp_path: Path) -> None:
    """Also its length is that of the page: as at a captive portal."""
    hub.repositories[PLACE].files[NAME] = b"<html>log in to the hotel</html>"
    line = complaint(fetch(hub, tmp_path))
    assert "has SHA-256" in line
    assert line.endswith("twice; nothing of it was kept.\n")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("missing", "127.0.0.1 answered HTTP 404 for http://"),
        ("refused", "127.0.0.1 answered HTTP 403 for http://"),
        ("closed", "the connection to 127.0.0.1 failed (ConnectError); what has arrived is kept, so try again, or"),
    ],
)
def test_addresses_without_the_file(hub: FakeHub, tmp_path: Path, fault: str, says: str) -> None:
    if fault == "missing":
        row = replace(ROW, url=f"{hub.cdn}/nowhere/{NAME}")
    elif fault == "refused":
        row, hub.always[NAME] = row_at(hub), Fault(status=403)
    else:
        row = ROW
    done = download(hub, tmp_path, "--model", "words", before=f"{registering(row)}\n{IMPATIENT}", HF_TOKEN=TOKEN)
    line = complaint(done)
    assert line.startswith("Cannot download words: ")
    assert says in line
    assert TOKEN not in done.stdout + done.stderr
    assert not (tmp_path / "v1").exists()


def test_offline_says_so(hub: FakeHub, tmp_path: Path) -> None:
    line = complaint(fetch(hub, tmp_path, HF_HUB_OFFLINE="1"))
    assert "v1/words (absent)" in line
    assert hub.seen == []


def test_force_fetches_it_again(hub: FakeHub, tmp_path: Path) -> None:
    path = by_hand(tmp_path, WORDS)
    assert fetch(hub, tmp_path, "--model", "words", "--force").returncode == 0
    assert_ready(tmp_path, row_at(hub))
    assert path.read_bytes() == WORDS
    assert len([seen for seen in hub.seen if seen.method == "GET"]) == 1


def test_a_half_done_download_is_not_taken_for_a_file_brought_by_hand(hub: FakeHub, tmp_path: Path) -> None:
    by_hand(tmp_path, WORDS)
    staging_of(ROW, tmp_path).mkdir(parents=True)
    assert inspect(ROW, tmp_path).state is State.INCOMPLETE
    assert fetch(hub, tmp_path).returncode == 0
    assert_ready(tmp_path, row_at(hub))
    assert [seen.method for seen in hub.seen] == ["HEAD"]  # what lay there was right


def test_the_lyric_vocabulary_is_such_a_folder() -> None:
    rows = [row for row in COMPONENTS.values() if row.url]
    assert rows
    users = [spec for spec in MODELS.values() if any(part in rows for part in parts_of(spec))]
    assert users
    for row in rows:
        ((name, digest),) = row.digests
        assert row.layout.weights == ""
        assert (name,) in row.layout.required
        assert len(digest) == 64
        assert row.url.startswith("https://raw.githubusercontent.com/ace-step/ACE-Step/")
        assert row.url.endswith(name)
        assert origin_of(row) == row.url
