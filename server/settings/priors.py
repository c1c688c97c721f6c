"""A rule of which prior studies are fetched for a new one, as the operator writes it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Priors:
    """For which studies how many priors of which kind are fetched from where."""

    #: How it is named where fetched studies are listed.
    name: str
    #: Name of the peer that is asked; empty for every peer with ``query``.
    peer: str = ""
    #: Which new studies it is for: attribute -> what it must be, as in a rule of ``forward``.
    match: dict[str, Any] = field(default_factory=dict)
    #: Studies at most, the newest first.
    number: int = 1
    #: Modalities of which a prior has one at least; empty for any.
    modalities: tuple[str, ...] = ()
    #: Study Description, with wildcards, without regard to case; empty for any.
    description: str = ""
    #: Body Part Examined of one of its series; empty for any.
    body_parts: tuple[str, ...] = ()
    #: Days before the new study at most; 0 for any.
    days: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError that says what a value may be."""
        if not self.name:
            raise ValueError("a rule for priors needs a name")
        if self.number < 1 or self.days < 0:
            raise ValueError("number is 1 or more, days is not negative")
