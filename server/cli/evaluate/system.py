"""What is evaluated: an adapter that is run, or a product of which only reports are at hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ai_adapters import registry as bundles
from ai_adapters.manifest import BrokenManifest
from ai_adapters.registry import Bundle, UnknownBundle
from server.cli.evaluate.studies import Study, findings_of, reports
from server.errors import NotFound, Unprocessable
from server.settings import load
from server.workflow.evaluation_report import System


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """One system."""

    name: str
    system: System
    #: From which a finding is reported; of reports, all are.
    threshold: float
    #: None where only reports are at hand.
    bundle: Bundle | None = None
    #: Its reports by StudyInstanceUID, where it isn't run.
    reports: Mapping[str, Study] | None = None


def named(name: str, data: Path | None) -> Evaluated:
    """The adapter of that name or in that folder, or the product whose SRs lie in it."""
    folder = Path(name)
    try:
        if (folder / "manifest.json").is_file():
            return _of_bundle(bundles.read_bundle(folder))
        if folder.is_dir() and (found := reports(folder)):
            return _of_reports(folder, found)
        return _of_bundle(bundles.registry(load({"data": data}).bundle_folder).get(name))
    except UnknownBundle as error:
        raise NotFound(f"{error}; or name a folder with a manifest.json or with SRs.", expression="bundle") from error
    except BrokenManifest as error:
        raise Unprocessable(f"The adapter is refused: {error}.", expression=name) from error


def _of_bundle(bundle: Bundle) -> Evaluated:
    manifest = bundle.manifest
    system = System(
        title=manifest.title, version=manifest.version, creator=manifest.creator, device_uid=manifest.device_uid
    )
    return Evaluated(name=manifest.name, system=system, threshold=manifest.report, bundle=bundle)


def _of_reports(folder: Path, found: Mapping[str, Study]) -> Evaluated:
    """The product that the reports name; several products in one folder are refused."""
    makers = {report.algorithm for study in found.values() for report in findings_of(study, [])}
    told = {(one.name, one.version, one.manufacturer, one.device_uid) for one in makers if one is not None}
    if len(told) > 1:
        names = "; ".join(sorted(f"{name} {version}" for name, version, _, _ in told))
        raise Unprocessable(
            f"The reports are of several products ({names}): put each one's into a folder of its own.",
            expression=str(folder),
        )
    title, version, creator, device_uid = next(iter(told), (folder.name, "", "", ""))
    system = System(title=title, version=version, creator=creator, device_uid=device_uid)
    return Evaluated(name=folder.name, system=system, threshold=0.0, reports=found)
