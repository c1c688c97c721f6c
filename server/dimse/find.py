"""C-FIND of the Query/Retrieve service class, Patient Root and Study Root (PS3.4 C.4.1)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from server.dimse import identifier as wire
from server.dimse.failure import CANCELLED, DOES_NOT_MATCH, failure
from server.dimse.service import Caller, Offer, Request, Response
from server.errors import BadRequest, HutongError
from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.imaging.find import QueryLevel, find, unsupported
from server.imaging.matching_keys import Ways
from server.store import audit
from server.store.database import Database

C_FIND_RQ = 0x0020
SUCCESS, PENDING, PENDING_WITH_WARNING = 0x0000, 0xFF00, 0xFF01
#: SOP Class Extended Negotiation (PS3.4 tables C.5-1 to C.5-3), a byte each: relational queries; of C-FIND also dates
#: matched together with times, and names by the beginnings of their words.
RELATIONAL = b"\x01"
_EXTENDED = RELATIONAL + b"\x01\x01"

#: The levels of each information model (PS3.4 C.6), by SOP class.
LEVELS: Mapping[str, tuple[QueryLevel, ...]] = {
    "1.2.840.10008.5.1.4.1.2.1.1": ("PATIENT", "STUDY", "SERIES", "IMAGE"),
    "1.2.840.10008.5.1.4.1.2.2.1": ("STUDY", "SERIES", "IMAGE"),
    "1.2.840.10008.5.1.4.1.2.3.1": ("PATIENT", "STUDY"),
}
LEVEL, AVAILABILITY, RETRIEVE_AE = "00080052", "00080056", "00080054"
_TIMEZONE, _CHARACTER_SET = "00080201", "00080005"
#: What is no key but says how the identifier is to be read.
_ABOUT = frozenset({LEVEL, _CHARACTER_SET, _TIMEZONE, AVAILABILITY, RETRIEVE_AE})
#: What every answer says, asked for or not: the unique keys down to its level, and the zone of its times.
_UIDS: Attributes = {tag: {"vr": "UI"} for tag in ("0020000D", "0020000E", "00080018")}
_TOLD: Mapping[QueryLevel, Attributes] = {
    "PATIENT": {"00100020": {"vr": "LO"}},
    "STUDY": dict(list(_UIDS.items())[:1]) | {_TIMEZONE: {"vr": "SH"}},
    "SERIES": dict(list(_UIDS.items())[:2]) | {_TIMEZONE: {"vr": "SH"}},
    "IMAGE": _UIDS | {_TIMEZONE: {"vr": "SH"}},
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The service."""

    database: Database
    #: Our AE title, from which what is found can be retrieved.
    title: str
    character_sets: wire.CharacterSets = field(default_factory=wire.CharacterSets)

    def offer(self) -> Offer:
        """Its place among the services."""
        return Offer(
            abstract_syntaxes=tuple(LEVELS),
            commands=(C_FIND_RQ,),
            serve=self.serve,
            transfer_syntaxes=wire.TRANSFER_SYNTAXES,
            extended=_EXTENDED,
            name="find",
        )

    def serve(self, caller: Caller, request: Request) -> Iterator[Response]:
        """One pending response for each match, then the end."""
        try:
            identifier = wire.decode(request)
            level = level_of(request, identifier)
            yield from self._matches(caller, request, level, identifier)
        except HutongError as error:
            yield failure(error, otherwise=DOES_NOT_MATCH if _is_about_level(error) else 0xC000)

    def _matches(
        self, caller: Caller, request: Request, level: QueryLevel, identifier: Attributes
    ) -> Iterator[Response]:
        asked, access = self.character_sets.of(caller, identifier), caller.access
        keys = {tag: element for tag, element in identifier.items() if tag not in _ABOUT}
        ways = _ways(caller.extended(request.abstract_syntax))
        status = PENDING_WITH_WARNING if unsupported(self.database, access, level, keys, ways=ways) else PENDING
        results = find(self.database, access, level, _TOLD[level] | keys, ways=ways)
        with self.database.unit_of_work() as uow:
            audit.note_read(uow, access.tenant, access.who, "search", level.title())
        for found in results:
            if caller.cancelled(request.message_id):
                yield Response(status=CANCELLED)
                return
            answer = self._answer(level, identifier, found)
            yield Response(status=status, dataset=wire.encode(request, answer, asked))
        yield Response(status=SUCCESS)

    def _answer(self, level: QueryLevel, identifier: Attributes, found: Attributes) -> Attributes:
        """The keys that were asked for, those without a value empty, and what every answer says."""
        answer = {tag: {"vr": element["vr"]} for tag, element in identifier.items()} | found
        answer[LEVEL] = {"vr": "CS", "Value": [level]}
        answer[RETRIEVE_AE] = {"vr": "AE", "Value": [self.title]}
        answer[AVAILABILITY] = {"vr": "CS", "Value": ["ONLINE"]}
        if not answer.get(_TIMEZONE, {}).get("Value"):
            answer.pop(_TIMEZONE, None)
        return answer


def _ways(agreed: bytes) -> Ways:
    """How keys are matched, as extended negotiation agreed."""
    return Ways(combine=agreed[1:2] == b"\x01", fuzzy=agreed[2:3] == b"\x01")


def level_of(request: Request, identifier: Attributes) -> QueryLevel:
    """Query/Retrieve Level, one of the information model's; raises BadRequest."""
    asked = read.text(identifier, LEVEL).upper()
    # The models' SOP classes for find, move and get differ in their last component.
    levels = next(levels for model, levels in LEVELS.items() if request.abstract_syntax[:-1] == model[:-1])
    for level in levels:
        if level == asked:
            return level
    raise BadRequest(f"QueryRetrieveLevel must be one of {', '.join(levels)}.", expression="QueryRetrieveLevel")


def _is_about_level(error: HutongError) -> bool:
    return isinstance(error, BadRequest) and error.issues[0].expression == "QueryRetrieveLevel"
