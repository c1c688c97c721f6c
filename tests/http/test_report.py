"""The report's pages: their numbers are those of the FHIR resources, in both languages, on paper and in space."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import httpx
import pypdfium2
import pytest
from pydicom import Dataset, dcmread

from ai_adapters.tracking import COMPARED_WITH
from dicom_sr import codes
from dicom_sr.findings import Findings, Gone
from server.http import dicomweb, page, report, report_pdf, server, wording
from server.http.access import AccessOfRequest
from server.http.dicomweb_services import DicomWeb
from server.http.drawing import Drawing, crop
from server.imaging.guard import GuardLimits
from server.imaging.pixel_pool import PixelPool
from server.imaging.pixels import PixelData
from server.imaging.retrieve import Retrieve
from server.security.access import system
from server.settings import Peer, Settings
from server.store.packs import Packs
from server.workflow import report_view
from server.workflow.images import KEY_OBJECT_SELECTION
from server.workflow.publish import Publisher
from server.workflow.report_document import DocumentWriter
from server.workflow.reporter import Reporter
from server.workflow.results import Results
from server.workflow.review import Decisions, Reviewer
from terminology.private_scheme import CHANGE
from tests.browser import chromium
from tests.dicom_sr import examples
from tests.http import page_example as example
from tests.http.page_example import Way
from tests.http.test_page import LABELS, ROOT, serving, way
from tests.http.test_review import LOADED

__all__ = ["way"]

#: How many pixels of the view in space are not black.
_LIT = """(() => {
    const gl = document.querySelector('canvas').getContext('webgl');
    const seen = new Uint8Array(900 * 520 * 4);
    gl.readPixels(0, 0, 900, 520, gl.RGBA, gl.UNSIGNED_BYTE, seen);
    let lit = 0;
    for (let i = 0; i < seen.length; i += 4) if (seen[i] + seen[i + 1] + seen[i + 2] > 60) lit++;
    return lit;
})()"""
PICTURES = ROOT / "build/screenshots"
PEER = Peer(name="pacs", ae_title="PACS", send_results=True)

#: Where a page takes the slice of a lesion from.
_KEY_IMAGE = r'<image href="/dicomweb/studies/[0-9.]+/series/[0-9.]+/instances/[0-9.]+/rendered'


@pytest.fixture
def reporter(way: Way, settings: Settings) -> Iterator[Reporter]:
    results = Results(way.database, way.repository, labels=LABELS, study_quiet=settings.study_quiet)
    retrieve = Retrieve(way.database, Packs(settings.blobs), GuardLimits())
    pool = PixelPool(1, 1 << 30)
    yield Reporter(
        database=way.database,
        repository=way.repository,
        results=results,
        retrieve=retrieve,
        pixels=PixelData(retrieve, pool),
    )
    pool.close()


@pytest.fixture
def report_id(way: Way) -> str:
    """Id of a report on two findings, with a category and a plan that followed."""
    way.receive()
    way.complete()
    way.find(example.findings())
    way.conclude()
    return way.repository.search(system(), "DiagnosticReport", []).matches[0].id


@contextmanager
def served(way: Way, settings: Settings, reporter: Reporter) -> Iterator[str]:
    access, drawing = AccessOfRequest(settings, way.database), Drawing(settings)
    services = DicomWeb(
        settings=settings, database=way.database, ingest=way.ingest, retrieve=reporter.retrieve,
        pool=reporter.pixels._pool, pixels=reporter.pixels, access=access,
    )  # fmt: skip
    routers = [
        page.router(reporter.results, access, drawing),
        report.router(reporter, access, drawing),
        dicomweb.router(services),
    ]
    with serving(server.create(routers)) as url:
        yield url


@pytest.fixture
def address(way: Way, settings: Settings, reporter: Reporter, report_id: str) -> Iterator[str]:
    with served(way, settings, reporter) as url:
        yield url


def quantities(way: Way, report_id: str) -> list[str]:
    """Every number of the report's Observations, digit for digit, with its unit for people."""
    found = []
    head = way.repository.read(system(), "DiagnosticReport", report_id)
    for group in (way.repository.read(system(), "Observation", one["reference"][12:]) for one in head["result"]):
        for member in group["hasMember"]:
            quantity = way.repository.read(system(), "Observation", member["reference"][12:]).get("valueQuantity")
            if quantity:
                found.append(f"{quantity['value']} {quantity['code'].replace('mm3', 'mm³')}")
    return found


