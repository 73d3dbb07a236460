"""Take a schema along its path: version verified, backup proven, each revision, version verified; or back again.

The journal's note that opened a migration names it: its steps carry the note's number, so that a second migration of
the same run is not taken for the first one, and an interrupted one is found again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from runbook_lib.databases.port import Database
from runbook_lib.errors import ConfigurationError, GateFailed, LeaseHeld, OutOfOrder, RunbookError, StepFailed
from runbook_lib.journal.kinds import SchemaMigrationEnded, SchemaMigrationOpened, SchemaMigrationUndoing
from runbook_lib.plan.model import SchemaGoal
from runbook_lib.run.context import RunContext
from runbook_lib.run.execute_step import BY_HAND, execute
from runbook_lib.run.records import RollbackRecord, StepRecords
from runbook_lib.run.rollback import rollback
from runbook_lib.run.step import Step
from runbook_lib.schema.revisions import version_store
from runbook_lib.schema.revisions.dry_run import Preview, preview
from runbook_lib.schema.revisions.graph import DOWN, UP, Revisions, current_version
from runbook_lib.schema.snapshot import differences, for_people
from runbook_lib.steps.apply_revision import ApplyRevision, require_approved
from runbook_lib.steps.backup_source import BackupSource
from runbook_lib.steps.check_table import Findings, findings
from runbook_lib.steps.verify_version import VerifyVersion
from runbook_lib.util.text import counted


@dataclass(frozen=True)
class OpenMigration:
    """A migration that this run has opened.

    Attributes:
        number: Of the journal's entry that opened it.
        undoing: Why it is being undone; empty: it is not.
    """

    number: int
    database: str
    folder: str
    current: str
    wanted: str
    undoing: str = ""


def migrate_schema(
    run: RunContext, to: str = "", *, database: str = "", direction: str = "", accept_drift: bool = False
) -> StepRecords:
    """Carry a path of revisions out, or resume the one that was interrupted; whatever fails, it is undone.

    Args:
        to: The wanted version; empty: the plan's. Where the migration under way began: it is given up and undone.
        database: Empty: the plan's source.
        direction: "up" or "down": a path that leads the other way is refused; empty: either.
        accept_drift: Take a schema that was changed by hand for that of its version.
    Returns:
        StepRecords: one for each step.
    Raises:
        StepFailed: something failed; says what, and where the database is now.
        GateFailed: a revision that cannot be undone waits for its approval; nothing is undone.
        ConfigurationError: there is no such path.
        OutOfOrder: another migration is under way.
    """
    way = _under_way(run)
    if way is None:
        way = _open(run, to, database, direction)
    elif _asked_back(run, way, to, database, direction):
        _take_back(run, way, f"somebody asked for {way.current}")
        return StepRecords([run.record(step.name) for step in _steps(run, way) if run.history().unit(step.name)])
    if way.undoing:
        raise _undo(run, way, way.undoing, "run again: the undo that was interrupted is finished")
    try:
        records = StepRecords([execute(run, step) for step in _steps(run, way, accept_drift=accept_drift)])
    except (LeaseHeld, GateFailed):
        raise  # somebody else acts, or is asked: what is in stays in
    except RunbookError as error:
        action = "" if BY_HAND in error.action else error.action  # it is undone by then, and there may be no cell
        raise _undo(run, way, f"{error.subject}: {error.observed}", action) from error
    run.write(SchemaMigrationEnded(way.number, f"schema of {way.database}: {way.current} → {way.wanted}"))
    return records


def schema_path(run: RunContext, to: str = "") -> Preview:
    """What `migrate_schema` would do: where the database is, the path, and the SQL; nothing is changed."""
    way = _under_way(run)
    found = _preview(run, way.wanted if way else to, way.database if way else "")
    run.note(found.state)
    return found


def schema_difference(run: RunContext) -> Findings:
    """What the last finished migration of this run made of the schema: table by table, what came and what went."""
    way = _last(run)
    database = run.databases[way.database]
    before, after = (version_store.recorded(database, version) or {} for version in (way.current, way.wanted))
    rows = [
        (table, "came" if sign == "+" else "went", line) for table, sign, line in for_people(differences(before, after))
    ]
    text = f"{way.current} → {way.wanted}: {len(rows)} differences"
    return findings(run, "schema_difference", "Schema before and after", ("table", "change", "what"), rows, [], text)


def schema_result(run: RunContext) -> Findings:
    """What the last finished migration of this run did, revision by revision: rows written, and how long it took."""
    way = _last(run)
    done = [run.record(step.name) for step in _steps(run, way)]
    rows = [
        (r.data["version"], r.data["title"], r.data["statements"], f"{r.data['rows']:,}", f"{r.data['seconds']:.2f}")
        for r in done
        if "statements" in r.data
    ]
    took = sum(record.duration_s for record in done)
    text = f"{way.database} is at {way.wanted}: {counted(len(rows), 'revision')} in {took:.1f} s"
    header = ("version", "what", "statements", "rows written", "seconds")
    return findings(run, "schema_result", "Result", header, rows, [], text)


# -- which migration ---


def _asked_back(run: RunContext, way: OpenMigration, to: str, database: str, direction: str) -> bool:
    """Whether what is asked for is to give the migration under way up; another one than that is refused."""
    revisions = _revisions(run, way)
    path, wanted = revisions.path(way.current, way.wanted), revisions.known(to) if to else ""
    here = database in ("", way.database)
    if here and wanted == way.current and not way.undoing:
        return True
    if here and wanted in ("", way.wanted) and (way.undoing or direction in ("", path.direction)):
        return False
    verb = "upgrade" if path.direction == UP else "downgrade"
    back = "downgrade" if path.direction == UP else "upgrade"
    raise OutOfOrder(
        f"schema of {way.database}",
        f"is on its way from {way.current} to {way.wanted}",
        state="nothing was run",
        action=f"finish it: runbook schema {verb} --to {way.wanted}; or give it up: {back} --to {way.current}",
    )


def _open(run: RunContext, to: str, database: str, direction: str) -> OpenMigration:
    found = _preview(run, to, database)
    path = found.path
    if direction and path.revisions and path.direction != direction:
        raise ConfigurationError(
            f"schema of {found.database}",
            f"{path.wanted} lies {'above' if path.direction == UP else 'below'} {path.current}",
            state="nothing was run",
            action=f"runbook schema {'upgrade' if path.direction == UP else 'downgrade'}",
        )
    _require_harmless(run, found)
    facts = (found.database, _goal(run).revisions, path.current, path.wanted)
    return OpenMigration(
        run.write(SchemaMigrationOpened(*facts, f"schema of {found.database}: {found.aim}")).seq, *facts
    )


def _require_harmless(run: RunContext, found: Preview) -> None:
    """Every hazard of the path is judged before its first revision runs: no stop half-way for what could be known."""
    refused = [
        f"{one.revision}, statement {finding.hazard.statement}: {finding.hazard.text.rstrip('.')}"
        for one in found.hazards
        for finding in one.refused
    ]
    if refused:
        raise StepFailed(
            f"schema of {found.database}",
            f"refused by the plan's policy: {'; '.join(refused)}",
            state="nothing was run",
            action="look with `runbook schema plan`; correct the revision, or decide it in the plan's `lint:`",
        )
    for one, rendered in zip(found.hazards, found.sql, strict=True):
        if one.to_approve:
            require_approved(run, one, rendered)


def _opened(run: RunContext) -> tuple[OpenMigration | None, bool]:
    """The last migration of the run, and whether it has ended."""
    way, ended = None, False
    for entry in run.history().entries:
        match entry.content:
            case SchemaMigrationOpened(database, folder, current, wanted):
                way, ended = OpenMigration(entry.seq, database, folder, current, wanted), False
            case SchemaMigrationUndoing(reason) if way is not None:
                way = replace(way, undoing=reason)
            case SchemaMigrationEnded():
                ended = True
    return way, ended


def _under_way(run: RunContext) -> OpenMigration | None:
    way, ended = _opened(run)
    return None if ended else way


def _last(run: RunContext) -> OpenMigration:
    way, ended = _opened(run)
    if way is None or not ended or way.undoing:
        raise OutOfOrder("schema", f"no migration has ended in run {run.run_id}", action="run its cell first")
    return way


def _goal(run: RunContext) -> SchemaGoal:
    return run.plan.schema or SchemaGoal()


def _revisions(run: RunContext, way: OpenMigration | None = None) -> Revisions:
    return Revisions(run.environment.parameters_dir / (way.folder if way else _goal(run).revisions))


def _preview(run: RunContext, to: str, database: str) -> Preview:
    return preview(run.databases[database or run.plan.source], _revisions(run), to or _goal(run).to, run.plan.lint)


def _steps(run: RunContext, way: OpenMigration, *, accept_drift: bool = False) -> list[Step]:
    """The steps of a migration; the same ones whenever it is asked, wherever the database is by now."""
    path = _revisions(run, way).path(way.current, way.wanted)
    source = VerifyVersion("source", way.database, way.current, way.number, accept_drift)
    if not path.revisions:
        return [source]
    backup = BackupSource(
        f"backup_source:{way.database}", way.database, folder=str(way.number), requires=(source.name,)
    )
    revisions: list[Step] = []
    for revision in path.revisions:
        step = ApplyRevision(
            way.database,
            revision.id,
            folder=way.folder,
            direction=path.direction,
            digest=revision.digest,
            path=way.number,
            reversible=revision.reversible or path.direction == DOWN,
            requires=(revisions[-1].name if revisions else backup.name,),
        )
        revisions.append(step)
    target = VerifyVersion("target", way.database, way.wanted, way.number, requires=(revisions[-1].name,))
    return [source, backup, *revisions, target]


# -- back again ---


def _undo(run: RunContext, way: OpenMigration, why: str, action: str) -> StepFailed:
    """Undo every revision of the migration; the error says why, and where the database is then."""
    subject, database = f"schema of {way.database}", run.databases[way.database]
    try:
        record = _take_back(run, way, why)
    except LeaseHeld:
        raise
    except RunbookError as second:
        cause = second.__cause__ if isinstance(second.__cause__, RunbookError) else second
        error = StepFailed(
            subject,
            f"{why}; and undoing it failed: {cause.subject}: {cause.observed}",
            state=where(database),
            action="put that right and run again: it continues undoing; or restore the backup into a new database",
        )
        error.add_note(str(second))
        return error
    undone = _revisions_of(record)
    state = f"{counted(undone, 'revision')} undone and verified: " if undone else "nothing is changed: "
    return StepFailed(subject, why, state=state + where(database), action=action or "put it right, then run again")


def _take_back(run: RunContext, way: OpenMigration, why: str) -> RollbackRecord:
    """Undo the migration's steps, the last one first, and close it."""
    if not way.undoing:
        run.write(SchemaMigrationUndoing(why, f"schema of {way.database}: undone, because {why}"))
    record = rollback(run, steps=[step.name for step in _steps(run, way)])
    run.write(SchemaMigrationEnded(way.number, f"schema of {way.database}: back at {way.current}"))
    if not run.plan.phases:  # the run was nothing else: the next attempt is another one
        run.journal.set_state(run.run_id, "rolled_back")
    return record


def _revisions_of(record: RollbackRecord) -> int:
    return sum(item.name.startswith("apply_revision:") for item in record.items)


def where(database: Database) -> str:
    """The version that the database has now, and what is half-way in it."""
    try:
        text = f"{database.name} is at {current_version(database)}"
        half_way = [
            f"begun of {one} ({way}): {counted(n, 'statement')}" for one, way, n in version_store.begun(database)
        ]
        return "; ".join([text, *half_way])
    except RunbookError as error:
        return f"where {database.name} is cannot be asked: {error.observed}"
