"""What a pixel worker and its pool say to each other over a socket: a JSON message and buffers behind it.

No pickle: a worker reads foreign pixels with native code, and what comes back from it must not be able to run here.
"""

import json
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]

#: Length of the message, number of buffers.
_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<Q")
_MAX_MESSAGE, _MAX_BUFFERS = 1 << 24, 1 << 20
#: Buffers below this are joined to one write.
_SMALL = 1 << 16


class Closed(Exception):
    """The other end went away, was too slow, or said what nobody says."""


def send(channel: socket.socket, message: Message, buffers: Sequence[bytes], deadline: float | None = None) -> None:
    """Sends one message; ``deadline`` is of the monotonic clock."""
    text = json.dumps(message).encode("utf-8")
    head = bytearray(_HEAD.pack(len(text), len(buffers)) + text)
    for buffer in buffers:
        head += _LENGTH.pack(len(buffer))
    try:
        for buffer in buffers:
            if len(head) + len(buffer) <= _SMALL:
                head += buffer
                continue
            _patiently(channel, deadline)
            channel.sendall(head)
            channel.sendall(buffer)
            head = bytearray()
        if head:
            _patiently(channel, deadline)
            channel.sendall(head)
    except OSError as error:
        raise Closed from error


def receive(channel: socket.socket, limit: int, deadline: float | None = None) -> tuple[Message, list[bytearray]]:
    """Receives one message with at most ``limit`` bytes of buffers; raises Closed."""
    length, count = _HEAD.unpack(_exactly(channel, _HEAD.size, deadline))
    if length > _MAX_MESSAGE or count > _MAX_BUFFERS:
        raise Closed
    try:
        message: Message = json.loads(_exactly(channel, length, deadline))
    except ValueError as error:
        raise Closed from error
    raw = _exactly(channel, _LENGTH.size * count, deadline)
    sizes = [size for (size,) in _LENGTH.iter_unpack(raw)]
    if sum(sizes) > limit:
        raise Closed
    return message, [_exactly(channel, size, deadline) for size in sizes]


def _exactly(channel: socket.socket, size: int, deadline: float | None) -> bytearray:
    buffer = bytearray(size)
    view, at = memoryview(buffer), 0
    try:
        while at < size:
            _patiently(channel, deadline)
            got = channel.recv_into(view[at:])
            if not got:
                raise Closed
            at += got
    except OSError as error:
        raise Closed from error
    return buffer


def _patiently(channel: socket.socket, deadline: float | None) -> None:
    if deadline is None:
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise Closed
    channel.settimeout(left)
