"""Instance Availability Notification (PS3.4 annex R): a peer is told what is here and how soon it can be had."""

from pydicom import Dataset
from pydicom.uid import generate_uid

from server.errors import Unprocessable
from server.outbound.dimse.association import EXPLICIT_LITTLE, IMPLICIT_LITTLE, associate, encode_dataset
from server.outbound.dimse.entity import Entity
from server.outbound.dimse.pdu import Context
from server.settings import Peer

NOTIFICATION = "1.2.840.10008.5.1.4.33"
_N_CREATE_RQ = 0x0140


def notify(entity: Entity, peer: Peer, notification: Dataset, *, sop_instance: str = "") -> None:
    """N-CREATE (PS3.4 R.3.2) of a notification (PS3.3 table C.4.24-1); raises Unavailable or Unprocessable."""
    contexts = [Context(abstract_syntax=NOTIFICATION, transfer_syntaxes=(EXPLICIT_LITTLE, IMPLICIT_LITTLE))]
    command = Dataset()
    command.AffectedSOPClassUID = NOTIFICATION
    command.CommandField = _N_CREATE_RQ
    command.AffectedSOPInstanceUID = sop_instance or generate_uid(prefix=None)
    with associate(entity, peer, contexts) as association:
        context = association.context(NOTIFICATION)
        association.request(context, command, [encode_dataset(notification, association.transfer_syntax(context))])
        status = int(association.receive().command.get("Status", 0xC000))
    # PS3.7 C.4: 0116, a value was out of range; the peer knows of the instances all the same.
    if status not in (0x0000, 0x0107, 0x0116):
        raise Unprocessable(f"The peer {peer.name} refused the notification with status {status:04X}.")
