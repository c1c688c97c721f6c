"""Attribute matching (PS3.4 C.2.2.2): a key's text read by its VR, and held against values in memory.

``server.store.conditions`` says the same in SQL; a property test keeps the two equal.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from server.errors import BadRequest
from server.imaging.attributes import fold_name
from server.imaging.person_name import groups, name_text, query_words, words
from server.store.conditions import Criterion

#: PS3.4 C.2.2.2.4: the VRs whose values may be searched for with "*" and "?".
WILDCARDS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
INTEGERS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
NUMBERS = INTEGERS | {"DS", "FD", "FL"}
#: VRs that can be searched by at all: bulk bytes and sequences as such can not.
SEARCHABLE = WILDCARDS | NUMBERS | {"AS", "AT", "DA", "DT", "TM", "UI"}
#: Characters of a declared value that are kept and compared; LO, the longest of the short ones, has 64.
KEPT = 256
#: Patterns, or words of a name, of one key.
_PATTERNS = 64
_CLOCK = re.compile(r"([01]\d|2[0-3])(?:([0-5]\d)(?:([0-5]\d|60)(?:\.(\d{1,6}))?)?)?", re.ASCII)
_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
_TAG = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_DATETIME = re.compile(r"(\d{4}|\d{6}|\d{8}|\d{10}|\d{12}|\d{14})(?:(?<=\d{14})\.(\d{1,6}))?([+-]\d{4})?", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d)([0-5]\d)", re.ASCII)


def parse(vr: str, text: str, name: str, *, fuzzy: bool = False, empty: bool = False) -> Criterion | None:
    """What the key ``name`` asks for; None for universal matching. Raises BadRequest that names the key.

    ``fuzzy``: names by beginnings of words; ``empty``: two quotation marks ask for no value (PS3.4 C.2.2.2.7).
    """
    if "\0" in text:
        raise BadRequest(f"{name} holds a NUL character.", expression=name)
    text = text.strip()
    if not text or (not text.strip("*") and vr in WILDCARDS):
        return None
    if empty and text == '""':
        return Criterion(operator="empty")
    return _PARSERS.get(vr, _text)(text, name, fuzzy)


def bad(name: str, form: str) -> BadRequest:
    """The refusal of a value that is none of its kind."""
    return BadRequest(f"{name} must be {form}.", expression=name)


def _list(text: str, pattern: str = r"[,\\]") -> tuple[str, ...]:
    return tuple(part.strip() for part in re.split(pattern, text) if part.strip())


def _one_or_like(name: str, parts: tuple[str, ...]) -> Criterion:
    if not any("*" in part or "?" in part for part in parts):
        return Criterion(operator="one", values=parts)
    return Criterion(operator="like", values=_few(name, parts))


def _few(name: str, patterns: tuple[str, ...]) -> tuple[str, ...]:
    if len(patterns) > _PATTERNS:
        raise bad(name, f"{_PATTERNS} patterns at most")
    return patterns


def _text(text: str, name: str, _fuzzy: bool) -> Criterion:
    return _one_or_like(name, tuple(part.strip()[:KEPT] for part in text.split("\\")))


def _codes(text: str, name: str, _fuzzy: bool) -> Criterion:
    """CS: no comma is ever in a value, and clients divide a list of them by commas."""
    return _one_or_like(name, _list(text))


def _plain(text: str, _key: str, _fuzzy: bool) -> Criterion:
    return Criterion(operator="one", values=_list(text, r"\\"))


def _name(text: str, name: str, fuzzy: bool) -> Criterion:
    if fuzzy and (found := query_words(text)):
        return Criterion(operator="words", values=_few(name, found))
    return Criterion(operator="name", values=_few(name, tuple(fold_name(part) for part in text.split("\\"))))


def _uids(text: str, name: str, _fuzzy: bool) -> Criterion:
    found = _list(text)
    if not found or not all(_UID.fullmatch(uid) for uid in found):
        raise bad(name, "a UID or a list of UIDs")
    return Criterion(operator="one", values=found)


def _tags(text: str, name: str, _fuzzy: bool) -> Criterion:
    found = _list(text)
    if not found or not all(_TAG.fullmatch(tag) for tag in found):
        raise bad(name, "eight hexadecimal digits")
    return Criterion(operator="one", values=tuple(tag.upper() for tag in found))


def _integers(text: str, name: str, _fuzzy: bool) -> Criterion:
    found = _list(text)
    if not found or not all(_INTEGER.fullmatch(number) for number in found):
        raise bad(name, "a whole number")
    return Criterion(operator="one", values=tuple(int(number) for number in found))


def _decimals(text: str, name: str, _fuzzy: bool) -> Criterion:
    found = tuple(decimal(part) for part in _list(text))
    if not found or None in found:
        raise bad(name, "a number")
    return Criterion(operator="one", values=tuple(number for number in found if number is not None))


def decimal(value: object) -> Decimal | None:
    """A number that PostgreSQL takes; None where it is none, or beyond any measure."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and (not number or -400 < number.adjusted() < 400) else None


