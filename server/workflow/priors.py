"""Which of a peer's studies are worth fetching: the same patient's, told by more than the Patient ID, newest first."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from server.imaging import attributes as read
from server.imaging.criterion import glob
from server.imaging.dataset import Attributes
from server.store.fetches import Subject

#: What a peer is asked to return of a study (PS3.4 tables C.6-1 and C.6-2).
STUDY_KEYS = (
    *("StudyInstanceUID", "StudyDate", "StudyDescription", "ModalitiesInStudy", "NumberOfStudyRelatedInstances"),
    *("PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is looked for."""

    number: int = 1
    modalities: tuple[str, ...] = ()
    description: str = ""
    body_parts: tuple[str, ...] = ()
    days: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A study that a peer has of the patient, and whether it was chosen."""

    study: str
    date: str
    modalities: tuple[str, ...]
    description: str
    #: As far as the peer says.
    instances: int
    chosen: bool
    #: Why it was not chosen.
    why: str = ""


#: Gives the body parts of a study's series at the peer.
BodyParts = Callable[[str], Iterable[str]]


def choose(
    answers: Sequence[Attributes], subject: Subject, wish: Wish, *, here: Mapping[str, int], own: str,
    body_parts: BodyParts,
) -> list[Candidate]:  # fmt: skip
    """The peer's studies, newest first, those to be fetched marked.

    ``own`` is the study that priors are looked for; ``here`` says how many instances of a study are stored already.
    """
    found = sorted((_judged(answer, subject, wish, own) for answer in answers), key=_newest_first)
    return list(_taken(found, wish, here, body_parts))


def _taken(
    found: Sequence[Candidate], wish: Wish, here: Mapping[str, int], body_parts: BodyParts
) -> Iterator[Candidate]:
    left = wish.number
    for candidate in found:
        why = candidate.why
        if not why and not left:
            why = f"{wish.number} newer ones are enough"
        # Asked last, since it costs a query.
        if not why and wish.body_parts and not _shows(body_parts(candidate.study), wish.body_parts):
            why = "shows another body part"
        if not why:
            left -= 1
            if here.get(candidate.study, 0) >= max(candidate.instances, 1):
                why = "is here already"
        yield replace(candidate, chosen=not why, why=why)


def _shows(found: Iterable[str], wanted: Sequence[str]) -> bool:
    return bool({part.strip().upper() for part in found} & {part.strip().upper() for part in wanted})


def _newest_first(candidate: Candidate) -> tuple[int, str]:
    return -int(candidate.date) if candidate.date.isdigit() else 0, candidate.study


def candidate_of(answer: Attributes) -> Candidate:
    """A peer's study as it answers of it, not chosen yet."""
    return Candidate(
        study=read.text(answer, "0020000D"),
        date=read.text(answer, "00080020"),
        modalities=tuple(str(value) for value in read.values(answer, "00080061")),
        description=read.text(answer, "00081030"),
        instances=read.integer(answer, "00201208") or 0,
        chosen=False,
    )


def _judged(answer: Attributes, subject: Subject, wish: Wish, own: str) -> Candidate:
    candidate = candidate_of(answer)
    return replace(candidate, why=_another_patient(answer, subject) or _another_kind(candidate, subject, wish, own))


def _another_patient(answer: Attributes, subject: Subject) -> str:
    """Why it is not the same patient's, or not surely; one Patient ID is given out by many issuers."""
    if read.text(answer, "00100020") != subject.patient_id:
        return "has another Patient ID"
    issuer = read.text(answer, "00100021")
    if issuer and subject.issuer and issuer != subject.issuer:
        return "has another Issuer of Patient ID"
    for tag, mine, name in (
        ("00100030", subject.birth_date, "birth date"),
        ("00100040", subject.sex, "sex"),
    ):
        theirs = read.text(answer, tag)
        if mine and theirs and mine != theirs:
            return f"has another {name}"
    if issuer != subject.issuer and not (subject.birth_date and read.text(answer, "00100030")):
        return "names no issuer, and no birth date tells the patient"
    return ""


def _another_kind(candidate: Candidate, subject: Subject, wish: Wish, own: str) -> str:
    if not candidate.study:
        return "has no Study Instance UID"
    if candidate.study == own:
        return "is the study itself"
    if subject.study_date and candidate.date and candidate.date > subject.study_date:
        return "is newer"
    if wish.modalities and not set(wish.modalities) & set(candidate.modalities):
        return "has other modalities"
    if wish.description and not glob(read.fold(wish.description), read.fold(candidate.description)):
        return "has another description"
    if wish.days and _age(candidate.date, subject.study_date) > wish.days:
        return f"is older than {wish.days} days"
    return ""


def _age(then: str, now: str) -> int:
    """Days between two DA values; today stands for a missing later one, and a missing earlier one is no age."""
    try:
        later = date.fromisoformat(now) if now else date.today()
        return (later - date.fromisoformat(then)) // timedelta(days=1)
    except ValueError:
        return 0
