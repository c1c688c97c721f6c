"""Ids and instants."""

import re
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from server.fhir.instants import new_id, now, text


def test_ids_are_uuids_of_version_7_in_order_of_time() -> None:
    made = [new_id() for _ in range(200)]
    assert len(set(made)) == 200
    assert {UUID(id).version for id in made} == {7}
    assert {UUID(id).variant for id in made} == {"specified in RFC 4122"}
    assert [id[:13] for id in made] == sorted(id[:13] for id in made)


def test_instants_are_utc_to_the_millisecond() -> None:
    moment = datetime(2024, 2, 29, 13, 0, 0, 5000, tzinfo=timezone(timedelta(hours=1)))
    assert text(moment) == "2024-02-29T12:00:00.005Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text(now()))
    assert now().tzinfo is UTC
