"""A report's lesions against those of the study before: who is who, and what became of each.

The earlier lesions keep their names, so a Tracking UID is the same at all time points. What was compared stands in the
findings as any other measurement does; it can be taken out again and done anew, when a prior study comes in late.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from ai_adapters.growth import Change, Growth, Repeatability, growth
from ai_adapters.matching import Place, match
from ai_adapters.measure import sphere_diameter
from dicom_sr import codes
from dicom_sr.findings import Finding, Findings, Gone, Measurement, Point, Quality, Uncertainty
from terminology import private_scheme

#: (earlier place, mm) -> later place, mm.
Mapping = Callable[[Point], Point]
_OURS = (
    private_scheme.CHANGE,
    private_scheme.TIME_SINCE_PRIOR,
    private_scheme.VOLUME_CHANGE,
    private_scheme.DIAMETER_CHANGE,
    private_scheme.DOUBLING_TIME,
)
_ANSWERS = {
    Change.NEW: codes.NEW_FINDING,
    Change.GROWN: codes.INCREASE_IN_SIZE,
    Change.STABLE: codes.NO_SIGNIFICANT_CHANGE,
    Change.SHRUNK: codes.DECREASE_IN_SIZE,
}
#: The algorithm's parameter that names the study compared with, and the one that says why none was.
COMPARED_WITH, NOT_COMPARED = "compared with", "not compared"


def renamed(findings: Findings, others: Findings, where: Mapping) -> Findings:
    """The findings under the names that the same lesions have in another study's report."""
    known = {later: others.findings[earlier] for later, earlier in _matched(findings, others, where).items()}
    used = {one.tracking_id for one in others.findings}
    found = []
    for index, finding in enumerate(findings.findings):
        same = known.get(index)
        if same is not None:
            finding = replace(finding, tracking_id=same.tracking_id, tracking_uid=same.tracking_uid)  # noqa: PLW2901
        elif finding.tracking_id in used:
            finding = replace(finding, tracking_id=_free(finding.tracking_id, used))  # noqa: PLW2901
        used.add(finding.tracking_id)
        found.append(finding)
    return replace(findings, findings=tuple(found))


def compared(
    findings: Findings, prior: Findings, where: Mapping, *, days: float, repeatability: Repeatability | None
) -> Findings:
    """The findings, named as in the prior study, with what became of each lesion in the ``days`` since.

    Growth is told only where it is known how far two measurements of the same lesion lie apart.
    """
    fresh = renamed(without_comparison(findings), prior, where)
    before = {one.tracking_uid: one for one in prior.findings}
    now = tuple(_told(one, before.get(one.tracking_uid), days, repeatability) for one in fresh.findings)
    here = {one.tracking_uid for one in now}
    gone = tuple(
        Gone(
            tracking_id=one.tracking_id,
            tracking_uid=one.tracking_uid,
            finding=one.finding,
            site=one.site,
            laterality=one.laterality,
        )
        for one in prior.findings
        if one.tracking_uid not in here and one.center_mm is not None
    )
    return _noted(replace(fresh, findings=now, gone=gone), COMPARED_WITH, prior.study_instance_uid)


def places(findings: Findings, where: Mapping) -> tuple[Place, ...]:
    """Where the findings of another study lie in this one."""
    return tuple(
        Place(center_mm=where(one.center_mm), diameter_mm=size_of(one))
        for one in findings.findings
        if one.center_mm is not None
    )


def not_compared(findings: Findings, reason: str) -> Findings:
    """The findings with the reason for which no prior study could be compared with."""
    return _noted(without_comparison(findings), NOT_COMPARED, reason)


def without_comparison(findings: Findings) -> Findings:
    """The findings as if there were no prior study; the names stay."""
    bare = tuple(
        replace(
            one,
            measurements=tuple(each for each in one.measurements if each.concept not in _OURS),
            qualities=tuple(each for each in one.qualities if each.concept not in _OURS),
        )
        for one in findings.findings
    )
    return _noted(replace(findings, findings=bare, gone=()), "", "")


