"""`pdm-twin init --from-csv`: a plant file and rules proposed for machines of which there is a table of readings, and
what that table is enough for."""

import json
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pdm.durations import DAY_MS, HOUR_MS, UNITS_MS
from pdm.ingest.own_ages import Ages
from pdm.ingest.own_keys import words
from pdm.ingest.own_table import MOST_ROWS, Look, SeenSensor
from pdm.plant.wire import OF_FILE, TableForm
from pdm.rules.default import STEPS_AT_FAULT
from pdm.words import iso, plural

_MINUTE_MS = UNITS_MS["min"]
_STEPS = (
    *((_MINUTE_MS, "1 min", "minute"), (5 * _MINUTE_MS, "5 min", "five minutes")),
    *((10 * _MINUTE_MS, "10 min", "ten minutes"), (15 * _MINUTE_MS, "15 min", "quarter of an hour")),
    *((30 * _MINUTE_MS, "30 min", "half hour"), (HOUR_MS, "1 h", "hour"), (DAY_MS, "1 d", "day")),
)
_ABOUT = 1.1  # a pace that is so much slower is still that of a step
_FEWEST_STEPS = 200  # of a record, so that a life step is none too coarse
_FORECAST_FROM, _SURE_FROM = 3, 10  # failed machines
_APART_FROM = 5  # groups

_OF_OPERATION = frozenset(
    [
        *("ambient", "outdoor", "weather", "humidity", "wind", "load", "speed", "rpm", "power", "setpoint", "set"),
        *(
            "throttle",
            "duty",
            "altitude",
            "last",
            "drehzahl",
            "leistung",
            "sollwert",
            "umgebung",
            "umgebungstemperatur",
        ),
    ]
)

_PLANT = """# Proposed by `pdm-twin init --from-csv` from {file}.
# Lines with "confirm" are guesses: change what is wrong, then run `pdm-twin check`. All that a plant file can say
# stands in docs/plant-file.md; `pdm-twin init` writes a commented one.

plant: {plant}
currency: EUR                 # confirm; of all costs, ISO 4217
time_zone: {zone}             # confirm; of shifts and of all times that people read

classes:
  machine:
    title: Machine            # confirm
    # The grain of life. Readings come about every {every}.
    life_step: {life_step}    # confirm
    # running_when: {{sensor: {first}, above: 0}}   # steps in which it stands still neither wear it nor alarm anybody
    gap: unknown
    notice: {notice}              # confirm; what your people need before they can start
    horizon: {horizon}             # confirm; how far ahead a date is worth anything [life steps]
    stale_after: {stale}
    # A guess of how long such a machine lives gives a forecast from day one [life steps]:
    # expected_life: {{mean: 10000, sd: 4000}}
    # What the work costs when it is planned, and after the failure:
    # costs: {{planned: 4000, unplanned: 20000}}
    sensors:
{sensors}
    # Sensors that state how the machine is operated (load, speed, weather) rather than how it is:
    conditions: []            # confirm{conditions}
    failure_modes:
      wear: {{title: Worn out, action: Inspect and repair, duration: 8 h}}   # confirm

assets:
{assets}
"""

_ASSET = "  - {{serial: {source}, class: machine, slot: {source}, source: {source}, start_of_life: {said}}}  # confirm"

FAILURES_MAP = """# Proposed by `pdm-twin init --from-csv`: what failures.csv means.
machine: machine
events: [{kind: failed, at: failed, mode: wear}]
"""

RENEWALS_MAP = """# Proposed by `pdm-twin init --from-csv`: what renewals.csv means. `why` is failed where
# the machine failed, and anything else where it was replaced in time.
machine: machine
events:
  - {kind: failed, at: ended, where: {why: failed}, mode: wear}
  - {kind: repaired, at: new}
"""

_RULES = """# Proposed by `pdm-twin init --from-csv`; limits on single sensors are yours to add (`kind: sensor_limit`).

rules:
  wear:
    kind: failure_probability
    title: Likely to fail soon
    within: {within}
    above: 30 %
    clear: 20 %

  check_sensor:
    kind: sensor_fault
    title: Check this sensor
    for: {check}

  changed:
    kind: departure
    title: Departs from its own early life

  silent:
    kind: silent_sensor
    title: No readings
    for: {stale}
"""


def plant_text(look: Look, path: Path) -> str:
    """A `plant.yaml` for the machines of a table."""
    written, unit = _life_step(look)
    return _PLANT.format(
        file=path.name,
        plant=json.dumps(_title(path)),
        zone=look.form.time_zone or "UTC",
        every=_duration(look.every_ms),
        life_step=f"{{{written}, unit: {unit}}}",
        first=look.sensors[0].name,
        horizon=_horizon(look),
        notice=_duration(_notice_ms(look)),
        stale=_duration(_stale_ms(look)),
        sensors="\n".join(map(_sensor_line, look.sensors)),
        conditions=_conditions(look),
        assets="\n".join(
            _ASSET.format(source=_quoted(source), said=_start_of_life(look, source) + _group(look, source))
            for source in look.machines
        ),
    )


