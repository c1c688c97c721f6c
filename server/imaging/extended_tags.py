"""Attributes made searchable by declaration (extended query tags): declared, indexed behind, and as instances arrive.

A declaration names an attribute, or ``Tag.Tag`` into sequences, its VR and its level. A job walks over what is stored
and enters the values from the kept headers, a batch at a time, so that it goes on where it stopped; until it is through
the attribute is not searched by. What arrives meanwhile is entered with the instance, in its transaction.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from server.errors import BadRequest, NotFound
from server.imaging import criterion
from server.imaging.attributes import fold_name
from server.imaging.dataset import Attributes
from server.imaging.person_name import groups, name_text, words
from server.imaging.query_keys import BY_TAG, path_of, vr_of
from server.security.access import Access
from server.store import extended_tags as store
from server.store.conditions import NAMES
from server.store.database import Database, UnitOfWork
from server.store.extended_tags import ExtendedTag, Known, ValueRow
from server.store.instances import InstanceRow, PatientRow, StudyRow

#: Instances that the job looks at in one transaction.
BATCH = 500
LEVELS = ("study", "series", "instance")
#: Keys that PS3.18 table 10.6.1-5 requires, in a sequence; declared at every start.
REQUIRED = (
    "RequestAttributesSequence.ScheduledProcedureStepID:series",
    "RequestAttributesSequence.RequestedProcedureID:series",
)
_PATIENT_NAME, _REFERRING = NAMES["patient.name_folded"][0], NAMES["study.referring_folded"][0]


def declare(database: Database, access: Access, path: str, *, vr: str = "", level: str = "", creator: str = "") -> bool:
    """Makes an attribute searchable; whether it was not declared before.

    ``path`` is a keyword or tag, or several joined by dots; ``vr`` is needed where the data dictionary has none, and
    ``creator`` for a private attribute. Raises BadRequest that says what is wrong, and Forbidden without "admin".
    """
    access.require("admin")
    tags = path_of(path)
    if tags is None:
        raise BadRequest(f"'{path[:64]}' is no attribute; give keywords or tags joined by dots.", expression="path")
    private = int(tags[-1][:4], 16) & 1 == 1
    if private != bool(creator):
        raise BadRequest("A private attribute, and no other, needs its private creator.", expression="privateCreator")
    level = level or "instance"
    if level not in LEVELS:
        raise BadRequest(f"The level is one of {', '.join(LEVELS)}.", expression="level")
    if len(tags) == 1 and tags[0] in BY_TAG:
        raise BadRequest(f"{path} is searched by without being declared.", expression="path")
    if any(vr_of(tag) not in ("SQ", "UN") for tag in tags[:-1]):
        raise BadRequest("Every attribute of the path but the last is a sequence.", expression="path")
    vr = vr or vr_of(tags[-1])
    if vr not in criterion.SEARCHABLE:
        raise BadRequest(
            f"Values of VR {vr[:2]} are not searched by; the VR is one of {', '.join(sorted(criterion.SEARCHABLE))}.",
            expression="vr",
        )
    with database.unit_of_work() as uow:
        return store.declare(uow, access.tenant, path=".".join(tags), creator=creator, vr=vr, level=level)


def declare_all(database: Database, access: Access, wanted: Iterable[str]) -> None:
    """Declares what settings name: ``path``, ``path:level`` or ``path:VR:level``; raises BadRequest."""
    for text in wanted:
        path, *rest = text.strip().split(":")
        vr, level = ("", *rest) if len(rest) == 1 else (rest[0], rest[1]) if len(rest) == 2 else ("", "")
        if len(rest) > 2:
            raise BadRequest(
                f"'{text}' is no extended query tag; write path, path:level or path:VR:level.",
                expression="extended_query_tags",
            )
        with database.reading() as uow:
            known = {tag.path for tag in store.declared(uow, access.tenant)}
        if ".".join(path_of(path) or ()) not in known:
            declare(database, access, path, vr=vr, level=level)


def withdraw(database: Database, access: Access, path: str) -> None:
    """Takes a declaration back; raises NotFound."""
    access.require("admin")
    with database.unit_of_work() as uow:
        if not store.withdraw(uow, access.tenant, ".".join(path_of(path) or ())):
            raise NotFound("No such extended query tag is declared.", expression="path")


def listed(database: Database, access: Access) -> list[ExtendedTag]:
    """All declarations."""
    access.require("read")
    with database.reading() as uow:
        return store.declared(uow, access.tenant)


def index_next(database: Database) -> int:
    """One batch of the background job; gives how many instances it looked at, 0 when nothing is left to do."""
    with database.unit_of_work() as uow:
        found = store.next_to_index(uow)
        if found is None:
            return 0
        tenant, tag, position = found
        batch = store.after(uow, tenant, position, BATCH)
        rows = [
            row
            for instance, series, study, metadata in batch
            for row in _of_header((tag,), metadata, {"study": study, "series": series, "instance": instance})
        ]
        store.add_values(uow, tenant, rows)
        last = batch[-1][0] if batch else position
        store.advance(uow, tenant, tag.tag, last, len(batch), ready=len(batch) < BATCH)
        return max(len(batch), 1)


class Declarations:
    """What ingest knows of the declarations; a stale view is found out by the statement that enters arrivals."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[int, Known] = {}

    def known(self, tenant: int) -> Known:
        """The declarations as they were last seen."""
        found = self._known.get(tenant)
        if found is None:
            with self._database.reading() as uow:
                found = self._known[tenant] = store.known(uow, tenant)
        return found

    def enter(self, uow: UnitOfWork, tenant: int, new: Sequence[InstanceRow]) -> None:
        """Enters the values of instances added in this transaction, and learns what is declared now."""
        found = self._known[tenant] = store.known(uow, tenant)
        store.add_values(uow, tenant, [value for row in new for value in values_of(found.tags, row)])


