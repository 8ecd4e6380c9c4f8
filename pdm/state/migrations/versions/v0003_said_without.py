"""What was told keeps when something older came to be known that it was told without. Down: that is lost."""

from alembic import op
from sqlalchemy import BigInteger, Column

revision = "0003"
down_revision = "0002"

_TABLES = ("prognoses", "recommendations")


def upgrade() -> None:
    for name in _TABLES:
        op.add_column(name, Column("said_without_ms", BigInteger))


def downgrade() -> None:
    for name in _TABLES:
        with op.batch_alter_table(name) as table:
            table.drop_column("said_without_ms")
