"""Dates, moments and times: reading and writing, order under unknown precision and zone, arithmetic."""

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.fhir.fhirpath.temporal import Date, DateTime, Temporal, Time, add

ZONES = st.integers(min_value=-12 * 60, max_value=14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(min_value=datetime(2, 1, 2), max_value=datetime(9998, 12, 30), timezones=ZONES)


def moment(text: str) -> DateTime:
    parsed = DateTime.parse(text)
    assert parsed is not None
    return parsed


@given(MOMENTS)
def test_moments_are_written_as_they_are_read(value: datetime) -> None:
    text = str(DateTime.of(value))
    assert str(moment(text)) == text


@given(MOMENTS, MOMENTS)
def test_moments_with_zones_order_as_pythons_do(left: datetime, right: datetime) -> None:
    a, b = (each.replace(microsecond=0) for each in (left, right))
    assert DateTime.of(a).compare(DateTime.of(b)) == (a > b) - (a < b)


@given(st.dates(min_value=date(1000, 1, 1), max_value=date(9000, 1, 1)), st.integers(-100000, 100000))
def test_days_are_added_as_python_adds_them(day: date, days: int) -> None:
    start = Date.parse(day.isoformat())
    assert start is not None
    assert str(add(start, Decimal(days), "day")) == (day + timedelta(days=days)).isoformat()


@given(MOMENTS, st.integers(-(10**9), 10**9))
def test_milliseconds_are_added_as_python_adds_them(value: datetime, milliseconds: int) -> None:
    start = value.replace(microsecond=value.microsecond // 1000 * 1000)
    expected = start + timedelta(milliseconds=milliseconds)
    assert str(add(DateTime.of(start), Decimal(milliseconds), "millisecond")) == str(DateTime.of(expected))


@pytest.mark.parametrize(
    ("left", "right", "order"),
    [
        ("2018-03", "2018-03-01", None),
        ("2018-03", "2018-04-01", -1),
        ("2018-03-01T10:30Z", "2018-03-01T10:30:00Z", None),
        ("2018-03-01T10:30:00Z", "2018-03-01T10:30:00.000Z", 0),
        ("2018-03-01T10:30:00+02:00", "2018-03-01T08:30:00Z", 0),
        # Without a zone it may be anything from -12:00 to +14:00.
        ("2018-03-01T10:30:00", "2018-03-01T10:30:00Z", None),
        ("2018-03-01T10:30:00", "2018-03-03T10:30:00Z", -1),
        ("2018-03-05T10:30:00", "2018-03-03T10:30:00Z", 1),
        ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:00-12:00", -1),
        ("0001-01-01T00:00:00", "9999-12-31T23:59:00-12:00", -1),
    ],
)
def test_order_is_open_where_precision_or_zone_leave_it_open(left: str, right: str, order: int | None) -> None:
    assert moment(left).compare(moment(right)) == order


@pytest.mark.parametrize(
    "text",
    [
        "2023-02-29",
        "2024-13-01",
        "0000-01-01",
        "24",
        "2024-1-1",
        "2024-01-01T24:00:00",
        "2024-01T10:00",
        "2024-01-01T1",
    ],
)
def test_what_is_no_moment_is_none(text: str) -> None:
    assert DateTime.parse(text) is None


@pytest.mark.parametrize("text", ["24:00", "1", "10:60", "10:00Z"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert Time.parse(text) is None


@pytest.mark.parametrize(
    ("start", "amount", "unit", "end"),
    [
        ("2024-01-31", "1", "month", "2024-02-29"),
        ("2024-02-29", "1", "year", "2025-02-28"),
        ("2024-02-29", "-12", "month", "2023-02-28"),
        ("2024", "18", "month", "2025"),
        ("2024-05", "-6", "month", "2023-11"),
        ("2024-05", "45", "day", "2024-06"),
        ("9999-12-31", "1", "day", "None"),
        ("9999-12-31", "1", "year", "None"),
    ],
)
def test_months_end_where_they_end(start: str, amount: str, unit: str, end: str) -> None:
    value: Temporal | None = Date.parse(start)
    assert value is not None
    assert str(add(value, Decimal(amount), unit)) == end


def test_a_time_goes_round_the_clock() -> None:
    late = Time.parse("23:30")
    assert late is not None
    assert str(add(late, Decimal(45), "minute")) == "00:15"
    assert str(add(late, Decimal(-24), "hour")) == "23:30"
    assert add(late, Decimal(1), "month") is None
