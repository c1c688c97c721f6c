"""Who calls: the Access of an HTTP request, from its bearer token (RFC 6750)."""

import time

from fastapi import Request

from server.errors import Unauthenticated
from server.security import token
from server.security.access import Access
from server.settings import Settings
from server.store.database import Database

#: Set by the results page's sign-in; SameSite=Strict and good for reading only: no foreign page can write by it.
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
