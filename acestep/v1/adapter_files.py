"""Adapters on this disk: found, or fetched once, whole, and kept below the weights folder while there is room.

In: the source of an ``AdapterOrder``, the weights folder, whether the network may be used. Out: an ``AdapterFile``.
From the hub files come as weights do (``checkpoints.download``); from other addresses through the guarded download
(``net.fetch``), where every hop must be https and lead to an allowed host on the public internet. Neither is trusted
before it has arrived whole. Refuses to know what adapters do; that a fetched file is safetensors is all it looks at.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from acestep.checkpoints.files import staging_of
from acestep.checkpoints.integrity import MARKER, Marker, inspect, read_marker, stored, write_marker
from acestep.checkpoints.rows import HubFolder, Layout
from acestep.errors import InputError, WeightsError, shown
from acestep.net.data_uri import MIB
from acestep.net.fetch import FetchLimits, Watch, fetch
from acestep.v1.adapter_source import (
    DEFAULT_FILE,
    FIELD,
    PEFT_CONFIG,
    PEFT_FILE,
    SUFFIX,
    AdapterFile,
    HubSource,
    LocalSource,
    Source,
    UrlSource,
    check_hop,
    only_file,
)

logger = logging.getLogger(__name__)
LIMITS = FetchLimits(max_bytes=2048 * MIB, total_s=600.0, silence_s=30.0)
ROOM = 20 * 1024 * MIB  # bytes of fetched adapters that are kept; those used longest ago make room
_STEM = "adapter"  # of a file that came from a URL


@dataclass(frozen=True, slots=True)
class Fetching:
    """How adapters may be fetched.

    Attributes:
        allowed: whether the network may be used at all; what is here already is found without it.
        allow_private: also follow URLs into this machine's own networks.
        limits: size and time of one adapter.
        watch: called now and then while something is fetched, from any thread; what it raises ends the transfer.
        room: bytes of fetched adapters that are kept.
    """

    allowed: bool = True
    allow_private: bool = False
    limits: FetchLimits = LIMITS
    watch: Watch | None = None
    room: int = ROOM


AS_USUAL = Fetching()


def provide_adapter(source: Source, root: Path, fetching: Fetching = AS_USUAL) -> AdapterFile:
    """The file that a source names, fetched if it is not here.

    Args:
        root: the weights folder; fetched adapters are kept in ``loras`` below it, each in a folder with a marker that
            names its origin, commit and digest.

    Raises:
        InputError: there is no such adapter, it is not safetensors, over a limit, or at a place that is not allowed.
        WeightsError: it is not here and the network is not to be used or does not answer; or the weights folder is
            full or not writable.
        OutputError: this machine's disk does not take the file.
    """
    match source:
        case LocalSource(path):
            return AdapterFile(source.name, path, _sha256(path))
        case HubSource():
            return _from_hub(source, root, fetching)
        case UrlSource():
            return _from_url(source, root, fetching)


def _from_hub(source: HubSource, root: Path, fetching: Fetching) -> AdapterFile:
    row = _row_here(source, root)
    if row is None or not inspect(row, root).state.usable:
        _refuse_without_network(source, root, fetching)
        row = _row_there(source, fetching.limits)
        _download(row, root, fetching)
        _make_room(row, root, fetching.room)
    return _used(source, row, root)


def _row_here(source: HubSource, root: Path) -> HubFolder | None:
    """The row of an adapter of which at least the name of the file is known on this disk."""
    folder = root / source.folder
    try:
        return _row(source, source.file or only_file({path.name for path in folder.iterdir()}, str(folder)))
    except (OSError, InputError):  # nothing here, or it is not clear which: the hub is asked
        return None


def _row_there(source: HubSource, limits: FetchLimits) -> HubFolder:
    """The row of an adapter as the hub has it."""
    from acestep.checkpoints.hub import NotOfferedError, list_files

    try:
        files = list_files(replace(_row(source, DEFAULT_FILE), subfolder="")).files
    except NotOfferedError as error:
        raise InputError(f"{FIELD}: {error}", field=FIELD, value=source.name) from error
    name = source.file or only_file(files, source.name)
    if name not in files:
        raise InputError(
            f"{FIELD}: {shown(source.repository)} has no file {shown(source.file)}.", field=FIELD, value=source.name
        )
    if files[name].size > limits.max_bytes:
        raise InputError(f"{FIELD}: {shown(source.name)} {_too_big(limits)}.", field=FIELD, value=source.name)
    return _row(source, name)


def _row(source: HubSource, file: str) -> HubFolder:
    """A row as the registry has them, of the folder of the repository that ``file`` is in."""
    path = PurePosixPath(file)
    beside = (PEFT_CONFIG,) if path.name == PEFT_FILE else ()
    return HubFolder(
        name=source.name,
        folder=source.folder,
        layout=Layout("", path.name.removesuffix(SUFFIX), (), beside),
        repository=source.repository,
        subfolder="" if path.parent == PurePosixPath() else str(path.parent),
        revision=source.revision,
    )


def _download(row: HubFolder, root: Path, fetching: Fetching) -> None:
    from acestep.checkpoints.download import ensure  # with the hub's client, which only a download needs

    deadline = time.monotonic() + fetching.limits.total_s

    def progress(name: str, arrived: int, size: int) -> None:  # noqa: ARG001 - as ``ensure`` calls it
        if time.monotonic() > deadline:
            raise InputError(
                f"{FIELD}: {shown(row.name)} took longer than {fetching.limits.total_s:g} s to download; "
                "what has arrived is kept, so try again.",
                field=FIELD,
                value=row.name,
            )
        if fetching.watch is not None:
            fetching.watch()

    ensure(row, root, progress=progress)


def _from_url(source: UrlSource, root: Path, fetching: Fetching) -> AdapterFile:
    row = HubFolder(name=source.name, folder=source.folder, layout=Layout("", _STEM, ()), repository=source.name)
    if not inspect(row, root).state.usable:
        _refuse_without_network(source, root, fetching)
        from acestep.checkpoints.download import disk_errors, locked

        with disk_errors(root), locked([row], root):
            if not inspect(row, root).state.usable:  # nobody else fetched it in the meantime
                _fetch(source, row, root, fetching)
        _make_room(row, root, fetching.room)
    return _used(source, row, root)


def _fetch(source: UrlSource, row: HubFolder, root: Path, fetching: Fetching) -> None:
    """Fetch one file beside its place, look whether it is what it should be, and put it there."""
    folder, staging = root / row.folder, staging_of(row, root)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        path = fetch(
            source.url,
            staging / f"{_STEM}{SUFFIX}",
            field=FIELD,
            allow_private=fetching.allow_private,
            limits=fetching.limits,
            judge=check_hop,
            watch=fetching.watch,
        )
        _check_safetensors(path, source.name)
        here = stored(path, path.name)
        folder.mkdir(parents=True, exist_ok=True)
        path.replace(folder / path.name)
        write_marker(folder, Marker(row.repository, here.sha256, (here,)))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_safetensors(path: Path, name: str) -> None:
    from acestep.checkpoints.tensors import open_safetensors

    try:
        open_safetensors(path)
    except WeightsError as error:
        what = str(error).removeprefix(f"{path.name} ")
        raise InputError(f"{FIELD}: {shown(name)} {what}.", field=FIELD, value=name) from error


def _used(source: HubSource | UrlSource, row: HubFolder, root: Path) -> AdapterFile:
    """The file of a folder that is whole; notes that it was wanted."""
    folder = root / row.folder
    path, marker = folder / f"{row.layout.weights}{SUFFIX}", read_marker(folder)
    if marker is None:  # filled by hand
        return AdapterFile(source.name, path, _sha256(path))
    with suppress(OSError):  # a folder that cannot be written to is never cleared either
        os.utime(folder / MARKER)
    digest = next(file.sha256 for file in marker.files if file.path == path.name)
    name = source.name
    if isinstance(source, HubSource):
        name = HubSource(source.repository, source.file, marker.commit).name
    return AdapterFile(name, path, digest)


def _make_room(keep: HubFolder, root: Path, room: int) -> None:
    """Delete the adapters that were used longest ago until the rest fits; only what was fetched, never ``keep``."""
    with suppress(OSError):  # another process was quicker, or may write here where this one may not
        markers = sorted((root / keep.folder).parent.glob(f"*/{MARKER}"), key=lambda marker: marker.stat().st_mtime)
        sizes = {marker.parent: sum(path.stat().st_size for path in marker.parent.iterdir()) for marker in markers}
        held = sum(sizes.values())
        for folder, size in sizes.items():
            if held > room and folder != root / keep.folder:
                shutil.rmtree(folder)
                held -= size
                logger.info("%s was deleted (%s bytes) to make room for %s.", folder, f"{size:,}", keep.name)


def _refuse_without_network(source: HubSource | UrlSource, root: Path, fetching: Fetching) -> None:
    from huggingface_hub import is_offline_mode

    if not fetching.allowed:
        why = "downloads are off"
    elif isinstance(source, HubSource) and is_offline_mode():
        why = "HF_HUB_OFFLINE is set"
    else:
        return
    raise WeightsError(
        f"{FIELD}: {shown(source.name)} is not in {root / source.folder} and {why}; "
        f"allow downloads, or put its {SUFFIX} file there."
    )


def _too_big(limits: FetchLimits) -> str:
    return f"has more than {limits.max_bytes / MIB:g} MiB"


def _sha256(path: Path) -> str:
    try:
        return stored(path, path.name).sha256
    except OSError as error:
        raise InputError(
            f"{FIELD}: {shown(str(path))} cannot be read ({error.strerror}).", field=FIELD, value=str(path)
        ) from error
