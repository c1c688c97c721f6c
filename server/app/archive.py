"""The archive's own parts, without the rest of the house: for the commands that import, export, check and clear up."""

import os
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from server.imaging.admission import Admission
from server.imaging.compact import Compactor
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest
from server.imaging.keeper import Keeper
from server.imaging.pixel_pool import PixelPool
from server.imaging.remove import Remover
from server.imaging.retention import Retainer
from server.imaging.retrieve import Retrieve
from server.imaging.throttle import Throttle
from server.imaging.transcode_cache import TranscodeCache
from server.settings import Settings
from server.store.database import Database
from server.store.pack_files import PackFiles
from server.store.packs import Packs
from server.telemetry import kill_points, logs


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What keeping an archive needs."""

    settings: Settings
    database: Database
    packs: Packs
    files: PackFiles
    limits: GuardLimits
    ingest: Ingest
    retrieve: Retrieve

    def close(self) -> None:
        """Closes packs and connections."""
        self.packs.close()
        self.database.close()


def open_archive(settings: Settings) -> Archive:
    """Opens the database and puts the archive's parts together."""
    logs.configure(settings.log_level)
    kill_points.arm(settings.kill_at)
    database, packs, limits = Database(settings.database_url), Packs(settings.blobs), guard_limits(settings)
    return Archive(
        settings=settings,
        database=database,
        packs=packs,
        files=PackFiles(settings.blobs),
        limits=limits,
        ingest=Ingest(database, packs, limits, ZoneInfo(settings.tenant_zone), admission(settings)),
        retrieve=Retrieve(database, packs, limits),
    )


def guard_limits(settings: Settings) -> GuardLimits:
    """What one instance may ask of us."""
    return GuardLimits(
        instance_bytes=settings.max_instance_bytes,
        inflate_ratio=settings.max_inflate_ratio,
        sequence_depth=settings.max_sequence_depth,
    )


def admission(settings: Settings) -> Admission:
    """The operator's rules for what comes in."""
    return Admission(
        reserve=settings.disk_reserve,
        folder=Path(settings.blobs.removeprefix("file://")),
        quotas=settings.quotas,
        shown=settings.show_rejected,
    )


def pixel_pool(settings: Settings) -> PixelPool:
    """The processes that decode pixels; none is started before it is needed."""
    workers = settings.pixel_workers or min(os.cpu_count() or 1, 4)
    return PixelPool(workers, settings.pixel_memory, timeout=settings.pixel_timeout, uid_root=settings.uid_root)


def keeper(settings: Settings, database: Database, *, rate: int = 0) -> Keeper:
    """What clears up behind deletions; ``rate``: bytes a second that it reads at most, 0 for any."""
    packs = Packs(settings.blobs)
    return Keeper(
        database=database,
        remover=Remover(database),
        compactor=Compactor(
            database, packs, PackFiles(settings.blobs), grace=settings.gc_grace, throttle=Throttle(rate)
        ),
        shown=settings.show_rejected,
        rejected_days=settings.rejected_days,
        tombstone_days=settings.tombstone_days,
        ingest=Ingest(database, packs, guard_limits(settings), ZoneInfo(settings.tenant_zone), admission(settings)),
        packs=packs,
        cache=TranscodeCache(settings.transcode_cache, settings.transcode_cache_bytes),
    )


def retainer(settings: Settings, database: Database) -> Retainer:
    """The rules of the setting ``retention``."""
    return Retainer(database, Remover(database), settings.retention, settings.peers)
