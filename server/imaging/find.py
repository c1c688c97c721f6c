"""The query of C-FIND (PS3.4 C.4.1 and C.6): an identifier in, matching patients, studies, series or images out.

Keys are matched as PS3.4 C.2.2.2 has it. A result holds the keys of the identifier and no others; a key that is not
supported comes back without a value, and ``unsupported`` names those that should have been matched.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from server.errors import BadRequest
from server.imaging import criterion, declared_keys
from server.imaging.dataset import Attributes
from server.imaging.matching_keys import Asked, Understood, Ways, understand
from server.imaging.person_name import name_text
from server.imaging.query_keys import ORDER, is_above, vr_of
from server.imaging.query_result import Kept, header_part, needs_header
from server.security.access import Access
from server.store import studies as store
from server.store.database import Database
from server.store.studies import Found, Level

QueryLevel = Literal["PATIENT", "STUDY", "SERIES", "IMAGE"]
_LEVELS: dict[QueryLevel, Level] = {"PATIENT": "patient", "STUDY": "study", "SERIES": "series", "IMAGE": "instance"}
#: Elements that steer the query and are never keys: character set, level, view.
_STEERING = frozenset({"00080005", "00080052", "00080053"})
#: PS3.4 C.6.1.1: the unique key of each level.
UNIQUE: dict[Level, str] = {"patient": "00100020", "study": "0020000D", "series": "0020000E", "instance": "00080018"}
#: Results of one look into the index, with stored headers and without.
_PAGES = {True: 200, False: 2000}


def find(
    database: Database,
    access: Access,
    level: QueryLevel,
    identifier: Attributes,
    *,
    relational: bool = True,
    root: Literal["PATIENT", "STUDY"] | None = None,
    ways: Ways | None = None,
) -> Iterator[Attributes]:
    """The matches of a C-FIND identifier (DICOM JSON model), each with its keys but for the Query/Retrieve Level.

    Raises BadRequest, before the first result, where the identifier does not fit the level or the model of ``root``:
    without ``relational`` every level above must be named by one unique key (PS3.4 C.4.1.2.1).
    """
    access.require("read")
    step = _LEVELS[level]
    _check_levels(step, identifier, relational, root)
    understood = _understand(database, access, step, identifier, ways)
    return _results(database, access, step, identifier, understood)


def unsupported(
    database: Database, access: Access, level: QueryLevel, identifier: Attributes, *, ways: Ways | None = None
) -> tuple[str, ...]:
    """Tag paths of the keys with a value that are not matched: answer with status FF01 then (PS3.4 C.4.1.1.4)."""
    found = _understand(database, access, _LEVELS[level], identifier, ways)
    return tuple(key.name for key in found.unsupported)


def _check_levels(level: Level, identifier: Attributes, relational: bool, root: str | None) -> None:
    if root == "STUDY" and level == "patient":
        raise BadRequest("The Study Root model has no PATIENT level.", expression="00080052")
    if relational:
        return
    above = [step for step in ORDER if step != level and is_above(step, level)]
    for step in above if root == "PATIENT" else above[1:]:
        value = _text(identifier.get(UNIQUE[step], {}))
        if not value or any(mark in value for mark in "*?\\"):
            raise BadRequest(
                f"A hierarchical query needs one value of {UNIQUE[step]}; give it, or negotiate relational queries.",
                expression=UNIQUE[step],
            )


def _understand(
    database: Database, access: Access, level: Level, identifier: Attributes, ways: Ways | None
) -> Understood:
    asked = list(_asked(identifier, ()))
    declared = declared_keys.for_keys(database, access.tenant, [key.path for key in asked])
    return understand(level, asked, declared, ways)


def _asked(identifier: Attributes, outer: tuple[str, ...]) -> Iterator[Asked]:
    """Every key of the identifier, those in sequences too (PS3.4 C.2.2.2.6: one item each)."""
    for tag, element in identifier.items():
        if not outer and tag in _STEERING:
            continue
        path = (*outer, tag)
        if element.get("vr") != "SQ":
            yield Asked(path=path, name=".".join(path), value=_text(element))
            continue
        items = element.get("Value") or []
        if len(items) > 1:
            raise BadRequest("A sequence to be matched has one item at most.", expression=".".join(path))
        for item in items:
            yield from _asked(item, path)


def _text(element: dict[str, Any]) -> str:
    """The value as it is written in an identifier: values divided by backslashes."""
    values = element.get("Value") or []
    return "\\".join("" if value is None else name_text(value) for value in values)


def _results(
    database: Database, access: Access, level: Level, identifier: Attributes, understood: Understood
) -> Iterator[Attributes]:
    keys = {tag: element for tag, element in identifier.items() if tag not in _STEERING}
    metadata = needs_header(level, frozenset(keys))
    seen, offset, page = set[str](), 0, _PAGES[metadata]
    while True:
        # What a page's results share is parsed once, and forgotten with it.
        kept = Kept(level, "patient")
        # A transaction for each page: a caller that takes its time holds no connection meanwhile.
        with database.reading() as uow:
            found = store.search(
                uow.driver,
                access.tenant,
                level,
                understood.conditions,
                limit=page,
                offset=offset,
                metadata=metadata,
            )
            counts = _counts(uow, access.tenant, level, found)
        for item in found:
            unique = str(item[_UNIQUE_FIELD[level]])
            if unique not in seen:
                seen.add(unique)
                have = header_part(level, item.metadata, frozenset(keys)) | kept.attributes(item)
                yield {tag: _answer(tag, asked, have | counts.get(unique, {})) for tag, asked in keys.items()}
        if len(found) < page:
            return
        offset += page


_UNIQUE_FIELD: dict[Level, int] = {
    "patient": Found._fields.index("patient"),
    "study": Found._fields.index("study"),
    "series": Found._fields.index("series"),
    "instance": Found._fields.index("instance"),
}


def _counts(uow: Any, tenant: int, level: Level, found: Sequence[Found]) -> dict[str, Attributes]:
    """PS3.4 table C.3-1: what there is of each patient."""
    if level != "patient":
        return {}
    counted = store.patient_counts(uow, tenant, [str(item.patient) for item in found])
    return {
        patient: {
            "00201200": {"vr": "IS", "Value": [counts.studies]},
            "00201202": {"vr": "IS", "Value": [counts.series]},
            "00201204": {"vr": "IS", "Value": [counts.instances]},
        }
        for patient, counts in counted.items()
    }


def _answer(tag: str, asked: dict[str, Any], have: Attributes) -> dict[str, Any]:
    """One key of a result: of a sequence the items that match, with the attributes asked for."""
    vr = asked.get("vr") or vr_of(tag)
    element = have.get(tag)
    if element is None:
        return {"vr": vr}
    if element.get("vr") != "SQ" or not asked.get("Value"):
        return element
    wanted = asked["Value"][0]
    items = [
        {key: _answer(key, inner, item) for key, inner in wanted.items()}
        for item in element.get("Value", ())
        if _item_matches(wanted, item)
    ]
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


def _item_matches(wanted: Attributes, item: Attributes) -> bool:
    for tag, asked in wanted.items():
        element = item.get(tag, {})
        if asked.get("vr") == "SQ":
            inner = asked.get("Value") or []
            if inner and not any(_item_matches(inner[0], one) for one in element.get("Value", ())):
                return False
            continue
        vr = element.get("vr") or asked.get("vr") or vr_of(tag)
        rule = criterion.parse(vr, _text(asked), tag)
        if rule is not None and not criterion.matches(rule, vr, element.get("Value", ())):
            return False
    return True
