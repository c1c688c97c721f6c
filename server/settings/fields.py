"""Every setting there is; each has a line in ``docs/settings.md``."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from server.settings.archive import Quota, Retention
from server.settings.forward import Forward
from server.settings.peer import Peer
from server.settings.priors import Priors


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the operator decides."""

    #: Folder of everything that must survive: database cluster, packs, bundles.
    data: Path = Path("hutong-data")
    host: str = "127.0.0.1"
    http_port: int = 8080
    dimse_port: int = 11112
    ae_title: str = "HUTONG"
    #: Whether serve starts an analysis worker of its own.
    worker: bool = True
    #: PostgreSQL 15+; empty for the embedded one in ``data``.
    database_url: str = ""
    #: Where packs are; empty for ``data/blobs``.
    blob_url: str = ""
    #: The address clients see, e.g. behind a proxy; empty to derive it from the request.
    base_url: str = ""
    #: Addresses and networks of proxies whose Forwarded and X-Forwarded-* are believed.
    trusted_proxies: tuple[str, ...] = ()
    #: Seconds without a new instance after which a study counts as complete.
    study_quiet: float = 10.0
    #: Prefix of UIDs that we make.
    uid_root: str = "2.25"
    #: Zone of DICOM times that carry no offset (IANA name).
    tenant_zone: str = "UTC"
    #: Whether a search by a key that is not searched by is refused, instead of answered with a warning.
    strict_queries: bool = False
    #: Attributes searched by beside the standard keys: path, path:level or path:VR:level.
    extended_query_tags: tuple[str, ...] = ()
    #: Largest single instance, bytes.
    max_instance_bytes: int = 2 << 30
    #: Largest inflated/compressed ratio of a deflated instance.
    max_inflate_ratio: int = 200
    #: Deepest sequence nesting.
    max_sequence_depth: int = 32
    #: Seconds that one notification POST may take.
    notify_timeout: float = 10.0
    #: Whether subscribers on loopback addresses may be called; None follows ``is_loopback``.
    notify_loopback: bool | None = None
    #: Private networks whose addresses may be called, e.g. 10.0.0.0/8; public addresses always may.
    notify_networks: tuple[str, ...] = ()
    #: Notifications a second to one endpoint's host and port, or one mail address; 0 for any number.
    notify_rate: float = 0.0
    #: Mail server of email subscriptions, e.g. smtp+starttls://user:password@mail.example.org; empty for none.
    smtp_url: str = ""
    #: Address that these mails come from.
    smtp_from: str = ""
    #: Folder of further SubscriptionTopics (JSON) that can be subscribed to.
    topics: str = ""
    #: Days that acknowledged events are kept for ``$events``.
    event_retention_days: int = 90
    #: Hours that the files of a finished export or import are kept.
    bulk_hours: float = 24.0
    #: Bytes of the packs' disk that stay free: below it nothing more is taken in.
    disk_reserve: int = 256 << 20
    #: How much senders may store.
    quotas: tuple[Quota, ...] = ()
    #: Codes of rejection reasons whose instances stay visible, e.g. 113001.
    show_rejected: tuple[str, ...] = ()
    #: Days after which hidden, rejected instances are deleted; 0 for never.
    rejected_days: int = 0
    #: Days for which it is remembered that an instance was deleted.
    tombstone_days: int = 365
    #: Which studies go when.
    retention: tuple[Retention, ...] = ()
    #: Seconds that bytes outlive their deletion, for those who are reading them.
    gc_grace: float = 3600.0
    #: Processes that decode and draw pixels; 0 for one on each core, at most four.
    pixel_workers: int = 0
    #: Memory that each of them may take, bytes.
    pixel_memory: int = 2 << 30
    #: Seconds that one decoding, transcoding or drawing may take.
    pixel_timeout: float = 60.0
    #: Transcoded files that are kept, bytes; 0 for none.
    transcode_cache_bytes: int = 4 << 30
    #: Folder of further adapter bundles; empty for ``data/bundles``.
    bundles: str = ""
    #: Names of adapters that others perform, who find their work as workitems (UPS-RS).
    external_adapters: tuple[str, ...] = ()
    #: Days after which workitems that ended are deleted, unless a subscriber holds them; 0 for never.
    workitem_days: int = 30
    #: Registry from which ``packages install NAME@VERSION`` fetches FHIR packages.
    package_registry: str = "https://packages.fhir.org"
    #: ONNX Runtime execution providers to try, in order; empty for CUDA, then CPU.
    providers: tuple[str, ...] = ()
    #: Threads of one inference; 0 shares the cores among the analysis processes.
    inference_threads: int = 0
    #: Analysis processes of ``serve``: as many studies are analysed at once.
    analysis_workers: int = 1
    #: Named point at which the process kills itself; for crash tests only.
    kill_at: str = ""
    log_level: str = "info"
    #: Whether C-STORE takes SOP classes that are not in the dictionary, e.g. private ones.
    dimse_unknown_storage: bool = False
    #: Whether DIMSE callers must prove who they are: user name and, as passcode, a bearer token (user identity type 2).
    dimse_identity: bool = False
    #: Port of DIMSE by TLS; used when there is a certificate.
    dimse_tls_port: int = 2762
    #: PEM file of our certificate and what signed it; empty for no TLS.
    dimse_tls_certificate: str = ""
    #: PEM file of its key; empty when it is in the same file.
    dimse_tls_key: str = ""
    #: PEM file of the authorities that sign callers' certificates.
    dimse_tls_ca: str = ""
    #: What is sent on to which peer: rules, the first that fits an instance sends it.
    forward: tuple[Forward, ...] = ()
    #: Which prior studies are fetched for new ones.
    priors: tuple[Priors, ...] = ()
    #: DICOM neighbours.
    peers: tuple[Peer, ...] = field(default=())

    @property
    def is_loopback(self) -> bool:
        """Whether the server listens on loopback only: then it is open, and says so."""
        return self.host == "localhost" or (_is_ip(self.host) and ip_address(self.host).is_loopback)

    @property
    def tokens_required(self) -> bool:
        """Off loopback every request needs a token."""
        return not self.is_loopback

    @property
    def blobs(self) -> str:
        """Where packs are, as a path or URL."""
        return self.blob_url or str(self.data / "blobs")

    @property
    def transcode_cache(self) -> Path:
        """Where transcoded files are kept; safe to delete."""
        return self.data / "cache" / "transcoded"

    @property
    def bundle_folder(self) -> Path:
        """Where bundles brought in by ``adapters add`` are."""
        return Path(self.bundles) if self.bundles else self.data / "bundles"

    @property
    def viewer_folder(self) -> Path:
        """Where ``hutong viewer install`` puts OHIF."""
        return self.data / "viewer"


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
