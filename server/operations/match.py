"""Patient/$match: https://hl7.org/fhir/R4/patient-operation-match.html

Those who might be meant are found by indexes (identifier, birth date, name, telephone, mail), then weighed by
``match_score``.
"""

from collections.abc import Iterator
from typing import Any

from server.errors import BadRequest
from server.fhir import instants, json_format
from server.operations.definition import Call, defined
from server.operations.match_name import read as read_names
from server.operations.match_score import Likeness, likeness
from server.operations.operation import Operation
from server.repository import Repository, Transaction
from server.store.resources import Stored

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/Patient-match"
_GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"
#: Matches that are given at most, and without ``count``.
MOST = 100
#: Patients that are looked at for each of the searches, the newest first.
LOOKED_AT = 500
#: Of each list in what is asked.
_VALUES = 10


def operation(repository: Repository) -> Operation:
    """On the type Patient."""

    def match(call: Call) -> dict[str, Any]:
        asked, count = call.one("resource"), call.one("count", MOST)
        if asked.get("resourceType") != call.resource_type:
            raise BadRequest(f"Send the {call.resource_type} who is looked for.", expression="resource")
        if count < 1:
            raise BadRequest("count is 1 at least.", expression="count")
        with repository.reading(call.access) as transaction:
            found = list(_matches(transaction, call.resource_type, asked))
        found.sort(key=lambda pair: (-pair[1].score, pair[0].id))
        if call.one("onlyCertainMatches", default=False):
            certain = [pair for pair in found if pair[1].grade == "certain"]
            # Of several none is certain.
            found = certain if len(certain) == 1 else []
        return _bundle(call, found[: min(count, MOST)])

    return defined(repository, _CANONICAL, match)


def _matches(transaction: Transaction, kind: str, asked: dict[str, Any]) -> Iterator[tuple[Stored, Likeness]]:
    """Everybody who is possible at least; a record that another one replaces is left out."""
    seen = set()
    for parameters in _searches(asked):
        for one in transaction.search(kind, [*parameters, ("_count", str(LOOKED_AT))]).matches:
            if one.id in seen:
                continue
            seen.add(one.id)
            patient = json_format.parse(one.body)
            if any(link.get("type") == "replaced-by" for link in patient.get("link") or ()):
                continue
            found = likeness(asked, patient)
            if found.grade != "certainly-not":
                yield one, found


def _searches(asked: dict[str, Any]) -> Iterator[list[tuple[str, str]]]:
    """What finds those who might be meant."""
    for identifier in asked.get("identifier", ())[:_VALUES]:
        if identifier.get("system") and identifier.get("value"):
            yield [("identifier", f"{_escaped(identifier['system'])}|{_escaped(identifier['value'])}")]
    names = read_names(asked.get("name", ())[:_VALUES])
    birth = asked.get("birthDate")
    if birth:
        yield [("birthdate", birth)]
    for name in asked.get("name", ())[:_VALUES]:
        parts = [("family", name.get("family")), ("given", next(iter(name.get("given", ())), None))]
        given = [(code, _escaped(value)) for code, value in parts if value]
        if given:
            yield given
        if name.get("text"):
            yield [("name", _escaped(name["text"]))]
    for one in names:
        # A family's name alone finds too many; with the year it is a name that was misspelt or changed.
        yield [("name", _escaped(one.whole))]
        # Of a Chinese name it is not said where it is divided: family's names have one character, few have two.
        for size in (1, 2) if one.is_unspaced and len(one.whole) > 2 else ():
            yield [("family", one.whole[:size]), ("given", one.whole[size:])]
        if birth:
            yield [("name", _escaped(one.family or one.given)), ("birthdate", birth[:4])]
    for contact in asked.get("telecom", ())[:_VALUES]:
        if contact.get("value"):
            yield [("telecom", _escaped(contact["value"]))]


def _escaped(text: str) -> str:
    for character in ("\\", "|", ",", "$"):
        text = text.replace(character, f"\\{character}")
    return text


def _bundle(call: Call, found: list[tuple[Stored, Likeness]]) -> dict[str, Any]:
    entries = [
        {
            "fullUrl": f"{call.base_url}/{one.type}/{one.id}",
            "resource": json_format.raw(one.body),
            "search": {
                "extension": [{"url": _GRADE, "valueCode": alike.grade}],
                "mode": "match",
                "score": round(alike.score, 4),
            },
        }
        for one, alike in found
    ]
    whole = {"resourceType": "Bundle", "id": instants.new_id(), "type": "searchset", "total": len(found)}
    return {**whole, "entry": entries} if entries else whole
