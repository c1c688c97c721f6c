"""Rejection notes (IHE IOCM) by the one door: what they speak of is hidden, whenever it comes."""

from collections.abc import Callable, Sequence
from datetime import UTC
from io import BytesIO
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes

from server.app.archive import keeper
from server.imaging.admission import Admission
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest, Outcome, Received
from server.imaging.rejection import EXPIRED, QUALITY, REASONS, SAFETY, WORKLIST
from server.imaging.remove import Remover
from server.security.access import Access
from server.settings import Settings
from server.store import locks
from server.store.database import Database
from server.store.packs import Packs

Make = Callable[..., bytes]


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.unit_of_work() as uow:
        return uow.driver.execute(query).fetchall()  # type: ignore[arg-type]


def send(ingest: Ingest, access: Access, *files: bytes) -> Outcome:
    return ingest.receive(access, [Received(chunks=[file]) for file in files])


def note(
    make_instance: Make,
    reason: str,
    uids: Sequence[str],
    *,
    uid: str = "1.2.3.9.1",
    study: str = "1.2.3",
    scheme: str = "DCM",
) -> bytes:
    """A Key Object Selection with the reason as its title, and the instances as its evidence."""
    dataset = dcmread(
        BytesIO(make_instance(99, study=study, SOPInstanceUID=uid, SeriesInstanceUID=f"{study}.9", Modality="KO"))
    )
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.59"
    for keyword in ("PixelData", "Rows", "Columns"):
        del dataset[keyword]
    title = Dataset()
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = reason, scheme, "title"
    dataset.ConceptNameCodeSequence = [title]
    series = Dataset()
    series.SeriesInstanceUID = f"{study}.1"
    series.ReferencedSOPSequence = []
    for one in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", one
        series.ReferencedSOPSequence.append(item)
    evidence = Dataset()
    evidence.StudyInstanceUID, evidence.ReferencedSeriesSequence = study, [series]
    dataset.CurrentRequestedProcedureEvidenceSequence = [evidence]
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def seen(database: Database) -> list[str]:
    return [row[0] for row in rows(database, "select instance from instance order by 1")]


def hidden(database: Database) -> list[str]:
    return [row[0] for row in rows(database, "select instance from hidden_instance order by 1")]


def test_the_titles_are_those_of_the_standard() -> None:
    assert REASONS == ("113001", "113037", "113038", "113039")
    assert codes.DCM.RejectedForPatientSafetyReasons.meaning == "Rejected for Patient Safety Reasons"


@pytest.mark.parametrize("reason", REASONS)
def test_a_note_hides_what_it_speaks_of(
    ingest: Ingest, access: Access, database: Database, make_instance: Make, reason: str
) -> None:
    send(ingest, access, *(make_instance(n) for n in (1, 2, 3)))
    assert len(send(ingest, access, note(make_instance, reason, ["1.2.3.1.1", "1.2.3.1.2"])).stored) == 1
    assert seen(database) == ["1.2.3.1.3", "1.2.3.9.1"]
    assert hidden(database) == ["1.2.3.1.1", "1.2.3.1.2"]
    assert rows(database, "select instance_count, series_count, modalities from study") == [(2, 2, ["CT", "KO"])]
    assert rows(database, "select who, count(*) from audit where action = 'reject' group by 1") == [("system", 2)]


def test_a_note_by_the_side_of_its_images_in_one_request_works_too(
    ingest: Ingest, access: Access, database: Database, make_instance: Make
) -> None:
    send(ingest, access, make_instance(1), note(make_instance, SAFETY, ["1.2.3.1.1", "1.2.3.1.2"]), make_instance(2))
    assert seen(database) == ["1.2.3.9.1"]
    assert len(hidden(database)) == 2


def test_what_comes_after_its_note_is_stored_and_hidden(
    ingest: Ingest, access: Access, database: Database, make_instance: Make
) -> None:
    send(ingest, access, note(make_instance, WORKLIST, ["1.2.3.1.1"]))
    assert len(send(ingest, access, make_instance(1), make_instance(2)).stored) == 2
    assert seen(database) == ["1.2.3.1.2", "1.2.3.9.1"]
    assert hidden(database) == ["1.2.3.1.1"]


@pytest.mark.parametrize("reason", [QUALITY, SAFETY, WORKLIST])
def test_a_rejected_instance_that_comes_again_stays_hidden(
    ingest: Ingest, access: Access, database: Database, make_instance: Make, reason: str
) -> None:
    send(ingest, access, make_instance(1), note(make_instance, reason, ["1.2.3.1.1"]))
    outcome = send(ingest, access, make_instance(1), make_instance(1, StudyDescription="Other"))
    assert len(outcome.already) == 1 and [one.reason for one in outcome.refused] == [0x0111]
    assert hidden(database) == ["1.2.3.1.1"]


def test_expired_data_that_come_anew_are_kept_anew(
    ingest: Ingest, access: Access, database: Database, make_instance: Make
) -> None:
    send(ingest, access, make_instance(1), note(make_instance, EXPIRED, ["1.2.3.1.1"]))
    assert hidden(database) == ["1.2.3.1.1"]
    assert len(send(ingest, access, make_instance(1)).stored) == 1
    assert seen(database) == ["1.2.3.1.1", "1.2.3.9.1"] and hidden(database) == []
    assert rows(database, "select sum(instances), sum(bytes) from storage_use") == rows(
        database, "select count(*), sum(length) from instance"
    )


@pytest.mark.parametrize(("reason", "scheme"), [("113000", "DCM"), (QUALITY, "99LOCAL")])
def test_another_key_object_selection_hides_nothing(
    ingest: Ingest, access: Access, database: Database, make_instance: Make, reason: str, scheme: str
) -> None:
    send(ingest, access, make_instance(1), note(make_instance, reason, ["1.2.3.1.1"], scheme=scheme))
    assert len(seen(database)) == 2 and not hidden(database)


