"""Chromium without a screen, driven by its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect


class Browser:
    """One page of one Chromium."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        #: What the page wrote to its console, and what went wrong in it.
        self.console: list[str] = []
        self.call("Page.enable")
        self.call("Runtime.enable")
        self.call("Network.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=120))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        if message.get("method") == "Runtime.consoleAPICalled":
            texts = [str(one.get("value", one.get("description", ""))) for one in parameters["args"]]
            self.console.append(f"{parameters['type']}: {' '.join(texts)}")
        elif message.get("method") == "Network.responseReceived" and parameters["response"]["status"] >= 400:
            self.console.append(f"answer: {parameters['response']['status']} {parameters['response']['url']}")
        elif message.get("method") == "Network.loadingFailed":
            self.console.append(f"failed: {parameters.get('errorText')} {parameters.get('blockedReason', '')}")
        elif message.get("method") == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.console.append(f"exception: {details.get('exception', {}).get('description', details['text'])}")

    def open(self, url: str) -> None:
        """Goes to a page."""
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 90.0) -> Any:
        """The first true value of the expression; fails with what the page shows when there is none in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # The page may still be on its way.
            if value := self.evaluate(f"(() => {{ try {{ return {expression} }} catch {{ return null }} }})()"):
                return value
            time.sleep(0.3)
        shown = self.evaluate("document.body.innerText")
        raise AssertionError(f"{expression} did not become true.\nconsole: {self.console[-15:]}\npage: {shown[:2000]}")

    def click(self, selector: str) -> None:
        """Scrolls to the first element that the selector finds, once the page is whole, and clicks into its middle."""
        box = self.wait(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e) return null;"
            "if (document.readyState !== 'complete') return null; e.scrollIntoView({ block: 'center' });"
            "const b = e.getBoundingClientRect(); return b.width ? [b.x + b.width / 2, b.y + b.height / 2] : null })()"
        )
        self.click_at(*box)

    def click_at(self, x: float, y: float, clicks: int = 1) -> None:
        """Clicks at a place of the page, in CSS pixels; twice for a double click."""
        for count in range(1, clicks + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=count)

    def screenshot(self, file: Path) -> Path:
        """A PNG of what is seen."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return file


@contextlib.contextmanager
def chromium(folder: Path, *, width: int = 1600, height: int = 1000) -> Iterator[Browser]:
    """A browser with a profile of its own in ``folder``; it reaches this machine only."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    command = [
        *(program, "--headless=new", "--no-sandbox", "--no-first-run", "--disable-background-networking"),
        *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--no-proxy-server"),
        *(f"--user-data-dir={folder / 'profile'}", "--remote-debugging-port=0", f"--window-size={width},{height}"),
        *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "about:blank"),
    ]
    log = (folder / "chromium.log").open("w")
    process = subprocess.Popen(command, stderr=log, stdout=log)
    try:
        port = _awaited(lambda: (folder / "profile" / "DevToolsActivePort").read_text().split()[0])
        pages = _awaited(lambda: _pages(port))
        with connect(pages[0]["webSocketDebuggerUrl"], max_size=None, compression=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def _pages(port: str) -> list[dict[str, Any]]:
    import httpx

    listed = httpx.get(f"http://127.0.0.1:{port}/json/list", trust_env=False).json()
    return [one for one in listed if one["type"] == "page"]


def _awaited(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError, IndexError):
            if found := look():
                return found
        assert time.monotonic() < deadline, "chromium did not start"
        time.sleep(0.2)
