"""Settings of the archive's keeping: quotas and retention, as tables of the settings file."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """How much a sender, or everybody together, may store; what is 0 has no bound."""

    #: A token's name or ``ae:`` and an AE title, as the audit names it; empty for the whole tenant.
    sender: str = ""
    bytes: int = 0
    instances: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """Which studies go when; a locked study never does."""

    name: str
    #: QIDO-RS keys of the study, e.g. ``ModalitiesInStudy=CT&PatientID=TEST*``; empty for every study.
    match: str = ""
    days: int
    #: What the days count from: ``study`` (Study Date, receipt where it is missing) or ``receipt``.
    since: str = "study"
    #: ``delete``, or ``forward``: deleted when the peer ``to`` has confirmed every instance.
    action: str = "delete"
    to: str = ""
