"""FHIR XML: to and fro without loss, in the standard's order, and nothing that is not the text itself."""

from decimal import Decimal
from random import Random
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import BadRequest, NotAcceptable
from server.fhir import json_format
from server.fhir.definitions import Definitions, Property, load
from server.fhir.xml_format import parse, write

R4 = load()
DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p>a &amp; b\n <br/> <b title="&gt;">c</b></p></div>'
TEXT = ["a", "<&>\"'", " two\nlines\tand\r\n ", "中文 𝄞", ""]


def _primitive(kind: str, random: Random) -> Any:
    if kind == "xhtml":
        return DIV
    if kind == "boolean":
        return random.random() < 0.5
    if kind in ("integer", "positiveInt", "unsignedInt"):
        return random.randrange(1, 2**31)
    if kind == "decimal":
        return random.choice([Decimal("1.10"), Decimal("-0.000"), Decimal("1E+30"), Decimal("5.0e-7"), 12])
    return random.choice(TEXT)


def _content(definitions: Definitions, path: str, random: Random, depth: int) -> dict[str, Any]:
    """Some of the properties of a path, with values of their types."""
    found = definitions.properties(path)
    names = random.sample(sorted(found), min(len(found), 3 if depth else 8))
    made: dict[str, Any] = {}
    for name in names:
        made |= _property(definitions, name, found[name], random, depth)
    return made


def _property(definitions: Definitions, name: str, found: Property, random: Random, depth: int) -> dict[str, Any]:
    if depth > 3:
        return {}
    count = random.randrange(1, 4) if found.element.many else 1
    if found.type == "Resource":
        many = [_resource(definitions, random, depth + 1) for _ in range(count)]
        return {name: many if found.element.many else many[0]}
    definition = definitions.types.get(found.type)
    if definition is None or definition.kind != "primitive-type":
        many = [_content(definitions, found.children, random, depth + 1) for _ in range(count)]
        return {name: many if found.element.many else many[0]}
    values: list[Any] = [_primitive(found.type, random) for _ in range(count)]
    if found.element.path in ("Element.id", "Extension.url") or found.type == "xhtml":
        return {name: values[0]}
    more = [{"extension": [{"url": "urn:x", "valueCode": "y"}]} if random.random() < 0.3 else None for _ in values]
    values = [None if beside and random.random() < 0.5 else value for value, beside in zip(values, more, strict=True)]
    if not found.element.many:
        both = {name: values[0], "_" + name: more[0]}
        return {key: value for key, value in both.items() if value is not None}
    return {key: listed for key, listed in ((name, values), ("_" + name, more)) if any(v is not None for v in listed)}


def _resource(definitions: Definitions, random: Random, depth: int = 0) -> dict[str, Any]:
    kind = random.choice(definitions.resource_types)
    return {"resourceType": kind, **_content(definitions, kind, random, depth)}


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_resource_comes_back_digit_for_digit(random: Random) -> None:
    resource = _resource(R4, random)
    back = parse(R4, write(R4, resource))
    assert json_format.write_sorted(back) == json_format.write_sorted(resource)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet="<>/=\"'& abPatientid!?[]:xmlns", max_size=80).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(R4, b'<Patient xmlns="http://hl7.org/fhir">' + body + b"</Patien>")
    with pytest.raises(BadRequest):
        parse(R4, body)


def test_the_standards_form() -> None:
    patient = {
        "birthDate": "1970-03",
        "_birthDate": {"id": "b", "extension": [{"url": "urn:x", "valueDecimal": Decimal("1.10")}]},
        "name": [{"given": ["Ana", None], "_given": [None, {"extension": [{"url": "urn:y"}]}], "id": "n"}],
        "contained": [{"resourceType": "Organization", "id": "o"}],
        "text": {"div": DIV, "status": "generated"},
        "deceasedBoolean": False,
        "id": "1",
        "resourceType": "Patient",
    }
    xml = write(R4, patient).decode()
    assert xml == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Patient xmlns="http://hl7.org/fhir"><id value="1"></id>'
        f'<text><status value="generated"></status>{DIV}</text>'
        '<contained><Organization><id value="o"></id></Organization></contained>'
        '<name id="n"><given value="Ana"></given><given><extension url="urn:y"></extension></given></name>'
        '<birthDate value="1970-03" id="b"><extension url="urn:x"><valueDecimal value="1.10"></valueDecimal>'
        '</extension></birthDate><deceasedBoolean value="false"></deceasedBoolean></Patient>'
    )
    assert parse(R4, xml.encode()) == patient
    assert next(one.tag for one in ElementTree.fromstring(xml)) == "{http://hl7.org/fhir}id"


