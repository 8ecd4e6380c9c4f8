import os
from pathlib import Path

import pytest

from pdm.errors import ConfigurationError
from pdm.settings import Settings, load_settings, read_secret, setting_rows

DOCS = Path(__file__).parents[1] / "docs" / "settings.md"
DIGEST = "9F86D081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("PDM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def settings_of(text: str) -> Settings:
    Path("pdm.yaml").write_text(text)
    return load_settings()


def complaint_about(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        settings_of(text)
    return str(caught.value)


def test_without_a_file_the_defaults_hold() -> None:
    settings = load_settings()
    assert (settings.http.host, settings.http.port, settings.tick.interval_ms) == ("127.0.0.1", 8421, None)
    assert settings.state_url() == "sqlite:///pdm-data/state.db"
    assert settings.readings_folder() == Path("pdm-data/readings")


def test_the_file_sets_what_it_names() -> None:
    settings = settings_of(
        "data_dir: /var/lib/pdm\nmqtt:\n  host: broker\n  topics: [a/#, b/#]\n  tls: {enabled: true}\n"
        "tick: {interval: 5 min}\nnotify:\n  allow_private: 10.1.0.0/16, fd00::/8\n"
    )
    assert settings.state_url() == "sqlite:////var/lib/pdm/state.db"
    assert (settings.mqtt.host, settings.mqtt.topics, settings.mqtt.tls.enabled) == ("broker", ("a/#", "b/#"), True)
    assert settings.tick.interval_ms == 300_000
    assert [str(network) for network in settings.notify.allow_private] == ["10.1.0.0/16", "fd00::/8"]


def test_the_environment_beats_the_file_and_the_program_beats_both(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("pdm.yaml").write_text("http: {host: 127.0.0.1, port: 1}\nlog: {level: debug}\n")
    monkeypatch.setenv("PDM_HTTP__PORT", "2")
    monkeypatch.setenv("PDM_HTTP__HOST", "::1")
    loaded = load_settings(given={"http": {"port": 3}})
    assert (loaded.http.port, loaded.http.host, loaded.log.level) == (3, "::1", "debug")


def test_lists_in_the_environment_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDM_MQTT__TOPICS", "pdm/#, other/+/x")
    monkeypatch.setenv("PDM_MODELS", "/srv/models")
    assert load_settings().mqtt.topics == ("pdm/#", "other/+/x")
    assert load_settings().model_folders()[0] == Path("/srv/models")


def test_a_key_without_a_value_is_as_good_as_absent() -> None:
    assert settings_of("http:\n  port:\nmqtt:\n").http.port == 8421


def test_every_mistake_in_the_file_is_named_with_its_line_and_what_was_expected() -> None:
    complaint = complaint_about("http:\n  prot: 80\n  port: many\nmqqt: {}\ntick:\n  interval: 7\n")
    assert complaint.splitlines() == [
        "pdm.yaml:2: http.prot: is not a setting; did you mean 'port'?",
        "pdm.yaml:3: http.port: expected a whole number, not 'many'",
        "pdm.yaml:4: mqqt: is not a setting; did you mean 'mqtt'?",
        "pdm.yaml:6: tick.interval: expected a duration such as 48 h, 5 min or 7 d, not '7'",
    ]


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("PDM_HTPP__PORT", "1", "PDM_HTPP__PORT: is not a setting; did you mean 'http'?"),
        ("PDM_HTTP__PROT", "1", "PDM_HTTP__PROT: is not a setting; did you mean 'port'?"),
        ("PDM_HTTP__PORT", "99999", "PDM_HTTP__PORT: expected a number of at most 65535, not '99999'"),
        ("PDM_HTTP", "{", "expected plain text or JSON"),
        ("PDM_NOTIFY__ALLOW_PRIVATE", "10.0.0.300/8", "PDM_NOTIFY__ALLOW_PRIVATE: "),
    ],
)
def test_a_mistake_in_the_environment_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value).startswith("environment: ")
    assert expected in str(caught.value)


def test_where_benchmarks_find_their_data_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDM_DATA", "/srv/data")
    assert load_settings().data_dir == Path("pdm-data")


def test_a_file_that_was_asked_for_and_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"elsewhere\.yaml: cannot be read: No such file"):
        load_settings(Path("elsewhere.yaml"))


def test_a_secret_may_stand_in_a_file_and_is_never_shown() -> None:
    Path("password").write_text("hunter2-canary\n")
    settings = settings_of("mqtt: {password_file: password}\nstate: {url: 'postgresql+psycopg://u:canary@db/pdm'}\n")
    assert settings.mqtt_password() == "hunter2-canary"
    assert settings.state_url() == "postgresql+psycopg://u:canary@db/pdm"
    assert "canary" not in repr(settings) + settings.model_dump_json()


