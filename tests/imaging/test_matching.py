"""Whole identifiers matched in memory: every kind of key, and sequences."""

import pytest

from server.errors import BadRequest
from server.imaging.matching import asking, matches, picked


def name(text: str) -> dict[str, object]:
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("="), strict=False)
    return {"vr": "PN", "Value": [{group: part for group, part in groups if part}]}


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [
        (name("wang*"), name("Wang^XiaoDong=王^小东"), True),
        (name("王*"), name("Wang^XiaoDong=王^小东"), True),
        (name("Müller"), name("MULLER"), True),
        (name("Li*"), name("Wang^Li"), False),
        ({"vr": "LO", "Value": ["P?1"]}, {"vr": "LO", "Value": ["PX1"]}, True),
        ({"vr": "LO", "Value": ["p1"]}, {"vr": "LO", "Value": ["P1"]}, False),
        ({"vr": "CS", "Value": ["CT", "MR"]}, {"vr": "CS", "Value": ["MR"]}, True),
        ({"vr": "UI", "Value": ["1.2", "1.3"]}, {"vr": "UI", "Value": ["1.3"]}, True),
        ({"vr": "DA", "Value": ["20260101-20260131"]}, {"vr": "DA", "Value": ["20260131"]}, True),
        ({"vr": "DA", "Value": ["-20260131"]}, {"vr": "DA", "Value": ["20260201"]}, False),
        ({"vr": "DA", "Value": ["20260131-"]}, {"vr": "DA", "Value": ["20260201"]}, True),
        ({"vr": "DA", "Value": ["20260131"]}, {"vr": "DA"}, False),
        ({"vr": "TM", "Value": ["1015"]}, {"vr": "TM", "Value": ["101559"]}, True),
        ({"vr": "TM", "Value": ["08-1015"]}, {"vr": "TM", "Value": ["101601"]}, False),
        ({"vr": "TM", "Value": ["08-10"]}, {"vr": "TM", "Value": ["105959.9"]}, True),
        ({"vr": "IS", "Value": [3]}, {"vr": "IS", "Value": [3]}, True),
        ({"vr": "CS", "Value": ["CT"]}, {"vr": "CS"}, False),
        ({"vr": "CS"}, {"vr": "CS"}, True),
    ],
)
def test_each_kind_of_key(key: dict[str, object], value: dict[str, object], same: bool) -> None:
    assert matches({"00100010": key}, {"00100010": value}) is same


def test_sequences_match_by_one_item_and_come_back_as_asked() -> None:
    step = {"00400001": {"vr": "AE", "Value": ["CT1"]}, "00080060": {"vr": "CS", "Value": ["CT"]}}
    other = {"00400001": {"vr": "AE", "Value": ["MR1"]}, "00080060": {"vr": "CS", "Value": ["MR"]}}
    candidate = {"00400100": {"vr": "SQ", "Value": [other, step]}, "00100020": {"vr": "LO", "Value": ["P"]}}
    both = {"00400001": {"vr": "AE", "Value": ["CT1"]}, "00080060": {"vr": "CS", "Value": ["MR"]}}
    assert not matches({"00400100": {"vr": "SQ", "Value": [both]}}, candidate)
    keys = {"00400100": {"vr": "SQ", "Value": [{"00400001": {"vr": "AE", "Value": ["CT1"]}}]}, "00080050": {"vr": "SH"}}
    assert matches(keys, candidate)
    assert picked(keys, {"00400100": {"vr": "SQ", "Value": [step]}}) == {
        "00400100": {"vr": "SQ", "Value": [{"00400001": {"vr": "AE", "Value": ["CT1"]}}]},
        "00080050": {"vr": "SH"},
    }
    empty = {"00400100": {"vr": "SQ", "Value": [{"00080060": {"vr": "CS"}}]}, "00080050": {"vr": "SH"}}
    assert asking(empty) == {} and asking(keys) == {"00400100": keys["00400100"]}


def test_a_value_that_is_none_is_refused_by_its_tag() -> None:
    with pytest.raises(BadRequest) as refused:
        matches({"00080020": {"vr": "DA", "Value": ["2024"]}}, {})
    assert refused.value.issues[0].expression == "00080020"
