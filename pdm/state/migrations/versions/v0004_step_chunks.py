"""Steps are merged by machine. Down is refused once some are: the version before cannot read them."""

from alembic import op
from sqlalchemy import JSON, BigInteger, Column, LargeBinary, String, text

from pdm.errors import StoreError

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "step_chunks",
        Column("class_name", String, primary_key=True),
        Column("serial", String, primary_key=True),
        Column("last_tick", BigInteger, primary_key=True, autoincrement=False),
        Column("last_recorded_ms", BigInteger, nullable=False),
        Column("columns", JSON, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("crc", BigInteger, nullable=False),
    )
    _let_bodies_be_missing(True)
    op.create_index("step_batches_by_time", "step_batches", ["class_name", "recorded_ms"])


def downgrade() -> None:
    if op.get_bind().execute(text("SELECT count(*) FROM step_chunks")).scalar():
        raise StoreError("steps have been merged by machine, which schema 0003 cannot hold: restore an older backup")
    op.drop_index("step_batches_by_time", "step_batches")
    _let_bodies_be_missing(False)
    op.drop_table("step_chunks")


def _let_bodies_be_missing(nullable: bool) -> None:
    with op.batch_alter_table("step_batches") as batches:
        batches.alter_column("body", existing_type=LargeBinary(), nullable=nullable)
        batches.alter_column("crc", existing_type=BigInteger(), nullable=nullable)
