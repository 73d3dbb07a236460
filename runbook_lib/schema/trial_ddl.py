"""The target's whole schema, tried on empty tables before anything is made: keys, indexes and foreign keys too.

What a table or a rule is refused for stops the copy; another object is named, and left behind when its turn comes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from runbook_lib.databases.port import Database, OtherObjects, Refusal
from runbook_lib.databases.statement_names import NamedObject, named, pieces
from runbook_lib.errors import TransferError

Scripts = tuple[str, str, str]  # tables; indexes, constraints, triggers; foreign keys
_RULES = ("table", "unique index", "primary key", "foreign key", "constraint", "type", "domain", "script", "statement")
# Of the same version, with no other object in the way: the engine's own words for these are taken as they are.
_CERTAIN = ("index", "unique index", "index attach", "primary key", "constraint", "foreign key")
_NAMED = 3


def require_accepted(
    source: Database,
    target: Database,
    scripts: Scripts,
    rest: OtherObjects | None = None,
    *,
    gone: Sequence[str] = (),
    whole: bool = False,
    tell: Callable[[str], object] = lambda text: None,
) -> None:
    """Try them at the target, which is left as it was.

    Args:
        rest: What is made beside the tables, when they are complete.
        gone: Tables of the target that are to make room.
        whole: Nothing may be left behind (a plan): whatever is refused stops it.
        tell: Told what will be left behind, and where nothing could be tried.
    Raises:
        TransferError: a table, key or constraint is refused; each by name, with the database's reason.
    """
    chosen = _doubtful(source, target, scripts, rest)
    undo = rest.undo if rest else ""
    refused = target.try_scripts(chosen, gone, undo, tell) if any(script.strip() for script in chosen) else []
    first = _first_causes(refused)
    if rules := [each for each in first if whole or each.kind in _RULES]:
        more = f" (and {len(rules) - _NAMED} more)" if len(rules) > _NAMED else ""
        raise TransferError(
            f"{target.name}: {_subject(rules[0])}",
            "; ".join(f"{each.why} while {_named(each).purpose}" for each in rules[:_NAMED]) + more,
            state="nothing was made",
            action="correct it at the source, make room for it at the target, or leave the table out"
            f" ({'of the plan' if whole else '--tables'})",
        )
    for each in first:
        tell(f"  {each.kind} {each.name}{f' of {each.table}' if each.table else ''}: will be left behind: {each.why}")


def _doubtful(source: Database, target: Database, scripts: Scripts, rest: OtherObjects | None) -> list[str]:
    """What may be refused; between databases of one version that is little where nothing else is at the target."""
    before, objects, keys = scripts
    beside = _without_rows(rest.script) if rest else ""
    if source.dialect != target.dialect or not _same(source, target):
        return [before, objects, keys, beside]
    if target.capabilities.transactional_ddl:
        _, listed = pieces(objects)
    else:  # triggers stand beside the foreign keys
        listed = [text for script in (objects, keys) for stage in target.stages(script) for text in stage]
    doubtful = [text for text in listed if (what := named(text)) is None or what.kind not in _CERTAIN]
    # A view may need a primary key, a comment its index or foreign key: then nothing is left out.
    return [before, objects, keys, beside] if doubtful or beside else []


def _same(source: Database, target: Database) -> bool:
    """One version on both sides, and nothing of the user's at the target that a name could collide with."""
    one, other = source.facts(), target.facts()
    taken = target.tables() or target.definitions() or target.standalone_sequences()
    return one.version_text == other.version_text and not taken


def _without_rows(script: str) -> str:
    """Views are tried; filling them says nothing while the tables are empty."""
    head, listed = pieces(script)
    kept = [text for text in listed if not re.search(r"(?m)^REFRESH MATERIALIZED VIEW", text)]
    return head + "".join(kept) if kept else ""


def _first_causes(refused: Sequence[Refusal]) -> list[Refusal]:
    """Without what is refused only because its table was."""
    tables = {each.name for each in refused if each.kind == "table"}
    return [each for each in refused if each.table not in tables]


def _named(each: Refusal) -> NamedObject:
    return NamedObject(each.kind, each.name, each.table)


def _subject(each: Refusal) -> str:
    return each.table or each.name
