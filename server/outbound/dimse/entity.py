"""Who we are when we call: AE title and TLS identity."""

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path

from server.errors import Forbidden, Unavailable
from server.settings import Peer


@dataclass(frozen=True, kw_only=True, slots=True)
class Entity:
    """Our Application Entity as service class user."""

    title: str
    #: Implementation Class UID and Implementation Version Name (PS3.7 D.3.3.2).
    implementation: tuple[str, str] = ("", "")
    #: PEM file of our certificate, shown to peers that are called by TLS; None for none.
    certificate: Path | None = None
    #: PEM file of its private key; None where the certificate's file holds it.
    key: Path | None = None
    #: PEM file of authorities that vouch for peers; None for the platform's.
    authorities: Path | None = None

    def context(self, peer: Peer) -> ssl.SSLContext:
        """How TLS is spoken to a peer: BCP 195's versions; a peer with a fingerprint is known by that alone."""
        context = self.web_context()
        if peer.certificate:
            # The fingerprint says more than a chain: hospitals' devices carry certificates that nobody signed.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def web_context(self) -> ssl.SSLContext:
        """How TLS is spoken to web servers: a chain to an authority, and our certificate where one is asked for."""
        try:
            context = ssl.create_default_context(cafile=str(self.authorities) if self.authorities else None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(f"The TLS files of the settings can't be read ({type(error).__name__}).") from error
        return context


def check_certificate(peer: Peer, shown: bytes | None) -> None:
    """Raises Forbidden unless the certificate (DER) is the one whose SHA-256 the settings name."""
    wanted = peer.certificate.replace(":", "").lower()
    if wanted and hashlib.sha256(shown or b"").hexdigest() != wanted:
        raise Forbidden(f"The peer {peer.name} shows another certificate than the settings name.", expression="peers")