def test_a_reason_that_is_shown_hides_nothing(
    database: Database, packs: Packs, access: Access, make_instance: Make
) -> None:
    ingest = Ingest(database, packs, GuardLimits(), UTC, Admission(shown=(QUALITY,)))
    send(ingest, access, make_instance(1), note(make_instance, QUALITY, ["1.2.3.1.1", "1.2.3.1.2"]), make_instance(2))
    assert len(seen(database)) == 3
    send(ingest, access, note(make_instance, SAFETY, ["1.2.3.1.2"], uid="1.2.3.9.2"))
    assert hidden(database) == ["1.2.3.1.2"]


def test_a_locked_study_is_left_as_it_is_until_the_lock_is_off(
    ingest: Ingest, access: Access, database: Database, database_url: str, settings: Settings, make_instance: Make
) -> None:
    send(ingest, access, make_instance(1))
    with database.unit_of_work() as uow:
        locks.lock(uow, 1, "1.2.3", who="legal", reason="hold")
    send(ingest, access, note(make_instance, SAFETY, ["1.2.3.1.1"]))
    assert send(ingest, access, note(make_instance, SAFETY, ["1.2.3.1.1"])).refused
    foreign = note(make_instance, SAFETY, ["1.2.3.1.1"], study="1.2.8", uid="1.2.8.9")
    dataset = dcmread(BytesIO(foreign))
    dataset.CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID = "1.2.3"
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    assert send(ingest, access, out.getvalue()).stored
    assert seen(database) == ["1.2.3.1.1", "1.2.8.9"]
    with database.unit_of_work() as uow:
        locks.unlock(uow, 1, "1.2.3", who="legal")
    assert keeper(settings, database).run().hidden == 1
    assert hidden(database) == ["1.2.3.1.1"]


def test_expired_rejects_are_deleted_and_others_after_their_days(
    ingest: Ingest, access: Access, database: Database, settings: Settings, make_instance: Make
) -> None:
    send(ingest, access, make_instance(1), make_instance(2), make_instance(3))
    send(
        ingest,
        access,
        note(make_instance, EXPIRED, ["1.2.3.1.1"]),
        note(make_instance, SAFETY, ["1.2.3.1.2"], uid="1.2.3.9.2"),
    )
    assert keeper(settings, database).run().expired == 1
    assert hidden(database) == ["1.2.3.1.2"]
    with database.unit_of_work() as uow:
        uow.driver.execute("update rejection set at = at - interval '8 days'")
    assert keeper(Settings(data=settings.data, rejected_days=7), database).run().expired == 1
    assert hidden(database) == []
    outcome = send(ingest, access, make_instance(1), make_instance(2))
    assert [one.sop_instance for one in outcome.stored] == ["1.2.3.1.1"]
    assert [(one.sop_instance, one.reason) for one in outcome.refused] == [("1.2.3.1.2", 0x0124)]


def test_deleting_a_study_takes_its_hidden_instances_along_and_remembers_why(
    ingest: Ingest, access: Access, database: Database, make_instance: Make
) -> None:
    send(ingest, access, make_instance(1), make_instance(2), note(make_instance, SAFETY, ["1.2.3.1.1"]))
    assert len(Remover(database).remove(access, "1.2.3").instances) == 3
    assert rows(database, "select instance, reason from tombstone order by 1") == [
        ("1.2.3.1.1", SAFETY),
        ("1.2.3.1.2", ""),
        ("1.2.3.9.1", ""),
    ]
    outcome = send(ingest, access, make_instance(1), make_instance(2))
    assert len(outcome.stored) == 1 and [one.reason for one in outcome.refused] == [0x0124]
    assert rows(database, "select instance_count from study") == [(1,)]


def test_a_refused_instance_alone_opens_no_study(
    ingest: Ingest, access: Access, database: Database, make_instance: Make
) -> None:
    send(ingest, access, make_instance(1), note(make_instance, SAFETY, ["1.2.3.1.1"]))
    Remover(database).remove(access, "1.2.3")
    assert send(ingest, access, make_instance(1)).refused
    assert rows(database, "select count(*) from study") == [(0,)]


@pytest.mark.parametrize("reason", REASONS)
def test_who_deletes_the_note_takes_the_rejection_back(
    ingest: Ingest,
    access: Access,
    database: Database,
    packs: Packs,
    settings: Settings,
    make_instance: Make,
    reason: str,
) -> None:
    files = [make_instance(n) for n in (1, 2)]
    send(ingest, access, *files, note(make_instance, reason, ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"]))
    assert seen(database) == ["1.2.3.9.1"]
    Remover(database).remove(access, "1.2.3", "1.2.3.9", "1.2.3.9.1")
    assert keeper(settings, database).run().shown_again == 2
    assert seen(database) == ["1.2.3.1.1", "1.2.3.1.2"] and hidden(database) == []
    assert rows(database, "select instance_count, series_count, modalities from study") == [(2, 1, ["CT"])]
    stored = rows(database, "select pack, pack_offset, length from instance order by instance")
    assert [packs.read(1, *place) for place in stored] == files
    assert len(send(ingest, access, make_instance(3)).stored) == 1
    assert keeper(settings, database).run().shown_again == 0
    assert len(seen(database)) == 3


def test_the_hidden_have_every_column_of_the_seen(database: Database) -> None:
    columns = (
        "select column_name, data_type, is_nullable from information_schema.columns where table_name = '{}' order by 1"
    )
    assert rows(database, columns.format("hidden_instance")) == rows(database, columns.format("instance"))
