"""The results page over a real database: what it shows at each step, in both languages, to whom."""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from server.fhir import definitions
from server.http import dicomweb, page, server
from server.http.access import COOKIE, AccessOfRequest
from server.http.dicomweb_services import DicomWeb
from server.http.drawing import Drawing
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest
from server.imaging.pixel_pool import PixelPool
from server.imaging.pixels import PixelData
from server.imaging.retrieve import Retrieve
from server.repository import Repository
from server.search.find import Search
from server.security import token
from server.settings import Settings
from server.store.database import Database
from server.store.packs import Packs
from server.workflow.result_view import Label
from server.workflow.results import Results
from tests.http import page_example as example
from tests.http.page_example import Way

ROOT = Path(__file__).parent.parent.parent
LABELS = {example.ADAPTER: Label(title="Nodule detection", intended_use="Not for diagnosis; for tests & pictures.")}


@pytest.fixture
def way(database: Database, settings: Settings) -> Way:
    facts = definitions.load()
    return Way(
        database=database,
        ingest=Ingest(database, Packs(settings.blobs), GuardLimits(), UTC),
        repository=Repository(database, facts, Search(facts)),
    )


def application(way: Way, settings: Settings) -> FastAPI:
    access = AccessOfRequest(settings, way.database)
    results = Results(way.database, way.repository, labels=LABELS, study_quiet=settings.study_quiet)
    retrieve = Retrieve(way.database, Packs(settings.blobs), GuardLimits())
    # Its processes end by themselves, shortly after the last picture.
    pool = PixelPool(1, 1 << 30, idle=0.5)
    services = DicomWeb(
        settings=settings,
        database=way.database,
        ingest=way.ingest,
        retrieve=retrieve,
        pool=pool,
        pixels=PixelData(retrieve, pool),
        access=access,
    )
    return server.create([page.router(results, access, Drawing(settings)), dicomweb.router(services)])


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The address of an application under uvicorn."""
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    running.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def address(way: Way, settings: Settings) -> Iterator[str]:
    with serving(application(way, settings)) as url:
        yield url


@pytest.fixture
def browser(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60, headers={"Accept-Language": "en"}) as client:
        yield client


class _Markup(HTMLParser):
    """Every element with its attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [
            found
            for name, found in self.elements
            if name == tag and all(found.get(key.rstrip("_")) == value for key, value in attributes.items())
        ]


def test_empty_page_says_how_to_send(browser: httpx.Client, settings: Settings) -> None:
    answer = browser.get("/")
    assert answer.status_code == 200
    assert "No study has arrived yet." in answer.text
    assert settings.ae_title in answer.text
    assert "open on loopback" in answer.text


def test_arriving_study_counts_down(browser: httpx.Client, way: Way, settings: Settings) -> None:
    way.receive()
    shown = _Markup(browser.get("/").text)
    assert "8 instances" in shown.text
    assert "Wang, XiaoDong" in shown.text
    assert "CT chest <low dose>" in shown.text
    assert re.search(r"complete in [01] s without another image", shown.text)


def test_each_step_of_an_analysis_is_shown(browser: httpx.Client, way: Way) -> None:
    way.receive()
    way.complete()
    assert "No adapter was asked to read this study." in browser.get("/").text
    for status, word in (("requested", "waiting"), ("in-progress", "running")):
        way.ask(status)
        shown = browser.get("/live").text
        assert word in shown
        assert "analysing" in shown
    way.find(example.findings())
    shown = browser.get("/live").text
    assert "2 findings" in shown
    assert "in 12.3 s · CPUExecutionProvider" in shown


@pytest.mark.parametrize("status", ["failed", "rejected"])
def test_reason_of_a_failure_is_shown(browser: httpx.Client, way: Way, status: str) -> None:
    way.receive()
    way.complete()
    way.ask(status, reason="Slices are missing between <12> and 13.")
    text = browser.get("/").text
    assert "Slices are missing between &lt;12&gt; and 13." in text
    assert f'class="state {status}"' in text