def numbers_in(text: str) -> list[str]:
    return re.findall(r"(?<![\d.])\d+(?:\.\d+)? (?:mm³|mm|%)", text)


def text_of(pdf: bytes) -> str:
    """The PDF's text, by another's reader."""
    with closing(pypdfium2.PdfDocument(pdf)) as document:
        return "\n".join(page.get_textpage().get_text_bounded() for page in document)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_page_says_the_numbers_of_the_resources(address: str, way: Way, report_id: str, language: str) -> None:
    answer = httpx.get(f"{address}/report/{report_id}?lang={language}", timeout=60)
    assert answer.status_code == 200
    facts = " ".join(re.findall(r"<li>([^<]*)</li>", answer.text))
    assert numbers_in(facts) == quantities(way, report_id)
    assert {"en": "Category 4A", "zh": "Category 4A"}[language] in answer.text
    assert {"en": "not verified by a person", "zh": "未经人工审核"}[language] in answer.text
    assert re.search(_KEY_IMAGE, answer.text)
    assert {"en": "Long Axis", "zh": "长径"}[language] in facts


@pytest.mark.parametrize("language", ["en", "zh"])
def test_paper_says_the_numbers_of_the_resources(address: str, way: Way, report_id: str, language: str) -> None:
    answer = httpx.get(f"{address}/report/{report_id}/pdf?lang={language}", timeout=60)
    assert answer.headers["content-type"] == "application/pdf"
    text = text_of(answer.content)
    assert numbers_in(text) == quantities(way, report_id)
    assert {"en": "Imaging report", "zh": "影像报告"}[language] in text
    assert {"en": "Wang, XiaoDong", "zh": "王小东"}[language] in text
    assert "Category 4A" in text
    PICTURES.mkdir(parents=True, exist_ok=True)
    with closing(pypdfium2.PdfDocument(answer.content)) as document:
        document[0].render(scale=1.2).to_pil().save(PICTURES / f"report-{language}-pdf.png")
    if language == "zh" and any(path.is_file() for path in report_pdf.FONTS):
        assert b"/FontFile2" in answer.content, "the font with Chinese is embedded"


def test_the_same_content_is_the_same_paper(reporter: Reporter, report_id: str) -> None:
    document = reporter.document(system(), report_id)
    assert report_pdf.draw(document, {}, "zh") == report_pdf.draw(document, {}, "zh")
    assert report_pdf.draw(document, {}, "zh") != report_pdf.draw(document, {}, "en")


def _writer(way: Way, reporter: Reporter) -> DocumentWriter:
    return DocumentWriter(
        database=way.database, repository=way.repository, reporter=reporter,
        publisher=Publisher(repository=way.repository, ingest=way.ingest, uid_root="2.25", peers=(PEER,)),
        draw=report_pdf.draw, crop=crop, wado_url="http://hutong.test/dicomweb",
    )  # fmt: skip


