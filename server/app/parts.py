"""What every process shares: the doors and what is behind them."""

from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any
from zoneinfo import ZoneInfo

from server.app.archive import admission, guard_limits, pixel_pool
from server.app.search import search_engine
from server.events import subscriptions, topic_folder, topics
from server.events.subscriber import Subscribers
from server.events.topics import Topic
from server.fhir import definitions
from server.fhir.validate import validate
from server.imaging.ingest import Ingest
from server.imaging.pixel_pool import PixelPool
from server.imaging.pixels import PixelData
from server.imaging.retrieve import Retrieve
from server.imaging.transcode_cache import TranscodeCache
from server.operations.bulk import BulkRequests
from server.outbound.guard import Guard
from server.repository import Repository
from server.settings import Settings
from server.store.bulk_files import BulkFiles
from server.store.database import Database
from server.store.packs import Packs
from server.telemetry import kill_points, logs
from server.workflow.publish import Publisher
from server.workflow.workitem_content import Place
from server.workflow.workitem_task import WorkitemTasks


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What every process shares: the doors and what is behind them."""

    settings: Settings
    database: Database
    #: The SubscriptionTopics, as resources and as they are asked.
    topic_sources: list[dict[str, Any]]
    topics: tuple[Topic, ...]
    guard: Guard
    subscribers: Subscribers
    repository: Repository
    ingest: Ingest
    retrieve: Retrieve
    pool: PixelPool
    pixels: PixelData
    bulk: BulkRequests


def compose(settings: Settings) -> Parts:
    """Opens the database and puts the doors together."""
    logs.configure(settings.log_level)
    kill_points.arm(settings.kill_at)
    database = Database(settings.database_url)
    packs = Packs(settings.blobs)
    limits = guard_limits(settings)
    facts = definitions.load()
    sources = topic_folder.every(settings.topics)
    known = tuple(topics.read(source) for source in sources)
    guard = Guard(
        loopback=settings.is_loopback if settings.notify_loopback is None else settings.notify_loopback,
        networks=tuple(ip_network(network) for network in settings.notify_networks),
    )
    subscribers = Subscribers(open=not settings.tokens_required)
    repository = Repository(
        database,
        facts,
        search_engine(settings),
        validate=validate,
        checks=(subscriptions.checking(known, guard, mail=bool(settings.smtp_url)),),
        followers=(workitem_tasks(settings).shown,),
        prepare=subscribers.kept,
    )
    retrieve, pool = Retrieve(database, packs, limits), pixel_pool(settings)
    return Parts(
        settings=settings,
        database=database,
        topic_sources=sources,
        topics=known,
        guard=guard,
        subscribers=subscribers,
        repository=repository,
        ingest=Ingest(database, packs, limits, ZoneInfo(settings.tenant_zone), admission(settings)),
        retrieve=retrieve,
        pool=pool,
        pixels=PixelData(retrieve, pool, TranscodeCache(settings.transcode_cache, settings.transcode_cache_bytes)),
        bulk=BulkRequests(database, BulkFiles(settings.blobs), settings.bulk_hours),
    )


def publisher(parts: Parts) -> Publisher:
    """What writes an analysis as SR, SEG and FHIR."""
    return Publisher(
        repository=parts.repository,
        ingest=parts.ingest,
        uid_root=parts.settings.uid_root,
        peers=parts.settings.peers,
    )


def workitem_tasks(settings: Settings) -> WorkitemTasks:
    """What keeps Tasks and workitems alike."""
    return WorkitemTasks(
        external=frozenset(settings.external_adapters),
        place=Place(url=f"{address(settings)}/dicomweb", title=settings.ae_title),
        uid_root=settings.uid_root,
    )


def address(settings: Settings) -> str:
    """What notifications and endpoints call us: the public address, else the one we listen on."""
    if settings.base_url:
        return settings.base_url
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.http_port}"
