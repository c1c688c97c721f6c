"""One established association (PS3.8 table 9-10, Sta6): its messages are read, served and answered one by one.

The asynchronous operations window is 1: a request that comes before the last one is answered waits for its turn.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from pydicom import Dataset

from server.dimse import message, pdu
from server.dimse.associate import AssociateRequest
from server.dimse.connection import Connection
from server.dimse.failure import NOT_AUTHORIZED, failure
from server.dimse.message import C_CANCEL, C_STORE, RESPONSE, Command
from server.dimse.negotiation import Agreed, Context
from server.dimse.pdu import UNEXPECTED_PARAMETER, Ended, ProtocolError
from server.dimse.peers import Admitted
from server.dimse.service import Offer, Request, Response
from server.dimse.store import InstanceStore
from server.dimse.stream import Stream
from server.errors import Forbidden, HutongError, TooLarge, Unavailable
from server.security.access import Access
from server.telemetry import logs, metrics

#: Seconds that a thread waits for the next message before the association goes back into the selector.
LINGER = 0.1
#: Bytes of an identifier or attribute list.
LONGEST_IDENTIFIER = 4 << 20

_PENDING = (0xFF00, 0xFF01)
#: PS3.7 annex C.
_UNRECOGNIZED_OPERATION, _RESOURCE_LIMITATION, _PROCESSING_FAILURE = 0x0211, 0x0213, 0x0110
_CLASS_NOT_SUPPORTED = 0x0122
_log = logs.logger("dimse")

#: Offers by abstract syntax and Command Field.
Served = Mapping[tuple[str, int], Offer]


def served(offers: Sequence[Offer]) -> Served:
    """The offers as they are looked up."""
    return {
        (syntax, field): offer for offer in offers for syntax in offer.abstract_syntaxes for field in offer.commands
    }


class Association:
    """A ``service.Caller``; run by one thread at a time."""

    def __init__(
        self,
        connection: Connection,
        request: AssociateRequest,
        admitted: Admitted,
        agreed: Agreed,
        offers: Served,
        store: InstanceStore,
    ) -> None:
        self.connection = connection
        self._request = request
        self._admitted = admitted
        self._agreed = agreed
        self._offers = offers
        self._store = store
        self._stream = Stream(connection)
        #: A request that came while another one was served.
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._cancelled: set[int] = set()
        #: Why the association is over, found out while a service ran.
        self._over: Ended | ProtocolError | None = None
        self._message_id = 0

    @property
    def access(self) -> Access:
        """The rights of the calling AE."""
        return self._admitted.access

    @property
    def calling(self) -> str:
        """Calling AE title."""
        return self._request.calling

    @property
    def called(self) -> str:
        """Called AE title."""
        return self._request.called

    @property
    def address(self) -> str:
        """The caller's IP address."""
        return self.connection.address

    def run(self) -> None:
        """Serves messages until there is none for a moment; raises Ended, Released, ProtocolError at the end."""
        self._stream.open()
        while True:
            while self._waiting or self._stream.waits(LINGER):
                self._one()
            if self._stream.idle():
                return

    def cancelled(self, message_id: int) -> bool:
        """Whether a C-CANCEL for the message came (PS3.7 9.3.2.3), or the association ended."""
        try:
            while self._over is None and not self._waiting and self._stream.waits(0):
                context_id, encoded = self._stream.command()
                command = message.read_command(encoded)
                if command.field == C_CANCEL:
                    self._cancelled.add(command.responded_to)
                else:
                    self._waiting.append((context_id, encoded))
        except (Ended, ProtocolError) as error:
            self._over = error
        return self._over is not None or message_id in self._cancelled

    def takes(self, sop_class: str) -> tuple[str, ...]:
        """Transfer syntaxes of the accepted contexts of a SOP class in which the caller is SCP (role selection)."""
        return tuple(context.transfer_syntax for context in self._contexts(sop_class) if context.role.scp)

    def store(self, sop_class: str, sop_instance: str, transfer_syntax: str, data: bytes) -> int:
        """A C-STORE sub-operation; gives its status, raises Unavailable where the association has ended."""
        for context in self._contexts(sop_class):
            if context.role.scp and context.transfer_syntax == transfer_syntax:
                number = self._next_message_id()
                return self._ask(context, message.store_request(sop_class, sop_instance, number), data, number)
        return _CLASS_NOT_SUPPORTED

    def report(self, abstract_syntax: str, sop_instance: str, event_type: int, dataset: Dataset) -> int:
        """An N-EVENT-REPORT, its status (PS3.7 10.1.1); raises Unavailable where the association has ended."""
        for context in self._contexts(abstract_syntax):
            number = self._next_message_id()
            command = message.event_request(abstract_syntax, sop_instance, event_type, number)
            return self._ask(context, command, message.encode(dataset, context.transfer_syntax), number)
        return _CLASS_NOT_SUPPORTED

    def extended(self, abstract_syntax: str) -> bytes:
        """Application information that SOP Class Extended Negotiation agreed on; empty without (PS3.7 D.3.3.5)."""
        return self._agreed.extended.get(abstract_syntax, b"")

    def _contexts(self, abstract_syntax: str) -> list[Context]:
        return [one for one in self._agreed.contexts.values() if one.abstract_syntax == abstract_syntax]

    def _next_message_id(self) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def _one(self) -> None:
        """Reads one message and serves it."""
        self._check_over()
        context_id, encoded = self._waiting.popleft() if self._waiting else self._stream.command()
        context = self._agreed.contexts.get(context_id)
        if context is None:
            raise ProtocolError(f"The presentation context {context_id} was not accepted.")
        command = message.read_command(encoded)
        if command.field == C_CANCEL:
            # What it cancels is answered already.
            return
        if command.field & RESPONSE:
            raise ProtocolError("A response came that nobody asked for.", UNEXPECTED_PARAMETER)
        number = command.message_id
        if command.field == C_STORE and context.role.scu:
            self._take_instance(context, command)
        else:
            self._serve(context, command)
        self._cancelled.discard(number)

    def _take_instance(self, context: Context, command: Command) -> None:
        data: Iterator[memoryview] = self._stream.data(context.context_id) if command.has_data else iter(())
        if "store" in self._admitted.services:
            response = self._store.store(self.access, self.calling, context, command, data)
        else:
            for _piece in data:
                pass
            response = Response(status=NOT_AUTHORIZED, comment="This AE title may not store.")
        self._answer(context, command, response)

    def _serve(self, context: Context, command: Command) -> None:
        data = self._identifier(context) if command.has_data else b""
        offer = self._offers.get((context.abstract_syntax, command.field))
        if offer is None:
            comment = "This operation is not served under the presentation context's SOP class."
            self._answer(context, command, Response(status=_UNRECOGNIZED_OPERATION, comment=comment))
        elif offer.name not in self._admitted.services:
            comment = f"This AE title may not use the service '{offer.name}'."
            self._answer(context, command, Response(status=NOT_AUTHORIZED, comment=comment))
        elif data is None:
            error = TooLarge(f"An identifier has {LONGEST_IDENTIFIER} bytes at most.")
            self._answer(context, command, _failure(command, error))
        else:
            self._run(offer, context, command, data)

    def _run(self, offer: Offer, context: Context, command: Command, data: bytes) -> None:
        """Runs the service to its end; its first response that is not pending is the last one sent."""
        request = Request(
            command=command.dataset(),
            abstract_syntax=context.abstract_syntax,
            transfer_syntax=context.transfer_syntax,
            context_id=context.context_id,
            data=data,
        )
        is_answered, failed = False, _failure(command, HutongError("The service gave no answer."))
        try:
            for response in offer.serve(self, request):
                if not is_answered:
                    self._answer(context, command, response)
                    is_answered = response.status not in _PENDING
        except (Ended, ProtocolError):
            self._check_over()
            raise
        except HutongError as error:
            failed = _failure(command, error)
        except Exception:  # noqa: BLE001 one broken request must not end the association: it is logged and answered
            _log.exception("a DIMSE service failed", service=offer.name)
            failed = _failure(command, HutongError("The request could not be processed; the log says more."))
        if not is_answered:
            self._answer(context, command, failed)
        self._check_over()

    def _identifier(self, context: Context) -> bytes | None:
        """The message's data set; None where it is too large."""
        data = bytearray()
        for piece in self._stream.data(context.context_id):
            if len(data) <= LONGEST_IDENTIFIER:
                data += piece
        return bytes(data) if len(data) <= LONGEST_IDENTIFIER else None

    def _answer(self, context: Context, command: Command, response: Response) -> None:
        found = response.dataset
        data = message.encode(found, context.transfer_syntax) if isinstance(found, Dataset) else found or b""
        encoded = message.response(
            command, response.status, comment=response.comment, has_data=bool(data), more=response.command
        )
        metrics.dimse_messages.labels(message.NAMES.get(command.field, "unknown"), f"{response.status:04X}").inc()
        self._send(context, encoded, data)

    def _send(self, context: Context, command: bytes, data: bytes) -> None:
        self._check_over()
        for piece in pdu.message(context.context_id, command, data, self._request.user.maximum_length):
            self.connection.send(piece)

    def _ask(self, context: Context, command: bytes, data: bytes, number: int) -> int:
        """Sends a request of our own and waits for its status."""
        try:
            self._send(context, command, data)
            return self._awaited(number)
        except Ended as error:
            self._over = self._over or error
            raise
        except ProtocolError as error:
            self._over = self._over or error
            raise Ended("The association is at its end.") from error

    def _awaited(self, number: int) -> int:
        while True:
            if self._waiting:
                raise ProtocolError("A request came in the middle of another operation.", UNEXPECTED_PARAMETER)
            context_id, encoded = self._stream.command()
            command = message.read_command(encoded)
            if command.field == C_CANCEL:
                self._cancelled.add(command.responded_to)
                continue
            if command.field & RESPONSE and command.responded_to == number:
                if command.has_data:
                    for _piece in self._stream.data(context_id):
                        pass
                return command.status
            self._waiting.append((context_id, encoded))

    def _check_over(self) -> None:
        if self._over is not None:
            raise self._over


def _failure(command: Command, error: HutongError) -> Response:
    """The response of a service that raised: composite ones have their own statuses (PS3.4 C.4), else PS3.7 annex C."""
    if command.field < message.N_EVENT_REPORT and command.field != message.C_ECHO:
        return failure(error)
    status = _PROCESSING_FAILURE
    if isinstance(error, Forbidden):
        status = NOT_AUTHORIZED
    elif isinstance(error, (Unavailable, TooLarge)):
        status = _RESOURCE_LIMITATION
    return Response(status=status, comment=error.details)
