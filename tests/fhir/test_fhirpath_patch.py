"""FHIRPath Patch, by the suite that HL7 keeps and by what it leaves out."""

import json
from collections.abc import Iterator
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import BadRequest, HutongError, TooLarge, Unprocessable
from server.fhir.definitions import load
from server.fhir.fhirpath import compile_expression
from server.fhir.fhirpath_patch import MOST_OPERATIONS, patched
from server.fhir.patch_places import Places
from tests.fhir.xml_case import resource as from_xml

INPUTS = Path(__file__).parent / "fhirpath" / "inputs"

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Ward"}],
    "name": [{"family": "Hu", "given": ["Tong", None, "Xiang"], "_given": [None, {"id": "masked"}, None]}],
    "contact": [{"gender": "male"}, {"gender": "female", "name": {"text": "B"}}],
    "deceasedBoolean": False,
    "birthDate": "1970-01-02",
    "_birthDate": {"id": "b"},
    "managingOrganization": {"reference": "#o"},
    "multipleBirthInteger": 2,
}


def part(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {"name": name, **value}
    return {"name": name, "valueInteger" if isinstance(value, int) else "valueString": value}


def parameters(*operations: dict[str, Any]) -> dict[str, Any]:
    listed = [{"name": "operation", "part": [part(*each) for each in one.items()]} for one in operations]
    return {"resourceType": "Parameters", "parameter": listed}


def after(*operations: dict[str, Any], of: dict[str, Any] = PATIENT) -> dict[str, Any]:
    before = deepcopy(of)
    result = patched(load(), of, parameters(*operations))
    assert of == before, "the resource that was given must stay as it is"
    return result


def changed(**values: Any) -> dict[str, Any]:
    """The patient with other properties; ``...`` leaves one out."""
    return {name: value for name, value in {**PATIENT, **values}.items() if value is not ...}


@pytest.mark.data
def test_hl7_suite(shared: Path) -> None:
    suite = ElementTree.parse(shared / "vectors" / "r4" / "patch" / "fhir-patch-tests.xml")
    cases = list(suite.getroot().iter("case"))
    assert len(cases) == 33
    for case in cases:
        before, diff = (from_xml(case.find(name)[0]) for name in ("input", "diff"))  # type: ignore[index]
        output = case.find("output")
        if output is None:
            with pytest.raises(Unprocessable):
                patched(load(), before, diff)
        else:
            assert patched(load(), before, diff) == from_xml(output[0]), case.get("name")


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"type": "add", "path": "Patient", "name": "gender", "value": {"valueCode": "male"}}, {"gender": "male"}),
        (
            {"type": "add", "path": "Patient.name[0]", "name": "given", "value": "Li"},
            {"name": [{**PATIENT["name"][0], "given": ["Tong", None, "Xiang", "Li"],
                       "_given": [None, {"id": "masked"}, None, None]}]},
        ),
        (
            {"type": "insert", "path": "Patient.name.first().given", "index": 1, "value": "Li"},
            {"name": [{**PATIENT["name"][0], "given": ["Tong", "Li", None, "Xiang"],
                       "_given": [None, None, {"id": "masked"}, None]}]},
        ),
        (
            {"type": "move", "path": "Patient.name.given", "source": 1, "destination": 2},
            {"name": [{**PATIENT["name"][0], "given": ["Tong", "Xiang", None],
                       "_given": [None, None, {"id": "masked"}]}]},
        ),
        (
            {"type": "delete", "path": "Patient.name.given[1]"},
            {"name": [{"family": "Hu", "given": ["Tong", "Xiang"]}]},
        ),
        (
            {"type": "replace", "path": "Patient.name.given.where($this = 'Xiang')", "value": "Yun"},
            {"name": [{**PATIENT["name"][0], "given": ["Tong", None, "Yun"]}]},
        ),
        ({"type": "replace", "path": "Patient.birthDate", "value": {"valueDate": "1971"}},
         {"birthDate": "1971", "_birthDate": ...}),
        ({"type": "replace", "path": "Patient.birthDate", "value": {"valueDate": "1971", "_valueDate": {"id": "c"}}},
         {"birthDate": "1971", "_birthDate": {"id": "c"}}),
        ({"type": "delete", "path": "birthDate"}, {"birthDate": ..., "_birthDate": ...}),
        # The type of a choice may change with the value.
        ({"type": "replace", "path": "Patient.deceased", "value": {"valueDateTime": "2020"}},
         {"deceasedBoolean": ..., "deceasedDateTime": "2020"}),
        ({"type": "delete", "path": "Patient.multipleBirth as integer"}, {"multipleBirthInteger": ...}),
        ({"type": "delete", "path": "Patient.contact.where(gender = 'female')"}, {"contact": [{"gender": "male"}]}),
        # What is left empty goes too.
        ({"type": "delete", "path": "Patient.contact[0].gender"}, {"contact": [PATIENT["contact"][1]]}),
        ({"type": "delete", "path": "Patient.contact[1].name.text"},
         {"contact": [{"gender": "male"}, {"gender": "female"}]}),
        # To delete what is not there is no error.
        ({"type": "delete", "path": "Patient.photo"}, {}),
        ({"type": "replace", "path": "Patient.managingOrganization.resolve().name", "value": "Hall"},
         {"contained": [{"resourceType": "Organization", "id": "o", "name": "Hall"}]}),
        ({"type": "insert", "path": "Patient.photo", "index": 0, "value": {"valueAttachment": {"title": "x"}}},
         {"photo": [{"title": "x"}]}),
        ({"type": "add", "path": "Patient.birthDate", "name": "extension",
          "value": {"valueExtension": {"url": "http://a", "valueBoolean": True}}},
         {"_birthDate": {"id": "b", "extension": [{"url": "http://a", "valueBoolean": True}]}}),
        ({"type": "add", "path": "Patient.deceased", "name": "extension",
          "value": {"valueExtension": {"url": "http://a", "valueBoolean": True}}},
         {"_deceasedBoolean": {"extension": [{"url": "http://a", "valueBoolean": True}]}}),
        ({"type": "add", "path": "Patient", "name": "contained",
          "value": {"resource": {"resourceType": "Device", "id": "d"}}},
         {"contained": [*PATIENT["contained"], {"resourceType": "Device", "id": "d"}]}),
        ({"type": "add", "path": "Patient", "name": "communication", "value": {"part": [
            {"name": "language", "valueCodeableConcept": {"text": "Mandarin"}},
            {"name": "preferred", "valueBoolean": True}]}},
         {"communication": [{"language": {"text": "Mandarin"}, "preferred": True}]}),
    ],
)  # fmt: skip
def test_one_operation(operation: dict[str, Any], expected: dict[str, Any]) -> None:
    assert after(operation) == changed(**expected)


