"""Any SR as a tree; what comes from the report never becomes markup."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from pydicom import Dataset

from dicom_sr.errors import UnreadableReport
from dicom_sr.findings import Findings
from dicom_sr.render import as_html, as_text, lines
from dicom_sr.write_sr import write_sr
from tests.dicom_sr.examples import ct, findings, nodule, two_nodules
from tests.dicom_sr.strategies import reports


def test_text_shows_the_tree() -> None:
    shown = as_text(write_sr(two_nodules(), ct()))
    assert "\n    Measurement Group\n" in shown
    assert "\n      Finding: Nodule\n        Center: POINT at 6, -15.5, 103.75\n" in shown
    assert "      Volume: 1234.56789012346 mm3\n" in shown


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(reports())
def test_html_is_well_formed_and_shows_every_item(report: Findings) -> None:
    dataset = write_sr(report, ct())
    page = ElementTree.fromstring(as_html(dataset))
    assert len(list(page.iter("li"))) == len(list(lines(dataset)))


def test_nothing_of_the_report_becomes_markup() -> None:
    evil = replace(nodule(1, (3, 20, 40), 4), tracking_id="<script>alert(1)</script>")
    page = as_html(write_sr(findings(evil), ct()))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_slip_is_shown_in_its_place() -> None:
    dataset = write_sr(two_nodules(), ct())
    dataset.ContentSequence[0].ConceptCodeSequence[0].CodeValue = None
    measured = dataset.ContentSequence[-1].ContentSequence[0].ContentSequence[-6]
    assert measured.ValueType == "NUM"
    measured.ContentSequence[0].add_new("GraphicData", "UT", "not numbers")
    assert "Image Region: [unreadable: " in as_text(dataset)


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(UnreadableReport):
        as_text(ct()[0])
    item = Dataset()
    item.ValueType = "CONTAINER"
    for _ in range(200):
        outer = Dataset()
        outer.ValueType = "CONTAINER"
        outer.ContentSequence = [item]
        item = outer
    with pytest.raises(UnreadableReport, match="nested"):
        as_html(item)
