"""How a server was started: arguments and environment become ``Options``. Imports nothing heavy, so that ``--help``
answers at once.
"""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from acestep.errors import InputError
from acestep.net.url import ALLOW_PRIVATE_URLS
from acestep.server.checkpoints import AUTO, CHECKPOINT_PATH, place_of

API_KEY = "ACESTEP_API_KEY"
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a server was told when it was started.

    Attributes:
        host, port: where it listens; port 0 is any that is free.
        output_folder: for songs.
        input_folders: below which requests may name recordings; () is the output folder alone.
        checkpoint: what requests mean that name no model: as ``checkpoint_path``; "" is auto.
        checkpoint_root: the weights folder; None is the usual ones.
        device: ``auto``, ``cuda`` or ``cpu``.
        backend: of the planner.
        download: fetch published weights and adapters that are not here when a request names them.
        preload: load the default model before the first request.
        queue: jobs that may wait beside the one at work.
        expire_s: age at which songs and uploads are deleted; 0 never.
        max_body_mib, max_upload_mib: of a JSON body, and of an uploaded or downloaded recording.
        api_key: that clients must send; "" is none.
        cors_origins: web pages of other origins that may ask; ``*`` is all.
        allowed_hosts: names by which it may be addressed, beside those of a loopback address.
        allow_private: follow URLs into this machine's own networks.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    output_folder: Path = Path("outputs")
    input_folders: tuple[Path, ...] = ()
    checkpoint: str = ""
    checkpoint_root: Path | None = None
    device: str = AUTO
    backend: str = "native"
    download: bool = True
    preload: bool = False
    queue: int = 16
    expire_s: float = 24 * _HOUR_S
    max_body_mib: int = 64
    max_upload_mib: int = 512
    api_key: str = ""
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    allow_private: bool = False

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


_DEFAULTS = Options()


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_options(argv: Sequence[str] | None, environment: Mapping[str, str]) -> Options:
    """The options of a command line; what it leaves out, the environment may say.

    Raises:
        InputError: a number out of range, or a key that no header can hold.
    """
    given = vars(_parser().parse_args(argv))
    for name, low in (("port", 0), ("queue", 0), ("expire_hours", 0), ("max_body_mib", 1), ("max_upload_mib", 1)):
        if not given[name] >= low:
            raise InputError.must(f"--{name.replace('_', '-')}", f"be {low} or more", given[name])
    root, checkpoint = place_of(environment.get(CHECKPOINT_PATH, ""))
    api_key = given.pop("api_key") or environment.get(API_KEY, "")
    if not (api_key.isascii() and api_key.isprintable()):
        raise InputError("--api-key must be of printable ASCII characters.", field="--api-key")
    return Options(
        checkpoint=given.pop("checkpoint") or checkpoint,
        checkpoint_root=given.pop("checkpoint_root") or root,
        input_folders=tuple(given.pop("input_folder")),
        cors_origins=tuple(given.pop("cors_origin")),
        allowed_hosts=tuple(given.pop("allowed_host")),
        download=not given.pop("no_download"),
        expire_s=given.pop("expire_hours") * _HOUR_S,
        api_key=api_key,
        allow_private=environment.get(ALLOW_PRIVATE_URLS) == "1",
        **given,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="acestep-server", description="Make music with ACE-Step over HTTP.")
    _add_models(parser.add_argument_group("models"))
    _add_files(parser.add_argument_group("files"))
    _add_access(parser.add_argument_group("who may ask"))
    return parser


def _add_models(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--checkpoint", default="", metavar="NAME", help="model of requests that name none; default: $CHECKPOINT_PATH"
    )
    add("--checkpoint-root", type=Path, metavar="DIR", help="weights folder; default: $CHECKPOINT_PATH, or ./weights")
    add("--device", default=AUTO, metavar="NAME", help="auto, cuda or cpu; default: auto")
    add("--backend", default=_DEFAULTS.backend, metavar="NAME", help="of the planner: native, vllm or pt")
    add("--no-download", action="store_true", help="never fetch weights and adapters")
    add("--preload", action="store_true", help="load the default model before the first request")
    add("--queue", type=int, default=_DEFAULTS.queue, metavar="N", help="requests that may wait; default: 16")


def _add_files(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    folder, hours = _DEFAULTS.output_folder, _DEFAULTS.expire_s / _HOUR_S
    add("--output-folder", type=Path, default=folder, metavar="DIR", help="for songs; default: ./outputs")
    add(
        "--input-folder", type=Path, action="append", default=[], metavar="DIR",
        help="requests may name recordings in it; may be given several times; default: the output folder",
    )  # fmt: skip
    add("--expire-hours", type=float, default=hours, metavar="H", help="delete songs then; 0 never; default: 24")
    add("--max-body-mib", type=int, default=_DEFAULTS.max_body_mib, metavar="N", help="of a JSON body; default: 64")
    add("--max-upload-mib", type=int, default=_DEFAULTS.max_upload_mib, metavar="N", help="of a file; default: 512")


def _add_access(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--host", default=_DEFAULTS.host, help="address to listen on; default: this machine alone")
    add("--port", type=int, default=_DEFAULTS.port, metavar="N", help="0 is any that is free; default: 8000")
    add("--api-key", default="", metavar="KEY", help=f"that clients must send; better: ${API_KEY}")
    add(
        "--cors-origin", action="append", default=[], metavar="ORIGIN",
        help="web pages from there may ask, such as https://example.com; * is all; may be given several times",
    )  # fmt: skip
    add(
        "--allowed-host", action="append", default=[], metavar="NAME",
        help="name under which it is asked, where that is not an address of this machine; may be given several times",
    )  # fmt: skip
