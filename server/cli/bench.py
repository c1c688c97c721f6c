"""``hutong adapters bench``: what an analysis costs, stage by stage, and how near it comes to the bare model.

Each analysis runs in a process of its own kind, as the server's does: it reads and decodes the series, runs the adapter
and makes SR, SEG and FHIR resources, in memory. The bare loop feeds ONNX Runtime the very tensors that the analysis fed
it, and nothing else.
"""

import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import pydicom
from pydicom import Dataset

from ai_adapters.onnx_session import BrokenModel, open_session
from ai_adapters.registry import Bundle, read_bundle
from ai_adapters.run import run as run_bundle
from ai_adapters.selection import select
from ai_adapters.volume import decoders, load
from ai_adapters.watch import Float, Watch
from dicom_sr.fhir_elements import Instance
from dicom_sr.findings import Findings
from dicom_sr.to_fhir import to_fhir
from dicom_sr.write_seg import write_seg
from dicom_sr.write_sr import write_sr
from server.cli.evaluate.studies import find
from server.fhir.instants import now

#: Seed of the first phantom that is read where no study is given; nothing is tuned or measured for quality on it.
_FIRST_SEED = 1


@dataclass(frozen=True, kw_only=True)
class Work:
    """One analysis to do, small enough to hand to another process."""

    bundle: Path
    images: tuple[Path, ...]
    threads: int | None
    providers: tuple[str, ...]
    #: Whether the bare loop follows.
    bare: bool


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one analysis cost."""

    slices: int
    findings: int
    provider: str
    #: By stage, the whole under ``total``.
    seconds: dict[str, float]
    #: Of the bare loop over the same tensors; None where none was run.
    bare_seconds: float | None
    tensors: int
    peak_mib: int
    #: None without a GPU that ONNX Runtime used.
    device_mib: int | None


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What several analyses at once came to."""

    workers: int
    analyses: int
    seconds: float

    @property
    def studies_an_hour(self) -> float:
        """How many such studies are done in an hour."""
        return 3600 * self.analyses / self.seconds


@contextmanager
def studies(folder: Path | None, phantoms: int) -> Iterator[list[tuple[Path, ...]]]:
    """The files of each study: those of a folder, or of phantoms that are made and thrown away."""
    if folder is not None:
        yield [tuple(study.images) for study in find(folder, [])]
        return
    # A chest CT maker; most commands do without it.
    from conformance.phantom.make import Wishes
    from conformance.phantom.write import make

    with tempfile.TemporaryDirectory() as place:
        for seed in range(_FIRST_SEED, _FIRST_SEED + phantoms):
            make(Path(place) / str(seed), Wishes(seed=seed))
        yield [tuple(study.images) for study in find(Path(place), [])]


def one_by_one(works: Sequence[Work]) -> list[Cost]:
    """The cost of each analysis, in a fresh process, so that its peak of memory is its own."""
    costs = []
    for work in works:
        with _pool(1) as pool:
            costs.append(pool.submit(analyse, work).result())
    return costs


def at_once(works: Sequence[Work], workers: int) -> Throughput:
    """Several analyses in as many processes; the processes' start is not counted, the models' opening is."""
    with _pool(workers) as pool:
        list(pool.map(_ready, range(workers)))
        begin = time.perf_counter()
        list(pool.map(analyse, works))
        return Throughput(workers=workers, analyses=len(works), seconds=time.perf_counter() - begin)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def _ready(_number: int) -> None:
    """Keeps a process busy long enough that all of them are started."""
    time.sleep(1.0)


