"""The model hub: what a repository holds, and bytes of one file. The only module that talks to it.

In: a registry row. Out: file descriptions with sizes and digests; bytes appended to a file. Every failure becomes one
sentence without the library's own text, which may hold signed addresses or echo a token; nor does a log get those.
Refuses to know folders, retries and locks. Token, endpoint and timeouts are the library's: ``HF_TOKEN``,
``HF_ENDPOINT``, ``HF_HUB_*``. A row with the address of one file elsewhere is asked for there, by the same client and
without the token.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff

from acestep.checkpoints.integrity import RemoteFile
from acestep.checkpoints.rows import HubFolder
from acestep.errors import WeightsError

_CHUNK = 1 << 20
_TALKATIVE = ("httpx2", "httpcore2")  # the library's client: logs every address with its query, and every header
_PARTIAL, _NO_ACCESS, _MISSING, _RANGE_REFUSED = 206, (401, 403), 404, 416


class HubUnreachableError(WeightsError):
    """The connection failed; the same request may work later."""


class NotOfferedError(WeightsError):
    """There is no such thing, or not for who asks; the same request will not work later."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What the folder of a row holds at one commit."""

    commit: str
    files: dict[str, RemoteFile]


def list_files(row: HubFolder) -> Listing:
    """Ask the hub for the commit of ``row`` and the files in its folder.

    Of a file with an address of its own only the size is asked for; its digest stands in for a commit.

    Raises:
        HubUnreachableError: no connection.
        NotOfferedError: no access, no such repository or revision.
        WeightsError: a hub in trouble, or an answer that is not a hub's.
    """
    if row.url:
        return _only_file(row)
    with _explained(row, f"revision {row.revision or constants.DEFAULT_REVISION}"):
        info = HfApi().model_info(
            row.repository, revision=row.revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
        files = [_remote_file(sibling, row.subfolder) for sibling in info.siblings or ()]
    if info.sha is None or row.revision not in {None, info.sha}:
        raise WeightsError(
            f"Cannot download {row.name}: {_host(row)} answered for another revision than was asked for."
        )
    return Listing(info.sha, {file.path: file for file in files if file is not None})


def receive(row: HubFolder, commit: str, file: RemoteFile, target: Path, advance: Callable[[int], None]) -> None:
    """Append what ``target`` still lacks of ``file``; start over where the server cannot resume.

    Args:
        advance: called with the bytes that ``target`` has, after each piece; what it raises ends the transfer.

    Raises:
        HubUnreachableError: the connection failed; what has arrived stays in ``target``.
        NotOfferedError: no access or no such file.
        WeightsError: a hub in trouble.
        OSError: the disk.
    """
    have = target.stat().st_size if target.exists() else -1
    if have == file.size:
        return
    have = have if 0 < have < file.size else 0
    remote = f"{row.subfolder}/{file.path}" if row.subfolder else file.path
    url = row.url or hf_hub_url(row.repository, remote, revision=commit)
    headers = _headers(row) | ({"Range": f"bytes={have}-"} if have else {})
    with (
        _explained(row, f"file {remote}"),
        http_stream_backoff(
            "GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT, retry_on_exceptions=()
        ) as response,
    ):
        if response.status_code == _RANGE_REFUSED:
            target.unlink()  # the server's file ends before ours does: what we have is not its beginning
            return
        hf_raise_for_status(response)
        resumed = response.status_code == _PARTIAL
        _append(response, target, have if resumed else 0, file.size, advance)


def _append(response: httpx2.Response, target: Path, have: int, enough: int, advance: Callable[[int], None]) -> None:
    with target.open("ab" if have else "wb") as sink:
        for piece in response.iter_bytes(_CHUNK):
            have += sink.write(piece)
            advance(have)
            if have > enough:  # not the file that was announced; whoever checks it will say so
                break
        sink.flush()
        os.fsync(sink.fileno())


def _only_file(row: HubFolder) -> Listing:
    """What the server at ``row.url`` says of its file."""
    ((name, digest),) = row.digests
    with (
        _explained(row, f"file {name}"),
        http_stream_backoff(
            "HEAD", row.url, headers=_headers(row), timeout=constants.HF_HUB_ETAG_TIMEOUT, retry_on_exceptions=()
        ) as response,
    ):
        hf_raise_for_status(response)
        size = int(response.headers["Content-Length"])
    return Listing(row.revision or digest, {name: RemoteFile(name, size, sha256=digest)})


def _headers(row: HubFolder) -> dict[str, str]:
    """Of a request; the token is the hub's alone."""
    return ({} if row.url else build_hf_headers()) | {"Accept-Encoding": "identity"}


def _remote_file(sibling: RepoSibling, subfolder: str) -> RemoteFile | None:
    """A file of a repository, or None when it is outside the folder."""
    prefix = f"{subfolder}/" if subfolder else ""
    if not sibling.rfilename.startswith(prefix):
        return None
    path = sibling.rfilename.removeprefix(prefix)
    if sibling.lfs is not None:
        return RemoteFile(path, sibling.lfs.size, sha256=sibling.lfs.sha256)
    if sibling.size is None:
        raise ValueError(f"no size of {path}")
    return RemoteFile(path, sibling.size, git_sha1=sibling.blob_id)


@contextmanager
def _explained(row: HubFolder, what: str) -> Iterator[None]:
    """Turn what the library raises into one sentence of ours."""
    failed, kind = f"Cannot download {row.name}", "a server of files" if row.url else "a model hub"
    _hush()
    try:
        yield
    except HfHubHTTPError as error:
        final = error.response.status_code in {*_NO_ACCESS, _MISSING}
        refused = NotOfferedError if final else WeightsError
        raise refused(f"{failed}: {_refusal(error, row, what)}.") from None
    except (httpx2.LocalProtocolError, UnicodeEncodeError):
        raise WeightsError(f"{failed}: HF_TOKEN holds characters that no token has.") from None
    except (httpx2.RequestError, httpx2.InvalidURL) as error:
        raise HubUnreachableError(
            f"{failed}: the connection to {_host(row)} failed ({type(error).__name__}); what has arrived is kept, "
            f"so try again, or check the network{' and proxy' if row.url else ', proxy and HF_ENDPOINT'}."
        ) from None
    except (ValueError, KeyError):
        raise WeightsError(f"{failed}: the answer of {_host(row)} is not that of {kind}.") from None


def _hush() -> None:
    """Leave a log the warnings of the HTTP client only: large files are reached by redirects to signed addresses.

    At every request, because a program may set up its logging at any time; a level that somebody gave to these very
    loggers stays.
    """
    for logger in map(logging.getLogger, _TALKATIVE):
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)


def _refusal(error: HfHubHTTPError, row: HubFolder, what: str) -> str:
    status, host = error.response.status_code, _host(row)
    if row.url:
        return f"{host} answered HTTP {status} for {row.url}; try again later"
    if status in _NO_ACCESS:
        return (
            f"{host} gives no access to {row.repository} (HTTP {status}); it does not exist, "
            "or its terms must be accepted there and HF_TOKEN be set to a token that may read it"
        )
    if isinstance(error, (EntryNotFoundError, RevisionNotFoundError)):
        return f"{row.repository} on {host} has no {what}"
    if isinstance(error, RepositoryNotFoundError):
        return f"{host} has no repository {row.repository}"
    return f"{host} answered HTTP {status} for {what} of {row.repository}; try again later"


def _host(row: HubFolder) -> str:
    """Whom a row is asked of."""
    address = row.url or constants.ENDPOINT
    return urlsplit(address).hostname or address
