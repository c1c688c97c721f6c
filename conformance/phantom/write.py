"""Studies on disk: folders of DICOM instances with their truth, or one numpy archive a volume."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from conformance.phantom import dicom, truth, truth_sr
from conformance.phantom.make import Study, Wishes, plan, render
from conformance.phantom.render import Pixels, slices


def make(out: Path, wishes: Wishes, *, prior_days: int | None = None, fresh: bool = False) -> list[dict[str, Any]]:
    """Write DICOM studies; returns the truths, the present study's first.

    Without a prior the instances, ``truth.json`` and ``truth_sr.dcm`` lie in ``out``; with one, in ``out/current``
    and ``out/prior``; a study without nodules has no SR. UIDs follow from the wishes, so the same call makes the same
    objects; ``fresh`` draws new ones. Raises SpecError for wishes that can't be met.
    """
    studies = plan(wishes, () if prior_days is None else (prior_days,))
    folders = [out] if prior_days is None else [out / "current", out / "prior"]
    salt = secrets.token_hex(16) if fresh else ""
    return [
        _write_study(study, _identity(wishes, 0 if n == 0 else prior_days or 0, n, salt), folder)
        for n, (study, folder) in enumerate(zip(studies, folders, strict=True))
    ]


def _identity(wishes: Wishes, days: int, time_point: int, salt: str = "") -> dicom.Identity:
    patient_key = f"{dicom.VERSION} {wishes.seed} {wishes.nodules} {salt}"
    return dicom.Identity(key=f"{dicom.VERSION} {wishes} {days} {salt}", patient_key=patient_key, time_point=time_point)


def _write_study(study: Study, identity: dicom.Identity, folder: Path) -> dict[str, Any]:
    def images() -> Iterator[Pixels]:
        for hu, _, _ in slices(study.scene, study.scan):
            yield hu

    headers = dicom.write(study, identity, images(), folder)
    if study.truth:
        # TID 1500 has no form for a report that measures nothing: without nodules there is no SR.
        truth_sr.write(study, identity, headers, folder / "truth_sr.dcm")
    return truth.write(study, identity, folder / "truth.json")


def make_npz(path: Path, wishes: Wishes) -> dict[str, Any]:
    """Write one volume as a numpy archive, uncompressed; returns the truth.

    Arrays: ``hu`` int16 [z, y, x], ``lung`` bool, ``label`` uint8 (nodule number), ``spacing`` (z, y, x) and
    ``origin`` (x, y, z) in mm, ``centers`` (n, 3) as x, y, z, ``diameters`` (n), ``truth`` the JSON text.
    """
    study = plan(wishes)[0]
    identity = _identity(wishes, 0, 0)
    volume = render(study)
    content = truth.as_dict(study, identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        hu=volume.hu,
        lung=volume.lung,
        label=volume.label,
        spacing=np.array(study.scan.grid.spacing),
        origin=np.array(study.scan.grid.origin),
        centers=np.array([n.center_mm for n in study.truth], dtype=np.float64).reshape(-1, 3),
        diameters=np.array([n.diameter_mm for n in study.truth], dtype=np.float64),
        truth=np.array(json.dumps(content)),
    )
    return content
