"""What we ask of peers: every service that we use, for the conformance statement."""

from dataclasses import dataclass

from server.outbound.dimse import availability, commitment, echo, find, retrieve
from server.outbound.dimse.association import EXPLICIT_LITTLE, IMPLICIT_LITTLE

_UNCOMPRESSED = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """One service as its user (SCU)."""

    #: What it is for.
    activity: str
    abstract_syntaxes: tuple[str, ...]
    transfer_syntaxes: tuple[str, ...] = _UNCOMPRESSED
    #: Whether we take part as SCP of a context that we propose ourselves (role selection).
    as_scp: bool = False


def uses(storage: tuple[str, ...], transfer_syntaxes: tuple[str, ...]) -> tuple[Use, ...]:
    """All of them; ``storage`` are the SOP classes that instances are sent under, in ``transfer_syntaxes``."""
    return (
        Use(activity="Verify that a peer answers", abstract_syntaxes=(echo.VERIFICATION,)),
        Use(activity="Send instances", abstract_syntaxes=storage, transfer_syntaxes=transfer_syntaxes),
        Use(activity="Look for studies at a peer", abstract_syntaxes=(find.STUDY_ROOT, find.PATIENT_ROOT)),
        Use(activity="Have a peer send studies to us", abstract_syntaxes=(retrieve.STUDY_ROOT_MOVE,)),
        Use(activity="Fetch studies from a peer", abstract_syntaxes=(retrieve.STUDY_ROOT_GET,)),
        Use(
            activity="Take in what was fetched",
            abstract_syntaxes=storage,
            transfer_syntaxes=transfer_syntaxes,
            as_scp=True,
        ),
        Use(activity="Ask for storage commitment", abstract_syntaxes=(commitment.PUSH_MODEL,)),
        Use(activity="Tell what was committed", abstract_syntaxes=(commitment.PUSH_MODEL,), as_scp=True),
        Use(activity="Tell what became available", abstract_syntaxes=(availability.NOTIFICATION,)),
    )
