"""Storage commitments reported to who asked, on an association of our own (PS3.4 J.3.3)."""

from collections.abc import Callable
from dataclasses import dataclass

from server.errors import HutongError
from server.imaging.commitment import Commitments, Report
from server.settings import Peer

#: Tries of the job; with pauses of ten minutes at most they take a day and a half.
ATTEMPTS = 200
#: Tells a peer; raises a HutongError unless it acknowledged.
Tell = Callable[[Peer, Report], None]


@dataclass(frozen=True, kw_only=True)
class CommitmentReporter:
    """Everything that the job commitment-report needs."""

    commitments: Commitments
    peers: tuple[Peer, ...]
    tell: Tell

    def run(self, tenant: int, transaction: str) -> None:
        """Checks and tells, where that is still to be done; raises what the peer answered: it is tried again."""
        report = self.commitments.report(tenant, transaction)
        if report is None:
            return
        peer = next((peer for peer in self.peers if peer.ae_title and peer.ae_title == report.requester), None)
        if peer is None:
            why = "The requester is none of the peers in the settings; it can be told on its own association only."
            self.commitments.not_reported(tenant, transaction, why)
            return
        try:
            self.tell(peer, report)
        except HutongError as error:
            self.commitments.not_reported(tenant, transaction, error.details)
            raise
        self.commitments.reported(tenant, transaction)
