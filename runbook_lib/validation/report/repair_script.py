"""The SQL that would repair what differs, as one script for each service's target: to be read, then pasted."""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.databases.repair import Recreation
from runbook_lib.validation.report.contents import Contents
from runbook_lib.validation.report.mismatches import Kind, Mismatch

# Dropping a parent would delete its children's rows, renaming would look into views.
_SQLITE = "PRAGMA foreign_keys = OFF;\nPRAGMA legacy_alter_table = ON;\nBEGIN;\n{}\nCOMMIT;"
# Differences of the schema, which somebody must see to even where no statement is known; rows have `runbook repair`.
_OF_SCHEMA = frozenset(
    kind for kind in Kind if kind.endswith(("_column", "_index", "_constraint", "_trigger", "_object"))
) - {Kind.OMITTED_COLUMN} | {Kind.TYPE, Kind.NULLABILITY, Kind.DEFAULT, Kind.COLLATION, Kind.GENERATED, Kind.IDENTITY}
_ANOTHER_TABLE = (
    "make a table of another name as the source's is (its CREATE TABLE, partitions too), fill it by INSERT ... SELECT"
    " while nobody writes, and exchange the names; or copy it again: runbook copy --tables ... --on-existing drop"
)
_BY_HAND = {
    "enum": "a label cannot be dropped: see that no row has it (UPDATE them), make the type under another name with the"
    " source's labels, ALTER COLUMN ... TYPE it USING a cast by way of text, drop the old one and rename the new one",
    "partition": _ANOTHER_TABLE,
    "table": _ANOTHER_TABLE,
    "": "make it at the target as it is at the source, in the words of the source's own catalog (SHOW CREATE, pg_dump)",
}


def repair_scripts(report: Contents) -> dict[str, str]:
    """Service → script: the undeclared differences as comments, each with what repairs it below; nothing is run.

    A PostgreSQL script that builds or drops indexes is no single transaction: psql runs its statements one by one.
    """
    found = [mismatch for mismatch in report.mismatches if mismatch.mend or mismatch.kind in _OF_SCHEMA]
    services = dict.fromkeys(mismatch.service for mismatch in found)
    return {service: _script([m for m in found if m.service == service]) for service in services}


def heading(report: Contents, service: str) -> str:
    """What stands above a script; the service is named where there are several."""
    several = len(report.services) > 1
    return f"SQL that would repair the target{f' of {service}' if several else ''}; read it before you run it there"


def _script(found: Sequence[Mismatch]) -> str:
    """Each statement once: differences of one column, or of a table that is recreated, may have the same repair."""
    anew = {m.table: m.mend for m in found if m.mend and isinstance(m.mend, Recreation)}
    why: dict[str, list[str]] = {}
    by_hand = dict[str, None]()
    for mismatch in found:
        said = " ".join(f"{mismatch.table}: {mismatch.text}".split())
        if not mismatch.mend and mismatch.table not in anew:
            by_hand[f"-- {said}\n-- No statement for this is safe to write: {_advice(mismatch)}"] = None
            continue
        comes_along = mismatch.table in anew and not mismatch.kind.endswith(("_trigger", "_privilege", "_behind"))
        mend = anew[mismatch.table] if comes_along else mismatch.mend
        why.setdefault(mend, []).append(said)
    # What is not part of a table that is recreated comes after all that are.
    parts = [
        "\n".join([*(f"-- {line}" for line in lines), mend if mend.endswith(";") else f"{mend};"])
        for mend, lines in sorted(why.items(), key=lambda each: not isinstance(each[0], Recreation))
    ]
    script = _SQLITE.format("\n".join(parts)) if anew else "\n".join(parts)
    return "\n".join(filter(None, (script, *by_hand)))


def _advice(mismatch: Mismatch) -> str:
    """What a person must do."""
    kind = mismatch.text.removeprefix("no ").partition(" ")[0]
    return next((text for word, text in _BY_HAND.items() if kind == word), _BY_HAND[""])