def test_choices_decimals_and_parts_within_parts() -> None:
    observation: dict[str, Any] = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    quantity = {"valueQuantity": {"value": Decimal("8.00"), "unit": "mm"}}
    ranges = {"name": "referenceRange", "part": [{"name": "text", "valueString": "small"}]}
    code = {"name": "code", "valueCodeableConcept": {"text": "length"}}
    result = after(
        {"type": "add", "path": "Observation", "name": "value", "value": quantity},
        {
            "type": "add",
            "path": "Observation",
            "name": "component",
            "value": {"part": [code, part("value", quantity), ranges]},
        },
        {"type": "replace", "path": "Observation.component.value.value", "value": {"valueDecimal": Decimal("1.10")}},
        of=observation,
    )
    assert result["valueQuantity"] == {"value": Decimal("8.00"), "unit": "mm"}
    assert result["component"] == [
        {
            "code": {"text": "length"},
            "valueQuantity": {"value": Decimal("1.10"), "unit": "mm"},
            "referenceRange": [{"text": "small"}],
        }
    ]
    assert str(result["component"][0]["valueQuantity"]["value"]) == "1.10"


@pytest.mark.parametrize(
    "operation",
    [
        {"type": "add", "path": "Patient.maritalStatus", "name": "text", "value": "x"},
        {"type": "add", "path": "Patient.contact", "name": "gender", "value": {"valueCode": "male"}},
        {"type": "add", "path": "Patient", "name": "birthDate", "value": {"valueDate": "1971"}},
        {"type": "add", "path": "Patient", "name": "deceased", "value": {"valueDateTime": "1971"}},
        {"type": "add", "path": "Patient", "name": "colour", "value": "x"},
        {"type": "add", "path": "Patient", "name": "gender", "value": {"valueHumanName": {"text": "x"}}},
        {"type": "add", "path": "Patient", "name": "contact", "value": {"valueHumanName": {"text": "x"}}},
        {"type": "add", "path": "Patient", "name": "gender", "value": {"part": [{"name": "x", "valueString": "x"}]}},
        {"type": "insert", "path": "Patient.contact", "index": 3, "value": {"part": []}},
        {"type": "insert", "path": "Patient.birthDate", "index": 0, "value": {"valueDate": "1971"}},
        {"type": "insert", "path": "Patient.contact[0]", "index": 0, "value": {"part": []}},
        {"type": "replace", "path": "Patient.photo", "value": {"valueAttachment": {"title": "x"}}},
        {"type": "replace", "path": "Patient.contact.gender", "value": {"valueCode": "male"}},
        {"type": "replace", "path": "Patient", "value": {"resource": {"resourceType": "Patient"}}},
        {"type": "replace", "path": "Patient.birthDate.toString()", "value": "x"},
        {"type": "delete", "path": "Patient"},
        {"type": "delete", "path": "Patient.contact"},
        {"type": "move", "path": "Patient.contact", "source": 2, "destination": 0},
        {"type": "move", "path": "Patient.contact", "source": 0, "destination": 2},
        {"type": "move", "path": "Patient.photo", "source": 0, "destination": 0},
    ],
)
def test_what_the_resource_does_not_allow(operation: dict[str, Any]) -> None:
    with pytest.raises(Unprocessable) as error:
        after({"type": "delete", "path": "Patient.photo"}, operation)
    assert error.value.issues[0].expression == "Parameters.parameter[1]"
    assert "Hu" not in error.value.details


