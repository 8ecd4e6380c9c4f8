"""The demo on real servers by settings alone: `python -m benchmarks.demo_servers --pumps 3 --until-done --json`.

Starts Debian's InfluxDB 1.6 (behind a proxy that speaks what differs in version 2), PostgreSQL and Mosquitto, runs
`pdm-twin demo` with the given arguments, and stops them. What they keep is gone afterwards. A real InfluxDB 2 takes the
place of the first where `PDM_TEST_INFLUX_URL`, `_ORG` and `_TOKEN` name one; the bucket `demo-...` stays in it.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex

from tests.influx import ORG, TOKEN, InfluxDB, Proxy, named
from tests.mosquitto import Mosquitto
from tests.postgres import Postgres


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """Run all three; gives the settings that lead to them, as variables of the environment."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pdm-servers-")))
        url, org, token = named() or _debians(folder / "influx", stack)
        postgres = Postgres().start()
        stack.callback(postgres.remove)
        broker = Mosquitto(folder).start()
        stack.callback(broker.stop)
        yield {
            "PDM_INFLUX__URL": url,
            "PDM_INFLUX__ORG": org,
            "PDM_INFLUX__TOKEN": token,
            "PDM_INFLUX__BUCKET": f"demo-{token_hex(6)}",
            "PDM_STATE__URL": postgres.new_database(),
            "PDM_MQTT__ENABLED": "on",
            "PDM_MQTT__PORT": str(broker.port),
        }


def _debians(folder: Path, stack: ExitStack) -> tuple[str, str, str]:
    influx = InfluxDB(folder).start()
    stack.callback(influx.stop)
    proxy = Proxy(influx.port)
    stack.callback(proxy.close)
    return proxy.url, ORG, TOKEN


def main() -> int:
    """Run the demo; its exit code."""
    with servers() as settings:
        command = [sys.executable, "-m", "pdm.cli", "demo", *sys.argv[1:]]
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PDM_TEST_")}
        return subprocess.run(command, env=ours | settings, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
