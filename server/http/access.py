"""Who calls: the Access of an HTTP request, from its bearer token (RFC 6750)."""

import hashlib
import hmac
import secrets
import time

from fastapi import Request

from server.errors import Forbidden, Unauthenticated
from server.security import token
from server.security.access import Access
from server.settings import Settings
from server.store.database import Database

#: Set by the results page's sign-in; SameSite=Strict and good for reading only: no foreign page can write by it. A form
#: of our own can, by the proof that only a page of ours could read (``of_form``).
COOKIE = "hutong_token"
#: Seconds for which a token that was looked up is taken without asking again, and how many tokens.
_REMEMBERED, _MOST_REMEMBERED = 1.0, 1024
_EVERYTHING = frozenset({"read", "write", "delete", "admin"})


class AccessOfRequest:
    """Callable that routes depend on: ``access: Access = Depends(access_of_request)``."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        #: Tokens looked up a moment ago, by their text.
        self._known: dict[str, tuple[float, Access]] = {}
        self._secret = secrets.token_bytes(32)

    def __call__(self, request: Request) -> Access:
        """The caller's Access; on loopback everybody may do everything, elsewhere a token decides."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and text:
            return self.of_token(text.strip())
        kept = request.cookies.get(COOKIE)
        if kept and request.method in {"GET", "HEAD"}:
            return self.of_token(kept)
        if self._settings.tokens_required:
            raise Unauthenticated("Send 'Authorization: Bearer <token>'; make a token by `hutong token create`.")
        return Access(who=token.OPEN, scopes=_EVERYTHING)

    def proof(self, request: Request) -> str:
        """What a form of this caller's own page carries; other sites can't read it, and it ends with the process."""
        session = request.cookies.get(COOKIE, "").encode()
        return hmac.new(self._secret, b"form\x1f" + session, hashlib.sha256).hexdigest()

    def of_form(self, request: Request, proof: str) -> Access:
        """The Access for a write by a form: by a bearer token, or as the page's reader with the proof of the page."""
        if request.headers.get("authorization"):
            return self(request)
        own = request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
        if not own or not hmac.compare_digest(proof.encode(), self.proof(request).encode()):
            raise Forbidden("This form is not from a page of this server as it runs now; load the page again.")
        kept = request.cookies.get(COOKIE)
        return self.of_token(kept) if kept else self(request)

    def of_token(self, text: str) -> Access:
        """The Access of whoever carries this token; raises Unauthenticated when nobody may.

        It is remembered for a second, for clients that send request after request; so long a revoked one is still good.
        """
        since, access = self._known.get(text, (0.0, None))
        if access is not None and time.monotonic() - since < _REMEMBERED:
            return access
        access = token.access_for(self._database, text)
        if len(self._known) >= _MOST_REMEMBERED:
            self._known = {}
        self._known[text] = time.monotonic(), access
        return access
