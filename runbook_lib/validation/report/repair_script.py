"""The SQL that would mend what differs, as one script for each service's target: to be read, then pasted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runbook_lib.validation.report.mismatches import Mismatch

if TYPE_CHECKING:
    from runbook_lib.validation.report.report import Report

_ANEW = " RENAME TO "  # SQLite: the whole table is made anew as it should be, with its indexes
# Dropping a parent would delete its children's rows, renaming would look into views.
_SQLITE = "PRAGMA foreign_keys = OFF;\nPRAGMA legacy_alter_table = ON;\nBEGIN;\n{}\nCOMMIT;"


def mending(report: Report) -> dict[str, str]:
    """Service → script: the undeclared differences as comments, each with what mends it below; nothing is run.

    A PostgreSQL script that builds or drops indexes is no single transaction: psql runs its statements one by one.
    """
    found = [mismatch for mismatch in report.mismatches if mismatch.mend]
    services = dict.fromkeys(mismatch.service for mismatch in found)
    return {service: _script([m for m in found if m.service == service]) for service in services}


def heading(report: Report, service: str) -> str:
    """What stands above a script; the service is named where there are several."""
    several = len(report.services) > 1
    return f"SQL that would mend the target{f' of {service}' if several else ''}; read it before you run it there"


def _script(found: Sequence[Mismatch]) -> str:
    """Each statement once: differences of one column, or of a table that is made anew, may have the same mend."""
    anew = {m.table: m.mend for m in found if _ANEW in m.mend}
    why: dict[str, list[str]] = {}
    for mismatch in found:
        comes_along = mismatch.table in anew and not mismatch.kind.endswith(("_trigger", "_privilege", "_behind"))
        mend = anew[mismatch.table] if comes_along else mismatch.mend
        why.setdefault(mend, []).append(" ".join(f"{mismatch.table}: {mismatch.text}".split()))
    # What is not part of a table that is made anew comes after all that are.
    parts = [
        "\n".join([*(f"-- {line}" for line in lines), mend if mend.endswith(";") else f"{mend};"])
        for mend, lines in sorted(why.items(), key=lambda each: _ANEW not in each[0])
    ]
    return _SQLITE.format("\n".join(parts)) if anew else "\n".join(parts)
