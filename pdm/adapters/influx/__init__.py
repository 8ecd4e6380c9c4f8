"""InfluxDB 2 as the store of readings, through influxdb-client.

One measurement a class, `source` as the only tag, sensors as float fields, the flags of arrival as one more field,
times in whole milliseconds. Late readings stand in a measurement of their own. The reading logs stay in front as the
spool: what is acknowledged is in them, and `pdm.forward` sends it on.
"""

from pdm.adapters.influx.bucket import InfluxBucket
from pdm.adapters.influx.points import InfluxPoints
from pdm.adapters.influx.server import InfluxLink, InfluxServer
from pdm.adapters.influx.store import InfluxReadings

__all__ = ["InfluxBucket", "InfluxLink", "InfluxPoints", "InfluxReadings", "InfluxServer"]
