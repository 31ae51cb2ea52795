"""The address of a client, also behind proxies that are trusted to tell it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

FORWARDED = ("x-forwarded-for", "forwarded")
MAX_TOLD = 1024  # bytes of such a header that are read, from its end: what counts stands there
SUBSCRIBER = 64  # bits: what one client of IPv6 has for itself, and changes as it likes


def networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("expected addresses or networks such as 127.0.0.1,10.0.0.0/8, separated by commas") from None


class Addresses:
    def __init__(self, trusted: tuple[Network, ...], header: str) -> None:
        self.trusted = trusted
        self.header = header.encode()
        self.found = lru_cache(maxsize=4096)(self.find)

    def client(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Whom a request comes from: the peer, or, if that is a trusted proxy, whom it names."""
        told = b",".join([value for name, value in headers if name == self.header]) if self.trusted else b""
        return self.found(peer, told[-MAX_TOLD:])

    def find(self, peer: str, told: bytes) -> str:
        """From right to left, as far as there is trust: what is left of that anybody may have written."""
        address = parsed(peer)
        if address is None:
            return f"address {peer}"
        for part in reversed(told.decode("latin-1").split(",")):
            if not self.trusts(address):
                break
            before = parsed(node(part) if self.header == b"forwarded" else part.strip())
            if before is None:
                break
            address = before
        if isinstance(address, IPv6Address):
            return f"address {ip_network((address, SUBSCRIBER), strict=False)}"
        return f"address {address}"

    def trusts(self, address: Address) -> bool:
        return any(address in network for network in self.trusted)


def node(element: str) -> str:
    """The `for` of one element of a Forwarded header (RFC 7239)."""
    for pair in element.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.strip().lower() == "for":
            return value.strip().strip('"')
    return ""


def parsed(text: str) -> Address | None:
    """An address, perhaps with a port; IPv4 is IPv4 also where a socket of IPv6 has it."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
