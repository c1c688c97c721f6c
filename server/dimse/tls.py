"""TLS by BCP 195 (PS3.15 B.9, B.10: the BCP 195 and Non-Downgrading BCP 195 TLS profiles)."""

import ssl

from server.errors import BadRequest
from server.settings import Settings

#: TLS 1.2 with forward secrecy and authenticated encryption only (RFC 9325 4.2); TLS 1.3 has nothing else.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def server_context(settings: Settings) -> ssl.SSLContext:
    """The listening side's context; callers must show a certificate. Raises BadRequest naming the setting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(settings.dimse_tls_certificate, settings.dimse_tls_key or None)
    except OSError as error:
        raise BadRequest(
            f"The certificate or its key can't be read ({type(error).__name__}); name PEM files that belong together.",
            expression="dimse_tls_certificate",
        ) from error
    try:
        context.load_verify_locations(settings.dimse_tls_ca)
    except OSError as error:
        raise BadRequest(
            f"The authorities can't be read ({type(error).__name__}); name a PEM file of those that sign callers.",
            expression="dimse_tls_ca",
        ) from error
    context.verify_mode = ssl.CERT_REQUIRED
    return context
