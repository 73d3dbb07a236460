"""Virtual tables (FTS, R-tree) as a script: made by their own text, filled through their shadow tables.

A virtual table's rows cannot always be read through it (contentless FTS), and reading them does not give its index. The
shadow tables are plain ones: with their rows the copy is the same to the byte. No trigger can be on a virtual table, so
what changes in one during a sync is not followed.
"""

from __future__ import annotations

import sqlite3

from runbook_lib.databases.sqlite import quoting

LARGEST_BYTES = 256 * 2**20  # of all shadow tables of one: the script is kept at the target until it has run
_SHADOWS = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow' AND name LIKE ? ESCAPE '\\'"


def listed(driver: sqlite3.Connection) -> list[tuple[str, str]]:
    """The virtual tables, in the order in which they were made: their names and texts."""
    sql = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%' ORDER BY rowid"
    return [(str(name), str(text)) for name, text in driver.execute(sql)]


def script(driver: sqlite3.Connection, name: str, sql: str) -> str:
    """The script that makes a virtual table as it is; "" where it is too large for a script."""
    pattern = name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%") + "\\_%"
    shadows = [row[0] for row in driver.execute(_SHADOWS, (pattern,))]
    lines = [f"{sql};"]
    size = 0
    for shadow in shadows:
        quoted = quoting.ident(shadow)
        columns = [row[0] for row in driver.execute("SELECT name FROM pragma_table_info(?)", (shadow,))]
        values = " || ', ' || ".join(f"quote({quoting.ident(column)})" for column in columns)
        into = f"INSERT INTO {quoted} ({', '.join(map(quoting.ident, columns))}) VALUES"
        lines.append(f"DELETE FROM {quoted};")
        for (row,) in driver.execute(f"SELECT {values} FROM {quoted}"):
            size += len(row)
            lines.append(f"{into} ({row});")
        if size > LARGEST_BYTES:
            return ""
    return "\n".join(lines)
