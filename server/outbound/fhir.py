"""A peer's FHIR server as user agent (R4): https://hl7.org/fhir/R4/search.html, page by page.

Like DICOMweb's (``dicomweb``): peers are the operator's own choice. Pages are followed below the base URL only.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

from server.errors import Unprocessable
from server.outbound.dicomweb import Web, client
from server.outbound.dimse.entity import Entity
from server.settings import Peer

Resource = dict[str, Any]

_JSON = "application/fhir+json"
#: Pages of one search: more of one patient's studies there are not.
_PAGES = 50


class FhirServer(Web):
    """Connections to a peer's FHIR server; made by ``connect_fhir``."""

    def resources(self, type: str, parameters: Mapping[str, str]) -> Iterator[Resource]:
        """Matches and what they include, of all pages."""
        path: str = f"/{type}"
        asked: dict[str, str] | None = dict(parameters)
        for _ in range(_PAGES):
            with self._asked("GET", path, headers={"Accept": _JSON}, params=asked) as answer:
                if answer.status_code != 200:
                    raise self._refused(answer)
                bundle = self._json(answer)
            if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
                raise self._nonsense()
            entries = [entry.get("resource") for entry in bundle.get("entry", ()) if isinstance(entry, dict)]
            yield from (one for one in entries if isinstance(one, dict))
            following = self._next(bundle)
            if not following:
                return
            path, asked = following, None
        raise Unprocessable(
            f"The FHIR server of the peer {self._peer.name} answers with more pages than a patient has."
        )

    def _next(self, bundle: Resource) -> str:
        """The path of the next page; empty for none."""
        links = [link for link in bundle.get("link", ()) if isinstance(link, dict)]
        url = next((str(link.get("url", "")) for link in links if link.get("relation") == "next"), "")
        base = self._peer.url.rstrip("/")
        if not url:
            return ""
        # A reference that is not absolute is relative to the base (Bundle.link.url is a uri of it).
        url = urljoin(f"{base}/", url)
        if not url.startswith((f"{base}/", f"{base}?")):
            raise Unprocessable(
                f"The FHIR server of the peer {self._peer.name} names a page elsewhere; check fhir_url."
            )
        return url.removeprefix(base)

    def _nonsense(self) -> Unprocessable:
        return Unprocessable(f"The peer {self._peer.name} answered what FHIR does not know; check its fhir_url.")


@contextmanager
def connect_fhir(entity: Entity, peer: Peer) -> Iterator[FhirServer]:
    """Connections to a peer's FHIR server for the block."""
    there = replace(peer, url=peer.fhir_url, token=peer.fhir_token)
    with client(entity, there) as opened:
        yield FhirServer(there, opened)
