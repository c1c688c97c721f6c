"""The work of $import: each file is fetched, then written line by line, some lines in one transaction.

How far it is stands in the same transaction: a job that is taken up again goes on behind the last line it wrote.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.errors import BadRequest, HutongError
from server.fhir import json_format
from server.fhir.outcome import information, outcome
from server.operations.bulk import BulkRequests, access_of
from server.operations.import_ import FORMATS, URL_PLACE
from server.outbound.guard import Guard
from server.outbound.http import download
from server.repository import Repository, Transaction
from server.security.access import Access
from server.store import bulk
from server.store.bulk import BulkFile, BulkRequest

#: Lines in one transaction, and the bytes of one line.
_LINES = 200
_LONGEST = 16 << 20
_TIMEOUT = 60.0


class Cancelled(Exception):
    """The request is gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """One line of a file, and where the next one begins."""

    number: int
    data: bytes
    end: int


class Importer:
    """Carries out imports."""

    def __init__(self, repository: Repository, requests: BulkRequests, guard: Guard, lines: int = _LINES) -> None:
        """``guard`` says which addresses may be fetched from; ``lines`` go into one transaction."""
        self._repository = repository
        self._requests = requests
        self._guard = guard
        self._lines = lines

    def run(self, tenant: int, request: str) -> None:
        """The job: does what is left to do of a request."""
        with self._repository.database.reading() as uow:
            found = bulk.get(uow, tenant, request)
            files = {file.name: file for file in bulk.files(uow, tenant, request)}
        if found is None or found.state in ("done", "failed"):
            return
        try:
            for number, (kind, url) in enumerate(json_format.parse(found.asked)["inputs"], 1):
                self._input(
                    tenant,
                    found,
                    f"{number:04}",
                    BulkFile(name="", kind="input", type=kind, count=0, source=url),
                    files,
                )
            with self._repository.database.unit_of_work() as uow:
                bulk.end(uow, tenant, request, hours=self._requests.hours)
        except Cancelled:
            self._requests.files.remove(tenant, request)

    def failed(self, reason: str, arguments: Mapping[str, Any]) -> None:
        """Notes that it can't be done."""
        with self._repository.database.unit_of_work() as uow:
            bulk.end(uow, arguments["tenant"], arguments["request"], hours=self._requests.hours, reason=reason)

    def _input(
        self, tenant: int, request: BulkRequest, number: str, file: BulkFile, files: Mapping[str, BulkFile]
    ) -> None:
        """Fetches a file and writes what is in it, as far as that was not done before."""
        if f"outcome-{number}.ndjson" in files:
            return
        file = replace(file, name=f"input-{number}.ndjson")
        if file.name not in files:
            pieces = download(file.source, accept=FORMATS[0], timeout=_TIMEOUT, guard=self._guard, place=URL_PLACE)
            self._requests.files.write(tenant, request.request, file.name, pieces)
            errors = replace(file, name=f"error-{number}.ndjson", kind="started", type="OperationOutcome", last="0")
            with self._repository.database.unit_of_work() as uow:
                if bulk.get(uow, tenant, request.request, lock=True) is None:
                    raise Cancelled
                bulk.add_file(uow, tenant, request.request, replace(file, last="0"))
                bulk.add_file(uow, tenant, request.request, errors)
        _Writing(self._repository, self._requests, tenant, request, number, self._lines).run()


