"""``hutong evaluate`` on a small chest whose nodules a report names."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pydicom
import pytest
from fhir.resources.R4B.measurereport import MeasureReport
from typer.testing import CliRunner

from ai_adapters.volume import Volume, load
from dicom_sr import codes
from dicom_sr.findings import Algorithm, Finding, Findings, Measurement, Region
from dicom_sr.voxels import pack
from dicom_sr.write_seg import write_seg
from dicom_sr.write_sr import write_sr
from server.cli.commands import application
from server.cli.evaluate.studies import Rules, find, findings_of, reference
from server.errors import Unprocessable
from server.fhir import definitions
from server.fhir.validate import validate
from tests.ai_adapters.chest import SHAPE, SPACING, chest
from tests.ai_adapters.foreign_models import bundle
from tests.ai_adapters.series import SERIES, STUDY, patient, series
from tests.ai_adapters.test_foreign import MANIFESTS, MODELS

ORIGIN = (-120.0, -110.0, -50.0)
#: (z, y, x) mm of the grid, diameter; the third is in the report and not in the lungs.
NODULES = [((64.0, 130.0, 166.0), 14.0), ((70.0, 114.0, 70.0), 11.0)]
ABSENT = ((40.0, 120.0, 72.0), 7.0)


def found(number: int, volume: Volume, place: tuple[tuple[float, float, float], float]) -> Finding:
    """A nodule as a reader measures and outlines it."""
    (z, y, x), diameter = place
    index = np.array([z, y, x]) / SPACING
    away = np.sqrt((((np.indices(SHAPE).T - index) * SPACING) ** 2).sum(axis=-1)).T
    image = volume.sources[round(index[0])]
    column, row = index[2] + 0.5, index[1] + 0.5
    circle = ((column, row), (column + diameter / 2 / SPACING[2], row))
    return Finding(
        tracking_id=f"Nodule {number}",
        tracking_uid=f"2.25.70{number}",
        finding=codes.NODULE,
        region=Region(image=image, graphic_type="CIRCLE", points=circle),
        measurements=(Measurement(concept=codes.DIAMETER, value=diameter, unit=codes.MILLIMETER),),
        mask=pack(away <= diameter / 2),
    )


def report(volume: Volume) -> Findings:
    return Findings(
        key="2.25.900",
        study_instance_uid=volume.study_instance_uid,
        frame_of_reference_uid=volume.frame_of_reference_uid,
        sources=volume.sources,
        findings=tuple(found(n + 1, volume, place) for n, place in enumerate([*NODULES, ABSENT])),
        timestamp=datetime(2026, 1, 2, tzinfo=UTC),
        person="Reader^One",
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    images = patient(series(chest(NODULES), SPACING, origin=ORIGIN))
    for number, image in enumerate(images):
        image.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    (folder / "notes.txt").write_text("no DICOM", encoding="utf-8")
    said = report(load(images))
    write_sr(said, images).save_as(folder / "sr.dcm", enforce_file_format=True)
    segmentation = write_seg(said, images)
    assert segmentation is not None
    segmentation.save_as(folder / "seg.dcm", enforce_file_format=True)
    return folder


def run(*words: str | Path) -> str:
    done = CliRunner().invoke(application("evaluate"), ["evaluate", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_two_bundles_beside_a_report_with_segments(study: Path, tmp_path: Path) -> None:
    curve, measure = tmp_path / "froc.svg", tmp_path / "report.json"
    foreign = bundle(tmp_path / "foreign", MANIFESTS["example_heat"], MODELS["example_heat"]())
    said = json.loads(
        run("nodule_detection", foreign, "--studies", study, "--json", "--curve", curve, "--measure-report", measure,
            "--data", tmp_path)
    )  # fmt: skip
    system, other = said["systems"]
    assert (other["name"], other["all"]["found"], other["all"]["dice_median"]) == ("example_heat", 2, None)
    (comparison,) = said["comparisons"]
    assert comparison["figures"]["sensitivity"]["difference"] == [0.0, 0.0, 0.0]
    assert not any(figure["clear"] for figure in comparison["figures"].values() if figure["difference"][0] == 0)
    assert said["left_out"] == []
    assert (system["scans"], system["all"]["lesions"], system["all"]["found"]) == (1, 3, 2)
    assert {name: figures["lesions"] for name, figures in system["by_size"].items()} == {
        "<= 5 mm": 0, "5-6 mm": 0, "6-8 mm": 1, "> 8 mm": 2,
    }  # fmt: skip
    assert system["all"]["segments"] == 2 and system["all"]["dice_median"] > 0.6
    assert system["all"]["volume_error_median"] < 0.5 and system["all"]["diameter_error_median_mm"] < 3
    drawn = ElementTree.parse(curve).getroot()
    assert all(f"{name}, CPM" in "".join(drawn.itertext()) for name in ("nodule_detection", "example_heat"))
    collection = json.loads(measure.read_text(encoding="utf-8"))
    assert validate(definitions.load(), collection) == ()
    for entry in collection["entry"]:
        MeasureReport.model_validate(entry["resource"])
    written = collection["entry"][0]["resource"]
    figures = {group["code"]["coding"][0]["code"]: group for group in written["group"]}
    assert figures["sensitivity"]["measureScore"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert [part["value"]["text"] for part in figures["sensitivity"]["stratifier"][0]["stratum"]] == [
        "6-8 mm",
        "> 8 mm",
    ]
    assert len(figures["froc"]["stratifier"][0]["stratum"]) == 7
    # Figures leave, and nothing that names the patient or the study.
    assert load(series(np.zeros((2, 4, 4), dtype=np.int16))).study_instance_uid not in measure.read_text()


def test_a_classifier_is_measured_by_scans_as_wholes(study: Path, tmp_path: Path) -> None:
    name, measure = "example_classifier", tmp_path / "report.json"
    folder = bundle(tmp_path / "foreign", MANIFESTS[name], MODELS[name]())
    words = [folder, "--studies", study, "--measure-report", measure, "--data", tmp_path]
    (system,) = json.loads(run(*words, "--json"))["systems"]
    assert system["scans_as_wholes"]["with_lesions"] == 1 and system["all"]["lesions"] == 0
    assert system["scans_as_wholes"]["sensitivity"][0] == 1 and system["false_positives_a_scan"] is None
    written = json.loads(measure.read_text(encoding="utf-8"))
    assert validate(definitions.load(), written) == ()
    # With one scan there is no ROC curve, and no lesion is told.
    assert [group["code"]["coding"][0]["code"] for group in written["group"]] == ["scan-sensitivity"]
    assert "Scans with lesions told from those without" in run(*words)


def test_a_product_of_which_only_reports_are_at_hand(study: Path, tmp_path: Path) -> None:
    images = [pydicom.dcmread(path) for path in sorted(study.glob("[0-9]*.dcm"))]
    whole = report(load(images))
    product = Algorithm(name="Finder", version="7", manufacturer="Vendor", device_uid="2.25.4711")
    said = replace(whole, key="2.25.903", person=None, algorithm=product, findings=whole.findings[:2])
    folder = tmp_path / "vendor"
    folder.mkdir()
    write_sr(said, images).save_as(folder / "sr.dcm", enforce_file_format=True)
    segmentation = write_seg(said, images)
    assert segmentation is not None
    segmentation.save_as(folder / "seg.dcm", enforce_file_format=True)
    measure = tmp_path / "report.json"
    words = [folder, "--studies", study, "--measure-report", measure, "--data", tmp_path, "--json"]
    (system,) = json.loads(run(*words))["systems"]
    assert (system["name"], system["all"]["lesions"], system["all"]["found"]) == ("vendor", 3, 2)
    assert system["all"]["dice_median"] == 1.0 and system["all"]["diameter_error_median_mm"] == 0.0
    device = json.loads(measure.read_text(encoding="utf-8"))["contained"][0]
    assert (device["manufacturer"], device["version"]) == ("Vendor", [{"value": "7"}])
    other = replace(said, key="2.25.904", algorithm=replace(product, version="8", device_uid="2.25.4712"))
    write_sr(other, images).save_as(folder / "other.dcm", enforce_file_format=True)
    done = CliRunner().invoke(application("evaluate"), ["evaluate", *map(str, words)])
    assert done.exit_code == 1 and "several products (Finder 7; Finder 8)" in str(done.exception)


def test_without_a_reference_nothing_is_claimed(study: Path, tmp_path: Path) -> None:
    empty = tmp_path / "references"
    empty.mkdir()
    done = CliRunner().invoke(
        application("evaluate"), ["evaluate", "nodule_detection", "--studies", str(study), "--reference", str(empty)]
    )
    assert done.exit_code == 1
    assert "no reference" in str(done.exception) and "--unreported-is-empty" in str(done.exception)


def test_which_reports_are_the_reference(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    images = [pydicom.dcmread(path) for path in sorted(study.glob("[0-9]*.dcm"))]
    said = report(load(images))
    program = Algorithm(name="a", version="1", manufacturer="m", device_uid="2.25.77")
    first = write_sr(said, images)
    later = write_sr(replace(said, key="2.25.901"), images, predecessor=first)
    of_program = write_sr(replace(said, key="2.25.902", person=None, algorithm=program), images)
    for name, dataset in (("first", first), ("later", later), ("program", of_program)):
        dataset.save_as(folder / f"{name}.dcm", enforce_file_format=True)
    (known,) = find(study, [folder])
    headers = known.headers()
    # Of a report and its successor the successor; a system's own report never, another program's if need be.
    assert {one.person for one in findings_of(known, headers, frozenset({"2.25.77"}))} == {"Reader^One"}
    assert len(findings_of(known, headers)) == 2
    for systems, unreported_is_empty, lesions in (
        (frozenset({"2.25.77"}), False, 3),
        (frozenset({"2.25.77"}), True, 3),
    ):
        rules = Rules(readers=None, unreported_is_empty=unreported_is_empty, systems=systems)
        found = reference(known, load(images), headers, rules)
        assert found is not None and len(found.truths) == lesions
    (folder / "first.dcm").unlink()
    (folder / "later.dcm").unlink()
    (alone,) = find(study, [folder])
    rules = Rules(readers=None, unreported_is_empty=False, systems=frozenset({"2.25.77"}))
    assert reference(alone, load(images), headers, rules) is None
    emptied = reference(alone, load(images), headers, replace(rules, unreported_is_empty=True))
    assert emptied is not None and emptied.truths == ()


def test_a_lidc_reading_is_a_reference(study: Path, tmp_path: Path) -> None:
    edge = "".join(
        f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>"
        for x, y in ((10, 10), (20, 10), (20, 20), (10, 20))
    )
    nodule = f"<unblindedReadNodule><roi><imageSOP_UID>2.25.10030</imageSOP_UID>{edge}</roi></unblindedReadNodule>"
    session = f"<readingSession>{nodule}</readingSession>"
    header = f"<SeriesInstanceUid>{SERIES}</SeriesInstanceUid><StudyInstanceUID>{STUDY}</StudyInstanceUID>"
    path = tmp_path / "reading.xml"
    path.write_text(
        f'<LidcReadMessage xmlns="http://www.nih.gov"><ResponseHeader>{header}</ResponseHeader>'
        f"{session * 3}<readingSession/></LidcReadMessage>",
        encoding="utf-8",
    )
    (known,) = find(study, [path])
    headers = known.headers()
    volume = load([pydicom.dcmread(Path(str(one.filename))) for one in headers])
    for readers, certain in ((None, True), (4, False)):
        found = reference(
            known, volume, headers, Rules(readers=readers, unreported_is_empty=False, systems=frozenset())
        )
        assert found is not None and [truth.certain for truth in found.truths] == [certain]
    path.write_text("<other/>", encoding="utf-8")
    with pytest.raises(Unprocessable, match="no LIDC-IDRI reading"):
        find(study, [path])
