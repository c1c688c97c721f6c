"""The closed tree of errors: raised anywhere below the edges, translated once per edge.

HutongError                 something that the caller is told, with the place and the cure
├── BadRequest              the request can't be understood                          400, invalid
│   ├── UnknownParameter    a search parameter that the server does not know         400, not-supported
│   └── BadInstance         bytes that are no sound DICOM instance                   (per instance: PS3.18, DIMSE)
├── Unauthenticated         no or wrong credentials                                  401, login
├── Forbidden               known, but not allowed                                   403, forbidden
├── NotFound                there is no such thing                                   404, not-found
├── Gone                    it was deleted                                           410, deleted
├── Conflict                it contradicts what is stored                            409, conflict
│   └── DuplicateInstance   same SOPInstanceUID, other content                       (per instance)
├── PreconditionFailed      If-Match or a conditional criterion does not hold        412, conflict
├── Unprocessable           understood, but breaks the standard's rules              422, processing
├── NotAcceptable           no representation that the client accepts                406, not-supported
├── UnsupportedMedia        a body of a type that is not taken here                  415, not-supported
├── TooLarge                over a limit                                             413, too-costly
└── Unavailable             the server can't now, and says until when                503, transient
    └── Unreachable         a peer that can't be talked to at all now                503, transient
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """One thing that is wrong: what FHIR calls OperationOutcome.issue."""

    #: FHIR IssueType code: https://hl7.org/fhir/R4/valueset-issue-type.html
    code: str
    #: What is wrong and how to cure it, for a person. Never patient data.
    details: str
    #: FHIRPath, parameter name, or tag path of the place.
    expression: str = ""
    #: fatal, error, warning or information.
    severity: str = "error"


class HutongError(Exception):
    """Something the caller is told; carries one Issue or more."""

    code = "exception"

    def __init__(self, details: str, *, expression: str = "", issues: tuple[Issue, ...] = ()) -> None:
        super().__init__(details)
        self.details = details
        self.issues = issues or (Issue(code=self.code, details=details, expression=expression),)


class BadRequest(HutongError):
    """The request can't be understood."""

    code = "invalid"


class UnknownParameter(BadRequest):
    """A search parameter that the server does not know."""

    code = "not-supported"


class BadInstance(BadRequest):
    """Bytes that are no sound DICOM instance; ``reason`` is the Failure Reason (0008,1197)."""

    def __init__(self, details: str, *, expression: str = "", reason: int = 0xC000) -> None:
        super().__init__(details, expression=expression)
        self.reason = reason


class Unauthenticated(HutongError):
    """No credentials, or wrong ones."""

    code = "login"


class Forbidden(HutongError):
    """The caller is known but not allowed."""

    code = "forbidden"


class NotFound(HutongError):
    """There is no such thing."""

    code = "not-found"


class Gone(HutongError):
    """It was deleted."""

    code = "deleted"


class Conflict(HutongError):
    """It contradicts what is stored."""

    code = "conflict"


class DuplicateInstance(Conflict):
    """The SOPInstanceUID is stored already with other content; the first copy is kept."""

    #: PS3.18 10.5.3 / PS3.4: Duplicate SOP Instance.
    reason = 0x0111


class PreconditionFailed(HutongError):
    """If-Match, or a conditional criterion, does not hold."""

    code = "conflict"


class Unprocessable(HutongError):
    """Understood, but it breaks the standard's rules."""

    code = "processing"


class NotAcceptable(HutongError):
    """No representation that the client accepts."""

    code = "not-supported"


class UnsupportedMedia(HutongError):
    """A body of a type that is not taken here."""

    code = "not-supported"


class TooLarge(HutongError):
    """Over a limit."""

    code = "too-costly"


class Unavailable(HutongError):
    """The server can't now."""

    code = "transient"


class Unreachable(Unavailable):
    """A peer can't be talked to at all now; whatever is meant for it has to wait."""