@pytest.mark.peer
def test_paper_of_a_verified_report_is_an_instance_of_the_study(
    way: Way, reporter: Reporter, report_id: str, tmp_path: Path
) -> None:
    writer = _writer(way, reporter)
    writer.run(1, report_id)
    assert "presentedForm" not in way.repository.read(system(), "DiagnosticReport", report_id), "nobody verified it"
    publisher = Publisher(repository=way.repository, ingest=way.ingest, uid_root="2.25", peers=())
    reviewer = Reviewer(
        database=way.database, repository=way.repository, retrieve=reporter.retrieve, publisher=publisher,
        uid_root="2.25",
    )  # fmt: skip
    reviewer.decide(system(), report_id, "Wang^Fang=王^芳", Decisions(if_match="1"))
    writer.run(1, report_id)
    head = way.repository.read(system(), "DiagnosticReport", report_id)
    assert [(form["contentType"], form["language"]) for form in head["presentedForm"]] == [
        ("application/pdf", "en"),
        ("application/pdf", "zh"),
    ]
    for form in head["presentedForm"]:
        place = form["url"].partition("/dicomweb/")[2].partition("/rendered")[0].split("/")
        (located,) = reporter.retrieve.locate(system(), place[1], place[3], place[5])
        path = tmp_path / "document.dcm"
        path.write_bytes(reporter.retrieve.file(system(), located))
        checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
        assert [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("Error")] == []
        pdf = dcmread(path).EncapsulatedDocument[: form["size"]]
        assert numbers_in(text_of(bytes(pdf))) == quantities(way, report_id)
    selection = _key_objects(reporter)
    path.write_bytes(selection)
    checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    assert [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("Error")] == []
    shown = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in _images(dcmread(path))]
    regions = [one.region for one in example.findings().findings]
    assert shown == [one.image.sop_instance_uid for one in regions if one is not None]
    with way.database.reading() as uow:
        sent = uow.driver.execute("select count(*) from sending where peer = 'pacs' and rule = 'results'").fetchone()
    assert sent == (3,), "both documents and the key images"
    # Done again, there is nothing new.
    writer.run(1, report_id)
    assert _key_objects(reporter) == selection
    assert way.repository.read(system(), "DiagnosticReport", report_id)["meta"] == head["meta"]


def _key_objects(reporter: Reporter) -> bytes:
    """The one selection of key images that is stored."""
    (place,) = [one for one in reporter.retrieve.locate(system()) if one.sop_class == KEY_OBJECT_SELECTION]
    return reporter.retrieve.file(system(), place)


def _images(selection: Dataset) -> list[Dataset]:
    return [item for item in selection.ContentSequence if item.ValueType == "IMAGE"]


def test_a_lesion_over_two_studies(way: Way, address: str, reporter: Reporter) -> None:
    before = example.findings().findings[0]
    lesion = way.repository.search(system(), "BodyStructure", [("identifier", f"urn:oid:{before.tracking_uid}")])
    (found,) = lesion.matches
    earlier = example.findings()
    smaller = replace(before, measurements=tuple(replace(m, value=m.value / 2) for m in before.measurements))
    _say_at(way, replace(earlier, key="e" * 64, findings=(smaller,)), "2025-10-02T08:00:00Z")
    points = reporter.history(system(), found.id)[1]
    assert len(points) == 2
    said = [[float(one.value) for one in point.numbers if one.concept == codes.VOLUME] for point in points]
    assert sorted(said) == [[368.0], [736.0]]
    text = httpx.get(f"{address}/lesion/{found.id}?lang=en").text
    assert re.search(_KEY_IMAGE, text)
    curve = text.partition("Volume")[2].partition("</section>")[0]
    assert re.findall(r'class="value"[^>]*>([^<]*)<', curve) == [str(int(value[0])) for value in said]
    heights = [float(y) for y in re.findall(r'<circle cx="[^"]*" cy="([^"]*)"', curve)]
    assert len(heights) == 2 and heights[0] - heights[1] != 0
    # The report that is here shows its image, and what it says besides; both are linked.
    assert text.count('<article class="finding">') == 2 and text.count("<image href=") == 1
    assert [point.report != "" for point in points] == [False, True]
    assert "Wang, XiaoDong" in text and "slice " in text


