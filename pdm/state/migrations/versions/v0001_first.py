"""The tables of the first release."""

from alembic import op
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

revision = "0001"
down_revision = None

metadata = MetaData()

Table("meta", metadata, Column("key", String, primary_key=True), Column("value", Text, nullable=False))

Table(
    "counters",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

Table(
    "plant_versions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("version", String, nullable=False),
    Column("effective_ms", BigInteger, nullable=False),
    Column("plant_text", Text, nullable=False),
    Column("rules_text", Text, nullable=False),
)

Table(
    "cursors",
    metadata,
    Column("class_name", String, primary_key=True),
    Column("readings", Text, nullable=False),
    Column("marks", BigInteger, nullable=False),
)

Table(
    "marks",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("serial", String, nullable=False),
    Column("earliest_ms", BigInteger, nullable=False),
    Column("why", String, nullable=False),
)

Table(
    "events",
    metadata,
    Column("id", String, primary_key=True),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("serial", String, nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("recorded_ms", BigInteger, nullable=False),
    Column("who", String, nullable=False),
    Column("mode", String),
    Column("by_serial", String),
    Column("source", String),
    Column("note", Text),
    Column("value", Float),
    Column("voided", Boolean, nullable=False),
)

Table(
    "step_batches",
    metadata,
    Column("tick", BigInteger, primary_key=True, autoincrement=False),
    Column("class_name", String, primary_key=True),
    Column("recorded_ms", BigInteger, nullable=False),
    Column("columns", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("crc", BigInteger, nullable=False),
)

Table(
    "beliefs",
    metadata,
    Column("class_name", String, primary_key=True),
    Column("tick", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("crc", BigInteger, nullable=False),
)

Table(
    "checkpoints",
    metadata,
    Column("class_name", String, primary_key=True),
    Column("tick", BigInteger, primary_key=True, autoincrement=False),
    Column("frame", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("crc", BigInteger, nullable=False),
)

Table(
    "prognoses",
    metadata,
    Column("id", String, primary_key=True),
    Column("tick", BigInteger, nullable=False),
    Column("serial", String, nullable=False),
    Column("target", String, nullable=False),
    Column("step_start_ms", BigInteger, nullable=False),
    Column("twin_revision", Integer, nullable=False),
    Column("issued_ms", BigInteger, nullable=False),
    Column("exposure", Float, nullable=False),
    Column("basis", String, nullable=False),
    Column("refusal", String, nullable=False),
    Column("model", String, nullable=False),
    Column("plant_version", String, nullable=False),
    Column("quantiles", JSON, nullable=False),
    Column("mode", String),
    Column("duty_rate", Float),
    Column("preferred_ms", BigInteger),
    Index("prognoses_by_asset", "serial", "issued_ms"),
)

Table(
    "alerts",
    metadata,
    Column("id", String, primary_key=True),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("serial", String, nullable=False, index=True),
    Column("target", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("state", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("opened_exposure", Float),
    Column("updated_ms", BigInteger, nullable=False),
    Column("closed_ms", BigInteger),
    Column("acknowledged_by", String),
    Column("shelved_until_ms", BigInteger),
    Column("title", Text, nullable=False),
    Column("prognosis_id", String),
    Column("plant_version", String, nullable=False),
    Column("facts", JSON, nullable=False),
)

Table(
    "transitions",
    metadata,
    Column("alert_id", String, primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("who", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("severity", String, nullable=False),
)

Table(
    "deliveries",
    metadata,
    Column("id", String, primary_key=True),
    Column("alert_id", String, nullable=False, index=True),
    Column("ordinal", Integer, nullable=False),
    Column("route", String, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("message", LargeBinary),
    Column("attempts", Integer, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("claimed_until_ms", BigInteger),
    Column("result", Text),
)

Table(
    "recommendations",
    metadata,
    Column("id", String, primary_key=True),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("serial", String, nullable=False, index=True),
    Column("target", String, nullable=False),
    Column("alert_id", String),
    Column("prognosis_id", String),
    Column("state", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("body", JSON, nullable=False),
)

Table(
    "interventions",
    metadata,
    Column("id", String, primary_key=True),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("updated_ms", BigInteger, nullable=False),
    Column("serial", String, nullable=False, index=True),
    Column("target", String, nullable=False),
    Column("status", String, nullable=False),
    Column("advised", JSON, nullable=False),
    Column("committed", JSON),
    Column("attention", Text),
    Column("external", JSON, nullable=False),
    Column("outcome", JSON),
)

Table(
    "runs",
    metadata,
    Column("job", String, primary_key=True),
    Column("scheduled_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger),
    Column("outcome", String, nullable=False),
    Column("detail", Text),
)


def upgrade() -> None:
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    metadata.drop_all(op.get_bind())
