"""The address of a client, even behind trusted proxies."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

FORWARDED = ("x-forwarded-for", "forwarded")
MAX_HEADER = 1024  # bytes that are read, from the end: the proxies nearest to this server write there
IPV6_CLIENT_BITS = 64  # a client of IPv6 owns a network of this size and may change its address within it


def parse_networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("expected addresses or networks such as 127.0.0.1,10.0.0.0/8, separated by commas") from None


class Addresses:
    def __init__(self, trusted: tuple[Network, ...], header: str) -> None:
        self.trusted = trusted
        self.header = header.encode()
        self.cached_client = lru_cache(maxsize=4096)(self.find_client)

    def client(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The client of a request: the peer, or the client that it names if it is a trusted proxy."""
        forwarded = b",".join([value for name, value in headers if name == self.header]) if self.trusted else b""
        return self.cached_client(peer, forwarded[-MAX_HEADER:])

    def find_client(self, peer: str, forwarded: bytes) -> str:
        """Reads from right to left as long as each sender is trusted: anyone may have written what is further left."""
        address = parsed(peer)
        if address is None:
            return f"address {peer}"
        for part in reversed(forwarded.decode("latin-1").split(",")):
            if not self.trusts(address):
                break
            previous = parsed(node(part) if self.header == b"forwarded" else part.strip())
            if previous is None:
                break
            address = previous
        if isinstance(address, IPv6Address):
            return f"address {ip_network((address, IPV6_CLIENT_BITS), strict=False)}"
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
    """An address, with or without a port; an IPv4 address that IPv6 wraps is unwrapped."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
