"""Every setting of the service, once, with its default and meaning: the only module that reads the environment and
settings files.

What counts, the strongest first: what the program itself passes, the environment (`PDM_HTTP__PORT`), the file
`pdm.yaml`, the default below. Relative paths start from the working folder.
"""

import os
import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from pdm.errors import ConfigurationError, ConfigurationFileError
from pdm.plant.entry_types import expectation
from pdm.plant.marked_yaml import Document, did_you_mean
from pdm.settings.sections import (
    AdoptSettings,
    HttpSettings,
    InfluxSettings,
    LogSettings,
    MqttSettings,
    NotifySettings,
    PipelineSettings,
    ReadingsSettings,
    Several,
    StateSettings,
    TickSettings,
)
from pdm.state.engines import parsed_url

DEFAULT_FILE = Path("pdm.yaml")
_PREFIX = "PDM_"
_SHA_256 = re.compile(r"[0-9a-fA-F]{64}")
_NOT_SETTINGS = frozenset({"PDM_DATA"})  # where tests and benchmarks find public data sets


class Settings(BaseSettings):
    """All settings. Make them by `load_settings`, which says what is wrong in words that help."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", env_ignore_empty=True, extra="forbid", frozen=True
    )

    data_dir: Path = Field(default=Path("pdm-data"), description="folder of everything that the service keeps")
    plant: Path = Field(default=Path("plant.yaml"), description="the plant file")
    rules: Path = Field(default=Path("rules.yaml"), description="the file of alert rules and routes")
    models: Several[Path] = Field(
        default=(),
        description="folders of trained models, the first that has a class counts; the shipped ones come last",
    )
    pipelines: Path | None = Field(default=None, description="folder of the scheduled jobs; empty: the shipped ones")
    state: StateSettings = StateSettings()
    readings: ReadingsSettings = ReadingsSettings()
    influx: InfluxSettings = InfluxSettings()
    adopt: AdoptSettings = AdoptSettings()
    mqtt: MqttSettings = MqttSettings()
    http: HttpSettings = HttpSettings()
    tick: TickSettings = TickSettings()
    pipeline: PipelineSettings = PipelineSettings()
    notify: NotifySettings = NotifySettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Of the sources that the library has, the program and the environment; `load_settings` adds the file."""
        return init_settings, env_settings

    def state_url(self) -> str:
        """SQLAlchemy URL of the state database, with its password.

        Raises:
            ConfigurationError: it is no such URL, or a secret is missing or given twice.
        """
        given = _secret(self.state.url, self.state.url_file, "state.url")
        password = _secret(self.state.password, self.state.password_file, "state.password")
        parsed = parsed_url(given or f"sqlite:///{self.data_dir / 'state.db'}")
        if password is None:
            return parsed.render_as_string(hide_password=False)
        if not parsed.username or parsed.password is not None:
            wrong = "names no user" if not parsed.username else "has a password already"
            raise ConfigurationError(f"is set, but state.url {wrong}", key="state.password")
        return parsed.set(password=password).render_as_string(hide_password=False)

    def readings_folder(self) -> Path:
        """Folder of the reading logs."""
        return self.readings.folder or self.data_dir / "readings"

    def influx_token(self) -> str:
        """Token for InfluxDB.

        Raises:
            ConfigurationError: none is set.
        """
        token = _secret(self.influx.token, self.influx.token_file, "influx.token")
        if token is None:
            raise ConfigurationError("is not set, but influx.url is: expected a token of InfluxDB", key="influx.token")
        return token

    def adopt_token(self) -> str:
        """Token for the bucket that others write.

        Raises:
            ConfigurationError: none is set, or no bucket is named.
        """
        token = _secret(self.adopt.token, self.adopt.token_file, "adopt.token")
        if token is None or not self.adopt.bucket:
            key = "adopt.bucket" if token is not None else "adopt.token"
            raise ConfigurationError("is not set, but adopt.url is", key=key)
        return token

    def mqtt_password(self) -> str | None:
        """Password at the broker, if one is set."""
        return _secret(self.mqtt.password, self.mqtt.password_file, "mqtt.password")

    def heartbeat_url(self) -> str | None:
        """Address of the watchdog, if one is set."""
        return _secret(self.notify.heartbeat_url, self.notify.heartbeat_url_file, "notify.heartbeat_url")

    def model_folders(self) -> tuple[Path, ...]:
        """Where trained models are looked for, in this order."""
        return *self.models, self.taken_models_folder(), shipped_folder("trained_models")

    def own_models_folder(self) -> Path:
        """Where models go that are trained here."""
        return (*self.models, self.taken_models_folder())[0]

    def taken_models_folder(self) -> Path:
        """Where models go that other hosts share."""
        return self.data_dir / "models"

    def pipelines_folder(self) -> Path:
        """Where the scheduled jobs are."""
        return self.pipelines or shipped_folder("pipelines")

    def api_key_hashes(self) -> tuple[str, ...]:
        """SHA-256 of the API keys; none if no file is set.

        Raises:
            ConfigurationError: the file cannot be read, or holds something else.
        """
        if self.http.api_keys_file is None:
            return ()
        lines = _read_file(self.http.api_keys_file, "http.api_keys_file").splitlines()
        entries = {
            number: line.split() for number, line in enumerate(lines, start=1) if line.strip()[:1] not in ("", "#")
        }
        for number, (digest, *_) in entries.items():
            if not _SHA_256.fullmatch(digest):
                message = "expected the SHA-256 of an API key, 64 hexadecimal digits, and then a name if you like"
                raise ConfigurationError(message, file=str(self.http.api_keys_file), line=number)
        return tuple(digest.lower() for digest, *_ in entries.values())

    def check_exposure(self) -> None:
        """Refuse to be reachable from other machines without API keys.

        Raises:
            ConfigurationError: `http.host` is not a loopback address and there is no API key.
        """
        if not _is_loopback(self.http.host) and not self.api_key_hashes():
            raise ConfigurationError(
                f"{self.http.host} can be reached from other machines: set http.api_keys_file, or listen on 127.0.0.1",
                key="http.host",
            )


