"""The Native DICOM Model: round trips with the DICOM JSON model, and refusal of what XML can do to a server."""

import base64
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.errors import BadRequest
from server.imaging.dataset import Attributes, Limits
from server.imaging.native_xml import NAMESPACE, from_xml, to_xml

words = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"),
        st.sampled_from("\t\n\r<&>]\"'"),
    ),
    min_size=1,
    max_size=12,
)
name_groups = st.lists(words.filter(lambda t: "^" not in t), min_size=1, max_size=6).map("^".join)
names = st.dictionaries(st.sampled_from(["Alphabetic", "Ideographic", "Phonetic"]), name_groups, min_size=1)
numbers = st.integers(-(1 << 63), (1 << 64) - 1)
reals = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["NaN", "inf", "-inf"]))


def _values(vr: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    many = st.lists(st.one_of(values, st.none()), min_size=1, max_size=4)
    return many.map(lambda found: {"vr": vr, "Value": found})


elements = st.one_of(
    st.sampled_from(["LO", "DA", "OB", "SQ", "PN"]).map(lambda vr: {"vr": vr}),
    *(_values(vr, words) for vr in ("LO", "UT", "CS", "UI", "AT", "UR")),
    *(_values(vr, numbers) for vr in ("IS", "US", "SV")),
    *(_values(vr, reals) for vr in ("DS", "FD")),
    _values("PN", names),
    st.binary(max_size=9).map(lambda raw: {"vr": "OB", "InlineBinary": base64.b64encode(raw).decode()}),
    words.map(lambda uri: {"vr": "OW", "BulkDataURI": uri}),
)
tags = st.sampled_from(
    [
        *("00080005", "00080018", "00100010", "00101001", "7FE00010", "00080060"),
        *("00090010", "00090011", "00091010", "00091110", "000910FF", "00111001"),
    ]
)
data_sets = st.recursive(
    st.dictionaries(tags, elements, max_size=6),
    lambda inner: st.tuples(
        st.dictionaries(tags, elements, max_size=3),
        st.dictionaries(
            st.sampled_from(["00081140", "00091020"]),
            st.lists(inner, min_size=1, max_size=2).map(lambda items: {"vr": "SQ", "Value": items}),
            max_size=2,
        ),
    ).map(lambda two: two[0] | two[1]),
    max_leaves=4,
)


@given(data_sets)
@example(
    {
        "00090010": {"vr": "LO", "Value": ["A"]},
        "00090011": {"vr": "LO", "Value": ["A"]},
        "00091010": {"vr": "LO", "Value": ["one"]},
        "00091110": {"vr": "LO", "Value": ["two"]},
    }
)
def test_what_is_written_is_read_again(attributes: Attributes) -> None:
    assert from_xml(to_xml(attributes)) == attributes


def test_it_is_written_as_the_standard_has_it() -> None:
    text = to_xml(
        {
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Hu^Tong", "Ideographic": "胡^通"}]},
            "00090010": {"vr": "LO", "Value": ["ACME & Co"]},
            "00091001": {"vr": "LO", "Value": ["x"]},
            "7FE00010": {"vr": "OW", "BulkDataURI": "http://x/?a&b"},
            "00081140": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}]},
        }
    ).decode()
    assert f'<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">' in text
    assert '<DicomAttribute tag="00100010" vr="PN" keyword="PatientName"><PersonName number="1">' in text
    assert "<Alphabetic><FamilyName>Hu</FamilyName><GivenName>Tong</GivenName></Alphabetic>" in text
    assert '<DicomAttribute tag="00090001" vr="LO" privateCreator="ACME &amp; Co"><Value number="1">x</Value>' in text
    assert '<BulkData uri="http://x/?a&amp;b"/>' in text
    assert '<Item number="1"><DicomAttribute tag="00081155" vr="UI" keyword="ReferencedSOPInstanceUID">' in text


def test_a_private_creator_that_is_only_named_gets_a_block() -> None:
    read = from_xml(
        b'<NativeDicomModel><DicomAttribute tag="00090001" vr="LO" privateCreator="A"><Value number="1">x</Value>'
        b'</DicomAttribute><DicomAttribute tag="00090001" vr="LO" privateCreator="B"/></NativeDicomModel>'
    )
    assert read == {
        "00090010": {"vr": "LO", "Value": ["A"]},
        "00091001": {"vr": "LO", "Value": ["x"]},
        "00090011": {"vr": "LO", "Value": ["B"]},
        "00091101": {"vr": "LO"},
    }


def test_characters_that_xml_cannot_write_are_replaced() -> None:
    assert from_xml(to_xml({"00081030": {"vr": "LO", "Value": ["a\x1b\x0cb\ud800"]}}))["00081030"]["Value"] == [
        "a\ufffd\ufffdb\ufffd"
    ]


BOMB = (
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    b"<NativeDicomModel>&b;</NativeDicomModel>"
)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (BOMB, "document type"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><NativeDicomModel/>', "document type"),
        (b"", "well-formed"),
        (b"<NativeDicomModel>", "well-formed"),
        (b'<?xml version="1.0" encoding="x-unheard-of"?><NativeDicomModel/>', "well-formed"),
        (b"<Dicom/>", "Native DICOM Model"),
        (b'<NativeDicomModel xmlns="urn:other"/>', "namespace"),
        (b'<NativeDicomModel><DicomAttribute tag="1" vr="LO"/></NativeDicomModel>', "no tag"),
        (b'<NativeDicomModel><DicomAttribute tag="00100010" vr="ZZ"/></NativeDicomModel>', "value representation"),
        (b"<NativeDicomModel>" + b'<DicomAttribute tag="00081140" vr="SQ"><Item number="1">' * 5000, "deeper"),
        (b"<NativeDicomModel>" + b"<a/>" * 200, "more than"),
        (
            b'<NativeDicomModel><DicomAttribute tag="00080060" vr="CS"><Value number="999999999">x</Value>'
            b"</DicomAttribute></NativeDicomModel>",
            "gaps",
        ),
    ],
)
def test_bad_documents_are_refused_with_the_reason(document: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        from_xml(document, Limits(elements=150))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(document: bytes) -> None:
    for text in (document, b"<NativeDicomModel>" + document + b"</NativeDicomModel>"):
        try:
            from_xml(text)
        except BadRequest as error:
            assert error.details
