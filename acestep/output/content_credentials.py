"""Content credentials: a signed C2PA manifest inside a song that says that a model made it, and who vouches for that.

In: a tagged file, its title and recipe, a signer's certificate and key. Out: the same file with a manifest in it,
which ``manifest_reader`` reads. Needs the optional package c2pa-python. Refuses to know encoders and tag systems, and
asks no other machine anything, but for a timestamp authority that the signer names.

The signature covers the whole file, tags included. So a tag that is changed afterwards makes the manifest invalid,
and ``tags.write_tags`` drops that of an MP3, where it is a tag itself. Signing a WAV needs about three times its size
of memory. Two signed files are never bit-identical. Without a timestamp a signature holds until the certificate
expires, not longer. A certificate that nobody vouches for (one's own, say) gives manifests that are valid but not
trusted.

The format: C2PA Technical Specification 2.4, https://spec.c2pa.org.
"""

from __future__ import annotations

import io
import re
import shutil
import wave
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

from acestep import __version__
from acestep.constants import SAMPLE_RATE
from acestep.errors import InputError, UnsupportedError
from acestep.output.formats import FORMATS, format_named
from acestep.output.manifest import VALID, bound, manifest_of
from acestep.output.manifest_frame import digest_around, fill, make_room
from acestep.output.manifest_reader import OFFLINE, library, read_credentials
from acestep.output.recipe import OutputMade, build_recipe
from acestep.output.signing_key import CERTIFICATE, SigningKey, read_signing_key
from acestep.tasks import DEFAULT_TASK

SIGNABLE = tuple(name for name, row in FORMATS.items() if row.tag_kind in {"riff", "id3", "mp4"})
SILENCE_TYPE = FORMATS["wav"].mime
SILENT_SAMPLES = SAMPLE_RATE // 100
TIMESTAMP = "timestamp_url"  # the field that messages name
_FAILURE = re.compile(r"failures:\s+[\w.]+: ([^(\n]+)")
_URL = re.compile(r"\bhttps?://[^\s)]+", re.IGNORECASE)


class SigningError(Exception):
    """A file cannot be signed; the text continues "<file> ..."."""


