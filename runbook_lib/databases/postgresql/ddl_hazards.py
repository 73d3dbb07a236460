"""What squawk, a linter of PostgreSQL's locks, and the server say of statements before they run.

Squawk (rules: https://squawkhq.com/docs/rules) reads a statement's words; whether a table is rewritten is not in
them. The server is asked on an empty clone: what it does not rewrite is not called a rewrite.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runbook_lib.databases import sql_text
from runbook_lib.databases.adapter_helpers import duplicate_values, hazards_of_words
from runbook_lib.databases.model import Hazard
from runbook_lib.databases.narrowing import narrows
from runbook_lib.databases.postgresql import clones, online_ddl
from runbook_lib.errors import ConfigurationError
from runbook_lib.util import extras
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

_WITHIN_S = 60.0  # it takes 5 ms
_WORDS = {
    "lock-table": (r"LOCK\b", "holds its lock until the transaction ends", "keep that transaction short"),
    "table-rewrite": (
        r"VACUUM\b[^;]*\bFULL\b|CLUSTER\b|ALTER\s+TABLE\b.*\bSET\s+(?:TABLESPACE|ACCESS\s+METHOD)\b",
        "rewrites the whole table under a lock that readers wait for too",
        "use pg_repack, or a window",
    ),
}
_REFUSED_INSIDE = {  # squawk takes a script of one statement for none
    "ban-concurrent-index-creation-in-transaction": (
        online_ddl.ALONE.pattern,
        "PostgreSQL refuses it inside a transaction",
        "write `-- transaction: no` into the revision's head",
    )
}


_GUESSED = ("adding-field-with-default", "adding-serial-primary-key-field", "changing-column-type")
_LOCKS = (*_GUESSED, "adding-not-nullable-field", "constraint-missing-not-valid", "disallowed-unique-constraint")
_ZONES = {"timestamp without time zone", "timestamp with time zone"}
_PERSISTENCE = "SELECT relpersistence FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass(%s)"
_LATER = "add the column without it, fill it in batches, and set default or constraint afterwards"


def hazards(db: PostgreSQLPort, statements: Sequence[str], *, alone: bool, back: Sequence[str] = ()) -> list[Hazard]:
    """What may hold others up, break them or lose values, statement by statement.

    Args:
        alone: Each statement is its own transaction.
        back: The statements of the other direction: what they would lose is said too.
    Raises:
        ConfigurationError: squawk is not installed, or its answer cannot be read.
    """
    found = {(one.statement, one.rule): one for one in _squawked(db, statements, alone=alone)}
    labels = [] if alone else list(_labels_in_transaction(statements))
    found |= {(one.statement, one.rule): one for one in (*labels, *_labels_that_stay(statements))}
    with clones.trial(db) as going:
        found |= {(one.statement, one.rule): one for one in _relogged(going.session, statements)}
        for tried in going.run(statements):
            _judge(found, going.session, tried)
        for tried in going.run(back):
            found |= {(one.statement, one.rule): one for one in _narrowing(tried, "narrowing-undo", "on rollback ")}
    return [found[key] for key in sorted(found)]


def _judge(found: dict[tuple[int, str], Hazard], session: Any, tried: clones.TrialResult) -> None:
    """What the clone tells of one statement, beside or instead of squawk's guess."""
    number, written = tried.statement, tried.written
    known = any((number, rule) in found for rule in _LOCKS)
    if written and not known:
        found[number, "table-rewrite"] = Hazard("table-rewrite", number, f"rewrites {written} under a lock", _LATER)
    elif tried.scanned and not known and not tried.validates:
        found[number, "table-scan"] = Hazard("table-scan", number, "reads every row under a lock", _LATER)
    if not written and not tried.scanned:
        for rule in _GUESSED:
            found.pop((number, rule), None)
    found |= {(one.statement, one.rule): one for one in _narrowing(tried, "narrowing-type", "")}
    zoned = [name for name, types in tried.retyped.items() if {*types} >= _ZONES]
    if zoned:
        text = f"{', '.join(zoned)}: the values are taken for times in UTC, whatever zone the clients meant"
        found[number, "zone-assumed"] = Hazard("zone-assumed", number, text, "say `USING … AT TIME ZONE '…'`")
    for index in tried.to_be_unique if tried.settled else []:
        if (twice := clones.twice(session, tried, index)) is not None:
            found[number, "duplicate-values"] = duplicate_values(number, tried.table, index.keys, *twice)


