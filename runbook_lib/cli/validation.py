"""Two databases compared: `runbook compare` and `runbook repair`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runbook_lib.cli.base import PATH, NewFile, Number, environment_of, main, names_in
from runbook_lib.errors import ConfigurationError

if TYPE_CHECKING:
    from runbook_lib.databases.port import Catalogs, Database
    from runbook_lib.plan.model import Plan, Tolerance
    from runbook_lib.transfer.links import Link
    from runbook_lib.validation import Record, Report
    from runbook_lib.validation.readable_tables import SkippedTables

RESUME = "Hours for which what an interrupted comparison has read may be taken over."
SETTLE = "Seconds in which a difference may vanish while writes continue; 0: nobody writes."


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    """The arguments of both commands."""
    for decorate in reversed((
        click.argument("source", required=False, default=""),
        click.argument("target", required=False, default=""),
        click.option("-f", "--file", type=PATH, help="Parameter file: its plan, or names of its inventory."),
        click.option("--tables", default=None, help="Only these tables, with commas between them."),
        click.option("--settle", default=2.0, type=Number(0, 3600), show_default=True, help=SETTLE),
        click.option("--jobs", default=2, type=click.IntRange(1, 64), show_default=True, help="Statements a side."),
    )):  # fmt: skip
        command = decorate(command)
    return command


@main.command()
@_shared
@click.option("--checks", default=None, help="Only these checks, with commas between them; the default is all six.")
@click.option("--json", "json_file", type=NewFile(), help="Write the whole report there.")
@click.option("--again", is_flag=True, help="Take nothing over from a comparison that was interrupted.")
@click.option("--resume-within", default=4.0, type=Number(0), show_default=True, help=RESUME)
def compare(
    source: str,
    target: str,
    file: Path | None,
    tables: str | None,
    jobs: int,
    settle: float,
    checks: str | None,
    json_file: Path | None,
    again: bool,
    resume_within: float,
) -> None:
    """Compare two databases by six checks, or the plan's with -f FILE: status 0 same, 1 different, 2 could not tell.

    Beside a followed copy it says when no sync runs, and rows that wait for one differ. Interrupted and run again
    within 4 hours it reads the ranges that are left; --again reads all.
    """
    from runbook_lib.validation import Record
    from runbook_lib.validation.report.as_text import report_lines

    chosen = _checks(checks)
    with _sides(source, target, file, names_in(tables)) as sides:
        record = Record(sides.folder / "comparisons", resume_within * 3600, again)
        report = _compare(sides, chosen, jobs, settle, record)
    for line in report_lines(report):
        click.echo(line)
    if json_file:
        json_file.write_text(report.to_json() + "\n")
    sys.exit(report.outcome.exit_status)


@main.command()
@_shared
@click.option("--apply", "apply", is_flag=True, help="Write; without it only what would be done is said.")
def repair(
    source: str, target: str, file: Path | None, tables: str | None, jobs: int, settle: float, apply: bool
) -> None:
    """Copy the rows that differ again, just those, and compare them: a dry run unless --apply is given.

    Rows of a table without a key are made as many as at the source; such a table that is written to meanwhile is
    refused.
    """
    from runbook_lib.validation.repair import repair as copy_again

    with _sides(source, target, file, names_in(tables)) as sides:
        report = _compare(sides, ("checksums",), jobs, settle)
        done = [copy_again(link, report, dry_run=not apply) for link in sides.links]
    for one in done:
        for line in one.lines:
            click.echo(line)
    refused = {table for one in done for table in one.refused}
    for result in report.results:
        for table, why in result.errors.items():
            if table not in refused:  # its line says more
                click.echo(f"? {table} could not be compared: {why}")
    hopeless = bool(sides.out.missing) or any(one.not_repairable or one.refused for one in done)
    if any(result.errors for result in report.results):
        sys.exit(2)
    sys.exit(1 if hopeless or any(one.left or (one.dry_run and one.planned) for one in done) else 0)


@dataclass(frozen=True)
class _Sides:
    """What is compared, what the plan tolerates, and where this program keeps its state."""

    links: tuple[Link, ...]
    out: SkippedTables
    tolerances: tuple[Tolerance, ...] = ()
    plan: Plan | None = None
    folder: Path = Path(".runbook")
    catalogs: Mapping[str, Catalogs] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def _sides(source: str, target: str, file: Path | None, tables: Sequence[str]) -> Iterator[_Sides]:
    from concurrent.futures import ThreadPoolExecutor

    from runbook_lib.config.database_url import open_endpoint
    from runbook_lib.databases.adapter_helpers import one_database
    from runbook_lib.validation.comparison import compared_pair, planned

    if bool(source) != bool(target) or not (source or file):
        command = click.get_current_context().info_name or "compare"
        action = f"runbook {command} SOURCE TARGET, or -f FILE for the plan's own databases"
        raise ConfigurationError(command, "needs two databases, or a parameter file", action=action)
    environment = environment_of(file) if file else None
    with ExitStack() as open_ones:
        if not source and environment is not None:
            plan, folder = environment.plan, environment.root / ".runbook"
            names = dict.fromkeys([plan.source, *(service.database for service in plan.services)])
            databases = {name: environment.database(name) for name in names}
            for database in databases.values():
                open_ones.callback(database.close)
            pair = planned(plan, databases[plan.source], databases, environment.quarantine, tables)
            _report_unseen(*databases.values())
            yield _Sides(pair.links, pair.out, tuple(plan.tolerances), plan, folder, pair.catalogs, plan.types)
            return
        reader = open_endpoint(source, "source", environment)
        open_ones.callback(reader.close)
        writer = open_endpoint(target, "target", environment)
        open_ones.callback(writer.close)
        with ThreadPoolExecutor(1) as pool:  # locks take log-ins of their own: meanwhile the catalogs are read
            one = pool.submit(one_database, reader, writer)
            pair = compared_pair(reader, writer, tables, _followed(reader, writer))
        if one.result():
            raise _itself(reader, writer)
        _report_unseen(reader, writer)
        yield _Sides(pair.links, pair.out, catalogs=pair.catalogs, types=pair.types)


def _followed(reader: Database, writer: Database) -> str:
    """The name of this folder's followed copy between them; "" where there is none."""
    from runbook_lib.cli.transfer import COPIES, copies_journal

    if not COPIES.exists():
        return ""
    from runbook_lib.operations.replicate import service_of

    with copies_journal() as journal:
        return service_of(journal, reader, writer)