def test_a_curve_has_round_levels_and_stays_inside() -> None:
    def number(value: str) -> report_view.Number:
        return report_view.Number(concept=codes.VOLUME, value=Decimal(value), unit="mm3")

    def point(when: str, value: str) -> report_view.Point:
        line = report_view.Line(
            observation="", lesion="", finding=codes.NODULE, places=(), numbers=(), qualities=(), by_person=False,
            key_slice=None,
        )  # fmt: skip
        return report_view.Point(when=when, report="", line=line, numbers=(number(value),))

    (curve,) = report.curves((point("2025-01-01", "96"), point("2025-07-01", "204")))
    assert [label for label, _ in curve.levels] == ["0", "100", "200", "300"]
    low, high = curve.levels[0][1], curve.levels[-1][1]
    assert all(high < y < low for _, _, _, y in curve.points)
    assert curve.points[0][2] < curve.points[1][2]
    assert curve.labelled == (curve.points[1][2], curve.points[0][2])
    (alone,) = report.curves((point("2025-01-01", "0.4"),))
    assert len(alone.points) == 1 and alone.levels[-1][0] == "0.5"
    (crowded,) = report.curves(tuple(point(when, "96") for when in ("2024-01-01", "2024-12-30", "2025-01-01")))
    assert crowded.labelled == (crowded.points[2][2], crowded.points[0][2]), "the newest and what stands clear of it"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_was_concluded_of_one_nodule_stands_with_it(
    way: Way, address: str, report_id: str, reporter: Reporter, language: str
) -> None:
    head = way.repository.read(system(), "DiagnosticReport", report_id)
    second = reporter.document(system(), report_id).lines[1]
    way.repository.update(
        system(),
        {
            "resourceType": "Observation", "id": "of-one", "status": "preliminary", "subject": head["subject"],
            "code": {"text": "Category of one nodule"}, "focus": [{"reference": f"BodyStructure/{second.lesion}"}],
            "derivedFrom": [{"reference": second.observation}],
            "valueCodeableConcept": {"text": "Category 77"},
        },
    )  # fmt: skip
    document = reporter.document(system(), report_id)
    assert [len(line.consequences) for line in document.lines] == [0, 1]
    assert "of-one" not in [one["id"] for one in document.consequences]
    text = httpx.get(f"{address}/report/{report_id}?lang={language}", timeout=60).text
    first, second_card = re.findall(r'<article class="finding".*?</article>', text, re.DOTALL)
    assert "Category 77" in second_card and text.count("Category 77") == 1
    assert {"en": "Category of one nodule", "zh": "单个结节的分类"}[language] in second_card
    assert "slice" in first if language == "en" else "层" in first
    paper = text_of(httpx.get(f"{address}/report/{report_id}/pdf?lang={language}", timeout=60).content)
    assert "Category 77" in paper.partition("2. ")[2]
    study = httpx.get(f"{address}/?study={document.patient.study}&lang={language}", timeout=60).text
    (concluded,) = re.findall(r'<article class="observation">(?:(?!</article>).)*Category 77', study, re.DOTALL)
    (card,) = re.findall(r'<article class="finding"(?:(?!</article>).)*' + second.lesion, study, re.DOTALL)
    number = r'class="ordinal">(\d)<'
    assert re.findall(number, concluded) == re.findall(number, card)[:1] != []


def test_page_and_paper_name_the_study_compared_with(way: Way, settings: Settings, reporter: Reporter) -> None:
    found = example.findings()
    assert found.algorithm is not None
    compared = replace(found.algorithm, parameters=((COMPARED_WITH, found.study_instance_uid),))
    way.receive()
    way.complete()
    way.find(replace(found, algorithm=compared))
    report_id = way.repository.search(system(), "DiagnosticReport", []).matches[0].id
    document = reporter.document(system(), report_id)
    assert document.compared == document.patient.study_date != ""
    said = f"Compared with the study of {wording.date(document.compared)}"
    with served(way, settings, reporter) as url:
        assert said in httpx.get(f"{url}/report/{report_id}?lang=en", timeout=60).text
        paper = httpx.get(f"{url}/report/{report_id}/pdf?lang=en", timeout=60).content
    assert said in text_of(paper)
    with closing(pypdfium2.PdfDocument(paper)) as pages:
        assert all("Wang, XiaoDong" in one.get_textpage().get_text_bounded(top=45) for one in pages), "under each page"


