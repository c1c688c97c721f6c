"""Whose each Subscription is, what of it is kept secret, and the tokens that bind websockets."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from server.store.database import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscriber:
    """Who a subscription belongs to."""

    who: str
    #: Lines "Name: value" of the headers that notifications carry.
    headers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding:
    """What a websocket's token stands for."""

    tenant: int
    who: str
    subscriptions: tuple[str, ...]
    expires: datetime


def subscriber(uow: UnitOfWork, tenant: int, subscription: str) -> Subscriber | None:
    """Who a subscription belongs to; None where the server itself wrote it."""
    row = uow.driver.execute(
        "select who, headers from subscriber where tenant = %s and subscription = %s", (tenant, subscription)
    ).fetchone()
    return None if row is None else Subscriber(who=row[0], headers=tuple(row[1].split("\n")) if row[1] else ())


def belongs(uow: UnitOfWork, tenant: int, subscription: str, who: str, headers: Sequence[str]) -> None:
    """The subscription is ``who``'s from now on, with these headers."""
    uow.driver.execute(
        "insert into subscriber (tenant, subscription, who, headers) values (%s, %s, %s, %s) "
        "on conflict (tenant, subscription) do update set who = excluded.who, headers = excluded.headers",
        (tenant, subscription, who, "\n".join(headers)),
    )


def bind(uow: UnitOfWork, sha256: bytes, binding: Binding) -> None:
    """Keeps a new token's digest; those that are over go."""
    uow.driver.execute("delete from subscription_binding where expires < now()")
    uow.driver.execute(
        "insert into subscription_binding (tenant, sha256, who, subscriptions, expires) values (%s, %s, %s, %s, %s)",
        (binding.tenant, sha256, binding.who, list(binding.subscriptions), binding.expires),
    )


def bound(uow: UnitOfWork, sha256: bytes) -> Binding | None:
    """What a token stands for; None where there is none, or it is over."""
    row = uow.driver.execute(
        "select tenant, who, subscriptions, expires from subscription_binding where sha256 = %s and expires > now()",
        (sha256,),
    ).fetchone()
    return None if row is None else Binding(tenant=row[0], who=row[1], subscriptions=tuple(row[2]), expires=row[3])
