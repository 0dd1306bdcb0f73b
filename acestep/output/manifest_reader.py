"""What the C2PA manifest inside a file says, and whether it holds: by the c2pa library, which is loaded here.

In: any file. Out: JSON for people, or None. Refuses to ask other machines anything, and to sign.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from acestep.errors import InputError, UnsupportedError
from acestep.output.manifest import described
from acestep.output.signing_key import read_certificates, to_pem

ANCHORS = "anchors"  # the field that messages name
OFFLINE: Mapping[str, Any] = MappingProxyType({"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}})
_STORE = b"c2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71"  # JUMBF type of a manifest store: in every one
_BLOCK_BYTES = 1 << 20


def library() -> ModuleType:
    """The c2pa library.

    Raises:
        UnsupportedError: it is not installed, or does not load on this machine.
    """
    try:
        import c2pa
    except (ImportError, RuntimeError) as error:  # RuntimeError: its binary does not load on this machine
        advice = "install it with `pip install 'acestep-cog[provenance]'`"
        message = f"Content credentials need the package c2pa-python; {advice}."
        raise UnsupportedError(message) from error
    return c2pa


def read_credentials(path: str | Path, *, anchors: str | Path | None = None) -> dict[str, Any] | None:
    """What the manifest inside a file claims, and whether it holds.

    Args:
        path: any file. A manifest that it only points to is not fetched.
        anchors: PEM file of certificates that are trusted to vouch for signers. Without it nobody is: whoever signed
            may have named himself at will, though what he signed is unchanged.

    Returns:
        None without a manifest, else JSON: ``state`` ("valid", or "invalid: " and the reason), ``trusted`` (an anchor
        vouches for the signer), ``signer`` and ``organisation`` (of the certificate), ``signed_at`` (a timestamp
        authority's word), ``stated_at`` (the signer's), ``generator``, ``title``. What is not known is None.

    Raises:
        InputError: the file or the anchors cannot be read.
        UnsupportedError: it has a manifest, but the package c2pa-python is missing.
    """
    path = Path(path)
    if not _has_manifest(path):
        return None
    c2pa = library()
    try:
        with (
            _settings(c2pa, anchors) as context,
            path.open("rb") as file,
            c2pa.Reader(None, file, context=context) as reader,
        ):
            return described(json.loads(reader.json()))
    except c2pa.C2paError:
        return described({"validation_status": [{"explanation": "its manifest cannot be read"}]})


def _has_manifest(path: Path) -> bool:
    tail = b""
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                if _STORE in tail + block:
                    return True
                tail = block[1 - len(_STORE) :]
    except OSError as error:
        message = f"{path.name!r} cannot be read: {error.strerror}."
        raise InputError(message, field="file", value=path.name) from error
    return False


def _settings(c2pa: ModuleType, anchors: str | Path | None) -> Any:
    settings: dict[str, Any] = dict(OFFLINE)
    if anchors is not None:
        settings["trust"] = {"trust_anchors": to_pem(read_certificates(Path(anchors), ANCHORS)).decode()}
    return c2pa.Context.from_dict(settings)
