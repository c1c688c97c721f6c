"""Where each number and description of a lesion stands, so that it keeps its FHIR name from version to version."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from dicom_sr.findings import Finding, Findings, Measurement, Quality
from dicom_sr.measurement_report import certainty

Slot = Hashable


def measured(finding: Finding) -> list[Measurement]:
    """The numbers of a finding as they are written: its measurements, then the certainty."""
    certain = [] if finding.confidence is None else [certainty(finding.confidence)]
    return [*finding.measurements, *certain]


def _keys(items: Iterable[Measurement | Quality]) -> Iterator[Slot]:
    seen: Counter[Slot] = Counter()
    for item in items:
        derivation = item.derivation if isinstance(item, Measurement) else None
        key = (type(item).__name__, item.concept, derivation)
        yield (*key, seen[key])
        seen[key] += 1


@dataclass(frozen=True, kw_only=True)
class Slots:
    """The places of each lesion's numbers and descriptions, over all versions of a report."""

    _known: Mapping[tuple[str, Slot], int] = field(default_factory=dict)

    @classmethod
    def of(cls, versions: Iterable[Findings]) -> "Slots":
        """In the order of the first version; what a later one adds comes behind."""
        known: dict[tuple[str, Slot], int] = {}
        counts: Counter[tuple[str, str]] = Counter()
        for version in versions:
            for finding in version.findings:
                for kind, items in (("m", measured(finding)), ("q", finding.qualities)):
                    for key in _keys(items):
                        place = (finding.tracking_uid, key)
                        if place not in known:
                            known[place] = counts[finding.tracking_uid, kind]
                            counts[finding.tracking_uid, kind] += 1
        return cls(_known=known)

    def places(self, finding: Finding, items: Iterable[Measurement | Quality]) -> list[int]:
        """The place of each of a finding's numbers, or of its descriptions."""
        return [self._known.get((finding.tracking_uid, key), place) for place, key in enumerate(_keys(items))]
