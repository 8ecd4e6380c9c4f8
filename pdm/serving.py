"""API and pages on a port, in a thread of this process."""

import asyncio
import socket
import threading

import uvicorn
from fastapi import FastAPI

from pdm.errors import ConfigurationError

STOP_PATIENCE_S = 5.0

MOST_CONNECTIONS = 500
"""Open at a time; one more is told 503 at once."""


class Server:
    """An application that is being served. `address` is where."""

    def __init__(self, app: FastAPI, host: str, port: int, *, shared: bool = False) -> None:
        """Bind at once, so that a port in use is an error here and not a silent thread.

        Args:
            shared: other processes that say so too may listen on the same port; the system divides who comes.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """
        self._app, self._socket = app, _listen(host, port, shared)
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=3,
            limit_concurrency=MOST_CONNECTIONS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="serve", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Answer what is in flight, then stop."""
        self._app.state.stopping.set()
        self._server.should_exit = True
        self._thread.join(STOP_PATIENCE_S)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))


def _listen(host: str, port: int, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listening.bind((host, port))
        listening.listen()  # from now on who comes waits instead of being turned away
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"cannot listen on {host}, port {port}: {error.strerror}; another program may have it: set http.port",
            key="http.port",
        ) from None
    return listening
