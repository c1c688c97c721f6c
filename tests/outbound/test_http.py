"""Requests to endpoints that others chose reach only addresses that the guard allows."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address, ip_network

import pytest

from server.errors import Forbidden, Unavailable, Unprocessable
from server.outbound.guard import Guard
from server.outbound.http import check_url, post


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]
        self.send_response(302 if self.path == "/elsewhere" else 200)
        if self.path == "/elsewhere":
            self.send_header("Location", "/secret")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Receiver)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "::ffff:127.0.0.1", "fd00::1",
     "224.0.0.1", "100.64.0.1", "fe80::1", "::ffff:169.254.169.254"],
)  # fmt: skip
def test_only_public_addresses_by_default(address: str) -> None:
    assert not Guard().allows(ip_address(address))


def test_loopback_and_listed_networks_when_allowed() -> None:
    guard = Guard(loopback=True, networks=(ip_network("10.1.0.0/16"),))
    assert guard.allows(ip_address("127.0.0.1"))
    assert guard.allows(ip_address("10.1.2.3"))
    assert not guard.allows(ip_address("10.2.0.1"))
    assert guard.allows(ip_address("8.8.8.8"))


@pytest.mark.parametrize("url", ["ftp://example.org/x", "/hook", "http://", "https://user:secret@example.org/"])
def test_what_is_no_endpoint(url: str) -> None:
    with pytest.raises(Unprocessable):
        check_url(url, Guard())


def test_a_name_that_leads_to_loopback_is_refused_when_called(receiver: HTTPServer) -> None:
    url = f"http://localhost:{receiver.server_port}/hook"
    check_url(url, Guard())
    with pytest.raises(Forbidden):
        post(url, b"{}", {}, timeout=2, guard=Guard())
    assert receiver.seen == []  # type: ignore[attr-defined]


def test_the_name_stays_in_host_and_headers_arrive(receiver: HTTPServer) -> None:
    answer = post(
        f"http://127.0.0.1:{receiver.server_port}/hook?x=1",
        b'{"a":1}',
        {"X-Token": "secret", "Content-Type": "application/fhir+json"},
        timeout=2,
        guard=Guard(loopback=True),
    )
    assert answer.accepted
    ((path, headers, body),) = receiver.seen  # type: ignore[attr-defined]
    assert (path, body) == ("/hook?x=1", b'{"a":1}')
    assert headers["X-Token"] == "secret"
    assert headers["Host"] == f"127.0.0.1:{receiver.server_port}"


def test_redirects_are_not_followed(receiver: HTTPServer) -> None:
    url = f"http://127.0.0.1:{receiver.server_port}/elsewhere"
    assert post(url, b"", {}, timeout=2, guard=Guard(loopback=True)).status == 302
    assert len(receiver.seen) == 1  # type: ignore[attr-defined]


def test_nobody_there() -> None:
    with pytest.raises(Unavailable):
        post("http://127.0.0.1:9/hook", b"", {}, timeout=1, guard=Guard(loopback=True))
