"""``/viewer``: the page under any path, files as they are, nothing beside them."""

import contextlib
import gzip
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from server.http import viewer
from server.settings import Settings

_PAGE = (
    '<link href="/app.bundle.css" rel="stylesheet"><script src="/app-config.js"></script>'
    '<script rel="preload" as="script" type="module" src="/init-service-worker.js"></script>'
    "<script>window.PUBLIC_URL = '/';</script>"
)


@contextlib.contextmanager
def _client(settings: Settings) -> Iterator[httpx.Client]:
    app = FastAPI()
    app.include_router(viewer.router(settings))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True, trust_env=False) as client:
        yield client
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def built(settings: Settings) -> Settings:
    """A build of the shape of OHIF's, small."""
    folder = settings.viewer_folder
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(_PAGE, encoding="utf-8")
    (folder / "assets" / "icon.svg").write_text("<svg/>", encoding="utf-8")
    name = "app.bundle.0123456789abcdef0123.js"
    (folder / name).write_text("1", encoding="utf-8")
    (folder / f"{name}.gz").write_bytes(gzip.compress(b"1"))
    (settings.data / "secret.txt").write_text("secret", encoding="utf-8")
    (folder / "installed.json").write_text("{}", encoding="utf-8")
    return settings


@pytest.mark.parametrize(("language", "sentence"), [("en", "is not installed"), ("zh-CN", "尚未安装")])
def test_where_it_is_not_installed_the_page_says_how(settings: Settings, language: str, sentence: str) -> None:
    with _client(settings) as client:
        answer = client.get("/viewer/", headers={"Accept-Language": language})
    assert answer.status_code == 404
    assert sentence in answer.text
    assert "hutong viewer install" in answer.text


@pytest.mark.parametrize("path", ["/viewer/", "/viewer/viewer?StudyInstanceUIDs=1.2.3", "/viewer"])
def test_the_page_asks_for_everything_under_its_own_path(built: Settings, path: str) -> None:
    with _client(built) as client:
        answer = client.get(path)
    assert answer.status_code == 200
    assert 'href="/viewer/app.bundle.css"' in answer.text
    assert "window.PUBLIC_URL = '/viewer/'" in answer.text
    assert "service-worker" not in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_behind_a_proxy_the_page_lives_under_its_prefix(built: Settings) -> None:
    with _client(replace(built, base_url="https://pacs.example/imaging")) as client:
        assert 'src="/imaging/viewer/app-config.js"' in client.get("/viewer/").text


def test_files_are_given_compressed_where_that_is_taken(built: Settings) -> None:
    name = "/viewer/app.bundle.0123456789abcdef0123.js"
    with _client(built) as client:
        packed = client.get(name)
        plain = client.get(name, headers={"Accept-Encoding": "identity"})
        icon = client.get("/viewer/assets/icon.svg")
        config = client.get("/viewer/app-config.js")
    assert (packed.text, packed.headers["content-encoding"]) == ("1", "gzip")
    assert "immutable" in packed.headers["cache-control"]
    assert plain.text == "1" and "content-encoding" not in plain.headers
    assert (icon.text, icon.headers["cache-control"]) == ("<svg/>", "no-cache")
    assert "hutong" in config.text


@pytest.mark.parametrize("path", ["%2e%2e/secret.txt", "assets/%2e%2e/%2e%2e/secret.txt", "installed.json", "no.js"])
def test_nothing_beside_the_build_is_given(built: Settings, path: str) -> None:
    with _client(built) as client:
        answer = client.get(f"/viewer/{path}")
    assert "secret" not in answer.text
    assert answer.status_code == 404
