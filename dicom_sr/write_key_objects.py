"""The images that a report draws on as a Key Object Selection Document: PS3.3 A.35.4, content by TID 2010.

How a PACS marks key images: IHE Key Image Note.
"""

from collections.abc import Sequence
from datetime import datetime

from pydicom import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage

from dicom_sr import codes
from dicom_sr.content_item import CONTAINS, HAS_CONCEPT_MOD, HAS_OBS_CONTEXT, code, container, image, person_name, text
from dicom_sr.findings import Findings, ImageReference
from dicom_sr.headers import evidence, new_instance, own_equipment, patient_and_study, series, stamp
from terminology.codings import Coding

#: Document title (PS3.16 CID 7010).
OF_INTEREST = Coding(value="113000", scheme="DCM", meaning="Of Interest")
_DESCRIPTION = Coding(value="113012", scheme="DCM", meaning="Key Object Description")


def key_images(findings: Findings) -> tuple[ImageReference, ...]:
    """The images on which the findings are drawn, each once, in the order of the report."""
    return tuple(dict.fromkeys(one.region.image for one in findings.findings if one.region is not None))


def write_key_objects(
    images: Sequence[ImageReference],
    source: Dataset,
    *,
    person: str,
    description: str,
    moment: datetime,
    sop_instance_uid: str,
    series_instance_uid: str,
    series_number: int = 9004,
) -> Dataset:
    """A selection of images of the source's study by a person, always the same for the same arguments.

    ``images`` is not empty; ``description`` says what they show.
    """
    dataset = new_instance(KeyObjectSelectionDocumentStorage, sop_instance_uid)
    patient_and_study(dataset, source)
    stamp(dataset, source, moment)
    own_equipment(dataset)
    series(dataset, "KO", series_instance_uid, series_number)
    dataset.SeriesDescription = "Key images"
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.CurrentRequestedProcedureEvidenceSequence = [evidence(str(source.StudyInstanceUID), images)]
    children = [
        code(HAS_CONCEPT_MOD, codes.LANGUAGE, codes.ENGLISH),
        code(HAS_OBS_CONTEXT, codes.OBSERVER_TYPE, codes.PERSON),
        person_name(HAS_OBS_CONTEXT, codes.PERSON_NAME, person),
        text(CONTAINS, _DESCRIPTION, description),
        *(image(CONTAINS, one) for one in images),
    ]
    dataset.update(container("", OF_INTEREST, children, template="2010"))
    return dataset
