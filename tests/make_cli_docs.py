"""Write docs/cli.md from the commands themselves: `make docs`. A test compares the file with what this makes.

A command's text, arguments and options are its own help; here stand only an example and the meaning of its status.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from runbook_lib.cli import main

PAGE = Path(__file__).parents[1] / "docs/cli.md"
PASSED = "done"
FAILED = "a check or gate failed"
BOTH = "sqlite:///shop.db sqlite:///copy.db"
LIVE = "postgresql://migrator@old:5432/shop postgresql://migrator@new:5432/shop"


class Shown(NamedTuple):
    """An example, and what exit status 0 and 1 mean; an empty `failed`: the command never ends with 1.

    `status` is what the example ends with where the databases are files: the test runs it. None: it needs servers.
    """

    example: str
    done: str = PASSED
    failed: str = ""
    status: int | None = None


SHOWN = {
    "runbook approve": Shown('approve RUN "cutover" --comment "figures seen, go" -f parameters/staging.yaml'),
    "runbook assess": Shown("assess sqlite:///shop.db", "nothing to declare", "something to declare", 0),
    "runbook compare": Shown(f"compare {BOTH} --json report.json", "same", "different", 0),
    "runbook copy": Shown(
        f"copy {BOTH}", "everything arrived, or is accounted for", "something was left behind, or is in quarantine", 0
    ),
    "runbook cutover": Shown(f"cutover {LIVE} --switch ./point-to-new.sh", "the target has the writers", "they stayed"),
    "runbook demo": Shown("demo --drill rollback", "no acknowledged write was lost", "a gate failed, or a write lost"),
    "runbook evidence show": Shown("evidence show evidence/staging/RUN"),
    "runbook evidence verify": Shown("evidence verify evidence/staging/RUN", "all ten steps passed", "one did not"),
    "runbook follow apply-ddl": Shown(
        f'follow apply-ddl {LIVE} --statement "ALTER TABLE orders ADD note text"',
        "carried over, or nothing to carry over",
        "--dry-run, and there is something",
    ),
    "runbook lab": Shown("lab --no-browser"),
    "runbook lint": Shown("lint -f parameters/demo.yaml", "none was found that blocks", "one was", 0),
    "runbook performance": Shown("performance -f parameters/staging.yaml", "every metric is fine", "one is degraded"),
    "runbook repair": Shown(f"repair {BOTH}", "nothing differs, or all was repaired", "rows differ still", 0),
    "runbook replay": Shown(
        f"replay .runbook/quarantine/copy/orders.jsonl --source {LIVE.replace(' ', ' --target ')}",
        "all of them arrived",
        "some are still refused",
    ),
    "runbook return": Shown(f"return {LIVE} --switch ./point-to-old.sh", "the source has the writers", "they stayed"),
    "runbook rollback": Shown("rollback -f parameters/staging.yaml", "every undo is verified", "one could not be"),
    "runbook run": Shown("run -f parameters/staging.yaml --to data_migration", "each phase passed", "a gate failed"),
    "runbook schema downgrade": Shown(
        "schema downgrade -f parameters/practice.yaml --to 0001", "at the wanted version", "undone, or a gate failed"
    ),
    "runbook schema plan": Shown("schema plan -f parameters/practice.yaml --to 0002"),
    "runbook schema status": Shown(
        "schema status -f parameters/practice.yaml", "as recorded", "changed by hand, or half-way"
    ),
    "runbook schema upgrade": Shown(
        "schema upgrade -f parameters/practice.yaml", "at the wanted version", "undone, or a gate failed"
    ),
    "runbook status": Shown("status --json"),
    "runbook watch": Shown("watch -f parameters/staging.yaml", "the period is over", "a trigger fired"),
    "runbook unfollow": Shown(f"unfollow {LIVE}"),
}

HEAD = """\
# Command line

Made from the commands by `make docs`: change their help, not this page. `runbook COMMAND --help` says the same.

Exit status of every command: 0 done; 1 a check or gate failed, or a person's answer is missing; 2 could not run, and
one line on the standard error says what was seen, what state is left, and what to do next. An error that nobody
foresaw is one line too, with the file of its report: the traceback, in `.runbook` or among the temporary files, for its
owner alone and without a secret. `RUNBOOK_TRACEBACK=1` shows where an error came from.

