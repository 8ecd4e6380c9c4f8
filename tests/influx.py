"""A real InfluxDB for tests: Debian's 1.6 server behind a proxy that speaks what differs in version 2.

Queries and answers pass through as they are. Writes, deletions and buckets are mapped to what 1.6 has for them, and the
errors of 1.6 to the statuses and bodies of 2. The proxy can also be told to misbehave.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.mosquitto import free_port

TOKEN = "token-of-the-tests"
ORG = "plant"

_CONFIGURATION = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[retention]
  check-interval = "{retention_check}"
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
[continuous_queries]
  enabled = false
"""

_PREDICATE = re.compile(r'_measurement="([^"]*)" AND source="((?:[^"\\]|\\.)*)"')


def named() -> tuple[str, str, str] | None:
    """URL, organisation and token of a real InfluxDB 2, where the environment names one."""
    url, org, token = (os.environ.get(f"PDM_TEST_INFLUX_{name}", "") for name in ("URL", "ORG", "TOKEN"))
    return (url, org, token) if url and org and token else None


class Reply(NamedTuple):
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    body: bytes


_BUCKET = f"/api/v2/buckets/{'1' * 16}"

Fault = Callable[[Request], Reply | None]
"""What the proxy says in place of the server; None lets a request pass."""


class InfluxDB:
    """One server, on the same port whenever it is started again."""

    def __init__(self, folder: Path, retention_check: str = "30m"):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.port = free_port()
        self._configuration = folder / "influxdb.conf"
        self._configuration.write_text(
            _CONFIGURATION.format(rpc=free_port(), port=self.port, folder=folder, retention_check=retention_check)
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "InfluxDB":
        program = shutil.which("influxd", path="/usr/bin:/usr/sbin:/usr/local/bin")
        assert program, "these tests need the server: apt-get install influxdb"
        with (self._folder / "influxdb.log").open("ab") as log:
            self._process = subprocess.Popen([program, "-config", str(self._configuration)], stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not self._answers():
            assert time.monotonic() < deadline, (self._folder / "influxdb.log").read_text()
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Ask it to end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without warning."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=20)
            self._process = None

    def _answers(self) -> bool:
        try:
            return _ask(self.port, "GET", "/ping").status == 204
        except OSError:
            return False


class Proxy:
    """Version 2 in front of a 1.6 server.

    Attributes:
        faults: asked in turn before a request passes.
        writes: the bodies of the writes that the server took.
        queries: what was asked in InfluxQL.
        answered: the bytes of each answer to them.
    """

    def __init__(self, port: int):
        self.faults: list[Fault] = []
        self.writes: list[bytes] = []
        self.queries: list[str] = []
        self.answered: list[int] = []
        self._port = port
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1  # status and body in one packet

            def do_GET(self) -> None:
                self._answer("GET")

            def do_POST(self) -> None:
                self._answer("POST")

            def do_PATCH(self) -> None:
                self._answer("PATCH")

            def _answer(self, method: str) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                address = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(address.query).items()}
                reply = proxy.answer(Request(method, address.path, query, body), self.headers.get("Authorization"))
                if reply.status == CUT:  # more was promised than is sent
                    self.close_connection = True
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(reply.body) + 1_000))
                else:
                    self.send_response(reply.status)
                    self.send_header("Content-Length", str(len(reply.body)))
                for name, value in reply.headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: Request, authorization: str | None) -> Reply:
        """What version 2 would say."""
        if authorization != f"Token {TOKEN}":
            return error(401, "unauthorized", "unauthorized access")
        for fault in self.faults:
            if (said := fault(request)) is not None:
                return said
        mapped = {
            "/api/v2/write": self._write,
            "/api/v2/delete": self._delete,
            "/api/v2/buckets": self._buckets,
            "/api/v2/orgs": lambda _: _json(200, {"orgs": [{"id": "0" * 16, "name": ORG}]}),
            "/query": self._query,
        }
        if request.path == _BUCKET and request.method == "PATCH":
            return self._keep_for(request)
        try:
            return mapped[request.path](request)
        except OSError:
            return error(503, "unavailable", "the server does not answer")

    def _query(self, request: Request) -> Reply:
        self.queries.append(request.query["q"])
        reply = _ask(self._port, "GET", f"/query?{urlencode(request.query)}", accept="application/csv")
        self.answered.append(len(reply.body))
        return reply

    def _write(self, request: Request) -> Reply:
        bucket, precision = request.query["bucket"], request.query["precision"]
        if bucket not in self._databases():
            return error(404, "not found", f'bucket "{bucket}" not found')
        reply = _ask(self._port, "POST", f"/write?{urlencode({'db': bucket, 'precision': precision})}", request.body)
        if reply.status == 204:
            self.writes.append(request.body)
            return reply
        said = json.loads(reply.body)["error"]
        if "partial write" in said and "unable to parse" not in said:
            said = said.replace(
                "points beyond retention policy", "1 points outside retention policy of duration 1h0m0s"
            )
            return error(422, "unprocessable entity", f"failure writing points to database: {said}")
        return error(400 if reply.status < 500 else reply.status, "invalid", said.removeprefix("partial write: "))

    def _delete(self, request: Request) -> Reply:
        asked = json.loads(request.body)
        found = _PREDICATE.fullmatch(asked["predicate"])
        if found is None:
            return error(400, "invalid", "error decoding json body: bad tag value")
        source = re.sub(r"\\(.)", r"\1", found[2]).replace("'", "\\'")
        stretch = f"time >= '{asked['start']}' AND time < '{asked['stop']}'"
        statement = f'DELETE FROM "{found[1]}" WHERE {stretch} AND "source" = \'{source}\''  # noqa: S608 - our own
        self._run(statement, db=request.query["bucket"])
        return Reply(204)

    def _buckets(self, request: Request) -> Reply:
        if request.method == "GET":
            name = request.query["name"]
            if name not in self._databases():
                return error(404, "not found", f'bucket "{name}" not found')
            return _json(200, {"buckets": [_bucket(name, 0)]})
        asked = json.loads(request.body)
        every_s = asked["retentionRules"][0]["everySeconds"]
        self._run(f'CREATE DATABASE "{asked["name"]}"' + (f" WITH DURATION {every_s}s" if every_s else ""))
        return _json(201, _bucket(asked["name"], every_s))

    def _keep_for(self, request: Request) -> Reply:
        asked = json.loads(request.body)
        every_s = asked["retentionRules"][0]["everySeconds"]
        duration = f"{every_s}s SHARD DURATION 1d" if every_s else "INF"
        self._run(f'ALTER RETENTION POLICY "autogen" ON "{asked["name"]}" DURATION {duration}')
        return _json(200, _bucket(asked["name"], every_s))

    def _databases(self) -> list[str]:
        found = json.loads(self._run("SHOW DATABASES"))["results"][0]["series"][0]
        return [row[0] for row in found.get("values", [])]

    def _run(self, statement: str, **parameters: str) -> bytes:
        reply = _ask(self._port, "POST", f"/query?{urlencode({'q': statement, **parameters})}")
        assert reply.status == 200, reply
        return reply.body


CUT = -1
"""The status of a reply that breaks off."""


def error(status: int, code: str, message: str, *headers: tuple[str, str]) -> Reply:
    """An error in the form of version 2."""
    return _json(status, {"code": code, "message": message}, *headers)


def _json(status: int, body: object, *headers: tuple[str, str]) -> Reply:
    return Reply(status, json.dumps(body).encode(), (("Content-Type", "application/json"), *headers))


def _bucket(name: str, every_s: int) -> dict[str, object]:
    rules = [{"type": "expire", "everySeconds": every_s}]
    return {"id": "1" * 16, "orgID": "0" * 16, "type": "user", "name": name, "retentionRules": rules}


def _ask(port: int, method: str, path: str, body: bytes | None = None, accept: str = "application/json") -> Reply:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Accept": accept})
        answer = connection.getresponse()
        return Reply(answer.status, answer.read(), (("Content-Type", answer.headers.get("Content-Type", "")),))
    finally:
        connection.close()