def test_finding_is_drawn_on_its_slice(browser: httpx.Client, way: Way) -> None:
    found = example.findings()
    way.receive()
    way.complete()
    way.find(found)
    shown = _Markup(browser.get("/").text)
    second = found.findings[1]
    assert second.region is not None
    outlines = shown.all("polyline", class_="outline")
    assert len(outlines) == 2
    drawn = [tuple(map(float, pair.split(","))) for pair in str(outlines[1]["points"]).split()]
    assert drawn == list(second.region.points)
    assert len(shown.all("polyline", class_="long")) == len(shown.all("polyline", class_="short")) == 2
    instance = second.region.image.sop_instance_uid
    pictures = [str(one["href"]) for one in shown.all("image")]
    assert any(f"/instances/{instance}/rendered" in one and "window=-600,1500,linear" in one for one in pictures)
    (x, y, width, height), center = _box(shown), example.middle(second)
    assert x < center[0] < x + width
    assert y < center[1] < y + height
    assert "slice 6 of 8" in shown.text
    for text in ("12.0 mm", "10.4 mm", "11.2 mm", "736 mm³", "Part-solid", second.tracking_uid, "88 %"):
        assert text.lower() in shown.text.lower(), text


def _box(shown: _Markup) -> list[float]:
    return [float(part) for part in str(shown.all("svg", class_="large")[1]["viewbox"]).split()]


def test_every_fhir_link_is_a_resource_that_is_there(browser: httpx.Client, way: Way) -> None:
    way.receive()
    way.complete()
    way.find(example.findings())
    way.conclude()
    links = {str(one["href"]) for one in _Markup(browser.get("/").text).all("a")}
    references = {link.removeprefix("/fhir/") for link in links if link.startswith("/fhir/") and "metadata" not in link}
    kinds = {reference.partition("/")[0] for reference in references}
    assert kinds == {
        *("Patient", "ImagingStudy", "Task", "DiagnosticReport", "Observation", "BodyStructure"),
        *("CarePlan", "ServiceRequest", "Provenance", "Device"),
    }
    for reference in references:
        resource_type, id = reference.split("/")
        assert way.repository.read(example.system(), resource_type, id)["id"] == id


def test_report_can_be_fetched_from_its_link(browser: httpx.Client, way: Way) -> None:
    way.receive()
    way.complete()
    way.find(example.findings())
    links = [str(one["href"]) for one in _Markup(browser.get("/").text).all("a")]
    (file,) = [link for link in links if link.endswith("?accept=application/dicom")]
    answer = browser.get(file)
    assert answer.status_code == 200
    assert answer.content[128:132] == b"DICM"


def test_what_followed_is_shown_as_it_was_written(browser: httpx.Client, way: Way) -> None:
    way.receive()
    way.complete()
    way.find(example.findings())
    way.conclude("Category <4A>")
    text = browser.get("/").text
    assert "Category &lt;4A&gt;" in text
    assert "Low-dose CT of the chest in 3 months" in text
    assert "2026-04-02" in text
    assert "Follow-up of nodules" in text


def test_nothing_found_is_said_and_followed(browser: httpx.Client, way: Way) -> None:
    way.receive()
    way.complete()
    way.find(example.nothing())
    way.conclude("Category 1")
    text = browser.get("/").text
    assert "nothing found" in text
    assert "Nothing was found that reaches the model" in text
    assert "Category 1" in text


def test_newer_analysis_takes_the_place_of_the_older(browser: httpx.Client, way: Way) -> None:
    way.receive()
    way.complete()
    old = example.findings()
    way.find(old)
    new = replace(old, key="beef" * 16, findings=old.findings[:1])
    way.ask("in-progress", task="t2")
    assert "analysing" in browser.get("/").text
    way.find(new, task="t2", predecessor=old.key)
    shown = _Markup(browser.get("/").text)
    assert "superseded by a newer version" in shown.text
    assert "1 finding" in shown.text
    assert len(shown.all("article", class_="finding")) == 1


def test_report_of_somebody_else_is_shown_as_theirs(browser: httpx.Client, way: Way) -> None:
    way.receive()
    way.complete()
    way.find(example.findings(), task="")
    shown = _Markup(browser.get("/").text)
    assert "A report that was received, not made here." in shown.text
    assert "2 findings" in shown.text
    assert "No adapter was asked" not in shown.text
    assert len(shown.all("article", class_="finding")) == 2


def test_safety_statement_comes_from_the_manifest(browser: httpx.Client, way: Way) -> None:
    way.receive()
    way.complete()
    way.ask()
    statement = "Not for diagnosis; for tests &amp; pictures."
    assert statement in browser.get("/").text
    assert "Reference model, not a medical device." in browser.get("/").text
    assert f"参考模型，不是医疗器械。 {statement}" in browser.get("/?lang=zh").text


