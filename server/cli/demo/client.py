"""The demo's outside client: DICOMweb by dicomweb-client, FHIR by plain HTTP; it knows nothing but standards."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pydicom
from dicomweb_client import DICOMwebClient
from pydicom.errors import InvalidDicomError

from server.errors import BadRequest, HutongError

Resource = dict[str, Any]

_BATCH = 20
_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"


def dicom_files(folder: Path) -> list[pydicom.Dataset]:
    """Every DICOM instance in a folder and below, whatever the files are called; a phantom's truth stays at home."""
    found = []
    for path in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
        if path.name == "truth_sr.dcm" and path.with_name("truth.json").exists():
            continue
        try:
            found.append(pydicom.dcmread(path))
        except InvalidDicomError:
            continue
    if not found:
        raise BadRequest(f"There is no DICOM file in {folder}.", expression="study")
    return found


class Client:
    """One outside client of one server."""

    def __init__(self, url: str) -> None:
        self.fhir_url = f"{url}/fhir"
        self._fhir = httpx.Client(base_url=self.fhir_url, timeout=60, headers={"Accept": "application/fhir+json"})
        self._dicom = DICOMwebClient(f"{url}/dicomweb")

    def close(self) -> None:
        """Closes the connections."""
        self._fhir.close()

    def subscribe(self, topic: str, endpoint: str) -> Resource:
        """Asks for id-only notifications of a topic at a rest-hook endpoint."""
        return self._sent(
            self._fhir.post(
                "/Subscription",
                json={
                    "resourceType": "Subscription",
                    "meta": {"profile": [f"{_BACKPORT}/backport-subscription"]},
                    "status": "requested",
                    "reason": "the demo waits for its result",
                    "criteria": topic,
                    "channel": {
                        "type": "rest-hook",
                        "endpoint": endpoint,
                        "payload": "application/fhir+json",
                        "_payload": {
                            "extension": [{"url": f"{_BACKPORT}/backport-payload-content", "valueCode": "id-only"}]
                        },
                    },
                },
                headers={"Content-Type": "application/fhir+json"},
            )
        )

    def unsubscribe(self, subscription: Resource) -> None:
        """Deletes the subscription again."""
        self._fhir.delete(f"/Subscription/{subscription['id']}")

    def store(self, datasets: list[pydicom.Dataset], advance: Callable[[int], None], batch: int = _BATCH) -> None:
        """Sends instances by STOW-RS, so many in one request; raises when one is refused."""
        for start in range(0, len(datasets), batch):
            sent = datasets[start : start + batch]
            answer = self._dicom.store_instances(sent)
            refused = answer.get("FailedSOPSequence")
            if refused:
                raise HutongError(
                    f"The server refused {len(refused)} instances: reason {refused[0].FailureReason:04X}H."
                )
            advance(len(sent))

    def instances(self, study_uid: str, modality: str) -> list[tuple[str, str]]:
        """(series, SOP instance) of a study's instances of one modality, by QIDO-RS."""
        found = self._dicom.search_for_instances(study_uid, search_filters={"Modality": modality})
        return [(item["0020000E"]["Value"][0], item["00080018"]["Value"][0]) for item in found]

    def retrieve(self, study_uid: str, series_uid: str, sop_uid: str) -> pydicom.Dataset:
        """One instance by WADO-RS."""
        return self._dicom.retrieve_instance(study_uid, series_uid, sop_uid)

    def read(self, reference: str) -> Resource:
        """One resource by FHIR read."""
        return self._sent(self._fhir.get(f"/{reference}"))

    def search(self, query: str) -> Iterator[Resource]:
        """All resources that match, page by page."""
        bundle = self._sent(self._fhir.get(f"/{query}"))
        while True:
            yield from (entry["resource"] for entry in bundle.get("entry", []) if _is_match(entry))
            following = [link["url"] for link in bundle.get("link", []) if link["relation"] == "next"]
            if not following:
                return
            bundle = self._sent(self._fhir.get(following[0]))

    def reports(self, study_uid: str) -> list[Resource]:
        """The DiagnosticReports of a study; R4 can't search by imagingStudy, so the patient's are looked through."""
        found = []
        for study in self.search(f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{study_uid}"):
            reference = f"ImagingStudy/{study['id']}"
            for report in self.search(f"DiagnosticReport?subject={study['subject']['reference']}"):
                if any(one["reference"].endswith(reference) for one in report.get("imagingStudy", [])):
                    found.append(report)
        return found

    def urls(self, resources: Iterable[Resource]) -> list[str]:
        """The addresses of resources."""
        return [f"{self.fhir_url}/{resource['resourceType']}/{resource['id']}" for resource in resources]

    @staticmethod
    def _sent(response: httpx.Response) -> Resource:
        if response.is_success:
            return dict(response.json())
        raise HutongError(f"{response.request.method} {response.request.url} answered {response.status_code}.")


def _is_match(entry: Resource) -> bool:
    return str(entry.get("search", {}).get("mode", "match")) == "match"
