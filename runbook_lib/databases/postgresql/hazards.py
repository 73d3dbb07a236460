"""What squawk, a linter of PostgreSQL's locks, says of statements before they run. Its rules: https://squawkhq.com/docs/rules"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runbook_lib.databases.postgresql import online
from runbook_lib.databases.shapes import Hazard
from runbook_lib.databases.shared import hazards_of_words, one_line
from runbook_lib.errors import ConfigurationError

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql import PostgreSQL

_WITHIN_S = 60.0  # it takes 5 ms
_WORDS = {
    "lock-table": (r"LOCK\b", "holds its lock until the transaction ends", "keep that transaction short"),
    "table-rewrite": (
        r"VACUUM\b[^;]*\bFULL\b|CLUSTER\b|ALTER\s+TABLE\b.*\bSET\s+(?:TABLESPACE|LOGGED|UNLOGGED|ACCESS\s+METHOD)\b",
        "writes the whole table anew under a lock that readers wait for too",
        "use pg_repack, or a window",
    ),
}
_REFUSED_INSIDE = {  # squawk takes a script of one statement for none
    "ban-concurrent-index-creation-in-transaction": (
        online.ALONE.pattern,
        "PostgreSQL refuses it inside a transaction",
        "write `-- transaction: no` into the revision's head",
    )
}


def hazards(db: PostgreSQL, statements: Sequence[str], *, alone: bool) -> list[Hazard]:
    """What may hold others up or break them, statement by statement.

    Args:
        alone: Each statement is its own transaction.
    Raises:
        ConfigurationError: squawk is not installed, or its answer cannot be read.
    """
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
    by_rule = {(one.statement, one.rule): one for one in (*hazards_of_words(statements, words), *found)}
    return [by_rule[key] for key in sorted(by_rule)]


def _program() -> str:
    beside = Path(sys.executable).parent / "squawk"
    found = str(beside) if beside.is_file() else shutil.which("squawk")
    if not found:
        raise ConfigurationError("squawk", "not found", state="nothing was run", action="pip install squawk-cli")
    return found
