"""The review page's form (application/x-www-form-urlencoded) as decisions.

Fields of a finding start with ``f<index>.``, those of an added one with ``a<index>.``; a concept is written
``<scheme>|<value>``. What is empty stays as it is.
"""

import re
from collections.abc import Mapping
from urllib.parse import parse_qs

from fastapi import Request

from dicom_sr import codes
from server.errors import BadRequest, TooLarge
from server.workflow.choices import Choice
from server.workflow.review import MOST_ADDED, Change, Decisions, Place
from terminology.codings import Coding

#: Bytes of a form with hundreds of findings.
_LONGEST = 1 << 18
_MOST_FIELDS = 5000
_UID = re.compile(r"[0-9.]{1,64}")

Fields = Mapping[str, str]


async def fields(request: Request) -> dict[str, str]:
    """The form's fields, the last of each name; raises TooLarge and BadRequest."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST:
            raise TooLarge(f"A form of decisions has at most {_LONGEST} bytes.")
    try:
        found = parse_qs(body.decode(), max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise BadRequest("The body is no application/x-www-form-urlencoded form in UTF-8.") from error
    return {name: values[-1].strip() for name, values in found.items()}


def decisions(form: Fields, choices: tuple[Choice, ...]) -> Decisions:
    """What was decided; raises BadRequest with the field that can't be understood."""
    rejected: dict[str, str] = {}
    changed: dict[str, Change] = {}
    for name, uid in form.items():
        prefix, _, rest = name.partition(".")
        if rest != "uid" or not prefix.startswith("f"):
            continue
        if form.get(f"{prefix}.decision") == "reject":
            rejected[uid] = form.get(f"{prefix}.reason", "")
        elif (change := _change(form, prefix, choices)) != Change():
            changed[uid] = change
    prefixes = sorted({name.partition(".")[0] for name in form if re.fullmatch(r"a\d{1,3}\..+", name)})
    if len(prefixes) > MOST_ADDED:
        raise BadRequest(f"At most {MOST_ADDED} findings are added at once.", expression="a")
    wanted = [_change(form, prefix, choices) for prefix in prefixes if form.get(f"{prefix}.add")]
    return Decisions(if_match=form.get("if_match", ""), rejected=rejected, changed=changed, added=tuple(wanted))


def _change(form: Fields, prefix: str, choices: tuple[Choice, ...]) -> Change:
    coded: dict[Coding, Coding] = {}
    numbers: dict[Coding, float] = {}
    for choice in choices:
        name = f"{prefix}.{choice.concept.scheme}|{choice.concept.value}"
        text = form.get(name, "")
        if not text:
            continue
        if choice.options:
            coded[choice.concept] = _option(choice, text, name)
        else:
            numbers[choice.concept] = _number(text, name)
    return Change(
        finding=coded.pop(codes.FINDING, None),
        site=coded.pop(codes.FINDING_SITE, None),
        laterality=coded.pop(codes.LATERALITY, None),
        qualities=coded,
        numbers=numbers,
        place=_place(form, prefix),
    )


def _option(choice: Choice, text: str, name: str) -> Coding:
    for option in choice.options:
        if f"{option.scheme}|{option.value}" == text:
            return option
    raise BadRequest(f"{text} is not among the choices.", expression=name)


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise BadRequest("A number is needed, such as 7.5.", expression=name) from error


def _place(form: Fields, prefix: str) -> Place | None:
    instance = form.get(f"{prefix}.instance", "")
    column, row = form.get(f"{prefix}.column", ""), form.get(f"{prefix}.row", "")
    if not column or not row or not _UID.fullmatch(instance):
        return None
    return Place(instance=instance, column=_number(column, f"{prefix}.column"), row=_number(row, f"{prefix}.row"))
