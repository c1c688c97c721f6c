"""Results reach a peer sooner or later, and only once."""

from collections.abc import Sequence

import pytest

from server.errors import Unavailable
from server.settings import Peer
from server.store import analyses
from server.worker.task import Pauses
from server.workflow.send import Sender
from tests.workflow.conftest import PEER, House, ct


def test_a_peer_that_fails_is_tried_again_until_it_confirms(house: House) -> None:
    images = ct(slices=slice(0, 2))
    house.receive(images)
    study, uids = images[0].StudyInstanceUID, [image.SOPInstanceUID for image in images]
    with house.database.unit_of_work() as uow:
        analyses.queue_sending(uow, 1, "pacs", study, uids)
        analyses.queue_sending(uow, 1, "pacs", study, uids)
    answers: list[bool] = [False, True]
    files: list[int] = []

    def send(peer: Peer, parts: Sequence[bytes]) -> None:
        assert peer == PEER
        files.append(len(parts))
        if not answers.pop(0):
            raise Unavailable("The peer is down.")

    sender = Sender(database=house.database, retrieve=house.retrieve, peers=(PEER,), send=send)
    with pytest.raises(Unavailable):
        sender.run(1, "pacs", study)
    sender.run(1, "pacs", study)
    sender.run(1, "pacs", study)
    assert files == [2, 2]
    with house.database.reading() as uow:
        assert analyses.unsent(uow, 1, "pacs", study) == ()


def test_a_peer_that_is_no_longer_configured_is_let_go(house: House) -> None:
    images = ct(slices=slice(0, 1))
    house.receive(images)
    with house.database.unit_of_work() as uow:
        analyses.queue_sending(uow, 1, "gone", images[0].StudyInstanceUID, [images[0].SOPInstanceUID])
    house.tasks["send"](1, "gone", images[0].StudyInstanceUID)
    assert house.sent == []


def test_sending_never_gives_up() -> None:
    assert Pauses(None).get_retry_decision(exception=Unavailable(""), job=_job(1000)) is not None
    assert Pauses(5).get_retry_decision(exception=Unavailable(""), job=_job(3)) is not None
    assert Pauses(5).get_retry_decision(exception=Unavailable(""), job=_job(4)) is None


def _job(attempts: int):  # type: ignore[no-untyped-def]
    from procrastinate.jobs import Job

    return Job(
        id=1,
        queue="send",
        lock=None,
        queueing_lock=None,
        task_name="send",
        task_kwargs={},
        attempts=attempts,
        priority=0,
    )
