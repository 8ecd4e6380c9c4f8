"""A bucket that others write becomes readings: Debian's server behind a proxy (tests/influx.py)."""

import csv
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from secrets import token_hex

import numpy as np
import pytest
from typer.testing import CliRunner

import pdm.ingest.bucket
from pdm.adapters.influx import InfluxBucket, InfluxLink, InfluxServer
from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.reading_log import ReadingLog
from pdm.cli import app
from pdm.errors import ConfigurationError, StoreError
from pdm.ingest.bucket import ImportedMeasurement, import_bucket
from pdm.plant.file import parse_plant
from pdm.ports import DeadLetter, ImportProgress
from pdm.readings import ArrivalFlag, Readings
from pdm.settings import Settings
from pdm.state.plants import store_plant
from pdm.state.schema import opened_state, write
from tests.influx import CUT, ORG, TOKEN, InfluxDB, Proxy, Reply, Request
from tests.small_plant import PLANT, RULES

NOW = 1_795_341_600_000  # 2026-11-22T10:00:00Z
T0 = 1_700_000_000_000
DAY_MS = 86_400_000

LINES = """lines:
  - measurement: modbus
    source: "{host}"
    sensors: {n: speed, vib: {sensor: vibration, unit: in/s}}
    ignore: [Status]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    started = InfluxDB(tmp_path_factory.mktemp("influx")).start()
    yield started
    started.stop()


class Bench:
    """A bucket, and a store that it is imported into."""

    def __init__(self, folder: Path, proxy: Proxy):
        self.folder, self.proxy = folder, proxy
        self.link = InfluxLink(proxy.url, ORG, f"theirs-{token_hex(4)}", TOKEN, timeout_ms=5_000)
        self.server = InfluxServer(self.link)
        self.server.prepare_bucket()
        self.bucket = InfluxBucket(self.server)
        self.store = MemoryReadings()
        self.report = folder / "report.csv"
        self.plant = parse_plant(PLANT + LINES)

    def write(self, lines: str) -> None:
        self.server.write(lines.encode())

    def run(self, *measurements: str, now_ms: int = NOW, from_ms: int = T0 - DAY_MS) -> list[ImportedMeasurement]:
        return import_bucket(
            self.bucket, measurements, self.store, self.plant, now_ms, report=self.report, from_ms=from_ms
        )

    def rows(self, source: str = "fan1") -> list[tuple[float, float, float]]:
        found = self.store.window("fan", [source], 0, 2 * NOW)
        speed, vibration = (found.sensors.index(name) for name in ("speed", "vibration"))
        return [
            ((at - T0) / 1000, row[speed], row[vibration])
            for at, row in zip(found.time_ms.tolist(), found.values.tolist(), strict=True)
        ]

    def remarks(self) -> list[tuple[str, str]]:
        with self.report.open(newline="") as file:
            return [(row["reason"], row["detail"]) for row in csv.DictReader(file)]


@pytest.fixture
def bench(tmp_path: Path, server: InfluxDB) -> Iterator[Bench]:
    proxy = Proxy(server.port)
    made = Bench(tmp_path, proxy)
    yield made
    made.bucket.close()
    proxy.close()


def test_measurements_tags_and_fields_are_read_as_lines_are(bench: Bench) -> None:
    bench.write(
        f"modbus,host=fan1,side=L n=1500,vib=1 {T0}\n"
        f"modbus,host=fan1,side=L n=1510 {T0 + 1000}\n"
        f"modbus,host=fan2 n=1490 {T0}\n"
        f"fans,source=fan2 speed=1480i,vibration=2 {T0 + 5000}\n"
    )
    fans, modbus = bench.run()
    first, second = bench.rows()
    assert first[:2] == (0, 1500)
    assert first[2] == pytest.approx(25.4)
    assert second[:2] == (1, 1510)
    assert np.isnan(second[2])
    assert bench.rows("fan2")[1] == (5, 1480, 2)
    assert (modbus.points, modbus.new_points, modbus.mapped.sources) == (3, 3, ["fan1", "fan2"])
    assert fans.mapped.wanted.fields == ("speed", "vibration")
    window = bench.store.window("fan", ["fan1"], 0, NOW)
    assert set(window.flags.tolist()) == {ArrivalFlag.IMPORTED}
    assert not bench.report.exists()


def test_what_comes_to_nothing_is_said_with_its_reason(bench: Bench) -> None:
    bench.write(
        f'modbus,host=fan1 n=1500,Status="run",door=true,oil=3 {T0}\n'
        f"modbus,host=elsewhere n=1 {T0}\n"
        f"modbus,rack=7 n=1 {T0}\n"
        f"fans,source=fan1 speed=true {T0}\n"
        f"fans,source=fan1 vibration=1e31 {T0}\n"
    )
    fans, modbus = bench.run()
    assert [row[:2] for row in bench.rows()] == [(0, 1500)]
    assert [(reason, detail.split(":")[0]) for reason, detail in bench.remarks()] == [
        ("wrong_type", "fans, field speed"),
        ("unknown_source", "modbus,host=elsewhere"),
        ("missing_tag", "modbus,rack=7"),
        ("unknown_sensor", "modbus, field door"),
        ("unknown_sensor", "modbus, field oil"),
        ("number_too_large", f"vibration of fans,source=fan1 at {T0} ms"),
    ]
    assert (fans.bad_values, modbus.bad_values) == (1, 0)


def test_names_with_blanks_commas_and_backslashes_are_told_apart(bench: Bench) -> None:
    lines = LINES.replace("vib:", "'f, \"1\"':").replace("measurement: modbus", "measurement: 'm, n'")
    bench.plant = parse_plant(PLANT.replace("source: fan1", "source: 'a, b=c'") + lines)
    bench.write(f'm\\,\\ n,host=a\\,\\ b\\=c,path=d:\\e\\ f n=1500,f\\,\\ "1"=2 {T0}\n')
    bench.run("m, n")
    assert bench.rows("a, b=c") == [(0, 1500, 50.8)]


def test_a_field_that_was_whole_for_a_while_is_read_throughout(bench: Bench) -> None:
    bench.write(f"modbus,host=fan1 n=1500i {T0}\n")
    bench.write(f"modbus,host=fan1 n=1500.5 {T0 + 30 * DAY_MS}\n")  # another shard
    bench.run()
    assert [row[1] for row in bench.rows()] == [1500, 1500.5]


def test_two_series_of_one_sensor_are_remarked(bench: Bench) -> None:
    bench.write(f"modbus,host=fan1,side=L n=1500 {T0}\nmodbus,host=fan1,side=R n=1600 {T0}\n")
    bench.run()
    ((reason, detail),) = bench.remarks()
    assert reason == "several_series"
    assert "modbus,host=fan1,side=L and in modbus,host=fan1,side=R" in detail


def test_a_bucket_of_other_things_is_refused_with_where_its_names_are_set(bench: Bench) -> None:
    bench.write(f"cpu,host=a usage=1 {T0}\n")
    with pytest.raises(ConfigurationError, match=r"holds nothing of this plant \(`lines` .*cpu,host=a"):
        bench.run()
    with pytest.raises(ConfigurationError, match="has no measurement 'modbus'; it has cpu"):
        bench.run("modbus")


def test_only_what_is_wanted_is_asked_for(bench: Bench) -> None:
    bench.write(f"modbus,host=fan1 n=1500,oil=3 {T0}\nmodbus,host=elsewhere n=1 {T0}\n")
    bench.run()
    (asked,) = [query for query in bench.proxy.queries if "GROUP BY *" in query]
    assert "oil" not in asked
    assert '"host"::tag =~ /^(fan1)$/' in asked


def fill(bench: Bench, n: int = 400) -> None:
    """Samples a minute apart, with a pause of half a year."""
    bench.write("\n".join(f"modbus,host=fan{1 + i % 2} n={i} {minute(i)}" for i in range(n)))


def minute(i: int) -> int:
    return T0 + i * 60_000 + (180 * DAY_MS if i >= 200 else 0)


def test_windows_are_as_long_as_memory_allows_and_pauses_cost_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdm.ingest.bucket, "MOST_VALUES", 50)
    fill(bench)
    (modbus,) = bench.run()
    assert modbus.points == 400
    assert len(bench.rows("fan1")) == len(bench.rows("fan2")) == 200
    windows = [query for query in bench.proxy.queries if "GROUP BY *" in query]
    assert 8 <= len(windows) <= 30
    assert len(bench.proxy.queries) < 80


class Interrupted(MemoryReadings):
    """A store that fails at its n-th commit."""

    def __init__(self, until_failure: int) -> None:
        super().__init__()
        self.until_failure = until_failure

    def append(
        self,
        batches: Mapping[str, Readings],
        dead: Sequence[DeadLetter] = (),
        imported: ImportProgress | None = None,
    ) -> None:
        self.until_failure -= 1
        if self.until_failure == -1:
            raise StoreError("the disk is full")
        super().append(batches, dead, imported)


def test_an_import_cut_short_anywhere_goes_on_where_it_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdm.ingest.bucket, "MOST_VALUES", 100)
    fill(bench)
    for failing in range(20):
        bench.store = store = Interrupted(failing)
        try:
            bench.run()
            break
        except StoreError:
            (modbus,) = bench.run()
        assert store.counts().readings == modbus.points == 400  # nothing was stored twice
        assert len(bench.rows("fan1")) == 200
    assert failing > 3


def test_a_later_run_goes_on_with_what_came_since(bench: Bench) -> None:
    bench.write(f"modbus,host=fan1 n=1 {T0}\n")
    bench.run(now_ms=T0 + 1000)
    bench.write(f"modbus,host=fan1 n=2 {T0 + 2000}\n")
    (modbus,) = bench.run(now_ms=T0 + 3000)
    assert (modbus.points, modbus.new_points) == (2, 1)
    assert bench.store.counts().readings == 2


@pytest.mark.parametrize("cut", ["SHOW SERIES", "SHOW FIELD", "ORDER BY", "count(", "GROUP BY"])
def test_an_answer_without_its_end_is_an_error_and_never_nothing(bench: Bench, cut: str) -> None:
    fill(bench, 10)

    def without_mark(request: Request) -> Reply | None:
        if cut not in request.query.get("q", ""):
            return None
        return Reply(200, b"name,tags,time,n\nmodbus,host=fan1,1700000000000,1\n")

    bench.proxy.faults.append(without_mark)
    with pytest.raises(StoreError, match="the answer has no end"):
        bench.run()
    assert bench.store.counts().readings == 0
    bench.proxy.faults[:] = [lambda request: Reply(CUT, b"name,tags") if cut in request.query.get("q", "") else None]
    with pytest.raises(StoreError):
        bench.run()
    bench.proxy.faults.clear()
    assert bench.run()[0].points == 10


def test_nothing_is_written_to_the_bucket(bench: Bench) -> None:
    fill(bench, 10)
    methods = set[str]()
    bench.proxy.writes.clear()

    def note(request: Request) -> None:
        methods.add(request.method)

    bench.proxy.faults.append(note)
    bench.run()
    assert methods == {"GET"}
    assert not bench.proxy.writes


def test_recorded_answers_of_version_2_are_read(bench: Bench) -> None:
    """Recorded from a real server of June 2026: what fields there are, and points of two series."""
    mark = b"\n\nname,tags,name\ndatabases,,_monitoring\ndatabases,,_tasks\ndatabases,,plant_a\n"
    recorded = {
        "SHOW FIELD KEYS": b"name,tags,fieldKey,fieldType\npump,,s1,float\npump,,s2,float",
        "GROUP BY": b"name,tags,time,s1\npump,asset=A,1700000000000,1.5\npump,asset=B,1700000000000,2.5",
    }

    def answer(request: Request) -> Reply | None:
        return next((Reply(200, said + mark) for part, said in recorded.items() if part in request.query["q"]), None)

    bench.write(f"pump,asset=A s1=0 {T0}\npump,asset=B s1=0 {T0}\n")
    lines = "lines:\n  - {source: 'fan{asset}', sensors: {s1: speed}, ignore: [s2]}\n"
    bench.plant = parse_plant(
        PLANT.replace("source: fan1", "source: fanA").replace("source: fan2", "source: fanB") + lines
    )
    bench.proxy.faults.append(answer)
    bench.run()
    assert (bench.rows("fanA")[0][1], bench.rows("fanB")[0][1]) == (1.5, 2.5)


def plant_folder(bench: Bench) -> Settings:
    """Settings of a folder in which the plant is in force."""
    settings = Settings(data_dir=bench.folder / "pdm-data")
    settings.data_dir.mkdir()
    (bench.folder / "token").write_text(TOKEN)
    with opened_state(settings.state_url()) as engine, write(engine) as connection:
        store_plant(connection, PLANT + LINES, RULES, T0)
    return settings


def test_the_command_says_what_was_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_folder(bench)
    monkeypatch.chdir(bench.folder)
    bench.write(f"modbus,host=fan1 n=1500,oil=3 {T0}\n")
    where = ["--from-influx", bench.proxy.url, "--bucket", bench.link.bucket, "--org", ORG, "--token-file", "token"]
    for new in (1, 0):
        said = CliRunner().invoke(app, ["import", "readings", *where])
        assert f"modbus: 1 points, {new} of them new (1 source, n); 0 bad values, 1 remark: see" in said.output
    refused = CliRunner().invoke(app, ["import", "readings", *where, "--rename", "a=b"])
    assert "expected no options of tables" in str(refused.exception)
    refused = CliRunner().invoke(app, ["import", "readings", *where, "--from-influx", "influx:8086"])
    assert "expected an address such as http://127.0.0.1:8086, not 'influx:8086'" in str(refused.exception)
    (bench.folder / "token").write_text(f"{TOKEN}\nand more\n")
    refused = CliRunner().invoke(app, ["import", "readings", *where])
    assert str(refused.exception) == "token: holds several lines: expected a secret alone"


DYING = """
import os, random, signal, sys, threading
from pathlib import Path
import pdm.ingest.bucket
from pdm.adapters import influx
from pdm.adapters.reading_log import ReadingLogWriter
from pdm.import_command import Bucket, import_bucket_into_log
from pdm.settings import Settings

