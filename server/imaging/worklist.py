"""The modality worklist (PS3.4 annex K): imaging orders in FHIR that wait to be done, one entry for each step.

An order is an active ServiceRequest of the category imaging; each of its open Tasks is a scheduled procedure step, and
an order without a Task is one step itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from dicom_sr.identity import uid
from server.fhir import json_format
from server.imaging import attributes as read
from server.imaging import matching, worklist_mapping
from server.imaging.dataset import Attributes
from server.repository import Repository
from server.search.find import SearchResult
from server.security.access import Access
from server.store import audit

Resource = dict[str, Any]

#: FHIR's servicerequest-category for imaging (SNOMED CT), as the imaging IG binds it.
IMAGING = "http://snomed.info/sct|363679005"
STUDY = "0020000D"
STEPS = "00400100"
#: Task states in which a step is still to be done, or being done.
_OPEN = frozenset({"requested", "received", "accepted", "ready", "in-progress"})
_PAGE, _CHUNK = 500, 100
_STEPS = (("_revinclude", "Task:based-on"), ("_revinclude", "Appointment:based-on"))
_STATIONS = (("_include", "ServiceRequest:performer"), ("_include:iterate", "Task:owner"))
#: How each role of the mapping is joined; the steps themselves always are.
_JOINS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Patient": (("_include", "ServiceRequest:subject"),),
    "Encounter": (("_include", "ServiceRequest:encounter"),),
    "Requester": (("_include", "ServiceRequest:requester"),),
    "Device": _STATIONS,
    "Performer": _STATIONS,
}


@dataclass(frozen=True, kw_only=True)
class Worklist:
    """The orders of a repository as worklist entries."""

    repository: Repository
    #: Zone of dates and times in entries.
    zone: tzinfo
    #: Root of Study Instance UIDs for orders that name none.
    uid_root: str = "2.25"

    def find(self, access: Access, keys: Attributes) -> Iterator[Attributes]:
        """The steps that match, with the attributes asked for; one audit row for all."""
        with self.repository.database.unit_of_work() as uow:
            audit.note_read(uow, access.tenant, access.who, "search", "ServiceRequest")
        asking = matching.asking(keys)
        roles = worklist_mapping.roles(asking)
        found = dict.fromkeys(
            order["ServiceRequest"]["id"]
            for order in self.orders(access, _narrowing(asking), roles=roles)
            if matching.matches(asking, self.entry(order, asking))
        )
        # What the answers say is joined for those only that matched.
        for at in range(0, len(found), _CHUNK):
            chunk = ",".join(list(found)[at : at + _CHUNK])
            for order in self.orders(access, [("_id", chunk)]):
                if matching.matches(asking, self.entry(order, asking)):
                    yield matching.picked(keys, self.entry(order, keys))

    def orders(
        self, access: Access, narrowing: Sequence[tuple[str, str]] = (), *, roles: frozenset[str] | None = None
    ) -> Iterator[Mapping[str, Resource]]:
        """The resources of each step, by their role: ServiceRequest, Patient, Task ...; ``roles`` leaves others out."""
        wanted = _JOINS.keys() if roles is None else _JOINS.keys() & roles
        joins = dict.fromkeys(join for role in _JOINS if role in wanted for join in _JOINS[role])
        query = [("status", "active"), ("category", IMAGING), ("_count", str(_PAGE)), *narrowing, *_STEPS, *joins]
        page = ""
        while True:
            with self.repository.reading(access) as tx:
                found = tx.search("ServiceRequest", [*query, ("_page", page)] if page else query)
            yield from _steps(found)
            page = found.next
            if not page:
                return

    def entry(self, order: Mapping[str, Resource], asked: Attributes) -> Attributes:
        """The attributes of one step; the study's UID is derived from the order where it names none."""
        out = worklist_mapping.step(order, asked, self.zone)
        if STUDY in asked and STUDY not in out:
            out[STUDY] = {"vr": "UI", "Value": [uid(self.uid_root, "study of", order["ServiceRequest"]["id"])]}
        return out


def _narrowing(asking: Attributes) -> list[tuple[str, str]]:
    """What the database can say by itself."""
    keys = (("00080050", "identifier"), ("00100020", "subject:Patient.identifier"))
    return [
        (parameter, value)
        for tag, parameter in keys
        if (value := read.text(asking, tag)) and len(read.values(asking, tag)) == 1 and not set("*?|,$\\") & set(value)
    ]


def _steps(found: SearchResult) -> Iterator[Mapping[str, Resource]]:
    joined = {f"{stored.type}/{stored.id}": json_format.parse(stored.body) for stored in found.included}
    by_order: dict[str, list[Resource]] = {}
    for resource in joined.values():
        if resource["resourceType"] in ("Task", "Appointment"):
            for reference in resource.get("basedOn", ()):
                by_order.setdefault(reference.get("reference", ""), []).append(resource)
    for stored in found.matches:
        order = json_format.parse(stored.body)
        if order.get("intent") in ("proposal", "plan") or order.get("doNotPerform"):
            continue
        based = by_order.get(f"ServiceRequest/{order['id']}", [])
        roles = _roles(order, joined) | {r["resourceType"]: r for r in based if r["resourceType"] == "Appointment"}
        tasks = [resource for resource in based if resource["resourceType"] == "Task"]
        if not tasks:
            yield roles
        for task in tasks:
            if task.get("status") in _OPEN:
                yield roles | {"Task": task} | _performers(task.get("owner", {}), joined)


def _roles(order: Resource, joined: Mapping[str, Resource]) -> dict[str, Resource]:
    roles: dict[str, Resource] = {"ServiceRequest": order}
    for role, element in (("Patient", "subject"), ("Encounter", "encounter"), ("Requester", "requester")):
        found = joined.get(order.get(element, {}).get("reference", ""))
        if found is not None:
            roles[role] = found
    for performer in order.get("performer", ()):
        roles |= _performers(performer, joined)
    return roles


def _performers(reference: Resource, joined: Mapping[str, Resource]) -> dict[str, Resource]:
    found = joined.get(reference.get("reference", ""))
    if found is None:
        return {}
    return {"Device" if found["resourceType"] == "Device" else "Performer": found}
