"""The steps of the demo, top to bottom."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pydicom
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from conformance.phantom.make import Wishes
from conformance.phantom.write import make
from dicom_sr.findings import Finding
from dicom_sr.read import read
from server.cli.demo.client import Client, Resource, dicom_files
from server.cli.demo.report import Report, compare, show, truth_of
from server.cli.demo.server import DemoServer
from server.cli.demo.subscriber import Subscriber, number_and_focus
from server.cli.output import AsJson, err, out, print_json
from server.errors import HutongError, Unavailable

TOPIC = "https://hutong.example/fhir/SubscriptionTopic/ai-result-available"
_RESULT_WITHIN = 300.0
_PLAN_WITHIN = 20.0
#: As routine chest CTs have it, and the annotated ones.
_SPACING_MM = 2.5


def demo(
    study: Annotated[Path | None, typer.Option(help="A folder of DICOM files; without it a phantom is made.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the phantom.")] = 1,
    data: Annotated[Path, typer.Option(help="Data folder of the demo's server.")] = Path("hutong-data"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running.")] = False,
    as_json: AsJson = False,
) -> None:
    """Sends a chest CT, waits for the AI's result as an outside client would, and reads everything back."""
    steps = Steps()
    with DemoServer(data.absolute(), keep=keep) as server, steps.progress:
        with steps.timed("make the study"):
            folder = study or phantom_study(data / "phantom", seed)
            datasets = dicom_files(folder)
        with steps.timed("start the server"):
            url = server.wait_until_ready()
        report = Report(study_uid=_one_study(datasets), seconds=steps.seconds)
        findings = _through_the_server(url, datasets, report, steps)
        truths = truth_of(folder)
        report.findings, report.missed = compare(findings, truths)
        report.page = f"{url}/"
    if as_json:
        print_json(report.as_json())
    else:
        show(report, has_truth=bool(truths))
        out.print(f"The server goes on as process {server.pid}; end it by: kill {server.pid}" if keep else "")


class Steps:
    """The demo's steps: shown while they run, timed for the report."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=err,
        )  # fmt: skip

    @contextlib.contextmanager
    def timed(self, name: str, total: int = 1) -> Iterator[Any]:
        """One step; yields the function that advances its bar."""
        task = self.progress.add_task(name, total=total)
        started = time.monotonic()
        yield lambda count=1: self.progress.advance(task, count)
        self.seconds[name] = round(time.monotonic() - started, 2)
        self.progress.update(task, completed=total)


def phantom_study(folder: Path, seed: int) -> Path:
    """A phantom: the same patient for the same seed, its own UIDs each time."""
    shutil.rmtree(folder, ignore_errors=True)
    make(folder, Wishes(seed=seed, spacing=_SPACING_MM), fresh=True)
    return folder


def _one_study(datasets: list[pydicom.Dataset]) -> str:
    studies = {str(dataset.StudyInstanceUID) for dataset in datasets}
    if len(studies) != 1:
        raise HutongError(f"The folder holds {len(studies)} studies; give one.", expression="study")
    return studies.pop()


def _through_the_server(url: str, datasets: list[pydicom.Dataset], report: Report, steps: Steps) -> list[Finding]:
    client = Client(url)
    with contextlib.closing(client), Subscriber() as subscriber:
        with steps.timed("subscribe"):
            subscription = client.subscribe(TOPIC, subscriber.endpoint)
            if subscriber.wait("handshake", 30) is None:
                raise Unavailable("The server did not shake hands with the subscriber.")
        # A study that was analysed before gives nothing new when it is sent again.
        known = next(iter(client.reports(report.study_uid)), None)
        with steps.timed("send by STOW-RS", len(datasets)) as advance:
            client.store(datasets, advance)
        with steps.timed("wait for the notification"):
            diagnostic_report = known or _await_report(client, subscriber, report.study_uid)
        with steps.timed("read back by FHIR"):
            resources = _resources(client, diagnostic_report)
            report.resources = client.urls(resources)
        with steps.timed("read back by QIDO-RS and WADO-RS"):
            findings = _findings(client, datasets, report)
        client.unsubscribe(subscription)
    return findings


def _await_report(client: Client, subscriber: Subscriber, study_uid: str) -> Resource:
    deadline = time.monotonic() + _RESULT_WITHIN
    while (left := deadline - time.monotonic()) > 0:
        bundle = subscriber.wait("event-notification", left)
        for _, reference in [] if bundle is None else number_and_focus(bundle):
            resource = client.read("/".join(reference.split("/")[-2:]))
            if _is_of(client, resource, study_uid):
                return resource
    raise Unavailable(f"No result was announced within {_RESULT_WITHIN:.0f} s.")


def _is_of(client: Client, report: Resource, study_uid: str) -> bool:
    studies = [client.read(study["reference"]) for study in report.get("imagingStudy", [])]
    return any(f"urn:oid:{study_uid}" == identifier["value"] for study in studies for identifier in study["identifier"])


def _resources(client: Client, report: Resource) -> list[Resource]:
    """The report and all that belongs to it, each found by a search or a reference and read."""
    study = report["imagingStudy"][0]["reference"]
    references = [report["subject"]["reference"], study, *(one["reference"] for one in report.get("result", []))]
    found = [client.read(reference) for reference in dict.fromkeys(references)]
    about = f"DiagnosticReport/{report['id']}"
    plan = f"CarePlan?subject={report['subject']['reference']}"
    _wait_for_one(client, plan)
    queries = [
        f"Task?focus={study}",
        f"Provenance?target={about}",
        f"BodyStructure?patient={report['subject']['reference']}",
        plan,
        f"ServiceRequest?subject={report['subject']['reference']}",
    ]
    for query in queries:
        found += client.search(query)
    return [report, *found]


def _wait_for_one(client: Client, query: str) -> None:
    """Waits for what a pathway writes in answer to the result, which is an event of its own."""
    deadline = time.monotonic() + _PLAN_WITHIN
    while next(client.search(query), None) is None:
        if time.monotonic() > deadline:
            raise Unavailable(f"Nothing answers {query} within {_PLAN_WITHIN:.0f} s of the result.")
        time.sleep(0.2)


def _findings(client: Client, datasets: list[pydicom.Dataset], report: Report) -> list[Finding]:
    ours = {str(dataset.SOPInstanceUID) for dataset in datasets}
    findings: list[Finding] = []
    for series, instance in client.instances(report.study_uid, "SR"):
        if instance not in ours:
            report.sr_uids.append(instance)
            findings += read(client.retrieve(report.study_uid, series, instance)).findings
    if not report.sr_uids:
        raise HutongError("The study has no structured report of ours.")
    return findings
