"""Whatever bytes come as an identifier or attribute list, every service answers once with a final status."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from pydicom import Dataset
from pynetdicom.dsutils import encode

from server.app.dimse import offers
from server.app.parts import compose
from server.dimse.service import Offer, Request
from server.imaging.ingest import Received
from server.security.access import system
from server.settings import Settings
from tests.dimse.association import EXPLICIT, IMPLICIT, Association, keys, request
from tests.dimse.test_mpps import begun, ended

Make = Callable[..., bytes]
PENDING = (0xFF00, 0xFF01)
ROUNDS = 60


@pytest.fixture
def served(settings: Settings, database_url: str, make_instance: Make) -> Iterator[tuple[Offer, ...]]:
    parts = compose(replace(settings, database_url=database_url))
    assert not parts.ingest.receive(system(), [Received(chunks=[make_instance(1)])]).refused
    yield offers(parts)
    parts.pool.close()
    parts.database.close()


def seeds() -> list[Dataset]:
    item = keys(ReferencedSOPClassUID="1.2.3", ReferencedSOPInstanceUID="1.2.3.1.1")
    return [
        keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.3", PatientName="Hu*", StudyDate="20240101-"),
        keys(QueryRetrieveLevel="IMAGE", SOPInstanceUID="1.2.3.1.1", SpecificCharacterSet="GB18030"),
        keys(ScheduledProcedureStepSequence=[keys(Modality="CT", ScheduledProcedureStepStartDate="20261123")]),
        keys(TransactionUID="1.2.9", ReferencedSOPSequence=[item]),
        begun(),
        ended("COMPLETED", "1.2.3.1.1"),
    ]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One to four bytes changed, a piece cut out, doubled or put in, or the end cut off."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(out) or 1)
        kind = chance.randrange(5)
        if kind == 0:
            out[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del out[at : at + chance.randint(1, 12)]
        elif kind == 2:
            out[at:at] = out[at : at + chance.randint(1, 40)]
        elif kind == 3:
            out[at:at] = chance.randbytes(chance.randint(1, 8))
        else:
            del out[at:]
    return bytes(out)


def test_every_service_answers_whatever_comes(served: tuple[Offer, ...]) -> None:
    chance = random.Random(20261123)
    for offer in served:
        for seed in seeds():
            for syntax in (EXPLICIT, IMPLICIT):
                whole = encode(seed, syntax == IMPLICIT, True) or b""
                for round in range(ROUNDS):
                    data = mutated(whole, chance) if round else whole
                    for command in offer.commands:
                        check(offer, message(offer, command, data, syntax))


def message(offer: Offer, command: int, data: bytes, syntax: str) -> Request:
    more = {"CommandField": command, "MoveDestination": "NOBODY", "ActionTypeID": 1, "EventTypeID": 1}
    instance = {"RequestedSOPInstanceUID": "1.2.840.10008.1.20.1.1", "AffectedSOPInstanceUID": f"1.2.5.{len(data)}"}
    return request(offer.abstract_syntaxes[0], data, syntax=syntax, **more, **instance)


def check(offer: Offer, asked: Request) -> None:
    statuses = [response.status for response in offer.serve(Association(), asked)]
    assert statuses and statuses[-1] not in PENDING, (offer.name, asked.data)
    assert all(status in PENDING for status in statuses[:-1])
