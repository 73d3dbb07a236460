"""Two databases without a plan: `runbook copy`. Its writers are moved by `switchover.py`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runbook_lib.cli.base import PATH, NewFile, Number, environment_of, listed, main, names_in

if TYPE_CHECKING:
    from runbook_lib.databases.port import Database
    from runbook_lib.journal import Journal
    from runbook_lib.operations.pair import Pair

_ENDPOINTS = (
    click.argument("source"),
    click.argument("target"),
    click.option("-f", "--file", "file", type=PATH, help="Parameter file in whose inventory names are looked up."),
)
_JOBS, _ROWS = click.IntRange(1, 64), click.IntRange(1, 10_000_000)
_COUNT, _SECONDS = click.IntRange(0), Number(0)
_LIMITS = (
    click.option(
        "--throttle-file",
        type=PATH,
        default=Path(".runbook/throttle"),
        show_default=True,
        help="Copy and sync wait while it exists.",
    ),
    click.option("--source-sessions", default=0, type=_COUNT, help="They wait while more are at work at the source."),
    click.option("--target-sessions", default=0, type=_COUNT, help="The same at the target; 0: not checked."),
    click.option("--replica-lag-s", default=0.0, type=_SECONDS, help="They wait while a replica is farther behind."),
    click.option("--replica-lag-bytes", default=0, type=_COUNT, help="The same in bytes of PostgreSQL's log."),
    click.option("--replicas", default="", help="Replicas by their names in the inventory of -f, with commas."),
)
COPIES = Path(".runbook/copies.sqlite")


CAPTURE = click.Choice(["triggers", "wal"])
CAPTURE_HELP = "How changes of the {} are captured; wal: PostgreSQL's own log, without a trigger."


def endpoints(command: Any) -> Any:
    """SOURCE, TARGET and -f: databases by URL, file, or name."""
    for decorate in reversed(_ENDPOINTS):
        command = decorate(command)
    return command


def limits(command: Any) -> Any:
    """The limits of a copy; named as the options of a parameter file."""
    for decorate in reversed(_LIMITS):
        command = decorate(command)
    return command


@main.command()
@endpoints
@click.option("--tables", default=None, help="Only these, separated by commas; the default is all.")
@click.option("--jobs", default=2, type=_JOBS, show_default=True, help="Ranges, tables, indexes at a time.")
@click.option("--chunk-rows", default=250_000, type=_ROWS, show_default=True, help="Rows in a range.")
@click.option("--follow", is_flag=True, help="Capture changes from the start, and continue syncing until Ctrl-C.")
@click.option("--capture", type=CAPTURE, default=None, help=CAPTURE_HELP.format("source"))
@click.option(
    "--on-existing",
    "existing",
    type=click.Choice(["refuse", "keep", "empty", "drop"]),
    default="refuse",
    show_default=True,
    help="How tables that the target has already are handled.",
)
@click.option(
    "--on-bad-row",
    type=click.Choice(["stop", "quarantine"]),
    default="stop",
    show_default=True,
    help="Rows that the target refuses: stop, or quarantine them in .runbook/quarantine.",
)
@click.option("--type", "types", multiple=True, metavar="NAME=TYPE", help="A decision for a target of another engine.")
@click.option("--json", "json_file", type=NewFile(), help="Write the whole account there.")
@limits
def copy(
    source: str,
    target: str,
    file: Path | None,
    tables: str | None,
    follow: bool,
    capture: str | None,
    types: tuple[str, ...],
    on_bad_row: str,
    json_file: Path | None,
    **how: Any,
) -> None:
    """Copy a database without a plan: schema, rows, indexes, keys, sequences.

    Run again, it resumes where it was. What could not be made is named (status 1). It ends with an account of
    everything that the source has (docs/account.md); what is unaccounted is status 1. With --follow it captures changes
    and syncs until Ctrl-C; after a cutover the same command keeps the source current and copies nothing. It waits while
    the throttle file exists, and while a server is busier or a replica farther behind than allowed.
    """
    from runbook_lib.display.live_line import LiveLine
    from runbook_lib.operations.copy_database import clone
    from runbook_lib.operations.pair import How, pair_of

    chosen, screen, copied = names_in(tables), LiveLine("copy", reasons=True), [0, 0]

    def on_rows(done: int, total: int) -> None:
        copied[:] = done, total
        screen.progress(done, total)

    with (
        screen,
        open_both(source, target, file, create=True, capture={"source": capture}) as (reader, writer),
        _throttle(reader, writer, file, how, lambda reason: screen.progress(copied[0], copied[1], reason)) as pause,
    ):
        pair = pair_of(reader, writer, chosen, on_bad_row=on_bad_row, types=_types(types))
        if follow and how["existing"] == "refuse":
            if _follow_again(pair, pause):
                return
            pair = _as_followed(pair, chosen)
        done = clone(pair, How(tables=chosen, follow=follow, **how), screen.tell, on_rows, pause)
        for line in done.account.text_lines():
            screen.tell(line)
        if json_file:
            json_file.write_text(json.dumps(done.as_dict(), indent=2, ensure_ascii=False) + "\n")
        screen.tell(f"{done.tables} tables, {done.rows:,} rows ({done.rows_now:,} now) in {done.elapsed_s:.1f} s")
        if done.quarantined:
            screen.tell(
                f"{done.quarantined} rows were rejected, and are quarantined in .runbook/quarantine: `runbook replay`"
            )
        for one in done.left_behind:
            screen.tell(one.line)
        if follow:
            _follow(pair, chosen, pause)
    sys.exit(1 if done.quarantined or done.left_behind or done.account.unaccounted else 0)


@contextmanager
def _throttle(
    reader: Database, writer: Database, file: Path | None, how: dict[str, Any], on_reason: Callable[[str], None]
) -> Iterator[Callable[[], str]]:
    """When to wait, from the options of `limits`, which are taken out of `how`."""
    from runbook_lib.transfer.throttle import Limits, throttle

    tolerated = Limits(
        file=how.pop("throttle_file"),
        sessions={"source": how.pop("source_sessions"), "target": how.pop("target_sessions")},
        lag_s=how.pop("replica_lag_s"),
        lag_bytes=how.pop("replica_lag_bytes"),
    )
    names = listed(how.pop("replicas"))
    if names and not file:
        raise click.UsageError("--replicas: names of an inventory; -f says which")
    with ExitStack() as opened:
        replicas = [environment_of(file).database(name) for name in names if file]
        for replica in replicas:
            opened.callback(replica.close)
        yield throttle(tolerated, {"source": [reader], "target": [writer]}, replicas, on_reason)


def _follow(pair: Pair, tables: tuple[str, ...], pause: Callable[[], str]) -> None:
    from runbook_lib.operations.replicate import follow, open_clone
    from runbook_lib.run.context import acting_person

    with copies_journal() as journal:
        follow(pair, journal, open_clone(journal, pair, tables, acting_person()), click.echo, pause=pause, last=True)


def _follow_again(pair: Pair, pause: Callable[[], str]) -> bool:
    """Keep the source current after a cutover; False: this folder knows of none, and nothing was done."""
    from runbook_lib.operations.replicate import follow, known_clone
    from runbook_lib.transfer.writers import Side

    if not COPIES.exists():
        return False
    with copies_journal() as journal:
        known = known_clone(journal, pair)
        if known is None or not (writers := known[0].writers()).source.fenced:
            return False
        if writers.require(f"{pair.source.name} to {pair.target.name}", Side.TARGET, Side.BETWEEN) is Side.BETWEEN:
            return False
        click.echo("the target has the writes: nothing is copied, and the source is kept current")
        follow(known[0], journal, known[1], click.echo, pause=pause, last=True)
    return True


def _as_followed(pair: Pair, tables: tuple[str, ...]) -> Pair:
    """The pair with the tables that this folder follows already: those that were made since are none of them."""
    from runbook_lib.operations.replicate import resumed

    if not COPIES.exists():
        return pair
    with copies_journal() as journal:
        return resumed(journal, pair, tables)


@contextmanager
def open_both(
    source: str,
    target: str,
    file: Path | None,
    *,
    create: bool = False,
    capture: Mapping[str, str | None] | None = None,
) -> Iterator[tuple[Database, Database]]:
    """Both databases, asked one thing, so that one that does not answer is reported before anything else.

    Args:
        capture: How a role's changes are to be captured, where that was said.
    """
    from runbook_lib.config.database_url import open_endpoint

    environment = environment_of(file) if file else None
    with ExitStack() as opened:
        both = []
        for text, role in ((source, "source"), (target, "target")):
            said = {"capture": how} if capture and (how := capture.get(role)) else {}
            database = open_endpoint(text, role, environment, create=create and role == "target", options=said)
            opened.callback(database.close)
            database.rows("SELECT 1")
            both.append(database)
        yield both[0], both[1]


@contextmanager
def copies_journal(*, must_exist: bool = False) -> Iterator[Journal]:
    """The journal of this folder's copies.

    Raises:
        ConfigurationError: it must exist, and there is none.
    """
    from runbook_lib.errors import ConfigurationError
    from runbook_lib.journal import Journal

    if must_exist and not COPIES.exists():
        raise ConfigurationError(
            f"journal {COPIES}",
            "there is none in this folder",
            action="runbook copy … --follow first, or change folder",
        )
    with closing(Journal(f"sqlite:///{COPIES.resolve()}")) as journal:
        yield journal


def _types(given: tuple[str, ...]) -> dict[str, str]:
    from runbook_lib.errors import ConfigurationError

    pairs = [text.partition("=") for text in given]
    if wrong := [text for text, (_, sign, _) in zip(given, pairs, strict=True) if not sign]:
        raise ConfigurationError(f"--type {wrong[0]}", "has no `=`", expected="NAME=TYPE, as in a plan's `types:`")
    return {name.strip(): value.strip() for name, _, value in pairs}
