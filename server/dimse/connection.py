"""One transport connection under an association, plain or TLS, with what the kernel must know about it."""

import contextlib
import hashlib
import select
import socket
import ssl
import struct
from collections.abc import Iterator

from server.dimse.pdu import Ended, ProtocolError

#: Seconds of silence that are borne in the middle of a message, and for the peer to take what we send.
MESSAGE_TIMEOUT = 30.0
#: Linux only; elsewhere delayed acknowledgements stay.
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


class Connection:
    """A socket and who is at its other end."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self.sock = sock
        self.address = address
        #: SHA-256 of the peer's certificate, hexadecimal; empty without TLS.
        self.fingerprint = ""
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None

    @property
    def encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return self._tls is not None

    def handshake(self) -> int:
        """Goes on with the TLS handshake; the poll event that it waits for, 0 when it is done. Raises OSError."""
        if self._tls is None:
            return 0
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return select.POLLIN
        except ssl.SSLWantWriteError:
            return select.POLLOUT
        certificate = self._tls.getpeercert(binary_form=True)
        self.fingerprint = hashlib.sha256(certificate).hexdigest() if certificate else ""
        return 0

    def want(self, size: int) -> None:
        """Lets the kernel report the connection as readable only when ``size`` bytes are there, or it ended."""
        if self._tls is None:
            with contextlib.suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def block(self, seconds: float = MESSAGE_TIMEOUT) -> None:
        """From now on reads and writes wait, each for ``seconds`` at most."""
        with _ending():
            if self._tls is not None:
                self.sock.settimeout(seconds)
                return
            self.want(1)
            self.sock.setblocking(True)
            # The kernel's own timeouts cost no second system call for each read.
            span = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)

    def receive_into(self, view: memoryview) -> int:
        """Reads what there is; raises Ended at the end, ProtocolError where the peer stopped in mid-message."""
        try:
            if _QUICKACK is not None:
                # A sender with Nagle's algorithm waits for this acknowledgement; the kernel forgets the wish.
                self.sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            size = self.sock.recv_into(view)
        except (BlockingIOError, TimeoutError) as error:
            raise ProtocolError(
                f"The peer sent nothing for {MESSAGE_TIMEOUT:.0f} s in the middle of a message.", 0
            ) from error
        except OSError as error:
            raise Ended("The peer's connection broke.") from error
        if not size:
            raise Ended("The peer closed the connection.")
        return size

    def send(self, data: bytes) -> None:
        """Writes all of it; raises Ended where the peer takes no more."""
        with _ending():
            self.sock.sendall(data)

    def readable(self, seconds: float) -> bool:
        """Whether something came, or the end, within ``seconds``."""
        if self._tls is not None and self._tls.pending():
            return True
        poll = select.poll()
        try:
            poll.register(self.sock, select.POLLIN)
        except ValueError:
            return True
        return bool(poll.poll(seconds * 1000))

    def say(self, data: bytes) -> None:
        """Writes a last short PDU without waiting; a peer that does not take it has lost it."""
        with contextlib.suppress(OSError):
            self.sock.setblocking(False)
            self.sock.send(data)

    def shut(self) -> None:
        """Ends both directions: whoever waits in a read or write is woken."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Gives the socket back."""
        with contextlib.suppress(OSError):
            self.sock.close()


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Ended("The peer's connection broke, or the peer takes nothing any more.") from error
