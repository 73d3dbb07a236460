"""What the catalogs show: names, types, keys, cascades and triggers that a migration trips over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from runbook_lib.assessment.findings import Finding
from runbook_lib.assessment.table_pairs import Subject
from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Database, Table
from runbook_lib.plan.vocabulary import ACCEPTABLE
from runbook_lib.schema.convert.target_schema import TargetSchema

NO_KEY = "add a primary key, or leave the table out of the plan: `runbook copy --tables` moves it while nobody writes"
_CASCADE = re.compile(r"ON (DELETE|UPDATE) (CASCADE|SET NULL|SET DEFAULT)", re.IGNORECASE)


def structure_findings(
    every: Sequence[Subject], source: Database, schemas: Mapping[str, TargetSchema], *, way_back: bool
) -> Iterator[Finding]:
    """The findings of all subjects.

    Args:
        way_back: Whether the targets are captured too, after the cutover.
    """
    for subject in {each.mapping.source: each for each in every}.values():
        yield from _of_table(subject, source)
    for subject in every:
        yield from _at_target(subject, source, way_back=way_back)
    for service, found in schemas.items():
        yield from _of_translation(service, found, [each for each in every if each.service == service])
    yield from _twins(every)


def accept(kind: str, table: str = "") -> tuple[str, ...]:
    """The plan's line that accepts a finding as it is; none where a later step would refuse it all the same."""
    where = f", table: {table}" if table else ""
    return (f"accept: [{{finding: {kind}{where}, because: …}}]",) if kind in ACCEPTABLE else ()


def _finding(
    kind: str, severity: str, subject: Subject, text: str, example: str = "", action: str = "", count: int = 1
) -> Finding:
    table = subject.mapping.source
    return Finding(kind, severity, subject.label, text, count, example, accept(kind, table), action, table=table)


def _of_table(subject: Subject, source: Database) -> Iterator[Finding]:
    table = subject.read
    if not table.key:
        text = "has no key that a change could be captured by, or a row be identified by"
        yield _finding("no_key", "blocks", subject, text, action=NO_KEY)
    if not dialect_of(source.dialect).cascades_fire_triggers:
        yield from _cascades(subject, table, "", "blocks")
    if dialect_of(source.dialect).firing_triggers:
        yield from _waiting(subject, table.triggers)
    yield from _always(subject, table.triggers, "source")


def _cascades(subject: Subject, table: Table, where: str, severity: str) -> Iterator[Finding]:
    for constraint in (c for c in table.constraints if _CASCADE.search(c.definition)):
        text = f"rows change when {constraint.referenced_table} changes, and MySQL fires no trigger then{where}"
        yield _finding("cascades", severity, subject, text, constraint.name, "declare the key RESTRICT")


def _at_target(subject: Subject, source: Database, *, way_back: bool) -> Iterator[Finding]:
    target = dialect_of(subject.dialect)
    if not target.cascades_fire_triggers and source.dialect != subject.dialect:
        yield from _cascades(
            subject, subject.written, ": not in reverse replication either", "blocks" if way_back else "note"
        )
    if not subject.there:
        return
    yield from _always(subject, subject.written.triggers, "target")
    if target.firing_triggers:
        yield from _firing(subject, subject.written.triggers)


def _waiting(subject: Subject, triggers: Sequence[str]) -> Iterator[Finding]:
    """MySQL cannot silence a trigger for one session: the sync takes them off the side without writers."""
    if loud := [text for text in triggers if "@runbook_sync" not in text]:
        text = f"{len(loud)} of the source's triggers wait wherever a sync writes, until that side gets the writers"
        action = "nothing: cutover and return make them; one whose definer the login cannot give back stays"
        yield _finding("triggers", "note", subject, text, _short(loud[0]), action, len(loud))


def _firing(subject: Subject, triggers: Sequence[str]) -> Iterator[Finding]:
    """Of a table that is there already, whose triggers are nobody's copy."""
    if loud := [text for text in triggers if "@runbook_sync" not in text]:
        text = f"{len(loud)} of the target's triggers fire for the rows that a sync writes too"
        action = "begin their body with IF @runbook_sync IS NULL"
        yield _finding("triggers", "loses", subject, text, _short(loud[0]), action, len(loud))


def _always(subject: Subject, triggers: Sequence[str], side: str) -> Iterator[Finding]:
    if always := [text for text in triggers if text.endswith("[always]")]:
        text = f"{len(always)} ENABLE ALWAYS triggers at the {side} fire for the rows that a load or a sync writes too"
        yield _finding("always_triggers", "loses", subject, text, _short(always[0]), "ENABLE it plainly", len(always))


def _short(trigger: str) -> str:
    return " ".join(trigger.split()[:3])


def _of_translation(service: str, found: TargetSchema, every: Sequence[Subject]) -> Iterator[Finding]:
    def at(place: str, kind: str, text: str, example: str, action: str, *declare: str) -> Finding:
        subject = f"{service}.{place}" if service else place
        return Finding(kind, "blocks", subject, text, 1, example, declare, action, table=_table_of(place, every))

    for decision in found.blocking:
        place, what = decision.subject, decision.what
        if "only in case" in what:
            yield at(place, "names", what, place, "give one of them another name at the source")
        else:
            yield at(place, "types", what, place, "", f"types: {{{place}: text}}", "types: {unmapped: text}")
    for place, short in found.renamed.items():
        if " " not in place:
            text, action = "the name is too long for the target", "give it another by `from:` and `columns:`"
            yield at(place, "names", text, short, action)


def _table_of(place: str, every: Sequence[Subject]) -> str:
    """The source's table of a place at the target: `table` or `table.column`, where both may hold dots."""
    named = {each.mapping.target: each.mapping.source for each in every}
    fitting = [name for name in named if place == name or place.startswith(f"{name}.")]
    return named[max(fitting, key=len)] if fitting else ""


def _twins(every: Sequence[Subject]) -> Iterator[Finding]:
    """Tables whose names differ only in case: one and the same to SQLite."""
    seen: dict[tuple[str, str], Subject] = {}
    for subject in every:
        twin = seen.setdefault((subject.service, subject.mapping.target.lower()), subject)
        if twin is not subject and not dialect_of(subject.dialect).tables_by_case:
            text = f"differs from {twin.mapping.target} only in case"
            yield Finding(
                "names", "blocks", subject.label, text, 1, twin.mapping.target, (), "give one of them another name",
                table=subject.mapping.source,
            )  # fmt: skip
