"""POST to a URL that people configured: the only module that knows the HTTP library.

A URL must not become a way into the network that the service stands in (server-side request forgery). So the address is
checked when the connection is made, on what the name resolved to at that moment, and the connection goes to the
address that was checked: a name that answers differently a second later gains nothing. Redirects are not followed and
proxies of the environment are not used, since either would connect to what nobody checked.

One deadline covers everything from the handshake to the last byte of the answer: a receiver that sends one byte every
few seconds cannot hold a connection for longer.
"""

import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

import httpcore2

from pdm.errors import DeliveryError

TIMEOUT_S = 10.0
LARGEST_ANSWER = 64 * 1024
"""Bytes; what comes after them is not read."""

WEB_PORTS = frozenset({80, 443, 8080, 8443})
"""Ports that may be connected to outside the allowed networks."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAT64 = ip_network("64:ff9b::/96")
_WRITTEN_AT_ONCE = 64 * 1024

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Answer(NamedTuple):
    """What a receiver answered."""

    status: int
    body: bytes  # the first `LARGEST_ANSWER` bytes


def post(url: str, body: bytes, headers: Mapping[str, str], allowed: Sequence[Network] = ()) -> Answer:
    """Send a body and read the answer, whatever its status.

    Args:
        allowed: private networks that may be connected to, at any port.

    Raises:
        DeliveryError: there was no answer. Its text names the host only, since the path of a URL can be a secret.
    """
    if (reason := refusal(url, allowed)) is not None:
        raise DeliveryError(f"the URL {reason}", retry_helps=True)
    parts = urlsplit(url)
    target = httpcore2.URL(scheme=parts.scheme, host=parts.hostname or "", port=_port(parts), target=_target(parts))
    network = _CheckedNetwork(allowed, deadline=monotonic() + TIMEOUT_S)
    try:
        with (
            httpcore2.ConnectionPool(ssl_context=ssl.create_default_context(), network_backend=network) as pool,
            pool.stream("POST", target, headers=[("Host", parts.netloc), *headers.items()], content=body) as response,
        ):
            return Answer(response.status, _first_bytes(response.iter_stream()))
    except httpcore2.TimeoutException:
        raise _too_slow(parts.hostname) from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        raise DeliveryError(f"{parts.hostname}: {error or 'the connection broke'}", retry_helps=True) from None


def refusal(url: str, allowed: Sequence[Network] = ()) -> str | None:
    """Why nothing is ever posted to this URL, as far as its text tells; None if nothing speaks against it."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "has blanks or other characters that must be percent-encoded"
    try:
        parts = urlsplit(url)
        port = _port(parts)
    except ValueError:
        return "is not a URL"
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return "must begin with https:// or http:// and a host"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user or password"
    try:
        address = ip_address(parts.hostname)
    except ValueError:
        return None  # a name: where it leads is known when it is resolved
    return _objection(address, port, allowed)


class _CheckedNetwork(httpcore2.NetworkBackend):
    """Connects to addresses that may be connected to, until a deadline [s, monotonic]."""

    def __init__(self, allowed: Sequence[Network], deadline: float) -> None:
        self._allowed = allowed
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = _resolve(host, port)
        objections = {address: _objection(address, port, self._allowed) for address in addresses}
        usable = [address for address, objection in objections.items() if objection is None]
        if not usable:
            address, objection = next(iter(objections.items()))
            raise DeliveryError(f"{host} leads to {address}, which {objection}", retry_helps=True)
        for address in usable[:-1]:
            try:
                return self._connect(host, address, port)
            except httpcore2.ConnectError:
                continue  # the next address of the same host
        return self._connect(host, usable[-1], port)

    def _connect(self, host: str, address: Address, port: int) -> httpcore2.NetworkStream:
        left = _seconds_left(self._deadline, host)
        return _TimedStream(httpcore2.SyncBackend().connect_tcp(str(address), port, left), self._deadline, host)


class _TimedStream(httpcore2.NetworkStream):
    """A connection whose every wait ends at one deadline."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: float, host: str) -> None:
        self._stream = stream
        self._deadline = deadline
        self._host = host

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _seconds_left(self._deadline, self._host))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITTEN_AT_ONCE):
            part = buffer[start : start + _WRITTEN_AT_ONCE]
            self._stream.write(part, _seconds_left(self._deadline, self._host))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        left = _seconds_left(self._deadline, self._host)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline, self._host)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise DeliveryError(f"{host} cannot be resolved", retry_helps=True) from None
    return [ip_address(entry[4][0]) for entry in found]


def _objection(address: Address, port: int, allowed: Sequence[Network]) -> str | None:
    """Why an address must not be connected to; None if it may."""
    inner = _inner(address)
    if any(inner.version == network.version and inner in network for network in allowed):
        return None
    if inner.is_multicast or inner.is_reserved or not inner.is_global:
        return "is a private address: allow its network in notify.allow_private if the receiver is meant to be there"
    if port not in WEB_PORTS:
        return f"is asked for at port {port}: expected one of {', '.join(map(str, sorted(WEB_PORTS)))}"
    return None


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, if it does: mapped, translated (NAT64) or tunnelled (6to4)."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _port(parts: SplitResult) -> int:
    return parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _first_bytes(chunks: Iterable[bytes]) -> bytes:
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) >= LARGEST_ANSWER:
            break
    return bytes(body[:LARGEST_ANSWER])


def _seconds_left(deadline: float, host: str) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise _too_slow(host)
    return left


def _too_slow(host: str | None) -> DeliveryError:
    return DeliveryError(f"{host} did not answer within {TIMEOUT_S:g} s", retry_helps=True)
