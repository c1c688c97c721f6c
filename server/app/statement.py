"""The DICOM conformance statement (PS3.2), made from the tables that the server itself works by."""

from collections.abc import Iterable, Iterator, Sequence

from pydicom.charset import python_encoding
from pydicom.uid import UID

from server import __version__
from server.app.dimse import offers
from server.app.parts import Parts
from server.app.web import dicomweb_services
from server.app.worklist import workitem_services
from server.dimse import associate, echo, pdu, store
from server.dimse.connection import MESSAGE_TIMEOUT
from server.dimse.knocking import ARTIM_SECONDS
from server.dimse.server import MOST_ASSOCIATIONS, MOST_OF_ONE_ADDRESS
from server.dimse.service import Offer
from server.http import dicomweb, workitems
from server.http.access import AccessOfRequest
from server.http.dicomweb_options import Method, methods
from server.http.dicomweb_services import PREFIX
from server.imaging.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from server.outbound.dimse.uses import Use, uses

#: Command Field (0000,0100) and the DIMSE service it asks for (PS3.7 annex E).
_SERVICES = {
    **{0x0001: "C-STORE", 0x0010: "C-GET", 0x0020: "C-FIND", 0x0021: "C-MOVE", 0x0030: "C-ECHO"},
    **{0x0100: "N-EVENT-REPORT", 0x0110: "N-GET", 0x0120: "N-SET", 0x0130: "N-ACTION", 0x0140: "N-CREATE"},
}
#: A SOP class or transfer syntax is only listed with its storage class where there are more than these.
_FEW = 8


def statement(parts: Parts) -> str:
    """The statement as Markdown."""
    served = (echo.OFFER, *offers(parts))
    asked = uses(store.STORAGE_CLASSES, store.TRANSFER_SYNTAXES)
    access = AccessOfRequest(parts.settings, parts.database)
    lines = [
        *_overview(served, asked),
        *_networking(),
        *_provider(served),
        *_user(asked),
        *_storage(),
        *_web(
            [
                *methods(dicomweb.router(dicomweb_services(parts, access))),
                *methods(workitems.router(workitem_services(parts, access))),
            ]
        ),
        *_media(),
        *_charsets(),
        *_security(),
    ]
    return "\n".join(lines) + "\n"


def _overview(served: Sequence[Offer], asked: Sequence[Use]) -> Iterator[str]:
    yield "# DICOM conformance statement"
    yield ""
    yield f"Hutong {__version__}. Written by `hutong statement` from the server's own tables; a test compares it with"
    yield "what the server accepts on the wire. Form: PS3.2. How each service behaves: [DIMSE](api/dimse.md),"
    yield "[DICOMweb](api/dicomweb.md), [workitems](api/workitems.md), [forwarding and fetching](api/forwarding.md)."
    yield ""
    yield "## 1 Overview"
    yield ""
    provided = {uid for offer in served for uid in offer.abstract_syntaxes}
    used = {uid for use in asked for uid in use.abstract_syntaxes}
    rows = (
        (_name(uid), _yes(uid in used), _yes(uid in provided)) for uid in _sorted(provided | used - _storage_uids())
    )
    yield from _table(("SOP class", "user (SCU)", "provider (SCP)"), rows)
    yield ""
    yield f"Storage: {len(store.STORAGE_CLASSES)} SOP classes as user and provider, listed in 2.4."


def _networking() -> Iterator[str]:
    yield from ("", "## 2 Networking", "", "### 2.1 Associations", "")
    facts = (
        ("Application context", f"{associate.APPLICATION_CONTEXT} (DICOM)"),
        ("Implementation Class UID", IMPLEMENTATION_CLASS_UID),
        ("Implementation Version Name", IMPLEMENTATION_VERSION_NAME),
        ("Maximum PDU length received", f"{pdu.MAXIMUM_LENGTH} bytes"),
        ("Associations at a time", f"{MOST_ASSOCIATIONS}; {MOST_OF_ONE_ADDRESS} from one address"),
        ("Asynchronous operations", "one at a time; no window is negotiated"),
        ("Time for the association request", f"{ARTIM_SECONDS:.0f} s (ARTIM)"),
        ("Time for the rest of a message", f"{MESSAGE_TIMEOUT:.0f} s"),
        ("Called AE title", "must be ours (setting `ae_title`)"),
        ("Calling AE title", "off loopback it must be a peer's, from that peer's address (setting `peers`)"),
    )
    yield from _table(("", ""), facts)