def test_chinese_by_parameter_header_and_memory(browser: httpx.Client, way: Way) -> None:
    way.receive()
    way.complete()
    way.find(example.findings())
    assert "2 处所见" in browser.get("/", headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}).text
    assert "2 findings" in browser.get("/", headers={"Accept-Language": "de,en;q=0.8,zh;q=0.2"}).text
    chinese = browser.get("/?lang=zh").text
    assert '<html lang="zh">' in chinese
    for word in ("王小东", "长径", "参考模型，不是医疗器械。", "结节"):
        assert word in chinese
    assert "2 处所见" in browser.get("/live").text


def test_study_that_is_not_here(browser: httpx.Client, way: Way) -> None:
    way.receive()
    assert "This study is not here." in browser.get("/?study=1.2.3.4").text
    assert "Wang" in browser.get("/?study=<script>").text


def test_nothing_comes_from_elsewhere(browser: httpx.Client, way: Way) -> None:
    way.receive()
    answer = browser.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    shown = _Markup(answer.text)
    addresses = [
        value for _, found in shown.elements for key, value in found.items() if key in ("href", "src", "action")
    ]
    assert addresses
    assert all(str(address).startswith("/") and not str(address).startswith("//") for address in addresses)
    assert all("style" not in found and not any(key.startswith("on") for key in found) for _, found in shown.elements)
    for address in ("/static/page.css", "/static/page.js"):
        assert browser.get(address).status_code == 200
    assert browser.get("/static/../page.py").status_code == 404


def test_off_loopback_a_token_is_asked_for_and_kept(way: Way, settings: Settings) -> None:
    way.receive()
    text = token.create(way.database, tenant=1, name="reader", scopes=frozenset({"read"}))
    with (
        serving(application(way, replace(settings, host="0.0.0.0"))) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        refused = client.get("/")
        assert refused.status_code == 401
        assert "Wang" not in refused.text
        assert client.get("/live").status_code == 401
        assert client.post("/login", data={"token": "wrong"}).status_code == 401
        assert COOKIE not in client.cookies
        proxied = httpx.post(f"{url}/login", data={"token": text}, headers={"X-Forwarded-Proto": "https"})
        assert "secure" in proxied.headers["set-cookie"].lower()
        answer = client.post("/login", data={"token": text})
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        assert "Wang" in client.get("/").text
        assert client.get(f"/dicomweb/studies/{example.STUDY}/metadata").status_code == 200
        assert client.post("/dicomweb/studies", content=b"").status_code == 401
        client.post("/logout")
        assert client.get("/").status_code == 401


def test_token_without_the_scope_read_shows_nothing(way: Way, settings: Settings) -> None:
    way.receive()
    text = token.create(way.database, tenant=1, name="writer", scopes=frozenset({"write"}))
    with serving(application(way, replace(settings, host="0.0.0.0"))) as url:
        answer = httpx.get(url, headers={"Authorization": f"Bearer {text}"})
        assert answer.status_code == 401
        assert "Wang" not in answer.text


def _chromium(tmp_path: Path, *arguments: str) -> str:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    command = [
        *(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=4000", *arguments),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.peer
def test_browser_draws_the_page(address: str, way: Way, tmp_path: Path) -> None:
    way.receive()
    way.complete()
    way.find(example.findings())
    way.conclude()
    folder = ROOT / "build/screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    for language in ("en", "zh"):
        picture = folder / f"results-{language}.png"
        picture.unlink(missing_ok=True)
        _chromium(tmp_path, "--window-size=1360,1500", f"--screenshot={picture}", f"{address}/?lang={language}")
        assert picture.stat().st_size > 20_000
    shown = _Markup(_chromium(tmp_path, "--dump-dom", f"{address}/?lang=en"))
    assert len(shown.all("polyline", class_="outline")) == 2
    assert "2 findings" in shown.text
    assert shown.all("p", id="stale")[0].get("hidden") is not None, "the script's looks succeed"


@pytest.mark.peer
def test_browser_shows_a_change_without_loading_anew(address: str, way: Way, tmp_path: Path) -> None:
    way.receive()
    way.complete()
    way.ask("in-progress")
    changed = threading.Timer(1.5, way.find, args=(example.findings(),))
    changed.start()
    # Real time, since the change happens outside of the browser.
    deadline = time.monotonic() + 20
    while (text := _chromium(tmp_path, "--dump-dom", "--timeout=3500", f"{address}/?lang=en")).count("analysing"):
        assert time.monotonic() < deadline
    changed.join()
    assert "2 findings" in text


def test_live_needs_no_browser(address: str, way: Way) -> None:
    way.receive()
    assert "8 instances" in httpx.get(f"{address}/live").text
