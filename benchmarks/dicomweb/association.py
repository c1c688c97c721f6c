"""A C-STORE sender (PS3.8 9.3, PS3.7 9.3.1) that costs next to nothing: TCP_NODELAY, one write a message."""

import socket
import struct

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from benchmarks.dicomweb.instances import Instance
from benchmarks.dicomweb.wire import Failed

_CONTEXT = 1
#: What we let the other side send us, bytes.
_OURS = 1 << 16


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _request(calling: str, called: str) -> bytes:
    context = struct.pack(">BxBx", _CONTEXT, 0)
    context += _item(0x30, CTImageStorage.encode()) + _item(0x40, ExplicitVRLittleEndian.encode())
    user = _item(0x51, struct.pack(">I", _OURS)) + _item(0x52, b"2.25.1")
    body = struct.pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), calling.ljust(16).encode())
    body += _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, context) + _item(0x50, user)
    return struct.pack(">BxI", 1, len(body)) + body


def _element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) & 1)
    return struct.pack("<HHI", 0, number, len(value)) + value


def _command(uid: str, message: int) -> bytes:
    body = _element(0x0002, CTImageStorage.encode()) + _element(0x0100, struct.pack("<H", 1))
    body += _element(0x0110, struct.pack("<H", message)) + _element(0x0700, struct.pack("<H", 0))
    body += _element(0x0800, struct.pack("<H", 0)) + _element(0x1000, uid.encode())
    return _element(0x0000, struct.pack("<I", len(body))) + body


class Sender:
    """One association that sends CT instances, one after the other, each once the one before is confirmed."""

    def __init__(self, host: str, port: int, called: str, calling: str = "BENCH") -> None:
        self._socket = socket.create_connection((host, port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(_request(calling, called))
        kind, body = self._pdu()
        if kind != 2:
            raise Failed(f"The association was not accepted: PDU type {kind}.")
        self._longest = _maximum_length(body)
        self._message = 0

    def store(self, instance: Instance) -> None:
        """Sends one instance; raises Failed unless its status is success."""
        self._message = self._message % 65535 + 1
        pieces = [self._data(0x03, [memoryview(_command(instance.uid, self._message))])]
        data = [memoryview(instance.head)[instance.dataset :], memoryview(instance.pixels)]
        left = sum(map(len, data))
        while left:
            size = min(left, self._longest - 6)
            left -= size
            pieces.append(self._data(0x00 if left else 0x02, _cut(data, size)))
        self._send([piece for pdu in pieces for piece in pdu])
        status = self._status()
        if status:
            raise Failed(f"C-STORE was answered with {status:04X}.")

    def release(self) -> None:
        """Ends the association."""
        self._socket.sendall(struct.pack(">BxII", 5, 4, 0))
        self._pdu()
        self._socket.close()

    @staticmethod
    def _data(flags: int, values: list[memoryview]) -> list[memoryview]:
        size = sum(map(len, values))
        return [memoryview(struct.pack(">BxIIBB", 4, size + 6, size + 2, _CONTEXT, flags)), *values]

    def _send(self, views: list[memoryview]) -> None:
        while views:
            sent = self._socket.sendmsg(views[:512])
            done = 0
            while done < len(views) and sent >= len(views[done]):
                sent -= len(views[done])
                done += 1
            views = views[done:]
            if sent:
                views[0] = views[0][sent:]

    def _status(self) -> int:
        kind, body = self._pdu()
        if kind != 4:
            raise Failed(f"PDU type {kind} came where a response was due.")
        at = 6
        while at + 8 <= len(body):
            group, number, length = struct.unpack_from("<HHI", body, at)
            if (group, number) == (0, 0x0900):
                return int(struct.unpack_from("<H", body, at + 8)[0])
            at += 8 + length
        raise Failed("A response without a status.")

    def _pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self._exactly(6))
        return kind, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise Failed("The connection was closed.")
            data += more
        return data


def _cut(data: list[memoryview], size: int) -> list[memoryview]:
    """Takes ``size`` bytes off the front of ``data``."""
    taken: list[memoryview] = []
    while size:
        piece = data[0][:size]
        taken.append(piece)
        size -= len(piece)
        data[0] = data[0][len(piece) :]
        if not data[0]:
            del data[0]
    return taken


def _maximum_length(accepted: bytes) -> int:
    """What the acceptor lets us send in one PDU (PS3.8 D.1); 0 means anything."""
    at = 68
    while at + 4 <= len(accepted):
        kind, length = struct.unpack_from(">BxH", accepted, at)
        if kind == 0x50:
            inner = at + 4
            while inner + 4 <= at + 4 + length:
                item, size = struct.unpack_from(">BxH", accepted, inner)
                if item == 0x51:
                    return int(struct.unpack_from(">I", accepted, inner + 4)[0]) or 1 << 20
                inner += 4 + size
        at += 4 + length
    return 16384
