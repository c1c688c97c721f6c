"""C-MOVE, Patient Root and Study Root (PS3.4 C.4.2): instances stored at another Application Entity."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from server.dimse import identifier as wire
from server.dimse.failure import DOES_NOT_MATCH, failure
from server.dimse.find import RELATIONAL, level_of
from server.dimse.service import Caller, Offer, Request, Response
from server.dimse.suboperations import Destination, Progress, Sending, ended
from server.errors import HutongError
from server.imaging import selection
from server.settings import Peer
from server.store.database import Database
from server.store.studies import Located

C_MOVE_RQ = 0x0021
UNKNOWN_DESTINATION = 0xA801
#: The information models' SOP classes (PS3.4 C.6).
MODELS: tuple[str, ...] = (
    "1.2.840.10008.5.1.4.1.2.1.2",
    "1.2.840.10008.5.1.4.1.2.2.2",
    "1.2.840.10008.5.1.4.1.2.3.2",
)

#: An association to a peer for (SOP class, transfer syntax) pairs, on behalf of (AE title, Message ID); Unavailable.
Opens = Callable[[Peer, Sequence[tuple[str, str]], tuple[str, int]], AbstractContextManager[Destination]]


@dataclass(frozen=True, kw_only=True)
class Moving:
    """The service."""

    database: Database
    sending: Sending
    peers: tuple[Peer, ...]
    opens: Opens

    def offer(self) -> Offer:
        """Its place among the services."""
        return Offer(
            abstract_syntaxes=MODELS,
            commands=(C_MOVE_RQ,),
            serve=self.serve,
            transfer_syntaxes=wire.TRANSFER_SYNTAXES,
            extended=RELATIONAL,
            name="move",
        )

    def serve(self, caller: Caller, request: Request) -> Iterator[Response]:
        """Sub-operations to the Move Destination, which must be a peer of the settings."""
        title = str(request.command.get("MoveDestination", "")).strip()
        peer = next((peer for peer in self.peers if peer.ae_title and peer.ae_title == title), None)
        if peer is None:
            yield Response(status=UNKNOWN_DESTINATION, comment="Enter the move destination among the server's peers.")
            return
        try:
            identifier = wire.decode(request)
            located = selection.select(self.database, caller.access, level_of(request, identifier), identifier)
        except HutongError as error:
            yield failure(error, otherwise=DOES_NOT_MATCH)
            return
        yield from self._move(caller, request, peer, located)

    def _move(self, caller: Caller, request: Request, peer: Peer, located: Sequence[Located]) -> Iterator[Response]:
        if not located:
            yield ended(request, Progress(remaining=0))
            return
        wanted = sorted({(place.sop_class, place.transfer_syntax) for place in located})
        try:
            with self.opens(peer, wanted, (caller.calling, request.message_id)) as destination:
                yield from self.sending.run(caller, request, located, destination)
        except HutongError as error:
            failed = Progress(remaining=0, failed=[place.instance for place in located])
            yield ended(request, failed, comment=error.details)
