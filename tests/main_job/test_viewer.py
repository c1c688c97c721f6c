"""OHIF at /viewer, in a real browser: the study opens, the report's marks and the segments are seen."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from server.cli.demo.client import dicom_files
from server.cli.viewer.install import VERSION
from tests.browser import Browser, chromium
from tests.main_job.conftest import ROOT, House, phantom

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600), pytest.mark.xdist_group("main_job")]

#: Where the screenshots are kept for people to look at.
PICTURES = ROOT / "build" / "screenshots"
_THUMBNAIL = """(() => {
    const found = [...document.querySelectorAll('[data-cy^=study-browser-thumbnail]')]
        .find(e => e.innerText.includes(%r));
    const box = found && found.getBoundingClientRect();
    return box && box.width && [box.x + box.width / 2, box.y + box.height / 2];
})()"""
_BUTTON = """(() => {
    const found = [...document.querySelectorAll('button')].find(e => e.innerText.trim() === %r);
    if (found) found.click();
    return !!found;
})()"""
#: Whether an image is shown, and is not of one colour.
_DRAWN = """(() => {
    const view = cornerstone.getRenderingEngines()[0].getViewports()[0];
    const pixels = new Set(view.getCornerstoneImage().getPixelData());
    return view.getImageIds().length > 10 && pixels.size > 100;
})()"""


@pytest.fixture(scope="module")
def installed(house: House) -> str:
    """OHIF in the server's data folder, fetched through npm as a user would."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    command = [sys.executable, "-m", "server", "viewer", "install", "--data", str(house.data), "--json"]
    ran = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with chromium(tmp_path) as opened:
        yield opened


def _open(browser: Browser, text: str) -> None:
    browser.click_at(*browser.wait(_THUMBNAIL % text), clicks=2)


def test_nothing_outside_the_build_is_given(house: House, installed: str) -> None:
    assert VERSION in installed
    for path in ("../serve.lock", "%2e%2e/serve.lock", "assets/../../serve.lock", "installed.json", "sw.js"):
        assert httpx.get(f"{house.url}/viewer/{path}").status_code == 404, path


def test_study_report_and_segments_are_seen(house: House, installed: str, browser: Browser, tmp_path: Path) -> None:
    assert VERSION in installed
    PICTURES.mkdir(parents=True, exist_ok=True)
    images = dicom_files(phantom(tmp_path / "phantom", 4711))
    house.client.store(images, lambda _: None)
    study = str(images[0].StudyInstanceUID)
    house.await_report(study)
    [(series, instance)] = house.client.instances(study, "SEG")
    found = len(house.client.retrieve(study, series, instance).SegmentSequence)
    assert found

    browser.open(f"{house.url}/viewer/viewer?StudyInstanceUIDs={study}")
    browser.wait(_DRAWN)
    for button in ("Confirm and hide", "Skip all"):
        browser.wait(_BUTTON % button)
    browser.screenshot(PICTURES / "ohif-study.png")

    _open(browser, "AI findings (SR)")
    browser.wait("cornerstoneTools.annotation.state.getAllAnnotations().some(a => /SR/.test(a.metadata.toolName))")
    browser.screenshot(PICTURES / "ohif-sr.png")
    browser.wait(_BUTTON % "Yes")
    browser.wait(f"services.measurementService.getMeasurements().length === {found}")
    browser.click("[data-cy=trackedMeasurements-btn]")
    browser.wait("document.body.innerText.includes('Nodule')")
    browser.screenshot(PICTURES / "ohif-hydrated.png")

    _open(browser, "AI findings (SEG)")
    browser.wait(_BUTTON % "Yes")
    segments = "Math.max(...services.segmentationService.getSegmentations().map(s => Object.keys(s.segments).length))"
    browser.wait(f"{segments} === {found}")
    browser.screenshot(PICTURES / "ohif-seg.png")
    assert not [line for line in browser.console if line.startswith(("answer: 4", "answer: 5", "exception"))]
