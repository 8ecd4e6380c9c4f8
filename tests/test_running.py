"""The service beside its parts: a plant that is applied while it runs."""

from pathlib import Path

from structlog.testing import capture_logs

from pdm.clocks import ReplayClock
from pdm.running import InUse, follow_plant
from pdm.settings import load_settings
from pdm.state.plants import store_plant
from pdm.state.schema import open_state, write
from pdm.wiring import open_services
from tests.small_plant import PLANT, RULES, START


def test_a_route_whose_secret_comes_later_is_used_from_then_on_and_the_others_at_once(tmp_path: Path) -> None:
    settings, secret = load_settings(given={"data_dir": tmp_path}), tmp_path / "secret"
    engine = open_state(settings.state_url())
    with write(engine) as connection:
        store_plant(connection, PLANT, RULES, START)
    engine.dispose()
    services = open_services(settings, ReplayClock(START))
    routes = f"""
routes:
  hook: {{kind: webhook, url: "https://example.com/", secret_file: "{secret}"}}
  crew: {{kind: smtp, host: mail, encryption: none, from: a@example.com, to: b@example.com}}
"""
    with write(services.engine) as connection:
        number = store_plant(connection, PLANT, RULES + routes, START).number
    with capture_logs() as lines:
        in_use = InUse(number - 1)
        for _ in range(3):
            in_use = follow_plant(services, settings, in_use)
            assert in_use == InUse(number, whole=False)
            assert set(services.notifiers) == {"log", "crew"}
        secret.write_text("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n")
        in_use = follow_plant(services, settings, in_use)
        assert follow_plant(services, settings, in_use) is in_use
    assert in_use == InUse(number)
    assert set(services.notifiers) == {"log", "hook", "crew"}
    assert [line["event"] for line in lines] == ["plant version in use, but not all of it", "plant version in use"]
    services.close()
