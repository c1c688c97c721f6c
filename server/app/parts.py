"""What every process shares: the doors and what is behind them."""

from dataclasses import dataclass
from ipaddress import ip_network
from zoneinfo import ZoneInfo

from server.events import subscriptions, topics
from server.events.topics import Topic
from server.fhir import definitions
from server.fhir.validate import validate
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest
from server.imaging.retrieve import Retrieve
from server.outbound.http import Guard
from server.repository import Repository
from server.search.find import Search
from server.settings import Settings
from server.store.database import Database
from server.store.packs import Packs
from server.telemetry import kill_points, logs
from server.workflow.publish import Publisher


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What every process shares: the doors and what is behind them."""

    settings: Settings
    database: Database
    topics: tuple[Topic, ...]
    guard: Guard
    repository: Repository
    ingest: Ingest
    retrieve: Retrieve


def compose(settings: Settings) -> Parts:
    """Opens the database and puts the doors together."""
    logs.configure(settings.log_level)
    kill_points.arm(settings.kill_at)
    database = Database(settings.database_url)
    packs = Packs(settings.blobs)
    limits = GuardLimits(
        instance_bytes=settings.max_instance_bytes,
        inflate_ratio=settings.max_inflate_ratio,
        sequence_depth=settings.max_sequence_depth,
    )
    facts = definitions.load()
    known = topics.load()
    guard = Guard(
        loopback=settings.is_loopback if settings.notify_loopback is None else settings.notify_loopback,
        networks=tuple(ip_network(network) for network in settings.notify_networks),
    )
    repository = Repository(
        database,
        facts,
        Search(facts, f"{settings.base_url}/fhir" if settings.base_url else ""),
        validate=validate,
        checks=(subscriptions.checking(known, guard),),
    )
    return Parts(
        settings=settings,
        database=database,
        topics=known,
        guard=guard,
        repository=repository,
        ingest=Ingest(database, packs, limits, ZoneInfo(settings.tenant_zone)),
        retrieve=Retrieve(database, packs, limits),
    )


def publisher(parts: Parts) -> Publisher:
    """What writes an analysis as SR, SEG and FHIR."""
    return Publisher(
        repository=parts.repository,
        ingest=parts.ingest,
        uid_root=parts.settings.uid_root,
        peers=parts.settings.peers,
    )


def address(settings: Settings) -> str:
    """What notifications and endpoints call us: the public address, else the one we listen on."""
    if settings.base_url:
        return settings.base_url
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.http_port}"
