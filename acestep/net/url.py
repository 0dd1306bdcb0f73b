"""Where a URL leads, and whether this machine may be sent there.

In: the text of a URL that a stranger wrote. Out: its parts, and the addresses behind its host, judged before anybody
connects to one. A name is resolved once and the connection goes to an address that was judged, so a name server that
answers differently the second time changes nothing. Spellings of an address (decimal, octal, hexadecimal, full-width
digits) need no rules of their own: the resolver that would follow them is the one that is asked.
Refuses to know: HTTP, files, time limits.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

ALLOW_PRIVATE_URLS = "ACESTEP_ALLOW_PRIVATE_URLS"  # "1": the person who runs the server trusts those who use it
DEFAULT_PORTS = {"http": 80, "https": 443}
LONGEST = 8192

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Found = tuple[int, int, int, str, Any]  # one row of `socket.getaddrinfo`

_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")  # parsers disagree on these: one reads a host where another reads a path
_QUOTE_SAFE = "/?%:@!$&'()*+,;=~-._[]"
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")  # RFC 4291: all global unicast that was ever handed out
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last four bytes
_SPECIAL_V4 = tuple(  # IETF protocol assignments (older Pythons take most of them for public); Azure's host agent
    map(ipaddress.IPv4Network, ("192.0.0.0/24", "168.63.129.16/32"))
)


class Refused(Exception):  # noqa: N818 - never leaves this package
    """Why a URL is not followed, as the end of the sentence "<field>: the URL ..."."""


@dataclass(frozen=True, slots=True)
class Destination:
    """The parts of a URL that a request needs.

    Attributes:
        scheme: `http` or `https`.
        host: ASCII; an IPv6 address without its brackets.
        port: given, or the scheme's own.
        target: path and query, percent-encoded.
    """

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take a URL apart. Raises `Refused` for anything but a plain http or https URL."""
        scheme = url.partition("://")[0]
        if scheme not in DEFAULT_PORTS:
            raise Refused("must begin with https:// or http://")
        if len(url) > LONGEST or _UNSAFE.search(url):
            raise Refused(f"has a space, a backslash or a control character, or over {LONGEST} characters")
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").encode("idna").decode()
            port = parts.port or DEFAULT_PORTS[scheme]
        except ValueError as error:  # UnicodeError is one
            raise Refused("is not a valid URL") from error
        if "@" in parts.netloc:
            raise Refused("must not carry a user name or password")
        if not host:
            raise Refused("names no host")
        query = f"?{parts.query}" if parts.query else ""
        return cls(scheme, host, port, quote((parts.path or "/") + query, safe=_QUOTE_SAFE))

    def resolve(self, *, allow_private: bool) -> list[Found]:
        """The addresses of the host, each of them allowed.

        Raises:
            Refused: there are none, or one of them is not public and `allow_private` is false.
        """
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Refused(f"names the host {self.host!r}, which cannot be found") from error
        if not allow_private and not all(is_public(ipaddress.ip_address(row[4][0])) for row in found):
            raise Refused(f"leads to {self.host!r}, which is not an address on the public internet")
        return found


def is_public(address: Address) -> bool:
    """Whether an address is a host on the public internet, also after every way of wrapping IPv4 in IPv6."""
    if isinstance(address, ipaddress.IPv4Address):
        special = address.is_multicast or address.is_reserved or any(address in network for network in _SPECIAL_V4)
        return address.is_global and not special
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(address.packed[-4:]))
    if address.sixtofour is not None:
        return is_public(address.sixtofour)
    return address in _PUBLIC_V6 and address.is_global  # leaves out v4-mapped, link-local, unique-local, multicast
