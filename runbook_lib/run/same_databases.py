"""A run stays with the databases that it began on: another reading of the inventory does not move it elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook_lib.config.environment import Environment
from runbook_lib.databases.dialect import dialect_of
from runbook_lib.errors import GateFailed
from runbook_lib.journal import digest_of
from runbook_lib.journal.kinds import PhaseStarted
from runbook_lib.run.approvals import require_approval

if TYPE_CHECKING:
    from runbook_lib.run.context import RunContext


def addresses(environment: Environment) -> dict[str, str]:
    """Where each database of the plan is, without a secret."""
    found, plan = {}, environment.plan
    for name in dict.fromkeys([plan.source, *(service.database for service in plan.services)]):
        entry = environment.inventory.databases[name]
        url = entry.url.set(password=None)
        if dialect_of(entry.dialect).in_file and url.database:
            url = url.set(database=str((environment.root / url.database).resolve()))
        found[name] = url.render_as_string(hide_password=True)
    return found


def require_same_databases(run: RunContext, now: dict[str, str]) -> None:
    """Refuse a phase whose databases are not those of the phase before, until a person has approved exactly that.

    Args:
        now: From `addresses`.
    Raises:
        GateFailed: names the database, where it was and where this inventory says it is.
    """
    history = run.history()
    begun = [one.content.databases for one in history.entries if isinstance(one.content, PhaseStarted)]
    before = next(filter(None, reversed(begun)), {})
    for name, place in now.items():
        if before.get(name, place) == place:
            continue
        moved = f"database {name} has moved to {place}"
        try:
            require_approval(run, history, moved, digest_of({name: place}), waivable=False)
        except GateFailed as refused:
            action = (
                f"give the parameter file that the run began with; where the database has moved: {refused.observed}"
            )
            raise GateFailed(
                f"database {name}",
                f"run {run.run_id} began on {before[name]}, and {run.environment.inventory.file} says {place}",
                expected="one reading of plan and inventory for a run",
                state="nothing was started",
                action=action,
            ) from refused
