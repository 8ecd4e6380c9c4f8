"""The web application: the API under /api/v1, the pages, their documentation, and how the service is doing."""

import threading
from collections.abc import Collection

from fastapi import FastAPI

from pdm import __version__
from pdm.services import Services
from pdm.web import api, auth, pages, problems
from pdm.web.api import description, influx, readings
from pdm.web.guard import Guard
from pdm.web.metrics import Metrics

BODY_LIMITS = {"": 1 << 20, "/api/v1/readings": readings.LARGEST_BODY, influx.PATH: influx.LARGEST_BODY}
"""Largest body by path [bytes]."""

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


def create_app(
    services: Services, key_hashes: Collection[str] = (), local_names: Collection[str] = LOCAL_NAMES
) -> FastAPI:
    """The application on these services.

    `app.state.stopping` ends the live streams when it is set: set it before the server is asked to stop, since a
    server waits for its open answers.

    Args:
        key_hashes: SHA-256 of the API keys (`pdm.web.auth.hash_key`); without any nobody is asked for one.
        local_names: host names that are answered where no key is asked for.
    """
    app = FastAPI(
        title="pdm-twin",
        version=__version__,
        description="Predictive maintenance on live digital twins.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        generate_unique_id_function=description.operation_id,
    )
    app.state.services = services
    app.state.stopping = threading.Event()
    gate, metrics = auth.Gate(key_hashes), Metrics(services)
    problems.install(app)
    description.install(app)
    api.install(app, services, metrics, app.state.stopping)
    app.include_router(description.make_router(app))
    app.include_router(auth.login_router(gate))
    app.include_router(pages.make_router(services))
    app.add_exception_handler(404, pages.page_of_nothing(services))
    app.add_middleware(Guard, gate=gate, metrics=metrics, local_names=local_names, body_limits=BODY_LIMITS)
    return app