def test_the_password_of_the_database_may_stand_beside_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDM_STATE__PASSWORD", "a@b/c")
    assert settings_of("state: {url: 'postgresql://u@db/pdm'}\n").state_url() == (
        "postgresql+psycopg://u:a%40b%2Fc@db/pdm"
    )
    for url, wrong in (("postgresql://u:x@db/pdm", "has a password already"), ("sqlite:///x.db", "names no user")):
        with pytest.raises(ConfigurationError, match=rf"state\.password: is set, but state\.url {wrong}"):
            settings_of(f"state: {{url: '{url}'}}\n").state_url()


@pytest.mark.parametrize("url", ["mysql://u:canary@db/pdm", "canary", "postgresql://u:canary@db:canary/pdm"])
def test_a_url_of_no_state_database_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"state\.url: is no URL of a state database: expected") as caught:
        settings_of(f"state: {{url: '{url}'}}\n").state_url()
    assert "canary" not in str(caught.value)


def test_a_wrong_secret_is_not_shown_in_the_error() -> None:
    assert "canary" not in complaint_about("mqtt:\n  password: [canary]\n")


def test_a_secret_given_twice_or_in_an_empty_file_is_refused() -> None:
    Path("empty").write_text("\n")
    twice = settings_of("mqtt: {password: a, password_file: empty}\n")
    with pytest.raises(ConfigurationError, match=r"mqtt\.password: is set, and so is its file"):
        twice.mqtt_password()
    with pytest.raises(ConfigurationError, match=r"empty: mqtt\.password_file: is empty"):
        settings_of("mqtt: {password_file: empty}\n").mqtt_password()


def test_secrets_of_routes_come_from_a_file_or_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("hook").write_text("whsec_abc\n")
    monkeypatch.setenv("HOOK_SECRET", "whsec_def")
    assert read_secret("hook", None) == "whsec_abc"
    assert read_secret(None, "HOOK_SECRET") == "whsec_def"
    with pytest.raises(ConfigurationError, match="environment variable MISSING is not set"):
        read_secret(None, "MISSING")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_address_needs_no_key(host: str) -> None:
    settings_of(f"http: {{host: '{host}'}}\n").check_exposure()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "pdm.example.com", "", "localhost.example.com"])  # noqa: S104
def test_any_other_address_refuses_to_start_without_a_key(host: str) -> None:
    exposed = settings_of(f"http: {{host: '{host}'}}\n")
    with pytest.raises(ConfigurationError, match=r"http\.host: .*set http\.api_keys_file"):
        exposed.check_exposure()


def test_any_address_may_be_listened_on_once_there_is_a_key() -> None:
    Path("keys").write_text(f"# planner\n{DIGEST}  -\n\n")
    exposed = settings_of("http: {host: 0.0.0.0, api_keys_file: keys}\n")
    exposed.check_exposure()
    assert exposed.api_key_hashes() == (DIGEST.lower(),)


def test_a_file_of_comments_only_is_no_key() -> None:
    Path("keys").write_text("# none yet\n")
    with pytest.raises(ConfigurationError, match="can be reached from other machines"):
        settings_of("http: {host: 0.0.0.0, api_keys_file: keys}\n").check_exposure()


def test_what_is_no_hash_of_a_key_is_refused_with_its_line_and_without_showing_it() -> None:
    Path("keys").write_text(f"{DIGEST} planner\ncanary\n")
    settings = settings_of("http: {api_keys_file: keys}\n")
    with pytest.raises(ConfigurationError, match="keys:2: expected the SHA-256 of an API key") as caught:
        settings.api_key_hashes()
    assert "canary" not in str(caught.value)


def test_every_setting_says_what_it_means() -> None:
    assert [row.key for row in setting_rows() if not row.meaning] == []


def test_the_documentation_has_exactly_the_settings_of_the_code() -> None:
    cells = [tuple(cell.strip() for cell in row) for row in setting_rows()]
    expected = [
        f"| `{key}` | `{env}` | {default and f'`{default}`'} | {meaning} |" for key, env, default, meaning in cells
    ]
    documented = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    assert documented == expected, "docs/settings.md: expected this table\n" + "\n".join(expected)


def test_a_store_of_readings_needs_its_token() -> None:
    Path("token").write_text("canary\n")
    named = settings_of("influx: {url: 'http://db:8086/', org: plant, token_file: token, retention: 400 d}\n")
    assert (named.influx.url, named.influx_token()) == ("http://db:8086", "canary")
    assert named.influx.retention_ms == 400 * 86_400_000
    with pytest.raises(ConfigurationError, match=r"influx\.token: is not set, but influx\.url is"):
        settings_of("influx: {url: 'http://db:8086'}\n").influx_token()
