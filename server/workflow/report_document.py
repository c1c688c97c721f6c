"""A verified report as PDF documents of the study, attached to the DiagnosticReport (``presentedForm``), and the images
that it draws on as key images.

Done by a job when the plans have answered the report, so that what follows from it stands in it. The same content
gives the same document: done again, nothing changes.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydicom import Dataset

from dicom_sr.findings import ImageReference
from dicom_sr.identity import uid
from dicom_sr.to_fhir import conclusion
from dicom_sr.write_key_objects import key_images, write_key_objects
from dicom_sr.write_pdf import write_pdf
from server.errors import Unavailable
from server.imaging.ingest import Received
from server.repository import Repository
from server.security.access import system
from server.store.database import Database
from server.workflow.images import StudyImages, to_bytes
from server.workflow.publish import Publisher
from server.workflow.report_view import Line
from server.workflow.reporter import Box, Document, Reporter
from server.workflow.result_view import KeySlice

Resource = dict[str, Any]

#: The job; its arguments are ``tenant`` and ``report``.
WRITE_DOCUMENT = "write-document"
LANGUAGES = {"en": "Imaging report", "zh": "影像报告"}
_VERIFIED = ("final", "corrected", "amended", "appended")

#: (document, picture of each line, language) -> PDF.
Draw = Callable[[Document, Mapping[str, bytes], str], bytes]


@dataclass(frozen=True, kw_only=True)
class DocumentWriter:
    """Everything that writing documents needs."""

    database: Database
    repository: Repository
    reporter: Reporter
    publisher: Publisher
    draw: Draw
    #: The part of a key slice that is shown.
    crop: Callable[[KeySlice], Box]
    #: Where DICOMweb is served.
    wado_url: str

    def ask(self, tenant: int, type: str, id: str, **_: Any) -> None:
        """Has the documents written where a plan has answered a change of a report."""
        if type != "DiagnosticReport":
            return
        with self.database.unit_of_work() as uow:
            uow.defer(WRITE_DOCUMENT, lock=f"document/{tenant}/{id}", tenant=tenant, report=id)

    def run(self, tenant: int, report: str) -> None:
        """Stores the documents of the newest version, where a person verified it, and attaches them."""
        access = system(tenant)
        resource = self.repository.read(access, "DiagnosticReport", report)
        if resource["status"] not in _VERIFIED:
            return
        document = self.reporter.document(access, report)
        if not document.reviewer:
            return
        images = StudyImages.of(self.reporter.retrieve, access, document.patient.study)
        headers = images.headers()
        pictures = {
            line.observation: drawn for line in document.lines if (drawn := self._picture(tenant, document, line))
        }
        documents = [
            ImageReference(sop_class_uid=one.sop_class, sop_instance_uid=one.instance, series_instance_uid=one.series)
            for one in images.located
            if one.instance == document.sr_instance
        ]
        forms, written = [], self._key_images(tenant, document, headers)
        for language in LANGUAGES:
            pdf = self.draw(document, pictures, language)
            made = self._store(tenant, document, pdf, headers[0], documents, language)
            written.append(str(made.SOPInstanceUID))
            forms.append(self._form(made, pdf, language))
        with self.repository.transaction(access) as transaction:
            current = transaction.read("DiagnosticReport", report, lock=True)
            if current.get("identifier") == resource.get("identifier"):
                transaction.update({**current, "presentedForm": forms})
                self.publisher.send_on(transaction, document.patient.study, written)

    def _key_images(self, tenant: int, document: Document, headers: Sequence[Dataset]) -> list[str]:
        """Stores the selection of the images that the findings are drawn on; its UID, if there are any."""
        found, there = document.found, {str(one.SOPInstanceUID) for one in headers}
        images = [one for one in key_images(found) if one.sop_instance_uid in there] if found is not None else []
        if found is None or not images:
            return []
        description = conclusion(found)
        said = hashlib.sha256("\n".join([description, *(one.sop_instance_uid for one in images)]).encode()).hexdigest()
        made = write_key_objects(
            images,
            next(one for one in headers if str(one.SOPInstanceUID) == images[0].sop_instance_uid),
            person=document.reviewer,
            description=description,
            moment=datetime.fromisoformat(document.issued),
            sop_instance_uid=uid(self.publisher.uid_root, "key-objects", document.sr_instance, said),
            series_instance_uid=uid(self.publisher.uid_root, "key-objects-series", document.report),
        )
        self._receive(tenant, made)
        return [str(made.SOPInstanceUID)]

    def _receive(self, tenant: int, made: Dataset) -> None:
        outcome = self.publisher.ingest.receive(system(tenant), [Received(chunks=[to_bytes(made)])])
        if outcome.refused:
            raise Unavailable(f"The document was refused by our own door: {outcome.refused[0].details}")

    def _picture(self, tenant: int, document: Document, line: Line) -> bytes | None:
        if line.key_slice is None:
            return None
        return self.reporter.picture(system(tenant), document.patient.study, line, self.crop(line.key_slice))

    def _store(
        self,
        tenant: int,
        document: Document,
        pdf: bytes,
        source: Dataset,
        documents: Sequence[ImageReference],
        language: str,
    ) -> Dataset:
        made = write_pdf(
            pdf,
            source,
            title=LANGUAGES[language],
            moment=datetime.fromisoformat(document.issued),
            sop_instance_uid=uid(self.publisher.uid_root, "pdf", document.report, hashlib.sha256(pdf).hexdigest()),
            series_instance_uid=uid(self.publisher.uid_root, "pdf-series", document.report, language),
            documents=documents,
        )
        self._receive(tenant, made)
        return made

    def _form(self, made: Dataset, pdf: bytes, language: str) -> Resource:
        place = f"studies/{made.StudyInstanceUID}/series/{made.SeriesInstanceUID}/instances/{made.SOPInstanceUID}"
        return {
            "contentType": "application/pdf",
            "language": language,
            "url": f"{self.wado_url}/{place}/rendered?accept=application/pdf",
            "size": len(pdf),
            # R4's Attachment.hash is SHA-1: it tells copies apart, and protects nothing.
            "hash": base64.b64encode(hashlib.sha1(pdf, usedforsecurity=False).digest()).decode(),
            "title": LANGUAGES[language],
        }