def analyse(work: Work) -> Cost:
    """One analysis in this process, and the bare loop behind it."""
    bundle = read_bundle(work.bundle)
    watch = Watch(fed=[] if work.bare else None)
    begin = time.perf_counter()
    with watch.stage("reading headers"):
        headers = [_header(path) for path in work.images]
        chosen = select(bundle.manifest, headers)
    with watch.stage("loading and decoding"):
        volume = load(chosen, _pixels, decoders(work.threads))
    findings = run_bundle(
        bundle, volume, identify=_identify, timestamp=now(), key="0" * 64, threads=work.threads,
        providers=work.providers, watch=watch,
    )  # fmt: skip
    with watch.stage("writing"):
        _write(findings, chosen)
    watch.seconds["total"] = time.perf_counter() - begin
    provider = dict(findings.algorithm.parameters)["execution provider"] if findings.algorithm else ""
    peak, device = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, _device_mib(provider)
    return Cost(
        slices=len(chosen),
        findings=len(findings.findings),
        provider=provider,
        seconds=watch.seconds,
        bare_seconds=_bare(bundle, watch.fed or [], work) if work.bare else None,
        tensors=len(watch.fed or ()),
        peak_mib=peak,
        device_mib=device,
    )


def _identify(_center: Sequence[float], index: int) -> tuple[str, str]:
    return f"Lesion {index + 1}", f"2.25.{index + 1}"


def _header(path: Path) -> Dataset:
    header = pydicom.dcmread(path, stop_before_pixels=True)
    header.filename = str(path)
    return header


def _pixels(header: Dataset) -> Dataset:
    return pydicom.dcmread(Path(str(header.filename)))


def _write(findings: Findings, images: Sequence[Dataset]) -> None:
    """SR, SEG and resources, as they would be stored."""
    written = [write_sr(findings, images), write_seg(findings, images)]
    sr, seg = (None if dataset is None else _instance(dataset) for dataset in written)
    if sr is not None:
        to_fhir(findings, subject={"display": "bench"}, imaging_study={"display": "bench"}, sr=sr, seg=seg)


def _instance(dataset: Dataset) -> Instance:
    return Instance(
        study_instance_uid=str(dataset.StudyInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
    )


def _bare(bundle: Bundle, tensors: Sequence[tuple[str, Float]], work: Work) -> float:
    """Seconds that ONNX Runtime takes for the tensors; each model's first one is run once before, as in an analysis."""
    if not tensors:
        raise BrokenModel("the analysis fed the model nothing")
    sessions = {
        name: open_session(model, work.threads, work.providers).session for name, model in bundle.models.items()
    }
    names = {name: session.get_inputs()[0].name for name, session in sessions.items()}
    for model, tensor in dict(reversed(tensors)).items():
        sessions[model].run(None, {names[model]: tensor})
    begin = time.perf_counter()
    for model, tensor in tensors:
        sessions[model].run(None, {names[model]: tensor})
    return time.perf_counter() - begin


def _device_mib(provider: str) -> int | None:
    """Memory that this process has on the GPU, by the driver's own tool; None where there is none."""
    tool = shutil.which("nvidia-smi") if provider.startswith("CUDA") else None
    if tool is None:
        return None
    asked = [tool, "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10).stdout
    rows = [line.split(",") for line in answer.splitlines() if line.count(",") == 1]
    return sum(int(used) for pid, used in rows if int(pid) == os.getpid() and used.strip().isdecimal()) or None


def summary(costs: Sequence[Cost], throughput: Throughput) -> dict[str, object]:
    """The figures: medians over the analyses."""
    stages = {name: median(cost.seconds.get(name, 0.0) for cost in costs) for name in costs[0].seconds}
    bare = [cost.bare_seconds for cost in costs if cost.bare_seconds is not None]
    device = [cost.device_mib for cost in costs if cost.device_mib is not None]
    return {
        "provider": costs[0].provider,
        "slices": [cost.slices for cost in costs],
        "findings": [cost.findings for cost in costs],
        "seconds": {name: round(value, 3) for name, value in stages.items()},
        "bare_seconds": round(median(bare), 3) if bare else None,
        "bare_share": round(median(bare) / stages["total"], 3) if bare else None,
        "tensors": [cost.tensors for cost in costs],
        "peak_memory_mib": max(cost.peak_mib for cost in costs),
        "device_memory_mib": max(device) if device else None,
        "workers": throughput.workers,
        "analyses": throughput.analyses,
        "studies_an_hour": round(throughput.studies_an_hour, 1),
    }
