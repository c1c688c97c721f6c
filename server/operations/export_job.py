"""The work of $export: what is to be given is noted in one moment, then written file by file.

A job that is taken up again goes on behind the last finished file.
https://hl7.org/fhir/uv/bulkdata/export.html
"""

from collections.abc import Iterator, Mapping
from typing import Any

from server.fhir import instants, json_format
from server.fhir.subset import subset
from server.operations.bulk import BulkRequests, access_of
from server.operations.export import COMPARTMENT, PROVENANCE, Selection, members
from server.repository import Repository, Transaction
from server.search import date
from server.store import bulk
from server.store.bulk import BulkFile, BulkRequest
from server.store.database import UnitOfWork

#: Resources in one file, and read at once.
MOST = 50_000
_PAGE = 500


class Cancelled(Exception):
    """The request is gone."""


class Exporter:
    """Carries out exports."""

    def __init__(self, repository: Repository, requests: BulkRequests, most: int = MOST) -> None:
        """``most``: resources in one file."""
        self._repository = repository
        self._requests = requests
        self._most = most

    def run(self, tenant: int, request: str) -> None:
        """The job: does what is left to do of a request."""
        with self._repository.database.reading() as uow:
            found = bulk.get(uow, tenant, request)
        if found is None or found.state in ("done", "failed"):
            return
        if found.moment is None:
            self._note(tenant, found)
        try:
            _Writing(self._repository, self._requests, tenant, found, self._most).run()
        except Cancelled:
            self._requests.files.remove(tenant, request)

    def failed(self, reason: str, arguments: Mapping[str, Any]) -> None:
        """Notes that it can't be done."""
        with self._repository.database.unit_of_work() as uow:
            bulk.end(uow, arguments["tenant"], arguments["request"], hours=self._requests.hours, reason=reason)

    def _note(self, tenant: int, request: BulkRequest) -> None:
        """Notes every version that is to be given, all of one moment."""
        selection = Selection.read(json_format.parse(request.asked))
        with self._repository.transaction(access_of(request, tenant), one_moment=True) as transaction:
            moment = bulk.seen_until(transaction.uow)
            bulk.begin(transaction.uow, tenant, request.request, moment)
            if selection.level:
                _note_compartments(transaction, request.request, selection)
            else:
                _note_types(transaction, request.request, selection)


def _note_types(transaction: Transaction, request: str, selection: Selection) -> None:
    whole = [kind for kind in selection.types if kind not in selection.filters]
    gather = transaction.gather(request)
    if whole:
        gather.matches(transaction.query("", [("_type", ",".join(whole)), *selection.parameters()]))
    for kind, queries in selection.filters.items():
        for query in queries:
            gather.matches(transaction.query(kind, selection.parameters(query)))
    if selection.since:
        bulk.tombstones(transaction.uow, transaction.access.tenant, request, whole, date.moment(selection.since))


def _note_compartments(transaction: Transaction, request: str, selection: Selection) -> None:
    ids = selection.patients
    if selection.group:
        among = members(transaction, selection.group)
        ids = tuple(among if ids is None else set(among) & set(ids))
    bulk.subjects(transaction.uow, transaction.access.tenant, request, COMPARTMENT, ids)
    gather = transaction.gather(request)
    for kind in selection.types:
        for query in selection.filters.get(kind, ("",)):
            gather.matches(transaction.query(kind, selection.parameters(query)), COMPARTMENT)
    for kind in selection.referred:
        gather.referred(transaction.query(kind, selection.parameters()), selection.types)
    if PROVENANCE in selection.types:
        for query in selection.filters.get(PROVENANCE, ("",)):
            gather.referring(transaction.query(PROVENANCE, selection.parameters(query)), "target", COMPARTMENT)


