"""The demo on real servers by settings alone: `python -m benchmarks.demo_servers --pumps 3 --until-done --json`.

Starts Debian's InfluxDB 1.6 (behind a proxy that speaks what differs in version 2), PostgreSQL and Mosquitto, runs
`pdm-twin demo` with the given arguments, and stops them. What they keep is gone afterwards.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.influx import ORG, TOKEN, InfluxDB, Proxy
from tests.mosquitto import Mosquitto
from tests.postgres import Postgres


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """Run all three; gives the settings that lead to them, as variables of the environment."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pdm-servers-")))
        influx = InfluxDB(folder / "influx").start()
        stack.callback(influx.stop)
        proxy = Proxy(influx.port)
        stack.callback(proxy.close)
        postgres = Postgres().start()
        stack.callback(postgres.remove)
        broker = Mosquitto(folder).start()
        stack.callback(broker.stop)
        yield {
            "PDM_INFLUX__URL": proxy.url,
            "PDM_INFLUX__ORG": ORG,
            "PDM_INFLUX__TOKEN": TOKEN,
            "PDM_STATE__URL": postgres.new_database(),
            "PDM_MQTT__ENABLED": "on",
            "PDM_MQTT__PORT": str(broker.port),
        }


def main() -> int:
    """Run the demo; its exit code."""
    with servers() as settings:
        command = [sys.executable, "-m", "pdm.cli", "demo", *sys.argv[1:]]
        return subprocess.run(command, env=os.environ | settings, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