@pytest.mark.parametrize(
    "operation",
    [
        {},
        {"type": "test", "path": "Patient"},
        {"type": "add"},
        {"type": "add", "path": "Patient.("},
        {"type": "add", "path": "Observation.status", "name": "x", "value": "x"},
        {"type": "delete", "path": "Patient.birthDat"},
        {"type": "add", "path": "Patient", "name": "gender"},
        {"type": "add", "path": "Patient", "name": "gender", "value": {"valueCode": "x", "valueString": "x"}},
        {"type": "insert", "path": "Patient.contact", "value": {"part": []}},
        {"type": "insert", "path": "Patient.contact", "index": -1, "value": {"part": []}},
        {"type": "move", "path": "Patient.contact", "source": "0", "destination": 0},
    ],
)
def test_what_is_no_patch(operation: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        after(operation)


def test_a_patch_is_parameters_with_so_many_operations() -> None:
    for wrong in (None, [], {"resourceType": "Patient"}, {"resourceType": "Parameters", "parameter": {}}):
        with pytest.raises(BadRequest):
            patched(load(), PATIENT, wrong)
    with pytest.raises(BadRequest):
        patched(load(), PATIENT, {"resourceType": "Parameters", "parameter": [{"name": "operations", "part": []}]})
    twice = [{"name": "type", "valueCode": "delete"}, {"name": "type", "valueCode": "delete"}]
    with pytest.raises(BadRequest):
        patched(load(), PATIENT, {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": twice}]})
    with pytest.raises(TooLarge):
        after(*[{"type": "delete", "path": "Patient.photo"}] * (MOST_OPERATIONS + 1))


def test_the_work_of_all_operations_together_is_bounded() -> None:
    contacts = [{"gender": "male"} for _ in range(60)]
    costly = "Patient.contact.where(%resource.contact.where(%resource.contact.exists(gender = 'x')).exists())"
    with pytest.raises(Unprocessable, match="too many items"):
        after(*[{"type": "delete", "path": costly}] * 8, of={"resourceType": "Patient", "contact": contacts})


def leaves(value: Any, path: str, kind: str) -> Iterator[tuple[str, Any, str, int | None]]:
    """FHIRPath of every element of a resource, with the JSON object, property and place that hold it."""
    for key, inner in value.items():
        found = load().properties(kind).get(key)
        if found is None:
            continue
        for index, item in enumerate(inner if isinstance(inner, list) else [inner]):
            at = index if isinstance(inner, list) else None
            here = f"{path}.`{found.element.name}`" + ("" if at is None else f"[{at}]")
            yield here, value, key, at
            if isinstance(item, dict):
                yield from leaves(item, here, item.get("resourceType", found.children))


@pytest.mark.parametrize("path", sorted(INPUTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_element_is_found_where_it_stands(path: Path) -> None:
    resource = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    places = Places(load(), resource)
    seen = 0
    for expression, container, key, index in leaves(resource, "$this", resource["resourceType"]):
        (element,) = places.find(compile_expression(expression))
        assert element.container is container and (element.key, element.index) == (key, index), expression
        seen += 1
    assert seen > 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PARTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["add", "insert", "delete", "replace", "move"]),
        "path": st.sampled_from(
            ["Patient", "Patient.name", "Patient.name.given", "Patient.name.given[1]", "Patient.deceased", "contact[1]",
             "Patient.birthDate", "Patient.contained[0]", "Patient.birthDate.id", "Patient.descendants()", "1"]
        ),
        "name": st.sampled_from(["given", "extension", "deceased", "contained", "name", "gender", "id", ""]),
        "index": st.integers(-1, 4),
        "source": st.integers(-1, 4),
        "destination": st.integers(-1, 4),
        "value": st.one_of(
            st.fixed_dictionaries({"valueString": JSON, "_valueString": JSON}),
            st.fixed_dictionaries({"part": st.lists(JSON, max_size=2)}),
            st.fixed_dictionaries({"resource": JSON}),
            st.sampled_from([{"valueCode": "x"}, {"valueBoolean": True}, {"valueExtension": {"url": "http://a"}}]),
        ),
    }
)  # fmt: skip


@given(st.lists(PARTS, max_size=3))
def test_any_patch_is_answered(operations: list[dict[str, Any]]) -> None:
    try:
        result = after(*operations)
    except HutongError as error:
        assert error.details
    else:
        assert result["resourceType"] == "Patient"


@given(JSON)
def test_any_value_as_a_patch_is_answered(value: Any) -> None:
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": value}, value]}
    with pytest.raises(HutongError):
        patched(load(), PATIENT, patch)
