"""Settings move out of users into a table of their own.

Down saves them back, as they are by then: what was changed meanwhile is kept.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002_preferences"
down_revision = "0001_country"

MISSING = "SELECT u.id FROM users AS u LEFT JOIN preferences AS p ON p.user_id = u.id WHERE p.user_id IS NULL"


def _lock(*tables: str) -> None:
    """Writers wait until the columns have moved: what they wrote between the copy and the drop would be lost."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")


def upgrade() -> None:
    _lock("users")
    op.create_table(
        "preferences",
        sa.Column("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("theme", sa.String(40)),
        sa.Column("notifications", sa.Boolean),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="preferences_user", ondelete="CASCADE"),
    )
    op.execute(
        "INSERT INTO preferences (user_id, theme, notifications) SELECT id, theme, notifications_enabled FROM users"
    )
    op.create_index("preferences_theme", "preferences", ["theme"])
    op.drop_column("users", "theme")
    op.drop_column("users", "notifications_enabled")


def verify(connection: sa.Connection) -> None:
    missing = connection.execute(sa.text(MISSING)).fetchmany(5)
    if missing:
        raise ValueError(f"users without a row in preferences: {', '.join(str(row.id) for row in missing)}")


def downgrade() -> None:
    _lock("users", "preferences")
    op.add_column("users", sa.Column("theme", sa.Text))
    op.add_column("users", sa.Column("notifications_enabled", sa.Boolean))
    op.execute(
        "UPDATE users SET theme = (SELECT p.theme FROM preferences AS p WHERE p.user_id = users.id),"
        " notifications_enabled = (SELECT p.notifications FROM preferences AS p WHERE p.user_id = users.id)"
        " WHERE EXISTS (SELECT 1 FROM preferences AS p WHERE p.user_id = users.id)"
    )
    op.drop_table("preferences")
