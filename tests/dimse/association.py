"""A caller without a network, and requests as they come off one: what services are tested with by themselves."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pydicom
from pydicom import Dataset
from pynetdicom.dsutils import decode, encode

from server.dimse.service import Request, Response, Service
from server.errors import Unavailable
from server.security.access import Access, system

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


class Association:
    """An association whose peer takes what it is told to and keeps it."""

    def __init__(self, *, access: Access | None = None, takes: dict[str, tuple[str, ...]] | None = None) -> None:
        self.access = access or system()
        self.calling, self.called, self.address = "TESTER", "HUTONG", "127.0.0.1"
        self.accepts = takes or {}
        self.status = 0
        self.cancel_after: int | None = None
        self.open = True
        self.stored: list[tuple[str, str, str, bytes]] = []
        self.reports: list[tuple[str, str, int, Dataset]] = []

    def cancelled(self, message_id: int) -> bool:
        if self.cancel_after is None:
            return False
        self.cancel_after -= 1
        return self.cancel_after < 0

    def takes(self, sop_class: str) -> tuple[str, ...]:
        return self.accepts.get(sop_class, ())

    def store(self, sop_class: str, sop_instance: str, transfer_syntax: str, data: bytes) -> int:
        self.stored.append((sop_class, sop_instance, transfer_syntax, data))
        return self.status

    def report(self, abstract_syntax: str, sop_instance: str, event_type: int, dataset: Dataset) -> int:
        if not self.open:
            raise Unavailable("The association has ended.")
        self.reports.append((abstract_syntax, sop_instance, event_type, dataset))
        return 0

    def extended(self, abstract_syntax: str) -> bytes:
        return b""


def request(
    abstract_syntax: str, dataset: Dataset | bytes | None, *, syntax: str = EXPLICIT, **command: Any
) -> Request:
    """A request message; ``command`` are further elements of its command set."""
    asked = Dataset()
    asked.MessageID = 7
    for keyword, value in command.items():
        setattr(asked, keyword, value)
    data = encode(dataset, syntax == IMPLICIT, True) or b"" if isinstance(dataset, Dataset) else dataset or b""
    return Request(command=asked, abstract_syntax=abstract_syntax, transfer_syntax=syntax, context_id=1, data=data)


def answers(service: Service, caller: Association, asked: Request) -> list[Response]:
    return list(service(caller, asked))


def read(response: Response, syntax: str = EXPLICIT) -> Dataset:
    """The response's data set."""
    if isinstance(response.dataset, bytes):
        return decode(BytesIO(response.dataset), syntax == IMPLICIT, True)
    assert response.dataset is not None
    return response.dataset


def keys(**values: Any) -> Dataset:
    """An identifier; sequences are given as lists of data sets."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def files_of(association: Association) -> Iterator[Dataset]:
    for _sop_class, _uid, syntax, data in association.stored:
        yield pydicom.filereader.read_dataset(BytesIO(data), syntax == IMPLICIT, True)
