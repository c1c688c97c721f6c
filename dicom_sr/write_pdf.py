"""A document for people as an Encapsulated PDF: PS3.3 A.45.1."""

from collections.abc import Sequence
from datetime import datetime

from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from dicom_sr.content_item import code_item, sop_reference
from dicom_sr.findings import ImageReference
from dicom_sr.headers import new_instance, own_equipment, patient_and_study, series, stamp
from terminology.codings import Coding

#: LOINC's name for a report on imaging (PS3.16 CID 7021 has it among the documents' titles).
DIAGNOSTIC_IMAGING_REPORT = Coding(value="18748-4", scheme="LN", meaning="Diagnostic Imaging Report")


def write_pdf(
    pdf: bytes,
    source: Dataset,
    *,
    title: str,
    moment: datetime,
    sop_instance_uid: str,
    series_instance_uid: str,
    documents: Sequence[ImageReference] = (),
    series_number: int = 9003,
) -> Dataset:
    """The document as an instance of the source's study; ``documents`` are the reports that it was drawn from."""
    dataset = new_instance(EncapsulatedPDFStorage, sop_instance_uid)
    patient_and_study(dataset, source)
    stamp(dataset, source, moment)
    own_equipment(dataset)
    series(dataset, "DOC", series_instance_uid, series_number)
    dataset.SeriesDescription = title[:64]
    dataset.ConversionType = "WSD"
    dataset.AcquisitionDateTime = ""
    dataset.BurnedInAnnotation = "YES"
    # A person verified the SR; nobody looked at this drawing of it.
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.DocumentTitle = title
    dataset.ConceptNameCodeSequence = [code_item(DIAGNOSTIC_IMAGING_REPORT)]
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    if documents:
        dataset.SourceInstanceSequence = [sop_reference(document) for document in documents]
    dataset.EncapsulatedDocumentLength = len(pdf)
    dataset.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return dataset
