"""The database itself refuses to change a revision, and to change or remove an event."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

RULES = (
    ("revision_never_changes", "UPDATE", "revision", "a revision never changes"),
    ("event_never_changes", "UPDATE", "event", "events are only added"),
    ("event_never_goes", "DELETE", "event", "events are only added"),
)


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    for name, verb, table, message in RULES:
        for statement in statements(dialect, name, verb, table, message):
            op.execute(statement)


def downgrade() -> None:
    dialect = op.get_bind().dialect.name
    for name, _, table, _ in RULES:
        if dialect == "postgresql":
            op.execute(f"DROP TRIGGER {name} ON {table}")
            op.execute(f"DROP FUNCTION {name}()")
        else:
            op.execute(f"DROP TRIGGER {name}")


def statements(dialect: str, name: str, verb: str, table: str, message: str) -> list[str]:
    if dialect == "sqlite":
        return [f"CREATE TRIGGER {name} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, '{message}'); END"]
    if dialect == "postgresql":
        body = f"BEGIN RAISE EXCEPTION '{message}'; END"
        return [
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
        ]
    signal = f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{message}'"
    return [f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW {signal}"]