def values_of(tags: Sequence[ExtendedTag], row: InstanceRow) -> list[ValueRow]:
    """The values that an instance has of declared attributes; most have none, which a look at the bytes tells."""
    there = [tag for tag in tags if tag.creator or f'"{tag.path[:8]}":'.encode() in row.metadata]
    if not there:
        return []
    return _of_header(there, row.metadata, {"study": row.study, "series": row.series, "instance": row.instance})


def _of_header(tags: Sequence[ExtendedTag], metadata: bytes, entities: dict[str, str]) -> list[ValueRow]:
    header: Attributes = orjson.loads(metadata)
    return [row for tag in tags for row in _walk(tag, header, tag.path.split("."), entities[tag.level], ())]


def _walk(
    tag: ExtendedTag, attributes: Attributes, path: Sequence[str], entity: str, items: tuple[str, ...]
) -> Iterator[ValueRow]:
    """The values under a path, each with digests of the sequence items around it."""
    element = attributes.get(_own_tag(attributes, path[0], tag.creator), {})
    values = element.get("Value") or ()
    if len(path) == 1:
        for value in values:
            if value is not None and not (isinstance(value, dict) and element.get("vr") == "SQ"):
                yield from _rows(tag, value, entity, items)
        return
    for item in values:
        if isinstance(item, dict):
            yield from _walk(tag, item, path[1:], entity, (*items, _digest(item)))


def _digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _own_tag(attributes: Attributes, tag: str, creator: str) -> str:
    """The tag under which a private attribute is here: in the block of its creator (PS3.5 7.8.1)."""
    if not creator or int(tag[:4], 16) & 1 == 0:
        return tag
    group = tag[:4]
    for block in (key for key in attributes if key.startswith(f"{group}00")):
        if attributes[block].get("Value") == [creator]:
            return f"{group}{block[6:]}{tag[6:]}"
    return ""


def _rows(tag: ExtendedTag, value: Any, entity: str, items: tuple[str, ...]) -> Iterator[ValueRow]:
    if tag.vr == "PN":
        # Words must be of one name where there are several.
        name = fold_name(name_text(value))
        yield from _of_name(tag.tag, name, entity, (*items, _digest(name)))
        return
    number = criterion.decimal(value) if tag.vr in criterion.NUMBERS else None
    text = criterion.index_text(tag.vr, value)
    if text:
        yield ValueRow(tag=tag.tag, kind="v", value=text, entity=entity, items=items, number=number)


def enter_names(uow: UnitOfWork, tenant: int, patients: Iterable[PatientRow], studies: Iterable[StudyRow]) -> None:
    """Makes the names of new patients, and of new studies' referring physicians, searchable by group and word."""
    rows = [row for p in patients for row in _of_name(_PATIENT_NAME, p.name_folded, p.patient, ())]
    rows += [row for s in studies for row in _of_name(_REFERRING, s.referring_folded, s.study, ())]
    store.add_values(uow, tenant, rows)


def _of_name(tag: int, folded: str, entity: str, items: tuple[str, ...]) -> Iterator[ValueRow]:
    if folded:
        yield ValueRow(tag=tag, kind="v", value=folded, entity=entity, items=items)
    for kind, found in (("g", groups(folded)), ("w", words(folded))):
        for value in found:
            yield ValueRow(tag=tag, kind=kind, value=value, entity=entity, items=items)