class SettingRow(NamedTuple):
    """One setting as the documentation shows it."""

    key: str
    environment: str
    default: str
    meaning: str


def load_settings(file: Path | None = None, given: Mapping[str, Any] = MappingProxyType({})) -> Settings:
    """Read all settings.

    Args:
        file: the settings file; None takes `pdm.yaml` of the working folder if there is one.
        given: settings that the program itself passes, nested as in the file.

    Raises:
        ConfigurationError: what is wrong, where, and what was expected.
    """
    chosen = file or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    document = Document("" if chosen is None else _read_file(chosen, None), str(chosen or DEFAULT_FILE))
    written = {key: value for key, value in document.data.items() if value is not None}

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource, **named: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            stronger = super().settings_customise_sources(settings_cls, *sources, **named)
            return *stronger, InitSettingsSource(settings_cls, written)

    wrong = list(_unknown_variables())
    try:
        loaded = Loaded(**given)
    except SettingsError as error:
        wrong.append(ConfigurationError(f"{error}: expected plain text or JSON", file="environment"))
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            _refuse(problem, document, wrong)
    if wrong or document.errors:
        raise ConfigurationFileError([*wrong, *document.errors])
    return loaded


def setting_rows() -> tuple[SettingRow, ...]:
    """Every setting, in the order in which the file has them."""
    return tuple(_rows(Settings, ()))


def shipped_folder(name: str) -> Path:
    """A folder that travels with the package: beside it in a checkout, inside it when installed."""
    package = Path(__file__).parents[1]
    installed = package / "_shipped" / name
    return installed if installed.is_dir() else package.parent / name


def read_secret(file: str | None, env: str | None) -> str:
    """The secret that a rules file points to.

    Raises:
        ConfigurationError: there is no such file or variable, or it is empty.
    """
    if file is not None:
        return _read_secret_file(Path(file), None)
    if not (value := os.environ.get(env or "", "").strip()):
        raise ConfigurationError(f"the environment variable {env} is not set, but a route needs the secret in it")
    return value


def _secret(value: SecretStr | None, file: Path | None, key: str) -> str | None:
    if value is not None and file is not None:
        raise ConfigurationError("is set, and so is its file: expected one of the two", key=key)
    if file is not None:
        return _read_secret_file(file, f"{key}_file")
    return None if value is None else value.get_secret_value()


def _read_secret_file(file: Path, key: str | None) -> str:
    if not (value := _read_file(file, key).strip()):
        raise ConfigurationError("is empty: expected a secret", file=str(file), key=key)
    if not value.isprintable():
        raise ConfigurationError("holds several lines: expected a secret alone", file=str(file), key=key)
    return value


def _read_file(file: Path, key: str | None) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", file=str(file), key=key) from None
    except UnicodeError:
        raise ConfigurationError("is not UTF-8 text", file=str(file), key=key) from None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _unknown_variables() -> Iterator[ConfigurationError]:
    """Variables that begin like ours and are none: the library looks inside known sections only."""
    for name in sorted(os.environ):
        if not name.startswith(_PREFIX) or name in _NOT_SETTINGS:
            continue
        key = name.removeprefix(_PREFIX).partition("__")[0].lower()
        if key not in Settings.model_fields:
            known = did_you_mean(key, Settings.model_fields)
            yield ConfigurationError(f"is not a setting{known}", file="environment", key=name)


def _refuse(problem: Mapping[str, Any], document: Document, wrong: list[ConfigurationError]) -> None:
    """Note a problem where its value came from: a variable of the environment, a line of the file, or the program."""
    path = problem["loc"]
    message = "is not a setting" if problem["type"] == "extra_forbidden" else _expectation(problem)
    if problem["type"] == "extra_forbidden":
        message += did_you_mean(str(path[-1]), _keys(path[:-1]))
    variables = (_variable(path[:length]) for length in range(len(path), 0, -1))
    if variable := next((name for name in variables if name in os.environ), None):
        wrong.append(ConfigurationError(message, file="environment", key=variable))
    elif document.at(path[0]) is not None:
        document.refuse(path, message)
    else:
        wrong.append(ConfigurationError(message, key=".".join(map(str, path))))


def _expectation(problem: Mapping[str, Any]) -> str:
    shown = {**problem, "input": "(hidden)"} if "secret" in problem["type"] else problem
    return expectation(shown)


def _variable(path: tuple[str | int, ...]) -> str:
    return _PREFIX + "__".join(map(str, path)).upper()


def _keys(path: tuple[str | int, ...]) -> tuple[str, ...]:
    model: type[BaseModel] = Settings
    for step in path:
        model = cast(type[BaseModel], model.model_fields[str(step)].annotation)
    return tuple(_written_name(name, field) for name, field in model.model_fields.items())


def _written_name(name: str, field: FieldInfo) -> str:
    return field.alias or name


def _rows(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[SettingRow]:
    for name, field in model.model_fields.items():
        here = (*path, _written_name(name, field))
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _rows(field.annotation, here)
        else:
            yield SettingRow(".".join(here), _variable(here), _shown(field.default), field.description or "")


def _shown(default: Any) -> str:
    if default is None or default == ():
        return ""
    return ", ".join(map(str, default)) if isinstance(default, tuple) else str(default).lower()
