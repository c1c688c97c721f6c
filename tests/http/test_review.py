"""The review page: who may sign, what a foreign page can't, what the form writes, who comes second."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from server.http import dicomweb, page, review, server
from server.http.access import AccessOfRequest
from server.http.dicomweb_services import DicomWeb
from server.http.drawing import Drawing
from server.imaging.guard import GuardLimits
from server.imaging.pixel_pool import PixelPool
from server.imaging.pixels import PixelData
from server.imaging.retrieve import Retrieve
from server.security import token
from server.security.access import system
from server.settings import Settings
from server.store.packs import Packs
from server.workflow.publish import Publisher
from server.workflow.results import Results
from server.workflow.review import Reviewer
from tests.browser import Browser, chromium
from tests.http import page_example as example
from tests.http.page_example import Way
from tests.http.test_page import LABELS, ROOT, serving, way

__all__ = ["way"]

#: Waits until every image inside the page's drawings is there.
LOADED = """Promise.all([...document.querySelectorAll('svg image')].map(image => new Promise(done => {
    const copy = new Image(); copy.onload = copy.onerror = () => setTimeout(done, 200);
    copy.src = image.getAttribute('href');
}))).then(() => 1)"""
LONG, SHORT = "f0.SCT|103339001", "f0.SCT|103340004"


@contextmanager
def served(way: Way, settings: Settings) -> Iterator[str]:
    access = AccessOfRequest(settings, way.database)
    results = Results(way.database, way.repository, labels=LABELS, study_quiet=settings.study_quiet)
    retrieve = Retrieve(way.database, Packs(settings.blobs), GuardLimits())
    pool = PixelPool(1, 1 << 30, idle=0.5)
    services = DicomWeb(
        settings=settings, database=way.database, ingest=way.ingest, retrieve=retrieve, pool=pool,
        pixels=PixelData(retrieve, pool), access=access,
    )  # fmt: skip
    publisher = Publisher(repository=way.repository, ingest=way.ingest, uid_root="2.25", peers=())
    reviewer = Reviewer(
        database=way.database, repository=way.repository, retrieve=retrieve, publisher=publisher, uid_root="2.25"
    )
    drawing = Drawing(settings)
    routers = [
        page.router(results, access, drawing),
        review.router(reviewer, results, access, drawing),
        dicomweb.router(services),
    ]
    with serving(server.create(routers)) as url:
        yield url
    pool.close()


@pytest.fixture
def report(way: Way) -> str:
    """Id of a report with two findings."""
    way.receive()
    way.complete()
    way.find(example.findings())
    return way.repository.search(system(), "DiagnosticReport", []).matches[0].id


@pytest.fixture
def address(way: Way, settings: Settings, report: str) -> Iterator[str]:
    with served(way, settings) as url:
        yield url


@pytest.fixture
def browser(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60, headers={"Accept-Language": "en"}) as client:
        yield client


def hidden(text: str, name: str) -> str:
    found = re.search(rf'name="{re.escape(name)}" value="([^"]*)"', text)
    assert found, name
    return found[1]


def form(text: str, **more: str) -> dict[str, str]:
    """What a browser would send of the page: its hidden fields, and what was filled in."""
    names = set(re.findall(r'type="hidden" name="([^"]+)"', text))
    return {**{name: hidden(text, name) for name in names}, **more}


def status(way: Way, report: str) -> str:
    return str(way.repository.read(system(), "DiagnosticReport", report)["status"])


def test_findings_are_accepted_by_name(browser: httpx.Client, way: Way, report: str) -> None:
    shown = browser.get(f"/review/{report}").text
    assert shown.count('class="finding"') == 2
    assert browser.post(f"/review/{report}", data=form(shown)).status_code == 400, "nobody signed"
    answer = browser.post(f"/review/{report}", data=form(shown, person="Wang^Fang"))
    assert (answer.status_code, answer.headers["location"]) == (303, f"/?study={example.STUDY}")
    assert status(way, report) == "final"
    study = browser.get("/").text
    assert "verified by Wang, Fang" in study
    assert "people accepted 100 % of 2 findings as they were" in study
    assert "Change the verified report" in study
    assert "superseded by a newer version" in study


def test_one_is_changed_one_rejected_one_added(browser: httpx.Client, way: Way, report: str) -> None:
    shown = browser.get(f"/review/{report}").text
    instance = hidden(shown, "f0.instance")
    kind, part_solid = "a0.DCM|121071", "f0.DCM|112118"
    filled = {
        **{
            LONG: "6.5",
            SHORT: "5.5",
            part_solid: "99HUTONG|part-solid",
            "f1.decision": "reject",
            "f1.reason": "vessel",
        },
        **{"a0.add": "1", kind: "SCT|4147007", "a0.instance": instance, "a0.column": "100", "a0.row": "90"},
        **{"a0.SCT|103339001": "31", "a0.SCT|103340004": "30.5"},
    }
    answer = browser.post(f"/review/{report}", data=form(shown, person="Wang^Fang", **filled))
    assert answer.status_code == 303, answer.text
    head = way.repository.read(system(), "DiagnosticReport", report)
    lines = head["conclusion"].splitlines()
    assert len(head["result"]) == 2
    assert "Diameter 6.0 mm" in lines[1] and "Part-solid" in lines[1]
    assert lines[2].startswith("2. Mass") and "Diameter 30.8 mm" in lines[2]
    assert lines[3].startswith("Rejected by Wang Fang") and lines[3].endswith("vessel")
    study = browser.get("/").text
    assert "people accepted 0 % of 2 findings" in study and "and added 1" in study


def test_who_comes_second_is_told(browser: httpx.Client, way: Way, report: str) -> None:
    first = browser.get(f"/review/{report}").text
    assert browser.post(f"/review/{report}", data=form(first, person="A")).status_code == 303
    late = browser.post(f"/review/{report}", data=form(first, person="B", **{"f0.decision": "reject"}))
    assert late.status_code == 412
    assert "Somebody else changed this report" in late.text
    assert hidden(late.text, "if_match") == "2"
    assert browser.post(f"/review/{report}", data=form(late.text, person="B")).status_code == 303


def test_foreign_pages_can_not_write(browser: httpx.Client, way: Way, report: str) -> None:
    shown = browser.get(f"/review/{report}").text
    filled = form(shown, person="A")
    assert browser.post(f"/review/{report}", data={**filled, "proof": "0" * 64}).status_code == 403
    assert browser.post(f"/review/{report}", data={k: v for k, v in filled.items() if k != "proof"}).status_code == 403
    cross = browser.post(f"/review/{report}", data=filled, headers={"Sec-Fetch-Site": "cross-site"})
    assert cross.status_code == 403
    assert status(way, report) == "preliminary"


@pytest.mark.parametrize(
    ("name", "value"),
    [(LONG, "-3"), (LONG, "large"), (LONG, "1e999"), (LONG, "nan"), ("f0.DCM|112118", "SCT|1"), ("f0.column", "99999")],
)
def test_what_is_no_measurement_is_refused_by_name(browser: httpx.Client, report: str, name: str, value: str) -> None:
    shown = browser.get(f"/review/{report}").text
    answer = browser.post(f"/review/{report}", data=form(shown, person="A", **{"f0.row": "9", name: value}))
    assert answer.status_code in (400, 422)
    assert 'role="alert"' in answer.text


def test_reports_that_are_not_here(browser: httpx.Client) -> None:
    assert browser.get("/review/nothing").status_code == 404
    assert browser.post("/review/nothing", content=b"\xff\xfe").status_code == 400
    assert browser.post("/review/nothing", content=b"a" * (1 << 19)).status_code == 413


def test_a_token_names_who_signs(way: Way, settings: Settings, report: str) -> None:
    scopes = frozenset({"read", "write"})
    text = token.create(way.database, tenant=1, name="Dr Li Na", scopes=scopes)
    reader = token.create(way.database, tenant=1, name="reader", scopes=frozenset({"read"}))
    with (
        served(way, replace(settings, host="0.0.0.0")) as url,
        httpx.Client(base_url=url, timeout=60, headers={"Accept-Language": "en"}) as client,
    ):
        assert client.get(f"/review/{report}").status_code == 401
        client.post("/login", data={"token": reader})
        only_read = client.get(f"/review/{report}").text
        assert "Your token may only read" in only_read
        assert client.post(f"/review/{report}", data=form(only_read)).status_code == 403
        client.post("/login", data={"token": text})
        # The proof is the session's: that of another one is none.
        assert client.post(f"/review/{report}", data=form(only_read)).status_code == 403
        shown = client.get(f"/review/{report}").text
        assert "You sign as Dr Li Na" in shown
        answer = client.post(f"/review/{report}", data=form(shown, person="Somebody Else"))
        assert answer.status_code == 303
    head = way.repository.read(system(), "DiagnosticReport", report)
    assert head["resultsInterpreter"] == [{"display": "Dr Li Na"}]


def test_a_program_decides_with_bearer_and_if_match(way: Way, settings: Settings, report: str) -> None:
    text = token.create(way.database, tenant=1, name="Workstation 7", scopes=frozenset({"read", "write"}))
    with served(way, replace(settings, host="0.0.0.0")) as url:
        headers = {"Authorization": f"Bearer {text}", "If-Match": 'W/"1"'}
        uid = example.findings().findings[0].tracking_uid
        data = {"f0.uid": uid, "f0.decision": "reject"}
        assert httpx.post(f"{url}/review/{report}", data=data, headers=headers).status_code == 303
        assert httpx.post(f"{url}/review/{report}", data=data, headers=headers).status_code == 412


@pytest.fixture
def chrome(tmp_path: Path) -> Iterator[Browser]:
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    with chromium(tmp_path, width=1400, height=1300) as opened:
        yield opened


@pytest.mark.peer
def test_in_a_browser(address: str, chrome: Browser, way: Way, report: str) -> None:
    folder = ROOT / "build/screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    chrome.open(f"{address}/review/{report}?lang={quote('en')}")
    chrome.wait("document.readyState === 'complete' && document.querySelectorAll('svg.pick image').length === 3")
    chrome.click("article.finding svg.pick")
    chrome.wait("document.querySelector('[name=\"f0.column\"]').value !== ''")
    chrome.evaluate(f"document.querySelector('[name=\"{LONG}\"]').value = '6.5'")
    chrome.evaluate(f"document.querySelector('[name=\"{SHORT}\"]').value = '5.5'")
    chrome.click("[name='f1.decision'][value=reject]")
    chrome.click("details.adding summary")
    chrome.evaluate(
        "const s = document.querySelector('.slices'); s.selectedIndex = 2; s.dispatchEvent(new Event('change'))"
    )
    chrome.click("details.adding svg.pick")
    chrome.wait("document.querySelector('[name=\"a0.add\"]').checked")
    chrome.evaluate("document.querySelector('[name=person]').value = 'Wang^Fang=王^芳'")
    chrome.evaluate("scrollTo(0, 0)")
    chrome.evaluate(LOADED)
    chrome.screenshot(folder / "review-en.png")
    chrome.evaluate("document.querySelector('.sign button').click()")
    chrome.wait("!!document.querySelector('.verified')")
    chrome.evaluate(LOADED)
    chrome.screenshot(folder / "reviewed-en.png")
    head = way.repository.read(system(), "DiagnosticReport", report)
    assert head["status"] == "final"
    assert len(head["result"]) == 2
    wrong = [line for line in chrome.console if line.startswith(("answer: 4", "answer: 5", "exception"))]
    assert [line for line in wrong if "favicon" not in line] == []