def run(folder, commits, delay):
    append = ReadingLogWriter.append
    left = commits

    def dying(*given, **named):
        nonlocal left
        left -= 1
        if left == 0:
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        append(*given, **named)

    ReadingLogWriter.append = dying
    bucket = Bucket(sys.argv[1], sys.argv[2], sys.argv[3], Path(folder, "token"), (), None, None)
    import_bucket_into_log(Settings(data_dir=Path(folder, "pdm-data")), bucket)
    os._exit(0)

pdm.ingest.bucket.MOST_VALUES = 500
chance, killed, status = random.Random(1), 0, -9
while status == -9 and killed < 100:
    if (child := os.fork()) == 0:
        run(sys.argv[4], chance.randint(1, 8), chance.uniform(0, 0.03))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    killed += status == -9
print(status, killed)
"""


@pytest.mark.slow
def test_an_import_that_is_killed_again_and_again_loses_nothing_and_counts_nothing_twice(bench: Bench) -> None:
    settings, n = plant_folder(bench), 20_000
    bench.write("\n".join(f"modbus,host=fan{1 + i % 2} n={i} {T0 + i * 60_000}" for i in range(n)))
    given = [bench.proxy.url, ORG, bench.link.bucket, str(bench.folder)]
    done = subprocess.run([sys.executable, "-c", DYING, *given], check=True, timeout=300, stdout=subprocess.PIPE)
    status, killed = map(int, done.stdout.split())
    assert status == 0
    assert killed > 3
    log = ReadingLog(settings.readings_folder())
    assert log.counts().readings == n
    assert len(log.window("fan", ["fan1", "fan2"], 0, NOW)) == n
    log.close()