def _report_unseen(*databases: Database) -> None:
    """What a login is not shown cannot be compared; rows that it may not read are each check's own error."""
    for problem in (problem for database in databases for problem in database.privileges_missing("reader")):
        if not problem.blocking:
            click.echo(f"· {problem.subject}: {problem.text}", err=True)


def _itself(reader: Database, writer: Database) -> ConfigurationError:
    names = list(dict.fromkeys((reader.masked_url, writer.masked_url)))
    seen = f"both are {names[0]}" if len(names) == 1 else f"{' and '.join(names)} are one database"
    action = "name two databases: one is always the same as itself"
    return ConfigurationError("source and target", seen, action=action)


def _compare(sides: _Sides, checks: Sequence[str], jobs: int, settle_s: float, record: Record | None = None) -> Report:
    from runbook_lib.display.live_line import LiveLine
    from runbook_lib.validation import ValidationOptions, validate
    from runbook_lib.validation.readable_tables import with_left_out

    with LiveLine("compare", stderr=True, every_s=2.0) as screen:
        report = validate(
            sides.links,
            ValidationOptions(
                checks=checks,
                tolerances=sides.tolerances,
                types=sides.types,
                require=sides.plan.require if sides.plan else (),
                jobs=jobs,
                under_writes=settle_s > 0,
                settle_s=settle_s,
                record=record,
                catalogs=sides.catalogs,
                on_progress=lambda at: screen.progress(at.at, at.of, at.table, step=at.check, unit=at.unit),
            ),
        )
    return with_left_out(report, sides.out)


def _checks(text: str | None) -> tuple[str, ...]:
    from difflib import get_close_matches

    from runbook_lib.validation import ALL

    chosen = names_in(text, "--checks")
    for name in chosen:
        if name not in ALL:
            near = get_close_matches(name, ALL, 1)
            action = f"did you mean `{near[0]}`?" if near else "choose among them"
            raise ConfigurationError(
                f"check {name}", "there is none of this name", expected=", ".join(ALL), action=action
            )
    return chosen or ALL
