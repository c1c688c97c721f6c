"""The demo's subscriber: a rest-hook endpoint of its own on loopback, as an EMR would have one.

Subscriptions R5 Backport for R4: https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/
"""

import json
import queue
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Bundle = dict[str, Any]


class Subscriber:
    """Collects the notification bundles that are posted to ``endpoint``."""

    def __init__(self) -> None:
        self.received: queue.Queue[Bundle] = queue.Queue()
        self._everything: list[Bundle] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._take))
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}/notify"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Subscriber":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def all_received(self) -> list[Bundle]:
        """Every bundle so far, in the order of arrival."""
        return list(self._everything)

    def _take(self, bundle: Bundle) -> None:
        self._everything.append(bundle)
        self.received.put(bundle)

    def wait(self, kind: str, seconds: float) -> Bundle | None:
        """The next bundle of this type (``handshake``, ``event-notification``), or None when none came in time."""
        try:
            while True:
                bundle = self.received.get(timeout=seconds)
                if _parameter(bundle, "type").get("valueCode") == kind:
                    return bundle
        except queue.Empty:
            return None


def number_and_focus(bundle: Bundle) -> list[tuple[int, str]]:
    """The number of each event of a notification, and the reference of the resource that it is about."""
    events = [part["part"] for part in _status(bundle) if part.get("name") == "notification-event"]
    return [
        (int(_part(event, "event-number")["valueString"]), str(_part(event, "focus")["valueReference"]["reference"]))
        for event in events
    ]


def _part(event: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(part for part in event if part.get("name") == name)


def _parameter(bundle: Bundle, name: str) -> dict[str, Any]:
    return next((part for part in _status(bundle) if part.get("name") == name), {})


def _status(bundle: Bundle) -> list[dict[str, Any]]:
    entries = bundle.get("entry") or [{}]
    parameters: list[dict[str, Any]] = entries[0].get("resource", {}).get("parameter", [])
    return parameters


def _handler(take: Callable[[Bundle], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            take(json.loads(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # the base class's name
            """Says nothing: the demo's own progress is what people read."""

    return Handler
