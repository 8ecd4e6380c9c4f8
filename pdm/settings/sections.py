"""The sections of the settings, each with its keys, their defaults and meanings."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from pdm.plant.entry_types import Duration, Entry, LongerThanNothing

T = TypeVar("T")


def _separated_by_commas(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _web_address(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError(f"expected an address such as https://pdm.example.com, not {text!r}")
    return text.rstrip("/")


Several = Annotated[tuple[T, ...], NoDecode, BeforeValidator(_separated_by_commas)]
"""A list; in the environment, and as one value of the file, separated by commas."""

Port = Annotated[int, Field(ge=0, le=65535)]


class StateSettings(Entry):
    """The state database: steps, beliefs, and what people were told."""

    url: SecretStr | None = Field(
        default=None,
        description="URL of the database, `postgresql+psycopg://USER@HOST/DATABASE`; empty: `state.db` in `data_dir`",
    )
    url_file: Path | None = Field(default=None, description="file that holds `url`")
    password: SecretStr | None = Field(default=None, description="password of the user in `url`")
    password_file: Path | None = Field(default=None, description="file that holds `password`")


class ReadingsSettings(Entry):
    """The reading store."""

    folder: Path | None = Field(default=None, description="folder of the reading logs; empty: `readings` in `data_dir`")
    drop_folder: Path | None = Field(
        default=None, description="folder whose files of readings are imported as they appear; empty: none"
    )


class InfluxSettings(Entry):
    """InfluxDB 2 as the store of readings; the reading logs are then the spool in front of it."""

    url: Annotated[str, AfterValidator(_web_address)] | None = Field(
        default=None,
        description="address of InfluxDB, for example `http://127.0.0.1:8086`; empty: the logs are the store",
    )
    org: str = Field(default="", description="organization that the bucket belongs to")
    bucket: str = Field(default="pdm-twin", description="bucket of the readings; made if it is not there", min_length=1)
    token: SecretStr | None = Field(default=None, description="token that may read and write the bucket")
    token_file: Path | None = Field(default=None, description="file that holds `token`")
    retention_ms: LongerThanNothing | None = Field(
        default=None,
        alias="retention",
        description="how long the bucket keeps readings, for example `400 d`; empty: for good",
    )
    timeout_ms: LongerThanNothing | None = Field(
        default=None, alias="timeout", description="longest wait for an answer, for example `60 s`; empty: 30 s"
    )
    spool_mb: int = Field(
        default=2_000, gt=0, description="MB of readings that may wait in each log; then no more are acknowledged"
    )


class AdoptSettings(Entry):
    """A bucket of InfluxDB that others write: new readings in it are taken, and it is never written to."""

    url: Annotated[str, AfterValidator(_web_address)] | None = Field(
        default=None, description="address of an InfluxDB in which others write a bucket of readings; empty: none"
    )
    org: str = Field(default="", description="organization that this bucket belongs to")
    bucket: str = Field(default="", description="bucket that others write; it is only read")
    token: SecretStr | None = Field(default=None, description="token that may read this bucket")
    token_file: Path | None = Field(default=None, description="file that holds `token`")
    measurements: Several[str] = Field(default=(), description="measurements to read; empty: all")
    interval_ms: LongerThanNothing | None = Field(
        default=None, alias="interval", description="time between two looks, for example `1 min`; empty: 30 s"
    )
    overlap_ms: LongerThanNothing | None = Field(
        default=None,
        alias="overlap",
        description="how far before the newest reading of its machine one may be and still be found; empty: 15 min",
    )


class TlsSettings(Entry):
    """TLS towards the broker."""

    enabled: bool = Field(default=False, description="whether to speak TLS with the broker")
    ca_file: Path | None = Field(
        default=None, description="PEM file of the authority to trust; empty: those of the system"
    )
    cert_file: Path | None = Field(default=None, description="PEM file of the client certificate")
    key_file: Path | None = Field(default=None, description="PEM file of the key of `cert_file`")


class MqttSettings(Entry):
    """The broker that readings come from."""

    enabled: Literal["auto", "on", "off"] = Field(
        default="auto", description="`auto` goes on without a broker if none answers at start, `on` waits for it"
    )
    host: str = Field(default="127.0.0.1", description="name or address of the broker")
    port: Port = Field(default=1883, description="port of the broker (TLS usually 8883)")
    topics: Several[str] = Field(default=("pdm/#",), description="topic filters to subscribe to", min_length=1)
    username: str | None = Field(default=None, description="user at the broker")
    password: SecretStr | None = Field(default=None, description="password of `username`")
    password_file: Path | None = Field(default=None, description="file that holds `password`")
    tls: TlsSettings = TlsSettings()
    client_id: str = Field(
        default="pdm-twin", description="client id; the broker keeps the session under it", min_length=1
    )
    shared_group: str | None = Field(
        default=None, description="subscribe as `$share/<group>/`, so that the ingesting processes of all hosts share"
    )
    processes: int = Field(
        default=1, ge=1, le=32, description="how many ingesting processes `up` starts; they divide the messages"
    )
    epoch_unit: Literal["s", "ms", "us", "ns"] = Field(default="ms", description="unit of a `ts` that is a number")


class HttpSettings(Entry):
    """API and pages."""

    host: str = Field(
        default="127.0.0.1", description="address to listen on; any but a loopback address needs API keys"
    )
    port: Port = Field(default=8421, description="port to listen on; 0 picks a free one")
    api_keys_file: Path | None = Field(
        default=None,
        description="file with the SHA-256 of one API key a line, then its name if you like; `#` starts a comment",
    )
    public_url: Annotated[str, AfterValidator(_web_address)] | None = Field(
        default=None, description="address under which people reach the pages, for the links in messages"
    )


class TickSettings(Entry):
    """The job that brings twins up to date."""

    interval_ms: Duration | None = Field(
        default=None,
        alias="interval",
        description="time between two ticks, for example `30 s`; empty: as `pipelines/tick.py` says (60 s)",
    )


class PipelineSettings(Entry):
    """Where the work of a tick is done."""

    backend: Annotated[str, Field(pattern=r"^(threads|processes|dask://.+:\d+)$")] = Field(
        default="threads",
        description="where learned forecasts are worked out: `threads`, `processes` or `dask://HOST:PORT`",
    )
    workers: int | None = Field(
        default=None, ge=1, description="into how many parts they are divided; empty: one for each core of this machine"
    )


class NotifySettings(Entry):
    """Messages to people and systems; their routes stand in the rules file."""

    allow_private: Several[IPv4Network | IPv6Network] = Field(
        default=(), description="networks (CIDR) in which a webhook may be although they are private, at any port"
    )
    heartbeat_url: SecretStr | None = Field(
        default=None,
        description="address to call after each good tick, so that a watchdog elsewhere notices when none comes",
    )
    heartbeat_url_file: Path | None = Field(default=None, description="file that holds `heartbeat_url`")


class LogSettings(Entry):
    """The log of the service, on standard output."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe level that is shown"
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: `console` on a terminal, else JSON"
    )
