"""Requests to endpoints that others chose reach only addresses that the guard allows."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address, ip_network

import pytest

from server.errors import Forbidden, Unavailable, Unprocessable
from server.outbound.guard import Guard
from server.outbound.http import Caller, check_url, post


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
     "224.0.0.1", "100.64.0.1", "fe80::1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a00:1",
     "2002:7f00:1::", "2002:a00:1::", "168.63.129.16", "100.100.100.200", "fd00:ec2::254"],
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


def test_nobody_may_open_the_addresses_of_metadata() -> None:
    everything = Guard(loopback=True, networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))
    assert everything.allows(ip_address("10.0.0.1"))
    assert everything.allows(ip_address("fd00::1"))
    for address in ("169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"):
        assert not everything.allows(ip_address(address)), address


class Resolver:
    """Answers each look-up with the next list of addresses, as somebody's own DNS server may."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0)


def test_a_name_is_looked_up_once_and_the_address_that_was_checked_is_called(receiver: HTTPServer) -> None:
    # The second look-up would lead to what must not be called; there is none.
    resolver = Resolver(["127.0.0.1"], ["169.254.169.254"])
    url = f"http://rebind.example:{receiver.server_port}/hook"
    with Caller(url, Guard(loopback=True, resolver=resolver)) as caller:
        assert caller.post(b"{}", {}, timeout=2).accepted
        assert caller.post(b"{}", {}, timeout=2).accepted
    assert resolver.asked == ["rebind.example"]
    assert receiver.seen[0][1]["Host"] == f"rebind.example:{receiver.server_port}"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "answers", [["169.254.169.254"], ["127.0.0.1", "10.0.0.1"], ["8.8.8.8", "::1"], ["64:ff9b::7f00:1"], []]
)
def test_one_bad_address_of_a_name_is_enough(receiver: HTTPServer, answers: list[str]) -> None:
    url = f"http://rebind.example:{receiver.server_port}/hook"
    with pytest.raises(Forbidden):
        post(url, b"{}", {}, timeout=2, guard=Guard(resolver=Resolver(answers)))
    assert receiver.seen == []  # type: ignore[attr-defined]


def test_the_next_connection_is_checked_anew(receiver: HTTPServer) -> None:
    resolver = Resolver(["127.0.0.1"], ["10.0.0.1"])
    url = f"http://rebind.example:{receiver.server_port}/hook"
    guard = Guard(loopback=True, resolver=resolver)
    assert post(url, b"{}", {}, timeout=2, guard=guard).accepted
    with pytest.raises(Forbidden):
        post(url, b"{}", {}, timeout=2, guard=guard)


@contextmanager
def talking(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that does with each connection what it likes."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            with suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listening.getsockname()[1]
    over.set()
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


def test_who_answers_a_byte_at_a_time_is_given_up_in_time() -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(200):
            connection.sendall(b"y")
            time.sleep(0.05)

    with talking(drip) as port:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            post(f"http://127.0.0.1:{port}/", b"{}", {}, timeout=0.5, guard=Guard(loopback=True))
        assert time.monotonic() - began < 5


def test_no_more_of_an_answer_is_read_than_is_needed() -> None:
    def flood(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 100_000)
        connection.recv(1)

    with talking(flood) as port:
        answer = post(f"http://127.0.0.1:{port}/", b"{}", {}, timeout=5, guard=Guard(loopback=True))
    assert answer.accepted
    assert len(answer.body) == 64 * 1024


def test_a_connection_that_was_closed_meanwhile_is_opened_anew() -> None:
    def once(connection: socket.socket) -> None:
        connection.recv(1000)
        # It says that the connection stays, and closes it.
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with talking(once) as port, Caller(f"http://127.0.0.1:{port}/", Guard(loopback=True)) as caller:
        for _ in range(3):
            assert caller.post(b"{}", {}, timeout=5).accepted
            time.sleep(0.05)