def _ends(text: str, name: str, form: str, bound: Callable[[str], tuple[str, str] | None]) -> Criterion:
    """A single value or a range; ``bound`` gives the earliest and the latest that a value may mean."""
    single = bound(text)
    if single is not None:
        return Criterion(operator="range", values=single)
    low, _, high = (part.strip() for part in text.partition("-"))
    ends = bound(low) if low else ("", ""), bound(high) if high else ("", "")
    if "-" not in text or not (low or high) or ends[0] is None or ends[1] is None:
        raise bad(name, f"{form}, or a range with '-' before, between or behind")
    return Criterion(operator="range", values=(ends[0][0], ends[1][1]))


def _date(text: str, name: str, _fuzzy: bool) -> Criterion:
    found = _ends(text, name, "a date as YYYYMMDD", _day)
    low, high = found.values
    return Criterion(operator="one", values=(low,)) if low == high else found


def _day(text: str) -> tuple[str, str] | None:
    if not re.fullmatch(r"\d{8}", text, re.ASCII):
        return None
    try:
        datetime(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None
    return text, text


def _time(text: str, name: str, _fuzzy: bool) -> Criterion:
    found = _ends(text, name, "a time as HHMMSS.FFFFFF", _clock)
    return Criterion(operator="time", values=found.values)


def _clock(text: str) -> tuple[str, str] | None:
    if not _CLOCK.fullmatch(text):
        return None
    digits = text.replace(".", "")
    return digits.ljust(12, "0"), digits.ljust(12, "9")


def _datetime(text: str, name: str, _fuzzy: bool) -> Criterion:
    """A DT or a range; a "-" before four digits at the end is an offset wherever it can be one."""
    for at in [len(text), *(n for n, character in enumerate(text) if character == "-")]:
        low, high = text[:at].strip(), text[at + 1 :].strip()
        first = moment_of(low) if low else ("", "")
        last = first if at == len(text) else moment_of(high) if high else ("", "")
        if first and last and (low or high):
            return Criterion(operator="range", values=(first[0], last[1]))
    raise bad(name, "a DT as YYYYMMDDHHMMSS.FFFFFF&ZZXX, or a range with '-'")


def moment_of(text: str) -> tuple[str, str] | None:
    """The earliest and the latest twenty digits, in UTC, that a DT value may mean; None where it is none."""
    match = _DATETIME.fullmatch(text)
    if not match:
        return None
    digits, offset = match[1] + (match[2] or ""), match[3]
    low = f"{digits:0<20}" if len(digits) >= 8 else digits + "0101"[len(digits) - 8 :] + "0" * 12
    high = f"{digits:9<20}"
    if not offset:
        return low, high
    return _utc(low, offset), _utc(high, offset)


def _utc(digits: str, offset: str) -> str:
    """Digits moved to UTC; as they are where they are no moment, e.g. the 99th day of a month."""
    shift = offset_minutes(offset)
    try:
        moment = datetime.strptime(digits, "%Y%m%d%H%M%S%f")
        return (moment - timedelta(minutes=shift or 0)).strftime("%Y%m%d%H%M%S%f").rjust(20, "0")
    except (ValueError, OverflowError):
        return digits


def offset_minutes(text: str) -> int | None:
    """Timezone Offset From UTC (0008,0201) in minutes; None where it is none."""
    match = _OFFSET.fullmatch(text.strip())
    if not match:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    return (-minutes if match[1] == "-" else minutes) if minutes <= 14 * 60 else None


_PARSERS: dict[str, Callable[[str, str, bool], Criterion]] = {
    **dict.fromkeys(INTEGERS, _integers),
    **dict.fromkeys(("DS", "FD", "FL"), _decimals),
    **{"PN": _name, "UI": _uids, "AT": _tags, "DA": _date, "TM": _time, "DT": _datetime, "AS": _plain, "CS": _codes},
}


def combined(date: str, time: str) -> Criterion | None:
    """A date and a time as one moment, where both ask for the same form of range (PS3.4 C.2.2.2.5.4)."""
    forms = [
        (bool(low.strip()), bool(dash), bool(high.strip()))
        for low, dash, high in (date.partition("-"), time.partition("-"))
    ]
    if forms[0] != forms[1] or not forms[0][1]:
        return None
    days, clocks = _date(date, "date", False).values, _time(time, "time", False).values
    if len(days) == 1:
        days = days * 2
    ends = [f"{day}{clock}" if day else "" for day, clock in zip(days, clocks, strict=True)]
    return Criterion(operator="moment", values=tuple(ends))


def matches(criterion: Criterion, vr: str, values: Sequence[Any]) -> bool:
    """Whether any of an element's values (DICOM JSON) is what the criterion asks for."""
    found = [value for value in values if _says(vr, value)]
    if criterion.operator == "empty":
        return not found
    return any(_match(criterion, vr, value) for value in found)


def _says(vr: str, value: Any) -> bool:
    """Whether a value says anything."""
    return value is not None and (fold_name(name_text(value)) if vr == "PN" else index_text(vr, value)) != ""


def _match(criterion: Criterion, vr: str, value: Any) -> bool:
    wanted = criterion.values
    if vr == "PN":
        whole = fold_name(name_text(value))
        if criterion.operator == "words":
            have = words(whole)
            return all(any(glob(f"{word}*", one) for one in have) for word in wanted)
        return any(glob(str(p), one) for p in wanted for one in ([whole] if "=" in str(p) else groups(whole)))
    if vr in NUMBERS:
        return decimal(value) in wanted
    text = index_text(vr, value)
    if criterion.operator == "one":
        return text in wanted
    if criterion.operator == "like":
        return any(glob(str(pattern), text) for pattern in wanted)
    low, high = wanted
    return (low == "" or text >= str(low)) and (high == "" or text <= str(high))


def index_text(vr: str, value: Any) -> str:
    """A value as it is compared: dates and times in digits, moments in UTC, texts without spaces around them."""
    text = str(value).replace("\0", "").strip()[:KEPT]
    if vr == "DA":
        return text.replace(".", "")
    if vr == "TM" and text:
        return text.replace(":", "").replace(".", "").ljust(12, "0")[:12]
    if vr == "DT":
        return (moment_of(text) or (text, ""))[0]
    return text


def glob(pattern: str, text: str) -> bool:
    """DICOM's wildcards: "*" for any characters, "?" for one. Takes time by the product of the lengths at worst."""
    at = place = 0
    star, back = -1, 0
    while place < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, back = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[place]):
            at += 1
            place += 1
        elif star >= 0:
            back += 1
            at, place = star + 1, back
        else:
            return False
    return not pattern[at:].strip("*")