def _provider(served: Sequence[Offer]) -> Iterator[str]:
    yield from ("", "### 2.2 As provider (SCP)", "")
    rows = (
        (
            _name(uid),
            f"`{uid}`",
            ", ".join(_SERVICES[command] for command in offer.commands),
            _syntaxes(offer.transfer_syntaxes),
            "yes" if offer.extended else "none",
        )
        for offer in served
        for uid in offer.abstract_syntaxes
        if uid not in _storage_uids()
    )
    yield from _table(("SOP class", "UID", "services", "transfer syntaxes", "extended negotiation"), rows)


def _user(asked: Sequence[Use]) -> Iterator[str]:
    yield from ("", "### 2.3 As user (SCU)", "")
    rows = (
        (
            use.activity,
            ", ".join(map(_name, use.abstract_syntaxes)) if len(use.abstract_syntaxes) < _FEW else "storage, see 2.4",
            _syntaxes(use.transfer_syntaxes),
            "SCP" if use.as_scp else "SCU",
        )
        for use in asked
    )
    yield from _table(("activity", "SOP classes", "transfer syntaxes", "role"), rows)


def _storage() -> Iterator[str]:
    yield from ("", "### 2.4 Storage SOP classes", "")
    yield "Taken by C-STORE and STOW-RS, sent by C-STORE, C-GET and STOW-RS. Level 2 (full): every attribute is kept,"
    yield "bit for bit; nothing is coerced. Others, private ones too, are taken when the requestor says by common"
    yield "extended negotiation that they belong to the storage service, or always with `dimse_unknown_storage`."
    yield ""
    yield from _table(("SOP class", "UID"), ((_name(uid), f"`{uid}`") for uid in _sorted(store.STORAGE_CLASSES)))
    yield from ("", "Transfer syntaxes, the preferred first:", "")
    yield from _table(("transfer syntax", "UID"), ((_name(uid), f"`{uid}`") for uid in store.TRANSFER_SYNTAXES))


def _web(found: Iterable[Method]) -> Iterator[str]:
    yield from ("", "## 3 Web services", "")
    yield f"Under `{PREFIX}` (PS3.18). `OPTIONS` on any of them says the same to a program; WADO-URI is at `/wado`."
    yield ""
    rows = (
        (
            one.method,
            f"`{one.path or '/'}`",
            one.name.partition(" /")[0].replace("_", " "),
            " ".join(one.gives),
            " ".join(one.takes),
        )
        for one in found
    )
    yield from _table(("method", "resource", "what", "gives", "query parameters"), rows)


def _media() -> Iterator[str]:
    yield from ("", "## 4 Media", "")
    yield "`hutong import` reads any folder or ZIP of Part 10 files, with or without DICOMDIR (file-set reader)."
    yield "`hutong export` and `application/zip` write a file-set with DICOMDIR by the rules of the General Purpose"
    yield "profiles (file-set creator): PS3.10, PS3.11 annex D."


def _charsets() -> Iterator[str]:
    yield from ("", "## 5 Character sets", "")
    yield "Read and searched in: " + ", ".join(f"`{term}`" for term in sorted(python_encoding) if term) + "."
    yield ""
    yield "Written: `ISO_IR 192` in our own instances and in JSON and XML; C-FIND answers in the request's set where it"
    yield "can hold the answer, else in `ISO_IR 192`."


def _security() -> Iterator[str]:
    yield from ("", "## 6 Security", "")
    yield "DIMSE by TLS: the BCP 195 profiles (PS3.15 B.9 and B.10), certificates of callers required and bound to"
    yield "their AE titles. DICOMweb: bearer tokens; TLS by a proxy in front. Changes and reads leave audit records."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _storage_uids() -> frozenset[str]:
    return frozenset(store.STORAGE_CLASSES)


def _sorted(uids: Iterable[str]) -> list[str]:
    return sorted(uids, key=lambda uid: (_name(uid), uid))


def _name(uid: str) -> str:
    """The dictionary's name (PS3.6 annex A)."""
    return str(UID(uid).name)


def _syntaxes(uids: Sequence[str]) -> str:
    return ", ".join(map(_name, uids)) if len(uids) < _FEW else "all of 2.4"


def _yes(yes: bool) -> str:
    return "yes" if yes else ""
