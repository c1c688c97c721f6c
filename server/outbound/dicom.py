"""Instances sent to a peer: by C-STORE (PS3.4 annex B), or by STOW-RS (PS3.18 10.5) where the peer has a URL.

``send`` returns only when the peer confirmed every instance. Peers are the operator's own choice, so no guard stands
between; proxies of the environment are not used.
"""

import secrets
import socket
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import httpx
import pydicom
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event

from server.errors import Unavailable, Unprocessable
from server.settings import Peer

#: Seconds to connect and negotiate, and for one message.
_CONNECT, _ANSWER = 10.0, 60.0
_NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def send(peer: Peer, files: Sequence[bytes], *, calling: str = "HUTONG") -> None:
    """Sends Part 10 files; raises Unavailable when the peer can't take them now, Unprocessable when it refused one."""
    if not files:
        return
    if peer.url:
        _stow(peer, files)
    else:
        _c_store(peer, [pydicom.dcmread(BytesIO(file)) for file in files], calling)


def _c_store(peer: Peer, datasets: Sequence[Dataset], calling: str) -> None:
    entity = AE(ae_title=calling)
    entity.connection_timeout = entity.acse_timeout = _CONNECT
    entity.dimse_timeout = entity.network_timeout = _ANSWER
    wanted = {(str(d.SOPClassUID), str(d.file_meta.TransferSyntaxUID)) for d in datasets}
    for sop_class, syntax in sorted(wanted):
        entity.add_requested_context(sop_class, syntax)
        if syntax in _NATIVE:
            entity.add_requested_context(sop_class, [uid for uid in _NATIVE if uid != syntax])
    association = entity.associate(
        peer.host, peer.port, ae_title=peer.ae_title, evt_handlers=[(evt.EVT_CONN_OPEN, _without_delay)]
    )
    if not association.is_established:
        why = "rejected the association" if association.is_rejected else "could not be reached"
        raise Unavailable(f"The peer {peer.name} {why}; check AE titles, host and port on both sides.")
    try:
        for dataset in datasets:
            _store_one(peer, association, dataset)
    finally:
        if association.is_established:
            association.release()


def _without_delay(event: Event) -> None:
    connection = event.assoc.dul.socket.socket
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _store_one(peer: Peer, association: Association, dataset: Dataset) -> None:
    if not association.is_established:
        raise Unavailable(f"The peer {peer.name} ended the association early; it is tried again.")
    try:
        answer = association.send_c_store(dataset)
    except ValueError as error:
        raise Unprocessable(
            f"The peer {peer.name} takes neither the SOP class {dataset.SOPClassUID} nor its transfer syntax."
        ) from error
    status = answer.get("Status")
    if status is None:
        raise Unavailable(f"The peer {peer.name} did not answer in {_ANSWER:.0f} s; it is tried again.")
    # PS3.4 table B.2-1: B000, B006 and B007 are warnings; the instance is stored.
    if status != 0 and status & 0xF000 != 0xB000:
        kind = Unavailable if status & 0xFF00 == 0xA700 else Unprocessable
        raise kind(f"The peer {peer.name} refused an instance with status {status:04X}.")


def _stow(peer: Peer, files: Sequence[bytes]) -> None:
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
    tail = f"--{boundary}--\r\n".encode("ascii")
    length = sum(len(head) + len(file) + 2 for file in files) + len(tail)

    def body() -> Iterator[bytes]:
        for file in files:
            yield head
            yield file
            yield b"\r\n"
        yield tail

    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Content-Length": str(length),
        "Accept": "application/dicom+json",
    }
    timeout = httpx.Timeout(_ANSWER, connect=_CONNECT)
    try:
        with httpx.Client(trust_env=False, timeout=timeout) as client:
            answer = client.post(f"{peer.url.rstrip('/')}/studies", content=body(), headers=headers)
    except httpx.HTTPError as error:
        raise Unavailable(f"The peer {peer.name} could not be reached ({type(error).__name__}).") from error
    _confirmed(peer, answer, len(files))


def _confirmed(peer: Peer, answer: httpx.Response, expected: int) -> None:
    """Raises unless the Store Instances Response names every instance as stored (PS3.18 10.5.3)."""
    if answer.status_code in (429, 502, 503, 504):
        raise Unavailable(f"The peer {peer.name} answered {answer.status_code}; it is tried again.")
    if answer.status_code not in (200, 202):
        raise Unprocessable(f"The peer {peer.name} answered {answer.status_code}.")
    try:
        body: Any = answer.json()
    except ValueError as error:
        raise Unprocessable(f"The peer {peer.name} answered what is no JSON.") from error
    body = body[0] if isinstance(body, list) and body else body
    stored = body.get("00081199", {}).get("Value", []) if isinstance(body, dict) else []
    failed = body.get("00081198", {}).get("Value", []) if isinstance(body, dict) else []
    if failed or len(stored) < expected:
        reasons = {str(r) for item in failed for r in item.get("00081197", {}).get("Value", [])}
        raise Unprocessable(
            f"The peer {peer.name} stored {len(stored)} of {expected}; reasons: {', '.join(sorted(reasons))}."
        )
