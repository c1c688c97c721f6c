"""The FHIR benchmark runs, at a size that measures nothing, and its copies of bundles are whole and all different."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.fhir import kills, report
from benchmarks.fhir.__main__ import main
from benchmarks.fhir.bundles import Template, templates
from benchmarks.fhir.clients import milliseconds
from benchmarks.fhir.wire import Wire

_PATIENT, _ENCOUNTER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def bundle() -> dict[str, Any]:
    """What the benchmark takes: ids that are UUIDs, links by fullUrl."""
    patient = {
        "resourceType": "Patient", "id": _PATIENT, "name": [{"family": "Miller", "given": ["Ann"]}],
        "identifier": [{"system": "urn:x", "value": _PATIENT}], "address": [{"city": "Bern"}],
    }  # fmt: skip
    encounter = {
        "resourceType": "Encounter", "id": _ENCOUNTER, "status": "finished", "class": {"code": "AMB"},
        "subject": {"reference": f"urn:uuid:{_PATIENT}"},
    }  # fmt: skip
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": f"urn:uuid:{one['id']}",
                "resource": one,
                "request": {"method": "POST", "url": one["resourceType"]},
            }
            for one in (patient, encounter)
        ],
    }


def test_copies_have_ids_of_their_own_and_keep_their_links() -> None:
    template = Template(json.dumps(bundle()))
    first, second = json.loads(template.copy()), json.loads(template.copy())
    ids = [entry["resource"]["id"] for copy in (first, second) for entry in copy["entry"]]
    assert len({*ids, _PATIENT, _ENCOUNTER}) == 6
    for copy in (first, second):
        patient, encounter = (entry["resource"] for entry in copy["entry"])
        assert encounter["subject"]["reference"] == copy["entry"][0]["fullUrl"] == f"urn:uuid:{patient['id']}"
        assert patient["identifier"][0]["value"] == patient["id"] and patient["name"][0]["family"] == "Miller"


def test_bars() -> None:
    lines = report.lines({"import resources/s": 599.0, "search 1x p50 ms": 9.0, "other": 2.0})
    assert lines[0].endswith("MISSED") and lines[1].endswith("met") and "other" in lines[2]
    assert milliseconds([0.001, 0.002, 0.003], 50) == pytest.approx(2.0)


def test_a_connection_that_ended_while_it_was_idle_is_opened_again() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = Wire(f"http://127.0.0.1:{listener.getsockname()[1]}/fhir")
        for _ in range(2):
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(wire.ask, "POST", "/Patient", b"{}")
                with listener.accept()[0] as connection:
                    assert connection.recv(1 << 16)
                    connection.sendall(answer)
                    assert asked.result().status == 200
        wire.close()


@pytest.mark.xdist_group("hostile")
@pytest.mark.timeout(600)
def test_everything_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "patient.json").write_text(json.dumps(bundle()), encoding="utf-8")
    main([str(tmp_path), "--data", str(tmp_path / "server"), "--seconds", "2", "--times", "2", "--json"])
    figures = orjson.loads(capsys.readouterr().out)
    assert {name.replace("10x", "2x") for name in report.BARS} <= figures.keys()
    assert figures["import resources"] >= 2 and figures["crud requests"] >= 5
    assert figures["conditional created, least"] == figures["conditional created, most"] == 1
    assert len(templates(tmp_path)) == 1


@pytest.mark.xdist_group("hostile")
@pytest.mark.timeout(600)
def test_sudden_deaths_during_transactions(tmp_path: Path) -> None:
    found = kills.run(tmp_path, kills=3, seed=2)
    assert found["faults"] == []
    assert found["kills"] == 3 and found["transactions"] > 0
