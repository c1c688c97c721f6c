"""HTTP requests to addresses that others chose: resolve, check, pin.

A subscriber's endpoint is somebody else's text. Its host name is resolved once for a connection, every address it has
is checked, and the connection goes to the checked address (the name stays in Host and in TLS), so that a second
look-up can't lead elsewhere. Redirects and proxies are not followed. A request has one deadline for all of it, whatever
the other side sends in between.
"""

import contextlib
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse

import httpx

from server.errors import HutongError, Unavailable, Unprocessable
from server.outbound.guard import Address, Guard, literal, refused

#: Bytes of an answer that are read; the connection to who sends more is closed.
_MOST_READ = 64 * 1024
_PLACE = "Subscription.channel.endpoint"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back."""

    status: int
    #: As much of the body as is read.
    body: bytes = b""

    @property
    def accepted(self) -> bool:
        """Whether it was a success (2xx)."""
        return 200 <= self.status < 300


def check_url(url: str, guard: Guard) -> httpx.URL:
    """Refuses, without resolving anything, what can't be an endpoint; raises Unprocessable or Forbidden."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Unprocessable(f"The endpoint is no URL: {error}.", expression=_PLACE) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Unprocessable("The endpoint must be an absolute http or https URL.", expression=_PLACE)
    if parsed.userinfo:
        raise Unprocessable("Put credentials into channel.header, not into the URL.", expression=_PLACE)
    address = literal(parsed.host)
    if address is not None and not guard.allows(address):
        raise refused()
    return parsed


class Caller:
    """POSTs to one endpoint, over one connection as long as it lasts."""

    def __init__(self, url: str, guard: Guard) -> None:
        self._url = check_url(url, guard)
        self._guard = guard
        self._connection: _Connection | None = None

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def post(self, body: bytes, headers: Mapping[str, str], *, timeout: float) -> Answer:
        """Forbidden when the guard refuses the address, Unavailable when nobody answers in time."""
        deadline = time.monotonic() + timeout
        used = self._connection is not None
        try:
            try:
                return self._post(body, headers, deadline)
            except TimeoutError:
                raise
            except (OSError, HTTPException):
                # The other side may have closed what was kept open, before it saw this.
                if not used:
                    raise
                self.close()
                return self._post(body, headers, deadline)
        except (OSError, HTTPException) as error:
            self.close()
            raise Unavailable(f"The endpoint did not answer: {type(error).__name__}.") from error
        except HutongError:
            self.close()
            raise

    def _post(self, body: bytes, headers: Mapping[str, str], deadline: float) -> Answer:
        if self._connection is None:
            self._connection = _Connection(self._url, self._guard.resolve(self._url.host), deadline)
        connection = self._connection
        connection.deadline = deadline
        connection.remaining()
        connection.request(
            "POST", self._url.raw_path.decode("ascii"), body, {"Host": _host(self._url), "Accept": "*/*", **headers}
        )
        response = connection.getresponse()
        found = response.read(_MOST_READ)
        if not response.isclosed() and response.read(1):
            self.close()
        return Answer(status=response.status, body=found)


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout: float, guard: Guard) -> Answer:
    """One POST to a checked address, see ``Caller.post``."""
    with Caller(url, guard) as caller:
        return caller.post(body, headers, timeout=timeout)


class _Connection(HTTPConnection):
    """A connection to one address under the name that its URL has, every step of it bounded by a deadline."""

    def __init__(self, url: httpx.URL, address: Address, deadline: float) -> None:
        super().__init__(str(address), url.port or (443 if url.scheme == "https" else 80))
        self._name = url.raw_host.decode("ascii") if url.scheme == "https" else ""
        self.deadline = deadline

    def remaining(self) -> float:
        """Seconds that are left, also as the socket's timeout; TimeoutError when none are."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if self.sock is not None:
            self.sock.settimeout(left)
        return left

    def connect(self) -> None:
        """Connects to the address that was checked."""
        self.sock = socket.create_connection((self.host, self.port), timeout=self.remaining())
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._name:
            self.sock = _tls().wrap_socket(self.sock, server_hostname=self._name)

    def response_class(  # type: ignore[override]
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None
    ) -> HTTPResponse:
        """The answer, read within the deadline."""
        return HTTPResponse(_Bounded(sock, self), debuglevel, method)  # type: ignore[arg-type]


class _Bounded:
    """A socket as an HTTPResponse uses it."""

    def __init__(self, sock: socket.socket, connection: _Connection) -> None:
        self._sock = sock
        self._connection = connection

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What the answer is read from."""
        return io.BufferedReader(_Reader(self._sock.makefile("rb", buffering=0), self._connection))


class _Reader(io.RawIOBase):
    """Reads what comes, each time with what is left of the deadline."""

    def __init__(self, raw: socket.SocketIO, connection: _Connection) -> None:
        self._raw = raw
        self._connection = connection

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: object) -> int | None:
        """The next bytes; TimeoutError when it is too late."""
        self._connection.remaining()
        return self._raw.readinto(buffer)  # type: ignore[arg-type]

    def close(self) -> None:
        """Lets go of the socket."""
        self._raw.close()
        super().close()


def _host(url: httpx.URL) -> str:
    """The Host header: the name as the URL has it, with a port that is not the scheme's own."""
    name = url.raw_host.decode("ascii")
    name = f"[{name}]" if ":" in name else name
    return name if url.port is None else f"{name}:{url.port}"


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """The platform's trust store, read once."""
    return ssl.create_default_context()
