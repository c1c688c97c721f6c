"""DICOMweb as user agent: answers of every kind, and multipart answers cut anywhere."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import HutongError, NotFound, Unavailable, Unprocessable, Unreachable
from server.outbound.dicomweb import File, connect, uid_path
from server.outbound.dimse.entity import Entity
from server.outbound.multipart import boundary_of, parts
from server.settings import Peer

US = Entity(title="HUTONG")


@dataclass
class Service:
    """A DICOMweb service that answers what it is told to."""

    status: int = 200
    kind: str = "application/dicom+json"
    answer: bytes = b"[]"
    #: Method, path with query, headers, body.
    heard: list[tuple[str, str, Any, bytes]] = field(default_factory=list)
    token: str = ""
    port: int = 0

    @property
    def peer(self) -> Peer:
        return Peer(name="web", url=f"http://127.0.0.1:{self.port}/dicomweb/", token=self.token, timeout=2)


@contextmanager
def served(service: Service) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            service.heard.append((self.command, self.path, self.headers, body))
            self.send_response(service.status)
            self.send_header("Content-Type", service.kind)
            self.send_header("Content-Length", str(len(service.answer)))
            self.end_headers()
            self.wfile.write(service.answer)

        do_GET = do_POST

        def log_message(self, *_arguments: Any) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


STORED = b'{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2"]}}]}}'
REFUSED = (
    b'{"00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2"]},"00081197":{"vr":"US","Value":[273]}}]}}'
)


@pytest.mark.parametrize(
    ("status", "answer", "stored", "failed"),
    [
        (200, STORED, {"1.2"}, {}),
        (200, b"[" + STORED + b"]", {"1.2"}, {}),
        (202, REFUSED, set(), {"1.2": 273}),
        (409, REFUSED, set(), {"1.2": 273}),
        (200, b"{}", set(), {}),
        (200, b'{"00081199":null,"00081198":{"Value":[7]}}', set(), {"": 0x0110}),
    ],
)
def test_what_a_store_answer_says(status: int, answer: bytes, stored: set[str], failed: dict[str, int]) -> None:
    with served(Service(status=status, answer=answer, token="secret")) as service, connect(US, service.peer) as web:
        found = web.store([File(length=4, chunks=[b"ab", b"cd"]), File(length=2, chunks=[b"ef"])])
    assert (set(found.stored), dict(found.failed)) == (stored, failed)
    ((method, path, headers, body),) = service.heard
    assert (method, path) == ("POST", "/dicomweb/studies")
    assert headers["Authorization"] == "Bearer secret"
    boundary = boundary_of(headers["Content-Type"])
    assert boundary is not None
    assert [b"".join(part) for part in parts([body], boundary)] == [b"abcd", b"ef"]


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (200, b"<html>", Unprocessable),
        (400, b"", Unprocessable),
        (413, b"", Unprocessable),
        (401, b"", Unreachable),
        (404, b"", Unreachable),
        (429, b"", Unreachable),
        (503, b"", Unreachable),
    ],
)
def test_refusals(status: int, answer: bytes, error: type[HutongError]) -> None:
    with (
        served(Service(status=status, answer=answer)) as service,
        connect(US, service.peer) as web,
        pytest.raises(error),
    ):
        web.store([File(length=1, chunks=[b"x"])])


def test_nobody_there() -> None:
    with connect(US, Peer(name="x", url="http://127.0.0.1:1")) as web, pytest.raises(Unreachable):
        web.search("/studies", {})


def test_a_search() -> None:
    answer = b'[{"0020000D":{"vr":"UI","Value":["1.2"]}}]'
    with served(Service(answer=answer)) as service, connect(US, service.peer) as web:
        assert web.search("/studies", {"PatientID": "A B"}) == [{"0020000D": {"vr": "UI", "Value": ["1.2"]}}]
        assert service.heard[0][1] == "/dicomweb/studies?PatientID=A+B"
        service.answer = b'{"not": "a list"}'
        with pytest.raises(Unprocessable):
            web.search("/studies", {})
        service.status, service.answer = 204, b""
        assert web.search("/studies", {}) == []


def test_a_retrieval() -> None:
    whole = b"--b\r\nContent-Type: application/dicom\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    with served(Service(kind=kind, answer=whole)) as service, connect(US, service.peer) as web:
        with web.retrieve(uid_path("1.2")) as found:
            assert [b"".join(part) for part in found] == [b"one", b"two"]
        service.kind = "application/dicom"
        with web.retrieve(uid_path("1.2", "3", "4")) as found:
            assert [b"".join(part) for part in found] == [whole]
        service.kind = "text/html"
        with pytest.raises(Unprocessable), web.retrieve("/studies/1"):
            pass
        service.status = 404
        with pytest.raises(NotFound), web.retrieve("/studies/1"):
            pass
    with pytest.raises(Unprocessable):
        uid_path("1.2/../../secrets")


@given(
    bodies=st.lists(st.binary(max_size=200), max_size=5),
    cuts=st.lists(st.integers(0, 1500), max_size=20),
    preamble=st.sampled_from([b"", b"hello\r\n"]),
)
def test_parts_cut_anywhere(bodies: list[bytes], cuts: list[int], preamble: bytes) -> None:
    boundary = b"0123456789abcdef"
    bodies = [body.replace(boundary, b"") for body in bodies]
    whole = preamble + b"".join(b"--" + boundary + b"\r\nX: y\r\n\r\n" + body + b"\r\n" for body in bodies)
    whole += b"--" + boundary + b"--"
    ends = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    chunks = [whole[low:high] for low, high in pairwise(ends)]
    assert [b"".join(part) for part in parts(chunks, boundary)] == bodies
    # A reader may leave the rest of a part.
    assert len([next(part, b"") for part in parts(chunks, boundary)]) == len(bodies)
    with pytest.raises(Unavailable):
        for part in parts([whole[:-3]], boundary):
            list(part)


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ("multipart/related; boundary=a", b"a"),
        ('multipart/related; type="application/dicom"; boundary="a b:c"; x=y', b"a b:c"),
        ("Multipart/Related;BOUNDARY=a;b=c", b"a"),
        ("multipart/related", None),
        ("application/dicom; boundary=a", None),
    ],
)
def test_boundaries(kind: str, boundary: bytes | None) -> None:
    assert boundary_of(kind) == boundary
