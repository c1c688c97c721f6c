"""Who may call: the table of peers against calling AE title, address and certificate (PS3.8 table 9-21)."""

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass

from server.dimse.associate import APPLICATION_CONTEXT, AssociateRequest
from server.dimse.connection import Connection
from server.dimse.pdu import SHORTEST_TAKEN
from server.errors import Unauthenticated, Unavailable
from server.security.access import Access
from server.settings import Peer, Settings
from server.settings.peer import SERVICES

#: Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 table 9-21).
Rejection = tuple[int, int, int]
NO_REASON: Rejection = (1, 1, 1)
APPLICATION_CONTEXT_UNKNOWN: Rejection = (1, 1, 2)
CALLING_UNKNOWN: Rejection = (1, 1, 3)
CALLED_UNKNOWN: Rejection = (1, 1, 7)
PROTOCOL_UNKNOWN: Rejection = (1, 2, 2)
#: PS3.7 D.3.3.7 leaves the reason open: by the service provider (ACSE), none given.
IDENTITY_REFUSED: Rejection = (1, 2, 1)
CONGESTED: Rejection = (2, 3, 1)
LIMIT_EXCEEDED: Rejection = (2, 3, 2)
#: PS3.7 table D.3-14, User-Identity-Type.
_USER_AND_PASSCODE = 2
#: The rights of whoever carries a token; raises Unauthenticated.
Identify = Callable[[str], Access]


@dataclass(frozen=True, kw_only=True, slots=True)
class Admitted:
    """A caller that is let in."""

    access: Access
    services: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """A peer and its addresses."""

    peer: Peer
    addresses: frozenset[str]
    #: Without colons, in lower case.
    fingerprint: str


class Peers:
    """The table, its host names looked up once at the start."""

    def __init__(self, settings: Settings, identify: Identify | None = None) -> None:
        """``identify``: where callers must prove who they are, the rights that go with a passcode."""
        self._identify = identify
        self._open = settings.is_loopback
        self._title = settings.ae_title.strip()
        self._known = [
            _Known(
                peer=peer,
                addresses=_addresses(peer.host),
                fingerprint=peer.certificate.replace(":", "").strip().lower(),
            )
            for peer in settings.peers
            if peer.ae_title
        ]

    def admits(self, address: str) -> bool:
        """Whether anybody may call from this address."""
        return self._open or any(plain(address) in known.addresses for known in self._known)

    def admit(self, request: AssociateRequest, connection: Connection) -> Admitted | Rejection:
        """The caller's rights, or why it has none."""
        if not request.protocol_version & 1:
            return PROTOCOL_UNKNOWN
        if request.application_context != APPLICATION_CONTEXT:
            return APPLICATION_CONTEXT_UNKNOWN
        if 0 < request.user.maximum_length < SHORTEST_TAKEN:
            return NO_REASON
        if request.called != self._title:
            return CALLED_UNKNOWN
        if not request.calling:
            return CALLING_UNKNOWN
        services = self._services(request.calling, connection)
        if services is None:
            return CALLING_UNKNOWN
        access = self._access(request)
        return Admitted(access=access, services=services) if isinstance(access, Access) else access

    def _access(self, request: AssociateRequest) -> Access | Rejection:
        """The caller's rights, or why it has none: it should have proved who it is."""
        if self._identify is None:
            return Access(who=f"ae:{request.calling}", scopes=frozenset({"read", "write"}))
        identity = request.user.identity
        if identity is None or identity.kind != _USER_AND_PASSCODE:
            return IDENTITY_REFUSED
        try:
            return self._identify(identity.secondary.decode("utf-8", "replace"))
        except Unauthenticated:
            return IDENTITY_REFUSED
        except Unavailable:
            return CONGESTED

    def _services(self, title: str, connection: Connection) -> frozenset[str] | None:
        """What the caller may use; None where it is nobody whom we know."""
        bound = [known for known in self._known if known.peer.ae_title.strip() == title]
        # A title with a certificate belongs to whoever shows that one, on loopback, too.
        proven = [known for known in bound if known.fingerprint in ("", connection.fingerprint)]
        if self._open:
            return frozenset(SERVICES) if proven or not bound else None
        here = [known for known in proven if plain(connection.address) in known.addresses]
        return frozenset(name for known in here for name in known.peer.services) if here else None


def plain(address: str) -> str:
    """An IPv4 address that came mapped into IPv6, as IPv4."""
    parsed = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _addresses(host: str) -> frozenset[str]:
    """The addresses of a configured peer."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        # A name that is not known yet admits nobody; the restart after its repair does.
        return frozenset()
    return frozenset(plain(str(entry[4][0])) for entry in found)
