"""A peer as the destination of C-MOVE's sub-operations: an association of ours for storing."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from server.dimse.move import Opens
from server.dimse.suboperations import Destination
from server.outbound.dimse.entity import Entity
from server.outbound.dimse.store import Originator, Sender, sender
from server.settings import Peer


class _PeerDestination:
    """A sender, seen as a destination."""

    def __init__(self, opened: Sender) -> None:
        self._sender = opened

    def takes(self, sop_class: str) -> tuple[str, ...]:
        """Transfer syntaxes in which the peer takes a SOP class."""
        return self._sender.accepts(sop_class)

    def store(self, sop_class: str, sop_instance: str, transfer_syntax: str, data: Iterable[bytes]) -> int:
        """One C-STORE; its status."""
        return self._sender.store(sop_class, sop_instance, transfer_syntax, data)


def opening(entity: Entity) -> Opens:
    """Opens associations in the name of ``entity``."""

    @contextmanager
    def opens(peer: Peer, wanted: Sequence[tuple[str, str]], originator: tuple[str, int]) -> Iterator[Destination]:
        title, message_id = originator
        on_behalf = Originator(ae_title=title, message_id=message_id)
        with sender(entity, peer, wanted, originator=on_behalf) as opened:
            yield _PeerDestination(opened)

    return opens
