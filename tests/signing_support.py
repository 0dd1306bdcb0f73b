"""Certificates, keys and chains of our own making, as the files of somebody who signs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from acestep.output.content_credentials import Credentials


def certificate(
    name: str,
    key: Any,
    issuer: str,
    issuer_key: Any,
    *,
    authority: bool = False,
    days: tuple[float, float] = (-1, 30),
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
) -> x509.Certificate:
    """A certificate that is valid from ``days[0]`` to ``days[1]`` after now."""
    start, end = (datetime.now(UTC) + timedelta(days=day) for day in days)
    duties = {"digital_signature": not authority, "key_cert_sign": authority, "crl_sign": authority}
    never = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    usages = x509.KeyUsage(**duties, **dict.fromkeys((*never, "encipher_only", "decipher_only"), False))
    made = x509.CertificateBuilder(_named(issuer), _named(name), key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(start).not_valid_after(end)
    made = made.add_extension(x509.BasicConstraints(authority, None), True).add_extension(usages, True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
    if not authority:
        made = made.add_extension(x509.ExtendedKeyUsage([usage]), usage == ExtendedKeyUsageOID.TIME_STAMPING)
    return made.sign(issuer_key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    parts = {NameOID.COMMON_NAME: name, NameOID.ORGANIZATION_NAME: "Studio GmbH"}
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts.items()])


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def key_pem(
    key: Any, form: PrivateFormat = PrivateFormat.PKCS8, locked: KeySerializationEncryption | None = None
) -> bytes:
    return key.private_bytes(Encoding.PEM, form, locked or NoEncryption())


@dataclass(frozen=True)
class Identity:
    """A signer's files, and that of who vouches for him."""

    folder: Path
    key: Any
    authority: x509.Certificate

    @property
    def files(self) -> tuple[Path, Path]:
        return self.folder / "cert.pem", self.folder / "key.pem"

    def load(self, **options: Any) -> Credentials:
        return Credentials.load(*self.files, **options)


def identity(folder: Path, key: Any = None, **options: Any) -> Identity:
    """A chain of two certificates and its key, as files."""
    folder.mkdir(exist_ok=True)
    key, root = key or ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = certificate("Test CA", root, "Test CA", root, authority=True)
    made = Identity(folder, key, authority)
    made.files[0].write_bytes(pem(certificate("A. Singer", key, "Test CA", root, **options), authority))
    made.files[1].write_bytes(key_pem(key))
    return made
