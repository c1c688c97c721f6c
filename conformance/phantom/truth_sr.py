"""The truth as a Comprehensive 3D SR by template TID 1500 (PS3.16), written with bare highdicom.

One TID 1410 group a nodule: its outline as a circle of the volume-equivalent diameter on the nearest slice, its
diameter and volume, side, margin and density. It serves as a third party's report: nothing of ours reads or wrote it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from conformance.phantom.dicom import MANUFACTURER, Identity, uid
from conformance.phantom.make import Study, Truth

#: Designator of the codes that no standard table has.
PRIVATE_SCHEME = "99PHANTOM"
_MARGINS = {
    "circumscribed": ("263706005", "SCT", "Circumscribed"),
    "lobulated": ("112135", "DCM", "Lobulated"),
    "spiculated": ("112136", "DCM", "Spiculated"),
    "irregular": ("49608001", "SCT", "Irregular"),
    "ill-defined": ("300841009", "SCT", "Poorly defined"),
}
_DENSITIES = {
    "solid": ("solid", PRIVATE_SCHEME, "Solid"),
    "part-solid": ("part-solid", PRIVATE_SCHEME, "Part-solid"),
    "ground-glass": ("112120", "DCM", "Ground glass opacity"),
}


def write(study: Study, identity: Identity, images: Sequence[Dataset], path: Path) -> None:
    """Write the report; ``images`` are the headers of the CT's slices, feet first."""
    groups = [_group(nodule, study, identity, images) for nodule in study.truth]
    content = sr.MeasurementReport(
        observation_context=_observer(),
        procedure_reported=sr.CodedConcept("24627-2", "LN", "CT Chest"),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
        referenced_images=[images[k] for k in sorted({_nearest(n, study) for n in study.truth})] or [images[0]],
    )
    report = sr.Comprehensive3DSR(
        evidence=list(images), content=content,
        series_instance_uid=uid(identity.key, identity.time_point, "truth series"),
        series_number=900, sop_instance_uid=uid(identity.key, identity.time_point, "truth"), instance_number=1,
        manufacturer=MANUFACTURER, is_complete=True, is_final=True, series_description="Truth of the phantom",
    )  # fmt: skip
    report.ContentDate = report.InstanceCreationDate = study.when.strftime("%Y%m%d")
    report.ContentTime = report.InstanceCreationTime = images[0].StudyTime
    report.CodingSchemeIdentificationSequence = [_scheme()]
    report.save_as(path)


def _observer() -> sr.ObservationContext:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=uid("conformance.phantom"),
        name="Phantom maker",
        manufacturer_name=MANUFACTURER,
        model_name="conformance.phantom",
    )
    context = sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return sr.ObservationContext(observer_device_context=context)


def _group(
    nodule: Truth, study: Study, identity: Identity, images: Sequence[Dataset]
) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    side = codes.SCT.Left if nodule.side == "left" else codes.SCT.Right
    millimetre, cubic = codes.UCUM.Millimeter, codes.UCUM.CubicMillimeter
    measurements = [
        sr.Measurement(name=codes.SCT.Diameter, value=nodule.diameter_mm, unit=millimetre),
        sr.Measurement(name=codes.SCT.Volume, value=nodule.volume_mm3, unit=cubic),
    ]
    qualities = [
        sr.QualitativeEvaluation(codes.DCM.LesionDensity, sr.CodedConcept(*_DENSITIES[nodule.density])),
        sr.QualitativeEvaluation(codes.DCM.Margins, sr.CodedConcept(*_MARGINS[nodule.margin])),
    ]
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            identifier=f"Nodule {nodule.number}", uid=identity.lesion(nodule.number)
        ),
        referenced_region=_circle(nodule, study, images),
        finding_type=codes.SCT.Nodule,
        finding_sites=[sr.FindingSite(anatomic_location=codes.SCT.Lung, laterality=side)],
        measurements=measurements,
        qualitative_evaluations=qualities,
    )


def _circle(nodule: Truth, study: Study, images: Sequence[Dataset]) -> sr.ImageRegion:
    """A CIRCLE: centre and a point on it, in pixels with the first pixel's centre at 0.5 (PS3.3 C.18.6.1.1)."""
    grid = study.scan.grid
    x, y, _ = (c - o for c, o in zip(nodule.center_mm, grid.origin, strict=True))
    column, row = x / grid.spacing[2] + 0.5, y / grid.spacing[1] + 0.5
    points = np.array([[column, row], [column + nodule.diameter_mm / 2 / grid.spacing[2], row]])
    return sr.ImageRegion(
        graphic_type=sr.GraphicTypeValues.CIRCLE,
        graphic_data=points,
        source_image=sr.SourceImageForRegion.from_source_image(images[_nearest(nodule, study)]),
    )


def _nearest(nodule: Truth, study: Study) -> int:
    """The slice closest to the nodule's centre, counted from the feet."""
    grid = study.scan.grid
    return int(np.clip(round((nodule.center_mm[2] - grid.origin[2]) / grid.spacing[0]), 0, grid.shape[0] - 1))


def _scheme() -> Dataset:
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeName = "Nodule densities of the phantom maker"
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    return item
