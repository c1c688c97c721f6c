"""TID 1500 as another vendor writes it by highdicom: planar (TID 1410) and volumetric (TID 1411) groups become FHIR."""

from collections.abc import Sequence
from copy import deepcopy
from decimal import Decimal
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from dicom_sr.fhir_elements import Instance
from dicom_sr.findings import Findings
from dicom_sr.read import read
from dicom_sr.to_fhir import to_fhir
from tests.dicom_sr.test_to_fhir import check, of

MARGIN, SPICULATED = codes.DCM.Margins, codes.SCT.LesionWithSpiculatedMargin
OUTLINE = np.array([[10.0, 20.0], [14.0, 20.0], [14.0, 26.0], [10.0, 26.0], [10.0, 20.0]])


@pytest.fixture
def image() -> Dataset:
    path = get_testdata_file("CT_small.dcm", download=False)
    assert path is not None
    return pydicom.dcmread(Path(path))


def tracking() -> hd.sr.TrackingIdentifier:
    return hd.sr.TrackingIdentifier(uid="1.2.3.99", identifier="Lesion 1")


def diameter(value: float) -> hd.sr.Measurement:
    return hd.sr.Measurement(
        name=codes.SCT.Diameter, value=value, unit=codes.UCUM.Millimeter,
        properties=hd.sr.MeasurementProperties(level_of_significance=None),
    )  # fmt: skip


def report(image: Dataset, *groups: Dataset, others: Sequence[Dataset] = ()) -> Dataset:
    person = hd.sr.PersonObserverIdentifyingAttributes(name="Doe^John")
    context = hd.sr.ObservationContext(
        observer_person_context=hd.sr.ObserverContext(
            observer_type=codes.DCM.Person, observer_identifying_attributes=person
        )
    )
    content = hd.sr.MeasurementReport(
        observation_context=context,
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=list(groups),
    )
    return hd.sr.Comprehensive3DSR(
        evidence=[image, *others], content=content, series_number=9, series_instance_uid="1.2.3.9",
        sop_instance_uid="1.2.3.9.1", instance_number=1, manufacturer="Other vendor",
    )  # fmt: skip


def fhir(findings: Findings) -> tuple[dict[str, object], ...]:
    sr = Instance(
        study_instance_uid=findings.study_instance_uid,
        series_instance_uid="1.2.3.9",
        sop_instance_uid=findings.key,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
    )
    made = to_fhir(findings, subject={"reference": "Patient/p"}, imaging_study={"reference": "ImagingStudy/s"}, sr=sr)
    check(made)
    return made


def test_a_planar_group_on_an_image(image: Dataset) -> None:
    region = hd.sr.ImageRegion(
        graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
        graphic_data=OUTLINE,
        source_image=hd.sr.SourceImageForRegion.from_source_image(image),
    )
    group = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking(), referenced_region=region, finding_type=codes.SCT.Nodule,
        finding_sites=[hd.sr.FindingSite(anatomic_location=codes.SCT.Lung, laterality=codes.SCT.Left)],
        measurements=[diameter(6.2)],
        qualitative_evaluations=[hd.sr.QualitativeEvaluation(name=MARGIN, value=SPICULATED)],
    )  # fmt: skip
    findings = read(report(image, group), images=[image])
    (one,) = findings.findings
    assert (one.tracking_uid, one.tracking_id, one.finding.meaning) == ("1.2.3.99", "Lesion 1", "Nodule")
    assert one.site is not None and one.site.meaning == "Lung"
    assert one.laterality is not None and one.laterality.meaning == "Left"
    assert one.region is not None and len(one.region.points) == 5
    assert one.region.image.sop_instance_uid == image.SOPInstanceUID
    spacing, origin = float(image.PixelSpacing[0]), [float(value) for value in image.ImagePositionPatient]
    assert one.center_mm == pytest.approx((origin[0] + 11.5 * spacing, origin[1] + 22.5 * spacing, origin[2]))
    assert [(q.concept.value, q.value.value) for q in one.qualities] == [("111037", "129742005")]
    assert findings.person == "Doe^John"
    made = fhir(findings)
    values = [one["valueQuantity"]["value"] for one in of("Observation", made) if "valueQuantity" in one]  # type: ignore[index]
    assert values == [Decimal("6.2")]
    assert not of("Device", made)


def test_a_planar_group_in_space(image: Dataset) -> None:
    points = np.array([[0.0, 0.0, 5.0], [10.0, 0.0, 5.0], [10.0, 20.0, 5.0], [0.0, 20.0, 5.0], [0.0, 0.0, 5.0]])
    region = hd.sr.ImageRegion3D(
        graphic_type=hd.sr.GraphicTypeValues3D.POLYGON,
        graphic_data=points,
        frame_of_reference_uid=image.FrameOfReferenceUID,
    )
    group = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking(), referenced_region=region, finding_type=codes.SCT.Nodule,
        measurements=[diameter(20)],
    )  # fmt: skip
    (one,) = read(report(image, group)).findings
    assert one.center_mm == pytest.approx((5.0, 10.0, 5.0))


def test_a_volumetric_group(image: Dataset) -> None:
    second = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    second.SOPInstanceUID = generate_uid(entropy_srcs=["second"])
    regions = [
        hd.sr.ImageRegion(
            graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
            graphic_data=OUTLINE + offset,
            source_image=hd.sr.SourceImageForRegion.from_source_image(source),
        )
        for offset, source in ((0, image), (1, second))
    ]
    volume = hd.sr.Measurement(name=codes.SCT.Volume, value=512.5, unit=codes.UCUM.CubicMillimeter)
    group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking(), referenced_regions=regions, finding_type=codes.SCT.Nodule, measurements=[volume]
    )
    findings = read(report(image, group, others=[second]), images=[image])
    (one,) = findings.findings
    assert [(m.concept.meaning, m.value, m.unit.value) for m in one.measurements] == [("Volume", 512.5, "mm3")]
    assert one.region is not None and one.region.image.sop_instance_uid == image.SOPInstanceUID
    fhir(findings)


def test_a_volumetric_group_that_refers_to_a_segment(image: Dataset) -> None:
    segment = hd.sr.ReferencedSegment(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4", sop_instance_uid="1.2.3.5.1", segment_number=2,
        source_images=[hd.sr.SourceImageForSegmentation.from_source_image(image)],
    )  # fmt: skip
    group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking(), referenced_segment=segment, finding_type=codes.SCT.Nodule,
        measurements=[hd.sr.Measurement(name=codes.SCT.Volume, value=100, unit=codes.UCUM.CubicMillimeter)],
    )  # fmt: skip
    mask = deepcopy(image)
    mask.SOPClassUID, mask.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3.5.1"
    findings = read(report(image, group, others=[mask]))
    (one,) = findings.findings
    assert one.measurements[0].value == 100
    assert one.region is None
    fhir(findings)