def rules_text(look: Look) -> str:
    """A `rules.yaml` for them."""
    step_ms = _step_ms(look)
    return _RULES.format(
        within=max(1, round(min(7 * DAY_MS / step_ms, _horizon(look) / 4))),
        check=_duration(STEPS_AT_FAULT * step_ms),
        stale=_duration(_stale_ms(look)),
    )


def import_command(look: Look, path: Path) -> str:
    """The command that brings the table in as it was understood."""
    plain, form = TableForm(), look.form
    options = [
        *_said("--time-column", form.time_column, plain.time_column),
        *_said("--clock-column", form.clock_column, None),
        *_said("--time-format", form.time_format, None),
        *_said("--time-zone", str(form.time_zone) if form.time_zone else None, None),
        *_said("--epoch-unit", form.epoch_unit, None),
        *_said("--count-from", None if form.count_from_ms is None else iso(form.count_from_ms), None),
        *_said("--source", form.source, None),
        *_said("--source-column", form.source_column, plain.source_column),
        *_said("--sensor-column", form.sensor_column, None),
        *_said("--value-column", form.value_column, plain.value_column),
        *_said("--decimal", form.decimal, None),
        *_said("--delimiter", form.delimiter, None),
        *(word for column, name in form.rename.items() for word in ("--rename", f"{column}={name}")),
        *(word for column in form.ignore for word in ("--ignore", column)),
    ]
    return shlex.join(["pdm-twin", "import", "readings", str(path), *options])


def proposed_files(look: Look, path: Path) -> dict[str, str]:
    """All that is proposed, by the name of the file."""
    files = {"plant.yaml": plant_text(look, path), "rules.yaml": rules_text(look)}
    if look.failed_ms:
        files |= {"failures.csv": failures_text(look), "failures.yaml": FAILURES_MAP}
    if look.ages is not None and look.ages.renewals:
        files |= {"renewals.csv": _renewals_text(look.ages, failed=bool(look.failed_ms)), "renewals.yaml": RENEWALS_MAP}
    return files


def failures_text(look: Look) -> str:
    """A `failures.csv`: the machines that failed, and when."""
    rows = (f"{json.dumps(source)},{iso(at_ms)}\n" for source, at_ms in sorted(look.failed_ms.items()))
    return "".join(["machine,failed\n", *rows])


def _renewals_text(ages: Ages, *, failed: bool) -> str:
    """A `renewals.csv`: where a machine was taken out, and another one began."""
    why = "failed" if failed else "replaced"
    rows = (
        f"{json.dumps(one.machine)},{iso(one.ended_ms + 1000)},{why},{iso(max(one.new_ms, one.ended_ms + 1000))}\n"
        for one in ages.renewals
    )
    return "".join(["machine,ended,why,new\n", *rows])


