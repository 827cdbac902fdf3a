"""Which addresses the feed connects to: what a name resolves to is checked, and then connected to itself.

Whoever may write a destination, or the DNS records of its host, must not reach what only this machine reaches
(OWASP API7:2023). A host counts as refused when any of its addresses is.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from adapters.outbound.carrier import Failure

Address = IPv4Address | IPv6Address

# One's own: loopback, RFC 1918, shared space behind a carrier's or a cluster's translation (RFC 6598), unique local.
_OWN = [
    ip_network(each)
    for each in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7")
]
# Clouds tell secrets of the machine there; link-local ones, such as 169.254.169.254, are never allowed anyhow.
_METADATA = [
    ip_network(each)
    for each in (
        "168.63.129.16/32", "100.100.100.200/32", "192.0.0.0/24", "fd00:ec2::/32", "fd00:c1::a9fe:a9fe/128",
        "fd20:ce::254/128",
    )
]  # fmt: skip
# Of IPv6 only what is given out for the world, without what carries an IPv4 address inside, or is for documents.
_WORLD = ip_network("2000::/3")
_NOT_THE_WORLD = [
    ip_network(each) for each in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "192.88.99.0/24")
]


def checked(addresses: Iterable[str], *, private: bool, encrypted: bool) -> list[Address]:
    """The addresses, if all may be connected to. Raises Failure.

    Without `private` all must be public; with it they may be one's own, and must be where nothing is encrypted.
    """
    found = [ip_address(each) for each in addresses]
    for each in found:
        own = private and any(each in network for network in _OWN)
        if not (own or (encrypted and _is_public(each))) or any(each in network for network in _METADATA):
            raise Failure("refused_address")
    return found


def resolved(host: str, port: int, *, private: bool, encrypted: bool) -> list[str]:
    """What a host's name leads to now. Raises Failure."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Failure("unknown_host") from None
    named = dict.fromkeys(str(address[0]) for *_, address in found)
    return [str(each) for each in checked(named, private=private, encrypted=encrypted)]


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _WORLD:
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _NOT_THE_WORLD)
