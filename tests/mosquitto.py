"""A real broker for tests: mosquitto on a free loopback port, set up so that it keeps what it has acknowledged."""

import getpass
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

# its defaults lose acknowledged messages when it is killed, and started by root it becomes a user who cannot write here
_CONFIGURATION = """
user {user}
listener {port} 127.0.0.1
allow_anonymous true
persistence {durable}
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
max_inflight_messages 0
{more}
"""


class Mosquitto:
    """One broker, on the same port whenever it is started again.

    Args:
        durable: keep on disk whatever was acknowledged, so that a killed broker comes back with it. It then writes
            all that it keeps at every message, about a hundred a second.
        more: further lines of its configuration.
    """

    def __init__(self, folder: Path, more: str = "", *, durable: bool = False):
        self._folder = folder
        self.port = free_port()
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text(
            _CONFIGURATION.format(
                user=getpass.getuser(), port=self.port, folder=folder, durable=str(durable).lower(), more=more
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Mosquitto":
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/opt/homebrew/sbin")
        assert program, "these tests need the broker: apt-get install mosquitto"
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([program, "-c", str(self._configuration)], stdout=log, stderr=log)
        wait_for_port(self.port)
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
            self._process.wait(timeout=10)
            self._process = None


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"no broker answers on port {port}")
