"""fhirclient (SMART's Python client, PyPI), unmodified: read, search, pages, create, update, delete, capabilities."""

import pytest
from fhirclient import client
from fhirclient.models.bundle import Bundle
from fhirclient.models.capabilitystatement import CapabilityStatement
from fhirclient.models.fhirdate import FHIRDate
from fhirclient.models.fhirreference import FHIRReference
from fhirclient.models.humanname import HumanName
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException, FHIRServer


@pytest.fixture(scope="module")
def server(served_url: str) -> FHIRServer:
    """The server as fhirclient sees it once it has read the capabilities."""
    smart = client.FHIRClient(settings={"app_id": "test", "api_base": served_url})
    assert smart.prepare() and smart.ready
    return smart.server


def patient(family: str) -> Patient:
    made = Patient()
    made.name = [HumanName({"family": family, "given": ["Li"], "text": f"{family} 李"})]
    made.birthDate = FHIRDate("1970-01-02")
    return made


def test_capabilities(server: FHIRServer) -> None:
    statement = CapabilityStatement.read_from("metadata", server)
    assert statement.fhirVersion == "4.0.1"
    assert {resource.type for resource in statement.rest[0].resource} >= {"Patient", "Observation"}


def test_create_read_update_delete(server: FHIRServer) -> None:
    id = patient("Crud").create(server)["id"]
    read = Patient.read(id, server)
    assert read.name[0].text == "Crud 李" and read.birthDate.isostring == "1970-01-02"
    read.gender = "female"
    read.update(server)
    again = Patient.read(id, server)
    assert again.gender == "female" and again.meta.versionId == "2"
    history = Bundle.read_from(f"Patient/{id}/_history", server)
    assert [entry.resource.meta.versionId for entry in history.entry] == ["2", "1"]
    again.delete()
    with pytest.raises(FHIRNotFoundException):
        Patient.read("never", server)
    assert list(Patient.where({"family": "Crud"}).perform_resources_iter(server)) == []


def test_search_with_includes_and_chains(server: FHIRServer) -> None:
    id = patient("Searched").create(server)["id"]
    observation = Observation({"status": "final", "code": {"text": "体温"}})
    observation.subject = FHIRReference({"reference": f"Patient/{id}"})
    observation.create(server)
    search = Observation.where({"patient.family": "searched", "status": "final"}).include("subject")
    (bundle,) = search.perform_iter(server)
    assert [entry.resource.resource_type for entry in bundle.entry] == ["Observation", "Patient"]
    assert next(search.perform_resources_iter(server)).subject.resolved(Patient).id == id
    between = Patient.where({"family": "searched", "birthdate": {"$and": ["ge1970", "lt1971"]}})
    assert [one.id for one in between.perform_resources_iter(server)] == [id]


def test_pages(server: FHIRServer) -> None:
    ids = {patient("Paged").create(server)["id"] for _ in range(7)}
    search = Patient.where({"family": "paged", "_count": "3"})
    pages = list(search.perform_iter(server))
    assert [len(page.entry) for page in pages] == [3, 3, 1]
    found = [one.id for one in search.perform_resources_iter(server)]
    assert set(found) == ids and len(found) == 7
