"""C-GET, Patient Root and Study Root (PS3.4 C.4.3): instances stored on the association that asks for them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from server.dimse import identifier as wire
from server.dimse.failure import DOES_NOT_MATCH, failure
from server.dimse.find import RELATIONAL, level_of
from server.dimse.service import Caller, Offer, Request, Response
from server.dimse.suboperations import Sending
from server.errors import HutongError
from server.imaging import selection
from server.store.database import Database

C_GET_RQ = 0x0010
#: The information models' SOP classes (PS3.4 C.6).
MODELS: tuple[str, ...] = (
    "1.2.840.10008.5.1.4.1.2.1.3",
    "1.2.840.10008.5.1.4.1.2.2.3",
    "1.2.840.10008.5.1.4.1.2.3.3",
)


@dataclass(frozen=True, kw_only=True)
class Getting:
    """The service."""

    database: Database
    sending: Sending

    def offer(self) -> Offer:
        """Its place among the services."""
        return Offer(
            abstract_syntaxes=MODELS,
            commands=(C_GET_RQ,),
            serve=self.serve,
            transfer_syntaxes=wire.TRANSFER_SYNTAXES,
            extended=RELATIONAL,
            name="get",
        )

    def serve(self, caller: Caller, request: Request) -> Iterator[Response]:
        """Sub-operations to the caller itself, as far as it is SCP of the storage classes (PS3.7 D.3.3.4)."""
        try:
            identifier = wire.decode(request)
            located = selection.select(self.database, caller.access, level_of(request, identifier), identifier)
        except HutongError as error:
            yield failure(error, otherwise=DOES_NOT_MATCH)
            return
        yield from self.sending.run(caller, request, located, _CallerDestination(caller))


class _CallerDestination:
    """The caller's own association, seen as a destination."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def takes(self, sop_class: str) -> tuple[str, ...]:
        """Transfer syntaxes in which the caller takes a SOP class."""
        return self._caller.takes(sop_class)

    def store(self, sop_class: str, sop_instance: str, transfer_syntax: str, data: Iterable[bytes]) -> int:
        """One C-STORE sub-operation; its status."""
        return self._caller.store(sop_class, sop_instance, transfer_syntax, b"".join(data))
