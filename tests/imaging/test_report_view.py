"""Structured reports of any template, and what else has no pixels, as a page and as text."""

import re
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from server.errors import Unprocessable
from server.imaging.report_view import view
from tests.dicom_sr.test_chest_cad import code, dcm, item

ECHO, MAMMOGRAPHY, KEY_OBJECTS = (f"1.2.840.10008.5.1.4.1.1.88.{n}" for n in (33, 50, 59))
Code = tuple[str, str, str]
VOLUME, LEFT_VENTRICLE = ("118565006", "SCT", "Volume"), ("87878005", "SCT", "Left Ventricle")
ML = ("ml", "UCUM", "milliliter")


def file(sop_class: str, root: Dataset) -> bytes:
    root.SOPClassUID, root.SOPInstanceUID = sop_class, "1.2.3.8.1"
    root.StudyInstanceUID, root.SeriesInstanceUID, root.PatientName = "1.2.3", "1.2.3.8", "Li^Na=李^娜"
    root.SpecificCharacterSet = "ISO_IR 192"
    del root.RelationshipType
    root.file_meta = pydicom.dataset.FileMetaDataset()
    root.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    root.save_as(out, enforce_file_format=True)
    return out.getvalue()


def measured(concept: Code, value: str, unit: Code, *below: Dataset) -> Dataset:
    amount = Dataset()
    amount.NumericValue = value
    units = Dataset()
    units.CodeValue, units.CodingSchemeDesignator, units.CodeMeaning = unit
    amount.MeasurementUnitsCodeSequence = [units]
    return item("CONTAINS", "NUM", concept, *below, MeasuredValueSequence=[amount])


def test_an_echocardiography_report() -> None:
    """The shape of TID 5200: sections by finding site, measurement groups, numbers with their modifiers."""
    mode = code(
        "HAS CONCEPT MOD", ("370129005", "SCT", "Measurement Method"), ("125207", "DCM", "Method of Disks, Biplane")
    )
    group = item(
        "CONTAINS", "CONTAINER", ("125007", "DCM", "Measurement Group"),
        measured(VOLUME, "112.5", ML, mode),
        measured(("10230-1", "LN", "Ejection fraction"), "61", ("%", "UCUM", "Percent")),
    )  # fmt: skip
    section = item(
        "CONTAINS", "CONTAINER", ("121070", "DCM", "Findings"),
        code("HAS CONCEPT MOD", ("363698007", "SCT", "Finding Site"), LEFT_VENTRICLE), group,
    )  # fmt: skip
    root = item("", "CONTAINER", ("125200", "DCM", "Adult Echocardiography Procedure Report"), section)
    made = file(ECHO, root)
    text = view(made, html=False)
    lines = text.split("\n")
    assert "    Measurement Group" in lines
    assert "      Volume: 112.5 ml" in lines
    assert "        Measurement Method: Method of Disks, Biplane" in lines
    assert "      Ejection fraction: 61 %" in lines
    assert "Patient: Li^Na=李^娜" in text
    page = view(made, html=True)
    assert page.count("<ul>") == page.count("</ul>")
    assert page.count("<li") == page.count("</li>")


def test_a_mammography_cad_report() -> None:
    impression = item(
        "INFERRED FROM", "CONTAINER", dcm("IndividualImpressionRecommendation"),
        code("CONTAINS", dcm("SingleImageFinding"), ("129793001", "SCT", "Mammography breast density")),
    )  # fmt: skip
    summary = code(
        "CONTAINS", dcm("CADProcessingAndFindingsSummary"), dcm("AllAlgorithmsSucceededWithFindings"), impression
    )
    text = view(file(MAMMOGRAPHY, item("", "CONTAINER", dcm("MammographyCADReport"), summary)), html=False)
    assert "Kind: Mammography CAD SR Storage" in text
    assert "      Single Image Finding: Mammography breast density" in text.split("\n")


def test_a_key_object_selection() -> None:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.1.1"
    image = item("CONTAINS", "IMAGE", ReferencedSOPSequence=[reference])
    words = item("CONTAINS", "TEXT", ("113012", "DCM", "Key Object Description"), TextValue='<a href="x">& more')
    root = item("", "CONTAINER", ("113000", "DCM", "Of Interest"), words, image)
    made = file(KEY_OBJECTS, root)
    assert "CT Image Storage 1.2.3.1.1" in view(made, html=False)
    assert "&lt;a href=&quot;x&quot;&gt;&amp; more" in view(made, html=True)
    assert not re.search(r"<(?!/?(ul|li|b|dl|dt|dd)\b)", view(made, html=True))


def test_a_report_that_breaks_off() -> None:
    nested: Any = item("CONTAINS", "CONTAINER", ("121070", "DCM", "Findings"))
    with pytest.raises(Unprocessable):
        view(file(ECHO, item("", "TEXT", ("121070", "DCM", "Findings"), nested, TextValue="no tree")), html=True)


def test_anything_else_is_listed_by_its_attributes() -> None:
    plan = item(
        "", "", RTPlanLabel="Boost <1>",
        BeamSequence=[item("", "", BeamName="AP", BeamNumber=1), item("", "", BeamName="PA", BeamNumber=2)],
    )  # fmt: skip
    text = view(file("1.2.840.10008.5.1.4.1.1.481.5", plan), html=False)
    assert "RT Plan Label: Boost <1>" in text
    assert "  Beam Name: PA" in text.split("\n")
    assert "Boost &lt;1&gt;" in view(
        file("1.2.840.10008.5.1.4.1.1.481.5", item("", "", RTPlanLabel="Boost <1>")), html=True
    )
