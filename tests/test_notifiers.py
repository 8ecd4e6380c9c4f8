"""Routes against real servers on this machine: HTTP, HTTPS, SMTP with and without TLS."""

import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import structlog
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from pdm.adapters import http_client
from pdm.adapters.heartbeat import Heartbeat
from pdm.adapters.http_client import LARGEST_ANSWER, post, refusal
from pdm.adapters.notifiers import LogNotifier, SmtpNotifier, WebhookNotifier, notifiers_of
from pdm.errors import ConfigurationError, DeliveryError, RouteGoneError
from pdm.ports import Message
from pdm.rules.ruleset import LogRoute, Route, Secret, SmtpRoute, WebhookRoute

CERTIFICATE = Path(__file__).parent / "certificates" / "localhost.pem"
LOOPBACK = (ip_network("127.0.0.0/8"),)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
MESSAGE = Message(
    "0d2c4b5a-id", "[now] P-17: Bearing wear", "Replace the bearing.\nBy Friday – 4 in 5.", b'{"a": "\xc3\xa9"}'
)


@dataclass
class Received:
    """What a server was sent."""

    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    mails: list[bytes] = field(default_factory=list)


Respond = Callable[[BaseHTTPRequestHandler], None]


def answer(status: int, body: bytes = b"ok", **headers: str) -> Respond:
    def respond(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return respond


@contextmanager
def http_server(respond: Respond, tls: bool = False) -> Iterator[tuple[str, Received]]:
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.requests.append((dict(self.headers), body))
            respond(self)

        def log_message(self, *args: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, *args: Any) -> None: ...  # a client that hangs up is what some tests are about

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"{'https' if tls else 'http'}://localhost:{server.server_port}/hook?site=nord", received
        server.shutdown()
        thread.join()


def webhook(url: str, *secrets: str) -> WebhookNotifier:
    return WebhookNotifier(WebhookRoute("planner", url, Secret(env="X")), secrets or (SECRET,), LOOPBACK)


@pytest.fixture(autouse=True)
def everybody_is_on_loopback_v4(monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost` may be ::1 first, where the servers of these tests do not listen."""
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *args: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host == "localhost" else host, port, *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


# Webhooks


def test_a_webhook_carries_the_stored_bytes_and_a_signature_that_the_receiver_can_verify() -> None:
    with http_server(answer(204, b"")) as (url, received):
        webhook(url).send(MESSAGE)
    headers, body = received.requests[0]
    assert body == MESSAGE.body
    assert headers["webhook-id"] == MESSAGE.id
    assert Webhook(SECRET).verify(body, headers) == {"a": "é"}


def test_while_secrets_rotate_the_receiver_may_hold_either() -> None:
    with http_server(answer(200)) as (url, received):
        webhook(url, SECRET, OLD_SECRET).send(MESSAGE)
    headers, body = received.requests[0]
    assert Webhook(SECRET).verify(body, headers) == Webhook(OLD_SECRET).verify(body, headers) == {"a": "é"}


def test_every_attempt_has_the_same_id_and_a_timestamp_of_its_own() -> None:
    with http_server(answer(200)) as (url, received):
        route = webhook(url)
        route.send(MESSAGE)
        route.send(MESSAGE)
    assert [headers["webhook-id"] for headers, _ in received.requests] == [MESSAGE.id] * 2
    assert all(abs(int(headers["webhook-timestamp"]) - time.time()) < 60 for headers, _ in received.requests)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_whatever_else_a_receiver_answers_it_may_be_mended_within_the_day(status: int) -> None:
    with (
        http_server(answer(status, b"because\n\x1b[31m of this")) as (url, _),
        pytest.raises(DeliveryError, match=f"answered {status}: because  .31m of this") as caught,
    ):
        webhook(url).send(MESSAGE)
    assert caught.value.retry_helps
    assert not isinstance(caught.value, RouteGoneError)


def test_a_receiver_that_answers_410_is_never_told_again() -> None:
    with http_server(answer(410)) as (url, _), pytest.raises(RouteGoneError) as caught:
        webhook(url).send(MESSAGE)
    assert not caught.value.retry_helps


def test_redirects_are_not_followed() -> None:
    with http_server(answer(200)) as (elsewhere, reached):
        with (
            http_server(answer(307, b"", Location=elsewhere)) as (url, _),
            pytest.raises(DeliveryError, match=r"answered 307 \(redirects are not followed\)"),
        ):
            webhook(url).send(MESSAGE)
        assert reached.requests == []


def test_of_a_huge_answer_only_the_first_64_kb_are_read() -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(b"x" * 65_536)

    with http_server(endless) as (url, _):
        assert post(url, b"{}", {}, LOOPBACK).body == b"x" * LARGEST_ANSWER


def hang(request: BaseHTTPRequestHandler) -> None:
    time.sleep(1.5)


def drip_a_header(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(15):
        request.wfile.write(b"x")
        time.sleep(0.1)


def drip_a_body(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(15):
        request.wfile.write(b"x")
        time.sleep(0.1)


@pytest.mark.parametrize("respond", [hang, drip_a_header, drip_a_body])
def test_the_time_limit_covers_the_whole_exchange(monkeypatch: pytest.MonkeyPatch, respond: Respond) -> None:
    monkeypatch.setattr(http_client, "TIMEOUT_S", 0.4)
    with http_server(respond) as (url, _):
        began = time.monotonic()
        with pytest.raises(DeliveryError, match=r"did not answer within 0\.4 s") as caught:
            webhook(url).send(MESSAGE)
        assert time.monotonic() - began < 1
    assert caught.value.retry_helps


def test_nobody_listening_and_an_answer_that_is_no_http_can_be_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/", "http://name-that-is-not.invalid/"):
        with pytest.raises(DeliveryError) as caught:
            webhook(url).send(MESSAGE)
        assert caught.value.retry_helps

    def nonsense(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    with http_server(nonsense) as (url, _), pytest.raises(DeliveryError):
        webhook(url).send(MESSAGE)


def test_a_certificate_that_nobody_vouches_for_is_refused_and_one_of_a_trusted_authority_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with http_server(answer(200), tls=True) as (url, received):
        with pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED"):
            webhook(url).send(MESSAGE)
        assert received.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        webhook(url).send(MESSAGE)
        assert len(received.requests) == 1


def test_errors_never_show_the_path_of_the_url_since_it_can_be_a_secret() -> None:
    with http_server(answer(500)) as (url, _), pytest.raises(DeliveryError) as caught:
        webhook(url).send(MESSAGE)
    assert "hook" not in str(caught.value)
    with pytest.raises(DeliveryError) as caught:
        webhook("http://127.0.0.1:1/canary").send(MESSAGE)
    assert "canary" not in str(caught.value)


# Where a webhook may lead


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[::1]/",
        "http://[::]/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[64:ff9b::10.0.0.1]/",
        "http://[2002:7f00:1::]/",
        "http://[::7f00:1]/",
        "http://8.8.8.8:22/",
        "http://8.8.8.8:6379/",
        "http://user:password@example.com/",
        "http://example.com@127.0.0.1/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://",
        "https://exa mple.com/",
        "https://example.com/\r\nX-Header: 1",
        "https://example.com:99999/",
        "https://exämple.com/",
    ],
)
def test_a_url_that_leads_where_it_must_not_is_refused_when_the_route_is_made(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"routes\.planner\.url: the URL"):
        WebhookNotifier(WebhookRoute("planner", url, Secret(env="X")), [SECRET])
    with pytest.raises(DeliveryError):
        post(url, b"{}", {})


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "localhost"])
def test_an_address_in_disguise_is_refused_when_the_connection_is_made(host: str) -> None:
    with http_server(answer(200)) as (url, received):
        port = url.split(":")[2].split("/")[0]
        with pytest.raises(DeliveryError, match=r"private address|cannot be resolved"):
            post(f"http://{host}:{port}/", b"{}", {})
        assert received.requests == []


def test_a_name_that_answers_differently_the_second_time_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["203.0.114.1", "127.0.0.1"])
    asked: list[str] = []

    def rebind(host: str, port: int, *args: Any, **named: Any) -> Any:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    connected: list[str] = []

    def connect(address: tuple[str, int], *args: Any, **named: Any) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(DeliveryError):
        post("http://rebinding.example.com/", b"{}", {})
    assert (asked, connected) == (["rebinding.example.com"], ["203.0.114.1"])


def test_of_several_addresses_only_the_public_ones_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ["10.0.0.1", "203.0.114.1", "::1", "203.0.114.2"]
    connected: list[str] = []

    def resolve(host: str, port: int, *args: Any, **named: Any) -> Any:
        return [(None, None, None, "", (address, port)) for address in found]

    def connect(address: tuple[str, int], *args: Any, **named: Any) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(DeliveryError):
        post("http://several.example.com/", b"{}", {})
    assert connected == ["203.0.114.1", "203.0.114.2"]


def test_an_allowed_network_may_be_reached_at_any_port_and_no_other_network() -> None:
    allowed = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    assert refusal("http://10.1.2.3:9000/", allowed) is None
    assert refusal("http://[fd00::1]:9000/", allowed) is None
    assert refusal("http://[::ffff:10.1.2.3]:9000/", allowed) is None
    assert refusal("http://10.2.0.1/", allowed) is not None
    assert refusal("https://8.8.8.8:8443/", allowed) is None
    assert refusal("https://cmms.example.com/hooks/wear") is None


# Secrets


@pytest.mark.parametrize("secrets", [[], ["whsec_"], ["whsec_é"], ["x"]])
def test_a_secret_that_cannot_sign_is_refused_without_being_shown(secrets: list[str]) -> None:
    with pytest.raises(
        ConfigurationError, match=r"routes\.planner\.secret: expected a secret such as whsec_"
    ) as caught:
        WebhookNotifier(WebhookRoute("planner", "https://example.com/", Secret(env="X")), secrets)
    assert "é" not in str(caught.value)


def test_each_route_of_the_rules_file_gets_its_notifier() -> None:
    routes: dict[str, Route] = {
        "log": LogRoute("log"),
        "planner": WebhookRoute("planner", "https://example.com/", Secret(file="hook")),
        "crew": SmtpRoute("crew", "mail", 25, "none", "pdm@example.com", ("a@example.com",), "pdm", Secret(env="MAIL")),
        "boss": SmtpRoute("boss", "mail", 25, "none", "pdm@example.com", ("b@example.com",)),
    }
    asked: list[Secret] = []

    def secret_of(secret: Secret) -> str:
        asked.append(secret)
        return f"{SECRET}\n{OLD_SECRET}\n"

    made = notifiers_of(routes, secret_of)
    assert [type(notifier) for notifier in made.values()] == [LogNotifier, WebhookNotifier, SmtpNotifier, SmtpNotifier]
    assert asked == [Secret(file="hook"), Secret(env="MAIL")]


def test_the_log_route_writes_one_line() -> None:
    with structlog.testing.capture_logs() as lines:
        LogNotifier("log").send(MESSAGE)
    assert [(line["event"], line["delivery"], line["subject"]) for line in lines] == [
        ("alert", MESSAGE.id, MESSAGE.subject)
    ]


# Mail


class MailHandler(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client of the standard library needs."""

    server: "MailServer"
    timeout = 5

    def handle(self) -> None:
        if self.server.tls_at_once:
            self._start_tls()
        self._say("220 mail.test")
        while line := self.rfile.readline():
            command = line.decode().strip()
            self.server.received.commands.append(command)
            verb = command.split(" ")[0].split(":")[0].upper()
            if verb in self.server.refuse:
                self._say(self.server.refuse[verb])
            elif verb == "EHLO":
                self._say("250-mail.test\r\n250-AUTH PLAIN\r\n250-8BITMIME\r\n250 " + self.server.offers)
            elif verb == "STARTTLS":
                self._say("220 go")
                self._start_tls()
            elif verb == "AUTH":
                self._say("235 ok")
            elif verb == "DATA":
                self._say("354 go")
                self.server.received.mails.append(self._data())
                self._say("250 kept")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _data(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        return b"".join(lines)

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def _start_tls(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        self.request = context.wrap_socket(self.request, server_side=True)
        self.setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()  # the server knows only the socket beneath TLS


class MailServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True

    def __init__(self, refuse: dict[str, str], offers: str, tls_at_once: bool) -> None:
        super().__init__(("127.0.0.1", 0), MailHandler)
        self.received = Received()
        self.refuse = refuse
        self.offers = offers
        self.tls_at_once = tls_at_once

    def handle_error(self, *args: Any) -> None: ...  # a client that hangs up is what some tests are about


@contextmanager
def mail_server(
    refuse: dict[str, str] | None = None, offers: str = "STARTTLS", tls_at_once: bool = False
) -> Iterator[MailServer]:
    with MailServer(refuse or {}, offers, tls_at_once) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def mail_route(server: MailServer, encryption: str = "none", user: str | None = None) -> SmtpNotifier:
    to = ("crew@example.com", "planner@example.com")
    port = server.server_address[1]
    route = SmtpRoute("crew", "localhost", port, encryption, "pdm@example.com", to, user, Secret(env="X"))
    return SmtpNotifier(route, "canary")


def test_mail_reaches_all_recipients_with_its_words_intact() -> None:
    with mail_server() as server:
        mail_route(server).send(MESSAGE)
    mail = message_from_bytes(server.received.mails[0], policy=policy.default)
    assert mail["Subject"] == MESSAGE.subject
    assert mail.get_content().strip().replace("\r\n", "\n") == MESSAGE.text
    recipients = [command.upper() for command in server.received.commands if command.startswith("rcpt")]
    assert recipients == ["RCPT TO:<CREW@EXAMPLE.COM>", "RCPT TO:<PLANNER@EXAMPLE.COM>"]


def test_every_attempt_of_a_mail_has_the_same_message_id() -> None:
    with mail_server() as server:
        route = mail_route(server)
        route.send(MESSAGE)
        route.send(MESSAGE)
    mails = [message_from_bytes(mail, policy=policy.default) for mail in server.received.mails]
    assert [mail["Message-ID"] for mail in mails] == ["<0d2c4b5a-id@example.com>"] * 2


def test_a_subject_cannot_add_headers() -> None:
    sly = Message("id", "Wear\r\nBcc: everybody@example.com\r\n\r\nHello", "text", b"{}")
    with mail_server() as server:
        mail_route(server).send(sly)
    mail = message_from_bytes(server.received.mails[0], policy=policy.default)
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Wear Bcc: everybody@example.com Hello"
    assert len([command for command in server.received.commands if command.startswith("rcpt")]) == 2


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_mail_and_password_travel_encrypted(monkeypatch: pytest.MonkeyPatch, encryption: str) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with mail_server(tls_at_once=encryption == "tls") as server:
        mail_route(server, encryption, user="pdm").send(MESSAGE)
    assert len(server.received.mails) == 1
    verbs = [command.split(" ")[0].upper() for command in server.received.commands]
    assert "AUTH" in verbs
    if encryption == "starttls":
        assert verbs.index("STARTTLS") < verbs.index("AUTH")


def test_without_the_encryption_asked_for_nothing_is_sent() -> None:
    with mail_server(offers="HELP") as server, pytest.raises(DeliveryError) as caught:
        mail_route(server, "starttls", user="pdm").send(MESSAGE)
    assert caught.value.retry_helps
    assert not any(command.upper().startswith(("AUTH", "MAIL")) for command in server.received.commands)


def test_a_mail_server_that_nobody_vouches_for_is_not_given_the_password() -> None:
    with mail_server() as server, pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED"):
        mail_route(server, "starttls", user="pdm").send(MESSAGE)
    assert not any(command.upper().startswith("AUTH") for command in server.received.commands)


@pytest.mark.parametrize(
    ("refuse", "retry_helps"),
    [
        ({"MAIL": "451 later"}, True),
        ({"MAIL": "550 not you"}, False),
        ({"RCPT": "450 greylisted"}, True),
        ({"RCPT": "550 no such user"}, False),
        ({"DATA": "554 content refused"}, False),
        ({"DATA": "452 disk full"}, True),
        ({"EHLO": "421 busy", "HELO": "421 busy"}, True),
        ({"AUTH": "535 canary is wrong"}, True),
    ],
)
def test_a_refusal_for_good_is_not_tried_again(refuse: dict[str, str], retry_helps: bool) -> None:
    with mail_server(refuse) as server, pytest.raises(DeliveryError) as caught:
        mail_route(server, user="pdm").send(MESSAGE)
    assert caught.value.retry_helps is retry_helps
    assert "canary" not in str(caught.value)
    assert server.received.mails == []


def test_nobody_at_the_mail_port_can_be_tried_again() -> None:
    with mail_server() as server:
        route = mail_route(server)
    with pytest.raises(DeliveryError) as caught:
        route.send(MESSAGE)
    assert caught.value.retry_helps


# The heartbeat


def test_a_heartbeat_that_does_not_arrive_is_logged_once_and_once_when_it_does_again() -> None:
    statuses = iter([200, 500, 500, 200])
    with http_server(lambda request: answer(next(statuses))(request)) as (url, received), capture_logs() as logs:
        heart = Heartbeat(url, LOOPBACK)
        for _ in range(4):
            heart.beat()
    assert len(received.requests) == 4
    assert [log["event"] for log in logs] == ["heartbeat does not arrive", "heartbeat arrives again"]


def test_a_heartbeat_to_nobody_fails_nothing() -> None:
    with capture_logs() as logs:
        Heartbeat("http://127.0.0.1:9", (ip_network("127.0.0.0/8"),)).beat()
    assert len(logs) == 1


def test_a_heartbeat_may_not_go_where_webhooks_may_not_go() -> None:
    with pytest.raises(ConfigurationError, match=r"notify\.heartbeat_url"):
        Heartbeat("http://127.0.0.1:9")
