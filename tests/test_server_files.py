"""Files of the server: what may be named, what is kept, what is deleted; without a server."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from acestep.checkpoints.files import PACKAGED
from acestep.errors import InputError, OutputError
from acestep.places import below
from acestep.server.checkpoints import Checkpoints, place_of
from acestep.server.faults import NotHereError, TooLargeError
from acestep.server.outputs import OutputFolder
from acestep.server.uploads import Inbox, Uploads
from acestep.strangers import check_adapter

DAY_S = 24 * 3600.0


class Clock:
    """Unix time that tests move."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outputs(tmp_path: Path, clock: Clock) -> Iterator[OutputFolder]:
    with OutputFolder.opened(tmp_path / "outputs", DAY_S, clock) as folder:
        yield folder


def made(outputs: OutputFolder, name: str, *, overwrite: bool = False, content: bytes = b"song") -> Path:
    """A file that a job wrote."""
    with outputs.reserved(name, Path(name).suffix, overwrite=overwrite) as target, outputs.workbench() as bench:
        (bench / "song").write_bytes(content)
        return outputs.take(bench / "song", target, overwrite=overwrite)


# --- names -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["a.wav", "sub/b.wav", "./c.wav", "a b/ü.wav"])
def test_names_below_the_folder_are_taken(tmp_path: Path, text: str) -> None:
    assert below(tmp_path, text, "output_path") == Path(os.path.realpath(tmp_path), text)
    assert below(tmp_path, str(tmp_path / text), "output_path") == Path(os.path.realpath(tmp_path), text)


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "../a.wav", "a/../../b.wav", "a/../b.wav", "/etc/passwd", "//etc/passwd", "a/", ".hidden.wav",
        "sub/.hidden/x.wav", "a\\..\\b.wav", "C:\\a.wav", "a\0.wav", "a\r\nX-Evil: 1.wav", "a\u202e.wav", "x" * 256,
        "/".join(["d" * 200] * 8),
    ],
)  # fmt: skip
def test_names_that_lead_out_or_hide_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="^output_path must "):
        below(tmp_path, text, "output_path")


def test_links_may_lead_around_inside_but_not_out(tmp_path: Path) -> None:
    folder = tmp_path / "outputs"
    (folder / "real").mkdir(parents=True)
    (folder / "inside").symlink_to(folder / "real")
    (folder / "outside").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    assert below(folder, "inside/a.wav", "x").name == "a.wav"
    with pytest.raises(InputError, match="below the server's folder"):
        below(folder, "outside/a.wav", "x")
    assert below(folder, "loop/a.wav", "x").parent.name == "loop"


# --- outputs -----------------------------------------------------------------------------------------------------
def test_a_name_is_made_up_where_none_is_wished_for(outputs: OutputFolder) -> None:
    with outputs.reserved("", ".flac") as one, outputs.reserved("", ".flac") as two:
        assert one != two
        assert one.name.startswith("output_")
        assert one.suffix == ".flac"


def test_a_name_is_reserved_for_one_at_a_time(outputs: OutputFolder) -> None:
    with (
        outputs.reserved("a.wav", ".wav"),
        pytest.raises(InputError, match="is what another request is writing"),
        outputs.reserved("./a.wav", ".wav"),
    ):
        pass
    with outputs.reserved("a.wav", ".wav") as path:
        assert path.name == "a.wav"


def test_a_suffix_must_be_that_of_the_format(outputs: OutputFolder) -> None:
    with pytest.raises(InputError, match="must end in .wav"), outputs.reserved("a.mp3", ".wav"):
        pass
    with outputs.reserved("a.WAV", ".wav") as path:
        assert path.name == "a.WAV"


def test_a_failed_job_leaves_nothing(outputs: OutputFolder) -> None:
    with pytest.raises(ZeroDivisionError), outputs.reserved("a.wav", ".wav"), outputs.workbench() as bench:
        (bench / "half.wav").write_bytes(b"half")
        raise ZeroDivisionError
    assert not list(outputs.path.rglob("*.wav"))
    assert not list(outputs.path.glob(".job-*"))


def test_a_name_that_was_taken_meanwhile_gets_a_number(outputs: OutputFolder) -> None:
    with outputs.reserved("a.wav", ".wav") as target, outputs.workbench() as bench:
        (outputs.path / "a.wav").write_bytes(b"somebody else's")
        (bench / "song").write_bytes(b"ours")
        assert outputs.take(bench / "song", target).name == "a-1.wav"
    assert (outputs.path / "a.wav").read_bytes() == b"somebody else's"


def test_only_our_unchanged_files_are_replaced(outputs: OutputFolder) -> None:
    made(outputs, "a.wav")
    assert made(outputs, "a.wav", overwrite=True, content=b"new").read_bytes() == b"new"
    (outputs.path / "a.wav").write_bytes(b"edited by hand")
    with pytest.raises(InputError, match="this server did not write it"):
        made(outputs, "a.wav", overwrite=True)


