"""DICOMweb as user agent (PS3.18): STOW-RS, QIDO-RS and WADO-RS of a peer, all of it streamed.

Peers are the operator's own choice, so no guard stands between; proxies of the environment are not used. What may go
well another time is Unavailable, what will not is Unprocessable.
"""

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from server.errors import HutongError, NotFound, Unavailable, Unprocessable, Unreachable
from server.outbound.dimse.entity import Entity
from server.outbound.multipart import boundary_of, parts
from server.settings import Peer

Attributes = dict[str, Any]
#: Seconds to connect.
_CONNECT = 10.0
_JSON = "application/dicom+json"
_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
#: A server that is busy or starting, a token or URL that is wrong: nothing gets through, whatever is asked.
_CLOSED = frozenset({401, 403, 404, 405, 429, 502, 503, 504})
#: Longest answer that is read as JSON, bytes.
_LONGEST_JSON = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A Part 10 file to be sent."""

    #: Bytes that ``chunks`` add up to.
    length: int
    chunks: Iterable[bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What a Store Instances Response says (PS3.18 10.5.3)."""

    stored: frozenset[str]
    #: SOP Instance UID -> Failure Reason (0008,1197).
    failed: Mapping[str, int]


class Web:
    """Connections to one peer; made by ``connect``."""

    def __init__(self, peer: Peer, client: httpx.Client) -> None:
        self._peer = peer
        self._client = client

    def store(self, files: Sequence[File]) -> Stored:
        """STOW-RS (PS3.18 10.5) of all files in one request."""
        boundary = secrets.token_hex(16)
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
        tail = f"--{boundary}--\r\n".encode("ascii")

        def body() -> Iterator[bytes]:
            for file in files:
                yield head
                yield from file.chunks
                yield b"\r\n"
            yield tail

        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(sum(len(head) + file.length + 2 for file in files) + len(tail)),
            "Accept": _JSON,
        }
        with self._asked("POST", "/studies", headers=headers, content=body()) as answer:
            # 409: none of them was stored; the body says why of each.
            if answer.status_code not in (200, 202, 409):
                raise self._refused(answer)
            return _stored(self._json(answer))

    def search(self, path: str, parameters: Mapping[str, str]) -> list[Attributes]:
        """QIDO-RS (PS3.18 10.6) under ``path``, e.g. ``/studies``."""
        with self._asked("GET", path, headers={"Accept": _JSON}, params=dict(parameters)) as answer:
            if answer.status_code == 204:
                return []
            if answer.status_code != 200:
                raise self._refused(answer)
            found = self._json(answer)
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise self._nonsense()
        return found

    @contextmanager
    def retrieve(self, path: str) -> Iterator[Iterator[Iterator[bytes]]]:
        """WADO-RS (PS3.18 10.4) of the instances under ``path``, as stored: the chunks of each as they come."""
        with self._asked("GET", path, headers={"Accept": _DICOM}) as answer:
            if answer.status_code == 404:
                raise NotFound(f"The peer {self._peer.name} has no such study, series or instance.")
            if answer.status_code not in (200, 206):
                raise self._refused(answer)
            kind = answer.headers.get("content-type", "")
            if kind.partition(";")[0].strip().lower() == "application/dicom":
                yield iter([answer.iter_bytes()])
                return
            boundary = boundary_of(kind)
            if boundary is None:
                raise self._nonsense()
            yield parts(answer.iter_bytes(), boundary)

    @contextmanager
    def _asked(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        """The answer while it is read; what breaks on the way is Unavailable."""
        url = f"{self._peer.url.rstrip('/')}{path}"
        try:
            with self._client.stream(method, url, **options) as answer:
                yield answer
        except httpx.HTTPError as error:
            why = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "could not be reached"
            kind = Unreachable if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else Unavailable
            raise kind(f"The peer {self._peer.name} {why} ({type(error).__name__}).") from error

    def _refused(self, answer: httpx.Response) -> HutongError:
        kind = Unreachable if answer.status_code in _CLOSED else Unprocessable
        cure = "; give it a token in the settings" if answer.status_code in (401, 403) else ""
        return kind(f"The peer {self._peer.name} answered {answer.status_code}{cure}.")

    def _json(self, answer: httpx.Response) -> Any:
        body = bytearray()
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > _LONGEST_JSON:
                raise self._nonsense()
        try:
            return httpx.Response(200, content=bytes(body)).json()
        except ValueError as error:
            raise self._nonsense() from error

    def _nonsense(self) -> Unprocessable:
        return Unprocessable(f"The peer {self._peer.name} answered what DICOMweb does not know; check its URL.")


@contextmanager
def client(entity: Entity, peer: Peer) -> Iterator[httpx.Client]:
    """HTTP as a peer wants it, for the block."""
    headers = {"Authorization": f"Bearer {peer.token}"} if peer.token else {}
    timeout = httpx.Timeout(peer.timeout, connect=min(_CONNECT, peer.timeout))
    verify = entity.web_context() if peer.url.startswith("https:") else False
    with httpx.Client(verify=verify, trust_env=False, timeout=timeout, headers=headers) as opened:
        yield opened


@contextmanager
def connect(entity: Entity, peer: Peer) -> Iterator[Web]:
    """Connections to a peer for the block."""
    with client(entity, peer) as opened:
        yield Web(peer, opened)


def _stored(body: Any) -> Stored:
    body = body[0] if isinstance(body, list) and body else body
    stored = frozenset(str(_first(item, "00081155")) for item in _items(body, "00081199"))
    failed = dict[str, int]()
    for item in _items(body, "00081198"):
        reason = _first(item, "00081197")
        # Processing failure, where it says nothing.
        failed[str(_first(item, "00081155"))] = reason if isinstance(reason, int) else 0x0110
    return Stored(stored=stored, failed=failed)


def _items(holder: Any, tag: str) -> list[Any]:
    found = holder.get(tag, {}) if isinstance(holder, dict) else {}
    values = found.get("Value") if isinstance(found, dict) else None
    return values if isinstance(values, list) else []


def _first(item: Any, tag: str) -> Any:
    return next(iter(_items(item, tag)), "")


_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)


def uid_path(study: str, series: str = "", instance: str = "") -> str:
    """The path of a study, series or instance; raises Unprocessable where one is no UID."""
    if any(uid and not _UID.fullmatch(uid) for uid in (study, series, instance)) or not study:
        raise Unprocessable("What is to be retrieved is named by a UID: digits and dots.")
    path = f"/studies/{study}"
    return path + (f"/series/{series}" if series else "") + (f"/instances/{instance}" if instance else "")
