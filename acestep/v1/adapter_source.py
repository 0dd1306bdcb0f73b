"""Where an adapter comes from: what a request names, judged before anything is fetched, opened or played.

In: the text of ``lora_name_or_path``, the number of ``lora_weight``, whether files of this machine may be named.
Out: an ``AdapterOrder``, None for "no adapter", or one sentence. Refuses to know the network, torch and what is in
the file; the names of hosts are judged here, again at every redirect, their addresses by ``net.url``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from acestep.checkpoints.registry_v1 import ADAPTERS
from acestep.errors import InputError, shown
from acestep.fields import check_number
from acestep.net.url import Destination, Refused

FIELD, WEIGHT_FIELD = "lora_name_or_path", "lora_weight"
OFF = "none"
REGISTERED = frozenset(ADAPTERS)  # published by the authors of a model for it
SUFFIX = ".safetensors"
DEFAULT_FILE = f"pytorch_lora_weights{SUFFIX}"
PEFT_FILE, PEFT_CONFIG = f"adapter_model{SUFFIX}", "adapter_config.json"  # the second states the scale of the first
HOSTS_ENV = "ACESTEP_LORA_HOSTS"  # further host names, separated by commas; * stands for any characters
HOSTS = (  # those that people share adapters on, and where their redirects lead
    "huggingface.co",
    "*.huggingface.co",
    "hf.co",
    "*.hf.co",
    "civitai.com",
    "*.civitai.com",
    "civitai-delivery-worker-prod.5ac0637cfd0766c97916cefa3764fbdf.r2.cloudflarestorage.com",
    "github.com",
    "*.githubusercontent.com",
    "replicate.delivery",
    "*.replicate.delivery",
)
_PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
_FOLDER = "loras"
_STRONGEST = 2.0
_NAMELESS = re.compile(r"/api/download/models/\d+")  # civitai.com gives files addresses without their names
_LIKE_URL = re.compile(r"data:|[A-Za-z][A-Za-z0-9+.-]*://")
_WORD = r"[A-Za-z0-9_](?:[-.]?[A-Za-z0-9_])*"
_SEGMENT = r"\w[\w .+()\[\]-]*"
_HUB = re.compile(
    rf"(?P<repository>{_WORD}/{_WORD})(?:@(?P<revision>[0-9a-f]{{40}}))?"
    rf"(?:/(?P<file>(?:{_SEGMENT}/)*{_SEGMENT}\{SUFFIX}))?"
)


@dataclass(frozen=True, slots=True)
class HubSource:
    """A file of a repository on the model hub.

    Attributes:
        repository: ``owner/name``.
        file: below the repository; "" is ``pytorch_lora_weights.safetensors``, or else the only safetensors file.
        revision: commit; None is the newest, or the one that was fetched before.
    """

    repository: str
    file: str = ""
    revision: str | None = None

    @property
    def name(self) -> str:
        """As a request spells it."""
        pinned = f"{self.repository}@{self.revision}" if self.revision else self.repository
        return f"{pinned}/{self.file}" if self.file else pinned

    @property
    def folder(self) -> str:
        """Below the weights folder; another for each file and commit that is asked for."""
        folder = f"{_FOLDER}/{self.repository.replace('/', '--')}"
        asked = self.name.removeprefix(self.repository)
        return f"{folder}--{_digest(asked, 8)}" if asked else folder


@dataclass(frozen=True, slots=True)
class UrlSource:
    """An https: URL; its query, which may be a secret, is in no text that is made of this value."""

    url: str = field(repr=False)

    @property
    def name(self) -> str:
        """The URL without query and fragment."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"

    @property
    def folder(self) -> str:
        """Below the weights folder."""
        return f"{_FOLDER}/url-{_digest(self.url, 16)}"


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A safetensors file of this machine."""

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)


Source = HubSource | UrlSource | LocalSource


@dataclass(frozen=True, slots=True)
class AdapterOrder:
    """The adapter that a request asks for, and how strong it shall be (above 0, at most 2)."""

    source: Source
    weight: float


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """An adapter on this disk.

    Attributes:
        source: as reports tell it: ``owner/name@commit`` with the file where one was named, a URL without query, or a
            path. Names of the first kind can be given as ``lora_name_or_path`` again, and mean these very bytes.
        path: of the safetensors file.
        sha256: of its content, in hexadecimal digits.
    """

    source: str
    path: Path
    sha256: str


def judge_adapter(name: str, weight: float, *, allow_local: bool) -> AdapterOrder | None:
    """What ``lora_name_or_path`` and ``lora_weight`` mean.

    Args:
        name: ``owner/name`` on the hub, optionally with ``@commit`` and ``/file.safetensors``; an https: URL of a
            safetensors file; a path; ``none`` or nothing.
        weight: 0 to 2; 0 is no adapter.
        allow_local: a folder or file of this machine may be named; one that exists wins over a hub id.

    Returns:
        The order, or None where nothing shall act.

    Raises:
        InputError: neither of these, a host that is not allowed, a pickle, a path where none is allowed, a weight
            out of range.
    """
    check_number(WEIGHT_FIELD, weight, 0, _STRONGEST)
    text = name.strip()
    if text.casefold() in {"", OFF}:
        return None
    source = _url(text) if _LIKE_URL.match(text) else _named(text, allow_local=allow_local)
    return AdapterOrder(source, weight) if weight else None


def check_hop(destination: Destination) -> None:
    """Judge an address that a download is about to go to, the first one or that of a redirect.

    Raises:
        Refused: not https, or a host that is neither of ``HOSTS`` nor of ``ACESTEP_LORA_HOSTS``.
    """
    if destination.scheme != "https":
        raise Refused("is redirected to a plain http: address")
    further = [host.strip().lower() for host in os.environ.get(HOSTS_ENV, "").split(",")]
    if not any(fnmatchcase(destination.host, pattern) for pattern in (*HOSTS, *further)):
        raise Refused(
            f"leads to {destination.host!r}; adapters come from huggingface.co, civitai.com, github.com, "
            f"replicate.delivery and hosts that the server's {HOSTS_ENV} names"
        )


def only_file(names: Collection[str], where: str) -> str:
    """The file of an adapter among the names in a folder: the usual one, or else the only safetensors file.

    Raises:
        InputError: there is none, or there are several.
    """
    found = sorted(name for name in names if name.endswith(SUFFIX) and "/" not in name)
    if DEFAULT_FILE in found:
        return DEFAULT_FILE
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise _bad(f"{shown(where)} holds {len(found)} adapters; add the name of one: {some}.", where)
    pickles = sorted(name for name in names if _is_pickle(name))
    instead = f"; {', '.join(pickles[:3])} may run code when it is opened, so it is not" if pickles else ""
    raise _bad(f"{shown(where)} holds no {SUFFIX} file{instead}.", where)


def _url(text: str) -> UrlSource:
    """Only its place is told by messages: the rest may be a secret."""
    if not text.startswith("https://"):
        raise _bad("the URL must begin with https://.")
    try:
        destination = Destination.parse(text)
        check_hop(destination)
    except Refused as refused:
        raise _bad(f"the URL {refused}.") from refused
    path = destination.target.partition("?")[0]
    if _is_pickle(path):
        raise _bad(f"the URL is of a pickle, which may run code when it is opened; name a {SUFFIX} file.")
    if not (path.endswith(SUFFIX) or _NAMELESS.fullmatch(path)):
        raise _bad(f"the URL must end in {SUFFIX}.")
    return UrlSource(text.partition("#")[0])


def _named(text: str, *, allow_local: bool) -> HubSource | LocalSource:
    if allow_local and (path := _on_disk(text)):
        return LocalSource(_local_file(path))
    if _is_pickle(text):
        raise _bad(f"{shown(text)} is a pickle, which may run code when it is opened; name a {SUFFIX} file.", text)
    match = _HUB.fullmatch(text)
    if match and not match["repository"].endswith(SUFFIX):
        return HubSource(match["repository"], match["file"] or "", match["revision"])
    here = ", a file or folder that exists" if allow_local else ""
    rule = f"be a hub id such as {min(REGISTERED)}, an https: URL of a {SUFFIX} file{here}, or {OFF}"
    raise InputError.must(FIELD, rule, text)


def _on_disk(text: str) -> Path | None:
    """The path that ``text`` is, if it leads to something."""
    try:
        path = Path(text).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError):  # too long for this system; the home of somebody unknown
        return None


def _local_file(path: Path) -> Path:
    if path.is_dir():
        try:
            names = [file.name for file in path.iterdir() if file.is_file()]
        except OSError as error:
            raise _bad(f"{shown(str(path))} cannot be read ({error.strerror}).", str(path)) from error
        return path / only_file(names, str(path))
    if path.suffix != SUFFIX:
        pickled = "a pickle, which may run code when it is opened" if _is_pickle(path.name) else f"no {SUFFIX} file"
        raise _bad(f"{shown(str(path))} is {pickled}.", str(path))
    return path


def _is_pickle(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _PICKLES


def _bad(sentence: str, value: object = None) -> InputError:
    return InputError(f"{FIELD}: {sentence}", field=FIELD, value=value)


def _digest(text: str, digits: int) -> str:
    return sha256(text.encode()).hexdigest()[:digits]