def test_our_files_expire_and_no_others(outputs: OutputFolder, clock: Clock) -> None:
    made(outputs, "old.wav")
    made(outputs, "changed.wav")
    made(outputs, "linked.wav").unlink()
    (outputs.path / "linked.wav").symlink_to(outputs.path / "changed.wav")
    clock.now += DAY_S / 2
    made(outputs, "sub/new.wav")
    (outputs.path / "changed.wav").write_bytes(b"edited by hand")
    (outputs.path / "theirs.wav").write_bytes(b"theirs")
    clock.now += DAY_S / 2 + 1
    assert set(outputs.expire()) == {"old.wav", "changed.wav", "linked.wav"}
    left = {path.relative_to(outputs.path).as_posix() for path in outputs.path.rglob("*.wav")}
    assert left == {"changed.wav", "linked.wav", "theirs.wav", "sub/new.wav"}
    assert outputs.expire() == []


def test_what_was_written_is_known_to_the_next_server(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "outputs"
    with OutputFolder.opened(folder, DAY_S, clock) as outputs:
        made(outputs, "a.wav")
        made(outputs, "b.wav")
        (folder / ".job-killed").mkdir()
    clock.now += DAY_S
    (folder / "b.wav").unlink()
    with OutputFolder.opened(folder, DAY_S, clock):
        assert {path.name for path in folder.iterdir()} == {".acestep-server.json", ".acestep-server.lock"}
    assert json.loads((folder / ".acestep-server.json").read_text()) == {}


@pytest.mark.parametrize("ledger", [b"", b"[1]", b'{"a.wav": 3}', b'{"a.wav": {"size": 1}}', b"\xff"])
def test_without_a_readable_ledger_nothing_is_deleted(tmp_path: Path, clock: Clock, ledger: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(b"1")
    (tmp_path / ".acestep-server.json").write_bytes(ledger)
    with OutputFolder.opened(tmp_path, 1.0, clock) as outputs:
        assert outputs.expire() == []
    assert (tmp_path / "a.wav").exists()


def test_a_ledger_of_strangers_cannot_delete_elsewhere(tmp_path: Path, clock: Clock) -> None:
    victim, folder = tmp_path / "victim.wav", tmp_path / "outputs"
    victim.write_bytes(b"1")
    status = victim.stat()
    row = {"size": status.st_size, "changed_ns": status.st_mtime_ns, "made": 0.0}
    folder.mkdir()
    (folder / ".acestep-server.json").write_text(json.dumps({"../victim.wav": row, str(victim): row}))
    with OutputFolder.opened(folder, 1.0, clock):
        pass
    assert victim.exists()


def test_one_server_per_folder(outputs: OutputFolder) -> None:
    problem = "another server works in the output folder 'outputs'"
    with pytest.raises(OutputError, match=problem), OutputFolder.opened(outputs.path, DAY_S):
        pass


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    folder = tmp_path / "file" / "outputs"
    with pytest.raises(OutputError, match="cannot write into the folder"), OutputFolder.opened(folder, DAY_S):
        pass


def test_expiry_can_be_switched_off(tmp_path: Path, clock: Clock) -> None:
    with OutputFolder.opened(tmp_path, 0.0, clock) as outputs:
        path = made(outputs, "a.wav")
        clock.now += 1000 * DAY_S
        assert outputs.expire() == []
        assert path.exists()


# --- recordings that come in ---------------------------------------------------------------------------------------
@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    folder = tmp_path / "uploads"
    folder.mkdir()
    return Uploads(folder, max_bytes=100, expire_s=DAY_S)


def test_an_upload_is_kept_under_an_id(uploads: Uploads) -> None:
    identifier = uploads.add(io.BytesIO(b"music"))
    assert uploads.path_of(identifier, "src_audio").read_bytes() == b"music"
    uploads.remove(identifier)
    with pytest.raises(NotHereError, match="is no upload of this server, or not any more"):
        uploads.path_of(identifier, "src_audio")


@pytest.mark.parametrize("identifier", ["", "x", "../uploads", "upload-", "upload-" + "g" * 32])
def test_no_other_name_is_an_id(uploads: Uploads, identifier: str) -> None:
    with pytest.raises(NotHereError):
        uploads.path_of(identifier, "src_audio")


def test_uploads_are_bounded_one_by_one_and_together(uploads: Uploads, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="file is empty"):
        uploads.add(io.BytesIO())
    with pytest.raises(TooLargeError, match="MiB are taken"):
        uploads.add(io.BytesIO(b"x" * 101))
    for _ in range(8):
        uploads.add(io.BytesIO(b"x" * 100))
    with pytest.raises(TooLargeError, match="no room for more uploads"):
        uploads.add(io.BytesIO(b"x"))
    assert len(list((tmp_path / "uploads").iterdir())) == 8


def test_old_uploads_expire(uploads: Uploads) -> None:
    old, new = uploads.add(io.BytesIO(b"old")), uploads.add(io.BytesIO(b"new"))
    os.utime(uploads.path_of(old, "x"), (0, 0))
    uploads.expire()
    assert uploads.path_of(new, "x").exists()
    with pytest.raises(NotHereError):
        uploads.path_of(old, "x")


@pytest.fixture
def inbox(uploads: Uploads, tmp_path: Path) -> Inbox:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return Inbox(uploads, (tmp_path / "one", tmp_path / "two"), 1000, allow_private=False)


def test_a_job_keeps_the_upload_it_was_given(inbox: Inbox, uploads: Uploads, tmp_path: Path) -> None:
    identifier = uploads.add(io.BytesIO(b"music"))
    held = inbox.collect("src_audio", identifier, tmp_path)
    uploads.remove(identifier)
    assert held.read_bytes() == b"music"


def test_recordings_are_found_in_every_input_folder(inbox: Inbox, tmp_path: Path) -> None:
    for folder, name in (("one", "a.wav"), ("two", "b.wav")):
        (tmp_path / folder / name).write_bytes(b"1")
        assert inbox.collect("x", name, tmp_path) == tmp_path / folder / name
        assert inbox.collect("x", str(tmp_path / folder / name), tmp_path) == tmp_path / folder / name


@pytest.mark.parametrize("text", ["/etc/hostname", "../secret.wav", "one/../../secret.wav", "link.wav"])
def test_recordings_elsewhere_are_refused_whether_they_exist_or_not(inbox: Inbox, tmp_path: Path, text: str) -> None:
    (tmp_path / "one" / "link.wav").symlink_to("/etc/hostname")
    (tmp_path / "two" / "link.wav").symlink_to("/etc/hostname")
    (tmp_path / "secret.wav").write_bytes(b"1")
    with pytest.raises(InputError, match="or a path in an input folder of this server") as caught:
        inbox.collect("src_audio", text, tmp_path)
    assert not isinstance(caught.value, NotHereError)


def test_a_data_uri_is_bounded(inbox: Inbox, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="src_audio: the URL holds more than"):
        inbox.collect("src_audio", "data:," + "x" * 1001, tmp_path)
    assert inbox.collect("src_audio", "data:,abc", tmp_path).read_bytes() == b"abc"


# --- models and adapters -------------------------------------------------------------------------------------------
def test_models_are_named_or_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "checkpoints"
    checkpoints = Checkpoints((root,), "tiny")
    assert [checkpoints.named(text) for text in ("", " ", "auto", "tiny-base")] == [
        "tiny",
        "tiny",
        "auto",
        "tiny-base",
    ]
    assert checkpoints.named(str(root / "acestep-v15-turbo")) == "acestep-v15-turbo"
    assert checkpoints.named(f"{root}/tiny-base/") == "tiny-base"
    monkeypatch.chdir(tmp_path)
    assert checkpoints.named("checkpoints/tiny") == "tiny"
    (tmp_path / "alias").symlink_to(root)
    assert checkpoints.named(str(tmp_path / "alias" / "tiny")) == "tiny"


@pytest.mark.parametrize(
    "text", ["/", "tiny/..", "/tiny", "x/tiny", "checkpoints", "checkpoints/vae", "checkpoints/../tiny", "a\nb"]
)
def test_other_folders_are_no_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is no checkpoint: it must be a model \\(auto, "):
        Checkpoints((tmp_path / "checkpoints",)).named(text)


@pytest.mark.parametrize(
    ("text", "root", "name"),
    [
        ("", None, ""),
        ("auto", None, "auto"),
        ("tiny", None, "tiny"),
        ("/data/checkpoints", Path("/data/checkpoints"), ""),
        ("/data/acestep-v15-base", Path("/data"), "acestep-v15-base"),
        ("/data/acestep-v15-base/", Path("/data"), "acestep-v15-base"),
    ],
)
def test_the_environment_names_a_folder_or_a_model(text: str, root: Path | None, name: str) -> None:
    assert place_of(text) == (root, name)


def test_the_project_knows_where_its_models_are() -> None:
    checkpoints = Checkpoints.of(PACKAGED.parent, str(PACKAGED / "tiny"))
    assert checkpoints.default == "tiny"
    assert PACKAGED in checkpoints.roots


@pytest.mark.parametrize(
    "text",
    [
        "none",
        "",
        "ACE-Step/ACE-Step-v1-chinese-rap-LoRA",
        "owner/name/folder/file.safetensors",
        "https://huggingface.co/a/b/resolve/main/c.safetensors",
    ],
)
def test_adapters_of_the_hub_and_the_web_pass(tmp_path: Path, text: str) -> None:
    check_adapter(text, 1.0, (tmp_path,))


def test_adapters_on_this_machine_must_lie_in_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loras" / "rap").mkdir(parents=True)
    (tmp_path / "other" / "rap").mkdir(parents=True)
    (tmp_path / "loras" / "link").symlink_to(tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    folders = (tmp_path / "loras",)
    for text in (str(tmp_path / "loras" / "rap"), "loras/rap", "~/loras/rap", " loras/rap "):
        check_adapter(text, 1.0, folders)
    for text in ("/etc/passwd", "/etc/nothing", "../x", "./other", "~/other", "loras/../other/rap", "loras/link/rap"):
        with pytest.raises(InputError, match="lora_name_or_path must be a hub id"):
            check_adapter(text, 1.0, folders)
    with pytest.raises(InputError, match="is a path here too"):
        check_adapter("other/rap", 1.0, folders)
