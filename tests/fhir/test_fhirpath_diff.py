"""What difference() says, patched() does: over changes of every example resource here, and of made-up Patients."""

import json
import random
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.fhir.definitions import load
from server.fhir.fhirpath_diff import difference
from server.fhir.fhirpath_patch import patched
from server.fhir.json_format import write_sorted
from server.fhir.validate import validate
from tests.fhir.test_fhirpath_patch import PATIENT

R4 = load()


def check(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    found = difference(R4, before, after)
    assert write_sorted(patched(R4, before, found)) == write_sorted(after), found
    assert list(validate(R4, found)) == []
    return found


def operations(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of each operation by name; of a value the value itself."""
    listed = check(before, after).get("parameter", [])
    return [
        {part["name"]: next(v for name, v in part.items() if name != "name") for part in operation["part"]}
        for operation in listed
    ]


def test_nothing() -> None:
    assert difference(R4, PATIENT, deepcopy(PATIENT)) == {"resourceType": "Parameters"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gender": "male"}, [{"type": "add", "path": "Patient", "name": "gender", "value": "male"}]),
        ({"deceasedBoolean": None}, [{"type": "delete", "path": "Patient.deceased"}]),
        (
            {"deceasedBoolean": None, "deceasedDateTime": "2024"},
            [{"type": "replace", "path": "Patient.deceased", "value": "2024"}],
        ),
        (
            {"contact": [{"gender": "male"}, {"gender": "female", "name": {"text": "C"}}]},
            [{"type": "replace", "path": "Patient.contact[1].name", "value": {"text": "C"}}],
        ),
        (
            {"contact": [{"gender": "other"}, {"gender": "male"}, {"gender": "female", "name": {"text": "B"}}]},
            [{
                "type": "insert", "path": "Patient.contact", "index": 0,
                "value": [{"name": "gender", "valueCode": "other"}],
            }],
        ),
        (
            {"contact": [{"gender": "female", "name": {"text": "B"}}]},
            [{"type": "delete", "path": "Patient.contact[0]"}],
        ),
        ({"contained": None, "managingOrganization": None}, [
            {"type": "delete", "path": "Patient.contained[0]"},
            {"type": "delete", "path": "Patient.managingOrganization"},
        ]),
        ({"multipleBirthInteger": 3}, [{"type": "replace", "path": "Patient.multipleBirth", "value": 3}]),
    ],
)  # fmt: skip
def test_what_is_said(change: dict[str, Any], said: list[dict[str, Any]]) -> None:
    after = {name: value for name, value in {**deepcopy(PATIENT), **change}.items() if value is not None}
    assert operations(PATIENT, after) == said


def test_narratives_words_of_fhirpath_and_decimals() -> None:
    div = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
    text = [{"status": "generated", "div": div.format(word)} for word in "ab"]
    before = {"resourceType": "Patient", "id": "p", "text": text[0]}
    (said,) = operations(before, {**before, "text": text[1]})
    assert said["path"] == "Patient.text.`div`"
    check({"resourceType": "Patient", "id": "p", "active": True}, {**before, "active": True})
    quantity = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}}
    assert len(operations(
        {**quantity, "valueQuantity": {"value": Decimal("1.1"), "unit": "kg"}},
        {**quantity, "valueQuantity": {"value": Decimal("1.10"), "unit": "kg"}},
    )) == 1  # fmt: skip


def _examples() -> list[dict[str, Any]]:
    folder = Path(__file__).parent.parent.parent / "fhir_profiles"
    found = [json.loads(path.read_text("utf-8"), parse_float=Decimal) for path in sorted(folder.glob("*/*-*.json"))]
    # R5's SubscriptionTopic is no type of R4.
    return [one for one in found if R4.is_resource(one.get("resourceType", ""))]


def _mangled(value: Any, chance: random.Random) -> Any:
    """The same with members and items gone, doubled and exchanged."""
    if isinstance(value, dict):
        kept = {
            name: inner if name == "resourceType" else _mangled(inner, chance)
            for name, inner in value.items()
            if name in ("resourceType", "id", "url", "status") or chance.random() > 0.1
        }
        return kept or value
    if isinstance(value, list):
        items = [_mangled(item, chance) for item in value if chance.random() > 0.15] or value
        if chance.random() < 0.2:
            items = [*items, deepcopy(chance.choice(value))]
        return chance.sample(items, len(items)) if chance.random() < 0.2 else items
    if isinstance(value, str) and chance.random() < 0.1:
        return value + "x"
    return value


@pytest.mark.parametrize("example", _examples(), ids=lambda one: f"{one['resourceType']}-{one['id']}")
def test_any_change_is_said(example: dict[str, Any]) -> None:
    chance = random.Random(7)
    for _ in range(10):
        after = {**_mangled(deepcopy(example), chance), "id": example["id"]}
        found = difference(R4, example, after)
        if len(found.get("parameter", ())) <= 1000:
            assert write_sorted(patched(R4, example, found)) == write_sorted(after)


_PRIMITIVE = st.sampled_from(["a", "b", "c", "王"])
_NAMES = st.lists(
    st.fixed_dictionaries(
        {"use": st.sampled_from(["usual", "old"])},
        optional={
            "family": _PRIMITIVE,
            "_family": st.fixed_dictionaries({"id": _PRIMITIVE}),
            "given": st.lists(_PRIMITIVE, min_size=1, max_size=4),
            "period": st.fixed_dictionaries({"start": st.sampled_from(["2020", "2021"])}),
            "extension": st.lists(
                st.fixed_dictionaries({"url": _PRIMITIVE, "valueString": _PRIMITIVE}), min_size=1, max_size=3
            ),
        },
    ),
    min_size=1,
    max_size=4,
)
_PATIENTS = st.fixed_dictionaries(
    {"resourceType": st.just("Patient"), "id": st.just("p")},
    optional={
        "name": _NAMES,
        "contact": st.lists(
            st.fixed_dictionaries({"gender": _PRIMITIVE, "name": _NAMES.map(lambda n: n[0])}), min_size=1
        ),
        "deceasedBoolean": st.booleans(),
        "active": st.booleans(),
        "contained": st.lists(
            st.fixed_dictionaries({"resourceType": st.just("Basic"), "id": _PRIMITIVE}), min_size=1, max_size=2
        ),
    },
)


@given(_PATIENTS, _PATIENTS)
def test_one_patient_becomes_another(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert write_sorted(patched(R4, before, difference(R4, before, after))) == write_sorted(after)