def test_what_others_may_send_besides() -> None:
    body = b"""<?xml version="1.0"?><!-- by hand --><f:Patient xmlns:f="http://hl7.org/fhir"
      xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://hl7.org/fhir fhir-all.xsd">
      <f:active value='true'/> <?x y?> <f:gender value="&#109;ale"/></f:Patient>"""
    assert parse(R4, body) == {"resourceType": "Patient", "active": True, "gender": "male"}


def test_a_value_of_the_wrong_form_is_left_to_validation() -> None:
    body = b'<Patient xmlns="http://hl7.org/fhir"><active value="maybe"/><multipleBirthInteger value="0x1"/></Patient>'
    assert parse(R4, body) == {"resourceType": "Patient", "active": "maybe", "multipleBirthInteger": "0x1"}


def test_named_entities_of_a_narrative_become_characters() -> None:
    text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">a&nbsp;b &lt; c</div>'}
    xml = write(R4, {"resourceType": "Patient", "text": text})
    assert parse(R4, xml)["text"]["div"] == '<div xmlns="http://www.w3.org/1999/xhtml">a&#160;b &lt; c</div>'


@pytest.mark.parametrize(
    "body",
    [
        '<!DOCTYPE Patient [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><Patient xmlns="http://hl7.org/fhir"/>',
        '<!DOCTYPE Patient SYSTEM "file:///etc/passwd"><Patient xmlns="http://hl7.org/fhir"/>',
        '<Patient xmlns="http://hl7.org/fhir"><nonsense value="1"/></Patient>',
        '<Patient xmlns="http://hl7.org/fhir"><active value="true" size="1"/></Patient>',
        '<Patient xmlns="http://hl7.org/fhir"><active value="true"/><active value="true"/></Patient>',
        '<Patient xmlns="http://hl7.org/fhir">words</Patient>',
        '<Patient xmlns="http://hl7.org/fhir"><extension><url value="urn:x"/></extension></Patient>',
        '<Patient xmlns="http://hl7.org/fhir"><contained><Patient/><Patient/></contained></Patient>',
        '<Patient xmlns="http://hl7.org/fhir"><active xmlns="urn:other" value="true"/></Patient>',
        '<Patient xmlns="http://hl7.org/fhir"><text><div>no namespace</div></text></Patient>',
        '<Patient xmlns="http://hl7.org/fhir"><active value="&nbsp;"/></Patient>',
        "<Patient/>",
        '<Element xmlns="http://hl7.org/fhir"/>',
        "",
        '<Questionnaire xmlns="http://hl7.org/fhir">' + "<item>" * 300 + "</item>" * 300 + "</Questionnaire>",
    ],
)
def test_what_is_no_fhir_is_refused(body: str) -> None:
    with pytest.raises(BadRequest):
        parse(R4, body.encode())


def _nested(depth: int) -> dict[str, Any]:
    item: dict[str, Any] = {}
    for _ in range(depth):
        item = {"item": [item]}
    return {"resourceType": "Questionnaire", **item}


@pytest.mark.parametrize(
    "resource",
    [
        pytest.param(_nested(5000), id="deep"),
        {"resourceType": "Patient", "id": "a\0b"},
        {"resourceType": "Patient", "nonsense": 1},
        {"resourceType": "Nothing"},
        {"resourceType": "Patient", "name": ["x"]},
        {"resourceType": "Patient", "contained": [1]},
    ],
)
def test_what_xml_cannot_say_is_not_written(resource: dict[str, Any]) -> None:
    with pytest.raises(NotAcceptable):
        write(R4, resource)
