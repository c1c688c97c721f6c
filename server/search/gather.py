"""All matches of a search at once, noted for an export: https://hl7.org/fhir/uv/bulkdata/export.html"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, false, func, literal, not_, or_, select, union_all
from sqlalchemy.dialects.postgresql import insert

from server.fhir.definitions import Definitions
from server.search import plan
from server.search.compartment import ITSELF
from server.search.index import searchable
from server.search.numbers import number
from server.search.query import Query
from server.search.sight import Sight
from server.store.database import UnitOfWork
from server.store.tables.bulk import bulk_entry, bulk_subject
from server.store.tables.resources import TEXT_C, index_reference


class Gather:
    """Notes resources for one request."""

    def __init__(self, uow: UnitOfWork, tenant: int, request: str, definitions: Definitions) -> None:
        self._uow = uow
        self._tenant = tenant
        self._request = request
        self._definitions = definitions

    def matches(self, query: Query, compartment: str = "") -> None:
        """The matches of a query; with ``compartment`` (a type) those in that of one of the request's subjects."""
        found = plan.matching(Sight(tenant=self._tenant), query)
        if compartment:
            (kind,) = query.resource_types
            columns = found.selected_columns
            found = found.where(or_(false(), *self._within(compartment, kind, columns.key, columns.id)))
        self._note(found)

    def referred(self, query: Query, reached: Iterable[str]) -> None:
        """The matches of a query that resources of the types ``reached``, which are noted already, refer to."""
        (kind,) = query.resource_types
        numbers = [number(source, code) for source in reached for code in searchable(self._definitions, source)]
        found = plan.matching(Sight(tenant=self._tenant), query)
        noted = (
            select(index_reference.c.target)
            .join(bulk_entry, bulk_entry.c.key == index_reference.c.key)
            .where(
                bulk_entry.c.tenant == self._tenant,
                bulk_entry.c.request == self._request,
                not_(bulk_entry.c.deleted),
                index_reference.c.tenant == self._tenant,
                index_reference.c.parameter.in_(numbers),
                func.starts_with(index_reference.c.target, f"{kind}/"),
            )
        )
        self._note(found.where(literal(f"{kind}/", TEXT_C).concat(found.selected_columns.id).in_(noted)))

    def referring(self, query: Query, code: str, compartment: str) -> None:
        """The matches of a query that refer, by the parameter ``code``, to what is in a subject's compartment."""
        (kind,) = query.resource_types
        sight = Sight(tenant=self._tenant)
        inside = []
        for type in sorted({*self._definitions.compartment(compartment), compartment}):
            there, seen = sight.rows()
            within = or_(false(), *self._within(compartment, type, there.c.key, there.c.id))
            target = literal(f"{type}/", TEXT_C).concat(there.c.id)
            inside.append(select(target).where(seen, there.c.type == type, within))
        referring = select(index_reference.c.key).where(
            index_reference.c.tenant == self._tenant,
            index_reference.c.parameter == number(kind, code),
            index_reference.c.target.in_(union_all(*inside)),
        )
        found = plan.matching(sight, query)
        self._note(found.where(found.selected_columns.key.in_(referring)))

    def _within(
        self, compartment: str, kind: str, key: ColumnElement[int], id: ColumnElement[str]
    ) -> Iterable[ColumnElement[bool]]:
        """What puts a resource of a type into the compartment of a subject."""
        codes = self._definitions.compartment(compartment).get(kind, ())
        if kind == compartment:
            yield id.in_(self._subjects(bulk_subject.c.id))
        numbers = [number(kind, code) for code in codes if code != ITSELF]
        if numbers:
            yield key.in_(
                select(index_reference.c.key).where(
                    index_reference.c.tenant == self._tenant,
                    index_reference.c.parameter.in_(numbers),
                    index_reference.c.target.in_(
                        self._subjects(literal(f"{compartment}/", TEXT_C).concat(bulk_subject.c.id))
                    ),
                )
            )

    def _subjects(self, column: ColumnElement[str]) -> Select[Any]:
        return select(column).where(bulk_subject.c.tenant == self._tenant, bulk_subject.c.request == self._request)

    def _note(self, found: Select[Any]) -> None:
        """Notes what a statement finds, each resource once."""
        row = found.subquery().c
        columns = ("tenant", "request", "type", "id", "version", "key", "deleted")
        noted = select(
            literal(self._tenant), literal(self._request), row.type, row.id, row.version, row.key, literal(False)
        )
        self._uow.execute(insert(bulk_entry).from_select(columns, noted).on_conflict_do_nothing())
