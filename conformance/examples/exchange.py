"""Each resource sent by update and read back: https://hl7.org/fhir/R4/http.html#update"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from conformance.examples.equality import differences
from conformance.examples.package import parse

_JSON = "application/fhir+json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of the resources."""

    resources: int = 0
    equal: int = 0
    #: File name -> the rules that the server names: code, place and text of each issue.
    refused: dict[str, list[str]] = field(default_factory=dict)
    #: File name -> places at which what was read back is another.
    unequal: dict[str, list[str]] = field(default_factory=dict)

    @property
    def stored(self) -> int:
        """How many were accepted."""
        return self.resources - len(self.refused)


def exchange(base: str, resources: Iterable[tuple[str, bytes, dict[str, Any]]], token: str = "") -> Outcome:
    """Stores every resource and reads it back before the next."""
    refused: dict[str, list[str]] = {}
    unequal: dict[str, list[str]] = {}
    count = equal = 0
    headers = {"accept": _JSON, "content-type": _JSON} | ({"authorization": f"Bearer {token}"} if token else {})
    with httpx.Client(headers=headers, timeout=120) as client:
        for name, body, sent in resources:
            count += 1
            url = f"{base.rstrip('/')}/{sent['resourceType']}/{sent.get('id', '')}"
            answer = client.put(url, content=body, headers={"prefer": "return=minimal"})
            if not answer.is_success:
                refused[name] = _issues(answer)
                continue
            returned = client.get(url)
            places = differences(sent, parse(returned.content) if returned.is_success else None)
            equal += not places
            if places:
                unequal[name] = sorted(places)
    return Outcome(resources=count, equal=equal, refused=refused, unequal=unequal)


def _issues(answer: httpx.Response) -> list[str]:
    try:
        issues = answer.json()["issue"]
    except (ValueError, KeyError, TypeError):
        return [f"HTTP {answer.status_code}"]
    return [_issue(issue) for issue in issues if isinstance(issue, dict)]


def _issue(issue: dict[str, Any]) -> str:
    text = (issue.get("details") or {}).get("text") or issue.get("diagnostics") or ""
    return f"{issue.get('code')} at {', '.join(issue.get('expression', ()))}: {text}"
