"""C-ECHO (PS3.7 9.1.5): whether a peer answers and knows us."""

from pydicom import Dataset

from server.errors import Unavailable
from server.outbound.dimse.association import EXPLICIT_LITTLE, IMPLICIT_LITTLE, associate
from server.outbound.dimse.entity import Entity
from server.outbound.dimse.pdu import Context
from server.settings import Peer

VERIFICATION = "1.2.840.10008.1.1"
_C_ECHO_RQ = 0x0030


def echo(entity: Entity, peer: Peer) -> None:
    """Returns when the peer answered with success; raises Unavailable with its reason."""
    contexts = [Context(abstract_syntax=VERIFICATION, transfer_syntaxes=(IMPLICIT_LITTLE, EXPLICIT_LITTLE))]
    with associate(entity, peer, contexts) as association:
        command = Dataset()
        command.AffectedSOPClassUID = VERIFICATION
        command.CommandField = _C_ECHO_RQ
        association.request(association.context(VERIFICATION), command)
        status = int(association.receive().command.get("Status", 0xC000))
    if status:
        raise Unavailable(f"The peer {peer.name} answered C-ECHO with status {status:04X}.")
