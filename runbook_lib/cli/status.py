"""Where copies and runs stand: `runbook status`. Journals say what was done; the databases say who has the writes."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runbook_lib.cli.base import PATH, environment_of, main
from runbook_lib.cli.transfer import COPIES
from runbook_lib.errors import ConfigurationError, RunbookError

if TYPE_CHECKING:
    from runbook_lib.config.environment import Environment
    from runbook_lib.databases.port import Database
    from runbook_lib.journal import History, Journal, RunRow
    from runbook_lib.journal.kinds import CopyOpened
    from runbook_lib.transfer.databases_status import DatabasesStatus, Place

DEMO = Path("parameters/demo.yaml")
WIDTH = 80
_OVER = ("rolled_back", "done", "superseded")  # waits for nobody
_FILE = "Parameter file: only its environment. Without it: this folder's copies, and the demo's runs."


@main.command()
@click.argument("run_id", metavar="[RUN]", required=False, default="")
@click.option("-f", "--file", "file", type=PATH, default=None, help=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON on the standard output.")
def status(run_id: str, file: Path | None, as_json: bool) -> None:
    """Say of each copy and run who has the writes, who is fenced, how far the sync is, and whom it waits for.

    Without RUN all are listed, the newest first; with RUN that one is shown with its phases and steps. It is read from
    the journals and from the databases themselves: which side is fenced, whether the rollback path is open. A database
    that does not answer is said not to.
    """
    found = [*_runs(file, run_id), *([] if file else _copies(run_id))]
    if not found:
        raise _nothing(file, run_id)
    if as_json:
        click.echo(json.dumps([each.as_dict() for each in found], indent=2, ensure_ascii=False))
        return
    for each in found:
        for line in each.lines():
            click.echo(line)


@dataclass(frozen=True)
class _Shown:
    """One run, or one copy, ready to be said.

    Attributes:
        waits: Whom or what it waits for, with the command that resumes it.
        detail: Its phases and steps.
        standing: What its databases say; None: they say nothing about it any more (it is over, or a newer one
        continues).
    """

    kind: str
    row: RunRow
    what: str
    waits: tuple[str, ...] = ()
    detail: tuple[str, ...] = ()
    standing: DatabasesStatus | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        row = {name: getattr(self.row, name) for name in ("run_id", "environment", "state", "actor", "created_at")}
        said = {"kind": self.kind, **row, **self.more, "waits": list(self.waits)}
        return {**said, "standing": self.standing.as_dict() if self.standing else None}

    def lines(self) -> Iterator[str]:
        row = self.row
        state = row.state.replace("_", " ")
        yield f"{self.kind} {row.run_id}: {state}; since {row.created_at[:16].replace('T', ' ')} UTC, {row.actor}"
        yield from _wrapped("", self.what)
        if self.standing:
            yield from _status_of_sides(self.standing)
        yield from self.detail
        for wait in self.waits:
            yield from _wrapped("waits", wait)


def _status_of_sides(found: DatabasesStatus) -> Iterator[str]:
    from runbook_lib.transfer.databases_status import account_text, log_text

    yield from _wrapped("writers", found.writers)
    for seen in found.every:
        yield from _wrapped("fence", f"{seen.place.name}: {seen.error}" if seen.error else str(seen.fences))
    for direction, seen in found.logs():
        yield from _wrapped("sync", f"{direction}: {log_text(seen)}")
    yield from _wrapped("rollback", found.rollback_path)
    for text in filter(None, map(account_text, found.targets)):
        yield from _wrapped("account", text)


def _wrapped(title: str, text: str) -> Iterator[str]:
    """A titled line, folded at 80 columns; a command stays whole, so that it can be copied."""
    words, _, command = text.partition(" Next: ")
    first, rest = f"  {title:<9}", " " * 11
    yield from textwrap.wrap(
        words, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    if command:
        yield f"{rest}Next: {command}"


def _nothing(file: Path | None, run_id: str) -> ConfigurationError:
    if run_id:
        return ConfigurationError(f"run {run_id}", "no such run or copy here", action="runbook status lists them")
    where = f"of {file}" if file else "in this folder"
    action = f"runbook run -f {file}" if file else "runbook run -f FILE, or runbook copy SOURCE TARGET --follow"
    return ConfigurationError("runbook status", f"there is no run or copy {where}", action=action)


# -- runs ---


def _runs(file: Path | None, run_id: str) -> Iterator[_Shown]:
    """The environment's runs, the newest first."""
    if file is None and not DEMO.is_file():
        return
    from runbook_lib.journal import Journal

    environment = environment_of(file or DEMO)
    url = environment.journal_url
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:") and not path.exists():  # reading it does not make one
        if file is not None and not run_id:
            raise ConfigurationError(f"journal {path}", "there is none yet", action=f"runbook run -f {file}")
        return
    with closing(Journal(url)) as journal:
        rows = [row for row in reversed(journal.runs()) if row.environment == environment.name]
        if run_id and file is not None and run_id not in {row.run_id for row in rows}:
            journal.run(run_id)  # says so where there is none at all
            raise ConfigurationError(f"run {run_id}", f"is not of {environment.name}", action="give its own -f FILE")
        current = rows[0].run_id if rows else ""  # the databases say how things stand now: that is the newest one's
        for row in rows:
            if run_id in ("", row.run_id):
                yield _run(journal, environment, row, detailed=bool(run_id), current=row.run_id == current)


