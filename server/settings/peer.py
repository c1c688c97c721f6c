"""A DICOM neighbour, as the operator describes it."""

from dataclasses import dataclass, field

#: What a peer may ask of us by DIMSE where ``services`` says nothing else.
SERVICES = ("echo", "store", "find", "move", "get", "worklist", "commitment", "mpps")


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A DICOM neighbour: who may call us by DIMSE, where we send, and from where we fetch."""

    name: str
    #: Application Entity title; empty for a DICOMweb-only peer.
    ae_title: str = ""
    host: str = "127.0.0.1"
    port: int = 104
    #: DICOMweb base URL; when set, instances are sent and fetched by DICOMweb instead of DIMSE.
    url: str = ""
    #: Bearer token for ``url``.
    token: str = field(default="", repr=False)
    #: FHIR base URL of the server that knows its studies; when set, a patient's studies are asked for there.
    fhir_url: str = ""
    #: Bearer token for ``fhir_url``.
    fhir_token: str = field(default="", repr=False)
    #: Whether we call it by TLS.
    tls: bool = False
    #: SHA-256 fingerprint (hexadecimal) of the certificate that it must show when it calls us by TLS.
    certificate: str = ""
    #: What it may ask of us by DIMSE.
    services: tuple[str, ...] = SERVICES
    #: Transfer syntaxes that we offer it, the preferred first; empty for what is stored, then uncompressed.
    transfer_syntaxes: tuple[str, ...] = ()
    #: Specific Character Set of answers to its queries where a query names none; empty for UTF-8.
    character_set: tuple[str, ...] = ()
    #: Whether our results (SR, SEG) are sent on to it.
    send_results: bool = False
    #: Whether it is asked for storage commitment after sending.
    commit: bool = False
    #: Whether it is told when instances become available (Instance Availability Notification).
    notify_availability: bool = False
    #: Whether prior studies may be fetched from it.
    query: bool = False
    #: How we fetch by DIMSE: move (C-MOVE to ourselves) or get (C-GET).
    fetch_by: str = "move"
    #: Associations or requests to it at a time.
    concurrency: int = 1
    #: Seconds that one message may take.
    timeout: float = 60.0
