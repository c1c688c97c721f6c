"""Room: the disk is never filled to the last byte, and no sender takes more than the operator allows."""

import os
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from server.errors import BadInstance, Unavailable
from server.settings.archive import Quota
from server.store import admission
from server.store.admission import Use
from server.store.database import Database

#: Refused: Out of Resources (PS3.4 B.2.3, PS3.18 10.5.3).
OUT_OF_RESOURCES = 0xA700
#: The reserve is at most this part of the disk: a twentieth.
_SHARE = 20
#: Seconds for which figures of use are good enough.
_FRESH = 1.0
#: Seconds for which the disk's state is: it takes longer to fill a reserve.
_SOON = 0.05


def refuse_full_disk(folder: Path, reserve: int) -> None:
    """Raises Unavailable when fewer than ``reserve`` bytes are free where packs are.

    The rest is for the database, which needs room to say no, to delete and to compact.
    """
    if not reserve:
        return
    state = _lately(folder, int(time.monotonic() / _SOON))
    free = state.f_bavail * state.f_frsize
    # Of a small disk not most is kept in reserve.
    reserve = min(reserve, state.f_blocks * state.f_frsize // _SHARE)
    if free < reserve:
        raise Unavailable(
            f"Only {free >> 20} MiB are free and {reserve >> 20} MiB are kept in reserve (disk_reserve); "
            "delete studies, run `hutong gc`, or add storage."
        )


@lru_cache(maxsize=4)
def _lately(folder: Path, moment: int) -> os.statvfs_result:
    """The disk's state at most ``_SOON`` seconds ago."""
    del moment
    return _disk_of(folder)


def _disk_of(folder: Path) -> os.statvfs_result:
    """The disk on which the folder is, or will be."""
    try:
        return os.statvfs(folder)
    except FileNotFoundError:
        return _disk_of(folder.parent)


class Used:
    """What each sender takes, looked up again when the figures are old."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[float, list[Use]]] = {}

    def of(self, database: Database, tenant: int) -> list[Use]:
        """The use of a tenant; at most a second old."""
        at, use = self._kept.get(tenant, (-_FRESH, []))
        if time.monotonic() - at >= _FRESH:
            with database.reading() as uow:
                use = admission.use(uow, tenant)
            self._kept[tenant] = (time.monotonic(), use)
        return use


def refusal(use: Sequence[Use], sender: str, quotas: Sequence[Quota]) -> BadInstance | None:
    """Why the sender may store nothing more; None where it may."""
    for quota in quotas:
        if quota.sender not in ("", sender):
            continue
        counted = [one for one in use if quota.sender in ("", one.sender)]
        taken, number = sum(one.bytes for one in counted), sum(one.instances for one in counted)
        if (quota.bytes and taken >= quota.bytes) or (quota.instances and number >= quota.instances):
            whose = f"of {quota.sender}" if quota.sender else "of this archive"
            return BadInstance(
                f"The quota {whose} is used up ({taken} bytes, {number} instances); delete studies or raise it.",
                reason=OUT_OF_RESOURCES,
            )
    return None
