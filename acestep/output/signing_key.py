"""A certificate and its private key: read from PEM files, and judged before anything is signed with them.

In: two files, a password. Out: a ``SigningKey``. Refuses to know manifests and songs, and to repeat anything out of a
key: messages name files, and a ``repr`` shows neither key nor certificates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from acestep.errors import InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

CERTIFICATE, KEY = "sign_cert", "sign_key"  # the fields that messages name
PEM_BYTES_MAX = 1 << 20
RSA_BITS_MIN = 2048
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_KEYS = f"be an EC key (P-256, P-384, P-521), Ed25519 or RSA of {RSA_BITS_MIN} bits and more"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Who signs, and with what.

    Attributes:
        algorithm: of the signature in C2PA's words, such as ``es256``.
        signer: common name of the certificate's subject.
        expires: when the first certificate of the chain to expire does.
        certificates: the chain as PEM, the signer's own first.
        private_key: PKCS #8 as PEM, not encrypted.
    """

    algorithm: str
    signer: str
    expires: datetime
    certificates: bytes = field(repr=False)
    private_key: bytes = field(repr=False)


def read_signing_key(certificate: Path, key: Path, password: str | None = None) -> SigningKey:
    """A chain of certificates and the private key of the first of them.

    Args:
        certificate: PEM, the signer's certificate first, then those that vouch for it; the root may be left out.
        key: PEM, in PKCS #8, PKCS #1 or SEC 1.
        password: of the key, if it is encrypted.

    Raises:
        InputError: a file cannot be read or is no PEM, the password is wrong or missing, a certificate is not valid
            today, the key is of no kind that C2PA knows, or it is not the certificate's.
    """
    from cryptography.hazmat.primitives import serialization as form

    chain, private = read_certificates(certificate, CERTIFICATE), _read_private_key(key, password)
    _check_dates(chain, certificate.name)
    algorithm = _algorithm(private)
    if algorithm is None:
        raise InputError.must(KEY, _KEYS, key.name)
    if private.public_key() != chain[0].public_key():
        raise InputError.must(KEY, f"belong to the first certificate in {certificate.name!r}", key.name)
    return SigningKey(
        algorithm,
        _common_name(chain[0]),
        min(one.not_valid_after_utc for one in chain),
        to_pem(chain),
        private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()),
    )


def read_certificates(path: Path, field: str) -> list[Certificate]:
    """Every certificate of a PEM file, at least one.

    Args:
        path: may hold other things too, such as a key; they are passed over.
        field: what a message calls the file.

    Raises:
        InputError: it cannot be read, or holds no certificate.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.x509 import load_pem_x509_certificates

    try:
        chain = load_pem_x509_certificates(_content(path, field))
        for certificate in chain:
            certificate.public_key()  # is only parsed when asked for
    except (ValueError, UnsupportedAlgorithm):
        raise InputError.must(field, "be a PEM file of certificates", path.name) from None
    return chain


def to_pem(chain: list[Certificate]) -> bytes:
    """Certificates, and nothing else, as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)


def _read_private_key(path: Path, password: str | None) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(_content(path, KEY), None if password is None else password.encode())
    except TypeError:
        rule = "come with its password, as it is encrypted" if password is None else "be encrypted to have a password"
    except (ValueError, UnsupportedAlgorithm):
        rule = "be a PEM file of a private key" + (" that the password opens" if password is not None else "")
    raise InputError.must(KEY, rule, path.name)


def _content(path: Path, field: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(PEM_BYTES_MAX)
    except OSError as error:
        message = f"{field} {path.name!r} cannot be read: {error.strerror}."
        raise InputError(message, field=field, value=path.name) from error


def _check_dates(chain: list[Certificate], name: str) -> None:
    now = datetime.now(UTC)
    for certificate in chain:
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not start <= now <= end:
            dates = f"{name!r} is valid from {start:%Y-%m-%d} to {end:%Y-%m-%d}"
            raise InputError(f"{CERTIFICATE} must be valid today; {dates}.", field=CERTIFICATE, value=name)


def _algorithm(key: PrivateKeyTypes) -> str | None:
    """The algorithm that a key of this kind signs with; None for a kind that C2PA does not allow."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if isinstance(key, EllipticCurvePrivateKey):
        return _CURVES.get(key.curve.name)
    if isinstance(key, RSAPrivateKey):
        return "ps256" if key.key_size >= RSA_BITS_MIN else None
    return "ed25519" if isinstance(key, Ed25519PrivateKey) else None


def _common_name(certificate: Certificate) -> str:
    from cryptography.x509.oid import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()
