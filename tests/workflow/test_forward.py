"""What the rules queue for whom."""

from collections.abc import Callable
from datetime import UTC
from typing import Any

import pytest

from server.errors import BadRequest
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest, Received
from server.security.access import Access
from server.settings import Forward, Peer, Settings
from server.store import forward as store
from server.store.database import Database
from server.store.packs import Packs
from server.workflow.forward import Forwarder, senders_of

Make = Callable[..., bytes]
PACS = Peer(name="pacs", ae_title="PACS")
ARCHIVE = Peer(name="archive", url="http://127.0.0.1:1")
SR = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33", "Modality": "SR"}


class Shop:
    """Instances in, and the queue that rules make of them."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.database = database
        self.ingest = Ingest(database, Packs(settings.blobs), GuardLimits(), UTC)

    def store(self, *files: bytes, who: str = "ae:CT1") -> None:
        access = Access(who=who, scopes=frozenset({"read", "write"}))
        assert not self.ingest.receive(access, [Received(chunks=[file]) for file in files]).refused

    def forwarder(self, *rules: Forward) -> Forwarder:
        return Forwarder(self.database, (PACS, ARCHIVE), rules)

    def queued(self) -> dict[str, int]:
        """Rule -> instances."""
        with self.database.reading() as uow:
            return {line.rule: line.instances for line in store.lines(uow, 1)}


@pytest.fixture
def shop(settings: Settings, database: Database) -> Shop:
    return Shop(settings, database)


def rule(peer: str = "pacs", name: str = "r", **values: Any) -> Forward:
    return Forward(name=name, peer=peer, **values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, 3),
        ({"match": {"Modality": "CT"}}, 2),
        ({"match": {"Modality": ["MR", "SR"]}}, 1),
        ({"match": {"00080060": "CT", "InstanceNumber": 2}}, 1),
        ({"match": {"StudyDescription": "*hest*", "StudyDate": "20240101-"}}, 3),
        ({"match": {"StudyDate": "20250101-"}}, 0),
        ({"match": {"PatientName": "hu^*"}}, 3),
        ({"match": {"RequestAttributesSequence.RequestedProcedureID": "P*"}}, 1),
        ({"unless": {"Modality": "SR"}}, 2),
        ({"what": "originals"}, 2),
        ({"what": "results"}, 1),
        ({"senders": ("ae:CT1",)}, 3),
        ({"senders": ("ae:CT2",)}, 0),
    ],
)
def test_a_rule_chooses_by_attributes_kind_and_sender(
    shop: Shop, make_instance: Make, values: dict[str, Any], expected: int
) -> None:
    from pydicom import Dataset

    asked = Dataset()
    asked.RequestedProcedureID = "P7"
    shop.store(
        make_instance(1),
        make_instance(2, RequestAttributesSequence=[asked]),
        make_instance(9, SeriesInstanceUID="1.2.3.9", **SR),
    )
    assert shop.forwarder(rule(**values)).quiet(1, "1.2.3") == expected
    assert shop.queued() == ({"r": expected} if expected else {})


def test_the_first_rule_that_fits_sends(shop: Shop, make_instance: Make) -> None:
    shop.store(make_instance(1), make_instance(2))
    rules = rule(name="first", match={"InstanceNumber": 1}, priority="high"), rule(name="rest")
    assert shop.forwarder(*rules).quiet(1, "1.2.3") == 2
    assert shop.queued() == {"first": 1, "rest": 1}
    assert shop.forwarder(*rules).quiet(1, "1.2.3") == 0


def test_what_came_from_a_peer_never_goes_back_and_what_was_fetched_stays(shop: Shop, make_instance: Make) -> None:
    shop.store(make_instance(1), who="ae:PACS")
    shop.store(make_instance(2), who="archive")
    shop.store(make_instance(3), who="peer:elsewhere")
    forwarder = shop.forwarder(rule(name="to-pacs"), rule("archive", name="to-archive"))
    assert forwarder.quiet(1, "1.2.3") == 2
    assert shop.queued() == {"to-pacs": 1, "to-archive": 1}
    assert shop.forwarder(rule(name="priors", senders=("peer:elsewhere",))).quiet(1, "1.2.3") == 1
    assert "peer:pacs" in senders_of(PACS)


def test_instances_are_queued_at_once_where_a_rule_says_so(shop: Shop, make_instance: Make) -> None:
    forwarder = shop.forwarder(
        rule(name="late", match={"InstanceNumber": 1}), rule(name="soon", when="instance", delay=60)
    )
    shop.store(make_instance(1), make_instance(2))
    assert forwarder.arrived() == 1
    assert shop.queued() == {"soon": 1}
    assert forwarder.arrived() == 0
    shop.store(make_instance(3))
    assert forwarder.arrived() == 1
    assert shop.queued() == {"soon": 2}
    assert forwarder.quiet(1, "1.2.3") == 1
    assert shop.queued() == {"soon": 2, "late": 1}
    with shop.database.reading() as uow:
        (line,) = [line for line in store.lines(uow, 1) if line.rule == "soon"]
        assert 50 < (line.next_try - line.queued).total_seconds() < 70


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"peer": "nobody"}, "no peer"),
        ({"match": {"Modalty": "CT"}}, "Modalty"),
        ({"match": {"ModalitiesInStudy": "CT"}}, "Modality"),
        ({"match": {"PixelData": "1"}}, "PixelData"),
        ({"match": {"StudyDate": "yesterday"}}, "StudyDate"),
    ],
)
def test_a_rule_that_could_never_fit_is_refused_at_the_start(shop: Shop, values: dict[str, Any], named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        shop.forwarder(rule(**values))


@pytest.mark.parametrize(
    ("window", "minute", "is_open"),
    [
        ("", 0, True),
        ("08:00-18:00", 8 * 60, True),
        ("08:00-18:00", 18 * 60, False),
        ("22:00-06:00", 23 * 60, True),
        ("22:00-06:00", 5 * 60 + 59, True),
        ("22:00-06:00", 12 * 60, False),
    ],
)
def test_hours(window: str, minute: int, is_open: bool) -> None:
    assert rule(window=window).is_open(minute) == is_open


@pytest.mark.parametrize(
    "values", [{"name": "results"}, {"what": "all"}, {"when": "never"}, {"priority": "1"}, {"window": "22-6"}]
)
def test_values_that_mean_nothing_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        rule(**values)
