"""Which addresses we call that others chose (SSRF): resolve, check, pin."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from server.errors import Forbidden, Unavailable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Where clouds tell a machine its own secrets; public or private, nobody has a subscriber there.
_METADATA: tuple[Network, ...] = tuple(
    ip_network(one)
    for one in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/64", "100.100.100.200/32", "168.63.129.16/32",
                "192.0.0.192/32", "fd20:ce::254/128")
)  # fmt: skip
#: IPv4 addresses behind a translator (RFC 6052): the last 32 bits count.
_TRANSLATED = ip_network("64:ff9b::/96")


def system_resolver(host: str) -> Sequence[str]:
    """The addresses of a host name by the system's resolver."""
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(answer[4][0]).partition("%")[0] for answer in answers]


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """Where we may go besides public addresses."""

    #: Whether 127.0.0.0/8 and ::1 may be called; on when we listen on loopback ourselves.
    loopback: bool = False
    #: Private networks in which subscribers live, e.g. a hospital's.
    networks: tuple[Network, ...] = ()
    #: Host name -> its addresses; raises OSError.
    resolver: Callable[[str], Sequence[str]] = system_resolver

    def allows(self, address: Address) -> bool:
        """Whether a connection to this address may be opened."""
        plain = _plain(address)
        if any(plain.version == network.version and plain in network for network in _METADATA):
            return False
        if plain.is_loopback:
            return self.loopback
        if any(plain.version == network.version and plain in network for network in self.networks):
            return True
        return plain.is_global and not plain.is_multicast

    def resolve(self, host: str) -> Address:
        """The first address of the host; Forbidden if any of its addresses is out of bounds."""
        known = literal(host)
        if known is not None:
            found: list[Address] = [known]
        else:
            try:
                found = [ip_address(text) for text in self.resolver(host)]
            except (OSError, UnicodeError) as error:
                raise Unavailable("The endpoint's host name can't be resolved.") from error
        if not found or not all(self.allows(address) for address in found):
            raise refused()
        return found[0]


def literal(host: str) -> Address | None:
    """The address that a host is written as; None for a name."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def refused() -> Forbidden:
    """What is said of an address that the guard does not allow."""
    return Forbidden(
        "The endpoint's address is not one that this server calls: it must be public, or in a network "
        "that the operator listed in the setting notify_networks.",
        expression="Subscription.channel.endpoint",
    )


def _plain(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that leads there."""
    if isinstance(address, IPv6Address):
        if address in _TRANSLATED:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        teredo = address.teredo
        return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address
    return address
