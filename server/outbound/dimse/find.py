"""C-FIND (PS3.4 C.4.1, PS3.7 9.1.2): what a peer has."""

from collections.abc import Iterator

from pydicom import Dataset

from server.errors import Unavailable, Unprocessable
from server.outbound.dimse.association import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    associate,
    decode_dataset,
    encode_dataset,
)
from server.outbound.dimse.entity import Entity
from server.outbound.dimse.pdu import Context
from server.settings import Peer

#: Study Root Query/Retrieve Information Model - FIND.
STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"
#: Patient Root Query/Retrieve Information Model - FIND.
PATIENT_ROOT = "1.2.840.10008.5.1.4.1.2.1.1"
_C_FIND_RQ = 0x0020
_PENDING = (0xFF00, 0xFF01)


def find(entity: Entity, peer: Peer, identifier: Dataset, *, model: str = STUDY_ROOT) -> Iterator[Dataset]:
    """The identifiers that match; raises Unavailable, and Unprocessable when the peer refuses the question."""
    contexts = [Context(abstract_syntax=model, transfer_syntaxes=(EXPLICIT_LITTLE, IMPLICIT_LITTLE))]
    with associate(entity, peer, contexts) as association:
        context = association.context(model)
        syntax = association.transfer_syntax(context)
        command = Dataset()
        command.AffectedSOPClassUID = model
        command.CommandField = _C_FIND_RQ
        command.Priority = 0
        association.request(context, command, [encode_dataset(identifier, syntax)])
        while True:
            answer = association.receive()
            status = int(answer.command.get("Status", 0xC000))
            if status not in _PENDING:
                break
            try:
                yield decode_dataset(answer.data, syntax)
            except ValueError as error:
                raise Unavailable(f"The peer {peer.name} sent a result that can't be read.") from error
    if status:
        raise Unprocessable(f"The peer {peer.name} refused the query with status {status:04X}.")
