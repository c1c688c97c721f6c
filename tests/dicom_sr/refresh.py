"""Write the golden files anew: ``python -m tests.dicom_sr.refresh``, then read what changed before committing it."""

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from pydicom import Dataset

from dicom_sr.fhir_elements import Instance
from dicom_sr.findings import Findings
from dicom_sr.serialise import serialise
from dicom_sr.to_fhir import to_fhir
from dicom_sr.write_seg import write_seg
from dicom_sr.write_sr import write_sr
from tests.dicom_sr.examples import ct, findings, two_nodules

GOLDEN = Path(__file__).parent / "golden"


def _text(dataset: Dataset | None) -> str:
    assert dataset is not None
    return f"{dataset}\n"


def _number(value: object) -> float:
    assert isinstance(value, Decimal)
    return float(value)


def instance(dataset: Dataset) -> Instance:
    return Instance(
        study_instance_uid=str(dataset.StudyInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
    )


def _fhir(report: Findings) -> str:
    seg = write_seg(report, ct())
    resources = to_fhir(
        report,
        subject={"reference": "Patient/p"},
        imaging_study={"reference": "ImagingStudy/s"},
        sr=instance(write_sr(report, ct())),
        seg=instance(seg) if seg else None,
        effective="2026-01-02T08:15:00Z",
        predecessor={"reference": "DiagnosticReport/older"},
    )
    return json.dumps(resources, sort_keys=True, indent=1, default=_number, ensure_ascii=False) + "\n"


def _bytes(report: Findings) -> str:
    """Masks stored rather than deflated: how well zlib packs is no promise of ours."""
    stored = tuple(
        replace(finding, mask=replace(finding.mask, bits=zlib.compress(zlib.decompress(finding.mask.bits), 0)))
        for finding in report.findings
        if finding.mask is not None
    )
    return serialise(replace(report, findings=stored)).decode() + "\n"


#: What each golden file is made of.
FILES: dict[str, Callable[[], str]] = {
    "sr.txt": lambda: _text(write_sr(two_nodules(), ct())),
    "sr-none.txt": lambda: _text(write_sr(findings(), ct(anonymised=True))),
    "seg.txt": lambda: _text(write_seg(two_nodules(), ct())),
    "fhir.json": lambda: _fhir(two_nodules()),
    "fhir-none.json": lambda: _fhir(findings()),
    "findings.json": lambda: _bytes(two_nodules()),
}

if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, make in FILES.items():
        (GOLDEN / name).write_text(make(), encoding="utf-8")