def readiness(look: Look, now_ms: int) -> list[str]:
    """What the table is enough for, and what would lift it further, in sentences."""
    since, until = (datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d") for ms in (look.first_ms, look.last_ms))
    steps = _steps(look)
    machines, sensors = plural(len(look.machines), "machine"), plural(len(look.sensors), "sensor")
    told_by = "" if look.form.source else f" by {look.form.source_column!r}"
    machines += " by the names of files" if look.form.source == OF_FILE else told_by
    said = [
        f"{machines}, {sensors}, {look.rows:,} rows from {since} to {until}, one about every "
        f"{_duration(look.every_ms)}: about {steps:,.0f} life steps a machine",
        "enough for: pages, limits on sensors, alerts on silence",
    ]
    said += [_by_groups(look)] if look.groups else []
    if look.cut:
        said.append(
            f"only the beginning was looked at, {MOST_ROWS:,} rows in all: machines that stand behind it are not in "
            "plant.yaml yet"
        )
    if look.form.time_zone is not None and str(look.form.time_zone) == "UTC":
        said.append("its times are taken as UTC: where they are not, say --time-zone, for example Europe/Berlin")
    if (from_ms := look.form.count_from_ms) is not None:
        said.append(
            f"times are made up: {look.form.time_column!r} counts {look.form.epoch_unit} from {iso(from_ms)} on "
            "(--epoch-unit and --count-from say otherwise)"
        )
    if (past_days := (now_ms - look.last_ms) // DAY_MS + 1) * DAY_MS > _stale_ms(look):
        said.append(
            "it ends in the past: pages will refuse forecasts as `stale`. To see there what is forecast as of the last "
            f"readings, write `stale_after: {past_days + 365} d`; `backtest forecasts` tells what would have been said "
            "before"
        )
    if unknown := [source for source in look.machines if not _was_new(look, source)]:
        said.append(
            f"`start_of_life` is unknown of {plural(len(unknown), 'machine')} on record from the beginning of the "
            "table: write it into plant.yaml where you know it; lives that begin before their record teach less"
        )
    said += [] if look.ages is None else _by_counter(look, look.ages)
    told = {*look.new, *(() if look.ages is None else look.ages.born_ms)}
    if newer := [source for source in look.machines if source not in told and _came_later(look, source)]:
        said.append(
            f"{plural(len(newer), 'machine')} came later than others: the first reading is proposed as "
            "`start_of_life`; correct it where the machine was older"
        )
    if unitless := [sensor.name for sensor in look.sensors if not sensor.unit]:
        said.append(f"units are not known of {', '.join(unitless)}: write them into plant.yaml before importing")
    if coded := [f"{sensor.name} ({sensor.no_value:g})" for sensor in look.sensors if sensor.no_value is not None]:
        said.append(f"a number that stands for no value: {', '.join(coded)}; the `range` proposed leaves it out")
    if gappy := [f"{sensor.name} ({sensor.missing:.0%})" for sensor in look.sensors if sensor.missing > 0.05]:
        said.append(f"often without a value: {', '.join(gappy)}; a learned forecast leaves such sensors out")
    if steps * len(look.machines) < _FEWEST_STEPS:
        said.append(
            f"too short to learn from: {_FEWEST_STEPS} life steps in all at least show how healthy machines read"
        )
    said += [f"{column}: left out, {why}" for column, why in look.left_out.items()]
    said.append(
        "a forecast from day one needs `expected_life`, or failure modes with a limit and an expected life, and "
        "`start_of_life` of each machine"
    )
    said.append(
        "if a sensor states how a machine is operated (load, speed, weather), name it under `conditions`: load is then "
        f"not taken for wear{_conditions(look)}"
    )
    said.append(
        f"a learned forecast needs failures{_ends(look)}: report them with `pdm-twin import events`, "
        f"{_FORECAST_FROM} machines of a class from start to failure at least, {_SURE_FROM} for confidence, then "
        "`pdm-twin run tick` or `up`, and `pdm-twin train machine`; with fewer that learns an alarm on departure from "
        "each machine's own early life"
    )
    if look.failed_ms:
        said.append(
            f"{plural(len(look.failed_ms), 'machine')} failed as far as the table shows: see failures.csv, put it "
            "right, and after the readings: pdm-twin import events failures.csv --map failures.yaml"
        )
    marked = [f"{column} is not zero in {count:,} rows" for column, count in look.labels.items() if count]
    if marked:
        said.append(f"may hold failures: {'; '.join(marked)}")
    return said


def _by_groups(look: Look) -> str:
    """What the groups of machines are enough for."""
    groups, without = len(set(look.groups.values())), len(look.machines) - len(look.groups)
    none = f", and {plural(without, 'machine')} without one" if without else ""
    said = f"{plural(groups, 'group')} of machines{none}"
    if groups < _APART_FROM:
        return (
            f"{said}: to judge models on whole groups left out takes failures in {_APART_FROM} of them; with fewer, "
            "bands may be too narrow for a group that was not seen"
        )
    return (
        f"{said}: with failures in {_APART_FROM} of them or more, models are judged on whole groups left out. That is "
        "right if machines of other groups will come; if not, leave `group` out, and forecasts are sharper"
    )


def _by_counter(look: Look, ages: Ages) -> Iterator[str]:
    """What a counter of hours or cycles says about the ages of machines."""
    older = [name for name, born_ms in ages.born_ms.items() if look.since_ms[name] - born_ms > _stale_ms(look)]
    taken = f"{ages.column!r} counts the age of each machine: `start_of_life` is taken from it"
    if older:
        taken += (
            f"; {plural(len(older), 'machine')} had run before the table begins, at the pace of the table for as long "
            "as was counted by then: put it right where you know it"
        )
    yield taken
    if ages.renewals:
        renewed = plural(len({one.machine for one in ages.renewals}), "machine")
        yield (
            f"it begins anew {plural(len(ages.renewals), 'time')} on {renewed}: renewals.csv has each as a new life. "
            "Say there which ended in failure (`why`: failed), unless work orders do, and bring it in before "
            "them, since a life fails but once: pdm-twin import events renewals.csv --map renewals.yaml"
        )


def _ends(look: Look) -> str:
    return "" if look.failed_ms else " (if each machine ran until it failed, begin again with --run-to-failure)"


def _was_new(look: Look, source: str) -> bool:
    """Whether the first row of a machine may be the start of its life, or a counter tells that."""
    count_from_ms = look.form.count_from_ms
    counted = count_from_ms is not None and look.since_ms[source] - count_from_ms <= 2 * look.every_ms
    aged = look.ages is not None and source in look.ages.born_ms
    return counted or aged or source in look.new or _came_later(look, source)


def _came_later(look: Look, source: str) -> bool:
    """Whether others were on record long before, so that its first reading may be the start of its life."""
    return look.since_ms[source] - look.first_ms > _stale_ms(look)


def _start_of_life(look: Look, source: str) -> str:
    if not _was_new(look, source):
        return "unknown"
    born_ms = look.since_ms[source]
    if look.ages is not None and source not in look.new:
        born_ms = look.ages.born_ms.get(source, born_ms)
    return json.dumps(datetime.fromtimestamp(born_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def _group(look: Look, source: str) -> str:
    return f", group: {_quoted(look.groups[source])}" if source in look.groups else ""


def _quoted(text: str) -> str:
    """Text as YAML has it; it knows no escapes of half a character."""
    return json.dumps(text, ensure_ascii=False)


def _conditions(look: Look) -> str:
    """Which sensors may be conditions, as they are called, behind a colon; nothing if none is."""
    called = [sensor.name for sensor in look.sensors if _OF_OPERATION & set(words(sensor.column))]
    return f"; called so: {', '.join(called)}" if called else ""


def _life_step(look: Look) -> tuple[str, str]:
    """How the life step is written, and its unit: a row where each is a cycle or rows are rare, otherwise time."""
    fitting = [step for step in _STEPS if step[0] <= HOUR_MS and _ABOUT * step[0] >= look.every_ms]
    daily = abs(look.every_ms - DAY_MS) < (_ABOUT - 1) * DAY_MS
    if look.row != "reading" or not look.every_ms or not (fitting or daily):
        return "each: reading", look.row
    fitting = fitting or [_STEPS[-1]]
    fine = [step for step in fitting if _measured_ms(look) / step[0] >= _FEWEST_STEPS]
    if look.failed_ms and not fine and _ABOUT * look.every_ms < fitting[0][0]:
        return "each: reading", look.row  # whole lives are shorter than that
    _, every, unit = fine[-1] if fine else fitting[0]
    return f"every: {every}", json.dumps(unit)


def _step_ms(look: Look) -> int:
    every = {f"every: {text}": ms for ms, text, _ in _STEPS}
    return every.get(_life_step(look)[0], look.every_ms or DAY_MS)


def _horizon(look: Look) -> int:
    """Thirty days, or half of what is on record of a machine where that is shorter, or no time [life steps]."""
    step_ms = _step_ms(look)
    if look.row != "reading" and look.form.count_from_ms is not None:
        return max(10, round(_steps(look) / 2))
    records = sorted(look.until_ms[source] - look.since_ms[source] for source in look.machines)
    usual = _steps(look) if step_ms == look.every_ms else records[len(records) // 2] / step_ms
    return max(10, round(min(30 * DAY_MS / step_ms, usual / 2)))


def _notice_ms(look: Look) -> int:
    return min(2 * DAY_MS, max(_MINUTE_MS, _horizon(look) * _step_ms(look) // 4))


def _measured_ms(look: Look) -> float:
    """How long a machine was measured, without the gaps."""
    return look.rows / len(look.machines) * look.every_ms


def _steps(look: Look) -> float:
    """Life steps that were measured of a machine."""
    return max(1.0, _measured_ms(look) / _step_ms(look))


def _stale_ms(look: Look) -> int:
    """Silence that is no accident of the line any more."""
    return max(DAY_MS, 10 * look.every_ms)


def _sensor_line(sensor: SeenSensor) -> str:
    unit = json.dumps(sensor.unit or "1")
    doubt = "unit not known: write it here" if not sensor.unit else "confirm the unit"
    title, known = json.dumps(sensor.column), ""
    if (no_value := sensor.no_value) is not None:
        between = (sensor.low + no_value) / 2 if no_value < sensor.low else (sensor.high + no_value) / 2
        known = f", range: [{between:.4g}, null]" if no_value < sensor.low else f", range: [null, {between:.4g}]"
        doubt += f", and that {no_value:g} stands for no value"
    read = f"read {sensor.low:.4g} to {sensor.high:.4g}"
    return f"      {sensor.name}: {{unit: {unit}, title: {title}{known}}}   # {doubt}; {read}"


def _duration(ms: int) -> str:
    """A duration as plant files write it."""
    for unit, length in (("d", DAY_MS), ("h", HOUR_MS), ("min", _MINUTE_MS)):
        if ms >= length:
            return f"{ms / length:.0f} {unit}"
    return f"{max(1, round(ms / 1000))} s"


def _said(option: str, value: str | None, default: str | None) -> list[str]:
    return [] if value is None or value == default else [option, value]


def _title(path: Path) -> str:
    return path.name.split(".")[0].replace("_", " ").strip().capitalize() or "Our plant"
