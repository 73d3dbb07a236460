# ruff: noqa: E501  a table is read along its line
"""A small schema with users and orders on every engine, folders of revisions, and what its data is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runbook_lib.config.environment import load_environment_file
from runbook_lib.databases import sqlite
from runbook_lib.databases.port import Database
from runbook_lib.run.run import Run, begin
from runbook_lib.schema.revisions.graph import current_version
from runbook_lib.steps import migrate_schema

EXAMPLE = Path(__file__).parents[1] / "parameters" / "revisions"
HEAD = "0003_latest_orders"
DDL = {
    "postgresql": """CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, theme text, notifications_enabled boolean);
CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint NOT NULL REFERENCES users (id), placed_at timestamptz);""",
    "mysql": """CREATE TABLE users (id bigint PRIMARY KEY, email varchar(200) NOT NULL, theme text, notifications_enabled boolean);
CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint NOT NULL, placed_at datetime,
 FOREIGN KEY (user_id) REFERENCES users (id));""",
    "sqlite": """CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, theme text, notifications_enabled boolean);
CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint NOT NULL REFERENCES users (id), placed_at text);""",
}  # fmt: skip
ROWS = (
    "INSERT INTO users (id, email, theme, notifications_enabled) VALUES (1, 'a@b', 'dark', true), (2, 'ü''%s:x', NULL, NULL),"
    " (3, 'c@d', '', false), (9007199254740993, 'e@f', 'a:b %', true)",
    "INSERT INTO orders VALUES (1, 1, '2026-01-01 10:00:00'), (2, 1, NULL), (3, 2, '2026-01-02 10:00:00')",
)
USERS = "SELECT id, email, theme, notifications_enabled FROM users ORDER BY id"


def fill(database: Database) -> Database:
    """Make the tables, with rows."""
    database.run_script(DDL[database.dialect])
    database.execute(*ROWS)
    return database


@contextmanager
def new_sqlite(directory: Path, name: str = "practice") -> Iterator[Database]:
    """A filled SQLite file."""
    database = sqlite.open_database(name, f"sqlite:///{directory / name}.db", None, {"create": True})
    try:
        yield fill(database)
    finally:
        database.close()


def write(folder: Path, **sections: str) -> Path:
    """Write one revision as SQL: `revision`, `revises`, `up`, and, where given, `verify` and `down`."""
    folder.mkdir(exist_ok=True)
    head = f"-- revision: {sections['revision']}\n-- revises: {sections.get('revises', 'base')}\n"
    head += f"-- transaction: {sections['transaction']}\n" if "transaction" in sections else ""
    body = "".join(f"-- {name}\n{sections[name]}\n" for name in ("up", "verify", "down") if name in sections)
    path = folder / f"{sections['revision']}.sql"
    path.write_text(head + body)
    return path


def users(database: Database) -> list[tuple[Any, ...]]:
    """The users as they were before any revision: booleans alike on every engine."""
    return [(*row[:3], None if row[3] is None else bool(row[3])) for row in database.rows(USERS)]


INVENTORY = """
databases: {{practice: {{url: "{url}", password: "env:PRACTICE_PASSWORD", options: {{lock_wait_s: 1.0}}}}}}
policy: {{approvals: {approvals}, signoffs: auto, window: ignore, triggers: report}}
journal: .runbook/journal.sqlite
evidence: evidence
"""


class Place:
    """A project's folder with one database and its revisions."""

    def __init__(self, root: Path, database: Database, monkeypatch: Any) -> None:
        self.root, self.database, self.file = root, database, root / "parameters/test.yaml"
        self.folder = root / "parameters/revisions"
        for folder in ("plans", "inventories", "revisions"):
            (root / "parameters" / folder).mkdir(parents=True)
        monkeypatch.setenv("PRACTICE_PASSWORD", getattr(getattr(database, "login", None), "password", "") or "none")
        self.file.write_text("environment: test\nplan: plans/p.yaml\ninventory: inventories/i.yaml\nrun_id: ''\n")
        (root / "parameters/plans/p.yaml").write_text(
            "migration: Test\nsource: practice\nschema: {to: head}\nlint: {table-rewrite: {policy: warn, because: it is small}}\n"
        )
        self.approvals("auto")

    def approvals(self, policy: str) -> None:
        text = INVENTORY.format(url=self.database.masked_url, approvals=policy)
        text = text.replace(', password: "env:PRACTICE_PASSWORD"', "") if self.database.dialect == "sqlite" else text
        (self.root / "parameters/inventories/i.yaml").write_text(text)

    def example(self) -> Place:
        for file in EXAMPLE.glob("0*"):
            (self.folder / file.name).write_text(file.read_text())
        return self

    def run(self) -> Run:
        return begin(load_environment_file(self.file), "schema_migration")

    def go(self, to: str = "", **more: Any) -> list[str]:
        """Migrate and pass the gate, as the notebook does; the names of the steps."""
        with self.run() as run:
            records = migrate_schema(run, to, **more)
            run.gate()
        return [record.name for record in records]

    def version(self) -> str:
        return current_version(self.database)