def _noted(findings: Findings, name: str, value: str) -> Findings:
    """With one line on the comparison among the algorithm's parameters, in place of any before."""
    if findings.algorithm is None:
        return findings
    kept = tuple(pair for pair in findings.algorithm.parameters if pair[0] not in (COMPARED_WITH, NOT_COMPARED))
    added = ((name, value),) if name else ()
    return replace(findings, algorithm=replace(findings.algorithm, parameters=(*kept, *added)))


def _matched(findings: Findings, others: Findings, where: Mapping) -> dict[int, int]:
    placed = [n for n, one in enumerate(others.findings) if one.center_mm is not None]
    own = [n for n, one in enumerate(findings.findings) if one.center_mm is not None]
    found = match(places(others, where), places(findings, _same))
    return {own[new]: placed[old] for new, old in found.items()}


def _same(point: Point) -> Point:
    return point


def _told(finding: Finding, before: Finding | None, days: float, repeatability: Repeatability | None) -> Finding:
    if before is None:
        return replace(finding, qualities=(*finding.qualities, _answer(Change.NEW)))
    then, now = volume_of(before), volume_of(finding)
    if then is None or now is None or repeatability is None:
        return finding
    # The larger of the two errors holds for both.
    error = max(repeatability.error(size_of(one)) for one in (before, finding))
    grown = growth(then, now, days, error=error, noise_percent=repeatability.noise_percent)
    return replace(
        finding,
        qualities=(*finding.qualities, _answer(grown.change)),
        measurements=(*finding.measurements, *_numbers(grown, _length(finding), _length(before))),
    )


def _answer(change: Change) -> Quality:
    return Quality(concept=private_scheme.CHANGE, value=_ANSWERS[change])


def _numbers(grown: Growth, now: float | None, then: float | None) -> Iterable[Measurement]:
    yield Measurement(concept=private_scheme.TIME_SINCE_PRIOR, value=grown.days, unit=codes.DAY)
    yield Measurement(concept=private_scheme.VOLUME_CHANGE, value=round(grown.volume_percent, 1), unit=codes.PERCENT)
    if now is not None and then is not None:
        change = round(now - then, 1)
        yield Measurement(concept=private_scheme.DIAMETER_CHANGE, value=change, unit=codes.MILLIMETER)
    if (doubling := grown.doubling) is not None:
        above = None if doubling.upper is None else round(doubling.upper - doubling.days, 1)
        yield Measurement(
            concept=private_scheme.DOUBLING_TIME,
            value=round(doubling.days, 1),
            unit=codes.DAY,
            uncertainty=Uncertainty(below=round(doubling.days - doubling.lower, 1), above=above),
        )


def volume_of(finding: Finding) -> float | None:
    """The lesion's volume, mm3: measured, else of the sphere of its mean diameter; None where neither is positive."""
    for one in finding.measurements:
        if one.concept == codes.VOLUME and one.unit == codes.CUBIC_MILLIMETER and one.value > 0:
            return one.value
    length = _length(finding)
    return None if length is None else math.pi / 6 * length**3


def size_of(finding: Finding) -> float:
    """The diameter of the sphere of its volume, mm; nought where unknown."""
    volume = volume_of(finding)
    return 0.0 if volume is None else sphere_diameter(volume)


def _length(finding: Finding) -> float | None:
    """Mean diameter, mm; else the mean of both axes."""
    lengths = {
        one.concept: one.value
        for one in finding.measurements
        if one.unit == codes.MILLIMETER and one.value > 0 and one.derivation is None
    }
    if codes.DIAMETER in lengths:
        return lengths[codes.DIAMETER]
    axes = [lengths[axis] for axis in (codes.LONG_AXIS, codes.SHORT_AXIS) if axis in lengths]
    return sum(axes) / len(axes) if axes else None


def _free(tracking_id: str, used: set[str]) -> str:
    """A name like this one that nobody has: the next number behind its text."""
    text, _, number = tracking_id.rpartition(" ")
    count = int(number) if text and number.isdecimal() else 1
    text = text if text and number.isdecimal() else tracking_id
    while f"{text} {count}" in used:
        count += 1
    return f"{text} {count}"
