"""Once a day: what came the days before goes from the reading logs into Parquet files, or for good where it has been
forwarded to InfluxDB; files older than `keep_readings` of their class go."""

from pdm.compact import CompactReport, compact
from pdm.services import Services

SCHEDULE = "25 0 * * *"


def run(services: Services, at: int) -> CompactReport | str:
    return compact(services, at) or "readings are in memory"
