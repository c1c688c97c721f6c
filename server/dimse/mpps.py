"""Modality Performed Procedure Step (PS3.4 annex F): N-CREATE and N-SET, and N-GET of the Retrieve SOP class."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.uid import generate_uid

from server.dimse import identifier as wire
from server.dimse.failure import NOT_AUTHORIZED, offending
from server.dimse.service import Caller, Offer, Request, Response
from server.errors import BadInstance, DuplicateInstance, Forbidden, HutongError, NotFound, Unavailable
from server.imaging.performed_step import ENDED, PerformedSteps

MPPS, MPPS_RETRIEVE = "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.3.1.2.3.4"
N_GET_RQ, N_SET_RQ, N_CREATE_RQ = 0x0110, 0x0120, 0x0140
SUCCESS = 0x0000
#: PS3.7 annex C.
_PROCESSING_FAILURE, _DUPLICATE, _NO_SUCH_INSTANCE, _RESOURCE_LIMITATION = 0x0110, 0x0111, 0x0112, 0x0213
_INVALID_INSTANCE = 0x0117
_IS_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
_MISSING, _MISSING_VALUE = 0x0120, 0x0121


@dataclass(frozen=True, kw_only=True)
class Performing:
    """The service."""

    steps: PerformedSteps

    def offers(self) -> tuple[Offer, ...]:
        """Its places among the services."""
        return (
            Offer(
                abstract_syntaxes=(MPPS,),
                commands=(N_CREATE_RQ, N_SET_RQ),
                serve=self.serve,
                transfer_syntaxes=wire.TRANSFER_SYNTAXES,
                name="mpps",
            ),
            Offer(
                abstract_syntaxes=(MPPS_RETRIEVE,),
                commands=(N_GET_RQ,),
                serve=self.serve,
                transfer_syntaxes=wire.TRANSFER_SYNTAXES,
                name="mpps",
            ),
        )

    def serve(self, caller: Caller, request: Request) -> Iterator[Response]:
        """One response to one request."""
        field = int(request.command.get("CommandField", 0))
        uid = str(
            request.command.get("AffectedSOPInstanceUID", "") or request.command.get("RequestedSOPInstanceUID", "")
        )
        if field == N_CREATE_RQ and not uid:
            # PS3.7 10.1.5.1.3: where the requestor gives none the performer does.
            uid = generate_uid(prefix=None)
        about: dict[str, Any] = {"AffectedSOPClassUID": MPPS, "AffectedSOPInstanceUID": uid}
        if not _IS_UID.fullmatch(uid):
            yield Response(status=_INVALID_INSTANCE, comment="The SOP Instance UID is none.")
            return
        try:
            dataset = self._do(caller, request, field, uid)
        except HutongError as error:
            yield _failed(error, about)
            return
        yield Response(status=SUCCESS, dataset=dataset, command=about)

    def _do(self, caller: Caller, request: Request, field: int, uid: str) -> bytes | None:
        if field == N_CREATE_RQ:
            self.steps.create(caller.access, uid, wire.decode(request), caller.calling)
        elif field == N_SET_RQ:
            self.steps.set(caller.access, uid, wire.decode(request))
        else:
            found = self.steps.get(caller.access, uid)
            wanted = _wanted(request)
            return wire.encode(request, {tag: value for tag, value in found.items() if not wanted or tag in wanted})
        return None


def _wanted(request: Request) -> frozenset[str]:
    """The Attribute Identifier List of an N-GET; empty for all."""
    tags = request.command.get("AttributeIdentifierList") or []
    return frozenset(f"{int(tag):08X}" for tag in (tags if not isinstance(tags, int) else [tags]))


def _failed(error: HutongError, about: dict[str, Any]) -> Response:
    """PS3.7 annex C.5's status, with the element or the Error ID where it has one."""
    status = _PROCESSING_FAILURE
    if isinstance(error, BadInstance) and error.reason == ENDED:
        about = about | {"ErrorID": ENDED}
    elif isinstance(error, BadInstance) and error.reason < 0x0200:
        status = error.reason
        place = offending(error.issues[0].expression)
        if place is not None and status in (_MISSING, _MISSING_VALUE):
            about = about | {"AttributeIdentifierList": [place]}
    elif isinstance(error, DuplicateInstance):
        status = _DUPLICATE
    elif isinstance(error, NotFound):
        status = _NO_SUCH_INSTANCE
    elif isinstance(error, Forbidden):
        status = NOT_AUTHORIZED
    elif isinstance(error, Unavailable):
        status = _RESOURCE_LIMITATION
    return Response(status=status, comment=error.details, command=about)