class _Writing:
    """The files of one request."""

    def __init__(
        self, repository: Repository, requests: BulkRequests, tenant: int, request: BulkRequest, most: int
    ) -> None:
        self._repository = repository
        self._database = repository.database
        self._requests = requests
        self._tenant = tenant
        self._name = request.request
        self._selection = Selection.read(json_format.parse(request.asked))
        self._most = most
        self._written = 0
        self._all = 0
        #: Id of the last resource written.
        self._last = ""

    def run(self) -> None:
        """Writes what has no file yet, then ends the request."""
        with self._database.reading() as uow:
            counts = {
                kind: bulk.counts(uow, self._tenant, self._name, deleted=kind == "deleted")
                for kind in ("output", "deleted")
            }
            done = bulk.files(uow, self._tenant, self._name)
        self._all = sum(sum(found.values()) for found in counts.values())
        self._written = sum(file.count for file in done)
        for kind, found in counts.items():
            for resource_type, count in found.items():
                stem = f"{'deleted-' if kind == 'deleted' else ''}{resource_type}-"
                self._type(stem, resource_type, count, [one for one in done if one.name.startswith(stem)])
        with self._database.unit_of_work() as uow:
            bulk.end(uow, self._tenant, self._name, hours=self._requests.hours)

    def _type(self, stem: str, resource_type: str, count: int, done: list[BulkFile]) -> None:
        """The files of one type that are not there yet; their names begin with ``stem``."""
        left = count - sum(file.count for file in done)
        self._last = max((file.last for file in done), default="")
        deleted = stem.startswith("deleted-")
        number = len(done)
        while left > 0:
            number += 1
            before, name = self._written, f"{stem}{number:04}.ndjson"
            size = min(left, self._most)
            lines = self._deletions(resource_type, size) if deleted else self._lines(resource_type, size)
            self._requests.files.write(self._tenant, self._name, name, lines)
            self._finished(BulkFile(
                name=name, kind="deleted" if deleted else "output", type="Bundle" if deleted else resource_type,
                count=self._written - before, last=self._last,
            ))  # fmt: skip
            left -= size

    def _finished(self, file: BulkFile) -> None:
        with self._database.unit_of_work() as uow:
            if bulk.get(uow, self._tenant, self._name, lock=True) is None:
                raise Cancelled
            bulk.add_file(uow, self._tenant, self._name, file)
            self._progress(uow)

    def _lines(self, resource_type: str, size: int) -> Iterator[bytes]:
        """The next resources of a type, a line each."""
        left = size
        while left > 0:
            with self._database.unit_of_work() as uow:
                self._progress(uow)
                found = bulk.bodies(uow, self._tenant, self._name, resource_type, self._last, min(_PAGE, left))
            if not found:
                return
            yield b"".join(self._line(body) for _, body in found)
            self._last = found[-1][0]
            self._written += len(found)
            left -= len(found)

    def _line(self, body: bytes) -> bytes:
        elements = self._selection.elements
        if not elements:
            return body + b"\n"
        resource = json_format.parse(body)
        return json_format.write(_part(self._repository, resource, elements)) + b"\n"

    def _deletions(self, resource_type: str, size: int) -> Iterator[bytes]:
        """Transactions that would delete what was deleted, a line each."""
        left = size
        while left > 0:
            with self._database.unit_of_work() as uow:
                self._progress(uow)
                found = bulk.gone(uow, self._tenant, self._name, resource_type, self._last, min(_PAGE, left))
            entries = [{"request": {"method": "DELETE", "url": f"{resource_type}/{id}"}} for id in found]
            bundle = {"resourceType": "Bundle", "id": instants.new_id(), "type": "transaction", "entry": entries}
            yield json_format.write(bundle) + b"\n"
            self._last = found[-1]
            self._written += len(found)
            left -= len(found)

    def _progress(self, uow: UnitOfWork) -> None:
        text = f"{self._written} of {self._all} resources"
        if not bulk.progress(uow, self._tenant, self._name, text):
            raise Cancelled


def _part(repository: Repository, resource: dict[str, Any], elements: tuple[str, ...]) -> dict[str, Any]:
    """The elements of _elements that are of this type, or of any."""
    kind = resource["resourceType"]
    wanted = tuple(name for name in elements if "." not in name or name.partition(".")[0] == kind)
    return subset(repository.definitions, resource, elements=wanted) if wanted else resource
