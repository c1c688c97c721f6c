"""The states of a workitem as a table (PS3.4 table CC.1.1-2), and what is answered where it says no.

The table's columns are the states; a cell is the next state, or the status of CC.2.1.4 and CC.2.2.4.
"""

from dataclasses import dataclass

from server.errors import BadRequest, Conflict
from server.imaging.workitem import CANCELED, COMPLETED, IN_PROGRESS, SCHEDULED, STATES

#: The event of a cancellation request; the other events are the states that are asked for.
CANCEL = "request cancel"
#: The performer is to be told of a cancellation request.
TELL = "tell"

#: (event, whether the Transaction UID is right) -> for SCHEDULED, IN PROGRESS, COMPLETED, CANCELED.
TABLE: dict[tuple[str, bool], tuple[str, str, str, str]] = {
    (IN_PROGRESS, True): (IN_PROGRESS, "C302", "C300", "C300"),
    (IN_PROGRESS, False): ("C301", "C301", "C301", "C301"),
    (SCHEDULED, True): ("C303", "C303", "C303", "C303"),
    (SCHEDULED, False): ("C303", "C303", "C303", "C303"),
    (COMPLETED, True): ("C310", COMPLETED, "B306", "C300"),
    (COMPLETED, False): ("C301", "C301", "C301", "C301"),
    (CANCELED, True): ("C310", CANCELED, "C300", "B304"),
    (CANCELED, False): ("C301", "C301", "C301", "C301"),
    (CANCEL, True): (CANCELED, TELL, "C311", "B304"),
}

_INCONSISTENT = "The submitted request is inconsistent with the state of the UPS Instance."
#: Status -> text of the Warning header (PS3.18 11.7.3.2 and 11.8.3.2), and what is wrong with its cure.
SAYINGS: dict[str, tuple[str, str]] = {
    "B304": ("The UPS is already in the requested state of CANCELED.", ""),
    "B306": ("The UPS is already in the requested state of COMPLETED.", ""),
    "C300": (_INCONSISTENT, "The workitem has ended and may no longer be changed; create a new one."),
    "C301": (
        "The Transaction UID is incorrect.",
        "The Transaction UID (0008,1195) is not the one by which the workitem was claimed; only its performer has it.",
    ),
    "C302": (_INCONSISTENT, "Another performer has claimed the workitem already; look for one that is SCHEDULED."),
    "C303": (_INCONSISTENT, "A workitem never goes back to SCHEDULED; cancel it and create a new one."),
    "C304": (_INCONSISTENT, "The workitem does not meet the requirements of its final state."),
    "C310": (_INCONSISTENT, "The workitem is not in progress yet; claim it first by the state IN PROGRESS."),
    "C311": ("The UPS is already COMPLETED.", "The workitem is completed; it can't be canceled."),
    "C312": (
        "The performer cannot be contacted.",
        "Nobody who performs the workitem is subscribed to it; the performer has to cancel it by itself.",
    ),
    "C313": ("Performer chooses not to cancel.", "This server is at the workitem now and will end it by itself."),
}


class Inconsistent(Conflict):
    """A request that does not fit the workitem's state; ``warning`` is the text of the Warning header."""

    def __init__(self, status: str, details: str = "", *, expression: str = "ProcedureStepState") -> None:
        self.status = status
        self.warning, cure = SAYINGS[status]
        super().__init__(details or cure, expression=expression)


class NoTransaction(BadRequest):
    """The Transaction UID is missing."""

    warning = "The Transaction UID is missing."

    def __init__(self) -> None:
        super().__init__(
            "The Transaction UID (0008,1195) is missing; the performer makes one up and keeps it to itself.",
            expression="TransactionUID",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What an event leads to."""

    #: The next state; empty where the state is as wanted already; TELL for a request that is passed on.
    state: str
    #: Text of the Warning header; empty for none.
    warning: str = ""


def step(state: str, event: str, *, given: str = "", held: str = "") -> Step:
    """What an event does in a state; ``given`` and ``held`` are the Transaction UIDs of request and workitem.

    Raises BadRequest for an unknown state and for a missing Transaction UID, Inconsistent where the table says no.
    """
    if event == CANCEL:
        right = True
    elif event not in STATES:
        raise BadRequest(
            f"Procedure Step State (0074,1000) is one of {IN_PROGRESS}, {COMPLETED}, {CANCELED}.",
            expression="ProcedureStepState",
        )
    elif not given and event != SCHEDULED:
        raise NoTransaction
    else:
        # Who claims brings a new one; before a claim there is none that it could differ from.
        right = event == IN_PROGRESS or state == SCHEDULED or given == held
    cell = TABLE[event, right][STATES.index(state)]
    if cell.startswith("C3"):
        raise Inconsistent(cell, expression="TransactionUID" if cell == "C301" else "ProcedureStepState")
    if cell.startswith("B3"):
        return Step(state="", warning=SAYINGS[cell][0])
    return Step(state=cell)
