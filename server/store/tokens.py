"""Named queries over bearer tokens; only their SHA-256 is kept."""

from dataclasses import dataclass

from sqlalchemy import insert, select

from server.store.database import UnitOfWork
from server.store.tables.security import token


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRow:
    """One token as it is kept."""

    tenant: int
    name: str
    scopes: frozenset[str]


def add(uow: UnitOfWork, *, tenant: int, name: str, sha256: bytes, scopes: frozenset[str]) -> None:
    """Keeps a new token's digest."""
    uow.execute(insert(token).values(tenant=tenant, name=name, sha256=sha256, scopes=sorted(scopes)))


def by_sha256(uow: UnitOfWork, sha256: bytes) -> TokenRow | None:
    """The token with this digest that is not revoked."""
    row = uow.execute(
        select(token.c.tenant, token.c.name, token.c.scopes).where(token.c.sha256 == sha256, token.c.revoked.is_(None))
    ).one_or_none()
    return None if row is None else TokenRow(tenant=row.tenant, name=row.name, scopes=frozenset(row.scopes))


def scopes_of(uow: UnitOfWork, tenant: int, name: str) -> frozenset[str]:
    """What the tokens of one name may do together, without those that are revoked; empty where there is none."""
    rows = uow.execute(
        select(token.c.scopes).where(token.c.tenant == tenant, token.c.name == name, token.c.revoked.is_(None))
    )
    return frozenset(scope for row in rows for scope in row.scopes)


def any_valid(uow: UnitOfWork) -> bool:
    """Whether there is a token that is not revoked."""
    return uow.execute(select(token.c.token).where(token.c.revoked.is_(None)).limit(1)).first() is not None
