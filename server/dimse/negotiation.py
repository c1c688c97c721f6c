"""What an association is agreed on (PS3.8 7.1.1, PS3.7 annex D.3): contexts, roles, extended negotiation."""

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from server.dimse import associate
from server.dimse.associate import Answer, AssociateRequest, Proposed, Role
from server.dimse.pdu import MAXIMUM_LENGTH
from server.dimse.service import Offer
from server.imaging.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, IMPLICIT_LITTLE

#: Results of a presentation context (PS3.8 table 9-18).
ACCEPTED, USER_REJECTION, NO_ABSTRACT_SYNTAX, NO_TRANSFER_SYNTAX = 0, 1, 3, 4
#: Storage Service Class (PS3.4 annex B): what common extended negotiation may say of a SOP class that we don't know.
STORAGE_SERVICE = "1.2.840.10008.4.2"
_UID = re.compile(r"[0-9]+(\.[0-9]+)+", re.ASCII)


@dataclass(kw_only=True, slots=True)
class Acceptable:
    """What we take under one abstract syntax."""

    #: The preferred first.
    transfer_syntaxes: tuple[str, ...]
    #: Whether the requestor may be SCP.
    roles: bool = False
    #: Application information that we support.
    extended: bytes = b""
    #: Names in Peer.services of which the peer needs one.
    services: set[str] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """An accepted presentation context."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str
    #: What the requestor may be in it.
    role: Role


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreed:
    """The outcome of a negotiation."""

    contexts: Mapping[int, Context]
    #: Agreed application information by SOP class.
    extended: Mapping[str, bytes]
    #: The A-ASSOCIATE-AC PDU that says so.
    acceptance: bytes


def acceptable(offers: Iterable[Offer]) -> dict[str, Acceptable]:
    """What the offers take, by abstract syntax; offers under the same syntax are put together."""
    table: dict[str, Acceptable] = {}
    for offer in offers:
        for syntax in offer.abstract_syntaxes:
            entry = table.setdefault(syntax, Acceptable(transfer_syntaxes=offer.transfer_syntaxes))
            entry.roles |= offer.roles
            entry.extended = entry.extended or offer.extended
            entry.services.add(offer.name)
    return table


class Negotiator:
    """Answers association requests by a table of what is acceptable."""

    def __init__(
        self, table: Mapping[str, Acceptable], unknown: Acceptable, *, accept_unknown: bool, identifies: bool = False
    ) -> None:
        """``unknown`` is what storage SOP classes outside the table get; all of them if ``accept_unknown``.

        ``identifies``: the user's identity was looked at, and is confirmed where that was asked for.
        """
        self._identifies = identifies
        self._table = table
        self._unknown = unknown
        self._accept_unknown = accept_unknown

    def negotiate(self, request: AssociateRequest, services: frozenset[str]) -> Agreed:
        """The outcome for a peer that may use ``services``."""
        answers: list[Answer] = []
        contexts: dict[int, Context] = {}
        roles: dict[str, Role] = {}
        for proposed in sorted(request.contexts, key=lambda one: one.context_id):
            entry = self._entry(request, proposed.abstract_syntax)
            answer, role = _answer(proposed, entry, request.user.roles.get(proposed.abstract_syntax), services)
            answers.append(answer)
            if answer.result != ACCEPTED:
                continue
            if role is not None:
                roles[proposed.abstract_syntax] = role
            contexts[proposed.context_id] = Context(
                context_id=proposed.context_id,
                abstract_syntax=proposed.abstract_syntax,
                transfer_syntax=answer.transfer_syntax,
                role=role or Role(scu=True, scp=False),
            )
        extended = self._extended(request, {context.abstract_syntax for context in contexts.values()})
        items = _user_items(request, roles, extended)
        identity = request.user.identity
        if self._identifies and identity is not None and identity.response:
            # The server response of types 1 and 2 is empty (PS3.7 table D.3-15).
            items += associate.item(0x59, struct.pack(">H", 0))
        return Agreed(
            contexts=contexts,
            extended=extended,
            acceptance=associate.write_acceptance(request, tuple(answers), items),
        )

    def _entry(self, request: AssociateRequest, syntax: str) -> Acceptable | None:
        known = self._table.get(syntax)
        if known is not None or len(syntax) > 64 or not _UID.fullmatch(syntax):
            return known
        is_storage = request.user.service_classes.get(syntax) == STORAGE_SERVICE
        return self._unknown if is_storage or self._accept_unknown else None

    def _extended(self, request: AssociateRequest, accepted: set[str]) -> dict[str, bytes]:
        """The request's application information and ours, bit by bit."""
        agreed = {}
        for syntax, theirs in request.user.extended.items():
            entry = self._table.get(syntax)
            if syntax in accepted and entry is not None and entry.extended:
                agreed[syntax] = bytes(one & other for one, other in zip(theirs, entry.extended, strict=False))
        return agreed


def _answer(
    proposed: Proposed, entry: Acceptable | None, wanted: Role | None, services: frozenset[str]
) -> tuple[Answer, Role | None]:
    """The answer to one context, and the role that is confirmed, where one was asked for and we take part in that."""
    result, chosen = ACCEPTED, proposed.transfer_syntaxes[0]
    role = wanted if entry is not None and entry.roles else None
    if entry is None:
        result = NO_ABSTRACT_SYNTAX
    else:
        theirs = set(proposed.transfer_syntaxes)
        common = next((syntax for syntax in entry.transfer_syntaxes if syntax in theirs), None)
        chosen = common or chosen
        if common is None:
            result = NO_TRANSFER_SYNTAX
        elif not _may(entry, role, services) or (role is not None and not (role.scu or role.scp)):
            result = USER_REJECTION
    if result != ACCEPTED and (len(chosen) > 64 or not _UID.fullmatch(chosen)):
        # Not to be looked at by the peer, but it has to be there (PS3.8 9.3.3.2).
        chosen = IMPLICIT_LITTLE
    return Answer(context_id=proposed.context_id, result=result, transfer_syntax=chosen), role


def _may(entry: Acceptable, role: Role | None, services: frozenset[str]) -> bool:
    """Whether the peer may use the context: as SCP it receives what it got by C-GET."""
    return bool(entry.services & services) or (role is not None and role.scp and "get" in services)


def _user_items(request: AssociateRequest, roles: Mapping[str, Role], extended: Mapping[str, bytes]) -> bytes:
    """The user information of the acceptance, its items in ascending order."""
    items = [
        associate.item(0x51, struct.pack(">I", MAXIMUM_LENGTH)),
        associate.item(0x52, IMPLEMENTATION_CLASS_UID.encode("ascii")),
    ]
    if request.user.window is not None:
        # One operation at a time, whatever was asked for (PS3.7 D.3.3.3).
        items.append(associate.item(0x53, struct.pack(">HH", 1, 1)))
    items += [associate.role_item(syntax, role) for syntax, role in sorted(roles.items())]
    items.append(associate.item(0x55, IMPLEMENTATION_VERSION_NAME.encode("ascii")))
    items += [associate.extended_item(syntax, information) for syntax, information in sorted(extended.items())]
    return b"".join(items)