def check_signable(format_name: str) -> None:
    """Refuse a format that cannot carry a manifest here.

    Raises:
        InputError: there is no such format.
        UnsupportedError: it cannot; the message lists those that can.
    """
    if format_named(format_name).name not in SIGNABLE:
        message = f"audio_format {format_name} cannot be signed; choose one of: {', '.join(SIGNABLE)}."
        raise UnsupportedError(message, field="audio_format", value=format_name)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs songs; made by ``load``. No ``repr`` and no message shows the key.

    Attributes:
        identity: the certificate's subject and the key.
        timestamp_url: RFC 3161 timestamp authority that every signature is sent to; None asks nobody.
    """

    identity: SigningKey
    timestamp_url: str | None = field(default=None, repr=False)

    @classmethod
    def load(
        cls,
        certificate: str | Path,
        key: str | Path,
        *,
        password: str | None = None,
        timestamp_url: str | None = None,
    ) -> Self:
        """Read a certificate and its key, and make sure that they can sign, by signing a moment of silence.

        Args:
            certificate: PEM file, the signer's certificate first, then those that vouch for it.
            key: PEM file of the private key: EC (P-256, P-384, P-521), Ed25519, or RSA of 2048 bits and more.
            password: of the key, if it is encrypted.
            timestamp_url: ``http(s)://`` address of a timestamp authority.

        Raises:
            UnsupportedError: the package c2pa-python is missing.
            InputError: anything is wrong with the files, or with them together; or no timestamp comes back.
        """
        library()
        if timestamp_url is not None and not _URL.match(timestamp_url):
            raise InputError(f"{TIMESTAMP} must begin with http:// or https://.", field=TIMESTAMP)
        signer = cls(read_signing_key(Path(certificate), Path(key), password), timestamp_url)
        signer._rehearse(Path(certificate).name)
        return signer

    def sign(self, source: Path, target: Path, format_name: str, title: str, recipe: Mapping[str, Any]) -> None:
        """Write a copy of a file that differs by its manifest; samples, tags and recipe stay.

        Args:
            source: a song that is complete, tags included.
            target: replaced if it exists; not complete after an error.
            format_name: one of ``SIGNABLE``.
            title: what players show.
            recipe: from ``recipe.build_recipe``; of it the manifest repeats the generator, the moment, the task, the
                names of the models and the hashes of the recordings.

        Raises:
            SigningError: the certificate has expired, or no timestamp came back.
            MutagenError, OSError: the disk is full or fails.
        """
        claims, row = manifest_of(title, recipe), FORMATS[format_name]
        if row.tag_kind == "id3":
            self._sign_mp3(claims, source, target)
        else:
            self._sign_by_library(claims, row.mime, source, target)

    def _sign_by_library(self, claims: Mapping[str, Any], mime: str, source: Path, target: Path) -> None:
        with source.open("rb") as unsigned, _Target(io.FileIO(target, "w+")) as signed:
            try:
                self._embed(claims, mime, unsigned, signed)
            except SigningError as error:
                raise signed.failure or error from None

    def _sign_mp3(self, claims: Mapping[str, Any], source: Path, target: Path) -> None:
        """Sign a manifest for a place in the tag, and put it there; ``manifest_frame`` says why."""
        shutil.copyfile(source, target)
        start, size = 0, 0
        while size != (needed := self._size(bound(claims, start, size, bytes(32)))):  # its numbers grow with it
            size = needed
            start = make_room(target, size)
        fill(target, start, self._detached(bound(claims, start, size, digest_around(target, start, size))))
        found = read_credentials(target)
        if found is None or found["state"] != VALID:
            raise SigningError("cannot be signed: its manifest does not hold")

    def _size(self, claims: Mapping[str, Any]) -> int:
        """Of a manifest in bytes, with room for a timestamp but without asking for one."""
        plain = replace(self, timestamp_url=None)
        return len(plain._detached(claims)) + self._signature_size() - plain._signature_size()

    def _signature_size(self) -> int:
        with library().Signer.from_info(self._info()) as signer:
            return signer.reserve_size()

    def _detached(self, claims: Mapping[str, Any]) -> bytes:
        """A signed manifest that says itself what it is ``bound`` to."""
        return self._embed(claims, SILENCE_TYPE, _silence(), io.BytesIO(), detached=True)

    def _embed(
        self, claims: Mapping[str, Any], mime: str, source: BinaryIO, target: BinaryIO, *, detached: bool = False
    ) -> bytes:
        """Copy ``source`` with a signed manifest in it (``detached``: without), and return the manifest.

        The library calls back to read and write, and ctypes swallows an interrupt that arrives inside a callback. So
        it signs in a thread of its own. Interrupts reach the waiting thread, which leaves when the signature is made.
        """
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self._embed_here, claims, mime, source, target, detached).result()

    def _embed_here(
        self, claims: Mapping[str, Any], mime: str, source: BinaryIO, target: BinaryIO, detached: bool
    ) -> bytes:
        c2pa = library()
        try:
            with (
                c2pa.Context.from_dict(dict(OFFLINE)) as context,
                c2pa.Signer.from_info(self._info()) as signer,
                c2pa.Builder(dict(claims), context) as builder,
            ):
                if detached:
                    builder.set_no_embed()
                return builder.sign(signer, mime, source, target)
        except c2pa.C2paError as error:
            raise SigningError(f"cannot be signed: {_reason(error)}") from None

    def _info(self) -> Any:
        who = self.identity
        return library().C2paSignerInfo(who.algorithm, who.certificates, who.private_key, self.timestamp_url)

    def _rehearse(self, name: str) -> None:
        """Sign silence, first without and then with a timestamp, so that the message can say which of them fails."""
        try:
            replace(self, timestamp_url=None)._sign_silence()
        except SigningError as error:
            rule = f"be allowed to sign documents or e-mail (with it a song {error})"
            raise InputError.must(CERTIFICATE, rule, name) from None
        if self.timestamp_url is not None:
            try:
                self._sign_silence()
            except SigningError:
                raise InputError(f"{TIMESTAMP} gives no timestamps.", field=TIMESTAMP) from None

    def _sign_silence(self) -> None:
        made = OutputMade("wav", SAMPLE_RATE, SILENT_SAMPLES)
        recipe = build_recipe(
            version=__version__, task=DEFAULT_TASK, parameters={}, seeds=[0], models={}, output=made
        )
        self._embed(manifest_of("Silence", recipe), SILENCE_TYPE, _silence(), io.BytesIO())


class _Target(io.BufferedRandom):
    """A file that remembers why it could not be written: the library only hears that it could not."""

    failure: OSError | None = None

    def write(self, data: bytes) -> int:
        with self._remembering():
            return super().write(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._remembering():
            return super().seek(offset, whence)

    def flush(self) -> None:
        with self._remembering():
            super().flush()

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = error
            raise


def _silence() -> BinaryIO:
    """10 ms of it, as a WAV."""
    content = io.BytesIO()
    with wave.open(content, "wb") as sound:
        sound.setparams((1, 2, SAMPLE_RATE, SILENT_SAMPLES, "NONE", ""))
        sound.writeframes(bytes(2 * SILENT_SAMPLES))
    content.seek(0)
    return content


def _reason(error: Exception) -> str:
    """The library's sentence without its preamble, and without the address of a timestamp authority."""
    text = str(error)
    found = _FAILURE.search(text)
    told = found[1] if found else text.partition(": ")[2] or text
    return " ".join(_URL.sub("the timestamp authority", told).split())
