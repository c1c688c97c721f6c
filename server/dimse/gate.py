"""Keeps silent connections away from the association threads.

pynetdicom gives every accepted socket a thread and a place among its associations, and a handful of idle sockets
fills them. Here a connection waits in one selector until its peer has sent something, and only then is negotiated.
"""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from pynetdicom.transport import ThreadedAssociationServer

#: Seconds that a peer may stay silent before its A-ASSOCIATE-RQ (the ARTIM timer of PS3.8 9.1.4).
SILENT_SECONDS = 10.0
#: Silent connections held at once; beyond, the oldest is closed.
MOST_SILENT = 4096
#: Connections that the kernel queues.
_BACKLOG = 512


class GatedServer(ThreadedAssociationServer):  # type: ignore[misc]
    """An association server that negotiates only with peers that speak; ``admits`` decides by address."""

    request_queue_size = _BACKLOG

    def __init__(self, *arguments: Any, admits: Callable[[str], bool], **options: Any) -> None:
        self._admits = admits
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        super().__init__(*arguments, **options)
        self._waiter = threading.Thread(target=self._wait, name="dimse-gate", daemon=True)
        self._waiter.start()

    def verify_request(self, _request: Any, client_address: Any) -> bool:
        """Whether the peer's address is one that may call."""
        return self._admits(client_address[0])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Holds the connection until it speaks."""
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._selector.register(request, selectors.EVENT_READ, (client_address, time.monotonic()))

    def shutdown(self) -> None:
        """Closes every held connection, then the server."""
        self._closing.set()
        self._waiter.join()
        super().shutdown()

    def _wait(self) -> None:
        while not self._closing.is_set():
            for key, _mask in self._selector.select(timeout=0.25):
                self._take(key)
                super().process_request(key.fileobj, key.data[0])
            self._close_silent()
        for key in self._held():
            self._take(key)
            self.shutdown_request(key.fileobj)
        self._selector.close()

    def _held(self) -> list[selectors.SelectorKey]:
        with self._lock:
            return list(self._selector.get_map().values())

    def _take(self, key: selectors.SelectorKey) -> None:
        with self._lock, contextlib.suppress(KeyError):
            self._selector.unregister(key.fileobj)

    def _close_silent(self) -> None:
        held = self._held()
        too_many = len(held) - MOST_SILENT
        for index, key in enumerate(held):
            if index < too_many or time.monotonic() - key.data[1] > SILENT_SECONDS:
                self._take(key)
                self.shutdown_request(key.fileobj)
