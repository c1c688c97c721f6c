"""Uploads past the event loop: what a connection may do before, between and after them."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

from server.settings import Settings

Make = Callable[..., bytes]


class Line:
    """A client's connection, byte by byte."""

    def __init__(self, url: str) -> None:
        host, _, port = url.split("/")[2].partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self._rest = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of the next response."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        while len(self._rest) < int(headers["content-length"]):
            self._more()
        body = self._rest[: int(headers["content-length"])]
        self._rest = self._rest[len(body) :]
        return int(lines[0].split()[1]), body, headers

    def ends(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _more(self) -> None:
        data = self.socket.recv(65536)
        assert data, "the server closed the connection"
        self._rest += data


@pytest.fixture
def line(dicomweb_url: str) -> Iterator[Line]:
    opened = Line(dicomweb_url)
    yield opened
    opened.socket.close()


def stow(*files: bytes, path: str = "/dicomweb/studies", more: str = "") -> bytes:
    parts = [b"--b\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files]
    return post(b"".join(parts) + b"--b--", path=path, more=more)


def post(
    body: bytes,
    *,
    path: str = "/dicomweb/studies",
    kind: str = "multipart/related; type=application/dicom; boundary=b",
    more: str = "",
    length: int | None = None,
) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: {kind}\r\n{more}Content-Length: "
    return f"{head}{len(body) if length is None else length}\r\n\r\n".encode() + body


GET = b"GET /dicomweb/studies HTTP/1.1\r\nHost: here\r\n\r\n"


def test_one_connection_stores_and_asks_by_turns(line: Line, make_instance: Make) -> None:
    for number in (1, 2, 3):
        line.send(stow(make_instance(number)))
        status, body, headers = line.answer()
        assert status == 200 and len(orjson.loads(body)["00081199"]["Value"]) == 1
        assert headers["x-content-type-options"] == "nosniff"
    line.send(GET)
    status, body, _ = line.answer()
    assert status == 200 and orjson.loads(body)[0]["00201208"]["Value"] == [3]
    time.sleep(0.2)
    line.send(stow(make_instance(4)))
    assert line.answer()[0] == 200


def test_requests_sent_ahead_are_answered_in_their_order(line: Line, make_instance: Make) -> None:
    line.send(stow(make_instance(1)) + stow(make_instance(2)) + GET + stow(make_instance(3)) + GET)
    assert [line.answer()[0] for _ in range(5)] == [200] * 5


def test_a_body_that_trickles_is_stored_and_holds_up_nobody(line: Line, dicomweb_url: str, make_instance: Make) -> None:
    request = stow(make_instance(1))
    with ThreadPoolExecutor(1) as pool:

        def trickle() -> int:
            for at in range(0, len(request), 150):
                line.send(request[at : at + 150])
                time.sleep(0.12)
            return line.answer()[0]

        slow = pool.submit(trickle)
        quick = Line(dicomweb_url)
        for number in range(2, 30):
            quick.send(stow(make_instance(number)))
            assert quick.answer()[0] == 200
        quick.socket.close()
        assert slow.result(60) == 200


def test_a_hundred_that_trickle_hold_up_nobody(dicomweb_url: str, make_instance: Make) -> None:
    request = stow(make_instance(1))
    slow = [Line(dicomweb_url) for _ in range(100)]
    for one in slow:
        one.send(request[:-20])
    quick = Line(dicomweb_url)
    for number in range(2, 8):
        quick.send(stow(make_instance(number)))
        assert quick.answer()[0] == 200
    for one in slow:
        one.send(request[-20:])
    assert [one.answer()[0] for one in slow] == [200] * 100
    for one in (*slow, quick):
        one.socket.close()


def test_who_hangs_up_leaves_nothing(line: Line, dicomweb_url: str, make_instance: Make, settings: Settings) -> None:
    line.send(stow(make_instance(1))[:-40])
    line.socket.close()
    other = Line(dicomweb_url)
    other.send(stow(make_instance(2)))
    assert other.answer()[0] == 200
    other.send(GET)
    assert orjson.loads(other.answer()[1])[0]["00201208"]["Value"] == [1]
    packs = list(Path(settings.blobs).rglob("*.pack"))
    assert sum(pack.stat().st_size for pack in packs) >= len(make_instance(2))
    other.socket.close()


@pytest.mark.parametrize("length", [10, 100_000_000, 10**30])
def test_a_forged_length_is_answered_or_ends(dicomweb_url: str, make_instance: Make, length: int) -> None:
    line = Line(dicomweb_url)
    line.send(post(b"--b\r\n\r\n" + make_instance(1) + b"\r\n--b--", length=length))
    line.socket.shutdown(socket.SHUT_WR)
    assert b"200 OK" not in line.socket.recv(65536)
    line.socket.close()
    again = Line(dicomweb_url)
    again.send(stow(make_instance(1)))
    assert again.answer()[0] == 200
    again.socket.close()


def test_a_refusal_is_heard_and_the_connection_goes_on(line: Line, make_instance: Make) -> None:
    big = b"x" * 3_000_000
    line.send(post(big, kind="text/plain"))
    assert line.answer()[0] == 415
    line.send(post(big, kind="multipart/related; type=application/dicom"))
    assert line.answer()[0] == 400
    line.send(stow(make_instance(1), more="scopes: read\r\n"))
    assert line.answer()[0] == 403
    line.send(post(b"", kind="application/dicom"))
    assert line.answer()[0] == 409
    line.send(stow(make_instance(1), path="/dicomweb/studies/1.2.4"))
    assert line.answer()[0] == 409
    line.send(stow(make_instance(1), path="/dicomweb/studies/1.2.3?x=y"))
    assert line.answer()[0] == 200


def test_the_other_ways_in(line: Line, make_instance: Make) -> None:
    """Chunks, and a client that asks first, pass through the event loop."""
    body = b"--b\r\n\r\n" + make_instance(1) + b"\r\n--b--"
    head = (
        "POST /dicomweb/studies HTTP/1.1\r\nHost: here\r\n"
        "Content-Type: multipart/related; type=application/dicom; boundary=b\r\n"
    )
    line.send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
    for at in range(0, len(body), 100):
        piece = body[at : at + 100]
        line.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    line.send(b"0\r\n\r\n")
    assert line.answer()[0] == 200
    line.send(f"{head}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    assert line.socket.recv(100).startswith(b"HTTP/1.1 100")
    line.send(body)
    assert line.answer()[0] == 200


def test_a_client_that_wants_to_close_is_closed(line: Line, make_instance: Make) -> None:
    line.send(stow(make_instance(1), more="Connection: close\r\n"))
    assert line.answer()[0] == 200
    assert line.ends()


@pytest.mark.parametrize("rubbish", [b"\0\1\2\3\r\n\r\n", b"GET\r\n\r\n", b"POST /x HTTP/1.1\r\nA: b\r\n\r\n"])
def test_what_follows_an_upload_is_the_servers_matter(line: Line, make_instance: Make, rubbish: bytes) -> None:
    line.send(stow(make_instance(1)))
    assert line.answer()[0] == 200
    line.send(rubbish)
    assert line.answer()[0] in (400, 404, 405)
