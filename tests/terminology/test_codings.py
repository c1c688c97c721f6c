"""Codings are equal by value and scheme, and keep their names in both worlds."""

import pytest
from pydicom.sr._concepts_dict import concepts

from dicom_sr import codes
from terminology import private_scheme
from terminology.codings import Coding, from_fhir

KNOWN = {
    (scheme, value): {meaning for entry in keywords.values() for known, (meaning, _) in entry.items() if known == value}
    for scheme, keywords in concepts.items()
    if scheme in ("DCM", "SCT")
    for entry in keywords.values()
    for value in entry
}
OURS = {name: value for name, value in vars(codes).items() if isinstance(value, Coding)}


def test_the_meaning_does_not_matter() -> None:
    assert Coding(value="1", scheme="DCM", meaning="one") == Coding(value="1", scheme="DCM", meaning="eins")
    assert Coding(value="1", scheme="DCM", meaning="one") != Coding(value="1", scheme="SCT", meaning="one")


@pytest.mark.parametrize("name", OURS)
def test_fhir_and_back(name: str) -> None:
    assert from_fhir(OURS[name].to_fhir()) == OURS[name]


@pytest.mark.parametrize("name", [name for name, coding in OURS.items() if coding.scheme in ("DCM", "SCT")])
def test_every_standard_code_is_in_the_standards_tables(name: str) -> None:
    coding = OURS[name]
    assert (coding.scheme, coding.value) in KNOWN
    meanings = {meaning.lower() for meaning in KNOWN[coding.scheme, coding.value]}
    # The tables word this concept as its SNOMED name; PS3.16 TID 1501 calls it so.
    assert coding.meaning.lower() in meanings or coding == codes.FINDING_CATEGORY


def test_private_schemes_can_be_declared() -> None:
    own = private_scheme.identification("99HUTONG")
    assert own is not None
    assert own.uid == private_scheme.UID
    assert private_scheme.UID.startswith("2.25.")
    assert len(private_scheme.UID) <= 64
    other = private_scheme.identification("99OTHER")
    assert other is not None
    assert other.uid == ""
    assert private_scheme.identification("DCM") is None


def test_every_private_code_is_of_the_private_scheme() -> None:
    for coding in (private_scheme.SOLID, private_scheme.PART_SOLID):
        assert coding.scheme == private_scheme.DESIGNATOR
        assert len(coding.value) <= 16
