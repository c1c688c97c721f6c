"""Asking a peer to keep what it was sent: storage commitment (PS3.4 annex J), or a look at what it has by QIDO-RS."""

from collections.abc import Sequence
from dataclasses import dataclass

from server.imaging import attributes as read
from server.outbound import dicomweb
from server.outbound.dimse import commitment
from server.outbound.dimse.commitment import Report
from server.outbound.dimse.entity import Entity
from server.settings import Peer
from server.store.studies import Located

#: Instances asked for at a time.
_PAGE = 1000
#: Failure Reason (PS3.3 C.14-1 as PS3.4 J.3.3.1.1.2 uses it): no such object instance.
_NO_SUCH_OBJECT = 0x0112


@dataclass(frozen=True, kw_only=True)
class Committer:
    """Asks a peer to keep instances."""

    entity: Entity

    def __call__(self, peer: Peer, transaction: str, located: Sequence[Located]) -> Report | None:
        """The peer's report where it comes at once. Raises a HutongError where it can't be asked, or refuses."""
        if peer.ae_title:
            pairs = [(place.sop_class, place.instance) for place in located]
            return commitment.request(self.entity, peer, transaction, pairs)
        there = self._there(peer, located[0].study)
        wanted = [place.instance for place in located]
        return Report(
            transaction=transaction,
            committed=tuple(uid for uid in wanted if uid in there),
            failed={uid: _NO_SUCH_OBJECT for uid in wanted if uid not in there},
        )

    def _there(self, peer: Peer, study: str) -> set[str]:
        """What a peer without DIMSE answers with when it is asked for the study's instances."""
        found = set[str]()
        with dicomweb.connect(self.entity, peer) as web:
            while True:
                page = {"limit": str(_PAGE), "offset": str(len(found)), "includefield": "SOPInstanceUID"}
                answers = web.search(f"{dicomweb.uid_path(study)}/instances", page)
                new = {read.text(answer, "00080018") for answer in answers} - found
                found |= new
                if len(answers) < _PAGE or not new:
                    return found
