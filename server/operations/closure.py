"""$closure: a client's table of which codes subsume which, kept in step with the codes that it meets.

https://hl7.org/fhir/R4/conceptmap-operation-closure.html, https://hl7.org/fhir/R4/terminology-service.html#closure
"""

from collections.abc import Iterable
from typing import Any

from server.errors import BadRequest, NotFound, TooLarge
from server.fhir import instants
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.operations.terminology_content import Held, coded_of
from server.repository import Repository, Transaction
from server.store import closures
from server.store.closures import Coded
from terminology.condition import Above, Below, Codes, every

_CANONICAL = "http://hl7.org/fhir/OperationDefinition/ConceptMap-closure"
#: Concepts of one table, and characters of its name.
MOST, _LONGEST = 10_000, 200


def operation(repository: Repository) -> Operation:
    """The operation on the system; it changes the table, so it is called by POST."""

    def closure(call: Call) -> dict[str, Any]:
        call.access.require("read")
        call.access.require("write")
        name = str(call.one("name"))
        if len(name) > _LONGEST:
            raise BadRequest(f"The name of a closure table has at most {_LONGEST} characters.", expression="name")
        with repository.transaction(call.access) as transaction:
            return _closure(transaction, call, name)

    return defined(repository, _CANONICAL, closure, safe=False)


def _closure(transaction: Transaction, call: Call, name: str) -> dict[str, Any]:
    uow, tenant, asked = transaction.uow, call.access.tenant, call.one("version")
    if not call.all("concept") and asked is None:
        closures.begin(uow, tenant, name)
        return _answer(transaction, name, 0, ())
    version = closures.version(uow, tenant, name)
    if version is None:
        raise NotFound(f"There is no closure table '{name}' here: begin it by a call with its name alone.")
    held = Held(transaction)
    concepts = closures.concepts(uow, tenant, name)
    added = [one for one in _added(held, call) if one not in concepts]
    since = version if asked is None else _version(asked, version)
    if added:
        version += 1
        closures.add(uow, tenant, name, version, added)
        concepts |= dict.fromkeys(added, version)
    if len(concepts) > MOST:
        raise TooLarge(f"A closure table has at most {MOST} concepts; begin another one.")
    fresh = [one for one, came in concepts.items() if came > since]
    return _answer(transaction, name, version, _pairs(held, concepts, fresh))


def _added(held: Held, call: Call) -> Iterable[Coded]:
    """The concepts of the call, each once, as their systems write them; NotFound for a code that is none."""
    found: dict[Coded, None] = {}
    for coding in call.all("concept"):
        one = coded_of(coding)
        if not one.system or not one.code:
            raise BadRequest("A concept needs its system and its code.", expression="concept")
        concept = held.named_system(call, one.system, "").find(one.code)
        if concept is None:
            raise NotFound(f"There is no code {one.code[:64]} in {one.system[:200]}.", expression="concept")
        found[one.system, concept.code] = None
    return found


def _version(text: str, newest: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= newest):
        raise BadRequest(f"version is what an answer of this table said, 0 to {newest}.", expression="version")
    return int(text)


def _pairs(held: Held, concepts: Iterable[Coded], fresh: Iterable[Coded]) -> Iterable[tuple[str, str, str]]:
    """(system, code, one that subsumes it) of everything that is in the table, as far as one of the two is fresh."""
    known: dict[str, set[str]] = {}
    for system, code in concepts:
        known.setdefault(system, set()).add(code)
    found: dict[tuple[str, str, str], None] = {}
    for system, code in fresh:
        content, others = held.code_system(system), Codes(frozenset(known[system] - {code}))
        if content is None or not others.codes:
            continue
        for one in content.select(every(others, Above(code, itself=False)), limit=MOST):
            found[system, code, one.code] = None
        for one in content.select(every(others, Below(code, itself=False)), limit=MOST):
            found[system, one.code, code] = None
    return found


def _answer(transaction: Transaction, name: str, version: int, pairs: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """The ConceptMap: each target subsumes its element's code."""
    groups: dict[str, dict[str, list[str]]] = {}
    for system, code, above in pairs:
        groups.setdefault(system, {}).setdefault(code, []).append(above)
    listed = [
        {
            "source": system,
            "target": system,
            "element": [
                {"code": code, "target": [{"code": one, "equivalence": "subsumes"} for one in above]}
                for code, above in elements.items()
            ],
        }
        for system, elements in groups.items()
    ]
    whole = {"resourceType": "ConceptMap", "id": instants.new_id(), "version": str(version), "title": name,
             "status": "active", "experimental": True, "date": instants.text(transaction.moment)}  # fmt: skip
    return {**whole, "group": listed} if listed else whole
