"""A person edits a report in the browser: what every reader of the result sees afterwards."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest

from dicom_sr.read import predecessors
from server.cli.demo.client import dicom_files
from tests.browser import Browser, chromium
from tests.main_job.conftest import House, phantom
from tests.main_job.test_main_job import _program
from tests.main_job.test_viewer import _BUTTON, _DRAWN, PICTURES, _open, installed

__all__ = ["installed"]

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900), pytest.mark.xdist_group("main_job")]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with chromium(tmp_path) as opened:
        yield opened


def _reports(house: House, study: str) -> list[pydicom.Dataset]:
    return [house.client.retrieve(study, *place) for place in house.client.instances(study, "SR")]


def _category(house: House, subject: str) -> dict[str, Any]:
    found = [
        one
        for one in house.client.search(f"Observation?subject={subject}&_count=200")
        if "focus" not in one and any("table-row" in str(part["code"]) for part in one.get("component", ()))
    ]
    return found[0] if found else {}


def test_edited_in_the_browser(house: House, installed: str, browser: Browser, tmp_path: Path) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    images = dicom_files(phantom(tmp_path / "phantom", 4712))
    house.client.store(images, lambda _: None)
    study = str(images[0].StudyInstanceUID)
    report = house.await_report(study)
    subject = report["subject"]["reference"]
    house.until(lambda: _category(house, subject))
    before, (first,) = _category(house, subject), _reports(house, study)
    findings = len(report["result"])

    browser.open(f"{house.url}/?study={study}&lang=en")
    browser.click("a.review")
    # The page before has as many findings; only the review is signed.
    browser.wait(
        "document.readyState === 'complete' && !!document.querySelector('.sign button') && "
        f"document.querySelectorAll('article.finding').length === {findings}"
    )
    # All but the first go; the first is half as large as 3 mm.
    browser.evaluate("[...document.querySelectorAll('[value=reject]')].slice(1).forEach(e => e.click())")
    for name, value in (("f0.SCT|103339001", "3.2"), ("f0.SCT|103340004", "2.8"), ("person", "Wang^Fang")):
        browser.evaluate(f"document.querySelector('[name=\"{name}\"]').value = '{value}'")
    browser.screenshot(PICTURES / "review-phantom.png")
    browser.evaluate("document.querySelector('.sign button').click()")
    browser.wait("!!document.querySelector('p.verified')")
    house.until(lambda: _category(house, subject)["valueCodeableConcept"] != before["valueCodeableConcept"])
    shown = _category(house, subject)["valueCodeableConcept"]["text"]
    browser.wait(f"document.body.innerText.includes({shown!r})")
    browser.screenshot(PICTURES / "reviewed-phantom.png")

    second = next(one for one in _reports(house, study) if one.SOPInstanceUID != first.SOPInstanceUID)
    assert predecessors(second) == (first.SOPInstanceUID,)
    _sound_and_verified(second, tmp_path / "second.dcm")
    _final_with_its_history(house, report, findings)
    category = _category(house, subject)
    assert category["id"] == before["id"]
    said = httpx.get(f"{house.url}/fhir/Observation/{category['id']}/_history/1").json()
    assert said["valueCodeableConcept"] == before["valueCodeableConcept"]
    _on_paper_and_in_space(house, browser, study, str(report["id"]))
    _in_a_viewer(house, browser, study)


def _sound_and_verified(second: pydicom.Dataset, path: Path) -> None:
    """DICOM: version 2 of the SR."""
    assert (second.VerificationFlag, second.CompletionFlag) == ("VERIFIED", "COMPLETE")
    second.save_as(path)
    checked = subprocess.run([_program("dciodvfy"), str(path)], capture_output=True, text=True)
    assert [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("Error")] == []


def _final_with_its_history(house: House, report: dict[str, Any], findings: int) -> None:
    """FHIR: the same report, final; its first version is still what the AI said."""
    now = httpx.get(f"{house.url}/fhir/DiagnosticReport/{report['id']}").json()
    assert (now["status"], len(now["result"])) == ("final", 1)
    was = httpx.get(f"{house.url}/fhir/DiagnosticReport/{report['id']}/_history/1").json()
    assert (was["status"], len(was["result"])) == ("preliminary", findings)
    gone = [one for one in report["result"] if one not in now["result"]]
    states = {httpx.get(f"{house.url}/fhir/{one['reference']}").json()["status"] for one in gone}
    assert states <= {"entered-in-error"}


def _on_paper_and_in_space(house: House, browser: Browser, study: str, report: str) -> None:
    """Two documents in the study, named by the report; the lungs and what is left, drawn."""
    place = f"{house.url}/fhir/DiagnosticReport/{report}"
    house.until(lambda: "presentedForm" in httpx.get(place).json())
    papers = [httpx.get(form["url"]) for form in httpx.get(place).json()["presentedForm"]]
    assert [(paper.headers["content-type"], paper.content[:5]) for paper in papers] == [
        ("application/pdf", b"%PDF-")
    ] * 2
    assert len(house.client.instances(study, "DOC")) == 2
    browser.open(f"{house.url}/report/{report}?lang=zh")
    browser.wait("document.querySelector('figure.space').dataset.drawn === '2'")
    browser.screenshot(PICTURES / "report-phantom-zh.png")


def _in_a_viewer(house: House, browser: Browser, study: str) -> None:
    """A viewer reads version 2 by TID 1500 as it does any other."""
    browser.open(f"{house.url}/viewer/viewer?StudyInstanceUIDs={study}")
    browser.wait(_DRAWN)
    for button in ("Confirm and hide", "Skip all"):
        browser.wait(_BUTTON % button)
    _open(browser, "Verified findings (SR)")
    browser.wait("cornerstoneTools.annotation.state.getAllAnnotations().some(a => /SR/.test(a.metadata.toolName))")
    browser.wait(_BUTTON % "Yes")
    browser.wait("services.measurementService.getMeasurements().length === 1")
    browser.screenshot(PICTURES / "ohif-verified.png")
