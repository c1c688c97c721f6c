"""A rule of store-and-forward, as the operator writes it."""

import re
from dataclasses import dataclass, field
from typing import Any

PRIORITIES = ("high", "medium", "low")
#: Name of the rule behind a peer's ``send_results``.
RESULTS = "results"
_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Forward:
    """What goes to which peer, and when. Rules are asked in their order; the first that fits sends an instance."""

    #: How it is named in the queue.
    name: str
    #: Name of the peer.
    peer: str
    #: Attribute (keyword or tag, dotted into sequences) -> what it must be, as in QIDO-RS; all must hold.
    match: dict[str, Any] = field(default_factory=dict)
    #: The same for what is left out, though ``match`` holds.
    unless: dict[str, Any] = field(default_factory=dict)
    #: Who must have sent it to us: "ae:TITLE", a token's name, "peer:NAME" for what was fetched; empty for anybody.
    senders: tuple[str, ...] = ()
    #: originals, results (SR, SEG, presentation states and the like), or both.
    what: str = "both"
    #: study: when the study has become quiet; instance: as soon as the instance is stored.
    when: str = "study"
    #: high, medium or low; what is more urgent overtakes.
    priority: str = "medium"
    #: Seconds to wait before the first try.
    delay: float = 0.0
    #: Hours in which it is sent, e.g. "22:00-06:00", in the setting tenant_zone's time; empty for always.
    window: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError that says what a value may be."""
        if not self.name or self.name == RESULTS:
            raise ValueError(f"a rule needs a name, other than '{RESULTS}'")
        for value, known in (
            (self.what, ("originals", "results", "both")),
            (self.when, ("study", "instance")),
            (self.priority, PRIORITIES),
        ):
            if value not in known:
                raise ValueError(f"'{value}' is none of {', '.join(known)}")
        if self.window and not _WINDOW.fullmatch(self.window):
            raise ValueError("a window is written as HH:MM-HH:MM")
        if self.delay < 0:
            raise ValueError("a delay is not negative")

    @property
    def rank(self) -> int:
        """0 first."""
        return PRIORITIES.index(self.priority)

    def is_open(self, minute: int) -> bool:
        """Whether it sends in this minute of the day."""
        found = _WINDOW.fullmatch(self.window)
        if found is None:
            return True
        start, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
        return start <= minute < end if start <= end else minute >= start or minute < end
