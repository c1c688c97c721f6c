"""Mail by SMTP (RFC 5321) through the one server that the operator names."""

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from server.errors import BadRequest, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Scheme -> the port that it has where none is given.
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """One file of a mail."""

    name: str
    media_type: str
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Mail:
    """One mail to one address."""

    to: str
    subject: str
    text: str
    #: text/plain or text/html.
    media_type: str
    #: The same mail sent again has the same one.
    message_id: str
    attachments: Sequence[Attachment] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Mailer:
    """Sends by one mail server."""

    #: smtp, smtp+starttls or smtps://user:password@host:port.
    url: str = field(repr=False)
    sender: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in _PORTS or not parts.hostname or "@" not in self.sender:
            raise BadRequest(
                f"Write smtp_url as {', '.join(_PORTS)}://host:port and the address to send from as smtp_from.",
                expression="smtp_url",
            )

    def send(self, mail: Mail, *, timeout: float) -> None:
        """Unavailable unless the mail server took it."""
        try:
            with self._opened(timeout) as server:
                server.send_message(_message(mail, self.sender))
        except (smtplib.SMTPException, OSError) as error:
            raise Unavailable(f"The mail server did not take it: {_said(error)}.") from error

    @contextmanager
    def _opened(self, timeout: float) -> "Iterator[smtplib.SMTP]":
        parts = urlsplit(self.url)
        host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
        context = ssl.create_default_context()
        server: smtplib.SMTP
        if parts.scheme == "smtps":
            server = smtplib.SMTP_SSL(host, port, timeout=timeout, context=context)
        else:
            server = smtplib.SMTP(host, port, timeout=timeout)
        with server:
            if parts.scheme == "smtp+starttls":
                server.starttls(context=context)
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            yield server


def _message(mail: Mail, sender: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, mail.to, mail.subject
    message["Date"], message["Message-ID"] = formatdate(), mail.message_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text, subtype=mail.media_type.partition("/")[2])
    for one in mail.attachments:
        kind, _, subtype = one.media_type.partition("/")
        message.add_attachment(one.body, maintype=kind, subtype=subtype, filename=one.name)
    return message


def _said(error: Exception) -> str:
    """The code of what the server said, never its text, which may quote addresses."""
    code = getattr(error, "smtp_code", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__
