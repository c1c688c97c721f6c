"""What is written is read back: through a file's bytes, for Findings of all shapes."""

import io
from collections.abc import Sequence
from dataclasses import replace

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from pydicom import Dataset

from dicom_sr.findings import Findings
from dicom_sr.read import read
from dicom_sr.read_seg import read_seg
from dicom_sr.write_seg import write_seg
from dicom_sr.write_sr import write_sr
from tests.dicom_sr.examples import ct, findings, two_nodules
from tests.dicom_sr.strategies import reports

QUICK = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def through_a_file(dataset: Dataset) -> Dataset:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return pydicom.dcmread(io.BytesIO(buffer.getvalue()))


def without_masks(report: Findings) -> Findings:
    return replace(report, findings=tuple(replace(finding, mask=None) for finding in report.findings))


@pytest.mark.parametrize("report", [two_nodules(), findings()], ids=["two nodules", "none"])
@pytest.mark.parametrize("anonymised", [False, True])
def test_an_sr_gives_its_findings_back(report: Findings, anonymised: bool) -> None:
    dataset = through_a_file(write_sr(report, ct(anonymised=anonymised)))
    assert read(dataset) == without_masks(report)


def test_sr_and_seg_together_give_everything_back() -> None:
    report = two_nodules()
    seg = write_seg(report, ct())
    assert seg is not None
    assert read_seg(through_a_file(seg), read(through_a_file(write_sr(report, ct())))) == report


@QUICK
@given(reports())
def test_any_findings_come_back_equal(report: Findings) -> None:
    dataset = through_a_file(write_sr(report, ct()))
    key = report.key if report.algorithm is not None else str(dataset.SOPInstanceUID)
    assert read(dataset) == replace(without_masks(report), key=key)


@QUICK
@given(reports())
def test_any_masks_come_back_equal(report: Findings) -> None:
    seg = write_seg(report, ct())
    if all(finding.mask is None for finding in report.findings):
        assert seg is None
    else:
        assert seg is not None
        assert read_seg(through_a_file(seg), without_masks(report)) == report


@pytest.mark.parametrize("write", [write_sr, write_seg])
def test_the_same_findings_are_the_same_bytes(write: object) -> None:
    def body(sources: Sequence[Dataset]) -> bytes:
        dataset = write(two_nodules(), sources)  # type: ignore[operator]
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    assert body(ct()) == body(ct())


def test_a_foreign_report_cannot_claim_our_key() -> None:
    dataset = write_sr(two_nodules(), ct())
    dataset.SOPInstanceUID = "2.25.666"
    assert read(dataset).key == "2.25.666"


def test_a_root_of_ones_own() -> None:
    dataset = write_sr(two_nodules(), ct(), uid_root="1.2.3")
    assert str(dataset.SOPInstanceUID).startswith("1.2.3.1")
    assert len(str(dataset.SOPInstanceUID)) <= 64
    assert read(dataset, uid_root="1.2.3").key == two_nodules().key
