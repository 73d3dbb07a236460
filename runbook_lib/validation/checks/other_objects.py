"""What belongs to a table beside its columns: order, triggers, privileges, the positions of its sequences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Sequence_, Table
from runbook_lib.schema.convert.repair_ddl import repair_of
from runbook_lib.schema.convert.target_schema import TargetTable
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.checks.object_matching import left_behind
from runbook_lib.validation.context import Context
from runbook_lib.validation.report.mismatches import Kind, Mismatch

Say = Callable[..., Mismatch]
# What is information unless the plan asks for it under `validation.require`.
REQUIRED: Mapping[Kind, str] = {
    Kind.COLUMN_ORDER: "column_order",
    Kind.MISSING_PRIVILEGE: "privileges",
    Kind.EXTRA_PRIVILEGE: "privileges",
}


def order(say: Say, flow: Flow, there: Table, here: Table) -> Iterator[Mismatch]:
    """Columns in another order: SELECT * and an INSERT without names read them otherwise."""
    common = {c.name for c in there.columns} & {c.name for c in here.columns} & set(flow.promised or flow.columns)
    one, other = ([c.name for c in table.columns if c.name in common] for table in (there, here))
    if one != other:
        values = {"source_value": ", ".join(one), "target_value": ", ".join(other)}
        yield say(Kind.COLUMN_ORDER, text="the columns come in another order", **values)


def triggers(say: Say, link: Link, flow: Flow, context: Context) -> Iterator[Mismatch]:
    """Triggers of the same engine, by their text; another engine's are rewritten by a person, and not compared.

    Those that wait for their side to get the writers count as being there.
    """
    if link.reader.dialect != link.writer.dialect:
        return
    read, written = context.catalogs(link)
    there, here, origin = read[flow.feeds[0].table], written[flow.table], flow.feeds[0].table
    wait = context.caches.waiting.of(link.channel, lambda: _waiting(link))
    behind = left_behind(there, flow)
    at_source = [_renamed(text, flow) for text in (*there.triggers, *wait[0].get(origin, ()))]
    promised = [text for text in at_source if not behind & set(re.findall(r"\w+", text))]
    present = [*here.triggers, *wait[1].get(flow.table, ())]
    repair = repair_of(link.writer.dialect, here, TargetTable(there))
    missing = [text for text in promised if text not in present]
    extra = {called(text): text for text in present if text not in promised}
    made = {one.text: one.client for one in link.reader.firing_triggers([origin], silent=True)} if missing else {}
    for text in missing:
        add = made.get(text) or repair.add_trigger(text)
        if there_ := extra.pop(called(text), None):
            told, change = f"trigger {called(text)} is another", repair.change_trigger(there_, text, add)
            yield say(Kind.DIFFERENT_TRIGGER, source_value=text, target_value=there_, text=told, mend=change)
        else:
            yield say(Kind.MISSING_TRIGGER, source_value=text, text=f"no trigger {text}", mend=add)
    for text in extra.values():
        told = f"trigger {text} is not at the source"
        yield say(Kind.EXTRA_TRIGGER, target_value=text, text=told, mend=repair.drop_trigger(text))


def _waiting(link: Link) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Table → the texts of triggers that wait at the reader, and at the writer."""
    if not dialect_of(link.writer.dialect).firing_triggers:
        return {}, {}
    from runbook_lib.transfer.user_triggers import all_waiting  # here: it needs SQLAlchemy, most comparisons do not

    ways = ((link.reader, f"{link.channel}_back"), (link.writer, link.channel))
    found: list[dict[str, list[str]]] = [{}, {}]
    for (database, channel), texts in zip(ways, found, strict=True):
        for one in all_waiting(database, channel):
            texts.setdefault(one.table, []).append(one.text)
    return found[0], found[1]


def called(text: str) -> str:
    """A trigger's name, with which its text begins."""
    found = re.match(r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|\S+', text)
    return found[0] if found else text


def _renamed(text: str, flow: Flow) -> str:
    origin = flow.feeds[0].table
    return text if origin == flow.table else text.replace(f" ON {origin} ", f" ON {flow.table} ")


def privileges(say: Say, link: Link, flow: Flow, context: Context) -> Iterator[Mismatch]:
    """Who else may do what: roles are named alike on servers of one engine only."""
    if link.reader.dialect != link.writer.dialect:
        return
    there, here = context.caches.grants.of(
        link.channel,
        lambda: context.both(
            lambda: link.reader.grants([each.feeds[0].table for each in link.flows]),
            lambda: link.writer.grants([each.table for each in link.flows]),
        ),
    )
    wanted, found = there.get(flow.feeds[0].table, frozenset()), here.get(flow.table, frozenset())
    table = link.writer.quote(flow.table)
    for role, privilege in sorted(wanted - found):
        mend = f"GRANT {privilege} ON {table} TO {role}"
        values = {"source_value": f"{role}: {privilege}", "text": f"{role} may not {privilege}", "mend": mend}
        yield say(Kind.MISSING_PRIVILEGE, name=role, **values)
    for role, privilege in sorted(found - wanted):
        mend = f"REVOKE {privilege} ON {table} FROM {role}"
        text = f"{role} may {privilege}, and may not at the source"
        yield say(Kind.EXTRA_PRIVILEGE, name=role, target_value=f"{role}: {privilege}", text=text, mend=mend)


def sequences(say: Say, link: Link, flow: Flow, here: Table) -> Iterator[Mismatch]:
    """Sequences whose next value is taken already."""
    repair = repair_of(link.writer.dialect, here, TargetTable(here))
    table = link.writer.quote(flow.table)
    fed = [sequence for sequence in link.writer.sequences([flow.table]) if sequence.column]
    present = {each.column: _farthest(link, table, each) for each in fed}
    # Read again after the columns: a value is given out before its row is there, and rows are written meanwhile.
    for sequence in link.writer.sequences([flow.table]) if any(v is not None for v in present.values()) else ():
        last = sequence.start - sequence.increment if sequence.last is None else sequence.last
        value = present.get(sequence.column)
        if value is not None and (value - last) * sequence.increment > 0:
            yield say(
                Kind.SEQUENCE_BEHIND,
                columns=(sequence.column,),
                source_value=str(value),
                target_value="never called" if sequence.last is None else str(sequence.last),
                name=sequence.name,
                text=f"sequence {sequence.name} is behind {sequence.column}: {last}, the column has {value}",
                mend=repair.sequence(sequence, value),
            )


def _farthest(link: Link, table: str, sequence: Sequence_) -> int | None:
    farthest = "MAX" if sequence.increment > 0 else "MIN"
    [(present,)] = link.writer.rows(f"SELECT {farthest}({link.writer.ident(sequence.column)}) FROM {table}")
    return None if present is None else int(present)
