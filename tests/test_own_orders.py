"""What is proposed for machines of which there are nothing but work orders."""

from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from pdm.applying import apply_files, read_files
from pdm.errors import ConfigurationError
from pdm.import_events import import_events
from pdm.models_command import train
from pdm.own_orders import import_command, look_at_orders, proposed_files, readiness
from pdm.settings import load_settings
from pdm.state.schema import opened_state, write

BEGAN = pd.Timestamp("2020-01-01")


def orders(folder: Path, **options: object) -> Path:
    """Twelve pumps that fail or are taken out; every other one is renewed, the last on the last day that is known."""
    rows = []
    for number, days in enumerate(400 + 20 * np.arange(12)):
        ended = (BEGAN + pd.Timedelta(days=int(days))).strftime("%d.%m.%Y")
        failed, out = (ended, "") if number % 3 else ("", ended)
        rows.append((f"P-{number}", "01.01.2020", failed, out))
        if number % 2:
            rows.append((f"P-{number}", f"{number + 1:02}.06.2022", "", ""))
    frame = pd.DataFrame(rows, columns=["Pump no.", "Installed", "Failed on", "Removed"]).rename(columns=options)
    frame.to_csv(folder / "orders.csv", sep=";", index=False)
    return folder / "orders.csv"


def test_dates_and_machines_are_read_off_the_names_of_columns(tmp_path: Path) -> None:
    found = look_at_orders(orders(tmp_path))
    assert (found.machine, found.begins, found.fails, found.out) == ("Pump no.", "Installed", "Failed on", "Removed")
    assert (found.time_format, found.failures, found.taken_out, found.going_on) == ("%d.%m.%Y", 8, 4, 6)
    assert readiness(found)[0].startswith("12 machines by 'Pump no.' from 2020-01-01 to 2022-06-12: 8 failures")
    assert import_command(Path("a b.csv")) == "pdm-twin import events 'a b.csv' --map orders.yaml"


def test_orders_that_do_not_say_when_machines_were_installed_are_sent_to_a_map(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"one row a life, .* were understood When, Failed on, Removed"):
        look_at_orders(orders(tmp_path, Installed="When"))


def test_what_is_proposed_takes_the_orders_in_and_training_gives_a_life_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = orders(tmp_path)
    for name, text in proposed_files(look_at_orders(path), path, ZoneInfo("Europe/Berlin")).items():
        Path(name).write_text(text, encoding="utf-8")
    settings = load_settings()
    with opened_state(settings.state_url()) as engine, write(engine) as connection:
        apply_files(connection, read_files(settings.plant, settings.rules), 0)
    assert import_events(settings, path, Path("orders.yaml")).problems == []
    trained = train(settings, "machine")
    assert "life table of 8 failures and 9 lives that did not end so" in trained.text
    assert sorted(one.serial for one in trained.by_age or ()) == ["P-1", "P-3", "P-5", "P-7", "P-9"]
