"""The tables of the first release, as the SQL files beside this one make them. Never edited after a release."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    dialect = op.get_bind().dialect.name
    path = Path(__file__).with_name(f"v0001_{dialect}.sql")
    for statement in path.read_text(encoding="utf-8").split(";\n"):
        if statement.strip():
            op.execute(statement)
