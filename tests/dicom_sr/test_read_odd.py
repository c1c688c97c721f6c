"""Odd SRs: whatever is missing or unsound, there are Findings or an error that names the place, never a crash."""

import io
import struct
from collections.abc import Iterator

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import DataElement, Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import dcmread

from dicom_sr.content_tree import shortest
from dicom_sr.dicom_json import parse
from dicom_sr.errors import ReportError, UnreadableReport
from dicom_sr.findings import Findings
from dicom_sr.read import read
from dicom_sr.read_seg import read_seg
from dicom_sr.render import as_html
from dicom_sr.write_seg import write_seg
from dicom_sr.write_sr import write_sr
from tests.dicom_sr.examples import ct, findings, nodule, two_nodules

#: Damaged on purpose: pydicom may warn of what it reads.
pytestmark = pytest.mark.filterwarnings("ignore")


def saved(dataset: Dataset | None) -> bytes:
    assert dataset is not None
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


SR = saved(write_sr(findings(nodule(1, (3, 20, 40), 4)), ct()))
SEG = saved(write_seg(two_nodules(), ct()))


def elements(dataset: Dataset) -> Iterator[tuple[Dataset, DataElement]]:
    for element in dataset:
        yield dataset, element
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item)


#: What pydicom raises of bytes that are no data set.
UNPARSED = (
    BytesLengthException,
    InvalidDicomError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    NotImplementedError,
    ArithmeticError,
    EOFError,
    OSError,
    RecursionError,
    struct.error,
)
COUNT = len(list(elements(dcmread(io.BytesIO(SR)))))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(0, COUNT - 1), st.sampled_from(["drop", "empty", "text"])), min_size=1, max_size=4)
)
def test_elements_missing_empty_or_unsound(damages: list[tuple[int, str]]) -> None:
    dataset = dcmread(io.BytesIO(SR))
    for index, damage in damages:
        found = list(elements(dataset))
        parent, element = found[index % len(found)]
        if damage == "drop":
            del parent[element.tag]
        elif damage == "empty":
            parent[element.tag] = DataElement(element.tag, element.VR, None)
        else:
            parent[element.tag] = DataElement(element.tag, "LO", "\u7d50\u7bc0 x")
    try:
        assert isinstance(read(dataset), Findings)
        as_html(dataset)
    except ReportError as error:
        assert str(error)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(400, len(SR) - 1), st.binary(min_size=1, max_size=4))
def test_bytes_overwritten(at: int, patch: bytes) -> None:
    body = SR[:at] + patch + SR[at + len(patch) :]
    try:
        dataset = pydicom.dcmread(io.BytesIO(body))
    except UNPARSED:
        # Not a data set at all: whoever parses refuses it before it comes here.
        return
    try:
        assert isinstance(read(dataset), Findings)
    except ReportError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("keyword", "value", "place"),
    [
        ("SegmentationType", "FRACTIONAL", "SegmentationType"),
        ("NumberOfFrames", 10_000, "PixelData"),
        ("PixelData", b"\0\0", "PixelData"),
        ("Rows", 0, "PixelData"),
    ],
)
def test_a_segmentation_that_does_not_hold_together(keyword: str, value: object, place: str) -> None:
    dataset = dcmread(io.BytesIO(SEG))
    setattr(dataset, keyword, value)
    with pytest.raises(UnreadableReport) as caught:
        read_seg(dataset, two_nodules())
    assert caught.value.place == place


def test_a_segmentation_of_other_images() -> None:
    other = findings(*two_nodules().findings)
    dataset = dcmread(io.BytesIO(SEG))
    source = dataset.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence[0].SourceImageSequence[0]
    source.ReferencedSOPInstanceUID = "2.25.9"
    with pytest.raises(UnreadableReport, match="does not name"):
        read_seg(dataset, other)


@pytest.mark.parametrize("document", [None, [], "x", {"00080050": 3}, {"00080050": {"vr": "SQ", "Value": [1]}}])
def test_what_is_no_dicom_json(document: object) -> None:
    with pytest.raises(UnreadableReport):
        parse(document)


def test_an_image_is_no_report() -> None:
    with pytest.raises(UnreadableReport) as caught:
        read(ct()[0])
    assert caught.value.place == "ValueType"


@given(st.integers(-999_999, 999_999))
def test_a_thousandth_survives_single_precision(thousandths: int) -> None:
    value = thousandths / 1000
    assert shortest(struct.unpack("<f", struct.pack("<f", value))[0]) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_finite_number_is_refused(value: float) -> None:
    dataset = dcmread(io.BytesIO(SR))
    group = dataset.ContentSequence[-1].ContentSequence[0]
    volume = next(
        item for item in group.ContentSequence if "FloatingPointValue" in item.get("MeasuredValueSequence", [[]])[0]
    )
    volume.MeasuredValueSequence[0].FloatingPointValue = value
    with pytest.raises(UnreadableReport) as caught:
        read(dataset)
    assert caught.value.place.endswith("FloatingPointValue")


def test_control_characters_stay_outside() -> None:
    dataset = dcmread(io.BytesIO(SR))
    group = dataset.ContentSequence[-1].ContentSequence[0]
    group.ContentSequence[0].TextValue = "a\x1b[31mb\x00"
    assert read(dataset).findings[0].tracking_id == "a [31mb"