def _relogged(session: Any, statements: Sequence[str]) -> Iterator[Hazard]:
    """SET LOGGED and SET UNLOGGED of a table that is the other: a clone is temporary and can be neither."""
    is_now: dict[str, str] = {}
    for number, statement in enumerate(statements, 1):
        code = sql_text.code(statement, "postgresql")
        said = [token.upper for token in code]
        wanted = next((b for a, b in pairwise(said) if a == "SET" and b in ("LOGGED", "UNLOGGED")), "")
        if said[:2] != ["ALTER", "TABLE"] or not wanted:
            continue
        at = next(i for i, word in enumerate(said) if i > 1 and word not in ("IF", "EXISTS", "ONLY"))
        end = next((i for i in range(at + 1, len(code), 2) if code[i].text != "."), len(code))
        table = "".join(token.text for token in code[at:end])
        if table not in is_now:
            row = session.execute(_PERSISTENCE.encode(), (table,)).fetchone()
            is_now[table] = {"p": "LOGGED", "u": "UNLOGGED"}.get(row[0], "") if row else ""
        if is_now[table] not in ("", wanted):
            text = f"writes the whole table again under a lock that readers wait for too: it is {is_now[table]}"
            yield Hazard("table-rewrite", number, text, "fill another table, or use a window")
        is_now[table] = wanted


def _narrowing(tried: clones.TrialResult, rule: str, where: str) -> Iterator[Hazard]:
    said = [(name, narrows(*types, "postgresql")) for name, types in tried.retyped.items()]
    texts = [f"{tried.table}.{name}: {where}{text}" for name, text in said if text]
    if texts:
        yield Hazard(rule, tried.statement, "; ".join(texts), "keep the wider type, or look for such values first")


def _labels_in_transaction(statements: Sequence[str]) -> Iterator[Hazard]:
    """New labels of an enum that a later statement of the same transaction uses: PostgreSQL refuses that."""
    added: dict[str, int] = {}
    for number, statement in enumerate(statements, 1):
        code = sql_text.code(statement, "postgresql")
        texts = {sql_text.unquoted(token) for token in code if token.kind == sql_text.STRING}
        for label in texts & added.keys():
            text = f"uses the label '{label}' that statement {added[label]} adds in the same transaction"
            action = "write `-- transaction: no` into the revision's head, or use it in a revision of its own"
            yield Hazard("enum-value-in-transaction", number, text, action)
        if new := _added_label(code):
            added[new] = number


def _labels_that_stay(statements: Sequence[str]) -> Iterator[Hazard]:
    for number, statement in enumerate(statements, 1):
        if new := _added_label(sql_text.code(statement, "postgresql")):
            text = f"PostgreSQL cannot take the label '{new}' away again: it stays after a downgrade"
            yield Hazard("enum-value-stays", number, text, "make a new type without it where it has to go")


def _added_label(code: Sequence[sql_text.Token]) -> str:
    """The label that an ALTER TYPE … ADD VALUE adds; empty: it is no such statement."""
    words = [token.upper for token in code]
    if words[:2] != ["ALTER", "TYPE"] or "VALUE" not in words:
        return ""
    later = code[words.index("VALUE") :]
    return next((sql_text.unquoted(token) for token in later if token.kind == sql_text.STRING), "")


def _squawked(db: PostgreSQLPort, statements: Sequence[str], *, alone: bool) -> list[Hazard]:
    first_lines, script = [], ""
    for statement in statements:
        first_lines.append(script.count("\n"))
        script += f"{statement.rstrip().rstrip(';')}\n;\n"
    command = [_program(), "--reporter", "json", "--pg-version", f"{db.facts().version[0]}.0"]
    ran = subprocess.run(
        [*command, *([] if alone else ["--assume-in-transaction"])],
        input=script, capture_output=True, text=True, timeout=_WITHIN_S, check=False,
    )  # fmt: skip
    try:
        told = json.loads(ran.stdout)
    except json.JSONDecodeError as error:
        text = one_line(ran.stderr or ran.stdout)
        raise ConfigurationError("squawk", f"no answer: {text}", state="nothing was run") from error
    found = [
        Hazard(
            str(one["rule_name"]),
            max(sum(first <= int(one["line"]) for first in first_lines), 1),
            one_line(str(one["message"])),
            one_line(str(one["help"] or "")),
        )
        for one in told
    ]
    words = _WORDS if alone else {**_WORDS, **_REFUSED_INSIDE}
    by_rule = {(one.statement, one.rule): one for one in (*hazards_of_words(statements, words, "postgresql"), *found)}
    return [by_rule[key] for key in sorted(by_rule)]


def _program() -> str:
    beside = Path(sys.executable).parent / "squawk"
    found = str(beside) if beside.is_file() else shutil.which("squawk")
    if not found:
        raise ConfigurationError("squawk", "not found", state="nothing was run", action=extras.install("postgresql"))
    return found