## Databases, passwords, files

`SOURCE` and `TARGET` are `postgresql://user@host:port/database`, `mysql://…` (MariaDB too), `sqlite:///path`, or names
of the inventory of `-f`. Give passwords by `RUNBOOK_SOURCE_PASSWORD` and `RUNBOOK_TARGET_PASSWORD` (`file:PATH`,
`env:NAME`, or the password itself) or `~/.pgpass`: one in the URL is taken, percent-encoded, but other users of the
machine see it in `ps`.

`copy --follow`, `cutover`, `return`, `follow apply-ddl` and `unfollow` are run in the same folder: it has their journal
(`.runbook/copies.sqlite`).

`-f` takes a parameter file: [parameters/demo.yaml](../parameters/demo.yaml), or one of your own; `approve` takes the
demo's when it is left out, `status` this folder's copies and the demo's runs. `RUNBOOK_ACTOR` names who acts.

A command that needs a package of an extra says so before it starts anything:
`pip install 'runbook-lib[postgresql]'`, and likewise `mysql`, `notebook` (runs of a plan), `archive`, `keyring`,
`demo`, `lab`, `all`.

`runbook sync -f FILE --run-id RUN [--direction back]` is started by the notebooks; start it by hand only when it was
killed ([what-if.md](what-if.md)).
"""


def commands(group: click.Group = main, prefix: str = "runbook") -> Iterator[tuple[str, click.Command]]:
    """Every command that is not hidden, with its whole name."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        elif not command.hidden:
            yield f"{prefix} {name}", command


def page() -> str:
    """The text of docs/cli.md."""
    index = ["| command | what it does |", "|---|---|"]
    sections = []
    for name, command in commands():
        index.append(f"| [`{name}`](#{name.replace(' ', '-')}) | {cell(first(command))} |")
        sections.append("\n".join(section(name, command)))
    return f"{HEAD}\n## Commands\n\n" + "\n".join(index) + "\n\n" + "\n".join(sections)


def first(command: click.Command) -> str:
    """The first paragraph of the help."""
    return " ".join((command.help or "").partition("\n\n")[0].split())


def section(name: str, command: click.Command) -> Iterator[str]:
    """One command."""
    context = click.Context(command, info_name=name, **main.context_settings)
    shown = SHOWN[name]
    yield f"### {name}\n"
    for paragraph in (command.help or "").strip().split("\n\n"):
        yield "\n".join(line.strip() for line in paragraph.splitlines()) + "\n"
    yield f"```sh\n{usage(context)}\n\nrunbook {shown.example}\n```\n"
    options = [one for one in command.params if isinstance(one, click.Option)]
    if options:
        yield "| option | default | meaning |\n|---|---|---|"
        yield from (f"| {' | '.join(map(cell, row(one, context)))} |" for one in options)
        yield ""
    failed = f"\n- 1: {shown.failed}" if shown.failed else ""
    yield f"Exit status:\n\n- 0: {shown.done}{failed}\n- 2: could not run\n"


def usage(context: click.Context) -> str:
    """Such as `runbook copy [OPTIONS] SOURCE TARGET`."""
    return " ".join(["#", context.info_name or "", *context.command.collect_usage_pieces(context)])


def row(option: click.Option, context: click.Context) -> tuple[str, str, str]:
    """Its spelling with what it takes, its default, its meaning."""
    names = ", ".join([*option.opts, *option.secondary_opts])
    takes = "" if option.is_flag else f" {span(option.type) or option.make_metavar(context)}"
    default = option.get_default(context)
    plain = not option.is_flag and isinstance(default, int | float | str | Path) and default != ""
    shown = "needed" if option.required else f"`{default}`" if plain else ""
    return f"`{names}{takes}`", shown, option.help or ""


def span(kind: click.ParamType) -> str:
    """The numbers that are allowed, such as `1..64`; empty: it is no range."""
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return ""
    return f"{kind.min:g}.." if kind.max is None else f"{kind.min:g}..{kind.max:.15g}"


def cell(text: str) -> str:
    """A text that does not end its column."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}: {len(SHOWN)} commands\n")
