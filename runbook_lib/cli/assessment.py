"""A source checked before anything moves: `runbook assess`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runbook_lib.cli.base import PATH, NewFile, Number, environment_of, main, names_in
from runbook_lib.errors import ConfigurationError

if TYPE_CHECKING:
    from runbook_lib.assessment import Assessment

TABLE_SECONDS = "Seconds that a table of more than two million rows is read for, in parts spread over its keys."


@main.command()
@click.argument("source", required=False, default="")
@click.argument("target", required=False, default="")
@click.option("-f", "--file", type=PATH, help="Parameter file: its plan, or names of its inventory.")
@click.option("--tables", default=None, help="Only these tables of the source, with commas between them.")
@click.option("--table-seconds", default=20.0, type=Number(1, 86_400), show_default=True, help=TABLE_SECONDS)
@click.option("--json", "json_file", type=NewFile(), help="Write the whole assessment there.")
def assess(
    source: str, target: str, file: Path | None, tables: str | None, table_seconds: float, json_file: Path | None
) -> None:
    """Look for a source's pitfalls before anything moves: status 0 nothing to declare, 1 something, 2 could not look.

    Pitfalls are what a target would refuse, change or miss; each is said with the lines that declare it in the plan
    (docs/assessment.md). Without TARGET the source is checked as for its own engine; with -f FILE alone, what the plan
    declares counts.
    """
    found = _assessed(source, target, file, names_in(tables), table_seconds)
    for line in found.lines():
        click.echo(line)
    if json_file:
        json_file.write_text(found.to_json() + "\n")
    sys.exit(0 if found.passed else 1)


def _assessed(source: str, target: str, file: Path | None, tables: tuple[str, ...], table_s: float) -> Assessment:
    from runbook_lib.assessment import Bounds, assess
    from runbook_lib.config.database_url import open_endpoint
    from runbook_lib.transfer.implicit_plan import whole_plan

    if not source and not file:
        action = "runbook assess SOURCE [TARGET], or -f FILE for the plan's own databases"
        raise ConfigurationError("assess", "needs a source, or a parameter file", action=action)
    environment, bounds = environment_of(file) if file else None, Bounds(table_s=table_s)
    with ExitStack() as open_ones:
        if not source and environment is not None:
            plan = environment.plan
            databases = {n: environment.database(n) for n in (plan.source, *(s.database for s in plan.services))}
            for database in databases.values():
                open_ones.callback(database.close)
            reader = databases.pop(plan.source)
            _require_tables(tables, [m.source for s in plan.services for m in s.tables])
            return assess(plan, reader, databases, tables=tables, bounds=bounds)
        reader = open_endpoint(source, "source", environment)
        open_ones.callback(reader.close)
        targets = {}
        if target:
            targets["target"] = open_endpoint(target, "target", environment)
            open_ones.callback(targets["target"].close)
        plan = whole_plan(reader, targets.get("target", reader), tables)
        return assess(plan, reader, targets, bounds=bounds)


def _require_tables(tables: tuple[str, ...], known: list[str]) -> None:
    for name in tables:
        if name not in known:
            raise ConfigurationError(f"table {name}", "not in the plan", expected=", ".join(known))
