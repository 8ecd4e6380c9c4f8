"""An ingesting process for tests: `python -m tests.ingest_process LOG PORT`."""

import sys
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from pdm.adapters.mqtt import MqttLink, run_ingest
from pdm.adapters.reading_log import ReadingLogWriter
from pdm.clocks import ServiceClock
from pdm.plant import Asset, AssetClass, LifeStep, Plant, Sensor

PUMP = AssetClass("pump", "Pump", (Sensor("number", "1", "Number"),), (), LifeStep("h", 3_600_000), 1000, 0, ())
PLANT = Plant("Nord", "EUR", ZoneInfo("UTC"), {"pump": PUMP}, {}, {"S1": Asset("S1", "pump", "P1", "p1", None)}, "0")

if __name__ == "__main__":
    log = partial(ReadingLogWriter, Path(sys.argv[1]))
    run_ingest(log, MqttLink(port=int(sys.argv[2])), lambda: PLANT, ServiceClock())
