"""Every web service of the conformance statement answers, in every form that it names."""

from collections.abc import Callable

import httpx

from server.app.statement import statement
from tests.http.worklist import new
from tests.peers.conftest import Ours

NAMES = {"study": "1.2.3", "series": "1.2.3.1", "instance": "1.2.3.1.1", "frames": "1", "workitem": "1.2.9"}
#: Forms that depend on how the instance is encoded: this one is uncompressed CT.
_BY_ENCODING = ("image/", "video/", "text/", "application/pdf")


def _resources(ours: Ours) -> list[tuple[str, str, list[str]]]:
    """Method, path and media types of each row of section 3."""
    part = statement(ours.parts).split("## 3 Web services")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("|")]
    return [(row[0], row[1].strip("`"), _types(row[3])) for row in rows[2:]]


def _depends_on_encoding(kind: str, path: str) -> bool:
    drawn = path.endswith(("/rendered", "/thumbnail"))
    return kind.startswith(_BY_ENCODING) and not (drawn and kind.startswith("image/"))


def _types(cell: str) -> list[str]:
    return [one.replace("\0", "; ") for one in cell.replace("; ", "\0").split()]


def test_what_is_read_is_given_as_the_statement_says(ours: Ours, make_instance: Callable[..., bytes]) -> None:
    sent = httpx.post(f"{ours.url}/studies", content=make_instance(1), headers={"Content-Type": "application/dicom"})
    assert sent.status_code == 200
    assert httpx.post(f"{ours.url}/workitems?{NAMES['workitem']}", json=new()).status_code == 201
    tried = 0
    for method, path, types in _resources(ours):
        if method != "GET" or not types or "{path}" in path or "{uid}" in path:
            continue
        url = ours.url + path.format(**NAMES)
        for kind in types:
            answer = httpx.get(url, headers={"Accept": kind}, timeout=60)
            # Several values of bulk data go as parts of one answer.
            given = answer.headers["content-type"]
            if _depends_on_encoding(kind, path) and answer.status_code == 406:
                continue
            assert answer.status_code == 200, (url, kind, answer.status_code, answer.text[:500])
            assert given.split(";")[0] == kind.split(";")[0] or f'type="{kind}"' in given, (url, kind, given)
            tried += 1
    assert tried > 40


def test_every_resource_of_the_statement_is_there(ours: Ours) -> None:
    others = {"path": "x", "uid": "1.2", "aetitle": "AE", "requester": "AE", "title": "AE"}
    for method, path, _ in _resources(ours):
        url = ours.url + path.format(**NAMES, **others)
        allowed = httpx.options(url).headers.get("allow", "")
        assert method in allowed.split(", "), (url, method, allowed)
