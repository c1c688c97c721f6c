"""What can go wrong between a Findings and its report, each with the place.

ReportError             something is wrong with a report, or with what should become one
├── UnreadableReport    a data set that can't be read as Findings
└── UnwritableFindings  Findings that no sound report can be made of
"""


class ReportError(Exception):
    """Something is wrong with a report; ``place`` names where. Never carries patient data."""

    def __init__(self, details: str, *, place: str = "") -> None:
        super().__init__(f"{details} (at {place})" if place else details)
        self.details = details
        self.place = place


class UnreadableReport(ReportError):
    """A data set that can't be read as Findings; ``place`` is a path such as ``ContentSequence[3].ValueType``."""


class UnwritableFindings(ReportError):
    """Findings that no sound report can be made of; ``place`` is a path such as ``findings[2].center_mm``."""
