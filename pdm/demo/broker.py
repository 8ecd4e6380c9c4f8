"""A broker of our own for the demo: Mosquitto, if it is installed, on a free port of this machine."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pdm.errors import StoreError

_START_PATIENCE_S = 10.0

_CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
persistence false
max_queued_messages 0
max_inflight_messages 0
log_dest file {folder}/mosquitto.log
"""


def find_mosquitto() -> str | None:
    """Where the program is; Debian keeps it out of people's path."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def mosquitto(program: str, folder: Path) -> Iterator[int]:
    """Run the broker with its files in `folder`; gives its port.

    Raises:
        StoreError: it does not answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    configuration = folder / "mosquitto.conf"
    configuration.write_text(_CONFIGURATION.format(port=port, folder=folder.resolve()), encoding="utf-8")
    broker = subprocess.Popen([program, "-c", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        _wait_for(port, broker)
        yield port
    finally:
        broker.terminate()
        broker.wait()


def _wait_for(port: int, broker: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_PATIENCE_S
    while broker.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise StoreError(f"mosquitto did not answer on port {port}; its log stands beside its configuration")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
