"""Bearer tokens (RFC 6750): made once, shown once, kept as a digest."""

import hashlib
import secrets

from server.errors import BadRequest, Unauthenticated
from server.security.access import Access
from server.store import tokens
from server.store.database import Database, UnitOfWork

#: What a token may carry, until SMART scopes take their place behind the same Access.
SCOPES = frozenset({"read", "write", "delete", "admin"})
#: Whoever calls a server on loopback without a token.
OPEN = "loopback"


def create(database: Database, *, tenant: int, name: str, scopes: frozenset[str]) -> str:
    """A new token with these scopes; the text is returned once and can't be had again."""
    unknown = scopes - SCOPES
    if unknown or not scopes:
        raise BadRequest(f"A token's scopes are some of {', '.join(sorted(SCOPES))}.", expression="scope")
    text = secrets.token_urlsafe(32)
    with database.unit_of_work() as uow:
        tokens.add(uow, tenant=tenant, name=name, sha256=_digest(text), scopes=scopes)
    return text


def access_for(database: Database, text: str) -> Access:
    """The Access of whoever carries this token; raises Unauthenticated when nobody may."""
    with database.reading() as uow:
        row = tokens.by_sha256(uow, _digest(text))
    if row is None:
        raise Unauthenticated("The bearer token is not known here, or was revoked; make one by `hutong token create`.")
    return Access(who=row.name, tenant=row.tenant, scopes=row.scopes)


def access_of(uow: UnitOfWork, tenant: int, name: str, *, open: bool) -> Access:
    """What tokens of a name may do now, without scopes where all are revoked; of ``open`` servers, also without any."""
    if open and name == OPEN:
        return Access(who=name, tenant=tenant, scopes=SCOPES)
    return Access(who=name, tenant=tenant, scopes=tokens.scopes_of(uow, tenant, name))


def _digest(text: str) -> bytes:
    """SHA-256 is enough: the token itself carries 256 bits of chance."""
    return hashlib.sha256(text.encode()).digest()
