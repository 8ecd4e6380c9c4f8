"""Routes to people and systems: the log, a signed webhook, e-mail."""

import smtplib
import ssl
from binascii import Error as NotBase64Error
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

import structlog
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

import pdm
from pdm.adapters.http_client import TIMEOUT_S, Answer, Network, post, refusal
from pdm.errors import ConfigurationError, DeliveryError, RouteGoneError
from pdm.ports import Message, Notifier
from pdm.rules.ruleset import LogRoute, Route, Secret, SmtpRoute, WebhookRoute

LONGEST_LOGGED_TEXT = 2_000
_GONE = 410
_SHOWN_OF_ANSWER = 200

_log = structlog.stdlib.get_logger(__name__)


def notifiers_of(
    routes: Mapping[str, Route], secret_of: Callable[[Secret], str], allowed: Sequence[Network] = ()
) -> dict[str, Notifier]:
    """What sends on each route of `rules.yaml`.

    Args:
        secret_of: reads a secret from where the route says it is.
        allowed: private networks in which a webhook may be.

    Raises:
        ConfigurationError: a secret or a URL cannot be used.
    """
    return {name: _notifier(route, secret_of, allowed) for name, route in routes.items()}


def _notifier(route: Route, secret_of: Callable[[Secret], str], allowed: Sequence[Network]) -> Notifier:
    match route:
        case LogRoute():
            return LogNotifier(route.name)
        case WebhookRoute():
            return WebhookNotifier(route, secret_of(route.secret).split(), allowed)
        case SmtpRoute():
            return SmtpNotifier(route, None if route.secret is None else secret_of(route.secret))


class LogNotifier:
    """Writes a line to the log of the service."""

    def __init__(self, route: str) -> None:
        self._route = route

    def send(self, message: Message) -> None:
        text = message.text[:LONGEST_LOGGED_TEXT]
        _log.warning("alert", route=self._route, delivery=message.id, subject=message.subject, text=text)


class WebhookNotifier:
    """Posts to a URL, signed as Standard Webhooks describe (https://www.standardwebhooks.com).

    While a secret is rotated the message carries one signature for each of both.
    """

    def __init__(self, route: WebhookRoute, secrets: Sequence[str], allowed: Sequence[Network] = ()) -> None:
        key = f"routes.{route.name}"
        if (reason := refusal(route.url, allowed)) is not None:
            raise ConfigurationError(f"the URL {reason}", key=f"{key}.url")
        try:
            self._signers = [Webhook(secret) for secret in secrets]
        except (NotBase64Error, EmptyWebhookSecretError, ValueError):
            raise ConfigurationError(_EXPECTED_SECRET, key=f"{key}.secret") from None
        if not self._signers:
            raise ConfigurationError(_EXPECTED_SECRET, key=f"{key}.secret")
        self._url = route.url
        self._allowed = allowed

    def send(self, message: Message) -> None:
        _check(post(self._url, message.body, self._headers(message), self._allowed))

    def _headers(self, message: Message) -> dict[str, str]:
        now = datetime.now(UTC)
        signatures = [signer.sign(message.id, now, message.body.decode()) for signer in self._signers]
        return {
            "Content-Type": "application/json",
            "User-Agent": f"pdm-twin/{pdm.__version__}",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }


_EXPECTED_SECRET = (
    "expected a secret such as whsec_... (base64), or two of them on two lines while one replaces the other"  # noqa: S105
)


def _check(answer: Answer) -> None:
    if 200 <= answer.status < 300:
        return
    if answer.status == _GONE:
        raise RouteGoneError("the receiver answered 410: it asks not to be told again")
    said = "".join(
        sign if sign.isprintable() else " " for sign in answer.body[:_SHOWN_OF_ANSWER].decode(errors="replace")
    )
    followed = " (redirects are not followed)" if 300 <= answer.status < 400 else ""
    raise DeliveryError(f"the receiver answered {answer.status}{followed}: {said}".rstrip(": "), retry_helps=True)


class SmtpNotifier:
    """Sends e-mail. With the encryption asked for, or not at all: it never falls back to plain text."""

    def __init__(self, route: SmtpRoute, password: str | None) -> None:
        self._route = route
        self._password = password

    def send(self, message: Message) -> None:
        try:
            with self._connected() as server:
                if self._route.user is not None:
                    server.login(self._route.user, self._password or "")
                refused = server.send_message(self._mail(message))
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise DeliveryError("the server refused every recipient", retry_helps=min(codes) < 500) from None
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            said = f"the server answered {error.smtp_code}"
            raise DeliveryError(said, retry_helps=error.smtp_code < 500) from None
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(f"{self._route.host}: {_reason(error)}", retry_helps=True) from None
        if refused:
            _log.warning("some recipients refused", route=self._route.name, count=len(refused), delivery=message.id)

    def _connected(self) -> smtplib.SMTP:
        route = self._route
        if route.encryption == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(route.host, route.port, timeout=TIMEOUT_S, context=context)
        server = smtplib.SMTP(route.host, route.port, timeout=TIMEOUT_S)
        try:
            if route.encryption == "starttls":
                server.starttls(context=ssl.create_default_context())
        except BaseException:
            server.close()
            raise
        return server

    def _mail(self, message: Message) -> EmailMessage:
        """The same Message-ID at every attempt, so that mail programs can drop what came twice."""
        mail = EmailMessage()
        mail["Subject"] = " ".join(message.subject.split())  # a line break would end the headers
        mail["From"] = self._route.sender
        mail["To"] = ", ".join(self._route.to)
        mail["Date"] = format_datetime(datetime.now(UTC))
        mail["Message-ID"] = f"<{message.id}@{self._route.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        return mail


def _reason(error: Exception) -> str:
    """What went wrong, without what the server said at login: it may repeat the name or the password."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"the server answered {error.smtp_code} to the login"
    return str(error) or type(error).__name__
