"""Releases in their publishers' formats, read as concepts."""

from pathlib import Path
from typing import Any

import pytest

from terminology.concept import Concept
from terminology.load import icd10, loinc, package, radlex, snomed, ucum
from terminology.load.release import NotThisFormat, Release
from terminology.load.tables import Folder
from tests.terminology import releases


def held(release: Release) -> dict[str, Concept]:
    (system,) = release.systems
    found = {one.code: one for one in system.concepts.read()}
    assert len(found) == len(system.concepts) == len(system.concepts.parents())
    assert [one.code for one in system.concepts.read(1)] == list(found)[1:]
    codes = list(found)
    for one, parents in zip(found.values(), system.concepts.parents(), strict=True):
        assert [codes[place] for place in parents] == [code for code in one.parents if code in found]
    return found


def values(concept: Concept, name: str) -> list[Any]:
    return list(concept.values(name))


def test_snomed(tmp_path: Path) -> None:
    with Folder(releases.snomed(tmp_path / "rf2.zip")) as folder:
        release = snomed.read(folder)
        header = release.systems[0].header
        assert header.version == "http://snomed.info/sct/900000000000207008/version/20300101"
        found = held(release)
        assert sorted(found) == sorted(map(str, releases.SNOMED))
        nodule = found["100003003"]
        assert nodule.display == "Nodule of lung" and nodule.parents == ("100002008",)
        assert {one["value"] for one in nodule.designations} == {
            "Nodule of lung (thing)", "Nodule of lung by another name", "Nodule of lung", "肺结节",
        }  # fmt: skip
        assert values(nodule, "363698007") == ["100004009"] and values(nodule, "memberOf") == ["700001"]
        assert values(nodule, "sufficientlyDefined") == [True] and not nodule.inactive
        assert found["100005005"].inactive and values(found["100002008"], "memberOf") == []
        (translated,) = release.maps
        assert translated.resource["url"] == "http://snomed.info/sct?fhir_cm=446608001"
        assert [element["target"][0] for _, element in translated.read()] == [
            {"equivalence": "equivalent", "code": "C34"},
            {"equivalence": "unmatched"},
        ]
    with Folder(releases.snomed(tmp_path / "rf2.zip")) as folder:
        assert held(snomed.read(folder, language="zh"))["100003003"].display == "Nodule of lung"


def test_loinc(tmp_path: Path) -> None:
    with Folder(releases.loinc(tmp_path / "loinc.zip")) as folder:
        release = loinc.read(folder, language="zh-CN")
        assert release.systems[0].header.version == "2.10"
        found = held(release)
        assert set(found) == {"1-8", "2-6", "LP1-1", "LP2-9", "LP9-0", "LP0-3", "LL1-0", "LL2-8", "LA1-4", "LA2-2"}
        count = found["1-8"]
        assert count.display == "Nodules in Lung by CT" and count.definition == "Counted, once"
        assert values(count, "COMPONENT") == ["LP1-1"] and values(count, "SCALE_TYP") == ["Qn"]
        assert count.parents == ("LP1-1",) and found["LP1-1"].parents == ("LP0-3",)
        assert {"language": "zh-CN", "value": "结节:计数:时间点:肺:定量型:CT"} in count.designations
        assert found["2-6"].inactive and values(found["2-6"], "answer-list") == ["LL1-0"]
        assert values(found["LA2-2"], "LIST") == ["LL1-0", "LL2-8"] and found["LP9-0"].inactive


def test_icd10(tmp_path: Path) -> None:
    (tmp_path / "who.xml").write_text(releases.CLAML)
    with Folder(tmp_path / "who.xml") as folder:
        release = icd10.read(folder)
        header = release.systems[0].header
        assert (header.url, header.version) == ("http://hl7.org/fhir/sid/icd-10", "2019")
        found = held(release)
        assert list(found) == ["X", "J00-J06", "J00", "J01.", "J01.1"]
        assert found["J00"].display == "Common cold" and found["J00"].parents == ("J00-J06",)
        assert found["J01.1"].display == "Sinus: open" and found["J00-J06"].abstract
    (tmp_path / "cm.xml").write_text(releases.CM)
    with Folder(tmp_path / "cm.xml") as folder:
        release = icd10.read(folder, url="urn:national")
        header = release.systems[0].header
        assert (header.url, header.version) == ("urn:national", "2024")
        found = held(release)
        assert list(found) == ["chapter-19", "S52", "S52.5", "S52.5XXA", "S52.5XXD"]
        assert found["S52.5XXA"].display == "Fracture of lower end, initial encounter"
        assert found["S52.5"].abstract and not found["S52.5XXD"].abstract


@pytest.mark.parametrize(("name", "text"), [("r.csv", releases.RADLEX_CSV), ("r.owl", releases.RADLEX_OWL)])
def test_radlex(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with Folder(tmp_path / name) as folder:
        release = radlex.read(folder)
        found = held(release)
        assert found["RID1301"].display == "lung" and found["RID1301"].parents == ("RID1",)
        if name == "r.csv":
            assert [one["value"] for one in found["RID1301"].designations] == ["pulmo", "lungs"]
            assert found["RID9"].inactive and set(found) == {"RID1", "RID1301", "RID9"}
        else:
            assert {"language": "de", "value": "Lunge"} in found["RID1301"].designations
            assert release.systems[0].header.version == "4.2"


def test_ucum(tmp_path: Path) -> None:
    (tmp_path / "ucum-essence.xml").write_text(releases.UCUM)
    with Folder(tmp_path / "ucum-essence.xml") as folder:
        found = held(ucum.read(folder))
        assert list(found) == ["m", "[in_i]"] and found["[in_i]"].display == "inch"
        assert values(found["m"], "isMetric") == [True] and values(found["[in_i]"], "property") == ["length"]


def test_package(tmp_path: Path) -> None:
    one = {"resourceType": "ValueSet", "id": "v", "url": "urn:v"}
    two = {"resourceType": "CodeSystem", "id": "c", "url": "urn:c"}
    other = {"resourceType": "Patient", "id": "p"}
    assert list(package.resources(releases.package(tmp_path / "p.tgz", one, two, other))) == [two, one]


@pytest.mark.parametrize("kind", [icd10, loinc, radlex, snomed, ucum])
def test_a_file_of_another_format_is_refused_by_name(tmp_path: Path, kind: Any) -> None:
    (tmp_path / "x.xml").write_text("<nothing/>")
    (tmp_path / "broken.xml").write_text("<nothing")
    for name in ("x.xml", "broken.xml"):
        with Folder(tmp_path / name) as folder, pytest.raises(NotThisFormat):
            kind.read(folder)
    with pytest.raises(NotThisFormat):
        list(package.resources(tmp_path / "x.xml"))
