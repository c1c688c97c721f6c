"""The resource of extended query tags over real sockets."""

from collections.abc import Callable

import httpx

from server.imaging import extended_tags
from server.store.database import Database

Make = Callable[..., bytes]


def test_an_attribute_is_declared_indexed_searched_by_and_withdrawn(
    dicomweb_url: str, database: Database, make_instance: Make
) -> None:
    sent = {"Content-Type": "application/dicom"}
    file = make_instance(1, InstitutionName="Hospital")
    assert httpx.post(f"{dicomweb_url}/studies", content=file, headers=sent).status_code == 200
    admin, tags = {"scopes": "read admin"}, f"{dicomweb_url}/extendedquerytags"
    body = {"path": "InstitutionName", "level": "Series"}
    assert httpx.post(tags, json=body).status_code == 403
    declared = httpx.post(tags, json=body, headers=admin)
    assert declared.status_code == 202
    expected = {"path": "00080080", "vr": "LO", "privateCreator": "", "level": "series", "indexed": 0}
    assert declared.json() == expected | {"status": "indexing"}
    search = f"{dicomweb_url}/series?InstitutionName=Hosp*"
    assert "InstitutionName" in httpx.get(search).headers["warning"]
    while extended_tags.index_next(database):
        pass
    assert httpx.get(f"{tags}/InstitutionName").json() == expected | {"status": "ready", "indexed": 1}
    assert httpx.get(tags).json() == [expected | {"status": "ready", "indexed": 1}]
    found = httpx.get(search)
    assert len(found.json()) == 1 and "warning" not in found.headers
    # A match brings its key along.
    assert found.json()[0]["00080080"]["Value"] == ["Hospital"]
    assert httpx.delete(f"{tags}/00080080", headers=admin).status_code == 204
    assert httpx.get(f"{tags}/00080080").status_code == 404
    assert httpx.delete(f"{tags}/00080080", headers=admin).status_code == 404


def test_what_may_not_be_declared_is_refused_with_the_cure(dicomweb_url: str) -> None:
    answer = httpx.post(f"{dicomweb_url}/extendedquerytags", json={"path": "PixelData"}, headers={"scopes": "admin"})
    assert answer.status_code == 400
    assert "not searched by" in answer.text
