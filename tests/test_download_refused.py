"""Downloads that cannot be: no access, network, space or such thing. One sentence each, never with the token."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from download_support import (
    CLOSED,
    HUB_CONFIG,
    HUB_WEIGHTS,
    TOKEN,
    VAE,
    WEIGHTS,
    assert_ready,
    bundle,
    complaint,
    download,
)
from fake_hub import SIGNATURE, FakeHub, Fault, serving


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving() as served:
        served.add(VAE)
        yield served


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda hub: hub.repositories.clear(), f"has no repository {VAE.repository}"),
        (lambda hub: setattr(bundle(hub), "commit", "d" * 40), f"has no revision {VAE.revision}"),
        (lambda hub: bundle(hub).files.pop(HUB_CONFIG), "has no config.json"),
        (lambda hub: bundle(hub).files.pop(HUB_WEIGHTS), f"has no {WEIGHTS}"),
        (lambda hub: hub.always.update({HUB_WEIGHTS: Fault(status=404)}), f"HTTP 404 for file {HUB_WEIGHTS}"),
        (lambda hub: hub.always.update({HUB_WEIGHTS: Fault(status=400)}), "answered HTTP 400"),
        (lambda hub: setattr(bundle(hub), "token", "another"), "(HTTP 401)"),
        (lambda hub: setattr(bundle(hub), "gated", True), "(HTTP 403)"),
        (lambda hub: setattr(hub, "api_answer", b"<html>Log in to the hotel</html>"), "not that of a model hub"),
    ],
    ids=["repository", "revision", "file", "weights", "404 later", "400", "401", "403", "captive portal"],
)
def test_refusals_are_one_sentence_without_the_token(
    hub: FakeHub, tmp_path: Path, spoil: Callable[[FakeHub], object], says: str
) -> None:
    spoil(hub)
    done = download(hub, tmp_path, HF_TOKEN=TOKEN)
    line = complaint(done)
    assert says in line
    assert line.startswith("Cannot download vae: ")
    assert TOKEN not in line
    assert any(seen.authorization == f"Bearer {TOKEN}" for seen in hub.seen)
    assert not (tmp_path / "vae").exists()


def test_the_token_opens_the_hub_and_stays_with_it(hub: FakeHub, tmp_path: Path) -> None:
    bundle(hub).token = TOKEN
    done = download(hub, tmp_path, HF_TOKEN=TOKEN)
    assert done.returncode == 0
    assert_ready(tmp_path)
    assert TOKEN not in done.stdout + done.stderr
    asked = [seen for seen in hub.seen if VAE.repository in seen.path]
    assert {seen.authorization for seen in asked if seen.origin == "hub"} == {f"Bearer {TOKEN}"}
    assert {seen.authorization for seen in asked if seen.origin == "cdn"} == {None}
    assert not any(TOKEN in path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
@pytest.mark.parametrize("gated", [False, True])
def test_no_log_gets_a_token_or_a_signed_address(hub: FakeHub, tmp_path: Path, level: str, gated: bool) -> None:
    """Whatever a program logs: not the query of a redirect, not a token that a refusal echoes."""
    bundle(hub).token, bundle(hub).gated = TOKEN, gated
    done = download(hub, tmp_path, before=f"import logging; logging.basicConfig(level={level!r})", HF_TOKEN=TOKEN)
    assert done.returncode == (1 if gated else 0)
    assert {seen.query for seen in hub.bodies(HUB_WEIGHTS)} == (set() if gated else {f"Signature={SIGNATURE}"})
    for secret in (SIGNATURE, TOKEN):
        assert secret not in done.stdout + done.stderr


def test_a_token_that_cannot_be_sent(hub: FakeHub, tmp_path: Path) -> None:
    line = complaint(download(hub, tmp_path, HF_TOKEN="hf_\u00e4\u4e00"))
    assert "HF_TOKEN holds characters that no token has" in line


def test_no_network(tmp_path: Path) -> None:
    line = complaint(download(CLOSED, tmp_path))
    assert "the connection to 127.0.0.1 failed" in line


def test_an_endpoint_that_is_no_address(tmp_path: Path) -> None:
    assert "HF_ENDPOINT" in complaint(download("nowhere", tmp_path))


def test_offline_says_so(hub: FakeHub, tmp_path: Path) -> None:
    line = complaint(download(hub, tmp_path, HF_HUB_OFFLINE="1"))
    assert "HF_HUB_OFFLINE" in line
    assert "vae (absent)" in line
    assert hub.seen == []


def test_no_space_is_found_before_anything_is_fetched(hub: FakeHub, tmp_path: Path) -> None:
    little = "import shutil; shutil.disk_usage = lambda path: type('U', (), {'free': 2_000_000})"
    line = complaint(download(hub, tmp_path, before=little))
    assert "has 0.00 GB of free disk space, the download needs 0.00 GB" in line
    assert hub.bytes_sent == 0


def test_a_disk_that_fills_up_underway(hub: FakeHub, tmp_path: Path) -> None:
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({1 << 20}, {resource.RLIM_INFINITY}))"
    line = complaint(download(hub, tmp_path, before=limit))
    assert line == f"The weights folder {tmp_path} cannot be used: {os.strerror(errno.EFBIG)}.\n"


def test_a_root_that_cannot_be_written(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = complaint(download(hub, tmp_path / "file" / "weights"))
    assert line == f"The weights folder {tmp_path}/file/weights cannot be used: {os.strerror(errno.ENOTDIR)}.\n"