def test_a_lesion_that_is_gone_is_named_as_what_it_was(way: Way, reporter: Reporter) -> None:
    found = example.findings()
    before = found.findings[0]
    gone = Gone(
        tracking_id=before.tracking_id, tracking_uid="2.25.777", finding=before.finding, site=before.site,
        laterality=before.laterality,
    )  # fmt: skip
    way.receive()
    way.complete()
    way.find(replace(found, gone=(gone,)))
    report_id = way.repository.search(system(), "DiagnosticReport", []).matches[0].id
    line = reporter.document(system(), report_id).lines[-1]
    assert (line.finding, line.qualities) == (before.finding, ((CHANGE, codes.ABSENT),))
    assert set(line.places) == {place for place in (before.site, before.laterality) if place}
    (point,) = reporter.history(system(), line.lesion)[1]
    assert point.line.qualities == line.qualities
    head = way.repository.read(system(), "DiagnosticReport", report_id)
    assert "No longer there: " in head["conclusion"]


def _say_at(way: Way, found: Findings, when: str) -> None:
    """A report on an earlier study of the same patient."""
    from dicom_sr.fhir_elements import Instance
    from dicom_sr.to_fhir import to_fhir

    study = {**way.repository.read(system(), "ImagingStudy", "study"), "id": "earlier"}
    study.pop("identifier")
    way.repository.update(system(), study)
    sr = Instance(study_instance_uid="1.2", series_instance_uid="1.3", sop_instance_uid="1.4", sop_class_uid="1.5")
    made = to_fhir(
        found, subject=study["subject"], imaging_study={"reference": "ImagingStudy/earlier"}, sr=sr, effective=when
    )
    for resource in made:
        if resource["resourceType"] in ("Observation", "Device"):
            way.repository.update(system(), resource)


def test_surfaces_lie_where_the_findings_do(address: str, way: Way, report_id: str) -> None:
    shapes = httpx.get(f"{address}/report/{report_id}/surfaces", timeout=120).json()
    wanted = {one.tracking_uid: one for one in example.findings().findings}
    found = {shape["tracking_uid"]: shape for shape in shapes}
    assert set(wanted) == set(found) - {""}
    assert "" in found, "the lungs are drawn"
    for uid, shape in found.items():
        assert max(shape["triangles"]) < len(shape["positions"]) / 3
        if uid:
            middle = [(min(shape["positions"][n::3]) + max(shape["positions"][n::3])) / 2 for n in range(3)]
            mask = wanted[uid].mask
            assert mask is not None
            first, size = mask.origin, mask.shape
            voxel = [start + (count - 1) / 2 for start, count in zip(first, size, strict=True)]
            # From slice, row and column to x, y and z by the headers of the example.
            x, y, z = examples.ORIGIN
            expected = [x + voxel[2] * example.PIXEL_MM, y + voxel[1] * example.PIXEL_MM, z + voxel[0] * 1.25]
            assert middle == pytest.approx(expected, abs=0.6)


def test_reports_and_lesions_that_are_not_here(address: str) -> None:
    for path in ("/report/nothing", "/report/nothing/pdf", "/report/nothing/surfaces", "/lesion/nothing"):
        assert httpx.get(f"{address}{path}").status_code == 404, path


def test_the_pdf_is_in_a_language_that_there_is(address: str, report_id: str) -> None:
    assert httpx.get(f"{address}/report/{report_id}/pdf?lang=xx").status_code == 400


@pytest.mark.peer
def test_in_a_browser(address: str, report_id: str, tmp_path: Path) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with chromium(tmp_path, width=1200, height=1500) as browser:
        for language in ("en", "zh"):
            browser.open(f"{address}/report/{report_id}?lang={language}")
            browser.wait(
                "document.readyState === 'complete' && document.querySelector('figure.space').dataset.drawn === '3'"
            )
            browser.evaluate(LOADED)
            browser.screenshot(PICTURES / f"report-{language}.png")
            lit = browser.evaluate(_LIT)
            assert lit > 5000, "something is drawn"
        browser.open(f"{address}/lesion/{_lesion(address, report_id)}?lang=zh")
        browser.wait("!!document.querySelector('.curve circle')")
        browser.screenshot(PICTURES / "lesion-zh.png")
        wrong = [line for line in browser.console if line.startswith(("answer: 4", "answer: 5", "exception"))]
        assert [line for line in wrong if "favicon" not in line] == []


def _lesion(address: str, report_id: str) -> str:
    found = re.search(r'href="/lesion/([^"]+)"', httpx.get(f"{address}/report/{report_id}").text)
    assert found
    return found[1]
