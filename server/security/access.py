"""Who calls, for what, in which tenant: built by an edge, handed to every door."""

from dataclasses import dataclass

from server.errors import Forbidden

DEFAULT_TENANT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """One caller's rights for one request."""

    #: Who, as it goes into the audit: a token's name, an AE title, "system".
    who: str
    tenant: int = DEFAULT_TENANT
    #: "read", "write", "delete", "admin"; SMART scopes come behind the same field.
    scopes: frozenset[str] = frozenset({"read"})
    purpose: str = "TREAT"

    def require(self, scope: str) -> None:
        """Raises Forbidden unless the caller holds ``scope``."""
        if scope not in self.scopes and "admin" not in self.scopes:
            raise Forbidden(f"This needs the scope '{scope}'; ask for a token that carries it.")


def system(tenant: int = DEFAULT_TENANT) -> Access:
    """The server's own access, for jobs."""
    return Access(who="system", tenant=tenant, scopes=frozenset({"read", "write", "delete", "admin"}))
