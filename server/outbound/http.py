"""HTTP requests to addresses that others chose: resolve, check, pin.

A subscriber's endpoint is somebody else's text. Its host name is resolved once, every address it has is checked, and
the connection goes to the checked address (the name stays in Host and in TLS), so that a second look-up can't lead
elsewhere. Redirects and proxies are not followed.
"""

import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

from server.errors import Forbidden, Unavailable, Unprocessable

#: Where most of the URLs stand.
_ENDPOINT = "Subscription.channel.endpoint"
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """Where we may go besides public addresses."""

    #: Whether 127.0.0.0/8 and ::1 may be called; on when we listen on loopback ourselves.
    loopback: bool = False
    #: Private networks in which subscribers live, e.g. a hospital's.
    networks: tuple[Network, ...] = ()

    def allows(self, address: Address) -> bool:
        """Whether a connection to this address may be opened."""
        plain = address.ipv4_mapped if isinstance(address, IPv6Address) and address.ipv4_mapped else address
        if plain.is_loopback:
            return self.loopback
        if any(plain.version == network.version and plain in network for network in self.networks):
            return True
        return plain.is_global and not plain.is_multicast


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back."""

    status: int

    @property
    def accepted(self) -> bool:
        """Whether it was a success (2xx)."""
        return 200 <= self.status < 300


def check_url(url: str, guard: Guard, place: str = _ENDPOINT) -> httpx.URL:
    """Refuses, without resolving anything, what can't be an endpoint; raises Unprocessable or Forbidden.

    ``place`` is where the URL stands.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Unprocessable(f"The endpoint is no URL: {error}.", expression=place) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Unprocessable("The endpoint must be an absolute http or https URL.", expression=place)
    if parsed.userinfo:
        cure = "Put credentials into channel.header, not into the URL." if place == _ENDPOINT else "Leave them out."
        raise Unprocessable(f"The URL carries credentials. {cure}", expression=place)
    literal = _literal(parsed.host)
    if literal is not None and not guard.allows(literal):
        raise _refused(place)
    return parsed


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout: float, guard: Guard) -> Answer:
    """POSTs to a checked address; raises Forbidden when the guard refuses, Unavailable when nobody answers in time."""
    target = check_url(url, guard)
    address = _resolve(target, guard)
    default = 443 if target.scheme == "https" else 80
    named = target.host if target.port in (None, default) else f"{target.host}:{target.port}"
    pinned = target.copy_with(host=str(address))
    try:
        with httpx.Client(verify=_tls(), trust_env=False, follow_redirects=False, timeout=timeout) as client:
            request = client.build_request(
                "POST",
                pinned,
                content=body,
                headers={**headers, "Host": named},
                extensions={"sni_hostname": target.host},
            )
            # Only the status counts: the answer's body is never read.
            response = client.send(request, stream=True)
            response.close()
    except httpx.HTTPError as error:
        raise Unavailable(f"The endpoint did not answer: {type(error).__name__}.") from error
    return Answer(status=response.status_code)


def download(url: str, *, accept: str, timeout: float, guard: Guard, place: str) -> Iterator[bytes]:
    """The body at a checked address, piece by piece, content codings undone; raises as ``post`` does.

    ``place`` is where the URL stands. Unavailable for every status but 200.
    """
    target = check_url(url, guard, place)
    address = _resolve(target, guard, place)
    default = 443 if target.scheme == "https" else 80
    named = target.host if target.port in (None, default) else f"{target.host}:{target.port}"
    try:
        with (
            httpx.Client(verify=_tls(), trust_env=False, follow_redirects=False, timeout=timeout) as client,
            client.stream(
                "GET",
                target.copy_with(host=str(address)),
                headers={"Accept": accept, "Host": named},
                extensions={"sni_hostname": target.host},
            ) as response,
        ):
            if response.status_code != 200:
                raise Unavailable(f"The address answered {response.status_code}.", expression=place)
            yield from response.iter_bytes(1 << 20)
    except httpx.HTTPError as error:
        raise Unavailable(f"The address did not answer: {type(error).__name__}.", expression=place) from error


def _resolve(target: httpx.URL, guard: Guard, place: str = _ENDPOINT) -> Address:
    """The first address of the host; Forbidden if any of its addresses is out of bounds."""
    literal = _literal(target.host)
    if literal is not None:
        found: list[Address] = [literal]
    else:
        try:
            answers = socket.getaddrinfo(target.host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Unavailable("The endpoint's host name can't be resolved.") from error
        found = [ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers]
    if not found or not all(guard.allows(address) for address in found):
        raise _refused(place)
    return found[0]


def _refused(place: str) -> Forbidden:
    return Forbidden(
        "The endpoint's address is not one that this server calls: it must be public, or in a network "
        "that the operator listed in the setting notify_networks.",
        expression=place,
    )


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """The platform's trust store, read once."""
    return ssl.create_default_context()
