"""The process behind ``PixelPool``: reads jobs from its standard input, a socket, and answers them one by one."""

import ctypes
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from server.errors import BadInstance, HutongError, NotAcceptable, Unprocessable
from server.imaging import pixel_wire, render, rendering, transcode
from server.imaging.decode import decode
from server.imaging.frames import PixelFormat
from server.imaging.head import read_head
from server.imaging.pixel_wire import Message
from server.telemetry import memory

Verb = Callable[[Message, Sequence[Any]], list[bytes]]

_PR_SET_PDEATHSIG = 1
#: The buffers of a picture that are no frames: header, presentation state.
_KEPT = 2
#: What the libraries that read foreign data raise where these are damaged in a way that nobody foresaw.
_DAMAGE = (
    ArithmeticError, AttributeError, EOFError, IndexError, KeyError, NotImplementedError, RecursionError, RuntimeError,
    TypeError, ValueError, struct.error,
)  # fmt: skip


def _transcode(message: Message, buffers: Sequence[bytes]) -> list[bytes]:
    return [transcode.transcode(buffers[0], message["target"], uid_root=message["uid_root"])]


def _decode(message: Message, buffers: Sequence[bytes]) -> list[bytes]:
    layout = PixelFormat(**message["layout"])
    return [decode(frame, message["transfer_syntax"], layout).tobytes() for frame in buffers]


def _render(message: Message, buffers: Sequence[bytes]) -> list[bytes]:
    head, state, *frames = buffers
    return [render.draw(head, frames, message["numbers"], rendering.of_message(message["wanted"]), state)]


def _document(_message: Message, buffers: Sequence[bytes]) -> list[bytes]:
    head = read_head(buffers[0])
    return [head.binary(head.attributes.get("00420011"))]


def _report(message: Message, buffers: Sequence[bytes]) -> list[bytes]:
    # Loads the dictionaries of codes, which pictures don't need.
    from server.imaging import report_view

    return [report_view.view(buffers[0], html=message["html"]).encode("utf-8", "replace")]


VERBS: dict[str, Verb] = {
    "transcode": _transcode,
    "decode": _decode,
    "render": _render,
    "report": _report,
    "document": _document,
}


def _answer(message: Message, buffers: Sequence[bytearray]) -> tuple[Message, list[bytes]]:
    error: HutongError
    try:
        # Frames are read where they lie; what is kept or looked up must not change.
        given = [bytes(one) if at < _KEPT or message["verb"] != "render" else one for at, one in enumerate(buffers)]
        return {}, VERBS[message["verb"]](message, given)
    except BadInstance as bad:
        error = Unprocessable(bad.details, expression=bad.issues[0].expression)
    except HutongError as known:
        error = known
    except MemoryError:
        error = NotAcceptable("Decoded, this is larger than the memory for it; ask for transfer-syntax=*.")
    except _DAMAGE:
        error = Unprocessable("The instance is damaged; its pixels or report can't be read.", expression="7FE00010")
    place = error.issues[0].expression
    return {"error": type(error).__name__, "details": error.details, "expression": place}, []


def _confine(most: int) -> None:
    """Limits what this process may take, and ties its life to its parent's."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + most
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(limit: int) -> None:
    """Serves until the other end closes."""
    with socket.socket(fileno=os.dup(0)) as channel:
        # A terminal's Ctrl-C is its parent's affair.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _confine(limit)
        memory.keep()
        pixel_wire.send(channel, {}, [])
        while True:
            try:
                message, buffers = pixel_wire.receive(channel, limit)
                pixel_wire.send(channel, *_answer(message, buffers))
            except pixel_wire.Closed:
                return


if __name__ == "__main__":
    main(int(sys.argv[1]))
