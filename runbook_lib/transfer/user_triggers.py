"""The user's triggers at the side without writers, where the engine cannot silence them: they wait until it gets them.

A sync's rows are copies: a trigger that fires for them does a second time what it has done where the row was written.
PostgreSQL and SQLite silence triggers; MySQL and MariaDB cannot. There a followed copy's triggers are kept in the
database that they are for (`runbook_later`), and so are the source's own once the target has the writers. They are
made again while that side is still fenced, as the last thing before writes resume.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Database, FiringTrigger
from runbook_lib.errors import DatabaseError
from runbook_lib.schema.kept_scripts import KEYS, TRIGGERS, Part, keeps, kept, replace_parts, state
from runbook_lib.transfer.links import Link

WAITS = "it would fire for the rows of the sync: it waits at the target"
AT_CUTOVER = "runbook cutover makes it, before writes resume"


def keep_waiting(service: str, link: Link) -> None:
    """Of what is kept for after the load, the triggers wait for the cutover. Idempotent."""
    late = [part for part in kept(link.writer, service, KEYS) if link.writer.firing_trigger_of(part.script)]
    if late:
        _keep_too(link.writer, link.channel, [part.script for part in late])
        replace_parts(link.writer, service, late, ())


def hold_back(links: Iterable[Link]) -> None:
    """Take the triggers off the fenced side that these links write to, and keep them there. Idempotent.

    A side that is open keeps its triggers: what is written there is refused as before.

    Raises:
        DatabaseError: one could not be made again as it is; nothing was taken off.
    """
    for link in links:
        tables = [flow.table for flow in link.flows]
        loud = link.writer.firing_triggers(tables)
        if not loud or not link.writer.fenced(tables) >= set(tables):
            continue
        _require_makeable(link.writer, loud)
        state(link.writer, link.channel)  # the table that keeps them
        _keep_too(link.writer, link.channel, [one.script for one in loud])
        for one in loud:
            link.writer.run_script(f"{one.drop};")


def let_fire(database: Database, channel: str) -> int:
    """Make the triggers that wait here, in their order, and forget them; how many. Idempotent.

    They are forgotten together, so that a kill in between leaves their order known.

    Raises:
        DatabaseError: one was refused; those before it are made, all are kept.
    """
    scripts = waiting(database, channel)
    for script in scripts:
        database.run_script(script, again=True)
    if scripts:
        _keep(database, channel, ())
    return len(scripts)


def waiting(database: Database, channel: str) -> list[str]:
    """The scripts of the triggers that wait here; nothing is made."""
    if not dialect_of(database.dialect).firing_triggers or not keeps(database):
        return []
    return [part.script for part in kept(database, channel, TRIGGERS)]


def all_waiting(database: Database, channel: str) -> list[FiringTrigger]:
    """The triggers that wait here, in their order."""
    return [one for script in waiting(database, channel) if (one := database.firing_trigger_of(script))]


def _keep_too(database: Database, channel: str, scripts: Sequence[str]) -> None:
    """Keep these with those that wait already, each in its place; what is there by a name now is what counts."""
    known = {_name(database, script): script for script in (*waiting(database, channel), *scripts)}
    _keep(database, channel, list(known.values()))


def _name(database: Database, script: str) -> str:
    made = database.firing_trigger_of(script)
    return made.name if made else script


def _keep(database: Database, channel: str, scripts: Sequence[str]) -> None:
    parts = [Part(TRIGGERS, ordinal=i, script=script) for i, script in enumerate(scripts)]
    replace_parts(database, channel, kept(database, channel, TRIGGERS), parts)


def _require_makeable(database: Database, loud: Sequence[FiringTrigger]) -> None:
    if blocked := [one for one in loud if one.blocked]:
        more = f" (and {len(blocked) - 1} more)" if len(blocked) > 1 else ""
        raise DatabaseError(
            f"{database.name}: trigger {blocked[0].name} of {blocked[0].table}",
            f"it must wait while rows are replicated to its table, and {blocked[0].blocked}{more}",
            state="no trigger was taken off",
            action="grant that, or begin its body with IF @runbook_sync IS NULL",
        )
