"""Options that sign what is made: a certificate and its key, from files.

In: a parser; parsed arguments. Out: ``Credentials`` or None. The password of the key comes from the environment
variable ``ACESTEP_SIGN_PASSWORD``: other users of a machine can see options. Heavy imports happen inside the
functions.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from acestep.errors import UnsupportedError

if TYPE_CHECKING:
    from acestep.output.content_credentials import Credentials

PASSWORD = "ACESTEP_SIGN_PASSWORD"


def add_signing(parser: argparse.ArgumentParser) -> None:
    """Who signs the files."""
    about = "certificates (PEM, signer first) that sign the file as AI-generated, by C2PA; for .wav, .mp3 and .m4a"
    parser.add_argument("--sign-cert", type=Path, metavar="FILE", help=about)
    about = f"private key (PEM) of the certificate; its password, if it has one, is in {PASSWORD}"
    parser.add_argument("--sign-key", type=Path, metavar="FILE", help=about)


def credentials_of(arguments: argparse.Namespace, format_name: str) -> Credentials | None:
    """What files of a format are signed with; None when nobody signs.

    Raises:
        InputError: certificate or key cannot be read, or do not go together.
        UnsupportedError: one of them is missing, the format cannot be signed, or the package that signs is not here.
    """
    certificate, key = arguments.sign_cert, arguments.sign_key
    if certificate is None and key is None:
        return None
    for option, file, other in (("--sign-cert", certificate, "--sign-key"), ("--sign-key", key, "--sign-cert")):
        if file is None:
            raise UnsupportedError(f"{other} needs {option} too.", field=option)
    from acestep.output.content_credentials import Credentials, check_signable

    check_signable(format_name)
    return Credentials.load(certificate, key, password=os.environ.get(PASSWORD))