def _run(journal: Journal, environment: Environment, row: RunRow, *, detailed: bool, current: bool) -> _Shown:
    from runbook_lib.display.terminal import history_of, phase_lines, phases_by_state, waiting
    from runbook_lib.plan.yaml_value import shown
    from runbook_lib.transfer.databases_status import ask_databases

    history = history_of(journal, row)
    over = row.state in _OVER
    file = shown(environment.parameter_file)
    waits = [] if over else list(waiting(row.run_id, history, file))
    waits += [] if over else _watch(journal, row, history, file)
    moves = bool(environment.plan.services or environment.plan.schema)  # an upgrade of fleets has no writers to ask for
    seen = ask_databases(*_places_of(environment)) if current and moves else None
    if holder := journal.holder(row.run_id):
        waits.append(holder)
    if seen and seen.side is not None and seen.side.name == "BETWEEN" and not over:
        waits.append(
            "nobody can write until the cutover resumes, or is undone."
            f" Next: runbook run -f {file}, or runbook rollback -f {file}"
        )
    elif not over and not waits:
        waits.append(f"somebody to resume it. Next: runbook run -f {file}")
    return _Shown(
        "run",
        row,
        f"plan {row.plan_path or environment.plan.path}",
        tuple(waits),
        tuple(phase_lines(journal, row, history)) if detailed or not over else (),
        seen,
        {"plan": row.plan_path, "phases": phases_by_state(row, history)},
    )


def _watch(journal: Journal, row: RunRow, history: History, file: str) -> list[str]:
    """The stability period that is not over, and who watches it."""
    from runbook_lib.monitoring.long_watch import LEASE, standing, when

    found, now = standing(journal, row.run_id), time.time()
    if found is None or history.step_passed(found.step):
        return []
    if found.over:
        return [f"somebody to end the stability period, which is over. Next: runbook run -f {file}"]
    text = f"the stability period: {found.text(now)}; due {when(found.due(now))} at the earliest"
    holder = journal.holder(row.run_id, LEASE)
    alone = f"; no watcher runs, and what nobody watches does not count. Next: runbook watch -f {file}"
    return [f"{text}; watcher: {holder}" if holder else text + alone]


def _places_of(environment: Environment) -> tuple[Place, list[Place]]:
    from runbook_lib.transfer.databases_status import Place

    plan = environment.plan
    source = Place(
        "source",
        plan.source,
        partial(environment.database, plan.source),
        tuple(dict.fromkeys(m.source for service in plan.services for m in service.tables)),
        tuple((s.name, tuple(dict.fromkeys(m.source for m in s.tables))) for s in plan.services),
    )
    targets = [
        Place(
            "target",
            service.database,
            partial(environment.database, service.database),
            tuple(m.target for m in service.tables),
            ((f"{service.name}_back", tuple(m.target for m in service.tables if m.reverse or not m.derived)),),
        )
        for service in plan.services
    ]
    return source, targets


# -- copies ---


def _copies(run_id: str) -> Iterator[_Shown]:
    """The followed copies of this folder, the newest first."""
    if not COPIES.exists():
        return
    from runbook_lib.journal import Journal
    from runbook_lib.operations.replicate import known_copy

    with closing(Journal(f"sqlite:///{COPIES.resolve()}")) as journal:
        for row in reversed(journal.runs()):
            copy = known_copy(journal, row.run_id) if run_id in ("", row.run_id) else None
            if copy is not None:
                yield _copy(journal, row, copy)


def _copy(journal: Journal, row: RunRow, copy: CopyOpened) -> _Shown:
    from runbook_lib.display.terminal import history_of, newer
    from runbook_lib.transfer.databases_status import ask_databases

    over, both = row.state in _OVER, f"{copy.source} {copy.target}"
    tables = copy.tables if copy.followed is None else copy.followed
    seen = None if over else ask_databases(*_places_of_copy(row, copy, tables))
    waits = []
    if holder := journal.holder(row.run_id):
        waits.append(holder)
    elif seen and seen.side is not None and seen.side.name == "BETWEEN":
        waits.append(
            f"nobody can write until the move resumes, or the writers return. Next: runbook cutover {both} --switch CMD"
        )
    elif seen and any(log.syncs[0] < log.syncs[1] for _, log in seen.logs()):
        waits.append(f"a sync. Next: runbook copy {both} --follow")
    history = history_of(journal, row)
    changes = () if over else history.schema_changes
    waits += [f"an answer to a change of the schema: {text}. Next: runbook follow apply-ddl {both}" for text in changes]
    waits += newer(history)
    more = {"source": copy.source, "target": copy.target, "tables": list(tables), "gone": list(copy.gone)}
    gone = f"; followed no more, their rows stay at the other side: {', '.join(copy.gone)}" if copy.gone else ""
    return _Shown("copy", row, f"{copy.source} → {copy.target}{gone}", tuple(waits), standing=seen, more=more)


def _places_of_copy(row: RunRow, copy: CopyOpened, tables: tuple[str, ...]) -> tuple[Place, list[Place]]:
    from runbook_lib.transfer.databases_status import Place

    channel = copy.service or row.environment

    def place(role: str, address: str, log: str, service: str = "") -> Place:
        return Place(role, role, partial(_opened, address, role), tables, ((log, tables),), service)

    return place("source", copy.source, channel), [place("target", copy.target, f"{channel}_back", channel)]


def _opened(address: str, role: str) -> Database:
    """The database of a copy; its password is looked up again: no journal has one."""
    from runbook_lib.config.database_url import open_endpoint

    try:
        return open_endpoint(address.replace(":***@", "@"), role)
    except RunbookError as error:
        raise ConfigurationError(role, error.observed, action=f"RUNBOOK_{role.upper()}_PASSWORD") from error
