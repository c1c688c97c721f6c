"""Which studies of a peer are chosen as priors."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from server.errors import BadRequest, Forbidden
from server.imaging.dataset import Attributes
from server.outbound.dimse.entity import Entity
from server.security.access import Access, system
from server.settings import Peer, Priors
from server.store.database import Database
from server.store.fetches import Subject
from server.workflow.fetch import Asked, Fetcher
from server.workflow.peer_archive import PeerArchive
from server.workflow.priors import BodyParts, Wish, choose

WHO = Subject(patient_id="P1", issuer="HOSP", birth_date="19700102", sex="F", study_date="20240131")
VRS = {
    "0020000D": "UI", "00080020": "DA", "00080061": "CS", "00081030": "LO", "00100020": "LO", "00100021": "LO",
    "00100030": "DA", "00100040": "CS", "00201208": "IS",
}  # fmt: skip


def answer(study: str = "1.1", **values: Any) -> Attributes:
    """A study as a peer tells of it."""
    known = {
        "study": "0020000D", "date": "00080020", "modalities": "00080061", "description": "00081030",
        "patient": "00100020", "issuer": "00100021", "born": "00100030", "sex": "00100040", "instances": "00201208",
    }  # fmt: skip
    given = {
        "study": study, "date": "20230101", "modalities": ["CT"], "patient": "P1", "issuer": "HOSP", "instances": 10,
    } | values  # fmt: skip
    return {
        known[name]: {"vr": VRS[known[name]], "Value": value if isinstance(value, list) else [value]}
        for name, value in given.items()
        if value is not None
    }


def chosen(
    *answers: Attributes,
    wish: Wish | None = None,
    here: Mapping[str, int] | None = None,
    body_parts: BodyParts = lambda _: (),
) -> list[str]:
    found = choose(answers, WHO, wish or Wish(number=10), here=here or {}, own="1.9", body_parts=body_parts)
    assert all(bool(one.why) != one.chosen for one in found)
    return [one.study for one in found if one.chosen]


def test_the_newest_first_and_no_more_than_wanted() -> None:
    answers = [answer(f"1.{year}", date=f"20{year}0101") for year in (18, 23, 20, 21)]
    assert chosen(*answers, wish=Wish(number=2)) == ["1.23", "1.21"]
    assert chosen(*answers, wish=Wish(number=2), here={"1.23": 10}) == ["1.21"]
    assert chosen(*answers, wish=Wish(number=1), here={"1.23": 9}) == ["1.23"]


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        ({}, True),
        ({"patient": "P2"}, False),
        ({"issuer": "OTHER"}, False),
        ({"issuer": None}, False),
        ({"issuer": None, "born": "19700102"}, True),
        ({"born": "19700103"}, False),
        ({"sex": "M"}, False),
        ({"sex": "F"}, True),
        ({"study": "1.9"}, False),
        ({"study": None}, False),
        ({"date": "20240201"}, False),
        ({"date": "20240131"}, True),
        ({"date": None}, True),
    ],
)
def test_only_the_same_patient_and_earlier(values: dict[str, Any], taken: bool) -> None:
    assert bool(chosen(answer(**values))) == taken


@pytest.mark.parametrize(
    ("wish", "taken"),
    [
        (Wish(modalities=("CT", "MR")), True),
        (Wish(modalities=("MR",)), False),
        (Wish(description="*THORAX*"), True),
        (Wish(description="*abdomen*"), False),
        (Wish(days=400), True),
        (Wish(days=300), False),
        (Wish(body_parts=("chest",)), True),
        (Wish(body_parts=("HEAD",)), False),
    ],
)
def test_only_the_kind_that_is_wanted(wish: Wish, taken: bool) -> None:
    told = answer(description="CT Thörax")
    assert bool(chosen(told, wish=wish, body_parts=lambda _: ["CHEST"])) == taken


def test_body_parts_are_asked_only_until_there_are_enough() -> None:
    asked: list[str] = []

    def body_parts(study: str) -> list[str]:
        asked.append(study)
        return ["CHEST"]

    answers = [answer(f"1.{year}", date=f"20{year}0101") for year in (18, 23, 20)]
    assert chosen(*answers, wish=Wish(body_parts=("CHEST",)), body_parts=body_parts) == ["1.23"]
    assert asked == ["1.23"]


class Answers(PeerArchive):
    """A peer that knows the same Patient ID from two issuers."""

    def studies(self, peer: Peer, keys: Mapping[str, str], wanted: Sequence[str]) -> list[Attributes]:
        assert peer.name == "archive" and keys == {"PatientID": "P1"} and "IssuerOfPatientID" in wanted
        return [answer("1.1"), answer("1.2", issuer="OTHER")]


def test_a_patient_id_of_two_issuers_is_not_taken_for_one_patient(database: Database) -> None:
    archive = Answers(entity=Entity(title="HUTONG"), ingest=None)  # type: ignore[arg-type]
    peer = Peer(name="archive", query=True)
    fetcher = Fetcher(database=database, archive=archive, peers=(peer,))
    with pytest.raises(BadRequest, match="2 issuers"):
        fetcher.request(system(), "archive", Asked(patient_id="P1"))
    found = fetcher.request(system(), "archive", Asked(patient_id="P1", issuer="OTHER"))
    assert [one.study for one in found if one.chosen] == ["1.2"]
    with pytest.raises(BadRequest, match="study or a patient"):
        fetcher.request(system(), "archive", Asked())
    with pytest.raises(Forbidden):
        fetcher.request(Access(who="reader"), "archive", Asked(study="1.2"))


@pytest.mark.parametrize(
    "rule", [Priors(name="x", peer="nobody"), Priors(name="x"), Priors(name="x", peer="p", match={"Modalty": "CT"})]
)
def test_a_rule_that_could_never_fit_is_refused_at_the_start(database: Database, rule: Priors) -> None:
    archive = Answers(entity=Entity(title="HUTONG"), ingest=None)  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="'x'"):
        Fetcher(database=database, archive=archive, peers=(Peer(name="p"),), rules=(rule,))