class _Writing:
    """One file's lines on their way into the store."""

    def __init__(
        self, repository: Repository, requests: BulkRequests, tenant: int, request: BulkRequest, number: str, lines: int
    ) -> None:
        self._repository = repository
        self._requests = requests
        self._tenant = tenant
        self._name = request.request
        self._number = number
        self._lines = lines
        self._access: Access = access_of(request, tenant)

    def run(self) -> None:
        """Writes what is left of the lines, then says what it came to."""
        with self._repository.database.reading() as uow:
            files = {file.name: file for file in bulk.files(uow, self._tenant, self._name)}
        file, errors = (files[f"{stem}-{self._number}.ndjson"] for stem in ("input", "error"))
        for batch in self._batches(file):
            try:
                file, errors = self._written(batch, file, errors)
            except HutongError:
                # One of them stands in the way of all: each for itself.
                for line in batch:
                    file, errors = self._written([line], file, errors, alone=True)
        self._told(file, errors)

    def _batches(self, file: BulkFile) -> Iterator[list[_Line]]:
        """The lines that were not written yet; blank ones count, so that numbers are those of the file."""
        number, end = file.count, int(file.last)
        batch: list[_Line] = []
        with self._requests.files.path(self._tenant, self._name, file.name).open("rb") as stream:
            stream.seek(end)
            while data := stream.readline(_LONGEST):
                number, end = number + 1, end + len(data)
                batch.append(_Line(number=number, data=data, end=end))
                if len(batch) == self._lines:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _written(
        self, batch: Sequence[_Line], file: BulkFile, errors: BulkFile, *, alone: bool = False
    ) -> tuple[BulkFile, BulkFile]:
        """Writes some lines and how far it is, in one transaction; what is refused goes into the file of errors."""
        refused: list[bytes] = []
        try:
            with self._repository.transaction(self._access) as transaction:
                for line in batch:
                    refused += self._line(transaction, line, file)
                found = self._noted(transaction, batch, refused, file, errors)
        except HutongError as error:
            if not alone:
                raise
            with self._repository.transaction(self._access) as transaction:
                return self._noted(transaction, batch, [_refusal(batch[0], error)], file, errors)
        return found

    def _line(self, transaction: Transaction, line: _Line, file: BulkFile) -> list[bytes]:
        """Writes one line; what is wrong with it, if it is."""
        if not line.data.strip():
            return []
        try:
            resource = json_format.parse(line.data)
            if resource.get("resourceType") != file.type:
                raise BadRequest(f"This is no {file.type}, as the input's type says.", expression="resourceType")
            if "id" in resource:
                transaction.update(resource)
            else:
                transaction.create(resource)
        except HutongError as error:
            return [_refusal(line, error)]
        return []

    def _noted(
        self,
        transaction: Transaction,
        batch: Sequence[_Line],
        refused: Sequence[bytes],
        file: BulkFile,
        errors: BulkFile,
    ) -> tuple[BulkFile, BulkFile]:
        last = batch[-1]
        length = int(errors.last)
        if refused:
            length = self._requests.files.append(self._tenant, self._name, errors.name, length, b"".join(refused))
        file = replace(file, count=last.number, last=str(last.end))
        errors = replace(errors, count=errors.count + len(refused), last=str(length))
        transaction.flush()
        for one in (file, errors):
            bulk.note_file(transaction.uow, self._tenant, self._name, one.name, count=one.count, last=one.last)
        if not bulk.progress(transaction.uow, self._tenant, self._name, f"{file.name}: {last.number} lines"):
            raise Cancelled
        return file, errors

    def _told(self, file: BulkFile, errors: BulkFile) -> None:
        """The file's outcome, and its errors if there are any."""
        name = f"outcome-{self._number}.ndjson"
        text = f"{file.count} lines were read, {errors.count} of them refused."
        self._requests.files.write(self._tenant, self._name, name, [json_format.write(information(text)) + b"\n"])
        done = BulkFile(name=name, kind="output", type="OperationOutcome", count=1, source=file.source)
        with self._repository.database.unit_of_work() as uow:
            if bulk.get(uow, self._tenant, self._name, lock=True) is None:
                raise Cancelled
            bulk.add_file(uow, self._tenant, self._name, done)
            if errors.count:
                bulk.finish_file(uow, self._tenant, self._name, errors.name, kind="error")


def _refusal(line: _Line, error: HutongError) -> bytes:
    """What is wrong with a line, with its number."""
    issues = [replace(issue, details=f"Line {line.number}: {issue.details}") for issue in error.issues]
    return json_format.write(outcome(issues)) + b"\n"
