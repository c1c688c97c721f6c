"""What the standard says that operands mean: examples from https://hl7.org/fhir/R4/search.html."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from server.errors import BadRequest, TooLarge, UnknownParameter
from server.fhir.definitions import load
from server.search.find import Search
from server.search.numbers import number

SEARCH = Search(load(), "http://here/fhir")
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o1",
    "meta": {"lastUpdated": "2024-05-01T10:00:00.000Z", "tag": [{"system": "urn:t", "code": "ai"}]},
    "status": "final",
    "identifier": [{"type": {"coding": [{"system": "urn:kind", "code": "MR"}]}, "system": "urn:i", "value": "77"}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9", "display": "Blood pressure"}], "text": "BP"},
    "subject": {"reference": "Patient/p1", "identifier": {"system": "urn:mrn", "value": "5"}},
    "effectivePeriod": {"start": "2024-02-28T23:00:00Z", "end": "2024-03-01"},
    "component": [
        {
            "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
            "valueQuantity": {"value": Decimal("107"), "system": "http://unitsofmeasure.org", "code": "mm[Hg]"},
        },
        {
            "code": {"coding": [{"system": "http://loinc.org", "code": "8462-4"}]},
            "valueQuantity": {"value": Decimal("60.5"), "system": "http://unitsofmeasure.org", "code": "mm[Hg]"},
        },
    ],
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=final", True),
        ("status:not=final", False),
        ("status=preliminary,final", True),
        ("status=http://hl7.org/fhir/observation-status|final", True),
        ("status=http://hl7.org/fhir/other|final", False),
        ("code=85354-9", True),
        ("code=http://loinc.org|85354-9", True),
        ("code=http://snomed.info/sct|85354-9", False),
        ("code=|85354-9", False),
        ("code=http://loinc.org|", True),
        ("code:text=blood", True),
        ("code:text=pressure", False),
        ("identifier:of-type=urn:kind|MR|77", True),
        ("identifier:of-type=urn:kind|MR|78", False),
        ("subject=p1", True),
        ("subject=Patient/p1", True),
        ("subject=http://here/fhir/Patient/p1", True),
        ("subject=Group/p1", False),
        ("subject:Patient=p1", True),
        ("subject:Group=p1", False),
        ("subject:identifier=urn:mrn|5", True),
        ("subject:missing=false", True),
        ("encounter:missing=true", True),
        ("patient=p1", True),
        ("date=2024", True),
        ("date=2024-02", False),
        ("date=ge2024-02-29", True),
        ("date=gt2024-03-01", False),
        ("date=lt2024-02-29", True),
        ("date=sa2024-02-28", False),
        ("date=sa2024-02-27", True),
        ("date=eb2024-03-02", True),
        ("date=ne2024", False),
        ("component-value-quantity=60.5", True),
        ("component-value-quantity=60", False),
        ("component-value-quantity=107|http://unitsofmeasure.org|mm[Hg]", True),
        ("component-value-quantity=lt61||mm[Hg]", True),
        ("component-value-quantity=14265.454|http://unitsofmeasure.org|Pa", True),
        ("component-code-value-quantity=8480-6$gt100", True),
        ("component-code-value-quantity=8462-4$gt100", False),
        ("combo-code-value-quantity=http://loinc.org|8462-4$60.5||mm[Hg]", True),
        ("_tag=urn:t|ai", True),
        ("_id=o1,o2", True),
        ("_id:not=o1", False),
        ("_lastUpdated=2024-05", True),
        ("_lastUpdated=gt2024-05-01T10:00:00Z", False),
        ("_sort=-date", True),
    ],
)
def test_in_memory(query: str, expected: bool) -> None:
    name, _, value = query.partition("=")
    assert SEARCH.matches(OBSERVATION, "Observation", [(name, value)]) is expected


def test_chain_in_memory_follows_references() -> None:
    patient = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Smith"}]}
    chained = [("subject:Patient.family", "smi")]
    assert SEARCH.matches(OBSERVATION, "Observation", chained, resolve={"Patient/p1": patient}.get)
    assert not SEARCH.matches(OBSERVATION, "Observation", chained, resolve=lambda _: None)
    with pytest.raises(BadRequest):
        SEARCH.matches(OBSERVATION, "Observation", chained)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("cod", "x", UnknownParameter),
        ("code:exact", "x", UnknownParameter),
        ("date", "yesterday", BadRequest),
        ("date:exact", "2024", UnknownParameter),
        ("value-quantity", "5|6", BadRequest),
        ("component-code-value-quantity", "8480-6", BadRequest),
        ("status.name", "x", BadRequest),
        ("subject.nothing", "x", UnknownParameter),
        ("_has:Observation:status:code", "x", BadRequest),
        ("_has:Nothing:patient:code", "x", BadRequest),
        ("_include", "Observation:status", BadRequest),
        ("_sort", "nothing", UnknownParameter),
        ("_count", "-1", BadRequest),
        ("_total", "some", BadRequest),
        ("subject:identifier", "|", BadRequest),
        ("status", ",".join(["x"] * 1001), TooLarge),
        (".".join(["based-on:ServiceRequest"] * 20), "x", TooLarge),
        ("focus.focus.focus.focus.focus.status", "x", TooLarge),
    ],
)
def test_refusals_name_the_parameter(name: str, value: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        SEARCH.read("Observation", [(name, value)], now=datetime(2024, 1, 1, tzinfo=UTC))
    assert caught.value.issues[0].expression  # type: ignore[attr-defined]


def test_every_standard_parameter_can_be_read_and_has_a_number_of_its_own() -> None:
    values = {"date": "2024", "number": "1", "quantity": "1", "special": "1|1|1|km"}
    definitions, numbers = load(), set()
    total = 0
    for name in definitions.resource_types:
        for code, parameter in definitions.search_parameters(name).items():
            numbers.add(number(name, code))
            total += 1
            if code in ("_text", "_content", "_filter", "_query") or not parameter.expression:
                continue
            kinds = [definitions.search_parameter_types[url] for url, _ in parameter.components] or [parameter.type]
            value = "$".join(values.get(kind, "x") for kind in kinds)
            assert SEARCH.read(name, [(code, value)]).criteria, (name, code)
    assert len(numbers) == total


def test_every_standard_parameter_indexes_the_examples_without_error() -> None:
    """Only that rows come out and are of the right width; their meaning is tested above."""
    from server.store.tables.resources import INDEX_TABLES

    for row in SEARCH.indexer.rows(OBSERVATION):
        assert len(row.values) == len(INDEX_TABLES[row.kind].columns) - 4
