"""Which addresses hooks may reach, judged on the socket address of every attempt to connect, after all resolving.

A check of URLs or names alone would miss odd spellings of addresses, and names that change theirs between check and
use. `check_url` only tells a user early what the socket would refuse anyway.
"""

import errno
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from aiohttp import AddrInfoType
from yarl import URL

from tracker.errors import InvalidField

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL_CHARACTERS: Final = 2_000
NOT_ALLOWED: Final = "address not allowed"

_PUBLIC_IPV6: Final = ip_network("2000::/3")  # all that is given out for global unicast
# What ipaddress takes for global, wholly or in some versions of Python, but leads elsewhere.
_NEVER_PUBLIC: Final[tuple[Network, ...]] = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries any IPv4 address
        "3fff::/20",  # documentation
    )
)


class AddressRefused(OSError):
    """The guard made no socket; its text is always the same, so that it tells nothing about the address."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, NOT_ALLOWED)


class Guard:
    """Public addresses over https; over plain http, or not public, only what the operator lists."""

    def __init__(self, allow: Sequence[Network]) -> None:
        self._allow = tuple(allow)

    def permits(self, host: str, *, plain: bool) -> bool:
        """Whether a connection to this literal address may be made, without TLS if `plain`."""
        try:
            address = _unmapped(ip_address(host))
        except ValueError:
            return False
        return any(address in network for network in self._allow) or (not plain and is_public(address))

    def socket_factory(self, *, plain: bool) -> Callable[[AddrInfoType], socket.socket]:
        """Makes the sockets of an aiohttp connector, or refuses to."""

        def make(info: AddrInfoType) -> socket.socket:
            family, kind, protocol, _, address = info
            if not self.permits(address[0], plain=plain):
                raise AddressRefused
            return socket.socket(family, kind, protocol)

        return make

    def check_url(self, text: str) -> str:
        """The URL, if a hook may have it as far as can be told now: a name is judged when it is connected to.

        Raises:
            InvalidField: it is not an http(s) URL, or its host is an address that is refused.
        """
        url = _parsed(text)
        host = url.host or ""
        if _is_address(host) and not self.permits(host, plain=url.scheme == "http"):
            raise InvalidField(
                "url: this address is not allowed. Hooks go to public addresses over https; to others, and over plain"
                " http, only where the server's operator lists the network in TRACKER_HOOKS_ALLOW.",
                field="url",
            )
        return text


def is_public(address: Address) -> bool:
    """Whether an address is an ordinary one of the public internet."""
    if not address.is_global or address.is_multicast or any(address in network for network in _NEVER_PUBLIC):
        return False
    return isinstance(address, IPv4Address) or address in _PUBLIC_IPV6


def _unmapped(address: Address) -> Address:
    """An IPv4 address in IPv6 clothes is judged as what it is."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _parsed(text: str) -> URL:
    if len(text) > MAX_URL_CHARACTERS:
        raise InvalidField(f"url: at most {MAX_URL_CHARACTERS:,} characters.", field="url")
    if not text.isprintable() or " " in text:
        raise InvalidField("url: blanks and control characters must be percent-encoded.", field="url")
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host or url.port == 0:
        raise InvalidField("url: must be an absolute URL like https://example.com/hook.", field="url")
    if url.user is not None or url.password is not None or url.fragment:
        raise InvalidField("url: must have no user, password or fragment; the signature proves who sends.", field="url")
    return url
