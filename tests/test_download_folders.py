"""What a download makes of the folders it finds: filled by hand, half done, damaged, outdated, sharded, embedded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acestep.checkpoints.files import staging_of
from acestep.checkpoints.integrity import MARKER, State, inspect, read_marker
from acestep.checkpoints.registry import COMPONENTS, MODELS

from download_support import (
    CLOSED,
    HUB_CONFIG,
    HUB_WEIGHTS,
    VAE,
    WEIGHTS,
    assert_ready,
    changed,
    complaint,
    download,
)
from fake_hub import FakeHub, Fault, content, serving, sharded


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving() as served:
        served.add(VAE)
        yield served


def fill(root: Path, *without: str, seed: int = 0) -> Path:
    """A folder as a person copies it."""
    folder = root / "vae"
    folder.mkdir(parents=True)
    for name, data in content(VAE, seed).items():
        if name not in without:
            (folder / name).write_bytes(data)
    return folder


def test_a_folder_filled_by_hand_is_taken_as_it_is(tmp_path: Path) -> None:
    fill(tmp_path)
    done = download(CLOSED, tmp_path)
    assert done.returncode == 0
    assert "by hand" in done.stdout
    assert not (tmp_path / "vae" / MARKER).exists()


def test_what_a_hand_forgot_is_fetched(hub: FakeHub, tmp_path: Path) -> None:
    fill(tmp_path, "config.json", "modeling.py")
    assert download(hub, tmp_path).returncode == 0
    assert_ready(tmp_path)
    assert hub.bodies(HUB_WEIGHTS) == []


def test_half_a_download_is_not_trusted(hub: FakeHub, tmp_path: Path) -> None:
    folder = fill(tmp_path, "modeling.py")
    (folder / WEIGHTS).write_bytes(changed(content(VAE)[WEIGHTS]))
    staging_of(VAE, tmp_path).mkdir(parents=True)
    assert inspect(VAE, tmp_path).state is State.INCOMPLETE
    assert download(hub, tmp_path).returncode == 0
    assert_ready(tmp_path)
    assert len(hub.bodies(HUB_WEIGHTS)) == 1
    assert hub.bodies(HUB_CONFIG) == []


def test_a_file_damaged_later_is_replaced(hub: FakeHub, tmp_path: Path) -> None:
    assert download(hub, tmp_path).returncode == 0
    config = tmp_path / "vae" / "config.json"
    config.write_bytes(config.read_bytes()[:-1])
    assert inspect(VAE, tmp_path).state is State.INCOMPLETE
    assert download(hub, tmp_path).returncode == 0
    assert_ready(tmp_path)
    assert len(hub.bodies(HUB_WEIGHTS)) == 1


def test_another_revision_is_outdated(hub: FakeHub, tmp_path: Path) -> None:
    assert download(hub, tmp_path).returncode == 0
    path = tmp_path / "vae" / MARKER
    path.write_text(path.read_text().replace(VAE.revision, "e" * 40))
    assert inspect(VAE, tmp_path).state is State.OUTDATED
    assert "vae (outdated)" in complaint(download(hub, tmp_path, HF_HUB_OFFLINE="1"))
    assert download(hub, tmp_path).returncode == 0
    assert_ready(tmp_path)
    assert len(hub.bodies(HUB_WEIGHTS)) == 1  # the content was the same


def test_force_fetches_everything_again(hub: FakeHub, tmp_path: Path) -> None:
    fill(tmp_path, "modeling.py", seed=7)
    assert download(hub, tmp_path, "--model", "vae", "--force").returncode == 0
    assert_ready(tmp_path)
    assert download(hub, tmp_path, "--model", "vae", "--force").returncode == 0
    assert len(hub.bodies(HUB_WEIGHTS)) == len(hub.bodies(HUB_CONFIG)) == 2


def test_a_failed_force_leaves_the_old_folder_ready(hub: FakeHub, tmp_path: Path) -> None:
    assert download(hub, tmp_path).returncode == 0
    hub.always[HUB_WEIGHTS] = Fault(status=400)
    complaint(download(hub, tmp_path, "--model", "vae", "--force"))
    assert inspect(VAE, tmp_path).state is State.READY
    assert (tmp_path / "vae" / WEIGHTS).read_bytes() == content(VAE)[WEIGHTS]


def test_a_model_brings_what_it_shares_and_its_shards(hub: FakeHub, tmp_path: Path) -> None:
    row = MODELS["acestep-v15-xl-turbo"]
    hub.add(row, COMPONENTS[row.text_encoder])
    repository = hub.repositories[row.repository]
    repository.files = sharded(repository.files, row.layout.weights, [b"a" * 700, b"b" * 800])
    assert download(hub, tmp_path, "--model", row.name).returncode == 0
    folders = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert folders == {row.folder, row.vae, row.text_encoder}
    marker = read_marker(tmp_path / row.folder)
    assert marker is not None
    assert marker.commit == repository.commit
    assert {file.path for file in marker.files} == set(repository.files) - {"modeling.py"}
    assert not list(tmp_path.rglob("*.py"))


def test_an_index_that_names_a_shard_nobody_has(hub: FakeHub, tmp_path: Path) -> None:
    row = MODELS["acestep-v15-xl-turbo"]
    hub.add(row, COMPONENTS[row.text_encoder])
    repository = hub.repositories[row.repository]
    repository.files = sharded(repository.files, row.layout.weights, [b"a" * 700, b"b" * 800])
    del repository.files["model-00002-of-00002.safetensors"]
    line = complaint(download(hub, tmp_path, "--model", row.name))
    assert "has no model-00002-of-00002.safetensors, which its index names" in line
    assert not inspect(row, tmp_path).state.usable


def test_embedded_models_need_no_network(tmp_path: Path) -> None:
    done = download(CLOSED, tmp_path, "--model", "tiny", "--model", "tiny-base", "--force")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("shipped") == 4
    assert list(tmp_path.iterdir()) == []
